"""Labels in file names by `data.pattern`: what a pattern may be, what it matches, and guesses."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.data import sources
from lenetlab.data.forms import patterns, search
from lenetlab.errors import UserError
from lenetlab.settings import study_schema
from tests.data.formats import data_settings
from tests.data.sources_of_users import CLASSES, IMAGES, TARGET, encoded, expected, fetched, problems_of, write_all

LABELS = ("cat", "dog")


def files(name: str) -> dict[str, bytes]:
    """The images of IMAGES under names with set, label and number."""
    return {
        name.format(set=kind, label=label, number=number): encoded(pixels)
        for kind, images in IMAGES.items()
        for number, (pixels, label) in enumerate(images)
    }


@pytest.mark.parametrize("name", [
    "{set}/{label}-{number}.png",
    "{set}/{label}_{number}.PNG",
    "some/where/{set}/img_{number}_class{label}.png",
    "{set}_{label}_{number}x.png",
    "{label}/{set}/{number}.png",
])  # fmt: skip
def test_labels_in_file_names(tmp_path, name):
    source = write_all(tmp_path / "mine", files(name))
    folder, _, last = name.rpartition("/")
    pattern = (last if folder.endswith("{set}") or not folder else name).replace("{number}x", "{any}")
    if folder.endswith("{label}/{set}"):
        pattern = name
    if folder.endswith("where/{set}"):
        pattern = last
    found = fetched(source, tmp_path / "raw", replace(TARGET, pattern=pattern))
    assert {kind: sorted(images) for kind, images in found.items()} == {
        kind: sorted(images) for kind, images in expected(by_class=False).items()
    }


def test_numbers_stand_for_named_classes(tmp_path):
    names = {
        f"{kind}/{CLASSES.index(label)}-{number}.png": encoded(pixels)
        for kind, images in IMAGES.items()
        for number, (pixels, label) in enumerate(images)
    }
    source = write_all(tmp_path / "mine", names)
    assert fetched(source, tmp_path / "raw", replace(TARGET, pattern="{label}-{number}.png")) == expected(by_class=True)


def test_names_that_do_not_match_are_one_line_with_examples(tmp_path):
    wrong = {f"train/odd{number}.png": b"" for number in range(5)}
    source = write_all(tmp_path / "mine", files("{set}/{label}-{number}.png") | wrong)
    assert problems_of(source, tmp_path / "raw", replace(TARGET, pattern="{label}-{number}.png")) == [
        f"{source}: data.pattern: '{{label}}-{{number}}.png' does not match 5 of 47 images: 'train/odd0.png',"
        " 'train/odd1.png', 'train/odd2.png' and 2 more; remedy: another pattern (docs/own-images.md), or move these"
        " images elsewhere"
    ]


def test_further_test_images_have_the_pattern_too(tmp_path):
    source = write_all(tmp_path / "more", {"cat-1.png": encoded(IMAGES["test"][0][0])})
    sources.pack_extra(source, tmp_path / "raw", replace(TARGET, pattern="{label}-{number}.png"))
    assert (tmp_path / "raw/extra.tar").read_bytes().startswith(b"00000_0.png")


@pytest.mark.parametrize(("pattern", "problem"), [
    ("{number}.png", "no {label}"),
    ("{label}-{id}.png", "no placeholder is called {id}"),
    ("{label}{number}.png", "no text between {label} and {number}"),
    ("{label}-{label}.png", "{label} more than once"),
    ("{label}-0{number}.png", "a digit beside {number}"),
    ("{label}-{number}", "no ending such as .png"),
    ("{label}-{.png", "a brace without its partner"),
    ("../{label}-{any}.png", "a path with backslash"),
    ("{set}//{label}.png", "or an empty part"),
])  # fmt: skip
def test_a_pattern_that_is_none_is_refused_with_the_reason(pattern, problem):
    with pytest.raises(ValueError, match="pattern") as caught:
        data_settings(pattern=pattern)
    assert problem in str(caught.value)


TEXT = st.sampled_from(["_", "-", ".", " (", ")", "img", "_class", "/"])
PLACEHOLDERS = st.sampled_from([f"{{{name}}}" for name in study_schema.PLACEHOLDERS])


@given(st.lists(st.one_of(TEXT, PLACEHOLDERS), max_size=9).map("".join), st.text("a0_-./ (", max_size=400))
def test_every_valid_pattern_is_matched_at_once(pattern, name):
    """Without this bound a name of some hundred characters can take years."""
    pattern = f"{pattern}_{{label}}_{{any}}.png"
    if not list(study_schema.pattern_problems(pattern)):
        assert patterns.compiled(pattern).fullmatch(name) is None or name.endswith(".png")


@given(
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=5),
    st.sampled_from(["{label}-{number}.png", "{number}_{label}.jpg", "img {number} ({label}).bmp"]),
)
def test_a_name_made_by_a_pattern_gives_its_label_back(labels, pattern):
    for number, label in enumerate(labels):
        match = patterns.compiled(pattern).fullmatch(pattern.format(label=f"new_{label}", number=number))
        assert match["label"] == f"new_{label}"


@pytest.mark.parametrize(("names", "pattern"), [
    (["cat-1.png", "cat-2.png", "dog-3.png", "dog-4.png"], "{label}-{number}.png"),
    (["cat (1).jpg", "cat (2).jpg", "dog (1).jpg", "dog (2).jpg"], "{label} ({number}).jpg"),
    (["new_moon_1.png", "new_moon_2.png", "cat_1.png", "cat_2.png"], "{label}_{number}.png"),
    ([f"img_{number}_class{number % 3}.jpg" for number in range(12)], "img_{number}_class{label}.jpg"),
    (["train_cat_1.png", "train_dog_1.png", "test_cat_1.png", "test_dog_2.png"], "{set}_{label}_{number}.png"),
    (["cat.1.jpg", "cat.2.jpg", "dog.1.bmp", "dog.2.bmp"], "{label}.{number}.{any}"),
    (["IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg"], ""),
    (["cat12.png", "cat13.png", "dog1.png", "dog2.png"], ""),  # nothing between label and number
    (["1.png", "2.png"], ""),
    (["a", "b"], ""),
])  # fmt: skip
def test_guesses(names, pattern):
    assert patterns.guess(names) == pattern


def test_a_pattern_needs_image_files(tmp_path: Path):
    write_all(tmp_path / "mine", {"train.csv": b"label,a\n1,2\n"})
    with pytest.raises(UserError, match="there are none; remedy"):
        search.find(tmp_path / "mine", "{label}-{number}.png")
