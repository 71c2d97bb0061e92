"""An experiment pipeline on digit images that says whether a difference is real."""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN = "then run the same command again: it goes on where it was"
REMEDIES = {  # by error number: what helps where the machine, not the code, says no
    errno.ENOSPC: f"make room on that disk, {AGAIN}",
    errno.EDQUOT: f"make room within your quota, {AGAIN}",
    errno.EFBIG: f"allow larger files there, {AGAIN}",
    errno.EROFS: "work in a folder that can be written",
    errno.EACCES: "give yourself permission for it",
    errno.EPERM: "give yourself permission for it",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "the disk fails: move to another one",
    errno.ENOENT: "dvc repro makes what is missing",
}

NO_MEMORY = (  # in the words of the system, C++, Python, the loader and oneDNN
    "allocate memory",
    "out of memory",
    "bad_alloc",
    "start new thread",
    "failed to map segment",
    "could not create a primitive",
    "could not execute a primitive",
)


class UserError(Exception):
    """Something that the user can put right; `problems` are lines that name a file or key and what is allowed."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def explain(error: Exception) -> UserError | None:
    """What the machine lacks and what helps; None if `error` tells of something else."""
    if isinstance(error, UserError):
        return error
    # torch has no class of its own for a CPU without memory, and threads and libraries have none either
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return UserError(
            "out of memory; remedy: a smaller batch_size or fewer seeds at a time, or fewer processors (taskset -c 0), "
            + AGAIN
        )
    if isinstance(error, OSError) and error.errno:
        name = str(error.filename or "")
        place = f"{name if name.isprintable() else repr(name)}: " if name else ""
        remedy = REMEDIES.get(error.errno)
        return UserError(place + os.strerror(error.errno) + (f"; remedy: {remedy}" if remedy else ""))
    return None


def die_with_parent() -> None:
    """On Linux, have this process killed as soon as the one that started it is gone; elsewhere nothing."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """For programs: what a user can put right is told without a traceback and ends with status 1, Ctrl-C with 130.

    A `dvc repro` that is killed leaves its stages behind; they end with it, also if it was gone before this is called:
    what is then the parent never is in the process group that DVC shares with its stages.
    """
    if "DVC_STAGE" in os.environ:
        die_with_parent()
        if os.getpgid(os.getppid()) != os.getpgrp():
            raise SystemExit("error: the `dvc repro` that started this is gone")
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped; what is finished is kept, down to each epoch: the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        raise SystemExit(1) from None
