"""A test set out of images without one: stratified, by pixels alone, identical images together."""

import random
from collections import Counter

import numpy as np

from lenetlab.data import test_split

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
LABELS = ["cat"] * 200 + ["dog"] * 90 + ["yak"] * 9 + ["emu"]


def ranks(pixels: np.ndarray) -> list[str]:
    return [test_split.rank(image) for image in pixels]


def test_every_class_gives_its_share_and_keeps_an_image():
    chosen = test_split.choose(LABELS, ranks(PIXELS), 0.2)
    assert Counter(np.array(LABELS)[chosen].tolist()) == {"cat": 40, "dog": 18, "yak": 2}
    small = test_split.choose(["a", "a", "b", "b"], ranks(PIXELS[:4]), 0.05)
    assert Counter(np.array(["a", "a", "b", "b"])[small].tolist()) == {"a": 1, "b": 1}


def test_the_order_of_the_images_does_not_matter():
    order = random.Random(1).sample(range(300), 300)
    shuffled = test_split.choose([LABELS[place] for place in order], ranks(PIXELS[order]), 0.2)
    assert (shuffled == test_split.choose(LABELS, ranks(PIXELS), 0.2)[order]).all()


def test_identical_images_are_in_the_same_set():
    pixels = PIXELS.copy()
    pixels[100:200] = pixels[:100]
    chosen = test_split.choose(LABELS, ranks(pixels), 0.3)
    assert (chosen[:100] == chosen[100:200]).all()
    assert chosen[:200].sum() == 60


def test_an_image_with_two_labels_is_no_test_image():
    pixels = PIXELS.copy()
    pixels[200:290] = pixels[:90]  # each of these is a cat and a dog
    chosen = test_split.choose(LABELS, ranks(pixels), 0.5)
    assert not chosen[:90].any()
    assert not chosen[200:290].any()
    assert chosen[90:200].sum() == 100
