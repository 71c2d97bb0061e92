"""After any fault during `files.writing` or `writing_folder`, the old content or the new one is there, complete."""

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lenetlab.storage import exchange, files
from tests.storage import faults, file_functions
from tests.storage.faults import Error, Kill, PowerCut

pytestmark = pytest.mark.slow
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
    between: tuple[None, ...] = (),
) -> None:
    """Interrupt `write`, which makes `path`, by each fault; `state` must then be the old or the new one.

    With `between` (None,) it may also be absent.
    """

    def start() -> None:
        shutil.rmtree(below, ignore_errors=True)
        below.mkdir()
        make_old()

    start()
    old = state(path)
    operations = faults.record_operations(write, below)
    new = state(path)
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


def make_old_folder(path: Path) -> None:
    (path / "deep").mkdir(parents=True)
    for name in ("old", "deep/old"):
        (path / name).write_bytes(OLD)


@pytest.fixture
def without_exchange(monkeypatch) -> None:
    """As on a file system that cannot exchange two names."""
    monkeypatch.setattr(exchange, "exchange", lambda *_: False)
    monkeypatch.setattr(file_functions, "_REAL_EXCHANGE", lambda *_: False)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_is_the_old_or_the_new_one_after_every_fault(below, exists, count, large):
    path = below / "new" / "folder"
    make_old = (lambda: make_old_folder(path)) if exists else lambda: None
    check_faults(lambda: write_folder(path), below, path, tree, make_old, large, count)
    assert tree(path).keys() == {"atomic", "plain", "deep", "deep/er", "deep/er/copy"}


@pytest.mark.usefixtures("without_exchange")
def test_a_folder_may_be_absent_between_two_renames(below, count, large):
    path = below / "new" / "folder"
    check_faults(
        lambda: write_folder(path), below, path, tree, lambda: make_old_folder(path), large, count, between=(None,)
    )


@pytest.mark.usefixtures("without_exchange")
def test_the_next_writer_puts_a_folder_back_that_a_kill_has_left_aside(below):
    path = below / "folder"
    make_old_folder(path)
    old = tree(path)
    operations = faults.record_operations(lambda: write_folder(path), below)
    shutil.rmtree(path)
    make_old_folder(path)
    at = max(place for place, operation in enumerate(operations) if operation == ("rename", "folder"))
    assert faults.run_with_fault(lambda: write_folder(path), at=at, fault=Kill(), below=below).killed
    assert tree(path) is None
    with pytest.raises(ZeroDivisionError), files.writing_folder(path):
        raise ZeroDivisionError
    assert tree(path) == old
    assert list(below.iterdir()) == [path]


class CtrlC:
    """KeyboardInterrupt before or after an operation."""

    def __init__(self, after: bool) -> None:
        self.after = after

    def strike(self, _layer: object, _operation: object, do: Callable, *_: object) -> None:
        if self.after:
            do()
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("exchanges", [False, True])
def test_ctrl_c_leaves_the_old_folder_or_the_new_one(below, request, count, exchanges, after):
    if not exchanges:
        request.getfixturevalue("without_exchange")
    path = below / "folder"
    make_old_folder(path)
    old = tree(path)
    operations = faults.record_operations(lambda: write_folder(path), below)
    new = tree(path)
    for at, operation in enumerate(operations):
        if operation.kind == "open" and after:
            continue  # nobody would close the stream
        shutil.rmtree(below)
        make_old_folder(path)
        with suppress(KeyboardInterrupt), faults.injected(at, CtrlC(after), below=below):
            write_folder(path)
        assert tree(path) in (old, new), operation
        write_folder(path)
        assert tree(path) == new
        assert list(below.iterdir()) == [path]
        count("writing: Ctrl-C")


@pytest.mark.parametrize("container", [[], ["unshare", "--pid", "--fork"]], ids=["process", "container"])
def test_two_writers_leave_each_others_files_alone(below, count, container):
    """In a container of its own a process does not see the others: their ids do not say whether they live."""
    if container and subprocess.run([*container, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no permission for a container")
    path = below / "file"
    write = (
        f"import pathlib; from lenetlab.storage import files; files.write_bytes(pathlib.Path({str(path)!r}), {NEW!r})"
    )
    with files.writing(path) as stream:
        stream.write(OLD)
        (temporary,) = below.iterdir()
        subprocess.run([*container, sys.executable, "-c", write], check=True)
        assert set(below.iterdir()) == {path, temporary}
        assert path.read_bytes() == NEW
    assert path.read_bytes() == OLD
    assert list(below.iterdir()) == [path]
    count("several containers")


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
