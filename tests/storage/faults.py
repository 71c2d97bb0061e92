"""Faults of the file system for one process: SIGKILL, a power cut, or an OSError such as a full disk.

Every operation by which Python's own functions and streams change files below a folder is counted, and a fault happens
at one of them:

    operations = faults.record_operations(work, folder)
    for at, fault in faults.cases(operations):
        outcome = faults.run_with_fault(work, at=at, fault=fault, below=folder)  # in a fork, which may be killed

C code that writes to a descriptor by itself, such as `numpy.ndarray.tofile`, is not seen; if it wrote to a file,
AssertionError is raised when the block ends. Operations of other processes are not counted.
"""

import errno
import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from tests.storage import file_functions
from tests.storage.layer import Layer, Operation

NEEDS_SPACE = {"open", "write", "mkdir", "link"}  # a full disk still allows to rename and remove files
NEEDS_PERMISSION = {"open", "mkdir", "rename", "unlink", "rmdir", "link", "chmod"}
ALL_KINDS = {*NEEDS_SPACE, *NEEDS_PERMISSION, "truncate", "fsync", "read"}
FAILING_KINDS = {  # by error number; other errors can happen at all kinds of operations
    errno.ENOSPC: NEEDS_SPACE,
    errno.EDQUOT: NEEDS_SPACE,
    errno.EACCES: NEEDS_PERMISSION,
    errno.EPERM: NEEDS_PERMISSION,
}
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
TIMEOUT = 60  # seconds for one run with a fault


@dataclass(frozen=True)
class Kill:
    """SIGKILL `before` or `after` the operation, or in the `middle` of a write: after half of its bytes."""

    when: str = "before"

    def strike(
        self, layer: Layer, _: Operation, do: Callable[[], Any], do_half: Callable[[], Any] | None, *_names: Any
    ) -> None:
        if self.when == "after":
            do()
        elif self.when == "middle" and do_half:
            do_half()
        self._end_process(layer)

    def _end_process(self, layer: Layer) -> None:  # noqa: ARG002  PowerCut uses it
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class PowerCut(Kill):
    """The process ends, and only a part of what was not synced remains.

    `data` is the share of the bytes that remains of those written to a file since it was synced: the first ones.
    `names` is the share that remains of the names that were added, removed or changed since their folder was synced:
    the oldest changes.
    """

    data: float = 0.0
    names: float = 0.0

    def _end_process(self, layer: Layer) -> None:
        layer.unsynced.cut_power(self.data, self.names)
        super()._end_process(layer)


@dataclass(frozen=True)
class Error:
    """An OSError of this operation and, if it is `lasting`, of all later operations that can fail with this error.

    `short`: half of the bytes are written, as on a disk that fills up, and the next write fails.
    """

    number: int = errno.ENOSPC
    lasting: bool = False
    short: bool = False

    def __str__(self) -> str:
        options = [name for name in ("lasting", "short") if getattr(self, name)]
        return f"Error({', '.join([errno.errorcode[self.number], *options])})"

    def refuses(self, operation: Operation) -> bool:
        return operation.kind in FAILING_KINDS.get(self.number, ALL_KINDS)

    def strike(
        self,
        layer: Layer,
        operation: Operation,
        do: Callable[[], Any],
        do_half: Callable[[], Any] | None,
        *names: Any,
    ) -> Any:
        if operation.kind == "end":
            return do()
        if self.short and do_half:
            layer.next_write = Error(self.number, self.lasting)
            return do_half()
        if self.lasting:
            layer.lasting = self
        raise OSError(self.number, os.strerror(self.number), *names)


Fault = Kill | Error


def cases(operations: Sequence[Operation], errors: Sequence[int] = ERRORS) -> Iterator[tuple[int, Fault]]:
    """Every fault at every operation, and a power cut after the last one.

    `Kill("after")` is left out, because after one operation is before the next one.
    """
    shares = [{"data": data, "names": names} for data, names in product((0.0, 0.5), (0.0, 0.5, 1.0))]
    for at, (kind, _) in enumerate(operations):
        for when in ("before", "middle") if kind == "write" else ("before",):
            yield at, Kill(when)
            yield from ((at, PowerCut(when, **share)) for share in shares)
        for number in errors:
            yield from ((at, Error(number, lasting)) for lasting in (False, True))
        if kind == "write":
            yield from ((at, Error(errno.ENOSPC, lasting, short=True)) for lasting in (False, True))
    yield from ((len(operations), PowerCut(**share)) for share in shares)


@contextmanager
def injected(
    at: int | None = None,
    fault: Fault | None = None,
    *,
    below: Path | Sequence[Path],
    reads: bool = False,
    strict: bool = True,
) -> Iterator[Layer]:
    """In this block, the operation number `at`, counted from 0, meets the fault; the end of the block is the last one.

    `strict`: AssertionError if a file below the folders was written without the layer, for instance by another process.
    """
    folders = [below] if isinstance(below, Path) else below
    layer = Layer(folders, at, fault, reads=reads, power_cut=isinstance(fault, PowerCut))
    try:
        with file_functions.replaced_by(layer):
            before = layer.listing() if strict else {}
            yield layer
            if strict:
                layer.check_complete(before)
            layer.perform(Operation("end", "."), lambda: None)
    finally:
        if layer.unsynced:
            layer.unsynced.close()


def record_operations(work: Callable[[], Any], below: Path | Sequence[Path], *, reads: bool = False) -> list[Operation]:
    """The operations of the work, which is done without a fault in this process."""
    with injected(below=below, reads=reads) as layer:
        work()
    return [operation for operation in layer.operations if operation.kind != "end"]


class Outcome(NamedTuple):
    """How a fork of the process ended: killed, with an error, or neither."""

    killed: bool = False
    error: BaseException | None = None


def run_with_fault(
    work: Callable[[], Any],
    *,
    at: int,
    fault: Fault,
    below: Path | Sequence[Path],
    reads: bool = False,
    strict: bool = True,
) -> Outcome:
    """Do the work with the fault, in a fork of this process."""

    def faulty() -> None:
        with injected(at, fault, below=below, reads=reads, strict=strict):
            work()

    return run_in_fork(faulty)


def run_in_fork(work: Callable[[], Any]) -> Outcome:
    """Do the work in a fork of this process. AssertionError if it takes too long; also raises AssertionErrors of it."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forks of a process with threads
        child = os.fork()
    if not child:
        _work_in_child(work, sender)
    sender.close()
    try:
        problem = receiver.recv() if receiver.poll(TIMEOUT) else AssertionError(f"not finished after {TIMEOUT} s")
    except EOFError:
        problem = None
    receiver.close()
    if isinstance(problem, AssertionError):
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if isinstance(problem, AssertionError):
        raise problem
    return Outcome(status == -signal.SIGKILL, problem)


def _work_in_child(work: Callable[[], Any], sender: Any) -> None:
    """Do the work and end the process, so that no `finally` block of the parent runs in the child."""
    try:
        work()
    except BaseException as error:
        try:
            sender.send(error)
        except Exception:  # it cannot be pickled
            sender.send(AssertionError("".join(traceback.format_exception(error))))
    finally:
        os._exit(0)
