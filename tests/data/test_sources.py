"""The stage fetch: folders and archives of users, and IDX files, become two archives with reproducible bytes."""

import io
import os
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lenetlab.data import archive, download, sources
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
    assert " is neither a folder nor a .toml file; remedy: set data.source in params.yaml to a folder" in message


@pytest.mark.parametrize("name", ["nowhere", "nowhere.toml"])
def test_a_source_that_is_gone_has_a_remedy(tmp_path, name):
    """tests/pipeline/test_moved_project.py follows it."""
    message = error_message(tmp_path / name, tmp_path / "raw")

    assert " does not exist; allowed: a .toml file or a folder; remedy: set data.source in params.yaml" in message
    assert sources.find_problems(tmp_path / name) == [message]


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
    assert error_message(tmp_path, tmp_path / "raw").splitlines() == [
        f"data.source: {tmp_path} has neither {name}.tar and {name}/; needed: one of them" for name in ("train", "test")
    ]

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


@pytest.mark.parametrize(("name", "content", "problem"), [
    ("a-labels.gz", idx_labels([5, 0, 4, 1, 9]), "train: images: not an IDX file of 5 images of 28×28 bytes"),
    ("a-labels.gz", idx_labels([5, 0, 4, 1, 9, 10]), "train: labels: not an IDX file of labels from 0 to 9"),
    ("a-labels.gz", b"digits", "train: labels: not an IDX file of labels from 0 to 9"),
    ("b-images.gz", idx_images(TEST)[:-1], "test: images: not an IDX file of 4 images"),
    ("b-images.gz", struct.pack(">IIII", 2051, 4, 14, 56) + TEST.tobytes(), "test: images: not an IDX file of 4"),
])  # fmt: skip
def test_invalid_idx_files_with_the_declared_digest(tmp_path, monkeypatch, name, content, problem):
    monkeypatch.setattr(download, "download_all", lambda *_: FILES | {name: content})
    source = declare(tmp_path)

    assert error_message(source, tmp_path / "raw").startswith(f"{source}: {problem}")
