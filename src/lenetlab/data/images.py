"""From archives of PNG files to index, packed pixels and profile: every image is checked, all that is wrong is told.

The label of an image comes from its name, `{number}_{label}.png`, and from nowhere else.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenetlab.data import archive, png
from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256

NAME = re.compile(r"([0-9]{1,9})_([0-9])\.png")

OTHER_LABEL = re.compile(r"[0-9]{1,9}_([0-9]{2,})\.png")


@dataclass(frozen=True)
class Images:
    """The images of one archive, ordered by number."""

    names: np.ndarray  # (N) str
    numbers: np.ndarray  # (N) int64
    labels: np.ndarray  # (N) uint8
    pixels: np.ndarray  # (N, 28, 28) uint8
    digests: np.ndarray  # (N) str: SHA-256 of the 784 pixel bytes

    def where(self, chosen: np.ndarray) -> "Images":
        return Images(**{name: values[chosen] for name, values in vars(self).items()})


def read_archive(path: Path, problems: list[str]) -> Images:
    """The images of an archive; a line for each thing that is wrong with it is added to `problems`."""
    names, numbers, labels, rows = [], [], [], []
    taken: dict[int, str] = {}
    known = len(problems)
    try:
        for name, content in archive.members(path):
            number, label = -1, 0
            try:
                number, label = parse_name(name)
                if taken.setdefault(number, name) != name:
                    raise ValueError(f"the number {number} stands twice, in {taken[number]!r} too")
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
    if not names and len(problems) == known:
        problems.append(f"{path}: no images in it; needed: PNG files named {{number}}_{{label}}.png")
    pixels = png.unfiltered(np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, png.SIDE, 1 + png.SIDE))
    digests = [sha256(image) for image in pixels.reshape(-1, png.SIDE * png.SIDE)]
    return Images(
        names=np.array(names, dtype=object),
        numbers=np.array(numbers, dtype=np.int64),
        labels=np.array(labels, dtype=np.uint8),
        pixels=pixels,
        digests=np.array(digests, dtype=object),
    )


def parse_name(name: str) -> tuple[int, int]:
    """Number and label; ValueError for any other name."""
    if match := NAME.fullmatch(name):
        return int(match[1]), int(match[2])
    if match := OTHER_LABEL.fullmatch(name):
        raise ValueError(f"the label {match[1]} is not one digit; allowed: 0 to 9")
    raise ValueError("not the name of an image; allowed: {number}_{label}.png, number of 1 to 9 digits, label 0 to 9")
