"""Archives of PNG files: written the same way every time, read without trusting them.

`members` reads a tar or a folder. Folders within a tar do not matter, a file counts by its last name: `./00001_5.png`
and `train/00001_5.png` are both `00001_5.png`. Hidden files and folders (`.DS_Store`, `._00001_5.png`) are passed over;
all else that is not a regular PNG file is an error. Nothing is ever extracted, and no link is followed.
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

LARGEST_MEMBER = 65_536  # bytes; a PNG file of 28×28 pixels needs fewer than 1,000

MOST_MEMBERS = 1_000_000

MOST_PROBLEMS = 20  # listed by one message

MOST_SHOWN = 250  # characters of a path in a message

LONGEST_NAME = 100  # bytes; what a plain tar header holds

LONGEST_END = 2**24  # empty bytes after the last member; tar programs fill up to some kilobytes

# A tar is a row of blocks: for each member a header and its content, filled up with zeros; two empty blocks close it.
# The header, POSIX.1-1988: name, mode, user, group, size, time, checksum, kind, link, magic, names of user and group,
# device, prefix of the name.
BLOCK = 512

HEADER = struct.Struct("100s8s8s8s12s12s8ss100s8s32s32s16s155s12x")

MAGIC = b"ustar\x0000"

EMPTY = bytes(BLOCK)

FOLDER, LONG_NAME, EXTENDED = b"5", b"L", b"x"

SPARSE = b"GNU.sparse"

OF_ALL = b"g"

ATTRIBUTES = (LONG_NAME, EXTENDED, OF_ALL, b"K")  # those of links are of no use here

KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}

WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # whatever size they state

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip"}

PLAIN = re.compile(r"[0-9]{1,9}_[0-9]\.png")  # what nearly every path is; only the others are looked at closely

UNSAFE = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)")

HIDDEN = re.compile(r"(^|/)\.[^/]")

NOT_EMPTY = re.compile(rb"[^\0]")


def write(stream: BinaryIO, contents: Iterable[tuple[str, bytes]]) -> None:
    """A tar of regular files in the order given, without times and owners: equal contents give equal bytes."""
    for name, content in contents:
        stream.write(_header(name, len(content)))
        stream.write(content + bytes(-len(content) % BLOCK))
    stream.write(bytes(2 * BLOCK))


def _header(name: str, size: int) -> bytes:
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"{name!r}: longer than {LONGEST_NAME} bytes")
    zero = b"%07o" % 0
    start = (name.encode(), b"%07o" % 0o644, zero, zero, b"%011o" % size, b"%011o" % 0)
    end = (b"0", b"", MAGIC, b"", b"", zero + b"\0" + zero, b"")
    return HEADER.pack(*start, b"%06o\0 " % sum(HEADER.pack(*start, b" " * 8, *end)), *end)


def by_number(name: str) -> tuple[float, str]:
    """Sort key: by number, however many zeros lead it; names without a number come last."""
    number = name.partition("_")[0]
    return (int(number) if number.isascii() and number.isdigit() else math.inf, name)


def first_problems(problems: Sequence[str], most: int) -> list[str]:
    """The first problems, and how many more there are."""
    return [*problems[:most], *([f"and {len(problems) - most} more"] if len(problems) > most else [])]


class _Member(NamedTuple):
    """Plain values only: there are many of these, and what holds them is searched for garbage again and again."""

    path: str  # within the archive
    start: int  # of the content, in a tar
    size: int  # bytes
    refused: str = ""  # what it is instead of a regular file


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every PNG file in a tar or a folder, ordered by number.

    All names and sizes are checked before the first one comes; UserError lists whatever is refused.
    """
    found: dict[str, _Member] = {}  # by name without folders
    problems: list[str] = []
    try:
        content = None if path.is_dir() else _mapped(path)
        for at, member in enumerate(_in_folder(path) if content is None else _in_tar(content)):
            if at == MOST_MEMBERS:
                raise UserError(f"more than {MOST_MEMBERS} files")
            name = member.path.rpartition("/")[2]
            if problem := member.refused or _problem(member.path, name, member.size, found):
                problems.append(f"{_shown(member.path)}: {problem}")
            elif not HIDDEN.search(member.path):
                found[name] = member
    except UserError as damage:
        problems += damage.problems
    except OSError as error:
        problems.append(f"cannot be read: {error.strerror}")
    if problems:
        raise UserError(*(f"{path}: {problem}" for problem in first_problems(problems, MOST_PROBLEMS)))
    return _contents(path, content, found)


def _contents(path: Path, tar: mmap.mmap | None, found: dict[str, _Member]) -> Iterator[tuple[str, bytes]]:
    try:
        for name in sorted(found, key=by_number):
            _, start, size, _ = found[name]
            yield name, (path / name).read_bytes() if tar is None else tar[start : start + size]
    except OSError as error:
        raise UserError(f"{path}: {name!r} cannot be read: {error.strerror}") from None


def _problem(path: str, name: str, size: int, found: dict[str, _Member]) -> str:
    if not PLAIN.fullmatch(path):
        if UNSAFE.search(path):
            return "the path leads out of the folder"
        if HIDDEN.search(path):
            return ""
        if not name.isprintable() or len(name.encode()) > LONGEST_NAME:
            return f"the name has more than {LONGEST_NAME} bytes, or some that are not text"
        if not name.endswith(".png"):
            return "not a PNG file by its name; allowed: {number}_{label}.png"
    if size > LARGEST_MEMBER:
        return f"{size} bytes; allowed: up to {LARGEST_MEMBER}, and a digit needs fewer than 1,000"
    return f"the name stands twice, as {_shown(found[name].path)} too" if name in found else ""


def _shown(path: str) -> str:
    """As a message quotes it: a path within a tar may have thousands of characters."""
    return repr(path if len(path) <= MOST_SHOWN else f"{path[:MOST_SHOWN]}…")


def _in_folder(path: Path) -> Iterator[_Member]:
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: by_number(entry.name)):
            kind = ""
            if entry.is_symlink():
                kind = "a symbolic link; allowed: the file itself"
            elif entry.is_dir():
                if HIDDEN.search(entry.name):
                    continue
                kind = "a folder; allowed: PNG files without folders around them"
            elif not entry.is_file():
                kind = "not a regular file"
            yield _Member(entry.name, 0, entry.stat(follow_symlinks=False).st_size, kind)


def _in_tar(content: mmap.mmap) -> Iterator[_Member]:
    """The files of a tar by their headers; UserError where the archive itself is damaged."""
    at, attributes = 0, {}
    while (header := content[at : at + BLOCK]) != EMPTY:
        if len(header) < BLOCK:
            raise UserError(f"truncated: ends at byte {len(content)} without the two empty blocks that close a tar")
        name, size, kind = _parsed(header, at)
        start = at + BLOCK
        at = start if kind in WITHOUT_CONTENT else start + size + -size % BLOCK
        if at > len(content):
            needed, there = at - start, len(content) - start
            raise UserError(f"truncated: {_shown(name)} needs {needed} bytes from byte {start}, there are {there}")
        if kind in ATTRIBUTES:  # they have a header of their own, and belong to the member after it
            if size > LARGEST_MEMBER:
                raise UserError(f"damaged: {size} bytes of attributes at byte {start}")
            attributes |= _attributes(kind, content[start : start + size], start)
            continue
        refused = "" if kind in (b"0", b"\0") else KINDS.get(kind, f"of the unknown kind {kind!r}")
        if attributes:
            name = _text(attributes[b"path"]) if b"path" in attributes else name
            refused = "a sparse file" if SPARSE in attributes else refused
            attributes = {}
        if kind != FOLDER:
            yield _Member(name, start, size, refused and f"{refused}; allowed: regular files")
    if stray := NOT_EMPTY.search(content, at, at + LONGEST_END):
        raise UserError(f"damaged: something stands at byte {stray.start()}, after the empty block that closes a tar")
    if len(content) > at + LONGEST_END:
        raise UserError(f"damaged: {len(content) - at} bytes follow from byte {at}, where the archive ends")
    if len(content) < at + 2 * BLOCK:
        raise UserError(f"truncated: ends at byte {len(content)} without the second empty block that closes a tar")


def _parsed(header: bytes, at: int) -> tuple[str, int, bytes]:
    """Name, size and kind; UserError unless the checksum agrees."""
    name, _, _, _, size, _, checksum, kind, _, magic, _, _, _, prefix = HEADER.unpack(header)
    stored, size = _octal(checksum), _octal(size)
    # The checksum counts itself as spaces. Adler-32's lower half is 1 + the sum of all bytes, modulo 65521, and quick.
    if zlib.adler32(header) & 0xFFFF != (1 + stored - sum(b" " * 8) + sum(checksum)) % 65521:
        raise UserError(f"damaged, or not a tar: the header at byte {at} does not agree with its checksum")
    if size < 0:
        raise UserError(f"damaged: the header at byte {at} tells no size")
    name = _text(name)
    kind = FOLDER if kind == b"\0" and name.endswith("/") else kind
    if prefix[0] and magic == MAGIC:
        name = f"{_text(prefix)}/{name}"
    return name, size, kind


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _octal(field: bytes) -> int:
    """The number in a header's field, -1 if there is none."""
    try:
        return int(digits, 8) if (digits := field.strip(b" \0")).isdigit() else -1
    except ValueError:  # 8 or 9
        return -1


def _attributes(kind: bytes, content: bytes, at: int) -> dict[bytes, bytes]:
    """Path and sparseness, of what precedes a member in newer forms.

    These are GNU's long names, and lines `LENGTH KEY=VALUE` (POSIX.1-2001).
    """
    if kind == LONG_NAME:
        return {b"path": content}
    found, start = {}, 0
    while kind in (EXTENDED, OF_ALL) and start < len(content):
        length = content[start : start + 6].partition(b" ")[0]
        line = content[start : start + int(length)] if length.isdigit() and len(length) < 6 else b""
        key, equals, value = line[len(length) + 1 : -1].partition(b"=")
        of_one = key == b"path" or key.startswith(SPARSE)
        # Only a file of more than 8 GiB has a size here, and no two files have the same path.
        if not equals or not line.endswith(b"\n") or key == b"size" or (of_one and kind == OF_ALL):
            raise UserError(f"damaged: the attributes at byte {at} make no sense for a PNG file")
        if of_one:
            found[b"path" if key == b"path" else SPARSE] = value
        start += len(line)
    return found


def _mapped(path: Path) -> mmap.mmap:
    if not path.is_file():
        raise UserError("there is no such file or folder")
    with path.open("rb") as stream:
        start = stream.read(8)
        for magic, name in COMPRESSED.items():
            if start.startswith(magic):
                raise UserError(f"compressed with {name}; allowed: a plain tar")
        if not start:
            raise UserError("an empty file; allowed: a tar")
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
