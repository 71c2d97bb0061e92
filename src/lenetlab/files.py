"""Files and folders written whole or not at all; digests, manifests and locks.

What stands under its own name is complete and on the disk: a killed process or a power cut leaves the old file or the
new one, never a part. What is being written is called `.NAME.PID.part`, and the next writer clears away what the dead
have left.
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


class Damaged(Exception):
    """A file that is missing, or is not what its manifest says; the message names it."""


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A binary stream that becomes `path` when the block ends; after an error `path` is what it was before."""
    with _becoming(path) as temporary:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    with writing(path) as stream:
        stream.write(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Readable JSON, one key per line. Numbers keep every digit; NaN and infinity are a ValueError."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def read_json_lines(path: Path) -> list[Any]:
    """What each line of a journal says; nothing, if there is none yet."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """A new, empty folder that becomes `path` when the block ends; after an error `path` is what it was before.

    Between the old folder and the new one is a moment with neither, if there was an old one.
    """
    with _becoming(path) as temporary:
        temporary.mkdir()
        yield temporary
        for place in sorted(temporary.rglob("*")):
            _sync(place)
        _sync(temporary)
        old = temporary.with_suffix(".old.part")
        if path.exists():
            path.rename(old)
        try:
            temporary.replace(path)
        except OSError:
            with suppress(OSError):  # the first error is the one to tell of
                old.rename(path)
            raise


@contextmanager
def _becoming(path: Path) -> Iterator[Path]:
    """The name under which the block makes what it then calls `path`; whatever happens, nothing else is left."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _make_folder(path.parent)
        _clear(path, lambda process: not _alive(process))
        try:
            yield temporary
            _sync(path.parent)
        finally:
            _clear(path, lambda process: process == os.getpid())
    except OSError as error:  # tells of the file that is being made, not of its temporary name
        copy = str(error.filename2 or "")  # where a copy fails, the first name is that of what was copied
        place = copy if copy.startswith(str(temporary)) else str(error.filename or temporary)
        error.filename = str(path) + place.removeprefix(str(temporary)) if place.startswith(str(temporary)) else place
        raise


def _clear(path: Path, gone: Callable[[int], bool]) -> None:
    """Remove what processes that are `gone` have written on the way to `path`."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = part.name.removeprefix(f".{path.name}.").partition(".")[0]
        if process.isdigit() and gone(int(process)):
            with suppress(OSError):
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _make_folder(path: Path) -> None:
    if not path.exists():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(path: Path, digests: Mapping[str, str], **notes: Any) -> None:
    """Notes, and the digests of files beside `path` that were written before: read again, they prove to be whole."""
    content = {**notes, "files": dict(digests)}
    write_json(path, {**content, "sha256": sha256_json(content)})


def read_manifest(path: Path) -> dict[str, Any]:
    """The notes and the digests. Damaged names the first file that is missing or changed, the manifest included."""
    try:
        content = read_json(path)
        stated = content.pop("sha256")
        digests = content["files"]
        if sha256_json(content) != stated:
            raise ValueError
    except FileNotFoundError:
        raise Damaged(f"{path}: missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged(f"{path}: damaged, it does not agree with its checksum") from None
    for name, digest in digests.items():
        place = path.parent / name
        if not place.is_file():
            raise Damaged(f"{place}: missing")
        if sha256_file(place) != digest:
            raise Damaged(f"{place}: damaged, it does not agree with its checksum")
    return content


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that one process has at a time, until it ends, however it does.

    `waiting` is called ten times a second as long as another process has it.
    """
    _make_folder(path.parent)
    with path.open("a") as stream:
        while not _lock(stream.fileno()):
            waiting()
            time.sleep(0.1)
        yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sha256(*parts: bytes | memoryview) -> str:
    """Digest of the parts, one after another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Any) -> str:
    """Digest of the canonical form: keys sorted, no white space, so that equal content has equal digests."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def root() -> Path:
    """Where what outlives a stage is kept: the repository, even if DVC runs an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).absolute()
