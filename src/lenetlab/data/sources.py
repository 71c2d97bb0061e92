"""The stages fetch and extra: pack images into tar archives.

`data.source` names a folder or a TOML declaration with training and test images. `data.extra_test` names a folder or a
tar with further test images, or the file that stands for none.
"""

import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from lenetlab.data import archive, declaration, download, png
from lenetlab.errors import UserError
from lenetlab.settings import study_schema
from lenetlab.settings.messages import quoted
from lenetlab.storage import code, files

SETS = ("train", "test")
NO_EXTRA_TEST = Path(study_schema.NO_EXTRA_TEST)
MOVED = (
    "allowed: a .toml file or a folder; remedy: set data.source in params.yaml to where the images are now, or, to use"
    " those fetched before, dvc checkout fetch, then dvc repro --downstream prepare"
)
EXTRA_MOVED = (
    f"allowed: {NO_EXTRA_TEST} (none), a folder or a tar; remedy: set data.extra_test in params.yaml to where the"
    " images are now, or, to use those packed before, dvc checkout extra, then dvc repro --downstream prepare"
)


def fetch(source: Path, raw: Path) -> None:
    """Write `train.tar` and `test.tar` to the folder `raw`: both or neither.

    The PNG files of a folder are packed unchanged, ordered by number. MNIST is written as PNG files numbered by
    position. UserError lists everything that is wrong with the source.
    """
    train, test = _from_folder(source) if _is_folder(source) else _from_declaration(source)
    download.log(f"writing {raw / 'train.tar'} and {raw / 'test.tar'}")
    with files.writing(raw / "train.tar") as train_tar, files.writing(raw / "test.tar") as test_tar:
        archive.write(train_tar, train)
        archive.write(test_tar, test)


def pack_extra(source: Path, raw: Path) -> None:
    """Write `extra.tar` to the folder `raw`: the images of a folder or tar, unchanged, ordered by number.

    The archive is empty if `source` is NO_EXTRA_TEST. UserError lists everything that is wrong with the source.
    """
    images = _extra_images(source)
    with files.writing(raw / "extra.tar") as tar:
        archive.write(tar, images)


def find_problems(source: Path, extra: Path) -> list[str]:
    """What is wrong with both sources of images, a line each, as far as names and sizes of their files tell."""
    problems: list[str] = []
    try:
        if _is_folder(source):
            _from_folder(source)
    except UserError as error:
        problems += error.problems
    try:
        _extra_images(extra)
    except UserError as error:
        problems += error.problems
    return problems


def is_copied_to_experiments(source: Path) -> bool:
    """Whether a queued or temporary experiment of DVC, which runs in a copy of what git and DVC hold, finds the source.

    True if git cannot tell: without git there are no experiments.
    """
    if source.is_absolute() or Path(f"{source}.dvc").exists():
        return True
    if os.path.normpath(source).startswith(".."):
        return False
    try:
        return bool(code.command_output("git", "ls-files", "--", str(source)))
    except (OSError, subprocess.SubprocessError):
        return True


def _is_folder(source: Path) -> bool:
    """Whether it is a folder and not a declaration; UserError if it is neither."""
    name = f"data.source: {quoted(str(source))}"
    mode = _mode(source, name, MOVED, download.REMEDY)
    if not stat.S_ISDIR(mode) and source.suffix != ".toml":
        raise UserError(f"{name} is neither a folder nor a .toml file; {download.REMEDY}")
    return stat.S_ISDIR(mode)


def _mode(path: Path, name: str, moved: str, remedy: str) -> int:
    """Type and permissions of a file or folder; UserError with one of two remedies if it is gone or out of reach."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have this name
        raise UserError(f"{name} does not exist; {moved}") from None
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}; {remedy}") from None


def _extra_images(source: Path) -> Iterator[tuple[str, bytes]]:
    """File name and content of every further test image; UserError if there are none, unless `source` says so."""
    if source == NO_EXTRA_TEST:
        return iter(())
    name = f"data.extra_test: {quoted(str(source))}"
    _mode(source, name, EXTRA_MOVED, EXTRA_MOVED)
    images = archive.members(source)
    if (first := next(images, None)) is None:
        raise UserError(
            f"{name} contains no images; allowed: PNG files named {{number}}_{{label}}.png, or {NO_EXTRA_TEST} for none"
        )
    return chain([first], images)


def _from_folder(source: Path) -> list[Iterator[tuple[str, bytes]]]:
    found: list[Iterator[tuple[str, bytes]]] = []
    problems: list[str] = []
    for name in SETS:
        places = [place for place in (source / f"{name}.tar", source / name) if os.path.lexists(place)]
        if len(places) != 1:
            have = "both" if places else "neither"
            problems.append(f"data.source: {source} has {have} {name}.tar and {name}/; needed: one of them")
        elif places[0].is_symlink():
            problems.append(f"{places[0]}: a symbolic link; allowed: the file or folder itself")
        else:
            try:
                found.append(archive.members(places[0]))
            except UserError as error:
                problems += error.problems
    if problems:
        raise UserError(*problems)
    return found


def _from_declaration(source: Path) -> list[Iterator[tuple[str, bytes]]]:
    declared = declaration.read_declaration(source)
    contents = download.download_all(declared, source)
    return [
        _as_png_files(contents[part.images.file], contents[part.labels.file], f"{source}: {name}")
        for name, part in zip(SETS, (declared.train, declared.test), strict=True)
    ]


def _as_png_files(images: bytes, labels: bytes, place: str) -> Iterator[tuple[str, bytes]]:
    """PNG files named by position and label from two IDX files; UserError unless they are 28×28 digits with labels."""
    count = len(labels) - 8
    if labels[:8] != struct.pack(">II", 2049, max(count, 0)) or max(labels[8:], default=0) > 9:
        raise UserError(f"{place}: labels: not an IDX file of labels from 0 to 9")
    if images[:16] != struct.pack(">IIII", 2051, count, 28, 28) or len(images) != 16 + count * 784:
        raise UserError(f"{place}: images: not an IDX file of {count} images of 28×28 bytes, one for each label")
    pixels = np.frombuffer(images, dtype=np.uint8, offset=16).reshape(-1, 28, 28)
    return (
        (f"{number:05d}_{label}.png", png.encode(image))
        for number, (image, label) in enumerate(zip(pixels, labels[8:], strict=True))
    )
