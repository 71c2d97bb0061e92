"""Where raw images come from: a folder of one's own, or what a TOML file declares of mirrors and a pinned package."""

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
    """Pack the images of `source` into `train.tar` and `test.tar` in the folder `raw`: both or neither.

    A folder's PNG files are packed as they are, by number; MNIST is written as PNG files numbered by its order.
    """
    try:
        folder = source.is_dir()
    except OSError as error:
        raise UserError(f"data.source: {quoted(str(source))}: {error.strerror}; {download.REMEDY}") from None
    if folder:
        train, test = _from_folder(source)
    elif source.suffix == ".toml":
        train, test = _from_declaration(source)
    else:
        raise UserError(
            f"data.source: {quoted(str(source))} is not a folder and not a .toml file that exists; {download.REMEDY}"
        )
    download.announce(f"writing {raw / 'train.tar'} and {raw / 'test.tar'}")
    with files.writing(raw / "train.tar") as first, files.writing(raw / "test.tar") as second:
        archive.write(first, train)
        archive.write(second, test)


def _from_folder(source: Path) -> list[Iterator[tuple[str, bytes]]]:
    found, problems = [], []
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
    found = download.obtain(declared, source)
    return [
        _as_png(found[part.images.file], found[part.labels.file], f"{source}: {name}")
        for name, part in zip(SETS, (declared.train, declared.test), strict=True)
    ]


def _as_png(images: bytes, labels: bytes, place: str) -> Iterator[tuple[str, bytes]]:
    """PNG files named by position and label from two IDX files; UserError if they are not 28×28 digits with labels."""
    count = len(labels) - 8
    if labels[:8] != struct.pack(">II", 2049, max(count, 0)) or max(labels[8:], default=0) > 9:
        raise UserError(f"{place}: labels: not an IDX file of labels from 0 to 9")
    if images[:16] != struct.pack(">IIII", 2051, count, 28, 28) or len(images) != 16 + count * 784:
        raise UserError(f"{place}: images: not an IDX file of {count} images, 28×28 bytes each, one for each label")
    pixels = np.frombuffer(images, dtype=np.uint8, offset=16).reshape(-1, 28, 28)
    return (
        (f"{number:05d}_{label}.png", png.encode(image))
        for number, (image, label) in enumerate(zip(pixels, labels[8:], strict=True))
    )
