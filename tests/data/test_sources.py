"""The stage fetch: folders and archives of users, and IDX files, become two archives with reproducible bytes."""

import io
import os
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lenetlab.data import archive, download, png, sources
from lenetlab.errors import UserError
from lenetlab.storage import files
from tests.data.declarations import FILES, LABELS, TEST, TRAIN, declare, idx_images, idx_labels
from tests.data.formats import pillow_pixels


def error_message(source: Path, raw: Path) -> str:
    """The error of `fetch`, which must leave no output."""
    with pytest.raises(UserError) as caught:
        sources.fetch(source, raw)
    assert not raw.exists() or not list(raw.iterdir())
    return str(caught.value)


def assert_same_archives(first: Path, second: Path) -> None:
    for name in ("train.tar", "test.tar"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_source_must_be_a_folder_or_a_declaration(tmp_path):
    (tmp_path / "digits.png").touch()
    message = error_message(tmp_path / "digits.png", tmp_path / "raw")

    assert message.startswith("data.source: ")
    assert (
        " is neither a folder, an archive, a CSV nor a .toml file; remedy: set data.source in params.yaml to a folder"
        in message
    )


@pytest.mark.parametrize("name", ["nowhere", "nowhere.toml"])
def test_a_source_that_is_gone_has_a_remedy(tmp_path, name):
    """tests/pipeline/test_moved_project.py follows it."""
    message = error_message(tmp_path / name, tmp_path / "raw")

    assert " does not exist; allowed: a .toml file or a folder; remedy: set data.source in params.yaml" in message
    assert sources.find_problems(tmp_path / name, sources.NO_EXTRA_TEST) == [message]


def test_equal_files_give_equal_bytes_in_any_order_and_at_any_time(tmp_path, digits_folder, raw):
    for time_stamp, path in enumerate(sorted(digits_folder.glob("*/*.png"), reverse=True)):
        copy = tmp_path / "mine" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (time_stamp, time_stamp))
    sources.fetch(tmp_path / "mine", tmp_path / "raw")

    assert_same_archives(tmp_path / "raw", raw)


def test_archives_of_other_programs_are_packed_again(tmp_path, digits_folder, raw):
    for name in ("train", "test"):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as stream:
            stream.add(digits_folder / name, arcname=f"./{name}")
    sources.fetch(tmp_path, tmp_path / "raw")

    assert_same_archives(tmp_path / "raw", raw)


def test_packing_packed_archives_changes_nothing(tmp_path, raw):
    sources.fetch(raw, tmp_path / "raw")

    assert_same_archives(tmp_path / "raw", raw)


def test_files_are_packed_unchanged_even_if_they_are_not_images(tmp_path):
    """The stage prepare checks the content."""
    files.write_bytes(tmp_path / "train/1_5.png", b"not an image")
    files.write_bytes(tmp_path / "test/two.png", b"")
    sources.fetch(tmp_path, tmp_path / "raw")

    assert list(archive.members(tmp_path / "raw/train.tar")) == [("1_5.png", b"not an image")]
    assert list(archive.members(tmp_path / "raw/test.tar")) == [("two.png", b"")]


def test_all_errors_of_a_folder_are_listed(tmp_path):
    assert error_message(tmp_path, tmp_path / "raw").startswith(f"{tmp_path}: contains no images; allowed: class fol")

    files.write_bytes(tmp_path / "train/1_5.png", b"")
    files.write_bytes(tmp_path / "train.tar", b"")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    assert error_message(tmp_path, tmp_path / "raw").splitlines() == [
        f"data.source: {tmp_path} has both train.tar and train/; needed: one of them",
        f"{tmp_path / 'test'}: a symbolic link; allowed: the file or folder itself",
    ]

    (tmp_path / "test").unlink()
    (tmp_path / "train.tar").unlink()
    (tmp_path / "train/link.png").symlink_to("1_5.png")
    (tmp_path / "train/notes.txt").write_text("")
    (tmp_path / "test/more").mkdir(parents=True)
    message = error_message(tmp_path, tmp_path / "raw")
    assert [line.split(";")[0] for line in message.splitlines()] == [
        f"{tmp_path / 'train'}: 'link.png': a symbolic link",
        f"{tmp_path / 'train'}: 'notes.txt': the file name does not end in .png",
        f"{tmp_path / 'test'}: 'more': a folder",
    ]


def test_both_archives_are_written_or_neither(tmp_path, digits_folder, monkeypatch):
    written = []
    write = archive.write

    def full_disk(stream: io.BufferedWriter, contents: Iterator[tuple[str, bytes]]) -> None:
        write(stream, contents)
        written.append(stream)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        sources.fetch(digits_folder, tmp_path / "raw")

    assert len(written) == 2
    assert not list((tmp_path / "raw").iterdir())


def test_idx_files_become_png_files_numbered_by_position(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "download_all", lambda *_: FILES)
    sources.fetch(declare(tmp_path), tmp_path / "raw")

    for name, pixels in (("train", TRAIN), ("test", TEST)):
        found = dict(archive.members(tmp_path / f"raw/{name}.tar"))
        assert list(found) == [f"{number:05d}_{label}.png" for number, label in enumerate(LABELS[name])]
        assert np.array_equal([pillow_pixels(content) for content in found.values()], pixels)


EXTRA = {f"{number}_5.png": png.encode(image) for number, image in enumerate(TEST)}


def pack_extra_error(source: Path, raw: Path) -> str:
    """The error of `pack_extra`, which must leave no output; `lenetlab check` finds the same."""
    with pytest.raises(UserError) as caught:
        sources.pack_extra(source, raw)
    assert not raw.exists() or not list(raw.iterdir())
    (source.parent / "d.toml").touch()
    assert sources.find_problems(source.parent / "d.toml", source) == list(caught.value.problems)
    return str(caught.value)


def test_without_extra_images_the_archive_is_empty(tmp_path):
    sources.pack_extra(Path("data/none.txt"), tmp_path)

    assert (tmp_path / "extra.tar").read_bytes() == bytes(1024)  # the two empty blocks that end a tar
    assert sorted(path.name for path in tmp_path.iterdir()) == ["extra-conversions.json", "extra.tar"]


def test_extra_images_of_a_folder_or_a_tar_give_equal_bytes(tmp_path):
    for name, content in reversed(EXTRA.items()):
        files.write_bytes(tmp_path / "more" / name, content)
    with tarfile.open(tmp_path / "more.tar", "w") as stream:
        stream.add(tmp_path / "more", arcname="./elsewhere")
    for number, source in enumerate(("more", "more.tar")):
        sources.pack_extra(tmp_path / source, tmp_path / f"raw{number}")

    assert dict(archive.members(tmp_path / "raw0/extra.tar")) == EXTRA
    assert (tmp_path / "raw0/extra.tar").read_bytes() == (tmp_path / "raw1/extra.tar").read_bytes()


@pytest.mark.parametrize(("name", "problem"), [
    ("gone", "data.extra_test: '{}' does not exist; allowed: data/none.txt (none), a folder or a tar; remedy:"),
    ("empty", "data.extra_test: '{}' contains no images; allowed: PNG files named {{number}}_{{label}}.png"),
    ("empty.tar", "data.extra_test: '{}' contains no images"),
    ("more.tar.gz", "{}: {}: a damaged gzip file"),
    ("notes.txt", "{}: truncated: ends at byte 5"),
    ("halves", "{}: 'test': a folder; allowed: PNG files only, not in subfolders"),
])  # fmt: skip
def test_extra_images_that_cannot_be_read(tmp_path, monkeypatch, name, problem):
    """A mistyped path or an empty folder must not read as none: accuracies would be about fewer images."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.tar").write_bytes(bytes(10_240))
    (tmp_path / "more.tar.gz").write_bytes(b"\x1f\x8b\x08")
    (tmp_path / "notes.txt").write_text("none\n")
    files.write_bytes(tmp_path / "halves/test/1_5.png", EXTRA["1_5.png"])

    monkeypatch.chdir(tmp_path)
    assert pack_extra_error(Path(name), Path("raw")).startswith(problem.format(name, name))


def test_every_wrong_name_of_an_extra_folder_is_listed(tmp_path):
    for name in ("1_5.png", "notes.txt"):
        files.write_bytes(tmp_path / "more" / name, b"")
    (tmp_path / "more/link.png").symlink_to("1_5.png")

    assert [line.split(";")[0] for line in pack_extra_error(tmp_path / "more", tmp_path / "raw").splitlines()] == [
        f"{tmp_path / 'more'}: 'link.png': a symbolic link",
        f"{tmp_path / 'more'}: 'notes.txt': the file name does not end in .png",
    ]


@pytest.mark.parametrize(("name", "content", "problem"), [
    ("a-labels.gz", idx_labels([5, 0, 4, 1, 9]), "train: images: not an IDX file of 5 images, one for each"),
    ("a-labels.gz", idx_labels([5, 0, 4, 1, 9, 10]), "train: labels: not an IDX file of labels from 0 to 9"),
    ("a-labels.gz", b"digits", "train: labels: not an IDX file of labels from 0 to 9"),
    ("b-images.gz", idx_images(TEST)[:-1], "test: images: not an IDX file of 4 images"),
    ("b-images.gz", struct.pack(">IIII", 2051, 4, 14, 5) + TEST.tobytes(), "test: images: not an IDX file of 4"),
])  # fmt: skip
def test_invalid_idx_files_with_the_declared_digest(tmp_path, monkeypatch, name, content, problem):
    monkeypatch.setattr(download, "download_all", lambda *_: FILES | {name: content})
    source = declare(tmp_path)

    assert error_message(source, tmp_path / "raw").startswith(f"{source}: {problem}")
