"""A small data set like MNIST: its IDX files, and a declaration that names mirrors and a package."""

import struct
from pathlib import Path

import numpy as np

from lenetlab.storage.digests import sha256

RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.integers(0, 256, (6, 28, 28), np.uint8), RANDOM.integers(0, 256, (4, 28, 28), np.uint8)
LABELS = {"train": [5, 0, 4, 1, 9, 2], "test": [7, 2, 1, 0]}


def idx_images(pixels: np.ndarray) -> bytes:
    return struct.pack(">IIII", 2051, len(pixels), 28, 28) + pixels.tobytes()


def idx_labels(labels: list[int]) -> bytes:
    return struct.pack(">II", 2049, len(labels)) + bytes(labels)


FILES = {
    "a-images.gz": idx_images(TRAIN),
    "a-labels.gz": idx_labels(LABELS["train"]),
    "b-images.gz": idx_images(TEST),
    "b-labels.gz": idx_labels(LABELS["test"]),
}


def declare(folder: Path, *mirrors: str, package: str = "") -> Path:
    """Write a declaration of FILES with the right sizes and digests."""
    keys = ("train.images", "train.labels", "test.images", "test.labels")
    sets = [
        f'[{key}]\nfile = "{name}"\nbytes = {len(content)}\nsha256 = "{sha256(content)}"\n'
        for key, (name, content) in zip(keys, FILES.items(), strict=True)
    ]
    path = folder / "small.toml"
    path.write_text("\n".join([f"mirrors = {list(mirrors)}".replace("'", '"'), *sets, package]))
    return path
