"""Write files and folders completely or not at all.

A file or folder with its final name is complete and on the disk: after a kill or a power cut it is the old one or the
new one, never a part. It is written under a temporary name, `.NAME.RANDOM.part`, and locked meanwhile, so that the next
writer, on this or another machine, can tell and remove those that a killed process has left.
"""

import fcntl
import glob
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from lenetlab.storage import exchange


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a binary stream that becomes the file `path` when the block ends; an error leaves `path` unchanged."""
    with _temporary(path, _create_file) as (temporary, descriptor):
        with open(descriptor, "wb", closefd=False) as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
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

    An existing folder is replaced in one step. Where the file system cannot do that, there is a moment with neither; if
    the process is killed then, the next writer puts the old folder back first.
    """
    with _temporary(path, _create_folder) as (temporary, _):
        yield temporary
        for entry in sorted(temporary.rglob("*")):
            _sync(entry)
        _sync(temporary)
        if not path.exists():
            temporary.replace(path)
        elif not exchange.exchange(temporary, path):
            old = _old_name(temporary)
            try:
                path.rename(old)
                temporary.replace(path)
            except BaseException:  # also Ctrl-C
                with suppress(OSError):  # report the first error; the new folder may have its name already
                    old.rename(path)
                raise


@contextmanager
def _temporary(path: Path, create: Callable[[Path], int]) -> Iterator[tuple[Path, int]]:
    """Create the temporary file or folder of `path`, which the block renames; then sync the folder and tidy up.

    Yields its name and a descriptor, which holds the lock.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        make_folder(path.parent)
        _remove_abandoned(path)
        while (descriptor := _create_locked(temporary, create)) is None:
            pass
        try:
            yield temporary, descriptor
            _sync(path.parent)
        finally:
            _remove(temporary)
            _restore_or_remove(_old_name(temporary), path)
            os.close(descriptor)
    except OSError as error:
        # Name the final path, not the temporary one. If a copy fails, its target is `filename2`.
        for name in map(str, (error.filename2, error.filename or temporary)):
            if name.startswith(str(temporary)):
                error.filename = str(path) + name.removeprefix(str(temporary))
                break
        raise


def _create_locked(temporary: Path, create: Callable[[Path], int]) -> int | None:
    """A descriptor; None if another writer took the file or folder for abandoned before it was locked."""
    descriptor = create(temporary)
    if _lock(descriptor) is not False and temporary.exists():
        return descriptor
    os.close(descriptor)
    return None


def _create_file(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)


def _create_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY)


def _lock(descriptor: int) -> bool | None:
    """Whether this process has got the lock; None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _old_name(temporary: Path) -> Path:
    """The name of the old folder while the new one gets its name."""
    return temporary.with_suffix(".old.part")


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files and folders of `path` whose writers no longer exist, and put an old folder back."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if part.name.endswith(".old.part"):
            continue
        with suppress(OSError):
            descriptor = os.open(part, os.O_RDONLY)
            try:
                if _lock(descriptor):
                    _remove(part)
            finally:
                os.close(descriptor)
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.old.part"):
        if not old.with_suffix("").with_suffix(".part").exists():
            _restore_or_remove(old, path)


def _restore_or_remove(old: Path, path: Path) -> None:
    if path.exists():
        _remove(old)
    else:
        with suppress(OSError):
            old.rename(path)


def _remove(part: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(part) if part.is_dir() else part.unlink()


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
