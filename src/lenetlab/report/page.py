"""The report: one self-contained HTML page and its Markdown twin, laid out by templates from the records."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from lenetlab.report import headline, results, style
from lenetlab.report.model import Report, VariantSummary
from lenetlab.report.pictures import COST_AXES, SENSITIVITY_AXES, Picture, draw_all
from lenetlab.statistics import intervals, significance
from lenetlab.statistics.claims.answers import Answer
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
from lenetlab.storage import files, paths

TEMPLATES = Path(__file__).parent / "templates"

SHAPES = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle"}  # in CSS, as matplotlib's signs

COSTS = {  # heading, unit of the column, and how a figure is written in it
    "seconds_per_epoch": ("epoch of one training, s", three_digits),
    "process_memory_bytes": ("peak memory of the process, MB", lambda count: whole(count / 1e6)),
    "device_memory_bytes": ("peak memory of the device, MB", lambda count: whole(count / 1e6)),
    "latency_seconds": ("one image, µs", lambda seconds: three_digits(seconds * 1e6)),
    "images_per_second": ("many images, per second", lambda rate: whole(float(f"{rate:.3g}"))),
}


def write_report(report: Report, folder: Path) -> None:
    """All that `reports` holds, into an existing folder; see docs/design.md."""
    results.write_results(report, folder)
    pictures = draw_all(report)
    for picture in pictures.values():
        files.write_text(folder / "figures" / f"{picture.name}.svg", style.standing_alone(picture.svg))
    files.write_text(folder / paths.REPORT_PAGE, render("report.html", report, pictures))
    files.write_text(folder / paths.REPORT_TEXT, render("report.md", report, pictures))


def render(template: str, report: Report, pictures: dict[str, Picture]) -> str:
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
        "significant": _significant,
        "cell": _cell,
        "mark": _mark,
        "cost": _cost,
        "code": _code,
    }
    page = environment.get_template(template).render(
        report=report,
        pictures=pictures,
        answers=[(outcome, headline.sentence(outcome, report)) for outcome in headline.headlines(report)],
        settings=_settings(report),
        costs={key: heading for key, (heading, _) in COSTS.items() if report.variants[0].cost[key]},
        fronts=COST_AXES,
        sensitivity_names={key: name for key, (name, _) in SENSITIVITY_AXES.items()},
        night=Markup(style.NIGHT),  # noqa: S704  our own
        told=_verdict_counts(report.answers),
        lost=[variant for variant in report.variants if variant.diverged],
        lost_seeds=sum(len(variant.seeds) - len(variant.accuracies) for variant in report.variants),
        first=report.variants[0].record,
    )
    return page.replace(" %", "\N{NO-BREAK SPACE}%")


# What the templates ask for.


def _settings(report: Report) -> tuple[dict[str, str], list[str]]:
    """The settings that all variants share, and the names of those in which they differ."""
    keys = list(dict.fromkeys(key for variant in report.variants for key in variant.settings))
    values = {key: {variant.settings.get(key, "–") for variant in report.variants} for key in keys}
    return {key: one.pop() for key, one in values.items() if len(one) == 1}, [k for k in keys if len(values[k]) > 1]


def _verdict_counts(answers: Sequence[Answer]) -> str:
    """How many statements got which answer."""
    counts = Counter(answer.verdict for answer in answers)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("confirmed", "refuted", "undecided"))


def _cell(text: str) -> str:
    """Text in a Markdown table, where a bar would end the cell and a tag would be one."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _significant(pairs: Sequence[significance.McNemar]) -> str:
    return f"{sum(pair.p < intervals.LEVEL for pair in pairs)} of {len(pairs)}"


def _mark(variant: VariantSummary) -> Markup:
    """A variant's sign before its name."""
    mark = style.mark_of(variant.place)
    return Markup('<span class="mark {}" style="--mark: {}"></span>{}').format(
        SHAPES[mark.shape], style.by_day_and_night(mark.colour), variant.name
    )


def _cost(variant: VariantSummary, measure: str) -> tuple[str, str]:
    """A measured cost and its interval, in the unit of its column."""
    measured, written = variant.cost[measure], COSTS[measure][1]
    if measured is None:
        return NONE, ""
    return written(measured.mean), " to ".join(written(limit) for limit in measured.interval)


def _code(text: str) -> Markup:
    """What stands between backquotes as code, all else as it is."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )
