"""A test set out of a source that has none: a share of the images of every class, chosen by their pixels alone."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lenetlab.data import conversion
from lenetlab.data.forms.found import Found, Picture
from lenetlab.data.forms.packing import Target
from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256

SEED = 0  # a constant: so nobody tries several test sets and keeps the one with the best results


def with_test_set(found: Found, source: Path, target: Target) -> dict[str, Iterable[Picture]]:
    """The sets "train" and "test" out of the images of a source without a test set: `target.test_share` of them.

    The images are read twice, first when the first set is read; only digests of them are kept. UserError if the source
    has a test set, or if no class has enough images.
    """
    if "test" in found.sets:
        raise UserError(
            f"data.test_share: {target.test_share} is not allowed, because {source} has a test set; allowed: 0"
        )
    pictures = [picture for part in found.sets.values() for picture in part]
    chosen: list[bool] = []

    def part(*, is_test: bool) -> Iterator[Picture]:
        if not chosen:
            looked = tqdm(pictures, desc="choosing test images", unit="image", disable=None, leave=False)
            ranks = [_rank(picture, target) for picture in looked]
            chosen.extend(choose([picture.label for picture in pictures], ranks, target.test_share).tolist())
        if not any(chosen):
            raise UserError(
                f"{source}: no class has two different images, of which one could be a test image;"
                " remedy: more images, or folders train/ and test/"
            )
        yield from (picture for picture, for_test in zip(pictures, chosen, strict=True) if for_test == is_test)

    return {"train": part(is_test=False), "test": part(is_test=True)}


def _rank(picture: Picture, target: Target) -> str:
    """What decides the place of an image; equal for images with the same pixels once they are converted."""
    try:
        content = conversion.convert(picture.content(), target.kind, target.accept).content
    except conversion.Refused:  # the packing says so
        content = picture.place.encode(errors="surrogateescape")
    return sha256(b"test %d:%b" % (SEED, content))


def sizes(counts: Sequence[int], share: float) -> list[int]:
    """Test images of each class, which has so many images: at least one, but never all."""
    return [min(max(0, count - 1), max(1, round(share * count))) for count in counts]


def choose(labels: Sequence[Hashable], ranks: Sequence[str], share: float) -> NDArray[np.bool_]:
    """(N): which images become the test set, of every class the share of those with the smallest ranks.

    Neither names nor order of the images matter. Identical images are in the same set; where a group of them does not
    fit, there are fewer test images. Identical images with different labels all become training images: which label
    is right cannot be told, and a test must not depend on it.
    """
    counts = Counter(labels)
    room = dict(zip(counts, sizes(list(counts.values()), share), strict=True))
    chosen = np.zeros(len(labels), dtype=bool)
    for _, group in groupby(sorted(range(len(ranks)), key=ranks.__getitem__), key=ranks.__getitem__):
        places = list(group)
        label = labels[places[0]]
        if len(places) <= room[label] and all(labels[place] == label for place in places):
            chosen[places] = True
            room[label] -= len(places)
    return chosen
