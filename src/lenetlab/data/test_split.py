"""A test set out of a source that has none: a share of the images of every class, chosen by their pixels alone."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from lenetlab.storage.digests import sha256

SEED = 0  # a constant: nobody can try several test sets and keep the one with the best results


def rank(pixels: NDArray[np.uint8]) -> str:
    """What decides the place of an image; the same for images with the same pixels."""
    return sha256(b"test %d:%b" % (SEED, pixels.tobytes()))


def sizes(counts: Sequence[int], share: float) -> list[int]:
    """Test images of each class, which has so many images: at least one, but never all."""
    return [min(max(0, count - 1), max(1, round(share * count))) for count in counts]


def choose(labels: Sequence[Hashable], ranks: Sequence[str], share: float) -> NDArray[np.bool_]:
    """(N): which images become the test set, of every class the share of those with the smallest ranks.

    Neither names nor order of the images matter. Identical images are in the same set; where a group of them does not
    fit, there are fewer test images. Identical images with different labels all become training images: which label
    is right cannot be told, and a test must not depend on it.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for place, value in enumerate(ranks):
        groups[value].append(place)
    by_class: dict[Hashable, list[tuple[str, list[int]]]] = defaultdict(list)
    counts: dict[Hashable, int] = defaultdict(int)
    for value, places in groups.items():
        for place in places:
            counts[labels[place]] += 1
        if len({labels[place] for place in places}) == 1:
            by_class[labels[places[0]]].append((value, places))
    chosen = np.zeros(len(labels), dtype=bool)
    for label, ranked in by_class.items():
        (room,) = sizes([counts[label]], share)
        for _, places in sorted(ranked):
            if len(places) <= room:
                chosen[places] = True
                room -= len(places)
    return chosen
