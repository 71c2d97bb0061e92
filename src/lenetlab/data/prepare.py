"""From archives of PNG files to index, packed pixels and profile: every image is checked, all that is wrong is told.

The label of an image comes from its name, `{number}_{label}.png`, and from nowhere else.
"""

import io
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lenetlab.data import archive, images
from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.storage.digests import sha256

CLASSES = 10

PARTS = ("training", "validation", "test")

MOST_PROBLEMS = 50  # listed by one message


def prepare(
    raw: Path, out_train: Path, out_test: Path, *, validation: int, validation_seed: int, duplicates: str
) -> None:
    """Write the folders `out_train` and `out_test` from `train.tar` and `test.tar` in `raw`.

    An image that is in both is an error, or left out of training where `duplicates` is drop. UserError lists everything
    that is wrong with either archive, and then neither folder is written.
    """
    problems: list[str] = []
    train, test = (images.read_archive(raw / name, problems) for name in ("train.tar", "test.tar"))
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
        raise UserError(
            f"{number} with the images, nothing was prepared:", *archive.first_problems(problems, MOST_PROBLEMS)
        )
    kept = train.where(~shared)
    if not len(kept.names):
        raise UserError("data.duplicates: drop leaves no training image, all are in the test set too")
    splits = split(kept, validation, validation_seed)
    with files.writing_folder(out_train) as first, files.writing_folder(out_test) as second:
        _write(kept, splits, int(shared.sum()), first)
        _write(test, np.full(len(test.names), "test"), 0, second)


def split(images: images.Images, validation: int, seed: int) -> np.ndarray:
    """(N) str: training or validation, each class in proportion (largest remainder).

    An image's rank is the SHA-256 of the seed and its pixels, so neither names nor order matter. Images that repeat
    stay on one side, and where they do not fit there are fewer than `validation`; one that repeats under several labels
    counts as the lowest. UserError if a class is left without training images.
    """
    labels = images.labels.tolist()
    splits = np.full(len(labels), "training", dtype=object)
    if not validation:
        return splits
    if validation >= len(labels):
        raise UserError(f"data.validation: {validation} is not allowed; allowed: less than the {len(labels)} images")
    copies: dict[str, list[int]] = defaultdict(list)
    for place, digest in enumerate(images.digests):
        copies[digest].append(place)
    ranked: list[list[tuple[str, list[int]]]] = [[] for _ in range(CLASSES)]
    for places in copies.values():
        rank = sha256(b"%d:%b" % (seed, images.pixels[places[0]].tobytes()))
        ranked[min(labels[place] for place in places)].append((rank, places))
    shares = proportional([sum(len(places) for _, places in contents) for contents in ranked], validation)
    for contents, share in zip(ranked, shares, strict=True):
        for _, places in sorted(contents):
            if len(places) <= share:
                splits[places] = "validation"
                share -= len(places)
    if bare := sorted(set(labels) - set(images.labels[splits == "training"].tolist())):
        raise UserError(
            f"data.validation: {validation} is not allowed; it leaves no training image of {', '.join(map(str, bare))};"
            f" allowed: fewer of the {len(labels)} images"
        )
    return splits


def proportional(counts: Sequence[int], total: int) -> list[int]:
    """`total` divided in proportion to `counts`, by the method of the largest remainder; in doubt the earlier gains."""
    shares = [total * count // sum(counts) for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda at: -(total * counts[at] % sum(counts)))
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return shares


def _write(images: images.Images, splits: np.ndarray, across: int, folder: Path) -> None:
    columns = (values.tolist() for values in (images.numbers, images.labels, splits, images.digests))
    rows = [f"{number},{label},{part},{digest}" for number, label, part, digest in zip(*columns, strict=True)]
    index = "\n".join(["number,label,split,sha256", *rows, ""]).encode()
    packed = io.BytesIO()
    np.save(packed, images.pixels)
    files.write_bytes(folder / "index.csv", index)
    files.write_bytes(folder / "pixels.npy", packed.getvalue())
    profile = {
        "digest": sha256(index, packed.getbuffer()),
        "images": len(images.names),
        "splits": {part: _statistics(images.where(splits == part)) for part in PARTS if part in splits},
        "duplicates": {"within": len(images.names) - len(set(images.digests)), "across": across},
    }
    files.write_json(folder / "profile.json", profile)


def _statistics(images: images.Images) -> dict[str, int | float | list[int]]:
    """Counts; mean and standard deviation of the pixels in [0, 1], from sums of whole numbers, so exact everywhere."""
    total = int(images.pixels.sum(dtype=np.int64))
    squares = int(np.square(images.pixels, dtype=np.uint16).sum(dtype=np.int64))
    size = images.pixels.size
    return {
        "images": len(images.names),
        "per_class": np.bincount(images.labels, minlength=CLASSES).tolist(),
        "mean": total / (255 * size),
        "std": math.sqrt((size * squares - total**2) / (255 * size) ** 2),
    }
