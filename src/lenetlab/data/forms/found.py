"""What was found in a source of images, whatever its form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Content = bytes | NDArray[np.uint8]  # a file such as PNG or JPEG, or pixels (H, W) or (H, W, 3)

BY_NUMBER = "{number}_{label}.png"  # the label is the index of a class
CLASS_FOLDERS = "class folders"
PATTERN = "labels in file names, by data.pattern"
IDX = "IDX files"
PIXEL_TABLE = "CSV of pixels"
LABEL_TABLE = "file names with labels in a CSV"


class Picture(NamedTuple):
    """One image as found. There are many of these, and tuples keep garbage collection fast."""

    place: str  # for messages: path inside the source, such as train/cat/17.png or images.csv line 5
    label: str  # the class as the source names it: folder name, IDX number, CSV cell, label in the file name
    content: Callable[[], Content]  # UserError if it cannot be read


@dataclass(frozen=True)
class Found:
    """All images of a source, in a stable order."""

    form: str  # in words, one of the constants above
    sets: dict[str, Sequence[Picture]]  # "train", "test"; "validation" if there is one; only "all" if it has no sets
    ignored: dict[str, int] = field(default_factory=dict)  # what was skipped and how often
    notes: tuple[str, ...] = ()  # what the user should know, a sentence each
