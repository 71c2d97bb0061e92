"""Figures: the same bytes every time, every seed visible, and nothing that is not in the data."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from lenetlab.evaluation import curves
from lenetlab.report import figures, style
from tests.report.drawings import assert_ids_are_unique_and_resolve, assert_text_has_page_colour, ids, parse, texts

MARK = style.variant_mark(0)
SEEDS = [
    figures.SeedRow("lenet5", MARK, [0.988, 0.989, 0.99], 0.989, (0.98, 0.99)),
    figures.SeedRow("mlp", style.variant_mark(1), [0.975, 0.976, 0.974], 0.975, None),
]
COMPARISON = figures.ForestRow("lenet5 − mlp: better", MARK, 0.014, (0.012, 0.015), (0.011, 0.016))
BINS = [(0.55, 0.5, (0.4, 0.6)), (0.99, 0.98, (0.97, 0.99))]
PANELS = [figures.ReliabilityPanel(row.name, row.mark, BINS) for row in SEEDS]
COSTS = [
    figures.CostPoint("lenet5", 1, MARK, 0.99, (0.98, 0.995), 3.0, (2.7, 3.3)),
    figures.CostPoint("mlp", 2, style.variant_mark(1), 0.97, None, 0.5, (0.45, 0.55)),
]
RATES = [
    figures.SensitivityPoint(0.01, "0.01", 0.98, (0.97, 0.99), 0),
    figures.SensitivityPoint(0.1, "0.1", 0.1, (0.05, 0.15), 0),
]
SETTING = figures.SensitivityPanel("learning_rate", "learning rate", True, 0.93, RATES)

DIGITS, LETTERS = list("0123456789"), list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
COLOUR = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


def curve_rows(seeds=(0, 1, 2), epochs=4, validation=True):
    """As csv.DictReader yields them."""
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


def learning_curves(colour=style.INK, **rows):
    return figures.learning_curves(curves.from_rows(curve_rows(**rows)), colour)


FIGURES = {
    "curves": lambda: learning_curves(MARK.colour),
    "confusion": lambda: figures.confusion(np.diag([90] * 10) + np.eye(10, k=1, dtype=int), DIGITS, MARK.colour),
    "images": lambda: figures.image_sheet(np.zeros((2, 28, 28), np.uint8), ["4 read as 7", "9"], ["90 %", "1 of 3"]),
    "colour": lambda: figures.image_sheet(COLOUR, ["cat & dog read as $x$ <b>", "中"], ["90 %, 2 of 3", "1 of 3"]),
    "calibration": lambda: figures.reliability(PANELS),
    "pareto": lambda: figures.pareto(COSTS, "seconds", [(0.5, 0.97), (3.0, 0.99)]),
    "sensitivity": lambda: figures.sensitivity([SETTING], 0.98, MARK),
    "samples": lambda: figures.sample_sheet(
        np.linspace(0, 1, 12 * 16).reshape(12, 1, 4, 4), np.arange(12), LETTERS[:12]
    ),
    "seeds": lambda: figures.seed_accuracies(SEEDS),
    "forest": lambda: figures.forest([COMPARISON]),
}


@cache
def svg(name: str) -> str:
    return style.svg(FIGURES[name](), name)


@cache
def drawing(name: str):
    return parse(FIGURES[name](), name)


@pytest.mark.parametrize("name", FIGURES)
def test_equal_figures_have_equal_svg(name):
    assert style.svg(FIGURES[name](), name) == svg(name)


@pytest.mark.parametrize("name", ["curves", "confusion", "images", "samples"])
def test_equal_figures_have_equal_png(name, tmp_path):
    """These are the figures that stages write for MLflow."""
    for file in ("first.png", "second.png"):
        style.png(FIGURES[name](), tmp_path / file)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_svg_can_be_embedded_in_a_page(name):
    assert_ids_are_unique_and_resolve(drawing(name), name)
    assert_text_has_page_colour(drawing(name))
    assert "<style" not in svg(name)  # it would apply to the whole page
    assert svg(name).count("http") == svg(name).count("http://www.w3.org/")  # XML namespaces


def test_every_seed_is_a_point():
    expected = [f"seeds-seed-{variant}-{seed}" for variant in range(2) for seed in range(3)]
    assert sorted(ids(drawing("seeds"), "seeds-seed-")) == expected


def test_one_seed_without_interval_is_drawn():
    row = replace(SEEDS[0], accuracies=[0.989], interval=None)
    assert ids(parse(figures.seed_accuracies([row]), "one"), "one-seed-") == ["one-seed-0-0"]


def test_every_curve_has_a_line_per_seed_and_one_for_the_mean():
    for kind in ("train", "validation", "test"):
        for measure in ("loss", "accuracy"):
            lines = [f"curves-{kind}-{measure}{seed}" for seed in ("", "-0", "-1", "-2")]
            assert sorted(ids(drawing("curves"), f"curves-{kind}-{measure}")) == lines


def test_without_validation_data_there_is_no_validation_curve():
    without = parse(learning_curves(validation=False), "c")
    assert ids(without, "c-validation") == []
    assert "validation" not in texts(without)
    assert "validation" in texts(drawing("curves"))


def test_one_epoch_is_drawn_with_markers():
    """A line with one point is invisible."""
    assert "<use" in style.svg(learning_curves(epochs=1), "c").partition('id="c-train-loss"')[2]


def test_test_curves_have_the_colour_of_their_variant():
    colour = style.variant_mark(1).colour
    text = style.svg(learning_curves(colour), "c")
    assert style.css_colour(colour) in text.partition('id="c-test-accuracy"')[2].partition("</g>")[0]
    assert MARK.colour not in text


def test_a_bin_has_an_interval_in_every_panel():
    expected = [f"calibration-bin-{panel}-{place}" for panel in (0, 1) for place in (0, 1)]
    assert sorted(ids(drawing("calibration"), "calibration-bin-")) == expected
    assert {"lenet5", "mlp"} <= set(texts(drawing("calibration")))


def test_an_accuracy_below_the_floor_is_an_arrow_with_its_number():
    assert ids(drawing("sensitivity"), "sensitivity-learning_rate-") == ["sensitivity-learning_rate-0"]
    assert {"0.01", "0.1", "10.0"} <= set(texts(drawing("sensitivity")))


def test_diverged_seeds_are_a_cross_with_their_number():
    diverged = [
        figures.SensitivityPoint(0.03, "0.03", 0.97, None, 1),
        figures.SensitivityPoint(0.3, "0.3", None, None, 4),
    ]
    panel = replace(SETTING, points=[*RATES, *diverged])
    for unchanged in (0.98, None):
        drawn = parse(figures.sensitivity([panel], unchanged, MARK), "s")
        assert ids(drawn, "s-learning_rate-diverged") == ["s-learning_rate-diverged-2", "s-learning_rate-diverged-3"]
        assert {"1", "4", "10.0"} <= set(texts(drawn))
    assert ids(drawing("sensitivity"), "sensitivity-learning_rate-diverged") == []


def test_the_figure_of_costs_names_few_variants_and_numbers_many():
    assert {"lenet5", "mlp"} <= set(texts(drawing("pareto")))
    many = [replace(COSTS[0], name=f"v{index}", number=index + 1, mark=style.variant_mark(index)) for index in range(9)]
    shown = texts(parse(figures.pareto(many, "s", [(3.0, 0.99)]), "p"))
    assert [str(number) for number in range(1, 10)] == [text for text in shown if text in set("123456789")][-9:]
    assert "v0" not in shown


def test_the_forest_has_titles_and_only_known_intervals():
    assert "lenet5 − mlp: better" in texts(drawing("forest"))
    assert ids(drawing("forest"), "forest-interval") == ["forest-interval-0", "forest-interval_seeds-0"]
    unknown = replace(COMPARISON, interval_seeds=None, interval=None)
    assert ids(parse(figures.forest([unknown]), "f"), "f-interval") == []


def test_the_forest_draws_both_intervals_in_percentage_points():
    lines = {line.get_gid(): list(line.get_xdata()) for line in figures.forest([COMPARISON]).axes[0].get_lines()}
    assert lines["interval_seeds-0"] == pytest.approx([1.2, 1.5])
    assert lines["interval-0"] == pytest.approx([1.1, 1.6])


def test_a_confusion_matrix_shows_every_count():
    shown = texts(drawing("confusion"))
    assert shown.count("90") == 10
    assert shown.count("·") == 81


def test_the_sample_sheet_shows_labels_size_and_range():
    shown = texts(drawing("samples"))
    assert [text for text in shown if len(text) == 1] == LETTERS[:12]
    assert any("4 × 4" in text and "from 0.00 to 1.00" in text for text in shown)


def test_the_confusion_matrix_of_letters_has_all_names_and_counts():
    shown = texts(parse(figures.confusion(np.diag(range(1000, 1026)), LETTERS), "c"))
    assert [text for text in shown if text in LETTERS] == LETTERS * 2
    assert {str(count) for count in range(1000, 1026)} <= set(shown)


def test_the_confusion_matrix_of_many_classes_has_no_numbers_and_some_names():
    names = [f"kind {number}" for number in range(200)]
    shown = texts(parse(figures.confusion(np.diag([77] * 200), names), "c"))
    assert "77" not in shown
    assert [text for text in shown if text in names] == names[::4] * 2


def test_long_names_are_shortened_and_broken_into_lines():
    long = "a name that is much too long for a picture"
    assert "a name that is mu…" in texts(parse(figures.confusion(np.eye(2, dtype=int), [long, "b"]), "c"))
    shown = texts(parse(figures.image_sheet(COLOUR, [f"{long} read as {long}", long], ["", ""]), "c"))
    assert {"a name that is much…", "read as a name that…"} <= set(shown)


def test_names_are_never_mathematics():
    assert {"cat & dog", "read as $x$ <b>", "中"} <= set(texts(drawing("colour")))


@pytest.mark.parametrize(("classes", "shown"), [(2, 100), (3, 81), (10, 100), (26, 78), (1000, 100)])
def test_the_sample_sheet_fits_a_page_and_shows_classes_equally_often(classes, shown):
    images = np.zeros((classes * 60, 1, 28, 28), np.float32)
    names = [f"n{number}" for number in range(classes)]
    figure = figures.sample_sheet(images, np.tile(np.arange(classes), 60), names)
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels == (names * 60)[:shown]
    assert figure.get_figheight() < 10


def test_images_on_black_are_dark_on_white_and_others_are_as_they_are():
    on_black = np.zeros((1, 8, 8), np.uint8)
    on_black[0, 2:4, 2:4] = 255
    for images, map_of_colours in ((on_black, "gray_r"), (255 - on_black, "gray")):
        (drawn,) = figures.image_sheet(images, ["a"], ["b"]).axes[0].images
        assert drawn.get_cmap().name == map_of_colours


def test_colour_is_drawn_unchanged_and_around_it_nothing():
    (drawn,) = figures.image_sheet(COLOUR, ["a", "b"], ["", ""]).axes[0].images
    sheet = drawn.get_array()
    assert sheet.shape[2] == 4
    assert np.array_equal(sheet[3:11, :8, :3], COLOUR[0])
    assert (sheet[..., 3] == 255).sum() == 2 * 8 * 8


def test_large_images_are_drawn_with_fewer_pixels():
    (drawn,) = figures.image_sheet(np.zeros((1, 512, 512, 3), np.uint8), ["a"], [""]).axes[0].images
    assert drawn.get_array().shape[0] < 256


def test_a_name_that_png_cannot_show_becomes_a_number():
    assert style.drawable(["a|b", "中", "é $x$"]) == ["a|b", "class 1", "é $x$"]


def test_names_that_look_like_svg_stay_as_they_are():
    names = ['a id="text_1" b', "#495057", "font-family: x;", style.COLOURS[0].lower()]
    assert set(names) <= set(texts(parse(figures.confusion(np.eye(4, dtype=int), names), "c")))
