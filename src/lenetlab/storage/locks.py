"""Files and folders written whole or not at all; digests, manifests and locks.

What stands under its own name is complete and on the disk: a killed process or a power cut leaves the old file or the
new one, never a part. What is being written is called `.NAME.PID.part`, and the next writer clears away what the dead
have left.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lenetlab.storage import files


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that one process has at a time, until it ends, however it does.

    `waiting` is called ten times a second as long as another process has it.
    """
    files.make_folder(path.parent)
    with path.open("a") as stream:
        while not _lock(stream.fileno()):
            waiting()
            time.sleep(0.1)
        yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
