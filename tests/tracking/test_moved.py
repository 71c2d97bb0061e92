"""A project that was moved or copied: MLflow's artifacts are found beside the database, and nothing goes elsewhere."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.tracking import sync
from lenetlab.tracking.connection import store_location
from lenetlab.tracking.store import open_store
from tests.tracking.outputs import PNG, VARIANTS
from tests.tracking.stores import digests, open_client, read_content, runs_by_name

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]
KIND = "moved projects and stores"


def set_locations(study: Path, place: str) -> None:
    """As another program records them: `place` stands where `mlruns` was."""
    with contextlib.closing(sqlite3.connect(study / "mlflow.db")) as connection, connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            change = f"UPDATE {table} SET {column} = ? || substr({column}, 7) WHERE experiment_id = 1"  # noqa: S608
            connection.execute(change, (place,))


def locations(study: Path) -> set[str]:
    """Where the artifacts of the experiment, its runs and its models lie, without what names these."""
    client = open_client(study)
    found = [run.info.artifact_uri for run in runs_by_name(study).values()]
    found += [model.artifact_location for model in client.search_logged_models(["1"])]
    return {uri.partition("/1/")[0] for uri in found} | {client.get_experiment("1").artifact_location}


def picture(study: Path) -> bytes:
    """One artifact, as MLflow's pages find it."""
    client, run = open_client(study), runs_by_name(study)["mlp"].info.run_id
    return Path(client.download_artifacts(run, "curves.png", str(study.parent))).read_bytes()


def change_picture(study: Path) -> None:
    files.write_bytes(study / "evaluations/mlp/curves.png", PNG + b"new")


def move(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    moved = study.rename(study.with_name("moved"))
    monkeypatch.chdir(moved)
    return moved


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_absolute_locations_become_relative_after_a_move(published_study, monkeypatch, scheme, count):
    open_client(published_study).create_logged_model("1", "digits")
    set_locations(published_study, f"{scheme}{published_study}/mlruns")
    moved = move(published_study, monkeypatch)
    change_picture(moved)
    sync.sync(list(VARIANTS))
    assert locations(moved) == {"mlruns", "mlruns/1"}
    assert picture(moved) == PNG + b"new"
    assert not published_study.exists(), "something was written where the project was"
    count(KIND)


def test_a_copy_writes_nothing_to_its_original(published_study, monkeypatch, count):
    set_locations(published_study, f"{published_study}/mlruns")
    before = digests(published_study)
    copy = shutil.copytree(published_study, published_study.with_name("copy"))
    monkeypatch.chdir(copy)
    change_picture(copy)
    sync.sync(list(VARIANTS))
    assert picture(copy) == PNG + b"new"
    assert digests(published_study) == before
    count(KIND)


@pytest.mark.parametrize(
    ("place", "folder"), [("elsewhere/mlruns", "elsewhere/mlruns"), ("mlflow-artifacts:", "mlartifacts")]
)
def test_artifacts_that_are_elsewhere_alone_are_copied(published_study, place, folder, count):
    """Those of another folder on this machine, and those that `mlflow ui` keeps when it is used as a server."""
    before = read_content(published_study)
    (published_study / folder).parent.mkdir(exist_ok=True)
    (published_study / "mlruns").rename(published_study / folder)
    set_locations(published_study, place if ":" in place else f"{published_study}/{place}")
    there = digests(published_study / folder)
    change_picture(published_study)
    sync.sync(list(VARIANTS))
    assert digests(published_study / folder) == there
    assert picture(published_study) == PNG + b"new"
    assert read_content(published_study)["lenet5"] == before["lenet5"]
    count(KIND)


def test_locations_on_another_machine_stay(published_study):
    set_locations(published_study, "s3://bucket")
    with open_store(store_location()):
        pass
    assert locations(published_study) == {"s3://bucket", "s3://bucket/1"}


def make_file(mlruns: Path) -> None:
    mlruns.touch()


def link_to_nothing(mlruns: Path) -> None:
    mlruns.symlink_to("/nowhere/mlruns")


@pytest.mark.parametrize("spoil", [make_file, link_to_nothing])
def test_sync_says_that_the_place_of_artifacts_is_no_folder(study, spoil: Callable[[Path], None], count):
    mlruns = study / "mlruns"
    shutil.rmtree(mlruns, ignore_errors=True)
    spoil(mlruns)
    with pytest.raises(UserError, match=f"^{mlruns}: not a folder, or a link to none.*; remedy: .* rm {mlruns}, "):
        sync.sync([])
    mlruns.unlink()
    sync.sync([])
    count(KIND)


def test_a_link_to_a_folder_is_a_place_for_artifacts(published_study):
    (published_study / "mlruns").rename(published_study / "elsewhere")
    (published_study / "mlruns").symlink_to("elsewhere")
    change_picture(published_study)
    sync.sync(["mlp"])
    assert picture(published_study) == PNG + b"new"
