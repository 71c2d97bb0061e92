"""Archives of PNG files: written the same way every time, and read without trusting them.

`members` reads a tar or a folder. Folders inside a tar do not matter: a PNG file counts by its last name, so `./00001_5.png` and
`train/00001_5.png` are both `00001_5.png`. Hidden files and folders (`.DS_Store`, `._00001_5.png`) are passed over; everything else
that is not a regular PNG file is an error. Nothing is ever extracted, and no link is followed.
"""

import mmap
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from lenetlab import UserError

LARGEST_MEMBER = 65_536  # bytes; a PNG file of 28×28 pixels needs fewer than 1,000
MOST_MEMBERS = 1_000_000
MOST_PROBLEMS = 20  # listed by one message
LONGEST_NAME = 100  # bytes, what the oldest form of a tar header holds

# A tar is a sequence of blocks: a header for each member, its content filled up with zeros, and two empty blocks at the end.
# POSIX.1-1988 header: name, mode, user, group, size, time, checksum, kind, link, magic, names of user and group, device, prefix.
BLOCK = 512
HEADER = struct.Struct("100s8s8s8s12s12s8ss100s8s32s32s16s155s12x")
FILE, FOLDER, LONG_NAME, LONG_LINK, EXTENDED, GLOBAL = b"0", b"5", b"L", b"K", b"x", b"g"
KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe", b"S": "sparse"}
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


# All images are of one kind, so their first 33 bytes and their last 12 are the same.
PNG_START = PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0))
PNG_END = png_chunk(b"IEND", b"")


def png(pixels: np.ndarray) -> bytes:
    """A PNG file, 8-bit greyscale, of (28, 28) uint8.

    The rows are stored, not compressed: the bytes then do not depend on which zlib is at hand, so everyone's archive of MNIST has
    the same digest. It costs 512 bytes per image in a tar, and reading is faster.
    """
    rows = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # filter 0 before each row
    stored = struct.pack("<BHH", 1, len(rows), len(rows) ^ 0xFFFF) + rows
    return PNG_START + png_chunk(b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))) + PNG_END


def write(stream: BinaryIO, contents: Iterable[tuple[str, bytes]]) -> None:
    """A tar of regular files in the order given: no times, no owners, mode 0644; equal contents give equal bytes."""
    for name, content in contents:
        stream.write(_header(name, len(content)))
        stream.write(content + bytes(-len(content) % BLOCK))
    stream.write(bytes(2 * BLOCK))


def _header(name: str, size: int) -> bytes:
    zero, blank = b"%07o" % 0, b" " * 8
    before = (name.encode(), b"%07o" % 0o644, zero, zero, b"%011o" % size, b"%011o" % 0)
    after = (FILE, b"", b"ustar\x0000", b"", b"", zero + b"\0" + zero, b"")
    checksum = b"%06o\0 " % sum(HEADER.pack(*before, blank, *after))
    return HEADER.pack(*before, checksum, *after)


def order(name: str) -> tuple[int, str]:
    """Sort key: by number, whatever its leading zeros; names without a number come last."""
    number = re.match(r"[0-9]{1,9}(?=_)", name)
    return (int(number[0]) if number else 10**9, name)


def first(problems: Sequence[str], most: int) -> list[str]:
    return [*problems[:most], *([f"and {len(problems) - most} more"] if len(problems) > most else [])]


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each PNG file in a tar or a folder, by number.

    Names and sizes are checked before the first one comes: UserError lists all that is refused.
    """
    found: dict[str, _Entry] = {}
    problems: list[str] = []
    try:
        for at, entry in enumerate(_of_folder(path) if path.is_dir() else _of_tar(path)):
            if at == MOST_MEMBERS:
                raise UserError(f"more than {MOST_MEMBERS} members")
            name = entry.name.rpartition("/")[2]
            if problem := _refusal(entry, name, found):
                problems.append(f"{entry.name!r}: {problem}")
            elif entry.read and not _hidden(entry.name):
                found[name] = entry
    except UserError as damage:
        problems += damage.problems
    except OSError as error:
        problems.append(f"cannot be read: {error.strerror}")
    if problems:
        raise UserError(*(f"{path}: {problem}" for problem in first(problems, MOST_PROBLEMS)))
    return ((name, found[name].content()) for name in sorted(found, key=order))


class _Entry(NamedTuple):
    name: str  # with the folders before it
    kind: str  # in words, for what is neither a regular file nor a folder
    size: int
    read: Callable[[], bytes] | None  # None for a folder

    def content(self) -> bytes:
        return self.read()


def _hidden(name: str) -> bool:
    return "/." in name.replace("./", "") or name.replace("./", "").startswith(".")
