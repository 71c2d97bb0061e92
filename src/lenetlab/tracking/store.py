"""Read and write the tracking store: send what it lacks of the runs that the outputs describe.

A run is known by its fingerprint, which is one of its tags. So sending twice changes nothing, and an empty store is
filled from the outputs. No output contains an id of MLflow.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sqlite3 import connect
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256_file, sha256_json
from lenetlab.storage.locks import locked
from lenetlab.tracking import experiment
from lenetlab.tracking.connection import FREE_WAIT_SECONDS, MAX_WAIT_SECONDS, Client, OnAnswer, StoreLocation
from lenetlab.tracking.content import RunContent

UPLOAD_RATE = 250_000  # bytes per second that a healthy server accepts
BATCH = 500  # metrics per request; MLflow accepts 1,000 values


@dataclass
class StoredRun:
    """What the store holds of one run; of a metric that was sent twice for a step, the later value."""

    id: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[tuple[str, int], tuple[float, int]]  # (name, step) -> value, time in milliseconds
    datasets: set[tuple[str, str]]  # name, digest


@contextmanager
def open_store(location: StoreLocation, on_answer: OnAnswer = lambda *_: None) -> Iterator["Store"]:
    """The store. The block works in its folder, because locations of artifacts are relative."""
    with chdir(location.folder):
        yield Store(location, on_answer)


class Store:
    """A tracking store. `on_answer` is called after every answer; `sent` counts what was sent."""

    def __init__(self, location: StoreLocation, on_answer: OnAnswer) -> None:
        self.location, self.on_answer = location, on_answer
        self.sent = Counter(runs=0, points=0, artifacts=0, ended=0)
        self.stored: dict[str, StoredRun] = {}  # by fingerprint
        # Processes that create a database at the same time crash in its migrations, which take seconds.
        with self._locked(on_answer if location.database else None):
            if location.database:
                _require_writable(location.database)
            self.client = Client(location, on_answer)
            self.experiment = experiment.find_or_create(self.client, location)

    def send(self, *runs: RunContent) -> None:
        """Send what the store lacks of these runs. A parent must come before its children."""
        for run in runs:
            stored = self.stored.get(run.fingerprint) or self._find_or_create(run)
            self._send_values(run, stored)
            self._send_datasets(run, stored)
            self._send_artifacts(run, stored)
            if stored.status != run.status:
                if run.status == "RUNNING":
                    self.client.update_run(stored.id, status="RUNNING")
                else:
                    self.client.set_terminated(stored.id, run.status, end_time=milliseconds(run.end))
                stored.status = run.status

    def search(self, condition: str) -> list[Any]:
        """MLflow's runs that meet a condition in its query language, the oldest first."""
        return list(self.client.search_runs([self.experiment], condition, order_by=["attributes.start_time"]))

    def find_run(self, run: str) -> Any:
        """MLflow's run with this id or name. UserError if there is none, or several of this name, which it lists."""
        quote = '"' if "'" in run else "'"  # MLflow's conditions have no way to write a quote in a text
        for attribute in ("run_id", "run_name") if quote not in run else ():
            found = self.search(f"attributes.{attribute} = {quote}{run}{quote}")
            if len(found) > 1:
                raise UserError(f"MLflow has {len(found)} runs {run!r}; give the id of one:", *map(_describe, found))
            if found:
                return found[0]
        raise UserError(f"MLflow has no run {run!r}; allowed: the id or the name of one, such as 'mlp seed 0'")

    def metric_history(self, run: Any, name: str) -> list[Any]:
        """All points of a metric that MLflow holds of a run."""
        return list(self.client.get_metric_history(run.info.run_id, name))

    def metric_values(self, run: Any, name: str) -> list[float]:
        """The values of a metric, by step."""
        return [point.value for point in sorted(self.metric_history(run, name), key=lambda point: point.step)]

    def _find_or_create(self, run: RunContent) -> StoredRun:
        with self._locked():  # so that no two processes create the same run
            found = self.search(f"tags.fingerprint = '{run.fingerprint}'")
            if not found:
                parent = {"mlflow.parentRunId": self.stored[run.parent].id} if run.parent else {}
                found = [self.client.create_run(self.experiment, milliseconds(run.start), run.tags | parent, run.name)]
                self.sent["runs"] += 1
        stored = self.stored[run.fingerprint] = StoredRun(
            id=found[0].info.run_id,
            status=found[0].info.status,
            tags=dict(found[0].data.tags),
            params=dict(found[0].data.params),
            metrics={
                (name, point.step): (point.value, point.timestamp)
                for name in found[0].data.metrics
                for point in sorted(self.metric_history(found[0], name), key=lambda point: point.timestamp)
            },
            datasets={(used.dataset.name, used.dataset.digest) for used in found[0].inputs.dataset_inputs},
        )
        return stored

    def _send_values(self, run: RunContent, stored: StoredRun) -> None:
        from mlflow.entities import Metric, Param, RunTag

        new = {}
        for point, (value, time) in run.metrics.items():
            before, time_before = stored.metrics.get(point, (None, 0))
            if value != before:  # a mean changes when a seed is added: its new value must have a later time
                new[point] = value, max(milliseconds(time), time_before + 1)
        params = {key: value for key, value in run.params.items() if key not in stored.params}  # MLflow's are immutable
        tags = {key: value for key, value in run.tags.items() if stored.tags.get(key) != value}
        metrics = [Metric(name, value, time, step) for (name, step), (value, time) in new.items()]
        rest = {"params": [Param(*item) for item in params.items()], "tags": [RunTag(*item) for item in tags.items()]}
        while metrics or any(rest.values()):
            self.client.log_batch(stored.id, metrics[:BATCH], **rest)
            metrics, rest = metrics[BATCH:], {}
        stored.metrics |= new
        stored.params |= params
        stored.tags |= tags
        self.sent["points"] += len(new)

    def _send_datasets(self, run: RunContent, stored: StoredRun) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        for purpose, (folder, digest) in run.datasets.items():
            if (folder, digest[:12]) not in stored.datasets:
                source = json.dumps({"uri": folder})
                dataset = Dataset(name=folder, digest=digest[:12], source_type="local", source=source)
                tag = InputTag("mlflow.data.context", purpose)
                with self._locked():  # another process may send the same data set
                    self.client.log_inputs(stored.id, [DatasetInput(dataset, [tag])])
                stored.datasets.add((folder, digest[:12]))

    def _send_artifacts(self, run: RunContent, stored: StoredRun) -> None:
        digest = sha256_json({name: sha256_file(path) for name, path in run.artifacts.items()})[:12]
        if not run.artifacts or stored.tags.get("artifacts") == digest:
            return
        # Weights never change under one fingerprint, so those that are there stay; pictures may have changed.
        sizes = {name: path.stat().st_size for name, path in run.artifacts.items()}
        sizes_there = self._artifact_sizes(stored, {"checkpoints"})
        for name, path in run.artifacts.items():
            if sizes_there.get(name) != sizes[name]:
                self.on_answer(min(MAX_WAIT_SECONDS - 1, max(FREE_WAIT_SECONDS, sizes[name] / UPLOAD_RATE)))
                self.client.log_artifact(stored.id, str(path), name.rpartition("/")[0] or None)
                self.sent["artifacts"] += 1
        # MLflow's client takes any answer to an upload without an error code for a success.
        sizes_there = self._artifact_sizes(stored, {name.rpartition("/")[0] for name in sizes})
        if lost := [name for name in sizes if sizes_there.get(name) != sizes[name]]:
            raise OSError(f"{lost[0]} did not arrive")
        self.client.set_tag(stored.id, "artifacts", digest)
        stored.tags["artifacts"] = digest

    def _artifact_sizes(self, stored: StoredRun, folders: Iterable[str]) -> dict[str, int]:
        """Bytes, by name."""
        listings = (self.client.list_artifacts(stored.id, folder or None) for folder in folders)
        return {item.path: item.file_size for listing in listings for item in listing}

    @contextmanager
    def _locked(self, while_waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """One process of this folder at a time. With `while_waiting`, waiting for the others does not count."""
        with locked(self.location.folder / ".lenetlab" / "tracking.lock", while_waiting or (lambda: None)):
            yield


def _describe(run: Any) -> str:
    """What lets one choose among runs of one name: id, start, status, commit, DVC experiment and accuracy."""
    tags, accuracy = run.data.tags, run.data.metrics.get("test_accuracy")
    started = datetime.fromtimestamp(run.info.start_time / 1000)
    parts = [f"started {started:%Y-%m-%d %H:%M:%S}", run.info.status.lower()]
    parts += [f"commit {tags['commit'][:10]}"] if "commit" in tags else []
    parts += [f"experiment {tags['dvc_experiment']}"] if "dvc_experiment" in tags else []
    parts += [f"test accuracy {100 * accuracy:.2f} %"] if accuracy is not None else []
    return f"  {run.info.run_id}: {', '.join(parts)}"


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _require_writable(database: Path) -> None:
    """Fail at once if the database cannot be written: MLflow tries ten times, for two minutes."""
    if database.exists():
        with closing(connect(database, timeout=MAX_WAIT_SECONDS - 1)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
