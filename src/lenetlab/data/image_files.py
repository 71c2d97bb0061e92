"""File names and labels, and all images of one archive.

The label of an image is in its file name, `{number}_{label}.png`, and nowhere else. It is the place of a class in
`data.classes`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenetlab.data import archive, png
from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage.digests import sha256

FILE_NAME = re.compile(r"([0-9]{1,9})_(0|[1-9][0-9]{0,2})\.png")
OTHER_LABEL = re.compile(r"[0-9]{1,9}_([0-9]+)\.png")


@dataclass(frozen=True)
class Images:
    """The images of one archive, ordered by number."""

    names: NDArray[np.object_]  # (N) str
    numbers: NDArray[np.int64]  # (N)
    labels: NDArray[np.uint16]  # (N)
    pixels: NDArray[np.uint8]  # (N, size, size), or (N, size, size, 3) in colour
    digests: NDArray[np.object_]  # (N) str: SHA-256 of the bytes of the pixels

    def select(self, chosen: NDArray[np.bool_]) -> "Images":
        """The images for which the mask `chosen` (N) is true."""
        return Images(**{name: values[chosen] for name, values in vars(self).items()})

    def followed_by(self, others: "Images") -> "Images":
        """These images, then the others; a number may appear in both."""
        return Images(**{name: np.concatenate([values, vars(others)[name]]) for name, values in vars(self).items()})


def read_archive(path: Path, kind: schema.ImageKind, problems: list[str], *, may_be_empty: bool = False) -> Images:
    """The images of an archive that are of the declared kind.

    A line for each error in it is added to `problems`; errors that differ only in the file are one line.
    """
    names, numbers, labels, rows = [], [], [], []
    name_of: dict[int, str] = {}  # by number
    places_of: dict[str, list[str]] = {}  # file names by what is wrong with them
    problems_before = len(problems)
    try:
        for name, content in archive.members(path):
            number, label = -1, 0
            try:
                number, label = parse_name(name, kind.classes)
                if name_of.setdefault(number, name) != name:
                    raise ValueError(f"the number {number} appears twice, also in {name_of[number]!r}")
            except ValueError as problem:
                places_of.setdefault(str(problem), []).append(name)
            try:
                rows.append(png.filtered_rows(content, kind.size, kind.channels))
            except ValueError as problem:
                places_of.setdefault(str(problem), []).append(name)
                continue
            names.append(name)
            numbers.append(number)
            labels.append(label)
    except UserError as error:
        problems += error.problems
    problems += [f"{path}: {_described(places)}: {problem}" for problem, places in places_of.items()]
    if not names and not may_be_empty and len(problems) == problems_before:
        problems.append(f"{path}: contains no images; needed: PNG files named {{number}}_{{label}}.png")
    filtered = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, kind.size, 1 + kind.channels * kind.size)
    pixels = png.undo_filters(filtered, kind.channels)
    digests = [sha256(image.data) for image in pixels.reshape(len(pixels), kind.channels * kind.size**2)]
    return Images(
        names=np.array(names, dtype=object),
        numbers=np.array(numbers, dtype=np.int64),
        labels=np.array(labels, dtype=np.uint16),
        pixels=pixels,
        digests=np.array(digests, dtype=object),
    )


def _described(names: Sequence[str]) -> str:
    return repr(names[0]) if len(names) == 1 else f"{len(names)} images, the first is {names[0]!r}"


def parse_name(name: str, classes: int) -> tuple[int, int]:
    """Number and label in a file name; ValueError if it is not `{number}_{label}.png` with one of `classes` labels."""
    if (match := FILE_NAME.fullmatch(name)) and int(match[2]) < classes:
        return int(match[1]), int(match[2])
    if match := OTHER_LABEL.fullmatch(name):
        raise ValueError(
            f"the label {match[1]} is none of the {classes} classes of data.classes;"
            f" allowed: 0 to {classes - 1}, without leading zeros"
        )
    raise ValueError(
        "invalid file name; allowed: {number}_{label}.png with a number of 1 to 9 digits"
        f" and a label from 0 to {classes - 1}"
    )
