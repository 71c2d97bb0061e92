"""What lenetlab import says about images, from pictures made here."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from lenetlab.data import png, prepare
from lenetlab.data.forms.found import BY_NUMBER, CLASS_FOLDERS, Found, Picture
from lenetlab.errors import UserError
from lenetlab.planning import adoption, proposal, survey
from lenetlab.settings import edit, params, study_schema
from tests.settings import example

RANDOM = np.random.default_rng(0)
SOURCE = Path("images")


def grey(count: int, size: int = 28, background: int = 0) -> list[np.ndarray]:
    images = RANDOM.integers(1, 256, (count, size, size), dtype=np.uint8)
    framed = np.full_like(images, background)
    framed[:, 2:-2, 2:-2] = images[:, 2:-2, 2:-2]
    return list(framed)


def colour(count: int, size: int = 64) -> list[np.ndarray]:
    return list(RANDOM.integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def pictures(**by_class: Sequence[np.ndarray | bytes]) -> list[Picture]:
    return [
        Picture(f"{label}/{number}.png", label, lambda image=image: image)
        for label, images in by_class.items()
        for number, image in enumerate(images)
    ]


def look(form: str = CLASS_FOLDERS, **sets: list[Picture]) -> survey.Survey:
    return survey.look(Found(form, sets), SOURCE)


def proposed(found: survey.Survey) -> dict[str, str]:
    study = params.parse(Path("params.yaml"), example.PARAMS + example.MORE_VARIANTS)
    values = proposal.propose(found, "images", study)
    return {".".join(keys): value for keys, value in values.items()}


def in_lines(*words: str) -> str:
    """A list as DVC writes it."""
    return "".join(f"\n  - {word}" for word in words)


def test_a_summary_names_form_sets_classes_sizes_and_kinds():
    found = look(train=pictures(cat=colour(3), dog=colour(5)), test=pictures(cat=colour(1), dog=colour(2)))
    assert list(survey.summary(found))[:6] == [
        "found: class folders, 11 images of 2 classes",
        "  train: 8 images, 3 to 5 per class",
        "  test: 3 images, 1 to 2 per class",
        "classes: cat (4), dog (7)",
        "sizes: 64×64 (11)",
        "stored as: 8-bit RGB (11); all in colour",
    ]


def test_colour_images_with_named_classes_and_no_test_set():
    values = proposed(look(all=pictures(**{name: colour(40) for name in ("cat", "dog", "no", "big owl", "12")})))
    assert values["data.classes"] == in_lines("12", "big owl", "cat", "dog", "no")
    assert (values["data.size"], values["data.channels"], values["data.accept"]) == ("64", "3", "[]")
    assert (values["data.test_share"], values["data.validation"]) == ("0.2", "16")  # of 5 × 32 images
    assert values["sensitivity.variant"] == "lenet5"
    assert "input: {size: 64," in values["variants"]


def test_grey_stored_as_rgb_is_grey():
    images = [png.encode(np.repeat(image[:, :, None], 3, axis=2)) for image in grey(20)]
    found = look(train=pictures(a=images[:10], b=images[10:]), test=pictures(a=grey(2), b=grey(2)))
    values = proposed(found)
    assert (values["data.size"], values["data.channels"], values["data.test_share"]) == ("28", "1", "0")
    assert found.stored == {"8-bit RGB": 20, "8-bit grey": 4}


def test_labels_that_are_an_index_count_from_zero():
    assert (
        proposed(look(BY_NUMBER, all=pictures(**{"0": grey(5), "2": grey(5), "10": grey(5)})))["data.classes"] == "11"
    )
    assert proposed(look(all=pictures(**{"1": grey(5), "10": grey(5), "9": grey(5)})))["data.classes"] == in_lines(
        "1", "9", "10"
    )


def test_the_study_stays_for_images_of_the_declared_kind():
    digits = {str(digit): grey(4) for digit in range(10)}
    values = proposed(look(train=pictures(**digits), test=pictures(**digits)))
    assert not {"study", "variants", "comparisons"} & set(values)
    assert values["claims"] == "data/no-claims.yaml"  # the statements so far are about other images
    assert values["data.duplicates"] == "drop"


@pytest.mark.parametrize(("size", "rate"), [(28, "0.01"), (32, "0.01"), (64, "0.003"), (96, "0.001"), (200, "0.0003")])
def test_large_colour_images_get_a_smaller_learning_rate(size, rate):
    """With 0.01 an MLP of 64×64 pixels in colour reaches a loss of 10**16."""
    images = proposed(look(all=pictures(cat=colour(2, size), dog=colour(2, size))))
    assert images["training.learning_rate"] == rate


def test_of_many_sizes_the_range_is_told():
    images = [RANDOM.integers(0, 255, (height, height + 40), dtype=np.uint8) for height in range(70, 84)]
    lines = list(survey.summary(look(all=pictures(cat=images[:4], dog=images[4:]))))
    assert lines[3] == "sizes: 14 different ones, 110 to 123 wide and 70 to 83 high"


def test_every_accepted_loss_is_explained():
    assert set(proposal.LOSSES) == set(get_args(study_schema.Loss))
    found = look(all=pictures(cat=colour(2, 64) + colour(1, 32), dog=colour(2)))
    values = proposal.propose(found, "images", params.parse(Path("params.yaml"), example.PARAMS))
    assert next(proposal.notes(found, values)) == (
        "data.accept allows resize for 1 image: scaled to 64×64 pixels, with a black border where not square"
    )


@pytest.mark.parametrize(
    ("sizes", "size", "accept"),
    [
        ([(20, 20), (20, 20), (24, 24)], "20", "\n  - resize"),
        ([(40, 30), (40, 30)], "40", "\n  - resize"),
        ([(400, 300), (300, 400)], "64", "\n  - resize"),
        ([(512, 512)], "512", "[]"),
    ],
)
def test_the_size_is_that_of_most_images(sizes, size, accept):
    images = [RANDOM.integers(0, 255, (*reversed(pair), 1), dtype=np.uint8)[:, :, 0] for pair in sizes]
    values = proposed(look(all=pictures(a=images, b=images)))
    assert (values["data.size"], values["data.accept"]) == (size, accept)


@pytest.mark.parametrize(("size", "expected"), [(8, 16), (16, 20), (28, 32), (30, 32), (32, 32), (64, 64), (65, 68)])
def test_the_input_of_lenet5_is_a_multiple_of_four(size, expected):
    assert proposal.input_size(size) == expected


def test_identical_images_are_counted_within_and_across_sets_and_with_two_labels():
    images = grey(4)
    found = look(
        train=pictures(a=[images[0], images[0], images[1]], b=[images[2], images[0]]), test=pictures(a=images[:1])
    )
    assert (found.within, found.across) == (0, 3)
    assert found.two_labels == ["b/1.png"]
    assert found.training == {"a": 1, "b": 1}


def test_what_is_odd_is_told():
    blank = np.zeros((28, 28), dtype=np.uint8)
    train = pictures(a=[*grey(30), *grey(10, background=255), blank], b=grey(50), c=grey(2))
    told = "\n".join(survey.odd(look(train=train, test=pictures(a=grey(5, background=255), d=grey(3)))))
    assert "1 image (a/40.png) is blank" in told
    assert "light, of 86 dark: are some inverted?" in told
    assert "mean brightness differs" in told
    assert "without training images: d;" in told
    assert "far rarer than the others: c (2)" in told
    assert "without test images: b, c" in told


def test_equal_problems_of_files_are_one_line():
    with pytest.raises(UserError) as caught:
        look(all=pictures(a=[b"", b"", b"text"], b=grey(2)))
    assert [line.partition(";")[0] for line in caught.value.problems] == [
        "images: 2 files are empty files, the first is 'a/0.png'",
        "images: 'a/2.png': not images, or damaged",
    ]


def test_one_class_is_refused():
    with pytest.raises(UserError, match=r"1 classes \(a\); allowed: 2 to 1000 classes"):
        proposed(look(all=pictures(a=grey(3))))


def test_validation_leaves_training_images_in_every_class():
    counts = [1, 1, 2, 30]
    validation = proposal.validation_images(counts)
    assert validation == 0 or all(
        share < count for share, count in zip(prepare.proportional_shares(counts, validation), counts, strict=True)
    )


NAMES = ["null", "1e3", "007", "12", "a: b", "[x]", "yes", "it's", 'say "a"', "größe", "a #b", "-", "2020-01-01", "~"]


@pytest.mark.parametrize("names", [NAMES, [f"class number {number}" for number in range(100)]], ids=["odd", "many"])
def test_names_of_classes_are_written_so_that_they_are_read_back(names):
    images = grey(2 * len(names))
    found = look(all=pictures(**{name: images[2 * place : 2 * place + 2] for place, name in enumerate(names)}))
    study = params.parse(Path("params.yaml"), example.PARAMS)
    text = example.PARAMS
    for _ in range(2):  # the second time, the list is there already
        text = edit.with_values(Path("params.yaml"), text, proposal.propose(found, "my: images", study))
        study = params.parse(Path("params.yaml"), text)
        assert (study.data.classes, study.data.source) == (tuple(found.labels), "my: images")
    assert sorted(study.data.classes) == sorted(names)
    assert max(map(len, text.splitlines())) <= 120


def test_transposed_images_of_emnist_are_told(tmp_path, monkeypatch):
    pixels = np.array(grey(4))
    folder = tmp_path / "emnist"
    folder.mkdir()
    for name, start in (("train", 0), ("test", 2)):
        images = struct.pack(">IIII", 2051, 2, 28, 28) + pixels[start : start + 2].tobytes()
        (folder / f"emnist-letters-{name}-images-idx3-ubyte").write_bytes(images)
        (folder / f"emnist-letters-{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 2) + bytes([1, 2]))
    (tmp_path / "params.yaml").write_text(example.PARAMS)
    monkeypatch.chdir(tmp_path)
    lines = list(adoption.adopt(Path("emnist"), write=False))
    assert any("transposed" in line for line in lines)
    assert [line for line in lines if re.match(r"\+  (classes|- \d)", line)] == ["+  classes:", "+  - 1", "+  - 2"]
