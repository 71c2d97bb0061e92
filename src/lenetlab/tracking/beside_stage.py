"""MLflow as a view of the outputs: what it shows is rebuilt from the files that the stages wrote.

The module `runs` makes records of them, and a `Store` sends what MLflow lacks of these. So publishing twice changes
nothing, and an empty store is filled from the files alone. `follow` publishes beside a stage, `sync` later. A run is
known by its fingerprint, kept as a tag; MLflow's own run ids are written nowhere.
"""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lenetlab.tracking.store import store_place, without_password

SILENCE = 60  # seconds without a sign of life, after which a stage gives up the tracking process: imports take so long


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
        [sys.executable, "-m", "lenetlab.tracking.publisher", task],
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
        place = without_password(store_place().uri)
        print(
            f"warning: the record of this stage in MLflow ({place}) is not complete: {problem}. "
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
