"""Publish to MLflow while a stage runs: the process beside it, `python -m lenetlab.tracking.publisher TASK`.

The stage writes one message to its stdin when it ends: done, failed or killed. The publisher writes a dot per answer of
MLflow, and at the end `done` or `failed: WHY`.
"""

import gc
import json
import os
import select
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lenetlab.storage import files, paths
from lenetlab.tracking import content, variant_content
from lenetlab.tracking.connection import (
    FREE_WAIT_SECONDS,
    MAX_WAIT_SECONDS,
    StoreLocation,
    import_mlflow,
    short_message,
    store_location,
)
from lenetlab.tracking.metrics import system_load
from lenetlab.tracking.models import logged, registry
from lenetlab.tracking.store import open_store

RETRY_SECONDS = 20  # after a failure while the stage still works
TICK_SECONDS = 0.05  # between two looks at what this process waits for


def main(arguments: Sequence[str]) -> None:
    """Publish live until the stage's message comes, then once more from the final outputs.

    A failure before that message does not matter if publishing works later: servers are restarted.
    """
    task = json.loads(arguments[0])
    outputs, resume = Path.cwd(), paths.resume_folder()  # open_store changes the working folder
    if task["live"]:
        system_load.measure([Path(folder) for folder in task["live"]], lambda: bool(select.select([0], [], [], 0)[0]))
    limit: WaitLimit | None = None
    message: str | None = None
    sys.stdout = sys.stderr  # output of MLflow is no message to the stage
    gc.disable()  # importing mlflow creates half a million permanent objects; collecting garbage among them is slow
    while True:
        try:
            location = store_location()
            limit = limit or _limit_waiting(location)
            with open_store(location, limit.on_answer) as store:
                gc.enable()
                while not (message := message or _read_message(seconds=0)):
                    store.send(*_live_runs(task, "RUNNING", resume))
                    message = _read_message(seconds=1)
                if message == "done":
                    runs = _final_runs(task, outputs, resume)
                    store.send(*runs)
                    store.mark_removed_seeds(*runs)
                    logged.send_seeds(store, outputs, runs)
                    if task["stage"] == "compare":
                        registry.send_comparison(store, outputs, task["data"], runs)
                else:
                    store.send(*_live_runs(task, message.upper(), resume))
            return _write_message("done")
        except Exception as error:
            message = message or _read_message(seconds=0)
            if message:
                return _write_message(f"failed: {short_message(error)}")
            message = _read_message(seconds=RETRY_SECONDS)


def _limit_waiting(location: StoreLocation) -> "WaitLimit":
    """Import everything that takes seconds first, so that a slow disk does not count as waiting."""
    import_mlflow()
    import scipy.special  # noqa: F401

    import lenetlab.report.style  # noqa: F401  with matplotlib

    if location.database:
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    return WaitLimit()


class WaitLimit:
    """Ends this process once its stage is over and it has waited `MAX_WAIT_SECONDS` for something outside.

    It sleeps while a server hangs or another process locks the database. Waiting for a processor or the disk on a busy
    machine does not count. An answer that takes longer than allowed counts in full, any other not at all: a server may
    be a little slow, but not very slow.
    """

    def __init__(self) -> None:
        self.waited = self.waited_before = 0.0  # seconds: for the present answer, and for those that took too long
        self.allowed = FREE_WAIT_SECONDS
        self.thread = threading.get_native_id()  # the one that waits for answers
        threading.Thread(target=self._watch, daemon=True).start()

    def on_answer(self, allowed: float = FREE_WAIT_SECONDS) -> None:
        """Call it after every answer, with the seconds that the next one may take."""
        _write_dot()
        self.waited_before += self._counted()
        self.waited, self.allowed = 0.0, allowed

    def _counted(self) -> float:
        return self.waited if self.waited > self.allowed else 0.0

    def _watch(self) -> None:
        cpu_time = time.process_time()
        while self.waited_before + self._counted() < MAX_WAIT_SECONDS:
            time.sleep(TICK_SECONDS)
            cpu_time_before, cpu_time = cpu_time, time.process_time()
            if not select.select([0], [], [], 0)[0]:  # the stage is still working
                self.waited = self.waited_before = 0.0
            elif cpu_time - cpu_time_before < TICK_SECONDS / 50 and not _waits_for_machine(self.thread):
                self.waited += TICK_SECONDS
        what = "the database" if store_location().database else "an answer"
        _write_message(f"failed: it waited too long for {what}")
        os._exit(1)


def _waits_for_machine(thread: int) -> bool:
    """Whether a thread of this process waits for a processor or the disk; False where the system does not say."""
    try:
        return Path(f"/proc/self/task/{thread}/stat").read_bytes().rpartition(b") ")[2][:1] in b"RD"
    except OSError:
        return False


def _live_runs(task: dict[str, Any], unfinished_status: str, resume: Path) -> Sequence[content.RunContent]:
    journals = [files.read_json_lines(Path(folder) / paths.JOURNAL) for folder in task["live"]]
    runs = variant_content.training_runs(journals, len(journals), unfinished_status, _experiment(), resume)
    return content.coloured(runs, task["study"])


def _final_runs(task: dict[str, Any], outputs: Path, resume: Path) -> Sequence[content.RunContent]:
    runs: list[content.RunContent] = []
    if task["stage"] == "prepare":
        runs = content.prepare_runs(outputs)
    for variant in task["study"] if task["stage"] == "compare" else filter(None, [task["variant"]]):
        runs += variant_content.variant_runs(outputs, variant, _experiment(), resume)
    return content.coloured(runs, task["study"])


def _experiment() -> str | None:
    """The DVC experiment in which the stage runs."""
    return os.environ.get("DVC_EXP_NAME") or None


def _write_message(message: str) -> None:
    with suppress(BrokenPipeError):  # the stage no longer exists
        os.write(1, f"{message}\n".encode())


def _write_dot() -> None:
    """A sign of life; not if the pipe is full, since the stage reads only when it has ended."""
    if select.select([], [1], [], 0)[1]:
        _write_message(".")


def _read_message(seconds: float) -> str | None:
    """The stage's message if it comes within `seconds`, otherwise None; `killed` if the stage no longer exists."""
    ready, _, _ = select.select([0], [], [], seconds)
    return (os.read(0, 100).decode() or "killed") if ready else None


if __name__ == "__main__":
    main(sys.argv[1:])
