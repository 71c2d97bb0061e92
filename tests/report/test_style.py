"""Colours and markers of variants, and SVG files that stand alone."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lenetlab.report import figures, style
from tests.report.contrast import contrast

ROOT = Path(__file__).parents[2]


def test_twenty_variants_have_different_marks_and_neighbours_different_colours():
    assert len({style.variant_mark(index) for index in range(20)}) == 20
    assert len({style.variant_mark(index).colour for index in range(5)}) == 5
    assert style.variant_mark(20) == style.variant_mark(0)


@pytest.mark.parametrize(
    ("paper", "ink", "colours"),
    [("#ffffff", style.INK, style.COLOURS), ("#16191d", "#c3c9d0", style.DARK_COLOURS)],
)
def test_colours_have_enough_contrast_in_light_and_dark_mode(paper, ink, colours):
    """WCAG AA: 3:1 for graphics; 4.5:1 for text, also on the darkest shade of a confusion matrix."""
    assert contrast(to_rgb(ink), to_rgb(paper)) >= 4.5
    for colour in colours:
        assert contrast(to_rgb(colour), to_rgb(paper)) >= 3
        parts = zip(to_rgb(colour), to_rgb(paper), strict=True)
        shaded = tuple(figures.MAX_SHADE * part + (1 - figures.MAX_SHADE) * background for part, background in parts)
        assert contrast(to_rgb(ink), shaded) >= 4.5


def test_a_standalone_svg_follows_light_and_dark_mode():
    figure = Figure()
    figure.text(0.5, 0.5, "text")
    text = style.standalone_svg(style.svg(figure, "name"))
    assert ElementTree.fromstring(text)[0].tag.endswith("style")  # noqa: S314  our own
    assert "prefers-color-scheme:dark" in text


def dvc_template(name: str) -> dict[str, Any]:
    template: dict[str, Any] = json.loads((ROOT / ".dvc" / "plots" / f"{name}.json").read_text())
    return template


def test_dvc_plots_have_the_same_colours():
    assert tuple(dvc_template("by_variant")["encoding"]["color"]["scale"]["range"]) == style.COLOURS


def test_dvc_plots_have_whole_epochs():
    """Vega-Lite ignores `tickMinStep` unless the format is that of whole numbers."""
    assert dvc_template("by_variant")["encoding"]["x"]["axis"] == {"tickMinStep": 1, "format": "d"}


def test_dvc_plots_sort_more_than_ten_classes_by_number():
    """DVC hands over text. Vega's minimum compares it as such, so that 10 would come before 2; a mean is a number."""
    assert dvc_template("confusion_by_variant")["spec"]["encoding"]["x"]["sort"] == {"field": "place", "op": "mean"}


def test_the_report_does_not_import_torch():
    """`lenetlab report` does not need it, and importing it takes seconds."""
    command = "import sys; from lenetlab.report import collect, page; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)
