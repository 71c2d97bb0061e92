"""Figures: the same bytes every time, every seed to be seen, one colour per variant, nothing that is not there."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lenetlab import figures

VARIANTS = [
    {
        "name": "lenet5",
        "colour": "#0072B2",
        "accuracies": [0.988, 0.989, 0.99],
        "mean": 0.989,
        "interval": (0.98, 0.99),
    },
    {"name": "mlp", "colour": "#D55E00", "accuracies": [0.975, 0.976, 0.974], "mean": 0.975, "interval": None},
]
COMPARISON = {"title": "lenet5 − mlp", "verdict": "better", "colour": "#0072B2", "difference": 0.014}
INTERVALS = {"interval_seeds": (0.012, 0.015), "interval": (0.011, 0.016)}
MISTAKES = {
    "number": np.array([3, 5]),
    "label": np.array([4, 9]),
    "predicted": np.array([7, 0]),
    "confidence": np.array([0.9, 0.5]),
    "votes": np.array([2, 1]),
    "pixels": np.zeros((2, 28, 28), np.uint8),
}


def rows(seeds=(0, 1, 2), epochs=4, validation=True):
    """As csv.DictReader gives them."""
    return [
        {
            "seed": str(seed),
            "epoch": str(epoch),
            **{f"{kind}_loss": str(0.5 / epoch + 0.01 * seed) for kind in ("train", "test")},
            **{f"{kind}_accuracy": str(0.9 + 0.01 * epoch) for kind in ("train", "test")},
            "validation_loss": "0.3" if validation else "",
            "validation_accuracy": "0.9" if validation else "",
        }
        for seed in seeds
        for epoch in range(1, epochs + 1)
    ]


DRAWINGS = {
    "curves": lambda: figures.curves(rows(), "#0072B2"),
    "confusion": lambda: figures.confusion(np.diag([90] * 10) + np.eye(10, k=1, dtype=int)),
    "mistakes": lambda: figures.mistakes(MISTAKES, seeds=3),
    "samples": lambda: figures.sample_sheet(np.linspace(0, 1, 12 * 16).reshape(12, 4, 4), np.arange(12)),
    "points": lambda: figures.points(VARIANTS),
    "forest": lambda: figures.forest([{**COMPARISON, **INTERVALS}]),
}


def drawn(name: str) -> ElementTree.Element:
    return ElementTree.fromstring(figures.svg(DRAWINGS[name](), name))  # noqa: S314  our own


def ids(picture: ElementTree.Element, start: str) -> list[str]:
    found = [element.get("id") for element in picture.iter() if "id" in element.attrib]
    return [identity for identity in found if identity.startswith(start)]


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()).strip() for element in picture.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_figure_has_the_same_bytes(name):
    assert figures.svg(DRAWINGS[name](), name) == figures.svg(DRAWINGS[name](), name)


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_picture_file_has_the_same_bytes(name, tmp_path):
    for file in ("first.png", "second.png"):
        figures.png(DRAWINGS[name](), tmp_path / file)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


@pytest.mark.parametrize("name", DRAWINGS)
def test_ids_are_the_pictures_own_and_references_lead_somewhere(name):
    text = figures.svg(DRAWINGS[name](), name)
    picture = drawn(name)
    found = ids(picture, "")
    assert len(found) == len(set(found))
    assert all(identity.startswith(f"{name}-") for identity in found)
    links = [value[1:] for e in picture.iter() for key, value in e.items() if key.endswith("href") and value[0] == "#"]
    clips = [part.partition(")")[0] for part in text.split("url(#")[1:]]
    assert set(links + clips) <= set(found)


@pytest.mark.parametrize("name", DRAWINGS)
def test_all_text_takes_the_colour_of_the_page(name):
    styles = [element.get("style") for element in drawn(name).iter("{http://www.w3.org/2000/svg}text")]
    assert styles
    assert all("fill: currentColor" in style for style in styles)


@pytest.mark.parametrize("name", DRAWINGS)
def test_nothing_reaches_out_of_a_picture(name):
    text = figures.svg(DRAWINGS[name](), name)
    assert "<style" not in text  # it would hold for the whole page
    assert text.count("http") == text.count("http://www.w3.org/")  # names of XML's dialects, which nobody fetches


def test_a_picture_that_stands_alone_follows_light_and_dark():
    text = figures.standing_alone(figures.svg(DRAWINGS["points"](), "points"))
    assert ElementTree.fromstring(text)[0].tag.endswith("style")  # noqa: S314
    assert "prefers-color-scheme:dark" in text


def test_every_seed_of_every_variant_is_a_point():
    assert sorted(ids(drawn("points"), "points-seed-")) == [
        f"points-seed-{variant}-{seed}" for variant in range(2) for seed in range(3)
    ]


def test_one_seed_without_interval_is_drawn():
    one = [{**VARIANTS[0], "accuracies": [0.989], "interval": None}]
    picture = ElementTree.fromstring(figures.svg(figures.points(one), "one"))  # noqa: S314
    assert ids(picture, "one-seed-") == ["one-seed-0-0"]


def test_every_seed_has_its_line_in_every_curve():
    picture = drawn("curves")
    for kind in ("train", "validation", "test"):
        for measure in ("loss", "accuracy"):
            lines = [f"curves-{kind}-{measure}{seed}" for seed in ("", "-0", "-1", "-2")]
            assert sorted(ids(picture, f"curves-{kind}-{measure}")) == lines


def test_without_validation_data_there_is_no_validation_curve():
    picture = ElementTree.fromstring(figures.svg(figures.curves(rows(validation=False)), "c"))  # noqa: S314
    assert ids(picture, "c-validation") == []
    assert "validation" not in texts(picture)
    assert "validation" in texts(drawn("curves"))


def test_one_epoch_is_visible_as_a_mark():
    """A line of one point draws nothing."""
    assert "<use" in figures.svg(figures.curves(rows(epochs=1)), "c").partition('id="c-train-loss"')[2]


def test_test_curves_have_the_colour_of_their_variant():
    text = figures.svg(figures.curves(rows(), figures.colour(1)), "c")
    assert "#d55e00" in text.partition('id="c-test-accuracy"')[2].partition("</g>")[0]
    assert figures.colour(0).lower() not in text


def test_colours_differ_as_long_as_there_are_any_and_start_again_then():
    assert len({figures.colour(place) for place in range(7)}) == 7
    assert figures.colour(7) == figures.colour(0)


def test_the_forest_names_the_verdict_and_draws_only_known_intervals():
    picture = drawn("forest")
    assert "lenet5 − mlp: better" in texts(picture)
    assert ids(picture, "forest-interval") == ["forest-interval-0", "forest-interval_seeds-0"]
    unknown = {**COMPARISON, "interval_seeds": None, "interval": None}
    assert ids(ElementTree.fromstring(figures.svg(figures.forest([unknown]), "f")), "f-interval") == []  # noqa: S314


def test_confusion_shows_every_count():
    shown = texts(drawn("confusion"))
    assert shown.count("90") == 10
    assert shown.count("·") == 81


def test_the_sample_sheet_shows_labels_size_and_range():
    shown = texts(drawn("samples"))
    assert [text for text in shown if text.isdigit()] == [str(label) for label in range(12)]
    assert any("4 × 4" in text and "from 0.00 to 1.00" in text for text in shown)


def test_figures_do_not_import_torch():
    command = "import sys; from lenetlab import figures, report; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)
