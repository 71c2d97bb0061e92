"""MLflow as a view of the outputs: what it shows is rebuilt from the files that the stages wrote.

The module `runs` makes records of them, and a `Store` sends what MLflow lacks of these. So publishing twice changes
nothing, and an empty store is filled from the files alone. `follow` publishes beside a stage, `sync` later. A run is
known by its fingerprint, kept as a tag; MLflow's own run ids are written nowhere.
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

from lenetlab.storage import files, paths
from lenetlab.tracking import content, variant_content
from lenetlab.tracking.store import GRACE, PATIENCE, Place, import_mlflow, open_store, short_message, store_place

RETRY = 20  # seconds until what could not be published while the stage works is tried again

TICK = 0.05  # seconds from one look at what is waited for to the next


def main(arguments: Sequence[str]) -> None:
    """The tracking process: publish live until stdin brings a word, then once more, from the final outputs.

    A failure before the word is forgiven if all goes well later: servers are restarted.
    """
    task = json.loads(arguments[0])
    outputs, where, watch, word = Path.cwd(), store_place(), None, None
    sys.stdout = sys.stderr  # what MLflow has to say is no word to the stage
    gc.disable()  # mlflow's import makes half a million objects that stay: searching them for garbage slows it
    while True:
        try:
            watch = watch or _watch(where)
            with open_store(where, watch.step) as store:
                gc.enable()
                while not (word := word or _heard(seconds=0)):
                    store.put(*_live(task, "RUNNING"))
                    word = _heard(seconds=1)
                store.put(*(_final(task, outputs) if word == "done" else _live(task, word.upper())))
            return _send("done")
        except Exception as error:
            word = word or _heard(seconds=0)
            if word:
                return _send(f"failed: {short_message(error)}")
            word = _heard(seconds=RETRY)


def _watch(where: Place) -> "Watch":
    """From now on waiting counts; so all that takes seconds to import is imported first, be the disk ever so slow."""
    import_mlflow()
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
        _send(f"failed: it waited too long for {'an answer' if not store_place().database else 'the database'}")
        os._exit(1)


def _is_held_up(thread: int) -> bool:
    """Whether a thread of this process waits for a processor or the disk, as far as the system tells."""
    try:
        return Path(f"/proc/self/task/{thread}/stat").read_bytes().rpartition(b") ")[2][:1] in b"RD"
    except OSError:
        return False


def _live(task: dict, unfinished: str) -> list[content.RunContent]:
    journals = [files.read_json_lines(Path(folder) / paths.JOURNAL) for folder in task["live"]]
    return variant_content.training_runs(journals, len(journals), unfinished)


def _final(task: dict, outputs: Path) -> list[content.RunContent]:
    if task["stage"] == "prepare":
        return content.prepare_runs(outputs)
    if task["stage"] != "compare":
        return variant_content.variant_runs(outputs, task["variant"])
    names = sorted(path.stem for path in (outputs / paths.REPORTS / "metrics").iterdir())
    return [
        *content.comparison_runs(outputs),
        *(run for name in names for run in variant_content.variant_runs(outputs, name)),
    ]


def _send(word: str) -> None:
    with suppress(BrokenPipeError):  # a stage that is gone
        os.write(1, f"{word}\n".encode())


def _show_life() -> None:
    if select.select([], [1], [], 0)[1]:  # while the stage works nobody reads, and the pipe may fill up
        _send(".")


def _heard(seconds: float | None) -> str | None:
    """What the stage says within so many seconds; that it was killed, if its end of the pipe is gone."""
    ready, _, _ = select.select([0], [], [], seconds)
    return (os.read(0, 100).decode() or "killed") if ready else None


if __name__ == "__main__":
    main(sys.argv[1:])
