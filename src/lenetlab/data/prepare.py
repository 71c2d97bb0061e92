"""Check all images, split off validation images, and write the index, the pixels and a profile of each set."""

import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenetlab.data import archive
from lenetlab.data.image_files import Images, read_archive
from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.storage.digests import sha256

CLASSES = 10
SPLITS = ("training", "validation", "test", "extra")
MAX_PROBLEMS = 50  # per error message


def prepare(
    raw: Path, out_train: Path, out_test: Path, *, validation: int, validation_seed: int, duplicates: str
) -> None:
    """Write the folder `out_train` from `train.tar`, and `out_test` from `test.tar` and `extra.tar`, all in `raw`.

    An image that is in two sets is an error. If `duplicates` is "drop", it is left out of training, or of the extra
    images if it is one of them: so what is trained never depends on these. UserError lists everything that is wrong
    with the archives; then neither folder is written.
    """
    problems: list[str] = []
    train, test = (read_archive(raw / name, problems) for name in ("train.tar", "test.tar"))
    extra = read_archive(raw / "extra.tar", problems, may_be_empty=True)
    place_in_test, place_elsewhere = _places({"test.tar": test}), _places({"train.tar": train, "test.tar": test})
    in_both, extra_in_both = _are_in(train, place_in_test), _are_in(extra, place_elsewhere)
    if duplicates == "error":
        problems += _repetitions(raw / "train.tar", train.select(in_both), place_in_test, "training")
        problems += _repetitions(raw / "extra.tar", extra.select(extra_in_both), place_elsewhere, "the extra images")
    if problems:
        number = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise UserError(
            f"{number} with the images, nothing was prepared:", *archive.first_problems(problems, MAX_PROBLEMS)
        )
    if in_both.all():
        problems.append("data.duplicates: drop leaves no training images, because all are in the test set too")
    if len(extra.names) and extra_in_both.all():
        problems.append("data.duplicates: drop leaves no extra images, because all are in the training or test set too")
    if problems:
        raise UserError(*problems)
    kept, kept_extra = train.select(~in_both), extra.select(~extra_in_both)
    splits = split(kept, validation, validation_seed)
    test_splits = np.array(["test"] * len(test.names) + ["extra"] * len(kept_extra.names), dtype=object)
    with files.writing_folder(out_train) as train_folder, files.writing_folder(out_test) as test_folder:
        _write(kept, splits, int(in_both.sum()), train_folder)
        _write(test.followed_by(kept_extra), test_splits, int(extra_in_both.sum()), test_folder)


def _places(sets: Mapping[str, Images]) -> dict[str, tuple[str, str]]:
    """File name and archive of each image, by digest; `sets` by the name of their archive."""
    places: dict[str, tuple[str, str]] = {}
    for tar, images in sets.items():
        places |= zip(images.digests, zip(images.names, repeat(tar), strict=False), strict=True)
    return places


def _are_in(images: Images, places: Mapping[str, tuple[str, str]]) -> NDArray[np.bool_]:
    """(N): which images are at one of `places`."""
    return np.array([digest in places for digest in images.digests], dtype=bool)


def _repetitions(path: Path, images: Images, places: Mapping[str, tuple[str, str]], out_of: str) -> list[str]:
    """A line for each image of the archive `path` that is also at one of `places`."""
    return [
        f"{path}: {name!r} is the same image as {places[digest][0]!r} in {places[digest][1]};"
        f" remedy: remove one of them, or set data.duplicates to drop, which leaves it out of {out_of}"
        for name, digest in zip(images.names, images.digests, strict=True)
    ]


def split(images: Images, validation: int, seed: int) -> NDArray[np.object_]:
    """(N) str, "training" or "validation", with each class in proportion (largest remainder).

    Images are ranked by the SHA-256 of seed and pixels, so neither names nor order matter. Identical images are in the
    same split; if a group of them does not fit, there are fewer than `validation` images. Identical images with
    different labels count as the lowest label. UserError if a class is left without training images.
    """
    labels: list[int] = images.labels.tolist()
    splits = np.full(len(labels), "training", dtype=object)
    if not validation:
        return splits
    if validation >= len(labels):
        raise UserError(f"data.validation: {validation} is not allowed; allowed: less than the {len(labels)} images")
    places_of: dict[str, list[int]] = defaultdict(list)  # by digest
    for place, digest in enumerate(images.digests):
        places_of[digest].append(place)
    ranked: list[list[tuple[str, list[int]]]] = [[] for _ in range(CLASSES)]
    for places in places_of.values():
        rank = sha256(b"%d:%b" % (seed, images.pixels[places[0]].tobytes()))
        ranked[min(labels[place] for place in places)].append((rank, places))
    shares = proportional_shares([sum(len(places) for _, places in groups) for groups in ranked], validation)
    for groups, share in zip(ranked, shares, strict=True):
        for _, places in sorted(groups):
            if len(places) <= share:
                splits[places] = "validation"
                share -= len(places)
    if missing := sorted(set(labels) - set(images.labels[splits == "training"].tolist())):
        raise UserError(
            f"data.validation: {validation} is not allowed; it leaves no training images of class"
            f" {', '.join(map(str, missing))}; allowed: fewer of the {len(labels)} images"
        )
    return splits


def proportional_shares(counts: Sequence[int], total: int) -> list[int]:
    """Divide `total` in proportion to `counts` by the largest remainder method; of equal remainders the first wins."""
    shares = [total * count // sum(counts) for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda place: -(total * counts[place] % sum(counts)))
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares


def _write(images: Images, splits: NDArray[np.object_], dropped: int, folder: Path) -> None:
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
        "splits": {part: _statistics(images.select(splits == part)) for part in SPLITS if part in splits},
        "duplicates": {"within": len(images.names) - len(set(images.digests)), "across": dropped},
    }
    files.write_json(folder / "profile.json", profile)


def _statistics(images: Images) -> dict[str, int | float | list[int]]:
    """Counts, and mean and standard deviation of the pixels in [0, 1].

    Sums of whole numbers are exact, so the results are the same on every machine.
    """
    total = int(images.pixels.sum(dtype=np.int64))
    squares = int(np.square(images.pixels, dtype=np.uint16).sum(dtype=np.int64))
    size = images.pixels.size
    return {
        "images": len(images.names),
        "per_class": np.bincount(images.labels, minlength=CLASSES).tolist(),
        "mean": total / (255 * size),
        "std": math.sqrt((size * squares - total**2) / (255 * size) ** 2),
    }
