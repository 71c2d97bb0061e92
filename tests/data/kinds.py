"""Images of any size, in grey or colour, of any number of classes."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from lenetlab.data import png, prepare
from lenetlab.settings import study_schema
from lenetlab.storage import files
from tests.data.formats import tar


def images(count: int, size: int, channels: int, classes: int, seed: int = 0) -> np.ndarray:
    """(N, size, size) or (N, size, size, 3) uint8: dark noise with a bright row, placed by the class N % classes."""
    shape = (count, size, size) if channels == 1 else (count, size, size, channels)
    pixels = np.random.default_rng(seed).integers(0, 60, shape, dtype=np.uint8)
    for number, image in enumerate(pixels):
        image[number % classes * size // classes] += 190
    return pixels


def prepared_folder(
    folder: Path,
    data: study_schema.DataSettings,
    train: int,
    test: int,
    missing: Mapping[str, Collection[int]] = MappingProxyType({}),
) -> Path:
    """The folder with train/ and test/ of such images, as the stage prepare writes it.

    Labels that are `missing` in a set are left out of it.
    """
    kind = data.kind
    for seed, (name, count) in enumerate((("train", train), ("test", test), ("extra", 0))):
        pixels = images(count, kind.size, kind.channels, kind.classes, seed)
        labels = [place % kind.classes for place in range(count)]
        contents = [
            (f"{place}_{label}.png", png.encode(image))
            for place, (label, image) in enumerate(zip(labels, pixels, strict=True))
            if label not in missing.get(name, ())
        ]
        files.write_bytes(folder / "raw" / f"{name}.tar", tar(contents))
    prepare.prepare(folder / "raw", folder / "prepared/train", folder / "prepared/test", data)
    return folder / "prepared"
