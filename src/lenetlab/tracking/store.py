"""MLflow as a view of the outputs: what it shows is rebuilt from the files that the stages wrote.

The module `runs` makes records of them, and a `Store` sends what MLflow lacks of these. So publishing twice changes
nothing, and an empty store is filled from the files alone. `follow` publishes beside a stage, `sync` later. A run is
known by its fingerprint, kept as a tag; MLflow's own run ids are written nowhere.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error as DatabaseError
from sqlite3 import connect as open_database
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage import files, paths
from lenetlab.storage.digests import sha256_file, sha256_json
from lenetlab.storage.locks import locked
from lenetlab.tracking import content, experiment, variant_content

PATIENCE = 4  # seconds that the tracking process waits for servers and locks once its stage has ended, in all

GRACE = 0.5  # seconds of waiting for one answer that do not count yet

UPLINK = 250_000  # bytes of a file that a healthy server takes in a second

DEAD = 600  # seconds without progress, after which a RUNNING run was left behind by a crash

# A hanging server costs 3 s instead of minutes; nothing is reported to MLflow's makers; no migration log, no addresses.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


# The store.


@dataclass(frozen=True)
class Place:
    """Where the tracking store is. Artifacts of a SQLite store lie beside it, so that both can be moved together."""

    uri: str
    folder: Path
    database: Path | None  # None if it is not SQLite


@dataclass
class StoredRun:
    """What the store holds of one run; the latest value where a point was sent twice."""

    id: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    points: dict[tuple[str, int], tuple[float, int]]  # (metric, step) -> value, milliseconds
    data: set[tuple[str, str]]


def store_place() -> Place:
    """MLFLOW_TRACKING_URI, or what plain `mlflow ui` opens in the repository, to which a relative path belongs too."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if not uri.startswith("sqlite:///"):
        return Place(uri, paths.repository_root(), None)
    database = paths.repository_root() / uri.removeprefix("sqlite:///")
    return Place(f"sqlite:///{database}", database.parent, database)


@contextmanager
def open_store(where: Place, sign: Callable[..., None] = lambda *_: None) -> Iterator["Store"]:
    """The store, in whose folder the block works, since its artifacts have relative places."""
    with chdir(where.folder):
        yield Store(where, sign)


class Client:
    """MLflow's own, which gives a sign of life after every answer, and knows whose answer it is."""

    def __init__(self, where: Place, sign: Callable[..., None]) -> None:
        self.sign, self.mlflow = sign, import_mlflow()
        self.client = self.mlflow.MlflowClient(where.uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        from sqlalchemy.exc import SQLAlchemyError

        def ask(*words: Any, **more: Any) -> Any:
            try:
                answer = getattr(self.client, name)(*words, **more)
            except (self.mlflow.exceptions.MlflowException, SQLAlchemyError, OSError):
                raise
            except Exception as error:  # of whatever kind, as it reads a page of some proxy as if it were an answer
                raise OSError(f"an answer that is not MLflow's ({type(error).__name__}: {error})") from error
            self.sign()
            return answer

        return ask


class Store:
    """A tracking store. `sign` is called after every step; `added` counts what was sent."""

    def __init__(self, where: Place, sign: Callable[..., None]) -> None:
        self.where, self.sign = where, sign
        self.added = Counter(runs=0, points=0, artifacts=0, ended=0)
        self.held: dict[str, StoredRun] = {}  # by fingerprint
        # Processes that make a database at the same time crash in its migrations, which take seconds.
        with self._locked(sign if where.database else None):
            if where.database:
                _check(where.database)
            self.client = Client(where, sign)
            self.experiment = self._experiment()

    def put(self, *wanted: content.RunContent) -> None:
        """Send what the store lacks of these runs; one comes before those below it."""
        for run in wanted:
            held = self.held.get(run.fingerprint) or self._find_or_create(run)
            self._put_values(run, held)
            self._put_data(run, held)
            self._put_artifacts(run, held)
            if held.status != run.status:
                if run.status == "RUNNING":
                    self.client.update_run(held.id, status="RUNNING")
                else:
                    self.client.set_terminated(held.id, run.status, end_time=_milliseconds(run.end))
                held.status = run.status

    def find(self, run: str) -> Any:
        """MLflow's run of that id or name, the newest of several; UserError if there is none."""
        name = run.replace("'", "")  # no name here has one, and MLflow's conditions cannot quote it
        for condition in (f"attributes.run_id = '{name}'", f"attributes.run_name = '{name}'"):
            if found := self._search(condition):
                return found[-1]
        raise UserError(f"MLflow has no run {run!r}; allowed: the id or the name of one, such as 'mlp seed 0'")

    def curve(self, found: Any, key: str) -> list[float]:
        """The values of a metric, by step."""
        return [point.value for point in sorted(self._history(found, key), key=lambda point: point.step)]

    def end_the_dead(self, resume: Path) -> None:
        """RUNNING runs without progress, left by a crash or a power cut, end as their journals say or as KILLED.

        Progress is a start or an epoch of any seed of the variant, in the store or in the folder for resuming. A
        training that is only slower than that shows its real end when it comes.
        """
        families: dict[str, list[Any]] = {}
        for found in self._search("attributes.status = 'RUNNING' and tags.stage = 'train'"):
            families.setdefault(found.data.tags.get("mlflow.parentRunId", found.info.run_id), []).append(found)
        for family in families.values():
            journals = [
                files.read_json_lines(resume / found.data.tags["fingerprint"] / paths.JOURNAL) for found in family
            ]
            last = max(
                *(journal[-1]["time"] for journal in journals if journal),
                *(found.info.start_time / 1000 for found in family),
                *(point.timestamp / 1000 for found in family for point in self._history(found, "train_loss")),
            )
            if time.time() - last < DEAD:
                continue
            for found, journal in zip(family, journals, strict=True):
                if journal:
                    self.put(variant_content.seed_run(journal, "KILLED"))
                else:
                    self.client.set_terminated(found.info.run_id, "KILLED", end_time=_milliseconds(last))
                self.added["ended"] += 1

    def _experiment(self) -> str:
        tags = {
            "mlflow.note.content": experiment.DESCRIPTION,
            # The prepared view is no documented interface; should it fall away, the page shows MLflow's usual table.
            f"mlflow.sharedViewState.{experiment.VIEW}": json.dumps(
                {
                    "selectedColumns": list(experiment.COLUMNS),
                    "columnOrder": list(experiment.COLUMNS),
                    "columnWidths": experiment.COLUMNS,
                    "orderByKey": "attributes.start_time",  # any other takes the children from below their parents
                    "orderByAsc": False,
                }
            ),
        }
        found = self.client.get_experiment_by_name(experiment.EXPERIMENT)
        if found is None:
            created = self.client.create_experiment(experiment.EXPERIMENT, tags=tags)
            if self.where.database:
                experiment.make_location_relative(self.where.database, created)
            return created
        if found.name != experiment.EXPERIMENT:
            raise OSError("its answers are not MLflow's")
        if self.where.database:  # a process may have ended in between
            experiment.make_location_relative(self.where.database, found.experiment_id, found.artifact_location)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        for key, value in tags.items():
            if found.tags.get(key) != value:
                self.client.set_experiment_tag(found.experiment_id, key, value)
        return found.experiment_id

    def _find_or_create(self, run: content.RunContent) -> StoredRun:
        with self._locked():  # so that no two processes create the same run
            found = self._search(f"tags.fingerprint = '{run.fingerprint}'")
            if not found:
                below = {"mlflow.parentRunId": self.held[run.parent].id} if run.parent else {}
                found = [self.client.create_run(self.experiment, _milliseconds(run.start), run.tags | below, run.name)]
                self.added["runs"] += 1
        held = self.held[run.fingerprint] = StoredRun(
            id=found[0].info.run_id,
            status=found[0].info.status,
            tags=dict(found[0].data.tags),
            params=dict(found[0].data.params),
            points={
                (key, point.step): (point.value, point.timestamp)
                for key in found[0].data.metrics
                for point in sorted(self._history(found[0], key), key=lambda point: point.timestamp)
            },
            data={(item.dataset.name, item.dataset.digest) for item in found[0].inputs.dataset_inputs},
        )
        return held

    def _put_values(self, run: content.RunContent, held: StoredRun) -> None:
        from mlflow.entities import Metric, Param, RunTag

        points = {}
        for point, (value, when) in run.metrics.items():
            before, stamp = held.points.get(point, (None, 0))
            if value != before:  # a mean changes when a seed is added: the newer value has to be the later one
                points[point] = value, max(_milliseconds(when), stamp + 1)
        params = {key: value for key, value in run.params.items() if key not in held.params}  # they never change
        tags = {key: value for key, value in run.tags.items() if held.tags.get(key) != value}
        metrics = [Metric(key, value, stamp, step) for (key, step), (value, stamp) in points.items()]
        rest = {"params": [Param(*item) for item in params.items()], "tags": [RunTag(*item) for item in tags.items()]}
        while metrics or any(rest.values()):
            self.client.log_batch(held.id, metrics[:500], **rest)  # MLflow takes 1000 values at once
            metrics, rest = metrics[500:], {}
        held.points |= points
        held.params |= params
        held.tags |= tags
        self.added["points"] += len(points)

    def _put_data(self, run: content.RunContent, held: StoredRun) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        for purpose, (folder, digest) in run.datasets.items():
            if (folder, digest[:12]) not in held.data:
                source = json.dumps({"uri": folder})
                data = Dataset(name=folder, digest=digest[:12], source_type="local", source=source)
                with self._locked():  # two processes may meet here with the same data set
                    self.client.log_inputs(held.id, [DatasetInput(data, [InputTag("mlflow.data.context", purpose)])])
                held.data.add((folder, digest[:12]))

    def _put_artifacts(self, run: content.RunContent, held: StoredRun) -> None:
        digest = sha256_json({place: sha256_file(path) for place, path in run.artifacts.items()})[:12]
        if not run.artifacts or held.tags.get("artifacts") == digest:
            return
        # Weights never change under one fingerprint, so what is there stays; pictures may have been drawn anew.
        sizes = {where: path.stat().st_size for where, path in run.artifacts.items()}
        there = self._sizes(held, {"checkpoints"})
        for where, path in run.artifacts.items():
            if there.get(where) != sizes[where]:
                self.sign(min(PATIENCE - 1, max(GRACE, sizes[where] / UPLINK)))
                self.client.log_artifact(held.id, str(path), where.rpartition("/")[0] or None)
                self.added["artifacts"] += 1
        # MLflow's client takes whatever answers an upload without an error code for a success.
        there = self._sizes(held, {where.rpartition("/")[0] for where in sizes})
        if lost := [where for where in sizes if there.get(where) != sizes[where]]:
            raise OSError(f"{lost[0]} did not arrive")
        self.client.set_tag(held.id, "artifacts", digest)
        held.tags["artifacts"] = digest

    def _sizes(self, held: StoredRun, folders: Iterable[str]) -> dict[str, int]:
        found = (self.client.list_artifacts(held.id, folder or None) for folder in folders)
        return {item.path: item.file_size for items in found for item in items}

    def _search(self, condition: str) -> list[Any]:
        return list(self.client.search_runs([self.experiment], condition, order_by=["attributes.start_time"]))

    def _history(self, found: Any, key: str) -> list[Any]:
        return list(self.client.get_metric_history(found.info.run_id, key))

    @contextmanager
    def _locked(self, sign: Callable[..., None] | None = None) -> Iterator[None]:
        """One process of this folder at a time. With `sign` waiting for the others is no waiting that counts."""
        with locked(self.where.folder / ".lenetlab" / "tracking.lock", sign or (lambda: None)):
            yield


def import_mlflow() -> Any:
    for name, value in SETTINGS.items():  # it reads them when it is imported
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


def _check(database: Path) -> None:
    """Fail at once if the database cannot be written: MLflow tries ten times, for two minutes."""
    if database.exists():
        with closing(open_database(database, timeout=PATIENCE - 1)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def short_message(error: Exception) -> str:
    line = "".join(filter(str.isprintable, (str(error).strip().splitlines() or [""])[0]))
    return without_password(f"{type(error).__name__}: {line}")[:200]


def without_password(uri: str) -> str:
    """Without user name and password."""
    return re.sub(r"//[^/\s]+@", "//", uri)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Whatever keeps MLflow from working is told in one line."""
    mlflow = import_mlflow()
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (mlflow.exceptions.MlflowException, SQLAlchemyError, DatabaseError, OSError) as error:
        raise UserError(f"MLflow at {without_password(store_place().uri)}: {short_message(error)}") from None
