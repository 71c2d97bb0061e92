"""Errors that a user can correct: how a program prints them, and the exit status with which it ends."""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

RERUN = "then run the same command again: it continues where it stopped"
NEEDS_LOCKS = "work on a file system with locks, such as a local disk"
REMEDIES = {  # by error number of the operating system
    errno.ENOSPC: f"make room on that disk, {RERUN}",
    errno.EDQUOT: f"make room within your quota, {RERUN}",
    errno.EFBIG: f"allow larger files there, {RERUN}",
    errno.EROFS: "work in a folder that can be written",
    errno.EACCES: "give yourself permission for it",
    errno.EPERM: "give yourself permission for it",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "the disk fails: move to another one",
    errno.ENOENT: "dvc repro makes missing files",
    errno.ENOLCK: NEEDS_LOCKS,
    errno.ENOSYS: NEEDS_LOCKS,
    errno.EOPNOTSUPP: NEEDS_LOCKS,
}
OUT_OF_MEMORY = (  # parts of messages of the operating system, C++, Python, the dynamic loader and oneDNN
    "allocate memory",
    "out of memory",
    "bad_alloc",
    "start new thread",
    "failed to map segment",
    "could not create a primitive",
    "could not execute a primitive",
)


class UserError(Exception):
    """An error that the user can correct. Each of `problems` is a line with a file or key and what is allowed."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def explain(error: Exception) -> UserError | None:
    """The error as one line with a remedy, if the machine lacks memory, room or permission; else None."""
    if isinstance(error, UserError):
        return error
    # Only the text of the error tells: torch on a CPU, threads and libraries have no class for a lack of memory.
    if isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY):
        return UserError(
            "out of memory; remedy: a smaller batch_size or fewer seeds at a time, or fewer processors (taskset -c 0), "
            + RERUN
        )
    if isinstance(error, OSError) and error.errno:
        name = str(error.filename or "")
        place = f"{name if name.isprintable() else repr(name)}: " if name else ""
        remedy = REMEDIES.get(error.errno)
        return UserError(place + os.strerror(error.errno) + (f"; remedy: {remedy}" if remedy else ""))
    return None


def die_with_parent() -> None:
    """On Linux, let the system kill this process when its parent ends; elsewhere, do nothing."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """For programs: print an error that the user can correct without a traceback, exit status 1; Ctrl-C: status 130.

    A stage ends when its `dvc repro` is killed, also if that happened before this call: its parent is then another
    process, which is not in the process group that DVC shares with its stages. A stage that leads a group was started
    in one of its own.
    """
    if "DVC_STAGE" in os.environ:
        die_with_parent()
        if os.getpgrp() not in (os.getpid(), os.getpgid(os.getppid())):
            raise SystemExit("error: the `dvc repro` that started this stage has ended")
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped; finished epochs are kept: the same command continues there", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        raise SystemExit(1) from None
