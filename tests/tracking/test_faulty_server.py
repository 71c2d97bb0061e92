"""A stage and its record in MLflow while the server, the way to it or the database is broken on purpose.

Servers are real ones behind a proxy that breaks what passes through it. Of every case it is asked: does the stage go on
at once, does it say in one line what to do, and does `lenetlab sync` later make the record as it would have been?
"""

# ruff: noqa: ARG001  a fault takes all that another one needs

import contextlib
import functools
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lenetlab.storage.digests import sha256
from lenetlab.tracking import beside_stage, pages, sync
from lenetlab.tracking.connection import StoreLocation
from lenetlab.tracking.store import open_store
from tests.tracking import outputs
from tests.tracking.outputs import journal, make_training, write_journal
from tests.tracking.test_store import told, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torture,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]
WHEN = ("at the start", "while it trains", "at the end")  # a fault begins
PASSWORD = "pa55@w0rd"  # noqa: S105
ADDED = 5.0  # seconds that a fault may cost a stage, in all
BATCH = 8  # cases at a time, since most of the time passes while they import MLflow
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\r\n<html>Please log in.</html>"


def always(number: int, request: bytes) -> bool:
    return True


def never(number: int, request: bytes) -> bool:
    return False


def upload(number: int, request: bytes) -> bool:
    return request.startswith(b"PUT")


def third(number: int, request: bytes) -> bool:
    return number % 3 == 0


def only(which: int) -> Callable[[int, bytes], bool]:
    return lambda number, _: number == which


def since(which: int) -> Callable[[int, bytes], bool]:
    return lambda number, _: number >= which


class Proxy:
    """Passes requests on to a server until it is told to break some; one request per connection."""

    def __init__(self, server: int) -> None:
        self.server, self.port = server, 0
        self.fault, self.hits = None, never
        self.requests = self.broken = 0  # since the last break
        self.healed = threading.Event()
        self._listen()

    def _listen(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True).start()

    def break_by(self, fault: str, hits: Callable[[int, bytes], bool]) -> None:
        self.fault, self.hits, self.requests = fault, hits, 0
        if fault == "refused" and hits(0, b""):
            self.refuse()

    def refuse(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()

    def heal(self) -> None:
        self.hits = never
        self.healed.set()
        self.healed = threading.Event()
        if self.listener.fileno() < 0:
            self._listen()

    def close(self) -> None:
        self.heal()
        self.refuse()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = _message(client)
            if not request:
                return
            self.requests += 1
            hit = self.hits(self.requests, request)
            self.broken += hit
            FAULTS[self.fault if hit else None](self, client, request, self.healed)

    def answer(self, request: bytes) -> bytes:
        head, end, body = request.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self.server)) as server:
            server.sendall(b"\r\n".join([*lines, b"Connection: close"]) + end + body)
            return b"".join(iter(functools.partial(server.recv, 65536), b""))


def _message(client: socket.socket) -> bytes:
    """A whole request."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += (heard := client.recv(65536))
        if not heard:
            return b""
    head, _, body = said.partition(b"\r\n\r\n")
    (length,) = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")] or [0]
    while len(body) < length:
        body += (heard := client.recv(65536))
        if not heard:
            return b""
    return head + b"\r\n\r\n" + body


def _refuse(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    proxy.refuse()


def _hang(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    healed.wait(60)


def _do_and_hang(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    proxy.answer(request)
    healed.wait(60)


def _fail(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")


def _cut(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    answer = proxy.answer(request)
    client.sendall(answer[: len(answer) - len(answer.partition(b"\r\n\r\n")[2]) // 2 - 1])


def _cut_request(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    """The server gets half of an upload, the client no answer."""
    with socket.create_connection(("127.0.0.1", proxy.server)) as server:
        server.sendall(request[: len(request) - len(request.partition(b"\r\n\r\n")[2]) // 2 - 1])


def _drip(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    for byte in proxy.answer(request):
        client.sendall(bytes([byte]))
        if healed.wait(0.2):
            return


def _say_html(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    client.sendall(HTML)


def _say_json(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")


def _say_garbage(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    client.sendall(bytes(range(256)) * 4)


def _pass_on(proxy: Proxy, client: socket.socket, request: bytes, healed: threading.Event) -> None:
    client.sendall(proxy.answer(request))


FAULTS: dict[str | None, Callable[[Proxy, socket.socket, bytes, threading.Event], None]] = {
    None: _pass_on,
    **{"refused": _refuse, "hanging": _hang, "done, and hanging": _do_and_hang, "error 500": _fail, "answer cut": _cut},
    **{"request cut": _cut_request, "dripping": _drip, "a page": _say_html, "JSON of another": _say_json},
    "garbage": _say_garbage,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    """A real server's port and folder."""
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    running = subprocess.Popen(
        [*command, "--workers", "1"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: running.poll() is not None or pages.accepts_connections(port))
        where = StoreLocation(f"http://127.0.0.1:{port}", folder, None)
        with open_store(where) as store:  # the experiment, which all cases share; the first request takes longest
            store.send()
        yield port, folder
    finally:
        os.killpg(running.pid, 15)
        running.wait()


# Faults of a database on this machine: each is a function of the database's file, and returns its remedy.


def _changed(path: Path, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    before = path.read_bytes()
    path.write_bytes(change(before))
    return lambda: path.write_bytes(before)


def lock(path: Path) -> Callable[[], None]:
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def lock_for_a_while(path: Path) -> Callable[[], None]:
    """For less than the stage waits."""
    release = lock(path)
    timer = threading.Timer(2, release)
    timer.start()
    return timer.join


def make_read_only(path: Path) -> Callable[[], None]:
    """As SQLite marks files of later versions of itself; permissions do not hold root off."""
    return _changed(path, lambda content: content[:18] + b"\x03" + content[19:])


def overwrite(path: Path) -> Callable[[], None]:
    return _changed(path, lambda content: bytes(range(256)) * (len(content) // 256))


def halve(path: Path) -> Callable[[], None]:
    return _changed(path, lambda content: content[: len(content) // 8192 * 4096])


def make_newer(path: Path) -> Callable[[], None]:
    def put(version: str) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))

    with contextlib.closing(sqlite3.connect(path)) as connection:
        ((before,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    put("ffffffffffff")
    return lambda: put(before)


@contextlib.contextmanager
def no_room(path: Path, share: float) -> Iterator[None]:
    """For processes that start in here: writing fails beyond this share of the database's size.

    Beyond its whole size a small record would not go: every table of an empty database has a page already.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(path.stat().st_size * share), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass
class Case:
    """A training that is followed while something is broken, in a folder of its own."""

    name: str
    when: str = "at the end"  # the fault begins: at the start, while it trains, at the end
    fault: str | None = None  # of a server; without one it is a database
    hits: Callable[[int, bytes], bool] = always
    break_store: Callable[[Path], Callable[[], None]] | None = None
    room: float | None = None  # the share of the database's size beyond which nothing can be written
    recovers: bool = False  # before the end
    folder: Path = Path()
    data: str = ""  # digest of its training data, so that its runs are no other case's
    proxy: Proxy | None = None
    remedy: Callable[[], None] = lambda: None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    seconds: float = 0.0
    said: str = ""

    @contextlib.contextmanager
    def here(self, uri: str | None = None) -> Iterator[None]:
        """In its folder, with its store and its data."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(outputs, "DATA", self.data)
            patch.delenv("DVC_ROOT", raising=False)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            if self.proxy:
                patch.setenv("MLFLOW_TRACKING_URI", uri or f"http://user:{PASSWORD}@127.0.0.1:{self.proxy.port}")
            yield

    def __str__(self) -> str:
        return f"{self.name} {self.when}{', then well again' * self.recovers}"

    def break_it(self, when: str) -> None:
        if self.when == when and self.proxy:
            self.proxy.break_by(self.fault, self.hits)
        elif self.when == when and self.break_store:
            self.remedy = self.break_store(self.folder / "mlflow.db")

    def heal(self) -> None:
        if self.proxy:
            self.proxy.heal()
        self.remedy()
        self.remedy = lambda: None

    def begin(self) -> None:
        room = contextlib.nullcontext() if self.room is None else no_room(self.folder / "mlflow.db", self.room)
        with self.here(), room:
            self.break_it("at the start")
            self.grow(1)
            folders = {seed: self.folder / "resume" / str(seed) for seed in (0, 1)}
            self.stack.enter_context(beside_stage.publishing("train", "mlp", live=folders))

    def grow(self, epochs: int) -> None:
        for seed in (0, 1):
            events = journal("mlp", seed, 3, until=epochs, end=None)
            write_journal(self.folder / "resume" / str(seed) / "journal.jsonl", events)

    def go_on(self) -> None:
        with self.here():
            self.break_it("while it trains")
            self.grow(2)

    def end(self, capfd: pytest.CaptureFixture) -> None:
        with self.here():
            if self.recovers:
                self.heal()
            make_training(self.folder, "mlp")
            self.break_it("at the end")
            capfd.readouterr()
            began = time.monotonic()
            self.stack.close()
            self.seconds = time.monotonic() - began
            self.said = capfd.readouterr().err
        self.heal()


def client_of(case: Case, home: Path) -> tuple[Any, list[Any]]:
    """MLflow's client and the case's runs, read from the database itself."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{(home if case.fault else case.folder) / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("lenetlab")
    condition = f"tags.data = '{case.data[:12]}'"
    return client, client.search_runs([experiment.experiment_id], condition) if experiment else []


def shown(case: Case, home: Path) -> list[dict]:
    """All that MLflow tells of the case's runs, without its own ids; were there two of one kind, both."""

    def place(uri: str) -> Path:
        return home / uri.replace("mlflow-artifacts:", "artifacts") if case.fault else case.folder / uri

    found = told(*client_of(case, home), place)
    return sorted(found, key=lambda run: (run["name"], run["status"]))


def made_without_fault(case: Case, port: int, home: Path, template: Path) -> list[dict]:
    """The same record, made anew: in place of the present one on the server, or in another database."""
    if case.fault:
        client, runs = client_of(case, home)
        for run in runs:
            client.delete_run(run.info.run_id)
    else:
        case = replace(case, folder=case.folder.with_name("again"))
        shutil.copytree(
            case.folder.with_name("study"),
            case.folder,
            ignore=shutil.ignore_patterns("mlflow.db*", "mlruns", ".lenetlab"),
        )
        shutil.copy(template / "mlflow.db", case.folder)
    with case.here(f"http://127.0.0.1:{port}"):
        sync.sync(["mlp"])
    return shown(case, home)


def problems_of(case: Case, usual: float, port: int, home: Path, template: Path) -> list[str]:
    """What is wrong with how the stage and its record came through."""
    problems, lines = [], case.said.splitlines()
    if case.seconds > usual + ADDED:
        problems.append(f"it cost {case.seconds - usual:.1f} s")
    if len(lines) > 1 or (lines and "lenetlab sync" not in lines[0]):
        problems.append(f"it said {lines}")
    if any(word in case.said for word in ("user", *PASSWORD.split("@"))):
        problems.append(f"it gave credentials away: {lines}")
    before = shown(case, home)
    with case.here(f"http://127.0.0.1:{port}"):
        sync.sync(["mlp"])
        found = shown(case, home)
        if set(sync.sync(["mlp"]).values()) != {0}:
            problems.append("a second sync had something to add")
    if not lines and before != found:
        problems.append("it did not say that the record is not complete")
    if found != made_without_fault(case, port, home, template):
        problems.append("the record is not what it would have been")
    return [f"{case}: {problem}" for problem in problems]


def try_out(cases: list[Case], server: tuple[int, Path], template: Path, folder: Path, capfd) -> None:
    """These cases begin together and end one after another."""
    port, home = server
    for number, case in enumerate(cases):
        case.folder = folder / str(number) / "study"
        case.data = sha256(str(case.folder).encode())
        shutil.copytree(template, case.folder)
        case.proxy = Proxy(port) if case.fault else None
        case.begin()
    for case in cases:
        if case.when != "at the start":
            wait_for(lambda case=case: len(client_of(case, home)[1]) == 3)
        elif case.fault not in (None, "refused"):
            wait_for(lambda case=case: case.proxy.broken)
    for case in cases:
        case.go_on()
    time.sleep(1.5)  # epochs are published every second
    for case in cases:
        case.end(capfd)


def few() -> list[Case]:
    return [
        Case("healthy", fault="error 500", hits=never),
        Case("refused", "while it trains", "refused"),
        Case("hanging", "at the end", "hanging"),
        Case("dripping", "at the end", "dripping"),
        Case("uploads cut", "at the end", "request cut", upload),
        Case("a third fails", "at the start", "error 500", third),
        Case("database locked", break_store=lock),
        Case("disk full", "at the start", room=0.5),
    ]


def many() -> list[Case]:
    cases, kinds = few(), [fault for fault in FAULTS if fault]
    stores = {"locked for a while": lock_for_a_while, "locked": lock, "read-only": make_read_only}
    stores |= {"garbage": overwrite, "cut in half": halve, "of a later MLflow": make_newer}
    for name, fault in stores.items():
        cases += [Case(f"database {name}", when, break_store=fault) for when in WHEN]
        cases += [Case(f"database {name}", "while it trains", break_store=fault, recovers=True)]
    cases += [Case("disk full", "at the start", room=room) for room in (0.01, 0.2, 0.7, 0.9)]
    cases += [Case(fault, when, fault) for fault in kinds for when in WHEN]
    cases += [Case(fault, "while it trains", fault, recovers=True) for fault in kinds[:5]]
    for name, fault in (("answer cut", "answer cut"), ("a page", "a page"), ("done, and hanging", "done, and hanging")):
        cases += [Case(f"{name} at request {n}", "at the end", fault, only(n)) for n in range(1, 32, 7)]
    cases += [Case(f"away since request {n}", "at the end", "refused", since(n)) for n in range(2, 32, 7)]
    return cases


def test_no_fault_of_a_server_or_a_database_holds_a_stage_up_or_spoils_its_record(
    server, template, tmp_path, count, large, capfd
):
    problems, costs, cases = [], [], many() if large else few()
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        try_out(batch, server, template, tmp_path / str(start), capfd)
        for case in batch:
            problems += problems_of(case, cases[0].seconds, *server, template)
            costs.append(f"{case.seconds - cases[0].seconds:+.1f} s, {case}: {case.said.strip()}")
            count("tracking faults")
            if case.proxy:
                case.proxy.close()
    print(*costs, sep="\n")
    assert problems == [], "\n".join(problems)


WATCHED = """
import time
from lenetlab.tracking import publisher

publisher.MAX_WAIT_SECONDS = 1.0
watch, began, spent = publisher.WaitLimit(), time.monotonic(), time.process_time()
while CONDITION:
    DEED
publisher._write_message("done")
"""


@pytest.mark.parametrize(
    ("condition", "deed", "said"),
    [
        ("time.process_time() - spent < 2", "pass", ["done"]),  # slow work, as on a busy machine
        ("True", "time.sleep(10)", ["failed: it waited too long for the database"]),
        (
            "True",
            "time.sleep(0.5); watch.on_answer(0.3)",
            ["failed: it waited too long for the database"],
        ),  # all too late
        (
            "time.monotonic() - began < 2",
            "time.sleep(0.1); watch.on_answer(0.3)",
            ["done"],
        ),  # many answers, each in time
    ],
)
def test_waiting_for_others_is_limited_and_working_is_not(condition, deed, said, tmp_path):
    script = WATCHED.replace("CONDITION", condition).replace("DEED", deed)
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert [line for line in ended.stdout.decode().splitlines() if line != "."] == said
