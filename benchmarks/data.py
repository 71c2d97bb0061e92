"""MNIST in every form that the benchmarks read, made once in a temporary folder."""

import struct
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from lenetlab.data import archive, image_files, prepare, sources
from lenetlab.settings import schema, study_schema

ROOT = Path(__file__).parents[1]
FRACTIONS = (1, 2, 4)  # 1/N of the training images, to measure how time grows with their number


def make(work: Path, train: int, test: int) -> None:
    """Write `train` training images and `test` test images to these folders of `work`:

    - stored/: archives as the stage fetch makes them from MNIST
    - loose/: PNG files as Pillow writes them
    - packed/: archives of these PNG files
    - torchvision/: MNIST in its original format
    - prepared-N/: output of the stage prepare for 1/N of the training images, without validation images
    """
    raw = fetched(work)
    _cut(raw, work / "stored", train, test)
    for fraction in FRACTIONS:
        archives = work / "stored" if fraction == 1 else work / f"stored-{fraction}"
        if fraction > 1:
            _cut(raw, archives, train // fraction, test)
        prepare_folder(archives, work / f"prepared-{fraction}", validation=0)
    for part, name in (("train", "train"), ("test", "t10k")):
        found = image_files.read_archive(work / "stored" / f"{part}.tar", schema.ImageKind(), [])
        loose, own = work / "loose" / part, work / "torchvision" / "MNIST" / "raw"
        loose.mkdir(parents=True)
        own.mkdir(parents=True, exist_ok=True)
        for file, pixels in zip(found.names, found.pixels, strict=True):
            Image.fromarray(pixels).save(loose / file)
        _write_idx(found.pixels, own / f"{name}-images-idx3-ubyte")
        _write_idx(found.labels.astype(np.uint8), own / f"{name}-labels-idx1-ubyte")
    sources.fetch(work / "loose", work / "packed")
    sources.pack_extra(sources.NO_EXTRA_TEST, work / "packed")


def fetched(work: Path) -> Path:
    """The folder with the archives of MNIST: that of the pipeline, or `work`/fetched, which is made here."""
    raw = ROOT / "data" / "raw"
    if not all((raw / name).exists() for name in ("train.tar", "extra.tar")):
        raw = work / "fetched"
        sources.fetch(ROOT / "data" / "mnist.toml", raw)
        sources.pack_extra(sources.NO_EXTRA_TEST, raw)
    return raw


def prepare_folder(raw: Path, out: Path, validation: int) -> None:
    """Write out/train and out/test. The split into training and validation images is that of params.yaml."""
    data = study_schema.DataSettings(
        source="data/mnist.toml",
        extra_test=study_schema.NO_EXTRA_TEST,
        validation=validation,
        validation_seed=0,
        duplicates="error",
    )
    prepare.prepare(raw, out / "train", out / "test", data)


def _cut(raw: Path, folder: Path, train: int, test: int) -> None:
    folder.mkdir()
    sources.pack_extra(sources.NO_EXTRA_TEST, folder)
    for name, count in (("train.tar", train), ("test.tar", test)):
        with (folder / name).open("wb") as stream:
            archive.write(stream, islice(archive.members(raw / name), count))


def _write_idx(values: np.ndarray, path: Path) -> None:
    """Write the IDX format of MNIST: type (8: unsigned bytes), number of dimensions, lengths, values."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())
