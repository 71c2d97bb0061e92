"""Publish to MLflow while a stage runs: the stage's side, which starts `publisher` and never waits for long."""

import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lenetlab.storage import code
from lenetlab.tracking.connection import store_address

SILENCE_SECONDS = 60  # without a message, after which the stage gives up the publisher: its imports can take as long


@contextmanager
def publishing(
    stage: str,
    variant: str | None = None,
    study: Sequence[str] = (),
    live: Mapping[int, Path] | None = None,
    data: str | None = None,
) -> Iterator[None]:
    """Publish in another process what the block writes; no fault of that process stops the block.

    `study`: all its variants, since their places in it decide the colours.
    `live`: by seed, the folders whose journals grow while the block trains; their epochs are published as they finish.
    `data` names the data set, whose champion the stage compare may change.
    If the block fails, is interrupted or killed, runs that were RUNNING end as FAILED or KILLED.
    """
    folders = [str(folder.absolute()) for folder in (live or {}).values()]
    task = {"stage": stage, "variant": variant, "study": [*study], "live": folders, "data": data}
    publisher = start_publisher(json.dumps(task))
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception):
            _finish(publisher, "failed", wait_seconds=1)
        else:  # after Ctrl-C, wait for nothing
            _finish(publisher, "killed", wait_seconds=0)
        raise
    problem = _finish(publisher, "done", wait_seconds=SILENCE_SECONDS)
    if problem:
        print(
            f"warning: the record of this stage in MLflow ({store_address()}) is not complete: {problem}. "
            "Its outputs are; `lenetlab sync` sends the rest.",
            file=sys.stderr,
        )


def start_publisher(task: str) -> "subprocess.Popen[bytes]":
    """It runs the same code as this process: a stage runs that of its project, whichever is installed."""
    search = os.pathsep.join([str(code.PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "lenetlab.tracking.publisher", task],
        bufsize=0,
        env=os.environ | {"PYTHONPATH": search},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C goes to the stage, which tells the publisher
    )


def _finish(publisher: "subprocess.Popen[bytes]", outcome: str, wait_seconds: float) -> str | None:
    """Tell the publisher how the block ended, and wait until it is done; returns what failed there.

    After `wait_seconds` without a message the publisher is killed; if the block failed, it finishes on its own instead,
    because it has little left to do.
    """
    assert publisher.stdin  # noqa: S101  a pipe; for the type checker
    assert publisher.stdout  # noqa: S101
    with suppress(BrokenPipeError):
        publisher.stdin.write(outcome.encode())
    publisher.stdin.close()
    messages = b""
    while not re.search(rb"(done|failed: .*)\n", messages):
        if not select.select([publisher.stdout], [], [], wait_seconds)[0]:
            if outcome != "done":
                publisher.stdout.close()
                threading.Thread(target=publisher.wait, daemon=True).start()  # or it would become a zombie
                return None
            messages = b"failed: it gave no sign of life\n"
        elif received := os.read(publisher.stdout.fileno(), 4096):
            messages += received
        else:
            messages = b"failed: it ended without a message\n"
    publisher.kill()
    publisher.wait()
    publisher.stdout.close()
    return messages.decode(errors="replace").partition("failed: ")[2].strip() or None
