"""The report: one self-contained HTML page and its Markdown twin, laid out by templates from the records."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lenetlab import comparison, diagrams, figures, files, mistakes, records
from lenetlab.answers import Answer
from lenetlab.records import Report, Variant
from lenetlab.wording import NONE, duration, p_value, percent, points, points_span, span, three_digits, whole

TEMPLATES = Path(__file__).parent / "templates"
SHAPES = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle"}  # in CSS, as matplotlib's signs
SETTINGS = {  # of a sensitivity: the axis, and whether it is logarithmic
    "learning_rate": ("learning rate", True),
    "dropout": ("dropout", False),
    "width": ("width, times the maps and units", True),
    "batch_size": ("batch size (images)", True),
    "images": ("training images", True),
}
COSTS = {  # heading, unit of the column, and how a figure is written in it
    "seconds_per_epoch": ("epoch of one training, s", three_digits),
    "process_memory_bytes": ("peak memory of the process, MB", lambda count: whole(count / 1e6)),
    "device_memory_bytes": ("peak memory of the device, MB", lambda count: whole(count / 1e6)),
    "latency_seconds": ("one image, µs", lambda seconds: three_digits(seconds * 1e6)),
    "images_per_second": ("many images, per second", lambda rate: whole(float(f"{rate:.3g}"))),
}
LOST = " (of the seeds that finished)"
FRONTS = {
    "seconds_per_epoch": "seconds per epoch of one training",
    "multiply_accumulates": "multiply-accumulates to read one image",
}


@dataclass(frozen=True)
class Picture:
    name: str  # of its file
    svg: str
    alt: str  # states the finding
    caption: str

    @property
    def inline(self) -> Markup:
        """The drawing as an image to a screen reader, which reads out `alt`."""
        return Markup(self.svg.replace("<svg ", f'<svg role="img" aria-label="{escape(self.alt)}" ', 1))  # noqa: S704


def write(report: Report, folder: Path) -> None:
    """All that `reports` holds, into an existing folder; see docs/design.md."""
    records.write(report, folder)
    pictures = draw(report)
    for picture in pictures.values():
        files.write_text(folder / "figures" / f"{picture.name}.svg", figures.standing_alone(picture.svg))
    files.write_text(folder / "report.html", render("report.html", report, pictures))
    files.write_text(folder / "report.md", render("report.md", report, pictures))


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
        answers=[(outcome, answer(outcome, report)) for outcome in headlines(report)],
        settings=_settings(report),
        costs={key: heading for key, (heading, _) in COSTS.items() if report.variants[0].cost[key]},
        fronts=FRONTS,
        sensitivity_names={key: name for key, (name, _) in SETTINGS.items()},
        night=Markup(figures.NIGHT),  # noqa: S704  our own
        told=_told(report.answers),
        lost=[variant for variant in report.variants if variant.diverged],
        lost_seeds=sum(len(variant.seeds) - len(variant.accuracies) for variant in report.variants),
        first=report.variants[0].record,
    )
    return page.replace(" %", "\N{NO-BREAK SPACE}%")


def headlines(report: Report) -> list[comparison.Outcome]:
    """The comparisons that the page opens with: the family that is declared first."""
    return [outcome for outcome in report.outcomes if outcome.family == report.outcomes[0].family]


def answer(outcome: comparison.Outcome, report: Report) -> str:
    """A comparison's result in a sentence, with interval and n."""
    candidate, baseline, interval = outcome.candidate, outcome.baseline, outcome.interval
    sides = [variant for name in (candidate, baseline) for variant in report.variants if variant.name == name]
    besides = f" They also differ in {'; '.join(outcome.confounds)}." if outcome.confounds else ""
    if any(variant.diverged for variant in sides):
        return f"Whether {candidate} differs from {baseline} stays open, since {outcome.reason}.{besides}"
    if outcome.verdict in ("better", "worse"):
        if outcome.difference < 0:
            interval = interval and (-interval[1], -interval[0])
        found = f"{candidate} is {outcome.verdict} than {baseline} by {percent(abs(outcome.difference))}"
        doubt = span(interval)
    else:
        opening = {
            "equivalent": f"{candidate} and {baseline} are equivalent",
            "inconclusive": f"Whether {candidate} differs from {baseline} stays open",
        }
        found = f"{opening[outcome.verdict]}: the difference is {points(outcome.difference)}"
        doubt = points_span(interval)
    seeds = len(sides[0].accuracies)
    over = (
        f"95 % interval over seeds and images {doubt}; {seeds} seeds each"
        if interval
        else "one seed each, so no interval"
    )
    return f"{found} percentage points of test accuracy ({over}; {whole(report.test_images)} test images).{besides}"


# Pictures, each with a text that says what is to be seen.


def draw(report: Report) -> dict[str, Picture]:
    """All pictures by name."""
    found = [
        *_comparisons(report),
        *_seeds(report),
        *_ablation(report),
        *(picture for variant in report.variants for picture in _of_variant(variant)),
        *_hardest(report),
        *(picture for dispute in report.disputes for picture in _dispute(dispute)),
        *_calibration(report),
        *(picture for measure in FRONTS for picture in _pareto(report, measure)),
        *_sensitivity(report),
    ]
    return {picture.name: picture for picture in found}


def _picture(name: str, figure: Figure, alt: str, caption: str) -> Picture:
    return Picture(name, figures.svg(figure, name), alt, caption)


def _forest(
    name: str, report: Report, rows: Sequence[tuple[str, str, comparison.Outcome | records.Effect]], alt: str, what: str
) -> list[Picture]:
    """Rows of the variant in question, a title, and a difference; those without one are left out; none, no picture."""
    marks = {variant.name: figures.mark(variant.place) for variant in report.variants}
    shown = [
        {**asdict(found), "title": title, "mark": marks[variant]}
        for variant, title, found in rows
        if found.difference is not None
    ]
    widths = "Thick: 95 % interval over seeds; thin: over seeds and test images."
    if len(shown) < len(rows):
        widths += f" {_left_out([variant for variant in report.variants if variant.mean is None])}"
    return [_picture(name, figures.forest(shown), alt, f"{what} {widths}")] if shown else []


def _comparisons(report: Report) -> list[Picture]:
    lost = {variant.name for variant in report.variants if variant.diverged}
    rows = [
        (
            one.candidate,
            f"{one.candidate} − {one.baseline}: {one.verdict}" + LOST * bool(lost & {one.candidate, one.baseline}),
            one,
        )
        for one in report.outcomes
    ]
    alt = " ".join(answer(outcome, report) for outcome in report.outcomes)
    what = "Differences of mean test accuracy, candidate minus baseline, in the candidate's colour."
    return _forest("comparisons", report, rows, alt, what)


def _with_results(report: Report) -> tuple[list[Variant], str]:
    """The variants of which a seed finished, and what a caption says of the others."""
    shown = [variant for variant in report.variants if variant.mean is not None]
    return shown, _left_out([variant for variant in report.variants if variant not in shown])


def _left_out(variants: Sequence[Variant]) -> str:
    names = " and ".join(variant.name for variant in variants)
    return f"Left out: {names}, of which every seed diverged." if variants else ""


def _name(variant: Variant) -> str:
    """In a picture, where it is to be seen that the figures are of some seeds only."""
    lost = len(variant.seeds) - len(variant.accuracies)
    return f"{variant.name} ({lost} of {len(variant.seeds)} seeds diverged)" if lost else variant.name


def _seeds(report: Report) -> list[Picture]:
    def point(variant: Variant) -> dict[str, Any]:
        shown = {"name": _name(variant), "mean": variant.mean, "interval": variant.interval}
        return {**shown, "mark": figures.mark(variant.place), "accuracies": list(variant.accuracies.values())}

    shown, left_out = _with_results(report)
    if not shown:
        return []
    return [
        _picture(
            "seeds",
            figures.points([point(variant) for variant in shown]),
            "Test accuracy of every seed. "
            + "; ".join(f"{_name(variant)}: mean {percent(variant.mean)} %" for variant in shown),
            f"Every training as a point; the bar is the mean with its 95 % interval over seeds. {left_out}".strip(),
        )
    ]


def _ablation(report: Report) -> list[Picture]:
    rows = [
        (one.variant, f"{one.plain} with {' and '.join(one.added)}" + LOST * bool(one.diverged), one)
        for one in report.effects
    ]
    told = "; ".join(f"{title}: {points(one.difference)}" for _, title, one in rows)
    alt = f"Differences to the same network without regularisation, in percentage points. {told}."
    what = "Test accuracy with these regularisers minus that of the same network with none."
    return _forest("ablation", report, rows, alt, what)


def _of_variant(variant: Variant) -> list[Picture]:
    name, seeds, colour = variant.name, len(variant.accuracies), figures.mark(variant.place).colour
    size = int(variant.settings["input.size"])
    commonest = "no image is misread"
    if variant.commonest:
        label, read_as, count = variant.commonest
        commonest = f"the commonest mistake is a {label} read as a {read_as}, {count} times"
    network = _picture(
        f"network-{name}",
        diagrams.network(variant.layers, size, colour),
        f"{name} in three dimensions, from {size}×{size} pixels to ten classes: {', '.join(_outline(variant))}.",
        f"{name}: {whole(variant.parameters)} parameters; {whole(variant.multiply_accumulates)}"
        " multiply-accumulates read an image. Planes are drawn to scale; after LeCun et al. 1998, figure 2.",
    )
    if variant.mean is None:
        return [network]
    which = f"the {seeds} seeds that finished" if variant.diverged else f"all {seeds} seeds"
    found = [
        _picture(
            f"curves-{name}",
            figures.learning(variant.curves, colour),
            f"Loss and accuracy of {name} per epoch; at the end {percent(variant.final['train_accuracy'])} % in"
            f" training and {percent(variant.final['test_accuracy'])} % on the test images.",
            f"{name}: {which} thin, their mean thick. Training loss and accuracy are taken while the weights"
            " change, with dropout and augmentation where there are any.",
        ),
        _picture(
            f"confusion-{name}",
            figures.confusion(variant.confusion, colour),
            f"Confusion of {name}: {commonest}.",
            f"{name}: counts, summed over {which}; only mistakes are shaded.",
        ),
        network,
    ]
    if variant.mistakes:
        texts = [mistakes.told(one.label, one.predicted, one.confidence, one.votes, seeds) for one in variant.mistakes]
        found.append(
            _picture(
                f"mistakes-{name}",
                _digits(variant.mistakes, *zip(*texts, strict=True)),
                f"{len(texts)} test images that {name} misreads with the most confidence, the first a {texts[0][0]}.",
                f"{name}: below each, the probability given to wrong answers (mean over {which}) and how"
                " many seeds misread it.",
            )
        )
    return found


def _outline(variant: Variant) -> list[str]:
    """The layers that have weights or pool, with the shapes that they yield."""
    told = ("Conv2d", "PartialConv2d", "MaxPool2d", "AvgPool2d", "Subsampling", "Linear", "Codes")
    return [f"{layer['name']} {layer['output']}" for layer in variant.layers if layer["kind"] in told]


def _hardest(report: Report) -> list[Picture]:
    if not report.hardest:
        return []
    first = report.hardest[0]
    above = [f"{one.label} read as {one.predicted}" for one in report.hardest]
    below = [f"{one.misread} of {one.networks}" for one in report.hardest]
    return [
        _picture(
            "hardest",
            _digits(report.hardest, above, below),
            f"The {len(above)} test images that most networks misread; {first.misread} of {first.networks} misread the"
            f" first, a {first.label}.",
            f"Below each, how many of the {first.networks} networks, every seed of every variant, misread it; above,"
            f" the commonest wrong answer.{' Seeds that diverged do not count.' * _any_diverged(report)}",
        )
    ]


def _dispute(dispute: records.Dispute) -> list[Picture]:
    found = []
    for better, worse, shown in (
        (dispute.candidate, dispute.baseline, dispute.for_candidate),
        (dispute.baseline, dispute.candidate, dispute.for_baseline),
    ):
        if not shown:
            continue
        votes = [f"{one.candidate} of {dispute.seeds[0]}, {one.baseline} of {dispute.seeds[1]}" for one in shown]
        found.append(
            _picture(
                f"disputed-{better}-{worse}",
                _digits(shown, [str(one.label) for one in shown], votes),
                f"{len(shown)} test images that more seeds of {better} than of {worse} read correctly, the first a"
                f" {shown[0].label}: {votes[0]}.",
                f"Read better by {better}. Below each, how many seeds of {dispute.candidate} and how many of"
                f" {dispute.baseline} read it correctly.",
            )
        )
    return found


def _digits(shown: Sequence[records.Digit], above: Sequence[str], below: Sequence[str]) -> Figure:
    return figures.digits([one.pixels for one in shown], above, below)


def _any_diverged(report: Report) -> bool:
    return any(variant.diverged for variant in report.variants)


def _calibration(report: Report) -> list[Picture]:
    variants, left_out = _with_results(report)
    if not variants:
        return []
    shown = [
        {"name": variant.name, "mark": figures.mark(variant.place), "bins": variant.calibration.bins}
        for variant in variants
    ]
    told = [f"{variant.name} {points(variant.calibration.error).strip('+')}" for variant in variants]
    return [
        _picture(
            "calibration",
            figures.reliability(shown),
            f"Accuracy against confidence. Expected calibration error in percentage points: {'; '.join(told)}.",
            "Answers of all seeds with a like confidence, by how many of them are right, with 95 % intervals; on the"
            f" dashes, confidence is right, below them it is too high. {left_out}".strip(),
        )
    ]


def _pareto(report: Report, measure: str) -> list[Picture]:
    variants, left_out = _with_results(report)
    if not variants:
        return []
    cost = {variant.name: records.cost_of(variant, measure) for variant in report.variants}
    shown = [
        {
            "name": _name(variant),
            "number": variant.place + 1,
            "mark": figures.mark(variant.place),
            "accuracy": variant.mean,
            "interval": variant.interval,
            "cost": cost[variant.name].mean,
            "cost_interval": cost[variant.name].interval,
        }
        for variant in variants
    ]
    best = report.fronts[measure]
    front = [(cost[one.name].mean, one.mean) for name in best for one in variants if one.name == name]
    told = f"; no other variant is at once cheaper and better than {', '.join(best)}" if best else ""
    by_number = " Numbers are those of the table." if len(shown) > figures.FEW else ""
    finished = " Those of which a seed diverged take no part in that." * _any_diverged(report)
    return [
        _picture(
            f"pareto-{measure}",
            figures.pareto(shown, FRONTS[measure], front),
            f"Test accuracy against {FRONTS[measure]}{told}.",
            f"Mean test accuracy against {FRONTS[measure]}, with 95 % intervals. The dashes join the variants that no"
            f" other beats in both.{finished}{by_number} {left_out}".strip(),
        )
    ]


def _sensitivity(report: Report) -> list[Picture]:
    found = report.sensitivity
    if not (found and found.current and found.settings):
        return []
    settings = [
        {
            "name": name,
            "label": SETTINGS[name][0],
            "logarithmic": SETTINGS[name][1],
            "points": shown,
            "floor": found.floor,
        }
        for name, shown in found.settings.items()
    ]
    known = {name: [point for point in shown if point.mean is not None] for name, shown in found.settings.items()}
    best = [
        f"{SETTINGS[name][0]} {max(shown, key=lambda point: point.mean).text}" for name, shown in known.items() if shown
    ]
    highest = f"; highest at {', '.join(best)}" if best else ""
    place = next((variant.place for variant in report.variants if variant.name == found.variant), 0)
    lost = any(point.diverged for shown in found.settings.values() for point in shown)
    crosses = " A cross stands where seeds diverged, with their number; they are in no mean." * lost
    return [
        _picture(
            "sensitivity",
            figures.sensitivity(settings, found.centre.mean, figures.mark(place)),
            f"Validation accuracy of {found.variant} as one setting changes{highest}.",
            f"{found.variant}: mean over {found.seeds} seeds with its 95 % interval; dashes: nothing is changed. An"
            f" arrow stands for what is far below, with its figure.{crosses}",
        )
    ]


# What the templates ask for.


def _settings(report: Report) -> tuple[dict[str, str], list[str]]:
    """The settings that all variants share, and the names of those in which they differ."""
    keys = list(dict.fromkeys(key for variant in report.variants for key in variant.settings))
    values = {key: {variant.settings.get(key, "–") for variant in report.variants} for key in keys}
    return {key: one.pop() for key, one in values.items() if len(one) == 1}, [k for k in keys if len(values[k]) > 1]


def _told(answers: Sequence[Answer]) -> str:
    """How many statements got which answer."""
    counts = Counter(answer.verdict for answer in answers)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("confirmed", "refuted", "undecided"))


def _cell(text: str) -> str:
    """Text in a Markdown table, where a bar would end the cell and a tag would be one."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _significant(pairs: Sequence[comparison.Pair]) -> str:
    return f"{sum(pair.p < comparison.LEVEL for pair in pairs)} of {len(pairs)}"


def _mark(variant: Variant) -> Markup:
    """A variant's sign before its name."""
    mark = figures.mark(variant.place)
    return Markup('<span class="mark {}" style="--mark: {}"></span>{}').format(
        SHAPES[mark.shape], figures.by_day_and_night(mark.colour), variant.name
    )


def _cost(variant: Variant, measure: str) -> tuple[str, str]:
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
