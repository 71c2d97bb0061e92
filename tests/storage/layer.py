"""The layer between Python's file functions and the system: it counts operations and lets a fault strike at one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.storage.unsynced import Inode, UnsyncedChanges, files_below


class Operation(NamedTuple):
    """A change of the file system below the observed folders.

    `kind` is open (for writing), write, truncate, fsync, rename, unlink, rmdir, mkdir, link, chmod, or end (of the
    block); also read, if reads are counted.
    """

    kind: str
    path: str  # relative to the observed folder; the new path of a rename


class Fault(Protocol):
    def strike(
        self,
        layer: "Layer",
        operation: Operation,
        do: Callable[[], Any],
        do_half: Callable[[], Any] | None,
        *names: Any,
    ) -> Any:
        """Happen instead of the operation, which `do` would do, and `do_half` by one half."""


class LastingFault(Fault, Protocol):
    def refuses(self, operation: Operation) -> bool: ...


class Layer:
    """Counts the operations below some folders; the operation number `at` meets the fault."""

    def __init__(
        self, folders: Sequence[Path], at: int | None, fault: Fault | None, *, reads: bool, power_cut: bool
    ) -> None:
        self.folders = [folder.resolve() for folder in folders]
        self.at, self.fault, self.reads = at, fault, reads
        self.operations: list[Operation] = []
        self.next_write: Fault | None = None  # the fault that the next write meets
        self.lasting: LastingFault | None = None  # the fault that many operations meet from now on
        self.unsynced = UnsyncedChanges(self.folders) if power_cut else None
        self.sizes: dict[Inode, int] = {}  # of files that were written through this layer

    def perform(
        self,
        operation: Operation,
        do: Callable[[], Any],
        do_half: Callable[[], Any] | None = None,
        names: tuple[Any, ...] = (),
    ) -> Any:
        """Count the operation, and do it or let a fault strike. `names` are the file names of an OSError."""
        number, fault = len(self.operations), None
        self.operations.append(operation)
        if self.lasting and self.lasting.refuses(operation):
            fault = self.lasting
        elif self.next_write and operation.kind == "write":
            fault, self.next_write = self.next_write, None
        elif number == self.at:
            fault = self.fault
        return fault.strike(self, operation, do, do_half, *names) if fault else do()

    def relative(self, path: str) -> str | None:
        """The path relative to the observed folder that contains it; None if it is in none of them."""
        for folder in self.folders:
            if path == str(folder) or path.startswith(f"{folder}/"):
                return str(Path(path).relative_to(folder))
        return None

    def written(self, inode: Inode, offset: int, length: int) -> None:
        self.sizes[inode] = max(self.sizes.get(inode, 0), offset + length)
        if self.unsynced and length:
            self.unsynced.written(inode, offset)

    def resized(self, inode: Inode, size: int) -> None:
        if self.unsynced and self.sizes.get(inode, size) != size:
            self.unsynced.written(inode, min(size, self.sizes[inode]))
        self.sizes[inode] = size

    def listing(self) -> dict[Path, tuple[int, int, int, int]]:
        """Device, inode, size and time of change of every file."""
        found = ((path, path.lstat()) for path in files_below(self.folders))
        return {path: (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) for path, status in found}

    def check_complete(self, before: dict[Path, tuple[int, int, int, int]]) -> None:
        """AssertionError if a file has changed since the listing `before` without this layer."""
        old = set(before.values())
        for path, status in self.listing().items():
            if self.sizes.get(status[:2], -1) != status[2] and status not in old and not path.is_symlink():
                raise AssertionError(f"{path}: written without the layer that counts operations")
