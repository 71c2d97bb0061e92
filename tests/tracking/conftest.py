"""Studies with made-up outputs and an MLflow store on disk."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lenetlab.tracking import beside_stage, sync
from tests.tracking import forked, stores
from tests.tracking.outputs import VARIANTS, make_all


@pytest.fixture(scope="session")
def published(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study with all of it in MLflow. Tests only read it."""
    folder = tmp_path_factory.mktemp("published") / "study"
    shutil.copytree(empty_store, folder)
    make_all(folder)
    with stores.working_in(folder):
        sync.sync(list(VARIANTS))
    return folder


@pytest.fixture
def published_study(published: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, which is the working folder."""
    folder = tmp_path / "study"
    shutil.copytree(published, folder)
    with stores.working_in(folder):
        yield folder


@pytest.fixture
def study(empty_store: Path, tmp_path: Path) -> Iterator[Path]:
    """The working folder: a study without outputs, and an empty MLflow store."""
    folder = tmp_path / "study"
    shutil.copytree(empty_store, folder)
    with stores.working_in(folder):
        yield folder


@pytest.fixture
def forked_publishers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishers are forks of this process."""
    monkeypatch.setattr(beside_stage, "start_publisher", forked.start_publisher)
