"""Files and folders written whole or not at all; digests, manifests and locks.

What stands under its own name is complete and on the disk: a killed process or a power cut leaves the old file or the
new one, never a part. What is being written is called `.NAME.PID.part`, and the next writer clears away what the dead
have left.
"""

import glob
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


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
def writing_folder(path: Path) -> Iterator[Path]:
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
        make_folder(path.parent)
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


def make_folder(path: Path) -> None:
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
