"""Read and write the tracking store: send what it lacks of the runs that the outputs describe.

A run is known by its fingerprint and its DVC experiment, which are tags. So sending twice changes nothing, and an empty
store is filled from the outputs. No output contains an id of MLflow. What a user changed in MLflow stays.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from sqlite3 import connect
from tempfile import TemporaryDirectory
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.storage.digests import sha256, sha256_file, sha256_json
from lenetlab.storage.locks import locked
from lenetlab.tracking import experiment, user_changes
from lenetlab.tracking.connection import FREE_WAIT_SECONDS, MAX_WAIT_SECONDS, Client, OnAnswer, StoreLocation
from lenetlab.tracking.content import RunContent, RunKey
from lenetlab.tracking.metrics import names
from lenetlab.tracking.user_changes import SENT_ARTIFACTS, SENT_METRICS

UPLOAD_RATE = 250_000  # bytes per second that a healthy server accepts
BATCH = 500  # metrics per request; MLflow accepts 1,000 values
DIGESTS = "digests.json"  # the artifact with the SHA-256 of all others; it is uploaded last
# Tags of a run.
DUPLICATE = "duplicate_of"  # id of the run that is used instead of this one, which is deleted
NOT_IN_OUTPUTS = "not_in_outputs"  # true: the seed was removed; otherwise, metrics that the outputs no longer have
GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's errors for a run that was deleted


@dataclass
class StoredRun:
    """What the store holds of one run, as far as this process knows."""

    id: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    datasets: set[tuple[str, str]]  # name, digest
    # (name, step) -> value, time in milliseconds; of several values for a step, the latest. None before they were read.
    metrics: dict[tuple[str, int], tuple[float, int]] | None
    is_fresh: bool = True  # False if a user may have changed tags since


@contextmanager
def open_store(
    location: StoreLocation, on_answer: OnAnswer = lambda *_: None, checks_artifacts: bool = False
) -> Iterator["Store"]:
    """The store. The block works in its folder, because locations of artifacts are relative."""
    with chdir(location.folder):
        yield Store(location, on_answer, checks_artifacts)


class Store:
    """A tracking store. `on_answer` is called after every answer; `sent` counts what was sent.

    With `checks_artifacts` it notices artifacts that were deleted from the store, at the cost of a request per folder.
    """

    def __init__(self, location: StoreLocation, on_answer: OnAnswer, checks_artifacts: bool) -> None:
        self.location, self.on_answer, self.checks_artifacts = location, on_answer, checks_artifacts
        self.sent = Counter(runs=0, points=0, artifacts=0, tags=0, models=0, ended=0)
        self.stored: dict[RunKey, StoredRun] = {}
        # Processes that create a database at the same time crash in its migrations, which take seconds.
        with self.locked(on_answer if location.database else None):
            if location.database:
                _require_writable(location.database)
            self.client = Client(location, on_answer)
            self.experiment = experiment.find_or_create(self.client, location)

    def send(self, *runs: RunContent) -> None:
        """Send what the store lacks of these runs. A parent must come before its children."""
        for run in runs:
            try:
                self._send(run)
            except self.client.mlflow.exceptions.MlflowException as error:
                # A user or another publisher may have deleted the run since this process found it.
                if error.error_code not in GONE or not self.stored.pop(run.key, None):
                    raise
                self._send(run)

    def mark_removed_seeds(self, *runs: RunContent) -> None:
        """Tag runs of seeds that the outputs no longer have; `runs` are all runs of some variants, sent before.

        They are not deleted, since a user may keep notes there. The tag goes when the seed is sent again.
        """
        from mlflow.entities import RunTag

        present = {run.fingerprint for run in runs}
        for parent in {self.stored[run.parent, run.experiment].id for run in runs if run.parent}:
            for found in self.search(f"tags.`mlflow.parentRunId` = '{parent}'"):
                tags = found.data.tags
                if "seed" in tags and tags.get("fingerprint", "") not in {"", *present}:
                    to_set, _ = user_changes.changes({NOT_IN_OUTPUTS: "true"}, tags, removing=False)
                    if to_set:
                        self.client.log_batch(found.info.run_id, tags=[RunTag(*item) for item in to_set.items()])
                    self.sent["tags"] += NOT_IN_OUTPUTS in to_set

    def search(self, condition: str, with_deleted: bool = False) -> list[Any]:
        """MLflow's runs that meet a condition in its query language, the oldest first."""
        from mlflow.entities import ViewType

        view = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
        order = ["attributes.start_time"]
        found = list(self.client.search_runs([self.experiment], condition, run_view_type=view, order_by=order))
        for run in found:
            self._rename_tags(run)
        return found

    def _rename_tags(self, run: Any) -> None:
        """Give tags that an earlier version sent their present names; in the store, if the run is not deleted."""
        from mlflow.entities import RunTag

        tags = run.data.tags
        if not (earlier := user_changes.EARLIER.keys() & tags.keys()):
            return
        present = user_changes.renamed(tags)
        if run.info.lifecycle_stage == "active":
            new = [RunTag(key, value) for key, value in present.items() if key not in tags]
            self.client.log_batch(run.info.run_id, tags=new)
            for key in earlier:
                self.client.delete_tag(run.info.run_id, key)
        tags.clear()  # the run's own dictionary
        tags.update(present)

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

    def _send(self, run: RunContent) -> None:
        stored = self.stored.get(run.key) or self._find_or_create(run)
        self._send_values(run, stored)
        self._send_datasets(run, stored)
        self._send_artifacts(run, stored)
        if stored.status != run.status:
            if run.status == "RUNNING":
                self.client.update_run(stored.id, status="RUNNING")
            else:
                self.client.set_terminated(stored.id, run.status, end_time=milliseconds(run.end))
            stored.status = run.status
        stored.is_fresh = False

    def _find_or_create(self, run: RunContent) -> StoredRun:
        with self.locked():  # so that no two processes of this folder create the same run
            found = self._find(run)
            if not found:
                tags, _ = user_changes.changes(self._tags(run), {}, removing=False)
                self.client.create_run(self.experiment, milliseconds(run.start), tags, run.name)
                self.sent["runs"] += 1
                found = self._find(run)  # a publisher in another folder may have created it at the same time
        if not found:
            raise OSError(f"the run {run.name} was not created")
        stored = self.stored[run.key] = _stored_run(found)
        return stored

    def _find(self, run: RunContent) -> Any:
        """MLflow's run of this content, restored if it was deleted; None if there is none.

        Of several, all processes use the same one, and the others are deleted unless a user left something there.
        """

        def rank(found: Any) -> tuple[bool, bool, str]:
            tags = found.data.tags
            is_changed = user_changes.holds_user_content(tags, run.name) or found.data.params.keys() - run.params
            return not is_changed, DUPLICATE in tags, found.info.run_id

        found = self.search(f"tags.fingerprint = '{run.fingerprint}'", with_deleted=True)
        found = [one for one in found if user_changes.is_of_experiment(one.data.tags, run.experiment)]
        active = sorted((one for one in found if one.info.lifecycle_stage == "active"), key=rank)
        if not active:
            deleted = sorted((one for one in found if DUPLICATE not in one.data.tags), key=rank)
            if deleted:
                self.client.restore_run(deleted[0].info.run_id)
                self.sent["runs"] += 1
                return self._find(run)  # now its tags can be renamed
            return None
        for duplicate in active[1:]:
            if rank(duplicate)[0]:
                self.client.set_tag(duplicate.info.run_id, DUPLICATE, active[0].info.run_id)
                self.client.delete_run(duplicate.info.run_id)
        return active[0]

    def _tags(self, run: RunContent) -> dict[str, str]:
        """The tags of a run, with those that link it to its experiment and, if that was sent or found, its parent."""
        tags = dict(run.tags)
        if run.experiment:
            tags[user_changes.EXPERIMENT] = run.experiment
        parent = self.stored.get((run.parent, run.experiment)) if run.parent else None
        return tags | ({"mlflow.parentRunId": parent.id} if parent else {})

    def _send_values(self, run: RunContent, stored: StoredRun) -> None:
        """Metrics, params and tags."""
        from mlflow.entities import Metric, Param, RunTag

        digest = sha256(repr(sorted((point, value) for point, (value, _) in run.metrics.items())).encode())[:12]
        new, markers = {}, {}
        if stored.tags.get(SENT_METRICS) != digest:
            new, markers = self._new_points(run, stored), {SENT_METRICS: digest}
        wanted = self._tags(run)
        if outdated := _outdated_metrics(run, stored):
            wanted[NOT_IN_OUTPUTS] = outdated
        to_set, to_remove = self._changed_tags(wanted, stored, removing=run.status != "RUNNING")
        # The page of a run shows metrics in the order in which they came.
        metrics = [Metric(name, value, time, step) for (name, step), (value, time) in sorted(new.items())]
        while len(metrics) > BATCH:
            self.client.log_batch(stored.id, metrics[:BATCH], tags=[RunTag(SENT_METRICS, "")])
            metrics = metrics[BATCH:]
        params = [Param(*item) for item in run.params.items() if item[0] not in stored.params]  # MLflow's are immutable
        tags = [RunTag(*item) for item in (to_set | markers).items()]
        if metrics or params or tags:
            self.client.log_batch(stored.id, metrics, params, tags)
        for key in to_remove:
            self.client.delete_tag(stored.id, key)
            del stored.tags[key]
        stored.params |= run.params
        stored.tags |= to_set | markers
        self.sent["points"] += len(new)
        self.sent["tags"] += len({*to_set, *to_remove} - {user_changes.MEMORY})

    def _new_points(self, run: RunContent, stored: StoredRun) -> dict[tuple[str, int], tuple[float, int]]:
        """The points whose value is not the latest in the store, with a later time than the one that is there."""
        if stored.metrics is None:
            stored.metrics = self._read_metrics(stored.id)
        new = {}
        for point, (value, time) in run.metrics.items():
            before, time_before = stored.metrics.get(point, (None, 0))
            if value != before:  # a mean changes when a seed is added: its new value must have a later time
                new[point] = value, max(milliseconds(time), time_before + 1)
        stored.metrics |= new
        return new

    def _read_metrics(self, run_id: str) -> dict[tuple[str, int], tuple[float, int]]:
        """All points of a run; of several at a step the one that MLflow shows: the latest, then the largest."""
        return {
            (name, point.step): (point.value, point.timestamp)
            for name in self.client.get_run(run_id).data.metrics
            for point in sorted(
                self.client.get_metric_history(run_id, name), key=lambda point: (point.timestamp, point.value)
            )
        }

    def _changed_tags(
        self, wanted: Mapping[str, str], stored: StoredRun, removing: bool
    ) -> tuple[dict[str, str], list[str]]:
        """Tags to set and tags to remove, from what the user sees now: a training takes long enough for a note."""
        to_set, to_remove = user_changes.changes(wanted, stored.tags, removing)
        if (to_set or to_remove) and not stored.is_fresh:
            stored.tags, stored.is_fresh = dict(self.client.get_run(stored.id).data.tags), True
            to_set, to_remove = user_changes.changes(wanted, stored.tags, removing)
        return to_set, to_remove

    def _send_datasets(self, run: RunContent, stored: StoredRun) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        for purpose, (folder, digest) in run.datasets.items():
            # A data set has one purpose in a run: so the validation images of the training folder are another one.
            name = folder if purpose != "validation" else f"{folder} ({purpose})"
            if (name, digest[:12]) not in stored.datasets:
                source = json.dumps({"uri": folder})
                dataset = Dataset(name=name, digest=digest[:12], source_type="local", source=source)
                tag = InputTag("mlflow.data.context", purpose)
                with self.locked():  # another process may send the same data set
                    self.client.log_inputs(stored.id, [DatasetInput(dataset, [tag])])
                stored.datasets.add((name, digest[:12]))

    def _send_artifacts(self, run: RunContent, stored: StoredRun) -> None:
        """Upload what differs from the files on disk by its digest, or is missing; DIGESTS and the tag come last."""
        digests = {name: sha256_file(path) for name, path in run.artifacts.items()}
        digest, tag = sha256_json(digests)[:12], stored.tags.get(SENT_ARTIFACTS)
        if not run.artifacts or (tag == digest and not self.checks_artifacts):
            return
        folders = {name.rpartition("/")[0] for name in (*digests, DIGESTS)}
        sizes = {name: path.stat().st_size for name, path in run.artifacts.items()}
        there = self._artifact_sizes(stored, folders) if tag is not None else {}
        known: dict[str, str] = {}  # of the files in the store
        if tag and DIGESTS in there:
            known = digests if tag == digest else self._stored_digests(stored)
        missing = [name for name in digests if (known.get(name), there.get(name)) != (digests[name], sizes[name])]
        if not missing and tag == digest and DIGESTS in there:
            return
        if tag:  # if this process is killed now, the next one must not trust the old digests
            self._set_tag(stored, SENT_ARTIFACTS, "")
        for name in missing:
            self.on_answer(min(MAX_WAIT_SECONDS - 1, max(FREE_WAIT_SECONDS, sizes[name] / UPLOAD_RATE)))
            self.client.log_artifact(stored.id, str(run.artifacts[name]), name.rpartition("/")[0] or None)
            self.sent["artifacts"] += 1
        text = json.dumps(digests, indent=1, sort_keys=True)
        self.client.log_text(stored.id, text, DIGESTS)
        # MLflow's client takes any answer to an upload without an error code for a success.
        there = self._artifact_sizes(stored, folders)
        sizes[DIGESTS] = len(text.encode())
        if lost := [name for name in sizes if there.get(name) != sizes[name]]:
            raise OSError(f"{lost[0]} did not arrive")
        self._set_tag(stored, SENT_ARTIFACTS, digest)

    def _stored_digests(self, stored: StoredRun) -> dict[str, str]:
        """SHA-256 by name, of the artifacts that the store holds; empty if it cannot be read."""
        with TemporaryDirectory() as folder:
            path = Path(self.client.download_artifacts(stored.id, DIGESTS, folder))
            try:
                content = files.read_json(path)
            except ValueError:
                return {}
        return content if isinstance(content, dict) else {}

    def _artifact_sizes(self, stored: StoredRun, folders: Iterable[str]) -> dict[str, int]:
        """Bytes, by name."""
        listings = (self.client.list_artifacts(stored.id, folder or None) for folder in folders)
        return {item.path: item.file_size for listing in listings for item in listing}

    def _set_tag(self, stored: StoredRun, key: str, value: str) -> None:
        self.client.set_tag(stored.id, key, value)
        stored.tags[key] = value

    @contextmanager
    def locked(self, while_waiting: Callable[[], None] | None = None, name: str = "tracking.lock") -> Iterator[None]:
        """One process of this folder at a time. With `while_waiting`, waiting for the others does not count."""
        with locked(self.location.folder / ".lenetlab" / name, while_waiting or (lambda: None)):
            yield


def _describe(run: Any) -> str:
    """What lets one choose among runs of one name: id, start, status, commit, DVC experiment and accuracy."""
    tags, accuracy = run.data.tags, names.accuracy_of(run.data.metrics)
    started = datetime.fromtimestamp(run.info.start_time / 1000)
    parts = [f"started {started:%Y-%m-%d %H:%M:%S}", run.info.status.lower()]
    parts += [f"commit {tags['commit'][:10]}"] if "commit" in tags else []
    parts += [f"experiment {tags['dvc_experiment']}"] if "dvc_experiment" in tags else []
    parts += [f"test accuracy {accuracy:.2f} %"] if accuracy is not None else []
    return f"  {run.info.run_id}: {', '.join(parts)}"


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _stored_run(found: Any) -> StoredRun:
    """From MLflow's run; its metrics are read when they are needed."""
    return StoredRun(
        id=found.info.run_id,
        status=found.info.status,
        tags=dict(found.data.tags),
        params=dict(found.data.params),
        datasets={(used.dataset.name, used.dataset.digest) for used in found.inputs.dataset_inputs},
        metrics=None if found.data.metrics else {},
    )


def _outdated_metrics(run: RunContent, stored: StoredRun) -> str:
    """Names of metrics whose value in the store is of an earlier state of the outputs: MLflow cannot remove metrics."""
    if stored.metrics is None or run.status == "RUNNING":
        marked = stored.tags.get(NOT_IN_OUTPUTS, "")
        return marked if marked != "true" else ""
    last = dict(sorted(run.metrics))  # by name, the last step
    later = {name for name, step in stored.metrics if step > last.get(name, -1) and name.startswith(names.OURS)}
    return " ".join(sorted(later))


def _require_writable(database: Path) -> None:
    """Fail at once if the database cannot be written: MLflow tries ten times, for two minutes."""
    if database.exists():
        with closing(connect(database, timeout=MAX_WAIT_SECONDS - 1)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
