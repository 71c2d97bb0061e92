"""Files of images as pixels of the kind that was trained, and in words what that changed or what looks wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from lenetlab.data import conversion, png
from lenetlab.data.forms.entries import natural
from lenetlab.settings import schema, study_schema

MAX_BYTES = 100 * 2**20  # of a file
UNCLEAR = 0.1  # training images whose mean is within this of 0.5 are neither dark nor bright
LOSSES = {  # by switch of data.accept, except resize
    "grey": "colours became grey",
    "8-bit": "16 bits per pixel became 8",
    "jpeg": "stored with loss (JPEG or WebP), which changes pixels",
    "alpha": "transparent pixels became black",
}


@dataclass(frozen=True)
class Kind:
    """What the training images were like."""

    images: schema.ImageKind
    mean: float | None  # of their pixels, from 0 (black) to 1; None if it is not known


@dataclass(frozen=True)
class ReadImage:
    pixels: NDArray[np.uint8]  # (size, size), in colour (size, size, 3)
    warnings: list[str]


def find(paths: Sequence[Path]) -> Iterator[Path]:
    """These files, and in place of a folder its files, at any depth, in natural order; hidden ones are left out."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        names = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
        visible = [name for name in names if not any(part.startswith(".") for part in name.parts)]
        yield from (path / name for name in sorted(visible, key=lambda name: natural(name.as_posix())))


def read(path: Path, kind: Kind, invert: bool) -> ReadImage:
    """The image in a file. Raises Refused if it is none, or blank, and OSError if it cannot be read."""
    with path.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)  # a device has no size, and may have no end
    if len(content) > MAX_BYTES:
        raise conversion.Refused(f"a file of more than {MAX_BYTES // 2**20} MiB", "allowed: smaller ones")
    decoded = conversion.decode(content)
    original = 255 - decoded.pixels if invert else decoded.pixels
    pixels = canonical(original, kind.images)
    if pixels.min() == pixels.max():
        transparent = (
            "; its transparent pixels became black: save it without transparency" if "alpha" in decoded.losses else ""
        )
        raise conversion.Refused(f"blank: every pixel is {pixels.max()}{transparent}", "needed: something to recognise")
    warnings = [LOSSES[loss] for loss in decoded.losses]
    if original.ndim == 3 and kind.images.channels == 1:
        warnings.append(LOSSES["grey"])
    height, width = original.shape[:2]
    if (height, width) != (kind.images.size, kind.images.size):
        square = "" if height == width else ", with black beside it"
        size = kind.images.size
        warnings.append(f"resized from {width}×{height} to {size}×{size} pixels{square}")
    if looks_inverted(original, kind):
        remedy = "leave out --invert" if invert else "--invert"
        is_dark = kind.mean is not None and kind.mean < 0.5
        colours = "white on black" if is_dark else "black on white"
        warnings.append(f"it looks inverted: the training images are {colours}; remedy: {remedy}")
    return ReadImage(pixels, warnings)


def canonical(pixels: NDArray[np.uint8], kind: schema.ImageKind) -> NDArray[np.uint8]:
    """The pixels as the stage fetch makes them, with every loss accepted."""
    content = conversion.convert(pixels, kind, get_args(study_schema.Loss)).content
    rows = np.frombuffer(png.filtered_rows(content, kind.size, kind.channels), dtype=np.uint8)
    rows = rows.reshape(1, kind.size, 1 + kind.channels * kind.size)
    result: NDArray[np.uint8] = png.undo_filters(rows, kind.channels)[0]
    return result


def looks_inverted(pixels: NDArray[np.uint8], kind: Kind) -> bool:
    """Whether a grey image is bright at its border and in all where the training images are dark; or the reverse."""
    if kind.images.channels != 1 or kind.mean is None or abs(kind.mean - 0.5) < UNCLEAR:
        return False
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).mean() / 255
    brightness = grey.mean() / 255
    is_bright = border > 0.5 and brightness > 0.5
    is_dark = border < 0.5 and brightness < 0.5
    return bool(is_bright if kind.mean < 0.5 else is_dark)
