"""After any fault during `files.writing` or `writing_folder`, the old content or the new one is there, complete."""

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lenetlab.storage import files
from tests.storage import faults
from tests.storage.faults import Error, Kill, PowerCut

pytestmark = [pytest.mark.slow, pytest.mark.torture]
MEMORY = Path("/dev/shm")  # noqa: S108  only a temporary folder; replacing files is faster there than on a disk
OLD, NEW = b"the old content", b"something new, and longer"
COUNTED_AS = {
    Kill: "writing: killed",
    PowerCut: "writing: power cut",
    Error: "writing: refused by the disk",
}


@pytest.fixture
def below(tmp_path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as folder:
        yield Path(folder) / "below"


def tree(folder: Path) -> dict[str, bytes] | None:
    """The contents of all files in a folder, b"/" for folders; None if the folder does not exist."""
    if not folder.exists():
        return None
    return {str(path.relative_to(folder)): b"/" if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def selected(operations: list[faults.Operation], large: bool) -> list[tuple[int, faults.Fault]]:
    """All cases, or a sample that is always the same."""
    cases = list(faults.cases(operations))
    return cases if large else random.Random(0).sample(cases, min(60, len(cases)))  # noqa: S311


def check_faults(
    write: Callable[[], None],
    below: Path,
    path: Path,
    state: Callable[[Path], object],
    make_old: Callable[[], None],
    large: bool,
    count: Callable[[str], None],
) -> None:
    """Interrupt `write`, which makes `path`, by each fault; `state` must then be the old or the new one."""

    def start() -> None:
        shutil.rmtree(below, ignore_errors=True)
        below.mkdir()
        make_old()

    start()
    old = state(path)
    operations = faults.record_operations(write, below)
    new = state(path)
    between = (None,) if old is not None and path.is_dir() else ()  # there is a moment between two folders
    for at, fault in selected(operations, large):
        start()
        outcome = faults.run_with_fault(write, at=at, fault=fault, below=below)
        left, case = state(path), f"{fault} at {at}: {' '.join([*operations, ('end', '.')][at])}"
        assert outcome.killed == isinstance(fault, Kill), case
        assert left in (old, new, *between), case
        if old is not None and isinstance(fault, Error) and not fault.lasting:
            assert left is not None, case
        if at == len(operations) or (not outcome.killed and outcome.error is None):
            assert left == new, case  # the caller relies on a write that has returned
        if isinstance(outcome.error, OSError):
            check_error(outcome.error, fault, path, case)
        faults.record_operations(write, below)  # which skips the sync, for speed
        assert state(path) == new, case
        assert list(path.parent.iterdir()) == [path], case  # the next writer removes temporary files
        count(COUNTED_AS[type(fault)])


def check_error(error: OSError, fault: Error, path: Path, case: str) -> None:
    """The error names the path that the caller knows, a file in it, or a folder that had to be made for it."""
    assert error.errno == fault.number, case
    named = Path(os.fsdecode(error.filename))
    assert named == path or path in named.parents or named in path.parents, case


def write_in_parts(path: Path) -> None:
    with files.writing(path) as stream:
        stream.write(NEW[:7])
        stream.flush()
        stream.write(NEW[7:])


def write_arrays(path: Path) -> None:
    with files.writing(path) as stream:
        np.savez_compressed(stream, numbers=np.arange(1000), names=np.array(["a", "b"]))


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("write", [write_in_parts, write_arrays])
def test_a_file_is_the_old_or_the_new_one_after_every_fault(below, write, exists, count, large):
    path = below / "new" / "file"

    def make_old() -> None:
        if exists:
            path.parent.mkdir()
            path.write_bytes(OLD)

    check_faults(lambda: write(path), below, path, content, make_old, large, count)


def write_folder(path: Path) -> None:
    """As the stages do: files written at once and in place, copies, folders."""
    with files.writing_folder(path) as folder:
        files.write_bytes(folder / "atomic", NEW)
        (folder / "plain").write_bytes(NEW)
        (folder / "deep" / "er").mkdir(parents=True)
        shutil.copyfile(folder / "plain", folder / "deep" / "er" / "copy")


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_is_the_old_or_the_new_one_after_every_fault(below, exists, count, large):
    """Or absent, if the fault happens between removing the old and naming the new one; never a part of one."""
    path = below / "new" / "folder"

    def make_old() -> None:
        if exists:
            (path / "deep").mkdir(parents=True)
            for name in ("old", "deep/old"):
                (path / name).write_bytes(OLD)

    check_faults(lambda: write_folder(path), below, path, tree, make_old, large, count)
    assert tree(path).keys() == {"atomic", "plain", "deep", "deep/er", "deep/er/copy"}


def test_an_error_leaves_no_temporary_file(below, count):
    """On a disk that is full, or fails once, files can still be removed."""
    path = below / "file"
    below.mkdir()
    operations = faults.record_operations(lambda: files.write_bytes(path, NEW), below)
    for at, fault in faults.cases(operations):
        if isinstance(fault, Kill) or (fault.lasting and fault.number not in (errno.ENOSPC, errno.EDQUOT)):
            continue
        path.unlink(missing_ok=True)
        outcome = faults.run_with_fault(lambda: files.write_bytes(path, NEW), at=at, fault=fault, below=below)
        assert {other.name for other in below.iterdir()} <= {path.name}, f"{fault} at {at}"
        assert not outcome.killed
        count(COUNTED_AS[type(fault)])
