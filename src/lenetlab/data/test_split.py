"""A test set out of a source that has none: a share of the images of every class, chosen by their pixels alone."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenetlab.data import conversion
from lenetlab.data.forms.found import Found, Picture
from lenetlab.errors import UserError
from lenetlab.settings.study_schema import LARGEST_TEST_SHARE, SMALLEST_TEST_SHARE, DataSettings
from lenetlab.storage.digests import sha256

SEED = 0  # a constant: so nobody tries several test sets and keeps the one with the best results
SHARES = f"{SMALLEST_TEST_SHARE} to {LARGEST_TEST_SHARE}"


def with_test_set(found: Found, data: DataSettings) -> Found:
    """What was found, with a set "test": that of the source, or `data.test_share` of its images.

    Reads every image of a source without a test set, but keeps digests only. UserError if `data.test_share` does not
    suit the source.
    """
    if found.sets.get("test"):
        if data.test_share:
            raise UserError(
                f"data.test_share: {data.test_share} is not allowed, because {data.source} has a test set; allowed: 0"
            )
        return found
    if not data.test_share:
        raise UserError(
            f"data.source: {data.source} has no test set; remedy: a folder test/ beside train/, or data.test_share: "
            f"{SHARES}, which makes one of that share of its images (lenetlab import {data.source} proposes it)"
        )
    pictures = [picture for name in ("all", "train") for picture in found.sets.get(name, ())]
    ranks = [_rank(picture, data) for picture in pictures]
    chosen = choose([picture.label for picture in pictures], ranks, data.test_share)
    parts = {
        name: [picture for picture, is_test in zip(pictures, chosen, strict=True) if is_test == wanted]
        for name, wanted in (("train", False), ("test", True))
    }
    if not parts["test"]:
        raise UserError(
            f"{Path(data.source)}: no class has two different images, one of which could be a test image;"
            " remedy: more images, or a folder test/ beside train/"
        )
    others = {name: pictures for name, pictures in found.sets.items() if name == "validation"}
    return Found(found.form, {**parts, **others}, found.ignored, found.notes)


def _rank(picture: Picture, data: DataSettings) -> str:
    """What decides the place of an image; equal for images with the same pixels once they are converted."""
    try:
        content = conversion.convert(picture.content(), data.kind, data.accept).content
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
    places_of: dict[str, list[int]] = defaultdict(list)
    for place, rank in enumerate(ranks):
        places_of[rank].append(place)
    groups: dict[Hashable, list[tuple[str, list[int]]]] = defaultdict(list)  # by label
    for rank, places in places_of.items():
        if len({labels[place] for place in places}) == 1:
            groups[labels[places[0]]].append((rank, places))
    counts = Counter(labels)
    chosen = np.zeros(len(labels), dtype=bool)
    for label, ranked in groups.items():
        (room,) = sizes([counts[label]], share)
        for _, places in sorted(ranked):
            if len(places) <= room:
                chosen[places] = True
                room -= len(places)
    return chosen
