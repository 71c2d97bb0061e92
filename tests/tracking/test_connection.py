"""Addresses and databases that cannot be MLflow's store: one line names it and the remedy, which helps."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lenetlab.errors import UserError
from lenetlab.tracking import beside_stage, experiment, sync
from lenetlab.tracking.connection import Client, reporting_mlflow_errors, store_location
from tests.tracking import database_faults
from tests.tracking.outputs import VARIANTS, make_all
from tests.tracking.stores import read_content

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]
KIND = "wrong stores"
ANOTHER = "set MLFLOW_TRACKING_URI to sqlite:///FILE, on a disk of this machine, or to http://HOST:PORT"


def error_of_sync() -> str:
    with pytest.raises(UserError) as caught:
        sync.sync(list(VARIANTS))
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


def visible_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if ".lenetlab" not in path.parts)


@pytest.mark.parametrize(
    ("uri", "start"),
    [
        ("sqlite:///", "MLFLOW_TRACKING_URI: 'sqlite:///' is not allowed"),
        ("sqlite://", "MLFLOW_TRACKING_URI: 'sqlite://' is not allowed"),
        ("sqlite:///:memory:", "MLFLOW_TRACKING_URI: 'sqlite:///:memory:' is not allowed"),
        ("sqlite:///mlflow.db?timeout=3", "MLFLOW_TRACKING_URI: 'sqlite:///mlflow.db?timeout=3' is not allowed"),
        ("sqlite+pysqlite:///mlflow.db", "MLFLOW_TRACKING_URI: 'sqlite+pysqlite:///mlflow.db' is not allowed"),
        ("sqlite:///a b/mlflow.db", "MLFLOW_TRACKING_URI: 'sqlite:///a b/mlflow.db': there is no folder "),
        ("./mlruns", "MLflow at ./mlruns: MlflowException: The filesystem tracking backend "),
        ("mlflow.db", "MLflow at mlflow.db: MlflowException: The filesystem tracking backend "),
        ("foo://bar", "MLflow at foo://bar: UnsupportedModelRegistryStoreURIException: "),
        ("nosql+driver://bar", "MLflow at nosql+driver://bar: "),
        (
            "postgresql://me:secret@127.0.0.1:9/x",
            "MLflow at postgresql://127.0.0.1:9/x: ModuleNotFoundError: No module",
        ),
        ("http://", "MLflow at http://: "),
        ("http://me:secret@127.0.0.1:9", "MLflow at http://127.0.0.1:9: MlflowException: API request to "),
    ],
)
def test_an_address_that_is_no_store(study, monkeypatch, uri, start, count):
    before = visible_files(study.parent)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    message = error_of_sync()
    assert message.startswith(start)
    assert f"; remedy: {ANOTHER}" in message or f", or {ANOTHER}" in message
    assert "secret" not in message
    assert visible_files(study.parent) == before
    count(KIND)


def test_an_empty_address_is_the_default(study, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert store_location().database == study / "mlflow.db"


def test_a_missing_folder_is_named_with_the_command_that_makes_it(study, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a b/mlflow.db")
    assert f"there is no folder {study}/a b; remedy: mkdir -p '{study}/a b', or " in error_of_sync()


@pytest.mark.usefixtures("forked_publishers", "study")
def test_a_wrong_address_does_not_stop_a_stage(monkeypatch, capfd, count):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite://")
    with beside_stage.publishing("prepare"):
        pass
    warning = capfd.readouterr().err
    assert warning.startswith(
        "warning: the record of this stage in MLflow (sqlite://) is not complete: MLFLOW_TRACKING"
    )
    assert f"; remedy: {ANOTHER}" in warning
    count(KIND)


# Databases.


def replace_with_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def write_text(database: Path) -> None:
    database.write_text("no database" * 1000)


def create(database: Path, *statements: str) -> None:
    database.unlink()
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


MIGRATIONS = ("CREATE TABLE alembic_version (version_num)", "INSERT INTO alembic_version VALUES ('abc')")


def make_songs(database: Path) -> None:
    create(database, "CREATE TABLE songs (title)")


def make_songs_with_alembic(database: Path) -> None:
    create(database, "CREATE TABLE songs (title)", *MIGRATIONS)


def leave_failed_migration(database: Path) -> None:
    create(database, *MIGRATIONS)


@pytest.mark.parametrize(
    ("spoil", "problem", "remedy"),
    [
        (replace_with_folder, "unable to open database file", "it must be a file in a folder that you may write"),
        (write_text, "file is not a database", "move the database away, and lenetlab sync fills a new one"),
        (database_faults.cut_in_half, "malformed", "move the database away, and lenetlab sync fills a new one"),
        (database_faults.make_read_only, "readonly database", "give yourself permission to write it"),
        (database_faults.make_newer, "out-of-date database schema", "back it up and run mlflow db upgrade URI"),
        (make_songs, "a database of another program", ANOTHER),
        (make_songs_with_alembic, "a database of another program", ANOTHER),
        (leave_failed_migration, "Can't locate revision", "another program or a later MLflow made it: move the"),
    ],
)
def test_sync_says_what_is_wrong_with_the_database(
    published, published_study, spoil: Callable[[Path], Any], problem, remedy, count
):
    database = published_study / "mlflow.db"
    spoil(database)
    content = database.read_bytes() if database.is_file() else None
    message = error_of_sync()
    assert str(database) in message
    assert problem in message
    assert f"; remedy: {remedy}" in message
    assert content is None or "revision" in problem or database.read_bytes() == content, "the database was changed"

    if database.is_dir():
        database.rmdir()
    database.write_bytes((published / "mlflow.db").read_bytes())
    sync.sync(list(VARIANTS))
    assert read_content(published_study) == read_content(published)
    count(KIND)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("database is locked", "end the program that holds it; if there is none, its disk has no locks: "),
        ("locking protocol", "its disk has no locks: "),
        ("disk I/O error", "its disk is faulty or has no locks: "),
        ("database or disk is full", "make room on its disk"),
    ],
)
def test_each_error_of_sqlite_has_its_remedy(study, text, remedy):
    start = f"^MLflow at sqlite:///{study}/mlflow.db: "
    with pytest.raises(UserError, match=f"{start}.*{text}; remedy: {remedy}"), reporting_mlflow_errors():
        raise sqlite3.OperationalError(text)


def test_an_error_of_the_operating_system_has_its_remedy():
    remedy = "No space left on device: 'mlruns/1'; remedy: make room on that disk"
    with pytest.raises(UserError, match=remedy), reporting_mlflow_errors():
        raise OSError(28, os.strerror(28), "mlruns/1")


# Two clones that use a store for the first time.


class Busy:
    """A client whose server fails once, as when another one adds the same row."""

    def __init__(self) -> None:
        self.calls = 0

    def log_inputs(self) -> str:
        from mlflow.exceptions import MlflowException

        self.calls += 1
        if self.calls == 1:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.digest")
        return "logged"


@pytest.mark.usefixtures("study")
def test_another_clone_may_add_the_same_data_set_at_the_same_time():
    client = Client(store_location(), lambda *_: None)
    client.client = Busy()
    assert client.log_inputs() == "logged"


class LateClient(Client):
    """Another clone creates the experiment after this one has not found it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "create_experiment":
            self.client.create_experiment(experiment.NAME)
        return super().__getattr__(name)


def test_another_clone_may_create_the_experiment_first(study):
    with sqlite3.connect(study / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiment_tags")
        connection.execute("DELETE FROM experiments WHERE name = 'lenetlab'")
    client = LateClient(store_location(), lambda *_: None)
    found = client.get_experiment(experiment.find_or_create(client, store_location()))
    assert found.artifact_location == f"mlruns/{found.experiment_id}"
    assert experiment.TAGS.items() <= found.tags.items()


@pytest.mark.slow
def test_two_clones_may_create_a_database_together(tmp_path, count):
    script = f"from lenetlab.tracking import sync; sync.sync({list(VARIANTS)})"
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    clones = []
    for name in ("one", "two"):
        make_all(tmp_path / name)
        command = [sys.executable, "-W", "ignore", "-c", script]
        clones.append(
            subprocess.Popen(command, cwd=tmp_path / name, env=environment, stderr=subprocess.PIPE, text=True)
        )
    for clone in clones:
        _, errors = clone.communicate(timeout=120)
        assert clone.returncode == 0, errors
    assert {"mlp", "lenet5", "prepare"} <= set(read_content(tmp_path))
    count(KIND)
