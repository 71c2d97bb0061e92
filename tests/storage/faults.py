"""Faults in the file system, for one process that asks for them: killed, without power, or told that the disk is full.

Every operation by which Python's own functions and streams change what lies below a folder is counted, and at one of
them something happens:

    operations = faults.counted(work, folder)
    for at, fault in faults.cases(operations):
        ended = faults.trial(work, at=at, fault=fault, below=folder)  # in a forked process, which may be killed

Descriptors that C code writes to by itself, such as `numpy.ndarray.tofile`, are not seen; if there were any, it is an
AssertionError when the block ends. Nor is it counted what a fork of the process does.
"""

# What pathlib stands on is replaced here.
# ruff: noqa: PTH110, PTH112, PTH114, PTH115, PTH116, PTH118, PTH119, PTH120, PTH208

import builtins
import errno
import io
import multiprocessing
import os
import shutil
import signal
import stat
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

NEEDS_ROOM = {
    "open",
    "write",
    "mkdir",
    "link",
}  # what a full disk refuses; what is there can still be moved and removed
BY_NAME = {"open", "mkdir", "rename", "unlink", "rmdir", "link", "chmod"}  # where permission is asked for
ALL_KINDS = {*NEEDS_ROOM, *BY_NAME, "truncate", "fsync", "read"}
REFUSED = {errno.ENOSPC: NEEDS_ROOM, errno.EDQUOT: NEEDS_ROOM, errno.EACCES: BY_NAME, errno.EPERM: BY_NAME}
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
PATIENCE = 60  # seconds that a trial may take

Inode = tuple[int, int]


class Operation(NamedTuple):
    kind: (
        str  # open (for writing), write, truncate, fsync, rename, unlink, rmdir, mkdir, link, chmod; read if asked for
    )
    path: str  # relative to the folder; the new one where a name changes


# What may happen.


@dataclass(frozen=True)
class Kill:
    """SIGKILL before or after the operation, or in its `middle`: when half the bytes are written."""

    when: str = "before"

    def strike(self, layer: "Layer", _: Operation, do: Callable[[], Any], half: Callable[[], Any] | None) -> Any:
        if self.when == "after":
            do()
        elif self.when == "middle" and half:
            half()
        self.end(layer)

    def end(self, layer: "Layer") -> None:  # noqa: ARG002  the power cut needs it
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class PowerCut(Kill):
    """The process ends, and of what was not synced only shares remain.

    Of the bytes that were written to a file since it was synced: the first `data` of them. Of names that came, went or
    changed since their folder was synced: the first `names` of these changes.
    """

    data: float = 0.0
    names: float = 0.0

    def end(self, layer: "Layer") -> None:
        layer.disk.cut(self.data, self.names)
        super().end(layer)


@dataclass(frozen=True)
class Error:
    """An OSError: of this operation, or if it `lasts`, of all from then on that such an error is the answer to.

    `short`: half the bytes are written, as a disk does when it fills up, and the next write is refused.
    """

    number: int = errno.ENOSPC
    lasts: bool = False
    short: bool = False

    def __str__(self) -> str:
        options = [word for word in ("lasts", "short") if getattr(self, word)]
        return f"Error({', '.join([errno.errorcode[self.number], *options])})"

    def refuses(self, operation: Operation) -> bool:
        return operation.kind in REFUSED.get(self.number, ALL_KINDS)

    def strike(
        self, layer: "Layer", operation: Operation, do: Callable[[], Any], half: Callable[[], Any] | None, *names: Any
    ) -> Any:
        if operation.kind == "end":
            return do()
        if self.short and half:
            layer.coming = Error(self.number, self.lasts)
            return half()
        if self.lasts:
            layer.broken = self
        raise OSError(self.number, os.strerror(self.number), *names)


Fault = Kill | Error


def cases(operations: Sequence[Operation], errors: Sequence[int] = ERRORS) -> Iterator[tuple[int, Fault]]:
    """Every fault at every operation, and the power cut when all is done.

    After one operation is before the next one, so `after` adds nothing.
    """
    cuts = [{"data": data, "names": names} for data, names in product((0.0, 0.5), (0.0, 0.5, 1.0))]
    for at, (kind, _) in enumerate(operations):
        for when in ("before", "middle") if kind == "write" else ("before",):
            yield at, Kill(when)
            yield from ((at, PowerCut(when, **cut)) for cut in cuts)
        for number in errors:
            yield from ((at, Error(number, lasts)) for lasts in (False, True))
        if kind == "write":
            yield from ((at, Error(errno.ENOSPC, lasts, short=True)) for lasts in (False, True))
    yield from ((len(operations), PowerCut(**cut)) for cut in cuts)


# What tests call.


@contextmanager
def injected(
    at: int | None = None,
    fault: Fault | None = None,
    *,
    below: Path | Sequence[Path],
    reads: bool = False,
    strict: bool = True,
) -> Iterator["Layer"]:
    """In this block, the operation number `at` (from 0; the end of the block, if it has so many) meets the fault.

    `strict`: AssertionError if anything below the folders was written past the layer, which other processes may do too.
    """
    layer = Layer([below] if isinstance(below, Path) else below, at, fault, reads)
    with layer.installed():
        before = layer.listing() if strict else {}
        yield layer
        if strict:
            layer.compare(before)
        layer.operation(Operation("end", "."), lambda: None)


def counted(work: Callable[[], Any], below: Path | Sequence[Path], *, reads: bool = False) -> list[Operation]:
    """Do it without a fault, in this process; returns its operations."""
    with injected(below=below, reads=reads) as layer:
        work()
    return [operation for operation in layer.operations if operation.kind != "end"]


class Ended(NamedTuple):
    """How a trial ended: killed, with an error, or neither."""

    killed: bool = False
    error: BaseException | None = None


def trial(
    work: Callable[[], Any],
    *,
    at: int,
    fault: Fault,
    below: Path | Sequence[Path],
    reads: bool = False,
    strict: bool = True,
) -> Ended:
    """Do it in a fork of this process, with the fault."""

    def do() -> None:
        with injected(at, fault, below=below, reads=reads, strict=strict):
            work()

    return apart(do)


def apart(work: Callable[[], Any]) -> Ended:
    """Do it in a fork of this process. AssertionError if that hangs; an AssertionError there is raised here."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork in a process with threads
        child = os.fork()
    if not child:
        _in_child(work, sender)
    sender.close()
    try:
        problem = receiver.recv() if receiver.poll(PATIENCE) else AssertionError(f"no end after {PATIENCE} s")
    except EOFError:
        problem = None
    receiver.close()
    if isinstance(problem, AssertionError):
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if isinstance(problem, AssertionError):
        raise problem
    return Ended(status == -signal.SIGKILL, problem)


def _in_child(work: Callable[[], Any], sender: Any) -> None:
    """The work, and then the end of the process: no `finally` of the parent's is for it."""
    try:
        work()
    except BaseException as error:
        try:
            sender.send(error)
        except Exception:  # it cannot be pickled
            sender.send(AssertionError("".join(traceback.format_exception(error))))
    finally:
        os._exit(0)


# What a power cut would undo.


@dataclass
class Change:
    """Of a name, which lasts once these folders are synced."""

    folders: set[Inode]
    undo: Callable[[], None]


class Disk:
    """What is not durable yet: the bytes of files, and the names in folders, in the order in which they changed.

    A folder is known by its inode, since it may be renamed before what was done in it must be undone.
    """

    def __init__(self, below: Sequence[Path]) -> None:
        self.below = below
        self.shadow = Path(tempfile.mkdtemp(dir=below[0].parent, prefix=".shadow-"))  # where removed files live on
        self.kept = 0
        self.unsynced: dict[Inode, int] = {}  # how many bytes at the beginning of the file are durable
        self.changes: list[Change] = []

    def written(self, inode: Inode, offset: int) -> None:
        """All from `offset` on."""
        size = self.unsynced.get(inode, offset)
        self.unsynced[inode] = min(size, offset)

    def synced(self, inode: Inode) -> None:
        self.unsynced.pop(inode, None)
        for change in self.changes:
            change.folders.discard(inode)
        self.changes = [change for change in self.changes if change.folders]

    def added(self, path: str) -> None:
        place = _place(path)
        self.changes.append(Change({place[0]}, partial(self._discard, place)))

    def keep(self, path: str) -> Path | None:
        """Another name for a file that is to be removed or replaced; an empty folder is moved, so that no other folder
        gets its inode."""
        folder = os.path.isdir(path) and not os.path.islink(path)
        if not os.path.lexists(path) or (folder and os.listdir(path)):
            return None
        copy = self._new()
        if folder:
            _REAL["rename"](path, copy)
        else:
            _REAL["link"](path, copy, follow_symlinks=False)
        return copy

    def removed(self, path: str, kept: Path) -> None:
        place = _place(path)
        self.changes.append(Change({place[0]}, partial(self._restore, place, kept)))

    def renamed(self, old: str, new: str, kept: Path | None) -> None:
        source, target = _place(old), _place(new)
        self.changes.append(Change({source[0], target[0]}, partial(self._move_back, source, target, kept)))

    def cut(self, data: float, names: float) -> None:
        for change in reversed(self.changes[round(names * len(self.changes)) :]):
            change.undo()
        for folder in self.below:
            for path in _files_below(folder):
                found = path.lstat()
                safe = self.unsynced.get((found.st_dev, found.st_ino))
                if safe is not None and stat.S_ISREG(found.st_mode):
                    _REAL["truncate"](path, safe + int(data * max(found.st_size - safe, 0)))
        self.close()

    def close(self) -> None:
        shutil.rmtree(self.shadow)

    def _new(self) -> Path:
        self.kept += 1
        return self.shadow / str(self.kept)

    def _find(self, place: tuple[Inode, str]) -> Path | None:
        """Where a name stands now; None if its folder is gone for good."""
        for top in self.below:
            for folder in (top.parent, *(Path(name) for name, _, _ in os.walk(top))):
                if _inode(folder) == place[0]:
                    return folder / place[1]
        return None

    def _discard(self, place: tuple[Inode, str]) -> None:
        path = self._find(place)
        if path and os.path.lexists(path):
            _REAL["rename"](path, self._new())

    def _restore(self, place: tuple[Inode, str], kept: Path) -> None:
        path = self._find(place)
        if path:
            _REAL["rename"](kept, path)

    def _move_back(self, source: tuple[Inode, str], target: tuple[Inode, str], kept: Path | None) -> None:
        old, new = self._find(source), self._find(target)
        if old and new and os.path.lexists(new):  # a folder that is gone for good cannot have its name back
            _REAL["rename"](new, old)
            if kept:
                self._restore(target, kept)


def _inode(path: Any) -> Inode:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _place(path: str) -> tuple[Inode, str]:
    return _inode(os.path.dirname(path)), os.path.basename(path)


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


# The layer between Python and the system.


@dataclass
class Layer:
    folders: Sequence[Path]
    at: int | None
    fault: Fault | None
    reads: bool = False
    operations: list[Operation] = field(default_factory=list)
    coming: Error | None = None  # what the next write meets
    broken: Error | None = None  # what many operations meet from now on
    disk: Disk | None = None
    sizes: dict[Inode, int] = field(default_factory=dict)  # of the files that were written, as this layer knows them

    def __post_init__(self) -> None:
        self.folders = [Path(os.path.realpath(folder)) for folder in self.folders]
        if isinstance(self.fault, PowerCut):
            self.disk = Disk(self.folders)

    @contextmanager
    def installed(self) -> Iterator[None]:
        replaced = {name: wrap(self, _REAL[name]) for name, wrap in _WRAPPERS.items()}
        opened = partial(_open, self)
        try:
            for name, function in replaced.items():
                setattr(os, name, function)
            builtins.open = io.open = opened
            yield
        finally:
            for name in replaced:
                setattr(os, name, _REAL[name])
            builtins.open = io.open = _REAL_OPEN
            if self.disk and self.disk.shadow.exists():
                self.disk.close()

    def operation(
        self, operation: Operation, do: Callable[[], Any], half: Callable[[], Any] | None = None, names: tuple = ()
    ) -> Any:
        """Count it, and do it or let the fault strike; `half` does one half, `names` are those an OSError tells of."""
        number, fault = len(self.operations), None
        self.operations.append(operation)
        if self.broken and self.broken.refuses(operation):
            fault = self.broken
        elif self.coming and operation.kind == "write":
            fault, self.coming = self.coming, None
        elif number == self.at and self.fault:
            fault = self.fault
        if fault is None:
            return do()
        return fault.strike(self, operation, do, half, *(names if isinstance(fault, Error) else ()))

    def relative(self, path: str) -> str | None:
        """To the folder it lies in; None if to none."""
        for folder in self.folders:
            if path == str(folder) or path.startswith(f"{folder}/"):
                return os.path.relpath(path, folder)
        return None

    def written(self, inode: Inode, offset: int, length: int) -> None:
        self.sizes[inode] = max(self.sizes.get(inode, 0), offset + length)
        if self.disk and length:
            self.disk.written(inode, offset)

    def resized(self, inode: Inode, size: int) -> None:
        if self.disk and self.sizes.get(inode, size) != size:
            self.disk.written(inode, min(size, self.sizes[inode]))
        self.sizes[inode] = size

    def listing(self) -> dict[Path, tuple]:
        found = {path: path.lstat() for folder in self.folders for path in _files_below(folder)}
        return {path: (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for path, one in found.items()}

    def compare(self, before: dict[Path, tuple]) -> None:
        """AssertionError if a file is other than it was and than this layer knows it."""
        old = set(before.values())
        for path, found in self.listing().items():
            if self.sizes.get(found[:2], -1) != found[2] and found not in old and not path.is_symlink():
                raise AssertionError(f"{path}: written past the layer that counts")


_REAL_OPEN = io.open
_WRAPPERS: dict[str, Callable] = {}  # by the name of a function of `os`
_REAL: dict[str, Callable] = {}


def _stands_for(*names: str) -> Callable:
    """The function takes a layer, the real function, and the arguments of the call."""

    def keep(function: Callable) -> Callable:
        for name in names:
            if hasattr(os, name):
                _REAL[name] = getattr(os, name)
                _WRAPPERS[name] = lambda layer, real, function=function: wraps(real)(partial(function, layer, real))
        return function

    return keep


def _full(path: Any, dir_fd: int | None = None) -> str:
    """The place of a name: absolute, and without symbolic links on the way."""
    name = os.fsdecode(os.fspath(path))
    parent, last = os.path.split(name.rstrip("/"))
    if dir_fd is not None:
        parent = os.path.join(_of_descriptor(dir_fd) or "", parent)
    if last in ("", ".", ".."):
        return os.path.realpath(os.path.join(parent, last) or "/")
    return os.path.join(os.path.realpath(parent), last)


def _of_descriptor(descriptor: int) -> str | None:
    """The file that is open there; None for pipes and the like."""
    try:
        if os.path.exists("/proc/self/fd"):
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        else:
            import fcntl

            name = os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))  # macOS
    except OSError:
        return None
    return name.removesuffix(" (deleted)") if name.startswith("/") else None


class _File(io.FileIO):
    """What streams stand on: every byte that they write passes here."""

    def __init__(self, layer: Layer, path: str, *arguments: Any) -> None:
        self.layer, self.relative = layer, layer.relative(path)
        super().__init__(*arguments)

    def write(self, content: Any) -> int:
        content = memoryview(content).cast("B")
        offset = os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell()
        return _written(
            self.layer,
            self.fileno(),
            self.relative,
            offset,
            len(content),
            lambda most: io.FileIO.write(self, content[:most]),
        )

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        return _truncated(self.layer, self.relative, self.fileno(), size, lambda: io.FileIO.truncate(self, size))

    def readinto(self, buffer: Any) -> int:
        return self._read(lambda: io.FileIO.readinto(self, buffer))

    def read(self, size: int = -1) -> bytes:
        return self._read(lambda: io.FileIO.read(self, size))

    def readall(self) -> bytes:
        return self._read(lambda: io.FileIO.readall(self))

    def _read(self, do: Callable[[], Any]) -> Any:
        return self.layer.operation(Operation("read", self.relative), do) if self.layer.reads else do()


def _open(
    layer: Layer,
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable | None = None,
) -> Any:
    """As `open`, with streams that the layer sees through."""
    path = _of_descriptor(file) if isinstance(file, int) else _full(file)
    writes = not set(mode).isdisjoint("wax+")
    if path is None or layer.relative(path) is None or not (writes or layer.reads):
        return _REAL_OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
    binary, raw_mode = "b" in mode, "".join(sorted(set(mode) - set("bt"), key="rwax+".index))

    def do() -> _File:
        return _File(layer, path, file if isinstance(file, int) else os.fspath(file), raw_mode, closefd, opener)

    if isinstance(file, int) or opener:  # the descriptor's own opening was counted, or the opener's will be
        raw = do()
    elif writes:
        emptied = "w" in mode
        raw = _opened(layer, path, file, do, emptied)
    else:
        raw = layer.operation(Operation("read", layer.relative(path)), do, names=(file,))
    if buffering == 0:
        if not binary:
            raw.close()
            raise ValueError("can't have unbuffered text I/O")
        return raw
    buffered = io.BufferedRandom if "+" in mode else io.BufferedWriter if writes else io.BufferedReader
    stream = buffered(raw, buffering if buffering > 1 else max(raw._blksize, 2))
    if binary:
        return stream
    text = io.TextIOWrapper(stream, encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode
    return text


def _opened(layer: Layer, path: str, name: Any, do: Callable[[], Any], emptied: bool) -> Any:
    """Open for writing: what `do` opens, which may be new then."""

    def opened() -> Any:
        new = not os.path.lexists(path)
        before = 0 if new else os.stat(path).st_size
        result = do()
        inode = _inode(path)
        if new and layer.disk:
            layer.disk.added(path)
        layer.sizes.setdefault(inode, before)
        if new:
            layer.sizes[inode] = 0
        elif emptied:
            layer.resized(inode, 0)
        return result

    return layer.operation(Operation("open", layer.relative(path)), opened, names=(name,))


def _written(layer: Layer, descriptor: int, relative: str, offset: int, length: int, do: Callable[[int], int]) -> int:
    """Write: `do` writes so many bytes at most."""

    def write(most: int) -> int:
        count = do(most)
        layer.written(_inode(descriptor), offset, count or 0)
        return count

    half = partial(write, length // 2) if length > 1 else None
    return layer.operation(Operation("write", relative), partial(write, length), half)


def _truncated(layer: Layer, relative: str, file: Any, size: int, do: Callable[[], Any]) -> Any:
    def truncate() -> Any:
        inode, before = _inode(file), os.stat(file).st_size
        layer.sizes.setdefault(inode, before)
        result = do()
        layer.resized(inode, size)
        return result

    return layer.operation(Operation("truncate", relative), truncate)


@_stands_for("open")
def _os_open(
    layer: Layer, real: Callable, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
) -> int:
    full = _full(path, dir_fd)
    relative = layer.relative(full)
    do = partial(real, path, flags, mode, dir_fd=dir_fd)
    if relative is None:
        return do()
    if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
        return _opened(layer, full, path, do, bool(flags & os.O_TRUNC))
    if layer.reads and not os.path.isdir(full):
        return layer.operation(Operation("read", relative), do, names=(path,))
    return do()


def _relative(layer: Layer, descriptor: int) -> str | None:
    path = _of_descriptor(descriptor)
    return path and layer.relative(path)


def _position(descriptor: int) -> int:
    return os.lseek(descriptor, 0, os.SEEK_CUR)


@_stands_for("write", "pwrite", "writev", "pwritev")
def _os_write(
    layer: Layer, real: Callable, descriptor: int, content: Any, offset: int | None = None, *flags: int
) -> int:
    rest = () if offset is None else (offset, *flags)
    relative = _relative(layer, descriptor)
    if relative is None:
        return real(descriptor, content, *rest)
    several = real.__name__.endswith("v")
    whole = memoryview(b"".join(content) if several else content).cast("B")
    if offset is None:
        import fcntl

        appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
        offset = os.fstat(descriptor).st_size if appends else _position(descriptor)
    return _written(
        layer,
        descriptor,
        relative,
        offset,
        len(whole),
        lambda most: real(descriptor, [whole[:most]] if several else whole[:most], *rest),
    )


@_stands_for("sendfile")
def _os_sendfile(
    layer: Layer, real: Callable, out_fd: int, in_fd: int, offset: int | None, count: int, *rest: Any, **more: Any
) -> int:
    start = _position(in_fd) if offset is None else offset
    return _copied(layer, out_fd, in_fd, start, count, lambda most: real(out_fd, in_fd, offset, most, *rest, **more))


@_stands_for("copy_file_range")
def _os_copy_file_range(
    layer: Layer,
    real: Callable,
    src: int,
    dst: int,
    count: int,
    offset_src: int | None = None,
    offset_dst: int | None = None,
) -> int:
    start = _position(src) if offset_src is None else offset_src
    return _copied(layer, dst, src, start, count, lambda most: real(src, dst, most, offset_src, offset_dst), offset_dst)


def _copied(
    layer: Layer,
    target: int,
    source: int,
    start: int,
    count: int,
    do: Callable[[int], int],
    offset: int | None = None,
) -> int:
    """Bytes that the system copies; none at the end of the source, which is no operation."""
    relative = _relative(layer, target)
    length = min(count, os.fstat(source).st_size - start) if relative is not None else 0
    if length <= 0:
        return do(count)
    return _written(layer, target, relative, _position(target) if offset is None else offset, length, do)


@_stands_for("truncate", "ftruncate")
def _os_truncate(layer: Layer, real: Callable, file: Any, length: int) -> None:
    relative = _relative(layer, file) if isinstance(file, int) else layer.relative(_full(file))
    if relative is None:
        return real(file, length)
    return _truncated(layer, relative, file, length, lambda: real(file, length))


@_stands_for("fsync", "fdatasync")
def _os_fsync(layer: Layer, real: Callable, fd: Any) -> None:
    descriptor = fd if isinstance(fd, int) else fd.fileno()
    relative = _relative(layer, descriptor)
    if relative is None:
        return real(fd)

    def do() -> None:  # not `real`: what tests lose is not on a disk that they pull out
        if layer.disk:
            layer.disk.synced(_inode(descriptor))

    return layer.operation(Operation("fsync", relative), do)


@_stands_for("rename", "replace")
def _os_rename(
    layer: Layer, real: Callable, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
) -> None:
    old, new = _full(src, src_dir_fd), _full(dst, dst_dir_fd)
    relative = layer.relative(new) or layer.relative(old)

    def do() -> None:
        kept = layer.disk.keep(new) if layer.disk else None
        real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if layer.disk:
            layer.disk.renamed(old, new, kept)

    return do() if relative is None else layer.operation(Operation("rename", relative), do, names=(src, None, dst))


@_stands_for("unlink", "remove", "rmdir")
def _os_remove(layer: Layer, real: Callable, path: Any, *, dir_fd: int | None = None) -> None:
    full = _full(path, dir_fd)
    relative = layer.relative(full)

    def do() -> None:
        kept = layer.disk and layer.disk.keep(full)
        if not kept or os.path.lexists(full):  # else the folder lies with what is kept
            real(path, dir_fd=dir_fd)
        if kept:
            layer.disk.removed(full, kept)

    kind = "rmdir" if real.__name__ == "rmdir" else "unlink"
    return (
        real(path, dir_fd=dir_fd) if relative is None else layer.operation(Operation(kind, relative), do, names=(path,))
    )


@_stands_for("mkdir")
def _os_mkdir(layer: Layer, real: Callable, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    return _added(layer, "mkdir", _full(path, dir_fd), lambda: real(path, mode, dir_fd=dir_fd), path)


@_stands_for("link", "symlink")
def _os_link(layer: Layer, real: Callable, src: Any, dst: Any, *arguments: Any, **options: Any) -> None:
    full = _full(dst, options.get("dst_dir_fd", options.get("dir_fd")))
    return _added(layer, "link", full, lambda: real(src, dst, *arguments, **options), src, None, dst)


def _added(layer: Layer, kind: str, full: str, real: Callable[[], None], *names: Any) -> None:
    relative = layer.relative(full)
    if relative is None:
        return real()

    def do() -> None:
        real()
        if layer.disk:
            layer.disk.added(full)

    return layer.operation(Operation(kind, relative), do, names=names)


@_stands_for("chmod", "fchmod")
def _os_chmod(layer: Layer, real: Callable, file: Any, mode: int, **options: Any) -> None:
    relative = _relative(layer, file) if isinstance(file, int) else layer.relative(_full(file, options.get("dir_fd")))
    do = partial(real, file, mode, **options)
    return do() if relative is None else layer.operation(Operation("chmod", relative), do, names=(file,))


@_stands_for("read", "pread", "readv", "preadv")
def _os_read(layer: Layer, real: Callable, descriptor: int, *arguments: Any) -> Any:
    relative = _relative(layer, descriptor) if layer.reads else None
    do = partial(real, descriptor, *arguments)
    return do() if relative is None else layer.operation(Operation("read", relative), do)
