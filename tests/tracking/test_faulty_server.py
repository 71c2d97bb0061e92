"""A stage publishes to MLflow while the server, the network or the database is broken.

Each case must end within seconds and warn at most once, with the remedy; `lenetlab sync` must then complete the record,
as if nothing had been broken.
"""

import contextlib
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lenetlab.storage.digests import sha256
from lenetlab.tracking import beside_stage, pages, sync
from tests.tracking import database_faults, http_faults, outputs, stores
from tests.tracking.forked import ForkedProcess
from tests.tracking.http_faults import Proxy, all_requests
from tests.tracking.outputs import journal, make_training, write_journal
from tests.tracking.stores import wait_for, working_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("forked_publishers"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]
TIMES = ("at the start", "while it trains", "at the end")  # when a fault begins
PASSWORD = "pa55@w0rd"  # noqa: S105
ALLOWED_SECONDS = 5.0  # that a fault may cost a stage
CASES_AT_A_TIME = 8


@dataclass
class Server:
    """MLflow's server, with its database and artifacts in a folder."""

    folder: Path
    port: int

    def run(self) -> None:
        from mlflow.server import constants

        os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = f"sqlite:///{self.folder}/mlflow.db"
        os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
        os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = str(self.folder / "artifacts")
        os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
        import uvicorn

        uvicorn.run("mlflow.server.fastapi_app:app", host="127.0.0.1", port=self.port, log_level="critical")


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store / "mlflow.db", folder)
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = 'mlflow-artifacts:/' || experiment_id")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        server = Server(folder, probe.getsockname()[1])
    with ForkedProcess(server.run, folder / "errors") as process:
        wait_for(lambda: process.poll() is not None or pages.accepts_connections(server.port))
        yield server


@dataclass
class Case:
    """A training that is published while something is broken, in a folder of its own.

    Either a proxy breaks requests to the server (`fault`), or a database on this machine is broken.
    """

    name: str
    begins: str = "at the end"  # one of TIMES
    fault: str | None = None  # one of http_faults.FAULTS
    requests: http_faults.Requests = all_requests  # those that are broken
    break_database: Callable[[Path], Callable[[], None]] | None = None
    disk_share: float | None = None  # of the database's size; the disk is full beyond it
    is_repaired: bool = False  # before the stage ends
    folder: Path = Path()
    data: str = ""  # digest of its training data, so that its runs differ from those of other cases
    server: Server | None = None
    proxy: Proxy | None = None
    repair_database: Callable[[], None] = lambda: None
    stage: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    seconds: float = 0.0  # that the stage waited for the publisher
    errors: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.begins}{', then repaired' * self.is_repaired}"

    @contextlib.contextmanager
    def working(self, through_proxy: bool = True) -> Iterator[pytest.MonkeyPatch]:
        """The block works in the folder of the case, with its store and data."""
        with working_in(self.folder) as patch:
            patch.setattr(outputs, "DATA", self.data)
            if self.proxy and through_proxy:
                patch.setenv("MLFLOW_TRACKING_URI", f"http://user:{PASSWORD}@127.0.0.1:{self.proxy.port}")
            elif self.server:
                patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{self.server.port}")
            yield patch

    def start(self, folder: Path, server: Server, empty_store: Path) -> None:
        self.folder, self.data = folder, sha256(str(folder).encode())
        shutil.copytree(empty_store, folder)
        if self.fault:
            self.server, self.proxy = server, Proxy(server.port)
        disk = contextlib.nullcontext()
        if self.disk_share is not None:
            disk = database_faults.limited_disk(folder / "mlflow.db", self.disk_share)
        with self.working(), disk:
            self._break_if("at the start")
            self._write_journals(epochs=1)
            resume = {seed: folder / "resume" / str(seed) for seed in (0, 1)}
            self.stage.enter_context(beside_stage.publishing("train", "mlp", ["mlp"], live=resume))

    def train(self) -> None:
        with self.working():
            self._break_if("while it trains")
            self._write_journals(epochs=2)

    def end(self, capfd: pytest.CaptureFixture) -> None:
        with self.working():
            if self.is_repaired:
                self._repair()
            make_training(self.folder, "mlp")
            self._break_if("at the end")
            capfd.readouterr()
            began = time.monotonic()
            self.stage.close()
            self.seconds = time.monotonic() - began
            self.errors = capfd.readouterr().err
        self._repair()

    def runs(self, client: Any) -> list[Any]:
        """MLflow's runs of the case."""
        return stores.find_runs(client, f"tags.data = '{self.data[:12]}'")

    def content(self, store: Path, artifacts: Path) -> list[dict]:
        """All that a store holds of the case; two runs of the same name would both be there."""
        client = stores.open_client(store)
        found = stores.describe(
            client, self.runs(client), lambda uri: artifacts / uri.removeprefix("mlflow-artifacts:/")
        )
        return sorted(found, key=lambda run: (run["name"], run["status"]))

    def problems(self, usual_seconds: float, reference: Path) -> list[str]:
        """How the stage and its record differ from what they must be; `reference` is a store without faults."""
        store = self.server.folder if self.server else self.folder
        artifacts = store / "artifacts" if self.server else store
        problems, lines = [], self.errors.splitlines()
        if self.seconds > usual_seconds + ALLOWED_SECONDS:
            problems.append(f"it cost {self.seconds - usual_seconds:.1f} s")
        if len(lines) > 1 or (lines and "lenetlab sync" not in lines[0]):
            problems.append(f"wrong warnings: {lines}")
        if any(word in self.errors for word in ("user", *PASSWORD.split("@"))):
            problems.append(f"the warning shows user or password: {lines}")
        before = self.content(store, artifacts)
        with self.working(through_proxy=False) as patch:
            sync.sync(["mlp"])
            after = self.content(store, artifacts)
            if set(sync.sync(["mlp"]).values()) != {0}:
                problems.append("a second sync found something to send")
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{reference}/mlflow.db")
            sync.sync(["mlp"])
        if not lines and before != after:
            problems.append("the record was not complete, without a warning")
        if after != self.content(reference, reference):
            problems.append("the record differs from one that was published without a fault")
        return [f"{self}: {problem}" for problem in problems]

    def _break_if(self, moment: str) -> None:
        if self.begins == moment and self.proxy and self.fault:
            self.proxy.break_requests(self.fault, self.requests)
        elif self.begins == moment and self.break_database:
            self.repair_database = self.break_database(self.folder / "mlflow.db")

    def _repair(self) -> None:
        if self.proxy:
            self.proxy.repair()
        self.repair_database()
        self.repair_database = lambda: None

    def _write_journals(self, epochs: int) -> None:
        for seed in (0, 1):
            events = journal("mlp", seed, 3, until=epochs, end=None)
            write_journal(self.folder / "resume" / str(seed) / "journal.jsonl", events)


def few_cases() -> list[Case]:
    return [
        Case("healthy", fault="error 500", requests=http_faults.no_requests),
        Case("refused", "while it trains", "refused"),
        Case("hanging", "at the end", "hanging"),
        Case("a byte at a time", "at the end", "a byte at a time"),
        Case("uploads cut", "at the end", "request cut", http_faults.uploads),
        Case("every third request fails", "at the start", "error 500", http_faults.every_third_request),
        Case("database locked", break_database=database_faults.lock),
        Case("disk full", "at the start", disk_share=0.5),
    ]


def many_cases() -> list[Case]:
    cases, faults = few_cases(), [fault for fault in http_faults.FAULTS if fault]
    databases = {
        "locked briefly": database_faults.lock_briefly,
        "locked": database_faults.lock,
        "read-only": database_faults.make_read_only,
        "garbage": database_faults.overwrite,
        "cut in half": database_faults.cut_in_half,
        "of a later MLflow": database_faults.make_newer,
    }
    for name, fault in databases.items():
        cases += [Case(f"database {name}", begins, break_database=fault) for begins in TIMES]
        cases += [Case(f"database {name}", "while it trains", break_database=fault, is_repaired=True)]
    cases += [Case("disk full", "at the start", disk_share=share) for share in (0.01, 0.2, 0.7, 0.9)]
    cases += [Case(fault, begins, fault) for fault in faults for begins in TIMES]
    cases += [Case(fault, "while it trains", fault, is_repaired=True) for fault in faults[:5]]
    for fault in ("answer cut", "login page", "done, then hanging"):
        cases += [
            Case(f"{fault} at request {n}", "at the end", fault, http_faults.only_request(n)) for n in range(1, 32, 7)
        ]
    for n in range(2, 32, 7):
        cases += [Case(f"refused from request {n}", "at the end", "refused", http_faults.requests_from(n))]
    return cases


def run_cases(cases: list[Case], server: Server, empty_store: Path, folder: Path, capfd: pytest.CaptureFixture) -> None:
    """Start them together, and end them one after another."""
    for number, case in enumerate(cases):
        case.start(folder / str(number) / "study", server, empty_store)
    for case in cases:
        if case.begins != "at the start":
            client = stores.open_client(case.server.folder if case.server else case.folder)
            wait_for(lambda case=case, client=client: len(case.runs(client)) == 3)
        elif case.fault not in (None, "refused"):
            wait_for(lambda case=case: case.proxy.broken)
    for case in cases:
        case.train()
    time.sleep(1.5)  # epochs are published every second
    for case in cases:
        case.end(capfd)


def test_no_fault_delays_a_stage_or_damages_its_record(server, empty_store, tmp_path, count, large, capfd):
    problems, costs, cases = [], [], many_cases() if large else few_cases()
    reference = shutil.copytree(empty_store, tmp_path / "reference")
    for start in range(0, len(cases), CASES_AT_A_TIME):
        batch = cases[start : start + CASES_AT_A_TIME]
        run_cases(batch, server, empty_store, tmp_path / str(start), capfd)
        for case in batch:
            problems += case.problems(cases[0].seconds, reference)
            costs.append(f"{case.seconds - cases[0].seconds:+.1f} s, {case}: {case.errors.strip()}")
            count("tracking faults")
            if case.proxy:
                case.proxy.close()
    print(*costs, sep="\n")
    assert problems == [], "\n".join(problems)
