"""Write tar archives of PNG files with reproducible bytes; read tar archives and folders that users provide.

Folders inside a tar are ignored: `./00001_5.png` and `train/00001_5.png` both count as `00001_5.png`. Hidden files and
folders (`.DS_Store`, `._00001_5.png`) are skipped. Everything else that is not a regular file with a name in .png is an
error. Nothing is ever extracted, and links are not followed.
"""

import math
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lenetlab.errors import UserError

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 2**21  # a PNG file of the largest size, in colour and not compressed, needs fewer than 2**20
MAX_EXTENDED_HEADER_BYTES = 65_536
MAX_NAME_BYTES = 100  # the length of the name in a plain tar header
MAX_PADDING = 2**24  # zero bytes after the last member; tar programs add up to some kilobytes
MAX_PROBLEMS = 20  # per error message
MAX_PATH_SHOWN = 250  # characters of a path in an error message

# A tar is a sequence of blocks: for each member a header and its content, padded with zeros; two empty blocks end it.
# The header, POSIX.1-1988: name, mode, user, group, size, time, checksum, type, link, magic, names of user and group,
# device, prefix of the name.
BLOCK = 512
EMPTY_BLOCK = bytes(BLOCK)
HEADER = struct.Struct("100s8s8s8s12s12s8ss100s8s32s32s16s155s12x")
MAGIC = b"ustar\x0000"

DIRECTORY, GNU_LONG_NAME, GNU_LONG_LINK, PAX_HEADER, PAX_GLOBAL_HEADER = b"5", b"L", b"K", b"x", b"g"
EXTENDED_HEADERS = (GNU_LONG_NAME, GNU_LONG_LINK, PAX_HEADER, PAX_GLOBAL_HEADER)
SPARSE = b"GNU.sparse"
REJECTED_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}
WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # even if the header gives a size
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip"}

PLAIN_PATH = re.compile(r"[0-9]{1,9}_[0-9]{1,3}\.png")  # nearly every path; only the others need the checks below
UNSAFE_PATH = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)")
HIDDEN_PATH = re.compile(r"(^|/)\.[^/]")
NONZERO = re.compile(rb"[^\0]")


def write(stream: BinaryIO, contents: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar of regular files in the given order, without times and owners: equal contents give equal bytes."""
    for name, content in contents:
        stream.write(_header(name, len(content)))
        stream.write(content + bytes(-len(content) % BLOCK))
    stream.write(2 * EMPTY_BLOCK)


def _header(name: str, size: int) -> bytes:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"{name!r}: longer than {MAX_NAME_BYTES} bytes")
    zero = b"%07o" % 0
    start = (name.encode(), b"%07o" % 0o644, zero, zero, b"%011o" % size, b"%011o" % 0)
    end = (b"0", b"", MAGIC, b"", b"", zero + b"\0" + zero, b"")
    return HEADER.pack(*start, b"%06o\0 " % sum(HEADER.pack(*start, b" " * 8, *end)), *end)


def by_number(name: str) -> tuple[float, str]:
    """Sort key for file names: the number before the underscore; names without a number come last."""
    number = name.partition("_")[0]
    return (int(number) if number.isascii() and number.isdigit() else math.inf, name)


def first_problems(problems: Sequence[str], most: int) -> list[str]:
    """The first `most` problems, and a line with the number of the others."""
    return [*problems[:most], *([f"and {len(problems) - most} more"] if len(problems) > most else [])]


class Member(NamedTuple):
    """A file in a tar or folder. There are many of these, and tuples of plain values keep garbage collection fast."""

    path: str  # within the archive
    start: int  # byte in the tar where the content starts
    size: int  # bytes
    rejected: str = ""  # why this is not a regular file; empty if it is


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """File name and content of every PNG file in the tar or folder `path`, ordered by number.

    All names and sizes are checked before this function returns; UserError lists everything that is not allowed.
    """
    by_name: dict[str, Member] = {}  # file names without folders
    problems: list[str] = []
    try:
        tar = None if path.is_dir() else open_tar(path)
        for position, member in enumerate(_folder_members(path) if tar is None else tar_members(tar)):
            if position == MAX_MEMBERS:
                raise UserError(f"more than {MAX_MEMBERS} files; allowed: up to {MAX_MEMBERS}")
            name = member.path.rpartition("/")[2]
            if problem := member.rejected or _name_problem(member.path, name, member.size, by_name):
                problems.append(f"{quoted_path(member.path)}: {problem}")
            elif not HIDDEN_PATH.search(member.path):
                by_name[name] = member
    except UserError as damage:
        problems += damage.problems
    except OSError as error:
        problems.append(f"cannot be read: {error.strerror}")
    if problems:
        raise UserError(*(f"{path}: {problem}" for problem in first_problems(problems, MAX_PROBLEMS)))
    return _contents(path, tar, by_name)


def _contents(path: Path, tar: mmap.mmap | None, by_name: dict[str, Member]) -> Iterator[tuple[str, bytes]]:
    try:
        for name in sorted(by_name, key=by_number):
            _, start, size, _ = by_name[name]
            yield name, (path / name).read_bytes() if tar is None else tar[start : start + size]
    except OSError as error:
        raise UserError(f"{path}: {name!r} cannot be read: {error.strerror}") from None


def _name_problem(path: str, name: str, size: int, by_name: dict[str, Member]) -> str:
    """What is wrong with the path, name or size of a file; empty if nothing is, or if the file is hidden."""
    if not PLAIN_PATH.fullmatch(path):
        if UNSAFE_PATH.search(path):
            return "unsafe path; allowed: relative paths without '..', backslash or drive letter"
        if HIDDEN_PATH.search(path):
            return ""
        if not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
            return f"invalid file name; allowed: printable UTF-8 of up to {MAX_NAME_BYTES} bytes"
        if not name.endswith(".png"):
            return "the file name does not end in .png; allowed: {number}_{label}.png"
    if size > MAX_MEMBER_BYTES:
        return f"{size} bytes; allowed: up to {MAX_MEMBER_BYTES}"
    return f"the file name appears twice, also as {quoted_path(by_name[name].path)}" if name in by_name else ""


def quoted_path(path: str) -> str:
    """A path for an error message, shortened: paths in a tar can have thousands of characters."""
    return repr(path if len(path) <= MAX_PATH_SHOWN else f"{path[:MAX_PATH_SHOWN]}…")


def _folder_members(path: Path) -> Iterator[Member]:
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: by_number(entry.name)):
            rejected = ""
            if entry.is_symlink():
                rejected = "a symbolic link; allowed: the file itself"
            elif entry.is_dir():
                if HIDDEN_PATH.search(entry.name):
                    continue
                rejected = "a folder; allowed: PNG files only, not in subfolders"
            elif not entry.is_file():
                rejected = "not a regular file; allowed: PNG files"
            yield Member(entry.name, 0, entry.stat(follow_symlinks=False).st_size, rejected)


def tar_members(tar: mmap.mmap) -> Iterator[Member]:
    """The files that the headers of a tar describe; UserError if the archive itself is damaged."""
    offset = 0
    attributes: dict[bytes, bytes] = {}
    while (header := tar[offset : offset + BLOCK]) != EMPTY_BLOCK:
        if len(header) < BLOCK:
            raise UserError(f"truncated: ends at byte {len(tar)} without the two empty blocks that end a tar")
        name, size, kind = _parse_header(header, offset)
        start = offset + BLOCK
        offset = start if kind in WITHOUT_CONTENT else start + size + -size % BLOCK
        if offset > len(tar):
            raise UserError(
                f"truncated: {quoted_path(name)} at byte {start} has {len(tar) - start} of {offset - start} bytes"
            )
        if kind in EXTENDED_HEADERS:  # a member of its own that describes the next one
            if size > MAX_EXTENDED_HEADER_BYTES:
                raise UserError(
                    f"extended header of {size} bytes at byte {start}; allowed: up to {MAX_EXTENDED_HEADER_BYTES} bytes"
                )
            attributes |= _parse_extended_header(kind, tar[start : start + size], start)
            continue
        rejected = "" if kind in (b"0", b"\0") else REJECTED_TYPES.get(kind, f"an entry of unknown type {kind!r}")
        if attributes:
            name = _text(attributes[b"path"]) if b"path" in attributes else name
            if attributes.get(b"size", b"%d" % size) != b"%d" % size:  # only a file of more than 8 GiB needs another
                raise UserError(f"damaged: two sizes for {quoted_path(name)}; remedy: pack again with --format=ustar")
            rejected = "a sparse file" if SPARSE in attributes else rejected
            attributes = {}
        if kind != DIRECTORY:
            yield Member(name, start, size, rejected and f"{rejected}; allowed: regular files")
    if unexpected := NONZERO.search(tar, offset, offset + MAX_PADDING):
        raise UserError(f"damaged: unexpected data at byte {unexpected.start()}, after the empty block that ends a tar")
    if len(tar) > offset + MAX_PADDING:
        raise UserError(
            f"damaged: {len(tar) - offset} bytes after the end of the archive at byte {offset};"
            f" allowed: up to {MAX_PADDING} zero bytes"
        )
    if len(tar) < offset + 2 * BLOCK:
        raise UserError(f"truncated: ends at byte {len(tar)} without the second empty block that ends a tar")


def _parse_header(header: bytes, offset: int) -> tuple[str, int, bytes]:
    """Name, size and type from a header; UserError if its checksum or size is wrong."""
    name, _, _, _, size, _, checksum, kind, _, magic, _, _, _, prefix = HEADER.unpack(header)
    stored, size = _octal(checksum), _octal(size)
    # The checksum of a tar header is the sum of its bytes, with spaces for the checksum itself. The lower half of
    # Adler-32 is 1 + the sum of all bytes, modulo 65521, and much faster than sum().
    if zlib.adler32(header) & 0xFFFF != (1 + stored - sum(b" " * 8) + sum(checksum)) % 65521:
        raise UserError(f"damaged, or not a tar: wrong checksum in the header at byte {offset}")
    if size < 0:
        raise UserError(f"damaged: invalid size in the header at byte {offset}")
    name = _text(name)
    kind = DIRECTORY if kind == b"\0" and name.endswith("/") else kind
    if prefix[0] and magic == MAGIC:
        name = f"{_text(prefix)}/{name}"
    return name, size, kind


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _octal(field: bytes) -> int:
    """The octal number in a header field, -1 if there is none."""
    try:
        return int(digits, 8) if (digits := field.strip(b" \0")).isdigit() else -1
    except ValueError:  # 8 or 9
        return -1


def _parse_extended_header(kind: bytes, content: bytes, start: int) -> dict[bytes, bytes]:
    """Path, size and sparse attributes of the next member.

    The content is a long name (GNU), or consists of lines `LENGTH KEY=VALUE` (pax, POSIX.1-2001).
    """
    if kind == GNU_LONG_NAME:
        return {b"path": content}
    found: dict[bytes, bytes] = {}
    offset = 0
    while kind in (PAX_HEADER, PAX_GLOBAL_HEADER) and offset < len(content):
        length = content[offset : offset + 6].partition(b" ")[0]
        line = content[offset : offset + int(length)] if length.isdigit() and len(length) < 6 else b""
        key, equals, value = line[len(length) + 1 : -1].partition(b"=")
        describes_member = key == b"path" or key.startswith(SPARSE)
        describes_member |= key == b"size"
        # A path or size cannot apply to all files.
        if not equals or not line.endswith(b"\n") or (describes_member and kind == PAX_GLOBAL_HEADER):
            raise UserError(f"damaged: invalid extended header at byte {start}")
        if describes_member:
            found[key if key in (b"path", b"size") else SPARSE] = value
        offset += len(line)
    return found


def open_tar(path: Path) -> mmap.mmap:
    if not path.is_file():
        raise UserError("neither a file nor a folder" if path.exists() else "no such file or folder")
    with path.open("rb") as stream:
        start = stream.read(8)
        for magic, name in COMPRESSED.items():
            if start.startswith(magic):
                raise UserError(f"compressed with {name}; allowed: an uncompressed tar")
        if not start:
            raise UserError("an empty file; allowed: a tar")
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
