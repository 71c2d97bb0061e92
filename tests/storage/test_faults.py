"""The layer that injects faults counts every operation, lets faults happen where asked, and finds careless writing."""

import errno
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.storage import faults
from tests.storage.faults import Error, Kill, PowerCut

pytestmark = pytest.mark.slow
MEMORY = Path("/dev/shm")  # noqa: S108  only a temporary folder; replacing files is faster there than on a disk
OLD, NEW = b"the old content", b"something new, and longer"


def kinds(work: Callable[[], object], below: Path, **options: bool) -> list[str]:
    return [f"{kind} {path}" for kind, path in faults.record_operations(work, below, **options)]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


# Counting.


def test_every_write_of_a_stream_is_counted_but_nothing_outside_the_folder(tmp_path):
    below = tmp_path / "below"
    below.mkdir()

    def work() -> None:
        (tmp_path / "elsewhere").write_bytes(NEW)
        with (below / "a").open("wb", buffering=0) as stream:
            stream.write(b"one")
            stream.write(b"two")
        with (below / "a").open("a") as stream:
            stream.write("three")
            stream.flush()
            os.fsync(stream.fileno())
        (below / "a").read_bytes()

    assert kinds(work, below) == ["open a", "write a", "write a", "open a", "write a", "fsync a"]
    assert (below / "a").read_bytes() == b"onetwothree"


def test_changes_of_folders_names_and_permissions_are_counted(tmp_path):
    def work() -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "a").touch()
        (tmp_path / "x" / "a").chmod(0o600)
        (tmp_path / "x" / "b").hardlink_to(tmp_path / "x" / "a")
        (tmp_path / "x").rename(tmp_path / "y")
        (tmp_path / "y" / "b").replace(tmp_path / "c")
        os.truncate(tmp_path / "c", 5)
        shutil.rmtree(tmp_path / "y")
        (tmp_path / "c").unlink()

    first = ["mkdir x", "open x/a", "chmod x/a", "link x/b", "rename y", "rename c", "truncate c"]
    assert kinds(work, tmp_path) == [*first, "unlink y/a", "rmdir y", "unlink c"]


def test_descriptors_and_copies_are_counted(tmp_path):
    (tmp_path / "from").write_bytes(NEW)

    def work() -> None:
        descriptor, name = tempfile.mkstemp(dir=tmp_path, prefix="t")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(OLD)
        Path(name).rename(tmp_path / "to")
        descriptor = os.open(tmp_path / "to", os.O_RDWR)
        os.write(descriptor, b"x")
        os.pwrite(descriptor, b"y", 1)
        os.close(descriptor)
        shutil.copyfile(tmp_path / "from", tmp_path / "copy")

    found = kinds(work, tmp_path)
    assert [line.split()[0] for line in found] == ["open", "write", "rename", "open", "write", "write", "open", "write"]
    assert found[2:] == ["rename to", "open to", "write to", "write to", "open copy", "write copy"]
    assert (tmp_path / "copy").read_bytes() == NEW
    assert (tmp_path / "to").read_bytes() == b"xy" + OLD[2:]


def test_reads_are_counted_on_request(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    assert kinds((tmp_path / "a").read_bytes, tmp_path) == []
    assert set(kinds((tmp_path / "a").read_text, tmp_path, reads=True)) == {"read a"}


def test_streams_behave_like_those_of_open(tmp_path):
    def content(mode: str, **options: object) -> tuple:
        path = tmp_path / "a"
        path.write_bytes(b"one\r\ntwo\n")
        with path.open(mode, **options) as stream:
            kind, read = type(stream), stream.read() if stream.readable() else None
            if stream.writable():
                stream.seek(0, io.SEEK_END)
                stream.write("drei\n" if isinstance(stream, io.TextIOBase) else b"drei\n")
            name = stream.mode, stream.name
        return kind, read, *name, path.read_bytes()

    for mode in ("r", "rb", "w", "wb", "a", "ab", "r+", "rb+", "w+b", "a+"):
        plain = content(mode)
        with faults.injected(below=tmp_path, reads=True):
            assert content(mode) == plain
    with faults.injected(below=tmp_path), pytest.raises(FileExistsError):
        content("x")


def test_writing_of_c_code_to_a_descriptor_is_an_error(tmp_path):
    def without_layer() -> None:
        with (tmp_path / "a.npy").open("wb") as stream:
            np.save(stream, np.arange(100))  # a real file: numpy hands its descriptor to fwrite

    def with_layer() -> None:
        with (tmp_path / "a.npz").open("wb") as stream:
            np.savez_compressed(stream, a=np.arange(100))

    with pytest.raises(AssertionError, match=r"a\.npy: written without the layer"):
        faults.record_operations(without_layer, tmp_path)
    (tmp_path / "a.npy").unlink()
    assert "write a.npz" in kinds(with_layer, tmp_path)


# Kills and errors.


def test_a_process_is_killed_before_during_and_after_a_write(tmp_path):
    path = tmp_path / "a"
    for when, left in (("before", b""), ("middle", NEW[: len(NEW) // 2]), ("after", NEW)):
        path.unlink(missing_ok=True)
        assert faults.run_with_fault(lambda: path.write_bytes(NEW), at=1, fault=Kill(when), below=tmp_path).killed
        assert path.read_bytes() == left


def test_a_process_is_killed_during_a_copy(tmp_path):
    (tmp_path / "from").write_bytes(NEW)
    work = lambda: shutil.copyfile(tmp_path / "from", tmp_path / "to")  # noqa: E731
    assert faults.run_with_fault(work, at=1, fault=Kill("middle"), below=tmp_path).killed
    assert (tmp_path / "to").read_bytes() == NEW[: len(NEW) // 2]


@pytest.mark.parametrize("number", faults.ERRORS)
def test_an_error_happens_once_or_is_lasting(tmp_path, number):
    for lasting, refused in ((False, ["b"]), (True, ["b", "c"])):
        errors = []
        with faults.injected(1, Error(number, lasting), below=tmp_path):
            for name in "abc":
                try:
                    (tmp_path / name).mkdir()
                except OSError as error:
                    errors.append((error.errno, error.filename))
        assert errors == [(number, tmp_path / name) for name in refused]
        assert {path.name for path in tmp_path.iterdir()} == set("abc") - set(refused)
        for path in tmp_path.iterdir():
            path.rmdir()


def test_files_can_be_renamed_and_removed_on_a_full_disk(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    with faults.injected(0, Error(errno.ENOSPC, lasting=True), below=tmp_path):
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "b").touch()
        (tmp_path / "a").rename(tmp_path / "c")
        (tmp_path / "c").unlink()


def test_a_short_write_is_followed_by_the_error(tmp_path):
    path = tmp_path / "a"
    with (
        faults.injected(1, Error(errno.ENOSPC, short=True), below=tmp_path),
        pytest.raises(OSError, match="No space left"),
    ):
        path.write_bytes(NEW)
    assert path.read_bytes() == NEW[: len(NEW) // 2]


def test_after_the_block_all_functions_are_restored(tmp_path):
    before = os.replace, os.fsync, open, io.open
    with pytest.raises(OSError, match="Input/output"), faults.injected(0, Error(errno.EIO), below=tmp_path):
        (tmp_path / "a").touch()
    assert (os.replace, os.fsync, open, io.open) == before
    assert list(tmp_path.parent.glob(".removed-*")) == []


def test_the_outcome_holds_the_error_and_a_failed_assertion_is_raised(tmp_path):
    def fails() -> None:
        (tmp_path / "a").touch()
        raise AssertionError("failed on purpose")

    outcome = faults.run_with_fault(fails, at=0, fault=Error(errno.EROFS), below=tmp_path)
    assert (outcome.killed, outcome.error.errno, outcome.error.filename) == (False, errno.EROFS, tmp_path / "a")
    with pytest.raises(AssertionError, match="failed on purpose"):
        faults.run_with_fault(fails, at=9, fault=Error(), below=tmp_path)


# Power cuts.


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(("data", "kept"), [(0.0, 5), (0.5, 7)])
def test_a_power_cut_keeps_the_synced_bytes_and_a_share_of_the_others(tmp_path, data, kept):
    def work() -> None:
        with (tmp_path / "a").open("wb", buffering=0) as stream:
            stream.write(b"first")
            os.fsync(stream.fileno())
            stream.write(b" last")
        sync(tmp_path)

    assert faults.run_with_fault(work, at=5, fault=PowerCut(data=data), below=tmp_path).killed
    assert (tmp_path / "a").read_bytes() == b"first last"[:kept]


def test_a_power_cut_undoes_changes_of_names_in_unsynced_folders(tmp_path):
    top = tmp_path / "top"
    for name in ("gone", "goes/with", "stays"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(name.encode())

    def work() -> None:
        (top / "gone").unlink()
        (top / "stays").rename(top / "gone")
        shutil.rmtree(top / "goes")
        (top / "new" / "deep").mkdir(parents=True)
        (top / "new" / "deep" / "file").touch()

    assert faults.run_with_fault(work, at=7, fault=PowerCut(), below=top).killed
    left = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    assert left == {name: name.encode() for name in ("gone", "goes/with", "stays")}
    assert sorted(path.name for path in top.iterdir()) == ["goes", "gone", "stays"]
    assert list(tmp_path.iterdir()) == [top]  # the layer leaves nothing behind


def test_synced_names_in_a_renamed_folder_remain(tmp_path):
    def work() -> None:
        (tmp_path / "part").mkdir()
        (tmp_path / "part" / "synced").touch()
        sync(tmp_path / "part")
        (tmp_path / "part" / "not").touch()
        (tmp_path / "part").rename(tmp_path / "whole")
        sync(tmp_path)

    assert faults.run_with_fault(work, at=6, fault=PowerCut(), below=tmp_path).killed
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"whole", "whole/synced"}


def test_a_power_cut_keeps_a_share_of_the_changes_of_names(tmp_path):
    def work() -> None:
        for name in "abcd":
            (tmp_path / name).touch()

    assert faults.run_with_fault(work, at=4, fault=PowerCut(names=0.5), below=tmp_path).killed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


# Ways to write a file: the faults find careless ones.


def in_place(path: Path) -> None:
    path.write_bytes(NEW)


def without_sync(path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(NEW)
    part.replace(path)
    sync(path.parent)


def without_folder_sync(path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(NEW)
    sync(part)
    part.replace(path)


def careful(path: Path) -> None:
    without_folder_sync(path)
    sync(path.parent)


def ignoring_short_writes(path: Path) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, NEW)
    os.fsync(descriptor)
    os.close(descriptor)
    part.replace(path)
    sync(path.parent)


def outcomes(write: Callable[[Path], None], folder: Path) -> dict[str, set]:
    """The contents of the file after every fault, by type of fault; `end` holds those after power cuts at the end."""
    path, found = folder / "file", {"end": set()}
    path.write_bytes(OLD)
    operations = faults.record_operations(lambda: write(path), folder)
    for at, fault in faults.cases(operations, errors=(errno.ENOSPC, errno.EIO)):
        for other in folder.iterdir():
            other.unlink()
        path.write_bytes(OLD)
        outcome = faults.run_with_fault(lambda: write(path), at=at, fault=fault, below=folder)
        assert outcome.killed == isinstance(fault, Kill)
        left = path.read_bytes() if path.exists() else None
        found.setdefault(type(fault).__name__, set()).add(left)
        if at == len(operations):
            found["end"].add(left)
    return found


def test_a_kill_during_the_write_finds_writing_in_place(tmp_path):
    found = outcomes(in_place, tmp_path)
    assert {b"", NEW[: len(NEW) // 2]} <= found["Kill"]
    assert {b"", NEW[: len(NEW) // 2]} <= found["Error"]


def test_a_power_cut_finds_writing_without_sync(tmp_path):
    found = outcomes(without_sync, tmp_path)
    assert found["Kill"] <= {OLD, NEW}
    assert {b"", NEW[: len(NEW) // 2]} <= found["PowerCut"]
    assert NEW not in found["end"]


def test_a_power_cut_finds_a_rename_without_sync_of_the_folder(tmp_path):
    found = outcomes(without_folder_sync, tmp_path)
    assert found["Kill"] | found["PowerCut"] <= {OLD, NEW}
    assert OLD in found["end"]


def test_an_error_after_a_short_write_finds_code_that_ignores_it(tmp_path):
    assert NEW[: len(NEW) // 2] in outcomes(ignoring_short_writes, tmp_path)["Error"]


def test_careful_writing_passes(tmp_path):
    found = outcomes(careful, tmp_path)
    assert found["Kill"] | found["PowerCut"] | found["Error"] == {OLD, NEW}
    assert found["end"] == {NEW}
