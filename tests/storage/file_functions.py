"""Replacements for Python's own file functions and streams, which report each operation to a layer.

Descriptors to which C code writes by itself, as `numpy.ndarray.tofile` does, are not seen.
"""

# These functions replace what pathlib calls.
# ruff: noqa: PTH110, PTH112, PTH115, PTH116, PTH118

import builtins
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from lenetlab.storage import exchange
from tests.storage.layer import Layer, Operation
from tests.storage.unsynced import inode_of


@contextmanager
def replaced_by(layer: Layer) -> Iterator[None]:
    """In this block, `open`, the functions of `os` and `exchange` report to the layer."""
    replacements = {name: replace(layer, _REAL[name]) for name, replace in _REPLACEMENTS.items()}
    layer_open = partial(_open, layer)
    try:
        for name, function in replacements.items():
            setattr(os, name, function)
        builtins.open = io.open = layer_open
        exchange.exchange = partial(_exchange, layer)
        yield
    finally:
        for name in replacements:
            setattr(os, name, _REAL[name])
        builtins.open = io.open = _REAL_OPEN
        exchange.exchange = _REAL_EXCHANGE


_REAL_OPEN = io.open
_REAL_EXCHANGE = exchange.exchange
_REPLACEMENTS: dict[str, Callable] = {}  # by the name of a function of `os`
_REAL: dict[str, Callable] = {}


def _replaces(*names: str) -> Callable:
    """The decorated function takes a layer, the real function and the arguments of the call."""

    def register(function: Callable) -> Callable:
        for name in names:
            if hasattr(os, name):
                _REAL[name] = getattr(os, name)
                _REPLACEMENTS[name] = lambda layer, real, function=function: wraps(real)(partial(function, layer, real))
        return function

    return register


def _full_path(path: Any, dir_fd: int | None = None) -> str:
    """The absolute path of a name, without symbolic links in its folders."""
    name = os.fsdecode(os.fspath(path))
    parent, last = os.path.split(name.rstrip("/"))
    if dir_fd is not None:
        parent = os.path.join(_path_of_descriptor(dir_fd) or "", parent)
    if last in ("", ".", ".."):
        return os.path.realpath(os.path.join(parent, last) or "/")
    return os.path.join(os.path.realpath(parent), last)


def _path_of_descriptor(descriptor: int) -> str | None:
    """The path of the open file; None for pipes and the like."""
    try:
        if os.path.exists("/proc/self/fd"):
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        else:
            name = os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))  # macOS
    except OSError:
        return None
    return name.removesuffix(" (deleted)") if name.startswith("/") else None


class _File(io.FileIO):
    """The raw file below a stream: every byte that the stream writes passes through it."""

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
        return self.layer.perform(Operation("read", self.relative), do) if self.layer.reads else do()


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
    """Like `open`, with streams that report to the layer."""
    path = _path_of_descriptor(file) if isinstance(file, int) else _full_path(file)
    writes = not set(mode).isdisjoint("wax+")
    if path is None or layer.relative(path) is None or not (writes or layer.reads):
        return _REAL_OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
    binary, raw_mode = "b" in mode, "".join(sorted(set(mode) - set("bt"), key="rwax+".index))

    def do() -> _File:
        return _File(layer, path, file if isinstance(file, int) else os.fspath(file), raw_mode, closefd, opener)

    if isinstance(file, int) or opener:  # opening the descriptor was counted, or the opener's call will be
        raw = do()
    elif writes:
        emptied = "w" in mode
        raw = _opened(layer, path, file, do, emptied)
    else:
        raw = layer.perform(Operation("read", layer.relative(path)), do, names=(file,))
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
    """Open a file for writing by `do`, which may create it."""

    def opened() -> Any:
        new = not os.path.lexists(path)
        before = 0 if new else os.stat(path).st_size
        result = do()
        inode = inode_of(path)
        if new and layer.unsynced:
            layer.unsynced.added(path)
        layer.sizes.setdefault(inode, before)
        if new:
            layer.sizes[inode] = 0
        elif emptied:
            layer.resized(inode, 0)
        return result

    return layer.perform(Operation("open", layer.relative(path)), opened, names=(name,))


def _written(layer: Layer, descriptor: int, relative: str, offset: int, length: int, do: Callable[[int], int]) -> int:
    """Write by `do`, whose argument is the largest number of bytes to write."""

    def write(most: int) -> int:
        count = do(most)
        layer.written(inode_of(descriptor), offset, count or 0)
        return count

    do_half = partial(write, length // 2) if length > 1 else None
    return layer.perform(Operation("write", relative), partial(write, length), do_half)


def _truncated(layer: Layer, relative: str, file: Any, size: int, do: Callable[[], Any]) -> Any:
    def truncate() -> Any:
        inode, before = inode_of(file), os.stat(file).st_size
        layer.sizes.setdefault(inode, before)
        result = do()
        layer.resized(inode, size)
        return result

    return layer.perform(Operation("truncate", relative), truncate)


@_replaces("open")
def _os_open(
    layer: Layer, real: Callable, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
) -> int:
    full = _full_path(path, dir_fd)
    relative = layer.relative(full)
    do = partial(real, path, flags, mode, dir_fd=dir_fd)
    if relative is None:
        return do()
    if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
        return _opened(layer, full, path, do, bool(flags & os.O_TRUNC))
    if layer.reads and not os.path.isdir(full):
        return layer.perform(Operation("read", relative), do, names=(path,))
    return do()


def _relative_path(layer: Layer, descriptor: int) -> str | None:
    path = _path_of_descriptor(descriptor)
    return path and layer.relative(path)


def _position(descriptor: int) -> int:
    return os.lseek(descriptor, 0, os.SEEK_CUR)


@_replaces("write", "pwrite", "writev", "pwritev")
def _os_write(
    layer: Layer, real: Callable, descriptor: int, content: Any, offset: int | None = None, *flags: int
) -> int:
    rest = () if offset is None else (offset, *flags)
    relative = _relative_path(layer, descriptor)
    if relative is None:
        return real(descriptor, content, *rest)
    several = real.__name__.endswith("v")
    whole = memoryview(b"".join(content) if several else content).cast("B")
    if offset is None:
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


@_replaces("sendfile")
def _os_sendfile(
    layer: Layer, real: Callable, out_fd: int, in_fd: int, offset: int | None, count: int, *rest: Any, **more: Any
) -> int:
    start = _position(in_fd) if offset is None else offset
    return _copied(layer, out_fd, in_fd, start, count, lambda most: real(out_fd, in_fd, offset, most, *rest, **more))


@_replaces("copy_file_range")
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
    """Let the system copy bytes. At the end of the source nothing is copied, which is not an operation."""
    relative = _relative_path(layer, target)
    length = min(count, os.fstat(source).st_size - start) if relative is not None else 0
    if length <= 0:
        return do(count)
    return _written(layer, target, relative, _position(target) if offset is None else offset, length, do)


@_replaces("truncate", "ftruncate")
def _os_truncate(layer: Layer, real: Callable, file: Any, length: int) -> None:
    relative = _relative_path(layer, file) if isinstance(file, int) else layer.relative(_full_path(file))
    if relative is None:
        return real(file, length)
    return _truncated(layer, relative, file, length, lambda: real(file, length))


@_replaces("fsync", "fdatasync")
def _os_fsync(layer: Layer, real: Callable, fd: Any) -> None:
    descriptor = fd if isinstance(fd, int) else fd.fileno()
    relative = _relative_path(layer, descriptor)
    if relative is None:
        return real(fd)

    def do() -> None:  # without calling `real`: a power cut is simulated, so nothing has to reach the disk
        if layer.unsynced:
            layer.unsynced.synced(inode_of(descriptor))

    return layer.perform(Operation("fsync", relative), do)


@_replaces("rename", "replace")
def _os_rename(
    layer: Layer, real: Callable, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
) -> None:
    old, new = _full_path(src, src_dir_fd), _full_path(dst, dst_dir_fd)
    relative = layer.relative(new) or layer.relative(old)

    def do() -> None:
        kept = layer.unsynced.keep(new) if layer.unsynced else None
        real(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if layer.unsynced:
            layer.unsynced.renamed(old, new, kept)

    return do() if relative is None else layer.perform(Operation("rename", relative), do, names=(src, None, dst))


def _exchange(layer: Layer, first: Any, second: Any) -> bool:
    relative = layer.relative(_full_path(second))

    def do() -> bool:
        done = _REAL_EXCHANGE(first, second)
        if done and layer.unsynced:
            layer.unsynced.exchanged(_full_path(first), _full_path(second))
        return done

    return do() if relative is None else layer.perform(Operation("rename", relative), do, names=(first, None, second))


@_replaces("unlink", "remove", "rmdir")
def _os_remove(layer: Layer, real: Callable, path: Any, *, dir_fd: int | None = None) -> None:
    full = _full_path(path, dir_fd)
    relative = layer.relative(full)

    def do() -> None:
        kept = layer.unsynced and layer.unsynced.keep(full)
        if not kept or os.path.lexists(full):  # otherwise `keep` has moved the folder
            real(path, dir_fd=dir_fd)
        if kept:
            layer.unsynced.removed(full, kept)

    kind = "rmdir" if real.__name__ == "rmdir" else "unlink"
    return (
        real(path, dir_fd=dir_fd) if relative is None else layer.perform(Operation(kind, relative), do, names=(path,))
    )


@_replaces("mkdir")
def _os_mkdir(layer: Layer, real: Callable, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    return _added(layer, "mkdir", _full_path(path, dir_fd), lambda: real(path, mode, dir_fd=dir_fd), path)


@_replaces("link", "symlink")
def _os_link(layer: Layer, real: Callable, src: Any, dst: Any, *arguments: Any, **options: Any) -> None:
    full = _full_path(dst, options.get("dst_dir_fd", options.get("dir_fd")))
    return _added(layer, "link", full, lambda: real(src, dst, *arguments, **options), src, None, dst)


def _added(layer: Layer, kind: str, full: str, real: Callable[[], None], *names: Any) -> None:
    relative = layer.relative(full)
    if relative is None:
        return real()

    def do() -> None:
        real()
        if layer.unsynced:
            layer.unsynced.added(full)

    return layer.perform(Operation(kind, relative), do, names=names)


@_replaces("chmod", "fchmod")
def _os_chmod(layer: Layer, real: Callable, file: Any, mode: int, **options: Any) -> None:
    relative = (
        _relative_path(layer, file)
        if isinstance(file, int)
        else layer.relative(_full_path(file, options.get("dir_fd")))
    )
    do = partial(real, file, mode, **options)
    return do() if relative is None else layer.perform(Operation("chmod", relative), do, names=(file,))


@_replaces("read", "pread", "readv", "preadv")
def _os_read(layer: Layer, real: Callable, descriptor: int, *arguments: Any) -> Any:
    relative = _relative_path(layer, descriptor) if layer.reads else None
    do = partial(real, descriptor, *arguments)
    return do() if relative is None else layer.perform(Operation("read", relative), do)
