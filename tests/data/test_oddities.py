"""What is told about odd images before training."""

from pathlib import Path

import numpy as np
import pytest

from lenetlab.data import dataset, oddities
from lenetlab.data.image_files import Images
from lenetlab.storage.digests import sha256

CLASSES = ["cat", "dog", "owl"]
NOISE = np.random.default_rng(0).integers(0, 100, (60, 6, 6), dtype=np.uint8)


def image_set(pixels: np.ndarray, labels: list[int] | None = None) -> Images:
    """Images named by place; their labels are 0, 1, 2, 0, 1, ... unless they are given."""
    labels = [place % 3 for place in range(len(pixels))] if labels is None else labels
    return Images(
        names=np.array([f"{place}_{label}.png" for place, label in enumerate(labels)], dtype=object),
        numbers=np.arange(len(pixels)),
        labels=np.array(labels, dtype=np.uint16),
        pixels=pixels,
        digests=np.array([sha256(image.tobytes()) for image in pixels], dtype=object),
    )


def lines(train: np.ndarray | Images, test: np.ndarray | Images) -> list[str]:
    train, test = (part if isinstance(part, Images) else image_set(part) for part in (train, test))
    return oddities.find(train, test, CLASSES)


def colour(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels, pixels // 2, pixels // 3], axis=-1)


def test_nothing_is_said_of_usual_images(prepared: Path):
    assert lines(NOISE[:40], NOISE[40:]) == []
    assert lines(colour(NOISE[:40]), colour(NOISE[40:])) == []
    digits = [dataset.load(prepared / name) for name in ("train", "test")]
    assert oddities.find(*(image_set(part.pixels, part.labels.tolist()) for part in digits), [*"0123456789"]) == []


@pytest.mark.parametrize("in_colour", [False, True])
def test_constant_images_are_counted_by_set(in_colour):
    pixels = NOISE.copy()
    pixels[[5, 9]] = 0
    pixels[50] = 77
    pixels = colour(pixels) if in_colour else pixels

    assert [line for line in lines(pixels[:40], pixels[40:]) if "several labels" not in line] == [
        "training images of one colour alone: 2, the first is '5_2.png'",
        "test images of one colour alone: 1, the first is '10_1.png'",
    ]


def test_an_image_of_one_bright_channel_is_not_constant_if_another_channel_varies():
    pixels = colour(NOISE)
    pixels[..., 0] = 255

    assert not [line for line in lines(pixels[:40], pixels[40:]) if "one colour" in line]


@pytest.mark.parametrize(("train", "test", "problem"), [
    (255 - NOISE[:40], NOISE[40:], "the training images are mostly bright and the test images mostly dark"),
    (NOISE[:40], 255 - NOISE[40:], "the test images are mostly bright and the training images mostly dark"),
    (255 - NOISE[:40], 255 - NOISE[40:], "the images are mostly bright; padding adds black"),
    (NOISE[:40], NOISE[40:] + 27, "the training and the test images differ in brightness (mean 0.19 in training, 0.30"),
    (colour(NOISE[:40]), 255 - colour(NOISE[40:]), "the training and the test images differ in brightness"),
])  # fmt: skip
def test_polarity_and_brightness_are_one_line(train, test, problem):
    (line,) = lines(train, test)

    assert line.startswith(problem)


def test_bright_colour_images_are_usual():
    assert lines(255 - colour(NOISE[:40]), 255 - colour(NOISE[40:])) == []


def test_a_class_without_test_images_is_named():
    assert lines(image_set(NOISE[:40]), image_set(NOISE[40:], [0] * 20)) == [
        "no test images of class 'dog', 'owl': test accuracy says nothing about how these are read"
    ]


def test_far_rarer_classes_are_named_with_their_counts():
    labels = [0] * 25 + [1] * 2 + [2] * 23

    assert lines(image_set(NOISE[:50], labels), NOISE[50:]) == [
        "far fewer training images than of most classes (median 23): 'dog' (2)"
    ]
    assert lines(image_set(NOISE[:50], [0] * 25 + [1] * 3 + [2] * 22), NOISE[50:]) == []


def test_an_image_with_several_labels_is_counted_once_and_the_first_named():
    train = np.concatenate([NOISE[:40], NOISE[[0, 0, 1]]])  # labels 1, 2 and 0; those of the originals are 0, 0 and 1

    assert lines(train, NOISE[40:]) == [
        "images with several labels: 2; the first: '0_0.png' ('cat') is the same image as '40_1.png' ('dog')"
    ]
    assert lines(NOISE[:40], np.concatenate([NOISE[40:], NOISE[:1]])) == [
        "images with several labels: 1; the first: '0_0.png' ('cat') is the same image as '20_2.png' ('owl')"
    ]
    assert lines(np.concatenate([NOISE[:39], NOISE[:1]]), NOISE[40:]) == []  # repeated with the same label


def test_a_long_list_of_classes_is_cut():
    classes = [f"class {number}" for number in range(50)]
    missing = oddities.missing_classes(image_set(NOISE[:3]), classes)

    assert missing.startswith("class 'class 3', 'class 4', ")
    assert missing.endswith("'class 12', and 37 more")
