"""A lock that lets one process at a time do something."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock

from lenetlab.storage import files


@contextmanager
def locked(path: Path, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of this file; the system releases it when the process and its forks end, however they end.

    While another process holds it, `while_waiting` is called ten times a second. OSError names the file if it cannot be
    locked.
    """

    def cancel() -> bool:
        while_waiting()
        return False

    files.make_folder(path.parent)
    with ExitStack() as copies:

        def keep_in_forks(descriptor: int) -> None:
            """FileLock closes its descriptor in forks. If this process is killed, its workers must hold the lock."""
            copies.callback(os.close, os.dup(descriptor))

        # Without fallback: the soft lock that FileLock would fall back to outlives a killed process.
        lock = FileLock(path, fallback_to_soft=False, on_acquired=keep_in_forks)
        try:
            held = lock.acquire(poll_interval=0.1, cancel_check=cancel)
        except OSError as error:
            error.filename = error.filename or str(path)  # the error of the system call flock has none
            raise
        with held:
            yield
