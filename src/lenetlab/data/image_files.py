"""File names and labels, and all images of one archive.

The label of an image is in its file name, `{number}_{label}.png`, and nowhere else.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenetlab.data import archive, png
from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256

FILE_NAME = re.compile(r"([0-9]{1,9})_([0-9])\.png")
LONG_LABEL = re.compile(r"[0-9]{1,9}_([0-9]{2,})\.png")


@dataclass(frozen=True)
class Images:
    """The images of one archive, ordered by number."""

    names: NDArray[np.object_]  # (N) str
    numbers: NDArray[np.int64]  # (N)
    labels: NDArray[np.uint8]  # (N)
    pixels: NDArray[np.uint8]  # (N, 28, 28)
    digests: NDArray[np.object_]  # (N) str: SHA-256 of the 784 pixel bytes

    def select(self, chosen: NDArray[np.bool_]) -> "Images":
        """The images for which the mask `chosen` (N) is true."""
        return Images(**{name: values[chosen] for name, values in vars(self).items()})

    def followed_by(self, others: "Images") -> "Images":
        """These images, then the others; a number may appear in both."""
        return Images(**{name: np.concatenate([values, vars(others)[name]]) for name, values in vars(self).items()})


def read_archive(path: Path, problems: list[str], *, may_be_empty: bool = False) -> Images:
    """The valid images of an archive; a line for each error in it is added to `problems`."""
    names, numbers, labels, rows = [], [], [], []
    name_of: dict[int, str] = {}  # by number
    problems_before = len(problems)
    try:
        for name, content in archive.members(path):
            number, label = -1, 0
            try:
                number, label = parse_name(name)
                if name_of.setdefault(number, name) != name:
                    raise ValueError(f"the number {number} appears twice, also in {name_of[number]!r}")
            except ValueError as problem:
                problems.append(f"{path}: {name!r}: {problem}")
            try:
                rows.append(png.filtered_rows(content))
            except ValueError as problem:
                problems.append(f"{path}: {name!r}: {problem}")
                continue
            names.append(name)
            numbers.append(number)
            labels.append(label)
    except UserError as error:
        problems += error.problems
    if not names and not may_be_empty and len(problems) == problems_before:
        problems.append(f"{path}: contains no images; needed: PNG files named {{number}}_{{label}}.png")
    pixels = png.undo_filters(np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, png.SIDE, 1 + png.SIDE))
    digests = [sha256(image.data) for image in pixels.reshape(-1, png.SIDE * png.SIDE)]
    return Images(
        names=np.array(names, dtype=object),
        numbers=np.array(numbers, dtype=np.int64),
        labels=np.array(labels, dtype=np.uint8),
        pixels=pixels,
        digests=np.array(digests, dtype=object),
    )


def parse_name(name: str) -> tuple[int, int]:
    """Number and label in a file name; ValueError if it is not `{number}_{label}.png`."""
    if match := FILE_NAME.fullmatch(name):
        return int(match[1]), int(match[2])
    if match := LONG_LABEL.fullmatch(name):
        raise ValueError(f"the label {match[1]} is not a single digit; allowed: 0 to 9")
    raise ValueError(
        "invalid file name; allowed: {number}_{label}.png with a number of 1 to 9 digits and a label from 0 to 9"
    )
