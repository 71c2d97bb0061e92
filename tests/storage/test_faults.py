"""The layer that injects faults sees every operation, strikes where it is told to, and catches careless writing."""

import errno
import io
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

pytestmark = pytest.mark.slow
MEMORY = Path("/dev/shm")  # noqa: S108  nothing is kept there, and a disk takes its time to replace a file
OLD, NEW = b"the old content", b"something new, and longer"


def kinds(work: Callable[[], object], below: Path, **options: bool) -> list[str]:
    return [f"{kind} {path}" for kind, path in faults.counted(work, below, **options)]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


# What is counted.


def test_every_write_of_a_stream_is_counted_and_nothing_elsewhere(tmp_path):
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


def test_folders_names_and_permissions_are_counted(tmp_path):
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


def test_reads_are_counted_where_they_are_asked_for(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    assert kinds((tmp_path / "a").read_bytes, tmp_path) == []
    assert set(kinds((tmp_path / "a").read_text, tmp_path, reads=True)) == {"read a"}


def test_streams_are_those_of_open(tmp_path):
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


def test_what_c_code_writes_to_a_descriptor_is_noticed(tmp_path):
    def past() -> None:
        with (tmp_path / "a.npy").open("wb") as stream:
            np.save(stream, np.arange(100))  # a real file: numpy hands its descriptor to fwrite

    def through() -> None:
        with (tmp_path / "a.npz").open("wb") as stream:
            np.savez_compressed(stream, a=np.arange(100))

    with pytest.raises(AssertionError, match=r"a\.npy: written past"):
        faults.counted(past, tmp_path)
    (tmp_path / "a.npy").unlink()
    assert "write a.npz" in kinds(through, tmp_path)


# What strikes.


def test_a_process_is_killed_before_in_the_middle_of_and_after_a_write(tmp_path):
    path = tmp_path / "a"
    for when, left in (("before", b""), ("middle", NEW[: len(NEW) // 2]), ("after", NEW)):
        path.unlink(missing_ok=True)
        assert faults.trial(lambda: path.write_bytes(NEW), at=1, fault=Kill(when), below=tmp_path).killed
        assert path.read_bytes() == left


def test_a_copy_is_cut_in_its_middle_too(tmp_path):
    (tmp_path / "from").write_bytes(NEW)
    work = lambda: shutil.copyfile(tmp_path / "from", tmp_path / "to")  # noqa: E731
    assert faults.trial(work, at=1, fault=Kill("middle"), below=tmp_path).killed
    assert (tmp_path / "to").read_bytes() == NEW[: len(NEW) // 2]


@pytest.mark.parametrize("number", faults.ERRORS)
def test_an_error_comes_once_or_lasts(tmp_path, number):
    for lasts, refused in ((False, ["b"]), (True, ["b", "c"])):
        errors = []
        with faults.injected(1, Error(number, lasts), below=tmp_path):
            for name in "abc":
                try:
                    (tmp_path / name).mkdir()
                except OSError as error:
                    errors.append((error.errno, error.filename))
        assert errors == [(number, tmp_path / name) for name in refused]
        assert {path.name for path in tmp_path.iterdir()} == set("abc") - set(refused)
        clear(tmp_path)


def test_a_full_disk_can_still_be_cleared(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    with faults.injected(0, Error(errno.ENOSPC, lasts=True), below=tmp_path):
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


def test_after_the_block_everything_is_as_it_was(tmp_path):
    before = os.replace, os.fsync, open, io.open
    with pytest.raises(OSError, match="Input/output"), faults.injected(0, Error(errno.EIO), below=tmp_path):
        (tmp_path / "a").touch()
    assert (os.replace, os.fsync, open, io.open) == before
    assert list(tmp_path.parent.glob(".shadow-*")) == []


def test_a_trial_tells_of_its_error_and_a_failed_assertion_is_raised(tmp_path):
    def fails() -> None:
        (tmp_path / "a").touch()
        raise AssertionError("so it is")

    ended = faults.trial(fails, at=0, fault=Error(errno.EROFS), below=tmp_path)
    assert (ended.killed, ended.error.errno, ended.error.filename) == (False, errno.EROFS, tmp_path / "a")
    with pytest.raises(AssertionError, match="so it is"):
        faults.trial(fails, at=9, fault=Error(), below=tmp_path)


# What a power cut leaves.


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(("data", "kept"), [(0.0, 5), (0.5, 7)])
def test_of_a_file_only_what_was_synced_is_left_and_a_share(tmp_path, data, kept):
    def work() -> None:
        with (tmp_path / "a").open("wb", buffering=0) as stream:
            stream.write(b"first")
            os.fsync(stream.fileno())
            stream.write(b" last")
        sync(tmp_path)

    assert faults.trial(work, at=5, fault=PowerCut(data=data), below=tmp_path).killed
    assert (tmp_path / "a").read_bytes() == b"first last"[:kept]


def test_names_whose_folder_was_not_synced_go_back_in_reverse(tmp_path):
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

    assert faults.trial(work, at=7, fault=PowerCut(), below=top).killed
    left = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    assert left == {name: name.encode() for name in ("gone", "goes/with", "stays")}
    assert sorted(path.name for path in top.iterdir()) == ["goes", "gone", "stays"]
    assert list(tmp_path.iterdir()) == [top]  # nothing of the layer is left


def test_a_folder_keeps_what_was_synced_in_it_under_another_name(tmp_path):
    def work() -> None:
        (tmp_path / "part").mkdir()
        (tmp_path / "part" / "synced").touch()
        sync(tmp_path / "part")
        (tmp_path / "part" / "not").touch()
        (tmp_path / "part").rename(tmp_path / "whole")
        sync(tmp_path)

    assert faults.trial(work, at=6, fault=PowerCut(), below=tmp_path).killed
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"whole", "whole/synced"}


def test_a_share_of_the_names_may_last(tmp_path):
    def work() -> None:
        for name in "abcd":
            (tmp_path / name).touch()

    assert faults.trial(work, at=4, fault=PowerCut(names=0.5), below=tmp_path).killed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


# Ways to write a file: careless ones are caught.


def in_place(path: Path) -> None:
    path.write_bytes(NEW)


def without_sync(path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(NEW)
    part.replace(path)
    sync(path.parent)


def without_the_folders_sync(path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(NEW)
    sync(part)
    part.replace(path)


def careful(path: Path) -> None:
    without_the_folders_sync(path)
    sync(path.parent)


def blind_to_short_writes(path: Path) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, NEW)
    os.fsync(descriptor)
    os.close(descriptor)
    part.replace(path)
    sync(path.parent)


def outcomes(write: Callable[[Path], None], folder: Path) -> dict[str, set]:
    """What is found in the file after every fault, by the fault; and as `end` after power cuts when all was done."""
    path, found = folder / "file", {"end": set()}
    path.write_bytes(OLD)
    operations = faults.counted(lambda: write(path), folder)
    for at, fault in faults.cases(operations):
        for other in folder.iterdir():
            other.unlink()
        path.write_bytes(OLD)
        ended = faults.trial(lambda: write(path), at=at, fault=fault, below=folder)
        assert ended.killed == isinstance(fault, Kill)
        left = path.read_bytes() if path.exists() else None
        found.setdefault(type(fault).__name__, set()).add(left)
        if at == len(operations):
            found["end"].add(left)
    return found


def test_writing_in_place_is_caught_by_the_kill_in_its_middle(tmp_path):
    found = outcomes(in_place, tmp_path)
    assert {b"", NEW[: len(NEW) // 2]} <= found["Kill"]
    assert {b"", NEW[: len(NEW) // 2]} <= found["Error"]


def test_writing_without_sync_is_caught_by_the_power_cut(tmp_path):
    found = outcomes(without_sync, tmp_path)
    assert found["Kill"] <= {OLD, NEW}
    assert {b"", NEW[: len(NEW) // 2]} <= found["PowerCut"]
    assert NEW not in found["end"]


def test_a_rename_without_the_folders_sync_is_caught_by_the_power_cut(tmp_path):
    found = outcomes(without_the_folders_sync, tmp_path)
    assert found["Kill"] | found["PowerCut"] <= {OLD, NEW}
    assert OLD in found["end"]


def test_a_short_write_that_nobody_looked_at_is_caught(tmp_path):
    assert NEW[: len(NEW) // 2] in outcomes(blind_to_short_writes, tmp_path)["Error"]


def test_careful_writing_is_not_caught(tmp_path):
    found = outcomes(careful, tmp_path)
    assert found["Kill"] | found["PowerCut"] | found["Error"] == {OLD, NEW}
    assert found["end"] == {NEW}


# The project's own way.


def kind_of(fault: faults.Fault) -> str:
    return {Kill: "writing: killed", PowerCut: "writing: power cut", Error: "writing: refused by the disk"}[type(fault)]


def case(at: int, fault: faults.Fault, operations: list[faults.Operation]) -> str:
    """For messages."""
    return f"{fault} at {at}: {' '.join([*operations, ('end', '.')][at])}"


def tree(folder: Path) -> dict[str, bytes] | None:
    """Everything in a folder, None if there is no folder."""
    if not folder.exists():
        return None
    return {str(path.relative_to(folder)): b"/" if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def chosen(operations: list[faults.Operation], large: bool) -> list[tuple[int, faults.Fault]]:
    """All cases, or some that are always the same."""
    found = list(faults.cases(operations))
    return found if large else random.Random(0).sample(found, min(80, len(found)))  # noqa: S311


def clear(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def write_in_parts(path: Path) -> None:
    with files.writing(path) as stream:
        stream.write(NEW[:7])
        stream.flush()
        stream.write(NEW[7:])


def write_arrays(path: Path) -> None:
    with files.writing(path) as stream:
        np.savez_compressed(stream, numbers=np.arange(1000), names=np.array(["a", "b"]))


@pytest.mark.torture
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("write", [write_in_parts, write_arrays])
def test_a_file_is_the_old_or_the_new_one_after_every_fault(tmp_path, write, there, count, large):
    below = tmp_path / "below"
    path = below / "new" / "file"

    def start() -> None:
        clear(below)
        if there:
            path.parent.mkdir()
            path.write_bytes(OLD)

    below.mkdir()
    start()
    operations = faults.counted(lambda: write(path), below)
    new = path.read_bytes()
    for at, fault in chosen(operations, large):
        start()
        ended = faults.trial(lambda: write(path), at=at, fault=fault, below=below)
        left, what = path.read_bytes() if path.exists() else None, case(at, fault, operations)
        assert ended.killed == isinstance(fault, Kill), what
        assert left in ((OLD if there else None), new), what
        if not ended.killed and ended.error is None:
            assert left == new, what
        if at == len(operations):
            assert left == new, what  # who was told that it is written can rely on it
        if isinstance(ended.error, OSError):
            check_error(ended.error, fault, path, what)
        check_again(lambda: write(path), path, what)
        assert path.read_bytes() == new, what
        count(kind_of(fault))


def check_error(error: OSError, fault: Error, path: Path, what: str) -> None:
    """It tells of the file that the caller knows, or of a folder that had to be made for it."""
    assert error.errno == fault.number, what
    told = Path(os.fsdecode(error.filename))
    assert told == path or path in told.parents or told in path.parents, what


def check_again(again: Callable[[], None], path: Path, what: str) -> None:
    """The next time all goes well, and nothing that was begun is left beside it."""
    faults.counted(again, path.parents[1])  # where syncing takes no time
    assert [other.name for other in path.parent.iterdir()] == [path.name], what


def fill(folder: Path) -> None:
    """As the stages do: whole files, plain ones, copies, folders."""
    files.write_bytes(folder / "whole", NEW)
    (folder / "plain").write_bytes(NEW)
    (folder / "deep" / "er").mkdir(parents=True)
    shutil.copyfile(folder / "plain", folder / "deep" / "er" / "copy")


def write_folder(path: Path) -> None:
    with files.writing_folder(path) as folder:
        fill(folder)


@pytest.mark.torture
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_the_old_or_the_new_one_after_every_fault(tmp_path, there, count, large):
    """Or neither, if the fault came in the moment between the two; never a part of one."""
    below, old = tmp_path / "below", {"old": OLD, "deep": b"/", "deep/old": OLD}
    path = below / "new" / "folder"

    def start() -> None:
        clear(below)
        if there:
            (path / "deep").mkdir(parents=True)
            for name in ("old", "deep/old"):
                (path / name).write_bytes(OLD)

    below.mkdir()
    start()
    operations = faults.counted(lambda: write_folder(path), below)
    new = tree(path)
    assert new.keys() == {"whole", "plain", "deep", "deep/er", "deep/er/copy"}
    for at, fault in chosen(operations, large):
        start()
        ended = faults.trial(lambda: write_folder(path), at=at, fault=fault, below=below)
        left, what = tree(path), case(at, fault, operations)
        assert ended.killed == isinstance(fault, Kill), what
        assert left in ((None, old, new) if there else (None, new)), what
        if there and isinstance(fault, Error) and not fault.lasts:
            assert left is not None, what
        if at == len(operations) or (not ended.killed and ended.error is None):
            assert left == new, what
        if isinstance(ended.error, OSError):
            check_error(ended.error, fault, path, what)
        check_again(lambda: write_folder(path), path, what)
        assert tree(path) == new, what
        count(kind_of(fault))


@pytest.mark.torture
def test_after_an_error_nothing_is_left_beside_a_file(tmp_path, count):
    """A disk that is full or fails once can still be cleared, and is."""
    path = tmp_path / "below" / "file"
    path.parent.mkdir()
    operations = faults.counted(lambda: files.write_bytes(path, NEW), path.parent)
    for at, fault in faults.cases(operations):
        if isinstance(fault, Kill) or (fault.lasts and fault.number not in (errno.ENOSPC, errno.EDQUOT)):
            continue
        clear(path.parent)
        ended = faults.trial(lambda: files.write_bytes(path, NEW), at=at, fault=fault, below=path.parent)
        assert {other.name for other in path.parent.iterdir()} <= {path.name}, case(at, fault, operations)
        assert not ended.killed
        count(kind_of(fault))
