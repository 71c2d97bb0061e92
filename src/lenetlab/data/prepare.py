"""Check all images, split off validation images, and write the index, the pixels and a profile of each set."""

import io
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenetlab.data import archive, oddities
from lenetlab.data.image_files import Images, read_archive
from lenetlab.errors import UserError
from lenetlab.settings import study_schema
from lenetlab.storage import files, paths, stage_outputs
from lenetlab.storage.digests import sha256

SPLITS = ("training", "validation", "test", "extra")
MAX_PROBLEMS = 50  # per error message
BLOCK = 1000  # images whose squares are summed at a time

Conversions = Mapping[str, Mapping[str, int]]  # how many images, by archive and by what was changed


def prepare(raw: Path, out_train: Path, out_test: Path, data: study_schema.DataSettings) -> None:
    """Write the folder `out_train` from `train.tar`, and `out_test` from `test.tar` and `extra.tar`, all in `raw`.

    An image that is in two sets is an error. If `data.duplicates` is "drop", it is left out of training, or of the
    extra images if it is one of them: so what is trained never depends on these. UserError lists everything that is
    wrong with the archives; then neither folder is written. What is odd, but allowed, is printed.
    """
    problems: list[str] = []
    train, test = (read_archive(raw / name, data.kind, problems) for name in ("train.tar", "test.tar"))
    extra = read_archive(raw / "extra.tar", data.kind, problems, may_be_empty=True)
    place_in_test, place_elsewhere = _places({"test.tar": test}), _places({"train.tar": train, "test.tar": test})
    in_both, extra_in_both = _are_in(train, place_in_test), _are_in(extra, place_elsewhere)
    if data.duplicates == "error":
        problems += _repetitions(raw / "train.tar", train.select(in_both), place_in_test, "training")
        problems += _repetitions(raw / "extra.tar", extra.select(extra_in_both), place_elsewhere, "the extra images")
    if problems:
        number = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise UserError(
            f"{number} with the images, nothing was prepared:", *archive.first_problems(problems, MAX_PROBLEMS)
        )
    kept, kept_extra = train.select(~in_both), extra.select(~extra_in_both)
    if in_both.all():
        problems.append("data.duplicates: drop leaves no training images, because all are in the test set too")
    elif missing := oddities.missing_classes(kept, data.classes):
        problems.append(
            f"{raw / 'train.tar'}: no training images of {missing}; needed: at least one of every class of data.classes"
        )
    if len(extra.names) and extra_in_both.all():
        problems.append("data.duplicates: drop leaves no extra images, because all are in the training or test set too")
    if problems:
        raise UserError(*problems)
    for line in oddities.find(kept, test, data.classes):
        print(f"warning: {line}", file=sys.stderr, flush=True)
    splits = split(kept, data.classes, data.validation, data.validation_seed)
    conversions = _conversions(raw)
    test_splits = np.array(["test"] * len(test.names) + ["extra"] * len(kept_extra.names), dtype=object)
    with files.writing_folder(out_train) as train_folder, files.writing_folder(out_test) as test_folder:
        told = {"train": conversions["train"]} if "train" in conversions else {}  # training must not see the others
        _write(kept, data.classes, splits, int(in_both.sum()), told, train_folder)
        shown, dropped = test.followed_by(kept_extra), int(extra_in_both.sum())
        _write(shown, data.classes, test_splits, dropped, conversions, test_folder)


def _conversions(raw: Path) -> Conversions:
    """How many images of each archive fetch and extra converted; none in archives that were put there by hand."""
    found: dict[str, dict[str, int]] = {}
    for name, stage in ((paths.CONVERSIONS, "fetch"), (paths.EXTRA_CONVERSIONS, "extra")):
        if (raw / name).exists():
            found |= stage_outputs.read_json_object(raw / name, stage)
    return found


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


def split(images: Images, classes: Sequence[str], validation: int, seed: int) -> NDArray[np.object_]:
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
    ranked: list[list[tuple[str, list[int]]]] = [[] for _ in classes]
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
            f"data.validation: {validation} is not allowed; it leaves no training images of"
            f" {oddities.named(missing, classes)}; allowed: fewer of the {len(labels)} images"
        )
    return splits


def proportional_shares(counts: Sequence[int], total: int) -> list[int]:
    """Divide `total` in proportion to `counts` by the largest remainder method; of equal remainders the first wins."""
    shares = [total * count // sum(counts) for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda place: -(total * counts[place] % sum(counts)))
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares


def _write(
    images: Images,
    classes: Sequence[str],
    splits: NDArray[np.object_],
    dropped: int,
    conversions: Conversions,
    folder: Path,
) -> None:
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
        "size": images.pixels.shape[1],
        "channels": 1 if images.pixels.ndim == 3 else images.pixels.shape[3],
        "classes": list(classes),
        "splits": {part: _statistics(images.select(splits == part), len(classes)) for part in SPLITS if part in splits},
        "duplicates": {"within": len(images.names) - len(set(images.digests)), "across": dropped},
        "conversions": conversions,
    }
    files.write_json(folder / "profile.json", profile)


def _statistics(images: Images, classes: int) -> dict[str, int | float | list[int] | list[float]]:
    """Counts, and mean and standard deviation of the pixels in [0, 1]; for colour images, of each channel.

    Sums of whole numbers are exact, so the results are the same on every machine.
    """
    channels = images.pixels.shape[3] if images.pixels.ndim == 4 else 1
    totals = squares = np.zeros(channels, dtype=np.int64)
    for start in range(0, len(images.pixels), BLOCK):
        values = images.pixels[start : start + BLOCK].reshape(-1, channels)
        totals = totals + values.sum(axis=0, dtype=np.int64)
        squares = squares + np.square(values, dtype=np.uint16).sum(axis=0, dtype=np.int64)
    count = images.pixels.size // channels
    # Python's whole numbers: count × squares can be too large for 64 bits
    means = [total / (255 * count) for total in totals.tolist()]
    deviations = [
        math.sqrt((count * square - total**2) / (255 * count) ** 2)
        for total, square in zip(totals.tolist(), squares.tolist(), strict=True)
    ]
    return {
        "images": len(images.names),
        "per_class": np.bincount(images.labels, minlength=classes).tolist(),
        "mean": means if channels > 1 else means[0],
        "std": deviations if channels > 1 else deviations[0],
    }
