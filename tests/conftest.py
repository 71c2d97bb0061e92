"""Real digits for every test, without the network: the 1,797 that scikit-learn brings, scaled to 28×28."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from sklearn.datasets import load_digits

from lenetlab.data import png, prepare, sources
from lenetlab.tracking.store import Place, open_store

# How long an example takes says something about the machine and its other users, nothing about the code.
settings.register_profile("lenetlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("torture", settings.get_profile("lenetlab"), max_examples=3000)
settings.load_profile("lenetlab")

cases = pytest.StashKey[Counter]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--torture", metavar="FILE", help="break things as often as `make torture`, and count the cases in FILE (JSON)"
    )
    parser.addoption("--count", metavar="FILE", help="count the cases in FILE, without breaking more than usual")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[cases] = Counter()
    if config.getoption("--torture"):
        settings.load_profile("torture")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then all that have slow tests, so that two workers end at about the same time."""
    slow, longest = {item.path for item in items if "slow" in item.keywords}, ("test_pipeline", "test_kills")
    items.sort(key=lambda item: (item.path.stem not in longest, item.path not in slow))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Each worker of pytest-xdist has a file of its own."""
    if file := session.config.getoption("--torture") or session.config.getoption("--count"):
        worker = getattr(session.config, "workerinput", {}).get("workerid", "")
        Path(file + worker).write_text(json.dumps(session.config.stash[cases], indent=1) + "\n")


@pytest.fixture(scope="session")
def large(pytestconfig: pytest.Config) -> bool:
    """Whether to try so many cases as `make torture` does."""
    return bool(pytestconfig.getoption("--torture"))


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """To be called with its kind for every case that was tried; the table of docs/reliability.md adds them up."""

    def one_more(kind: str) -> None:
        pytestconfig.stash[cases][kind] += 1

    return one_more


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user would bring it: train/ with 1,437 PNG files and test/ with 360; no image is in both."""
    content = load_digits()
    large = np.rint(content.images * 255 / 16).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    pixels = np.pad(large, ((0, 0), (2, 2), (2, 2)))
    folder = tmp_path_factory.mktemp("digits")
    for name, start, end in (("train", 0, 1437), ("test", 1437, 1797)):
        for number, place in enumerate(range(start, end)):
            image = png.encode(pixels[place])
            path = folder / name / f"{number:05d}_{content.target[place]}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(image)
    return folder


@pytest.fixture(scope="session")
def raw(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with train.tar and test.tar, as the stage fetch leaves it."""
    folder = tmp_path_factory.mktemp("data") / "raw"
    sources.fetch(digits_folder, folder)
    return folder


@pytest.fixture(scope="session")
def prepared(raw: Path) -> Path:
    """The folder with train/ and test/, as the stage prepare leaves it; 200 validation images."""
    folder = raw.parent / "prepared"
    prepare.prepare(raw, folder / "train", folder / "test", validation=200, validation_seed=0, duplicates="error")
    return folder


@pytest.fixture(scope="session")
def no_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to look for modules in, before all others, where there is no MLflow."""
    folder = tmp_path_factory.mktemp("none")
    (folder / "mlflow.py").write_text("raise ImportError('there is no MLflow here')\n")
    return folder


@pytest.fixture
def without_mlflow(no_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For stages whose record is another test's business: MLflow takes half of their time."""
    monkeypatch.setenv("PYTHONPATH", str(no_mlflow), prepend=os.pathsep)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MLflow's store, empty: making one takes longer than the tests that use it."""
    folder = tmp_path_factory.mktemp("store")
    with open_store(Place(f"sqlite:///{folder}/mlflow.db", folder, folder / "mlflow.db")):
        pass
    return folder
