"""A test set out of images without one: stratified, by pixels alone, identical images together."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lenetlab.data.forms import held_out
from lenetlab.data.forms.found import CLASS_FOLDERS, Found, Picture
from lenetlab.data.forms.packing import Target
from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage.digests import sha256

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
LABELS = ["cat"] * 200 + ["dog"] * 90 + ["yak"] * 9 + ["emu"]


def ranks(pixels: np.ndarray) -> list[str]:
    return [sha256(image.tobytes()) for image in pixels]


def found(pixels: np.ndarray, **more: list[Picture]) -> Found:
    content = zip(LABELS, pixels, strict=True)
    pictures = [
        Picture(f"{label}/{number}.png", label, lambda image=image: image)
        for number, (label, image) in enumerate(content)
    ]
    return Found(CLASS_FOLDERS, {"all": pictures, **more})


SOURCE = Path("images")
TARGET = Target(schema.ImageKind(size=8, classes=4), ("cat", "dog", "yak", "emu"), (), 0.2)


def test_found_images_are_split_and_keep_their_order():
    sets = {name: list(pictures) for name, pictures in held_out.with_test_set(found(PIXELS), SOURCE, TARGET).items()}
    assert {name: len(pictures) for name, pictures in sets.items()} == {"train": 240, "test": 60}
    places = [picture.place for pictures in sets.values() for picture in pictures]
    assert sorted(places) == sorted(picture.place for picture in found(PIXELS).sets["all"])
    numbers = [int(picture.place.partition("/")[2][:-4]) for picture in sets["test"]]
    assert numbers == sorted(numbers)


def test_images_that_cannot_be_converted_are_left_to_the_packing():
    other = replace(TARGET, kind=schema.ImageKind(size=9, classes=4))
    assert len(list(held_out.with_test_set(found(PIXELS), SOURCE, other)["test"])) == 60


def test_a_source_with_a_test_set_is_not_split():
    source = Found(CLASS_FOLDERS, {"train": found(PIXELS).sets["all"], "test": found(PIXELS).sets["all"][:9]})
    with pytest.raises(UserError, match=r"data.test_share: 0.2 is not allowed, because images has a test set"):
        held_out.with_test_set(source, SOURCE, TARGET)


def test_one_image_per_class_cannot_be_split():
    source = found(PIXELS)
    single = Found(CLASS_FOLDERS, {"all": [source.sets["all"][0], source.sets["all"][-1]]})
    with pytest.raises(UserError, match="images: no class has two different images"):
        list(held_out.with_test_set(single, SOURCE, TARGET)["train"])


def test_every_class_gives_its_share_and_keeps_an_image():
    chosen = held_out.choose(LABELS, ranks(PIXELS), 0.2)
    assert Counter(np.array(LABELS)[chosen].tolist()) == {"cat": 40, "dog": 18, "yak": 2}
    small = held_out.choose(["a", "a", "b", "b"], ranks(PIXELS[:4]), 0.05)
    assert Counter(np.array(["a", "a", "b", "b"])[small].tolist()) == {"a": 1, "b": 1}


def test_the_order_of_the_images_does_not_matter():
    order = np.random.default_rng(1).permutation(300)
    shuffled = held_out.choose([LABELS[place] for place in order], ranks(PIXELS[order]), 0.2)
    assert (shuffled == held_out.choose(LABELS, ranks(PIXELS), 0.2)[order]).all()


def test_identical_images_are_in_the_same_set():
    pixels = PIXELS.copy()
    pixels[100:200] = pixels[:100]
    chosen = held_out.choose(LABELS, ranks(pixels), 0.3)
    assert (chosen[:100] == chosen[100:200]).all()
    assert chosen[:200].sum() == 60


def test_an_image_with_two_labels_is_no_test_image():
    pixels = PIXELS.copy()
    pixels[200:290] = pixels[:90]  # each of these is a cat and a dog
    chosen = held_out.choose(LABELS, ranks(pixels), 0.5)
    assert not chosen[:90].any()
    assert not chosen[200:290].any()
    assert chosen[90:200].sum() == 100
