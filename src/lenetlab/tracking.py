"""MLflow as a view of the outputs: what it shows is rebuilt from the files that the stages wrote.

The module `runs` makes records of them, and a `Store` sends what MLflow lacks of these. So publishing twice changes
nothing, and an empty store is filled from the files alone. `follow` publishes beside a stage, `sync` later. A run is
known by its fingerprint, kept as a tag; MLflow's own run ids are written nowhere.
"""

import gc
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error as DatabaseError
from sqlite3 import connect as open_database
from typing import Any

from lenetlab import UserError, files, runs

# mlflow is imported in the functions that need them. Importing mlflow takes 3 to 4 s, more than most stages:
# it happens in a process of its own while the stage works.

EXPERIMENT = "lenetlab"
VIEW = "variants"  # the prepared table of runs
SILENCE = 60  # seconds without a sign of life, after which a stage gives up the tracking process: imports take so long
PATIENCE = 4  # seconds that the tracking process waits for servers and locks once its stage has ended, in all
GRACE = 0.5  # seconds of waiting for one answer that do not count yet
UPLINK = 250_000  # bytes of a file that a healthy server takes in a second
RETRY = 20  # seconds until what could not be published while the stage works is tried again
TICK = 0.05  # seconds from one look at what is waited for to the next
DEAD = 600  # seconds without progress, after which a RUNNING run was left behind by a crash
# A hanging server costs 3 s instead of minutes; nothing is reported to MLflow's makers; no migration log, no addresses.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
DESCRIPTION = """\
Is one digit classifier better than another, or was it luck? Every **variant** was trained with several seeds. Its run
shows the means over them, with pictures under *Artifacts*; the runs below it are the seeds, with their checkpoints.

- **prepare**: the data set and a sample of its images
- **comparison**: the verdicts and the whole report (*Artifacts*, `report.html`)
- To compare variants, select their runs and press *Compare*. Accuracies are fractions; `interval` is the 95 %
  t interval of the mean test accuracy over seeds.
"""
COLUMNS = {  # of the prepared view -> width in pixels
    "params.`parameters`": 90,
    "tags.`accuracy`": 120,
    "tags.`interval`": 120,
    "tags.`verdict`": 330,
    "tags.`seeds`": 90,
}


# The store.


@dataclass(frozen=True)
class Place:
    """Where the tracking store is. Artifacts of a SQLite store lie beside it, so that both can be moved together."""

    uri: str
    folder: Path
    database: Path | None  # None if it is not SQLite


@dataclass
class Held:
    """What the store holds of one run; the latest value where a point was sent twice."""

    id: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    points: dict[tuple[str, int], tuple[float, int]]  # (metric, step) -> value, milliseconds
    data: set[tuple[str, str]]


def place() -> Place:
    """MLFLOW_TRACKING_URI, or what plain `mlflow ui` opens in the repository, to which a relative path belongs too."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if not uri.startswith("sqlite:///"):
        return Place(uri, files.root(), None)
    database = files.root() / uri.removeprefix("sqlite:///")
    return Place(f"sqlite:///{database}", database.parent, database)


@contextmanager
def opened(where: Place, sign: Callable[..., None] = lambda *_: None) -> Iterator["Store"]:
    """The store, in whose folder the block works, since its artifacts have relative places."""
    with chdir(where.folder):
        yield Store(where, sign)


class Client:
    """MLflow's own, which gives a sign of life after every answer, and knows whose answer it is."""

    def __init__(self, where: Place, sign: Callable[..., None]) -> None:
        self.sign, self.mlflow = sign, _mlflow()
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
        self.held: dict[str, Held] = {}  # by fingerprint
        # Processes that make a database at the same time crash in its migrations, which take seconds.
        with self._locked(sign if where.database else None):
            if where.database:
                _check(where.database)
            self.client = Client(where, sign)
            self.experiment = self._experiment()

    def put(self, *wanted: runs.Run) -> None:
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
                files.read_json_lines(resume / found.data.tags["fingerprint"] / "journal.jsonl") for found in family
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
                    self.put(runs.of_seed(journal, "KILLED"))
                else:
                    self.client.set_terminated(found.info.run_id, "KILLED", end_time=_milliseconds(last))
                self.added["ended"] += 1

    def _experiment(self) -> str:
        tags = {
            "mlflow.note.content": DESCRIPTION,
            # The prepared view is no documented interface; should it fall away, the page shows MLflow's usual table.
            f"mlflow.sharedViewState.{VIEW}": json.dumps(
                {
                    "selectedColumns": list(COLUMNS),
                    "columnOrder": list(COLUMNS),
                    "columnWidths": COLUMNS,
                    "orderByKey": "attributes.start_time",  # any other takes the children from below their parents
                    "orderByAsc": False,
                }
            ),
        }
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            created = self.client.create_experiment(EXPERIMENT, tags=tags)
            if self.where.database:
                _make_location_relative(self.where.database, created)
            return created
        if found.name != EXPERIMENT:
            raise OSError("its answers are not MLflow's")
        if self.where.database:  # a process may have ended in between
            _make_location_relative(self.where.database, found.experiment_id, found.artifact_location)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        for key, value in tags.items():
            if found.tags.get(key) != value:
                self.client.set_experiment_tag(found.experiment_id, key, value)
        return found.experiment_id

    def _find_or_create(self, run: runs.Run) -> Held:
        with self._locked():  # so that no two processes create the same run
            found = self._search(f"tags.fingerprint = '{run.fingerprint}'")
            if not found:
                below = {"mlflow.parentRunId": self.held[run.parent].id} if run.parent else {}
                found = [self.client.create_run(self.experiment, _milliseconds(run.start), run.tags | below, run.name)]
                self.added["runs"] += 1
        held = self.held[run.fingerprint] = Held(
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

    def _put_values(self, run: runs.Run, held: Held) -> None:
        from mlflow.entities import Metric, Param, RunTag

        points = {}
        for point, (value, when) in run.points.items():
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

    def _put_data(self, run: runs.Run, held: Held) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        for purpose, (folder, digest) in run.data.items():
            if (folder, digest[:12]) not in held.data:
                source = json.dumps({"uri": folder})
                data = Dataset(name=folder, digest=digest[:12], source_type="local", source=source)
                with self._locked():  # two processes may meet here with the same data set
                    self.client.log_inputs(held.id, [DatasetInput(data, [InputTag("mlflow.data.context", purpose)])])
                held.data.add((folder, digest[:12]))

    def _put_artifacts(self, run: runs.Run, held: Held) -> None:
        digest = files.sha256_json({place: files.sha256_file(path) for place, path in run.artifacts.items()})[:12]
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

    def _sizes(self, held: Held, folders: Iterable[str]) -> dict[str, int]:
        found = (self.client.list_artifacts(held.id, folder or None) for folder in folders)
        return {item.path: item.file_size for items in found for item in items}

    def _search(self, condition: str) -> list[Any]:
        return list(self.client.search_runs([self.experiment], condition, order_by=["attributes.start_time"]))

    def _history(self, found: Any, key: str) -> list[Any]:
        return list(self.client.get_metric_history(found.info.run_id, key))

    @contextmanager
    def _locked(self, sign: Callable[..., None] | None = None) -> Iterator[None]:
        """One process of this folder at a time. With `sign` waiting for the others is no waiting that counts."""
        with files.locked(self.where.folder / ".lenetlab" / "tracking.lock", sign or (lambda: None)):
            yield


def _mlflow() -> Any:
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


def _make_location_relative(database: Path, experiment: str, present: str | None = None) -> None:
    """MLflow makes every location of artifacts absolute, and when the folder has moved its pages find none of them.

    It does understand a location relative to the folder it works in, but takes none: so it is set in the database.
    """
    if present == f"mlruns/{experiment}":
        return
    with closing(open_database(database, timeout=30)) as connection, connection:
        change = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
        connection.execute(change, (f"mlruns/{experiment}", experiment))


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


# Beside a stage.


@contextmanager
def follow(stage: str, variant: str | None = None, live: Mapping[int, Path] | None = None) -> Iterator[None]:
    """Publish what the block writes, in a process of its own; whatever happens to that, the block goes on.

    `live` are the folders, by seed, in which journals grow while the block trains: epochs are published as they come.
    If the block fails, or is interrupted or killed, the runs that were RUNNING end as FAILED or KILLED.
    """
    folders = [str(folder.absolute()) for folder in (live or {}).values()]
    task = json.dumps({"stage": stage, "variant": variant, "live": folders})
    tracker = subprocess.Popen(
        [sys.executable, "-m", "lenetlab.tracking", task],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the stage, which tells this process
    )
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception):
            _farewell(tracker, "failed", patience=1)
        else:  # who presses Ctrl-C waits for nothing
            _farewell(tracker, "killed", patience=0)
        raise
    problem = _farewell(tracker, "done", patience=SILENCE)
    if problem:
        print(
            f"warning: the record of this stage in MLflow ({_public(place().uri)}) is not complete: {problem}. "
            "Its outputs are; `lenetlab sync` sends the rest.",
            file=sys.stderr,
        )


def _farewell(tracker: subprocess.Popen, word: str, patience: float) -> str | None:
    """Tell the tracking process how the block ended and hear it out; returns what went wrong there.

    It may be silent for `patience` seconds. After a block that failed it is left to itself then: it has little to do.
    """
    said = b""
    with suppress(BrokenPipeError):
        tracker.stdin.write(word.encode())
    tracker.stdin.close()
    while b"done" not in said and b"failed" not in said:
        if not select.select([tracker.stdout], [], [], patience)[0]:
            if word != "done":
                tracker.stdout.close()
                threading.Thread(target=tracker.wait, daemon=True).start()  # left to itself, and yet no zombie
                return None
            said = b"failed: it gave no sign of life"
        elif heard := os.read(tracker.stdout.fileno(), 4096):
            said += heard
        else:
            said = b"failed: it ended without a word"
    tracker.kill()
    tracker.wait()
    tracker.stdout.close()
    return said.decode(errors="replace").partition("failed: ")[2].strip() or None


def main(arguments: Sequence[str]) -> None:
    """The tracking process: publish live until stdin brings a word, then once more, from the final outputs.

    A failure before the word is forgiven if all goes well later: servers are restarted.
    """
    task = json.loads(arguments[0])
    outputs, where, watch, word = Path.cwd(), place(), None, None
    sys.stdout = sys.stderr  # what MLflow has to say is no word to the stage
    gc.disable()  # mlflow's import makes half a million objects that stay: searching them for garbage slows it
    while True:
        try:
            watch = watch or _watch(where)
            with opened(where, watch.step) as store:
                gc.enable()
                while not (word := word or _heard(seconds=0)):
                    store.put(*_live(task, "RUNNING"))
                    word = _heard(seconds=1)
                store.put(*(_final(task, outputs) if word == "done" else _live(task, word.upper())))
            return _say("done")
        except Exception as error:
            word = word or _heard(seconds=0)
            if word:
                return _say(f"failed: {_in_short(error)}")
            word = _heard(seconds=RETRY)


def _watch(where: Place) -> "Watch":
    """From now on waiting counts; so all that takes seconds to import is imported first, be the disk ever so slow."""
    _mlflow()
    import scipy.special  # noqa: F401

    if where.database:
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    return Watch()


class Watch:
    """Ends this process when its stage is over and it has waited for `PATIENCE` seconds for something outside.

    A server that hangs, or a database that another process has locked, makes it sleep. On a busy machine it waits for
    a processor or the disk, for as long as it takes: that never counts. A step that has waited longer than it is
    allowed counts as a whole, so that a server that is a little slow has its time, and one that is very slow has not.
    """

    def __init__(self) -> None:
        self.waited = self.before = 0.0  # seconds, in this step and in earlier ones
        self.allowed = GRACE
        self.thread = threading.main_thread().native_id
        threading.Thread(target=self._run, daemon=True).start()

    def step(self, allowed: float = GRACE) -> None:
        """To be called after every answer, with the seconds that the next one may take."""
        _show_life()
        self.before += self._counted()
        self.waited, self.allowed = 0.0, allowed

    def _counted(self) -> float:
        return self.waited if self.waited > self.allowed else 0.0

    def _run(self) -> None:
        spent = time.process_time()
        while self.before + self._counted() < PATIENCE:
            time.sleep(TICK)
            earlier, spent = spent, time.process_time()
            if not select.select([0], [], [], 0)[0]:  # the stage works still
                self.waited = self.before = 0.0
            elif spent - earlier < TICK / 50 and not _is_held_up(self.thread):
                self.waited += TICK
        _say(f"failed: it waited too long for {'an answer' if not place().database else 'the database'}")
        os._exit(1)


def _is_held_up(thread: int) -> bool:
    """Whether a thread of this process waits for a processor or the disk, as far as the system tells."""
    try:
        return Path(f"/proc/self/task/{thread}/stat").read_bytes().rpartition(b") ")[2][:1] in b"RD"
    except OSError:
        return False


def _live(task: dict, unfinished: str) -> list[runs.Run]:
    journals = [files.read_json_lines(Path(folder) / "journal.jsonl") for folder in task["live"]]
    return runs.of_training(journals, len(journals), unfinished)


def _final(task: dict, outputs: Path) -> list[runs.Run]:
    if task["stage"] == "prepare":
        return runs.of_prepare(outputs)
    if task["stage"] != "compare":
        return runs.of_variant(outputs, task["variant"])
    names = sorted(path.stem for path in (outputs / "reports" / "metrics").iterdir())
    return [*runs.of_comparison(outputs), *(run for name in names for run in runs.of_variant(outputs, name))]


def _say(word: str) -> None:
    with suppress(BrokenPipeError):  # a stage that is gone
        os.write(1, f"{word}\n".encode())


def _show_life() -> None:
    if select.select([], [1], [], 0)[1]:  # while the stage works nobody reads, and the pipe may fill up
        _say(".")


def _heard(seconds: float | None) -> str | None:
    """What the stage says within so many seconds; that it was killed, if its end of the pipe is gone."""
    ready, _, _ = select.select([0], [], [], seconds)
    return (os.read(0, 100).decode() or "killed") if ready else None


def _in_short(error: Exception) -> str:
    line = "".join(filter(str.isprintable, (str(error).strip().splitlines() or [""])[0]))
    return _public(f"{type(error).__name__}: {line}")[:200]


def _public(uri: str) -> str:
    """Without user name and password."""
    return re.sub(r"//[^/\s]+@", "//", uri)


# On request.


def sync(variants: Sequence[str]) -> dict[str, int]:
    """Publish what lies on disk and is not in MLflow yet, and end what a crash left RUNNING; returns what was new."""
    outputs, resume = Path.cwd(), files.root() / ".lenetlab" / "resume"
    with _told_plainly(), opened(place()) as store:
        store.put(*runs.of_prepare(outputs))
        for variant in variants:
            store.put(*runs.of_variant(outputs, variant))
        store.put(*runs.of_comparison(outputs))
        store.end_the_dead(resume)
        return dict(store.added)


def recorded(run: str) -> dict[str, Any]:
    """What MLflow's run of a seed, by its id or its name, tells of a training, from tags and metrics alone."""
    with _told_plainly(), opened(place()) as store:
        found = store.find(run)
        tags = found.data.tags
        missing = sorted({"identity", "seed", "fingerprint", "weights"} - set(tags))
        if missing:
            raise UserError(
                f"MLflow's run {run!r} has no tag {', '.join(missing)}; allowed: a finished training of one seed,"
                " such as 'mlp seed 0'; lenetlab sync sends what is missing"
            )
        return {
            "identity": json.loads(tags["identity"]),
            "seed": int(tags["seed"]),
            "fingerprint": tags["fingerprint"],
            "weights": tags["weights"].split(),
            "accuracy": store.curve(found, "train_accuracy"),
            "origin": json.loads(tags.get("origin", "{}")),
        }


def ui(port: int) -> None:
    """Serve MLflow's pages to this machine until Ctrl-C, and print the address of the prepared view."""
    where = place()
    with _told_plainly(), opened(where) as store:
        page = f"/#/experiments/{store.experiment}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"
    if where.uri.startswith("http"):
        print(_public(where.uri).rstrip("/") + page)
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"port {port} cannot be used: {error.strerror}; choose another one") from None
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", where.uri, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    # Of its own MLflow answers to `10.*` too, which may be a name like 10.example.org: a foreign page could read along.
    command += ["--allowed-hosts", "localhost:*,127.0.0.1:*"]
    # The job execution is for services that nobody uses here, and takes seconds to start.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("MLflow is starting …", flush=True)
    server = subprocess.Popen(
        command, cwd=where.folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not _answers(port):
            if server.poll() is not None:
                raise UserError(f"MLflow's server ended with status {server.returncode}; the lines above say why")
            time.sleep(0.3)
        print(f"http://127.0.0.1:{port}{page}\nCtrl-C ends it.", flush=True)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)  # its workers too
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Whatever keeps MLflow from working is told in one line."""
    mlflow = _mlflow()
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (mlflow.exceptions.MlflowException, SQLAlchemyError, DatabaseError, OSError) as error:
        raise UserError(f"MLflow at {_public(place().uri)}: {_in_short(error)}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
