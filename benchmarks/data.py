"""The digits in every form that a way of training reads, made once in a temporary folder."""

import struct
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from lenetlab.data import archive, images, prepare, sources

ROOT = Path(__file__).parents[1]
FRACTIONS = (1, 2, 4)  # of the training images, to see how time grows with them


def make(work: Path, train: int, test: int) -> None:
    """So many images each, from the archives that the pipeline has fetched, or else fetched here.

    stored/ has archives as fetch makes them of MNIST, loose/ PNG files as Pillow writes them, packed/ archives of
    those, torchvision/ MNIST's own files, and prepared-N/ what prepare makes of an N-th of the training images, none
    of them kept for validation.
    """
    raw = fetched(work)
    _cut(raw, work / "stored", train, test)
    for part in FRACTIONS:
        few = work / "stored" if part == 1 else work / f"stored-{part}"
        if part > 1:
            _cut(raw, few, train // part, test)
        prepare_folder(few, work / f"prepared-{part}", validation=0)
    for part, name in (("train", "train"), ("test", "t10k")):
        found = images.read_archive(work / "stored" / f"{part}.tar", [])
        loose, own = work / "loose" / part, work / "torchvision" / "MNIST" / "raw"
        loose.mkdir(parents=True)
        own.mkdir(parents=True, exist_ok=True)
        for file, pixels in zip(found.names, found.pixels, strict=True):
            Image.fromarray(pixels).save(loose / file)
        _write_idx(found.pixels, own / f"{name}-images-idx3-ubyte")
        _write_idx(found.labels, own / f"{name}-labels-idx1-ubyte")
    sources.fetch(work / "loose", work / "packed")


def fetched(work: Path) -> Path:
    """The folder with train.tar and test.tar of MNIST."""
    raw = ROOT / "data" / "raw"
    if not (raw / "train.tar").exists():
        raw = work / "fetched"
        sources.fetch(ROOT / "data" / "mnist.toml", raw)
    return raw


def prepare_folder(raw: Path, out: Path, validation: int) -> None:
    """out/train and out/test, with so many images kept for validation, those that params.yaml keeps."""
    prepare.prepare(raw, out / "train", out / "test", validation=validation, validation_seed=0, duplicates="error")


def _cut(raw: Path, folder: Path, train: int, test: int) -> None:
    folder.mkdir()
    for name, count in (("train.tar", train), ("test.tar", test)):
        with (folder / name).open("wb") as stream:
            archive.write(stream, islice(archive.members(raw / name), count))


def _write_idx(values: np.ndarray, path: Path) -> None:
    """MNIST's format: the type (8: unsigned bytes) and number of dimensions, their lengths, the values."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())
