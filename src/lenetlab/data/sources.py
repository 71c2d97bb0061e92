"""The stage fetch: pack the images that `data.source` names, a folder or a TOML declaration, into two tar archives."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lenetlab.data import archive, declaration, download, png
from lenetlab.errors import UserError
from lenetlab.settings.messages import quoted
from lenetlab.storage import files

SETS = ("train", "test")


def fetch(source: Path, raw: Path) -> None:
    """Write `train.tar` and `test.tar` to the folder `raw`: both or neither.

    The PNG files of a folder are packed unchanged, ordered by number. MNIST is written as PNG files numbered by
    position. UserError lists everything that is wrong with the source.
    """
    try:
        is_folder = source.is_dir()
    except OSError as error:
        raise UserError(f"data.source: {quoted(str(source))}: {error.strerror}; {download.REMEDY}") from None
    if is_folder:
        train, test = _from_folder(source)
    elif source.suffix == ".toml":
        train, test = _from_declaration(source)
    else:
        raise UserError(f"data.source: {quoted(str(source))} is neither a folder nor a .toml file; {download.REMEDY}")
    download.log(f"writing {raw / 'train.tar'} and {raw / 'test.tar'}")
    with files.writing(raw / "train.tar") as train_tar, files.writing(raw / "test.tar") as test_tar:
        archive.write(train_tar, train)
        archive.write(test_tar, test)


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
