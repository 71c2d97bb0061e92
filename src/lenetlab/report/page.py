"""The report as one self-contained HTML page and as Markdown, rendered with the templates."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from lenetlab.evaluation.by_class import ClassAccuracy
from lenetlab.report import results, style
from lenetlab.report.headline import headlines, open_comparisons
from lenetlab.report.model import Report, VariantSummary
from lenetlab.report.pictures import COST_AXES, SENSITIVITY_AXES, Picture, draw_all
from lenetlab.statistics import intervals
from lenetlab.statistics.claims import answers
from lenetlab.statistics.formatting import (
    NONE,
    duration,
    p_value,
    percent,
    points,
    points_span,
    span,
    three_digits,
    whole,
)
from lenetlab.statistics.measures import MEASURES
from lenetlab.statistics.significance import McNemar
from lenetlab.storage import files, paths

TEMPLATES = Path(__file__).parent / "templates"

TABLE_CLASSES, WORST_CLASSES = 50, 20  # the most that all have a row in the table of classes; rows if there are more
GRID_CLASSES = 12  # the most whose confusion matrices stand side by side

MARKER_CLASSES = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle"}  # matplotlib's name: CSS class

COST_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {  # measure: heading, and a number as text in its unit
    "seconds_per_epoch": ("time per epoch and seed, s", three_digits),
    "process_memory_bytes": ("peak memory of the process, MB", lambda count: whole(count / 1e6)),
    "device_memory_bytes": ("peak memory of the device, MB", lambda count: whole(count / 1e6)),
    "latency_seconds": ("latency of one image, µs", lambda seconds: three_digits(seconds * 1e6)),
    "images_per_second": ("throughput, images per second", lambda rate: whole(float(f"{rate:.3g}"))),
}


def write_report(report: Report, folder: Path) -> None:
    """Write all files of `reports/` into an existing folder; docs/design.md describes them."""
    results.write_results(report, folder)
    pictures = draw_all(report)
    for picture in pictures.values():
        files.write_text(folder / "figures" / f"{picture.name}.svg", style.standalone_svg(picture.svg))
    files.write_text(folder / paths.REPORT_PAGE, render("report.html", report, pictures))
    files.write_text(folder / paths.REPORT_TEXT, render("report.md", report, pictures))


def render(template: str, report: Report, pictures: dict[str, Picture]) -> str:
    """The text of a page from one of the templates."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "p_value": p_value,
        "span": span,
        "points_span": points_span,
        "whole": whole,
        "duration": duration,
        "significant_tests": _significant_tests,
        "markdown_cell": _markdown_cell,
        "markdown_name": _markdown_name,
        "with_mark": _with_mark,
        "cost": _cost,
        "backquotes_as_code": _backquotes_as_code,
    }
    shared_settings, differing_settings = _settings(report.variants)
    page = environment.get_template(template).render(
        report=report,
        pictures=pictures,
        headlines=headlines(report),
        open_comparisons=open_comparisons(report),
        measures=MEASURES,
        every_seed=sorted({seed for variant in report.variants for seed in variant.seeds}),
        shared_settings=shared_settings,
        differing_settings=differing_settings,
        cost_headings={
            measure: heading for measure, (heading, _) in COST_COLUMNS.items() if report.variants[0].cost(measure)
        },
        cost_axes=COST_AXES,
        setting_labels={setting: label for setting, (label, _) in SENSITIVITY_AXES.items()},
        dark_properties=Markup(style.DARK_PROPERTIES),  # noqa: S704  constant
        statement_totals=answers.totals(report.answers),
        diverged_variants=[variant for variant in report.variants if variant.diverged],
        diverged_seeds=sum(variant.diverged_count for variant in report.variants),
        identity=report.variants[0].record["identity"],
        test_data=report.variants[0].record["test_data"],
        classes_shown=_classes_shown(report),
        wide_confusion=len(report.data.classes) > GRID_CLASSES,
        images_by_set=report.variants[0].record["test_images"],
        conversions=report.variants[0].record["conversions"],
    )
    return page.replace(" %", "\N{NO-BREAK SPACE}%")


def _settings(variants: Sequence[VariantSummary]) -> tuple[dict[str, str], list[str]]:
    """The settings that all variants share, with their values, and the names of those in which variants differ."""
    keys = list(dict.fromkeys(key for variant in variants for key in variant.settings))
    values = {key: {variant.settings.get(key, NONE) for variant in variants} for key in keys}
    shared = {key: values[key].pop() for key in keys if len(values[key]) == 1}
    return shared, [key for key in keys if key not in shared]


def _classes_shown(report: Report) -> list[ClassAccuracy]:
    """All classes; of many, those that are read worst, the worst first."""
    if len(report.by_class) <= TABLE_CLASSES:
        return report.by_class
    return sorted(report.by_class, key=lambda row: row.mean)[:WORST_CLASSES]


# Filters of the templates.


def _significant_tests(tests: Sequence[McNemar]) -> str:
    return f"{sum(test.p < intervals.LEVEL for test in tests)} of {len(tests)}"


def _markdown_cell(text: str) -> str:
    """Text for a Markdown table, where | would end the cell and < start a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _markdown_name(name: str) -> str:
    """The name of a class or of the data in Markdown, without effect of its punctuation."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", name)


def _with_mark(variant: VariantSummary) -> Markup:
    """The name of a variant after its mark in the figures."""
    mark = style.variant_mark(variant.index)
    return Markup('<span class="mark {}" style="--mark: {}"></span>{}').format(
        MARKER_CLASSES[mark.marker], style.css_colour(mark.colour), variant.name
    )


def _cost(variant: VariantSummary, measure: str) -> tuple[str, str]:
    """A measured cost and its interval, as text in the unit of its column."""
    cost, (_, as_text) = variant.cost(measure), COST_COLUMNS[measure]
    if cost is None:
        return NONE, ""
    return as_text(cost.mean), " to ".join(as_text(limit) for limit in cost.interval or ())


def _backquotes_as_code(text: str) -> Markup:
    """HTML where text between backquotes is code; unchanged text if a backquote has no partner."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )
