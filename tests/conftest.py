"""Fixtures for all tests: real digits without a network (1,797 from scikit-learn), and one project that has run."""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from sklearn.datasets import load_digits

from lenetlab import cli
from lenetlab.data import png, prepare, sources
from lenetlab.tracking.connection import StoreLocation
from lenetlab.tracking.store import open_store
from tests.data.formats import data_settings
from tests.pipeline import projects

# No deadline: the time that an example takes depends on the machine. Derandomized: a failure can be repeated.
settings.register_profile(
    "lenetlab", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("torture", settings.get_profile("lenetlab"), derandomize=False, max_examples=3000)
settings.load_profile("lenetlab")

case_counts = pytest.StashKey[Counter]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", metavar="FILE", help="try as many faults as `make torture`; count the cases in FILE")
    parser.addoption("--count", metavar="FILE", help="count the cases in FILE, without trying more than usual")


MEMORY_DISK, ROOM = Path("/dev/shm"), 4 * 2**30  # noqa: S108  pytest makes a private folder in it


def pytest_configure(config: pytest.Config) -> None:
    """No test waits for a disk: a commit of SQLite or an fsync takes 5 to 20 ms there, and no power fails here."""
    os.fsync = lambda _: None
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of `make test`: a make that a test starts would print folders
        os.environ.pop(name, None)
    if MEMORY_DISK.is_dir():
        found = os.statvfs(MEMORY_DISK)
        if found.f_bavail * found.f_frsize > ROOM and not found.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))
    config.stash[case_counts] = Counter()
    if config.getoption("--torture"):
        settings.load_profile("torture")


def pytest_itemcollected(item: pytest.Function) -> None:
    """Mark the tests that count their cases: `make torture` runs them."""
    if "count" in item.fixturenames:
        item.add_marker("torture")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share the slow tests between two workers, of which each starts with one half of the list.

    The first one starts with test_pipeline, which makes the finished project; the second needs it later.
    """
    slow_files = {item.path for item in items if "slow" in item.keywords}
    first = [item for item in items if item.path.stem == "test_pipeline"]
    second = [item for item in items if item.path in slow_files and item.path.stem != "test_pipeline"]
    second.sort(key=lambda item: item.path.parent.name == "pipeline")
    quick = [item for item in items if item.path not in slow_files and item.path.stem != "test_pipeline"]
    half = max(0, len(items) // 2 - len(first))
    items[:] = [*first, *quick[:half], *second, *quick[half:]]


def pytest_collection_finish() -> None:
    """Workers share the cores: a second thread of torch would only wait, and waits busily."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the counts; each worker of pytest-xdist writes a file of its own."""
    if file := session.config.getoption("--torture") or session.config.getoption("--count"):
        worker = getattr(session.config, "workerinput", {}).get("workerid", "")
        Path(file + worker).write_text(json.dumps(session.config.stash[case_counts], indent=1) + "\n")


@pytest.fixture(scope="session")
def large(pytestconfig: pytest.Config) -> bool:
    """Whether to try as many cases as `make torture`."""
    return bool(pytestconfig.getoption("--torture"))


@pytest.fixture(scope="session")
def count(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Call it with the kind of each case that was tried; the table in docs/reliability.md shows the sums."""

    def add(kind: str) -> None:
        pytestconfig.stash[case_counts][kind] += 1

    return add


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user would have it: train/ with 1,437 PNG files and test/ with 360; no image is in both."""
    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)
    pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
    folder = tmp_path_factory.mktemp("digits")
    for name, start, end in (("train", 0, 1437), ("test", 1437, 1797)):
        (folder / name).mkdir()
        for number, index in enumerate(range(start, end)):
            (folder / name / f"{number:05d}_{digits.target[index]}.png").write_bytes(png.encode(pixels[index]))
    return folder


@pytest.fixture(scope="session")
def raw(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with train.tar, test.tar and an empty extra.tar, as the stages fetch and extra write it."""
    folder = tmp_path_factory.mktemp("data") / "raw"
    sources.fetch(digits_folder, folder)
    sources.pack_extra(sources.NO_EXTRA_TEST, folder)
    return folder


@pytest.fixture(scope="session")
def prepared(raw: Path) -> Path:
    """The folder with train/ and test/, as the stage prepare writes it; 200 validation images."""
    folder = raw.parent / "prepared"
    prepare.prepare(raw, folder / "train", folder / "test", data_settings(validation=200))
    return folder


@pytest.fixture(scope="session")
def finished(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` ran once; its output is in the file `log`. Tests read it, or change a copy.

    The run takes a minute, so all workers of pytest-xdist share it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    project = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not (project / "log").exists():
            shutil.rmtree(project, ignore_errors=True)
            project.mkdir()
            projects.clone(project, digits_folder)
            # As a user starts it; elsewhere, programs are forks.
            (project / "log").write_text(projects.run(project, "dvc", "repro", environ=projects.environment(project)))
    return project


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Call it with the arguments of `lenetlab`: exit status, standard output and standard error."""
    monkeypatch.delenv("DVC_STAGE", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lenetlab", *arguments])
        try:
            cli.main()
        except SystemExit as ended:
            return ended.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def no_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH in which `import mlflow` fails."""
    folder = tmp_path_factory.mktemp("no-mlflow")
    (folder / "mlflow.py").write_text("raise ImportError('this test runs without MLflow')\n")
    return folder


@pytest.fixture
def without_mlflow(no_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For stages whose MLflow runs another test checks: without MLflow they take half the time."""
    monkeypatch.setenv("PYTHONPATH", str(no_mlflow), prepend=os.pathsep)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty MLflow store: creating one takes longer than the tests that use it."""
    folder = tmp_path_factory.mktemp("store")
    with open_store(StoreLocation(f"sqlite:///{folder}/mlflow.db", folder, folder / "mlflow.db")):
        pass
    return folder
