"""Figures: the same bytes every time, every seed to be seen, one colour per variant, nothing that is not there."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lenetlab.evaluation import curves
from lenetlab.report import figures, style
from lenetlab.report.model import SettingPoint
from lenetlab.statistics.calibration import Bin

VARIANTS = [
    {
        "name": "lenet5",
        "mark": style.mark_of(0),
        "accuracies": [0.988, 0.989, 0.99],
        "mean": 0.989,
        "interval": (0.98, 0.99),
    },
    {"name": "mlp", "mark": style.mark_of(1), "accuracies": [0.975, 0.976, 0.974], "mean": 0.975, "interval": None},
]
COMPARISON = {"title": "lenet5 − mlp: better", "mark": style.mark_of(0), "difference": 0.014}
INTERVALS = {"interval_seeds": (0.012, 0.015), "interval": (0.011, 0.016)}
BINS = [Bin(0.55, 0.5, (0.4, 0.6), 20), Bin(0.99, 0.98, (0.97, 0.99), 980)]
COSTS = [
    {"name": "lenet5", "mark": style.mark_of(0), "accuracy": 0.99, "interval": (0.98, 0.995), "cost": 3.0},
    {"name": "mlp", "mark": style.mark_of(1), "accuracy": 0.97, "interval": None, "cost": 0.5},
]
COSTS = [
    {**one, "number": place + 1, "cost_interval": (0.9 * one["cost"], 1.1 * one["cost"])}
    for place, one in enumerate(COSTS)
]
RATES = [
    SettingPoint(0.01, "0.01", 61_706, 0.98, (0.97, 0.99), 0.01, 0),
    SettingPoint(0.1, "0.1", 61_706, 0.1, (0.05, 0.15), 0.0, 0),
]
SETTING = {"name": "learning_rate", "label": "learning rate", "logarithmic": True, "points": RATES, "floor": 0.93}


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
    "curves": lambda: figures.learning(curves.from_rows(rows()), "#0072B2"),
    "confusion": lambda: figures.confusion(np.diag([90] * 10) + np.eye(10, k=1, dtype=int), "#0072B2"),
    "digits": lambda: figures.digits(np.zeros((2, 28, 28), np.uint8), ["4 read as 7", "9"], ["90 %, 2 of 3", "1 of 3"]),
    "calibration": lambda: figures.reliability([{**one, "bins": BINS} for one in VARIANTS]),
    "pareto": lambda: figures.pareto(COSTS, "seconds", [(0.5, 0.97), (3.0, 0.99)]),
    "sensitivity": lambda: figures.sensitivity([SETTING], 0.98, style.mark_of(0)),
    "samples": lambda: figures.sample_sheet(np.linspace(0, 1, 12 * 16).reshape(12, 4, 4), np.arange(12)),
    "points": lambda: figures.points(VARIANTS),
    "forest": lambda: figures.forest([{**COMPARISON, **INTERVALS}]),
}


def drawn(name: str) -> ElementTree.Element:
    return ElementTree.fromstring(style.svg(DRAWINGS[name](), name))  # noqa: S314  our own


def ids(picture: ElementTree.Element, start: str) -> list[str]:
    found = [element.get("id") for element in picture.iter() if "id" in element.attrib]
    return [identity for identity in found if identity.startswith(start)]


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()).strip() for element in picture.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_figure_has_the_same_bytes(name):
    assert style.svg(DRAWINGS[name](), name) == style.svg(DRAWINGS[name](), name)


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_picture_file_has_the_same_bytes(name, tmp_path):
    for file in ("first.png", "second.png"):
        style.png(DRAWINGS[name](), tmp_path / file)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


@pytest.mark.parametrize("name", DRAWINGS)
def test_ids_are_the_pictures_own_and_references_lead_somewhere(name):
    text = style.svg(DRAWINGS[name](), name)
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
    text = style.svg(DRAWINGS[name](), name)
    assert "<style" not in text  # it would hold for the whole page
    assert text.count("http") == text.count("http://www.w3.org/")  # names of XML's dialects, which nobody fetches


def test_a_picture_that_stands_alone_follows_light_and_dark():
    text = style.standing_alone(style.svg(DRAWINGS["points"](), "points"))
    assert ElementTree.fromstring(text)[0].tag.endswith("style")  # noqa: S314
    assert "prefers-color-scheme:dark" in text


def test_every_seed_of_every_variant_is_a_point():
    assert sorted(ids(drawn("points"), "points-seed-")) == [
        f"points-seed-{variant}-{seed}" for variant in range(2) for seed in range(3)
    ]


def test_one_seed_without_interval_is_drawn():
    one = [{**VARIANTS[0], "accuracies": [0.989], "interval": None}]
    picture = ElementTree.fromstring(style.svg(figures.points(one), "one"))  # noqa: S314
    assert ids(picture, "one-seed-") == ["one-seed-0-0"]


def test_every_seed_has_its_line_in_every_curve():
    picture = drawn("curves")
    for kind in ("train", "validation", "test"):
        for measure in ("loss", "accuracy"):
            lines = [f"curves-{kind}-{measure}{seed}" for seed in ("", "-0", "-1", "-2")]
            assert sorted(ids(picture, f"curves-{kind}-{measure}")) == lines


def test_the_thick_line_is_the_mean_of_the_thin_ones():
    """Losses of 0.5, 0.51 and 0.52 after the first epoch; half of that, and as much on top, after the second."""
    found = curves.from_rows(rows(epochs=2))["test_loss"]
    assert found.epochs == [1, 2]
    assert found.seeds == {0: [0.5, 0.25], 1: [0.51, 0.26], 2: [0.52, 0.27]}
    assert found.mean == pytest.approx([0.51, 0.26])
    assert "validation_loss" not in curves.from_rows(rows(validation=False))


def test_without_validation_data_there_is_no_validation_curve():
    alone = figures.learning(curves.from_rows(rows(validation=False)))
    picture = ElementTree.fromstring(style.svg(alone, "c"))  # noqa: S314
    assert ids(picture, "c-validation") == []
    assert "validation" not in texts(picture)
    assert "validation" in texts(drawn("curves"))


def test_one_epoch_is_visible_as_a_mark():
    """A line of one point draws nothing."""
    one = figures.learning(curves.from_rows(rows(epochs=1)))
    assert "<use" in style.svg(one, "c").partition('id="c-train-loss"')[2]


def test_test_curves_have_the_colour_of_their_variant():
    text = style.svg(figures.learning(curves.from_rows(rows()), style.mark_of(1).colour), "c")
    assert "var(--D55E00, #D55E00)" in text.partition('id="c-test-accuracy"')[2].partition("</g>")[0]
    assert style.mark_of(0).colour not in text


def test_twenty_variants_can_be_told_apart_and_neighbours_by_colour_alone():
    assert len({style.mark_of(place) for place in range(20)}) == 20
    assert len({style.mark_of(place).colour for place in range(5)}) == 5
    assert style.mark_of(20) == style.mark_of(0)


def luminance(colour: tuple[float, ...]) -> float:
    """WCAG 2.1's relative luminance of red, green and blue from 0 to 1."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("paper", "ink", "colours"),
    [("#ffffff", style.INK, style.COLOURS), ("#16191d", "#c3c9d0", style.BY_NIGHT)],
)
def test_what_is_drawn_can_be_seen_by_day_and_by_night(paper, ink, colours):
    """WCAG AA: 3 to 1 for what is drawn, 4.5 to 1 for text, also on the darkest shade of a confusion."""
    assert contrast(to_rgb(ink), to_rgb(paper)) >= 4.5
    for colour in colours:
        assert contrast(to_rgb(colour), to_rgb(paper)) >= 3
        parts = zip(to_rgb(colour), to_rgb(paper), strict=True)
        shaded = tuple(figures.MOST_SHADE * one + (1 - figures.MOST_SHADE) * other for one, other in parts)
        assert contrast(to_rgb(ink), shaded) >= 4.5


def test_a_bin_is_drawn_with_its_interval_in_every_panel():
    picture = drawn("calibration")
    assert sorted(ids(picture, "calibration-bin-")) == [f"calibration-bin-{v}-{b}" for v in (0, 1) for b in (0, 1)]
    assert {"lenet5", "mlp"} <= set(texts(picture))


def test_what_is_far_below_is_an_arrow_with_its_figure():
    picture = drawn("sensitivity")
    assert ids(picture, "sensitivity-learning_rate-") == ["sensitivity-learning_rate-0"]
    assert "10.0" in texts(picture)
    assert {"0.01", "0.1"} <= set(texts(picture))


def test_seeds_that_diverged_are_a_cross_with_their_number():
    lost = [
        SettingPoint(0.03, "0.03", 61_706, 0.97, None, 0.01, 1),
        SettingPoint(0.3, "0.3", 61_706, None, None, None, 4),
    ]
    setting = {**SETTING, "points": [*RATES, *lost]}
    for centre in (0.98, None):
        picture = ElementTree.fromstring(style.svg(figures.sensitivity([setting], centre, style.mark_of(0)), "s"))  # noqa: S314
        assert ids(picture, "s-learning_rate-diverged") == ["s-learning_rate-diverged-2", "s-learning_rate-diverged-3"]
        assert {"1", "4", "10.0"} <= set(texts(picture))
    assert ids(drawn("sensitivity"), "sensitivity-learning_rate-diverged") == []


def test_few_variants_have_names_in_the_figure_of_cost_and_many_have_numbers():
    assert {"lenet5", "mlp"} <= set(texts(drawn("pareto")))
    many = [{**COSTS[0], "name": f"v{place}", "number": place + 1, "mark": style.mark_of(place)} for place in range(9)]
    shown = texts(ElementTree.fromstring(style.svg(figures.pareto(many, "s", [(3.0, 0.99)]), "p")))  # noqa: S314
    assert [str(number) for number in range(1, 10)] == [text for text in shown if text in set("123456789")][-9:]
    assert "v0" not in shown


def test_the_forest_names_the_verdict_and_draws_only_known_intervals():
    picture = drawn("forest")
    assert "lenet5 − mlp: better" in texts(picture)
    assert ids(picture, "forest-interval") == ["forest-interval-0", "forest-interval_seeds-0"]
    unknown = {**COMPARISON, "interval_seeds": None, "interval": None}
    assert ids(ElementTree.fromstring(style.svg(figures.forest([unknown]), "f")), "f-interval") == []  # noqa: S314


def test_confusion_shows_every_count():
    shown = texts(drawn("confusion"))
    assert shown.count("90") == 10
    assert shown.count("·") == 81


def test_the_sample_sheet_shows_labels_size_and_range():
    shown = texts(drawn("samples"))
    assert [text for text in shown if text.isdigit()] == [str(label) for label in range(12)]
    assert any("4 × 4" in text and "from 0.00 to 1.00" in text for text in shown)


def test_figures_do_not_import_torch():
    command = "import sys; from lenetlab.report import figures, page; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)


def test_dvc_draws_the_variants_in_the_same_colours():
    template = json.loads((Path(__file__).parents[2] / ".dvc" / "plots" / "by_variant.json").read_text())
    assert tuple(template["encoding"]["color"]["scale"]["range"]) == style.COLOURS
