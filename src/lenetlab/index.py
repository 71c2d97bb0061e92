"""From archives of PNG files to an index, packed pixels and a profile: every image is checked, all that is wrong told at once.

The label of an image comes from its name, `{number}_{label}.png`, and from nowhere else.
"""

import hashlib
import io
import math
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenetlab import UserError, archive, files

SIDE = 28  # pixels
PACKED = SIDE * (1 + SIDE)  # bytes of an image within a PNG file: before every row stands the type of its filter
CLASSES = 10
MOST_PROBLEMS = 50  # listed by one message
NAME = re.compile(r"([0-9]{1,9})_([0-9])\.png")
OTHER_LABEL = re.compile(r"[0-9]{1,9}_([0-9]{2,})\.png")

CHUNK = struct.Struct(">I4s")  # length and kind; content and a CRC-32 follow
HEADER = struct.Struct(">8sI4sIIBBBBBI")
COLOURS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
REFUSED = {b"acTL": "animated", b"fcTL": "animated", b"fdAT": "animated", b"tRNS": "transparent", b"PLTE": "palette"}
ALLOWED = "allowed: 28×28 pixels, 8-bit greyscale, not interlaced"
BATCH = 4096  # images whose filters are undone together: what fits a processor's cache


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


def prepare(
    raw: Path, out_train: Path, out_test: Path, *, validation: int, validation_seed: int, duplicates: str
) -> None:
    """Write the folders `out_train` and `out_test` from `train.tar` and `test.tar` in `raw`.

    An image that is in both is an error, or left out of training where `duplicates` is drop. UserError lists everything
    that is wrong with either archive, and then neither folder is written.
    """
    problems: list[str] = []
    train, test = (read(raw / name, problems) for name in ("train.tar", "test.tar"))
    places = {digest: name for name, digest in zip(test.names, test.digests, strict=True)}
    shared = np.array([digest in places for digest in train.digests], dtype=bool)
    if duplicates == "error":
        problems += [
            f"{raw / 'train.tar'}: {name!r} shows the same image as {places[digest]!r} in test.tar;"
            " data.duplicates: drop leaves it out of training"
            for name, digest in zip(train.names[shared], train.digests[shared], strict=True)
        ]
    if problems:
        number = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise UserError(f"{number} with the images, nothing was prepared:", *archive.first(problems, MOST_PROBLEMS))
    kept = train.where(~shared)
    if not len(kept.names):
        raise UserError("data.duplicates: drop leaves no training image, all are in the test set too")
    splits = split(kept, validation, validation_seed)
    with files.folder(out_train) as first, files.folder(out_test) as second:
        _write(kept, splits, int(shared.sum()), first)
        _write(test, np.full(len(test.names), "test"), 0, second)


def read(path: Path, problems: list[str]) -> Images:
    """Every image in an archive that can be read; a line for each thing that is wrong is added to `problems`."""
    names, numbers, labels, rows = [], [], [], []
    first_with: dict[int, str] = {}
    try:
        for name, content in archive.members(path):
            number, label, problem = parse(name)
            if problem:
                problems.append(f"{path}: {name!r}: {problem}")
            elif (other := first_with.setdefault(number, name)) is not name:
                problems.append(f"{path}: {name!r}: the number {number} stands twice, in {other!r} too")
            try:
                rows.append(packed_rows(content))
            except ValueError as error:
                problems.append(f"{path}: {name!r}: {error}")
                continue
            names.append(name)
            numbers.append(number)
            labels.append(label)
        if not first_with ...
    except UserError as error:
        problems += error.problems
