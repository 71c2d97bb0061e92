"""Write files and folders completely or not at all.

A file or folder with its final name is complete and on the disk: after a kill or a power cut it is the old one or the
new one, never a part. It is written under the temporary name `.NAME.PID.part`. The next writer removes temporary files
that dead processes have left.
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
    """Yield a binary stream that becomes the file `path` when the block ends; an error leaves `path` unchanged."""
    with _temporary_name(path) as temporary:
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
    """Write JSON with one key per line. Numbers keep all digits. ValueError for NaN and infinity."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def read_json_lines(path: Path) -> list[Any]:
    """The JSON value of each line; an empty list if there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends; an error leaves `path` unchanged.

    An existing folder is replaced. If the process is killed between removing the old and naming the new folder, neither
    is there.
    """
    with _temporary_name(path) as temporary:
        temporary.mkdir()
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            _sync(entry)
        _sync(temporary)
        old = temporary.with_suffix(".old.part")
        if path.exists():
            path.rename(old)
        try:
            temporary.replace(path)
        except OSError:
            with suppress(OSError):  # report the first error
                old.rename(path)
            raise


@contextmanager
def _temporary_name(path: Path) -> Iterator[Path]:
    """Yield the temporary name of `path`, which the block creates and renames; then sync the folder and tidy up."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        make_folder(path.parent)
        _remove_parts(path, lambda process: not _is_alive(process))
        try:
            yield temporary
            _sync(path.parent)
        finally:
            _remove_parts(path, lambda process: process == os.getpid())
    except OSError as error:
        # Name the final path, not the temporary one. If a copy fails, its target is `filename2`.
        for name in map(str, (error.filename2, error.filename or temporary)):
            if name.startswith(str(temporary)):
                error.filename = str(path) + name.removeprefix(str(temporary))
                break
        raise


def _remove_parts(path: Path, by: Callable[[int], bool]) -> None:
    """Remove the temporary files and folders of `path` that were written by certain process ids."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = part.name.removeprefix(f".{path.name}.").partition(".")[0]
        if process.isdigit() and by(int(process)):
            with suppress(OSError):
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process of another user
        return True
    return True


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents, and sync their names to the disk."""
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Write a file, or the names in a folder, from memory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
