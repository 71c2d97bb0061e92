"""The report: one self-contained HTML page and its Markdown twin, laid out by templates from the records."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lenetlab.evaluation import mistakes
from lenetlab.report import diagrams, figures, headline, model, style
from lenetlab.report.model import Report, VariantSummary
from lenetlab.statistics import comparison
from lenetlab.statistics.formatting import percent, points, whole

SENSITIVITY_AXES = {  # of a sensitivity: the axis, and whether it is logarithmic
    "learning_rate": ("learning rate", True),
    "dropout": ("dropout", False),
    "width": ("width, times the maps and units", True),
    "batch_size": ("batch size (images)", True),
    "images": ("training images", True),
}

LOST = " (of the seeds that finished)"

COST_AXES = {
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


# Pictures, each with a text that says what is to be seen.


def draw_all(report: Report) -> dict[str, Picture]:
    """All pictures by name."""
    found = [
        *_comparisons(report),
        *_seeds(report),
        *_ablation(report),
        *(picture for variant in report.variants for picture in _of_variant(variant)),
        *_hardest(report),
        *(picture for dispute in report.disputes for picture in _dispute(dispute)),
        *_calibration(report),
        *(picture for measure in COST_AXES for picture in _pareto(report, measure)),
        *_sensitivity(report),
    ]
    return {picture.name: picture for picture in found}


def _picture(name: str, figure: Figure, alt: str, caption: str) -> Picture:
    return Picture(name, style.svg(figure, name), alt, caption)


def _forest(
    name: str, report: Report, rows: Sequence[tuple[str, str, comparison.Outcome | model.Effect]], alt: str, what: str
) -> list[Picture]:
    """Rows of the variant in question, a title, and a difference; those without one are left out; none, no picture."""
    marks = {variant.name: style.mark_of(variant.place) for variant in report.variants}
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
    alt = " ".join(headline.sentence(outcome, report) for outcome in report.outcomes)
    what = "Differences of mean test accuracy, candidate minus baseline, in the candidate's colour."
    return _forest("comparisons", report, rows, alt, what)


def _with_results(report: Report) -> tuple[list[VariantSummary], str]:
    """The variants of which a seed finished, and what a caption says of the others."""
    shown = [variant for variant in report.variants if variant.mean is not None]
    return shown, _left_out([variant for variant in report.variants if variant not in shown])


def _left_out(variants: Sequence[VariantSummary]) -> str:
    names = " and ".join(variant.name for variant in variants)
    return f"Left out: {names}, of which every seed diverged." if variants else ""


def _name(variant: VariantSummary) -> str:
    """In a picture, where it is to be seen that the figures are of some seeds only."""
    lost = len(variant.seeds) - len(variant.accuracies)
    return f"{variant.name} ({lost} of {len(variant.seeds)} seeds diverged)" if lost else variant.name


def _seeds(report: Report) -> list[Picture]:
    def point(variant: VariantSummary) -> dict[str, Any]:
        shown = {"name": _name(variant), "mean": variant.mean, "interval": variant.interval}
        return {**shown, "mark": style.mark_of(variant.place), "accuracies": list(variant.accuracies.values())}

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


def _of_variant(variant: VariantSummary) -> list[Picture]:
    name, seeds, colour = variant.name, len(variant.accuracies), style.mark_of(variant.place).colour
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
        texts = [
            mistakes.caption(one.label, one.predicted, one.confidence, one.votes, seeds) for one in variant.mistakes
        ]
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


def _outline(variant: VariantSummary) -> list[str]:
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


def _dispute(dispute: model.Dispute) -> list[Picture]:
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


def _digits(shown: Sequence[model.Digit], above: Sequence[str], below: Sequence[str]) -> Figure:
    return figures.digits([one.pixels for one in shown], above, below)


def _any_diverged(report: Report) -> bool:
    return any(variant.diverged for variant in report.variants)


def _calibration(report: Report) -> list[Picture]:
    variants, left_out = _with_results(report)
    if not variants:
        return []
    shown = [
        {"name": variant.name, "mark": style.mark_of(variant.place), "bins": variant.calibration.bins}
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
    cost = {variant.name: model.cost_of(variant, measure) for variant in report.variants}
    shown = [
        {
            "name": _name(variant),
            "number": variant.place + 1,
            "mark": style.mark_of(variant.place),
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
    by_number = " Numbers are those of the table." if len(shown) > style.FEW else ""
    finished = " Those of which a seed diverged take no part in that." * _any_diverged(report)
    return [
        _picture(
            f"pareto-{measure}",
            figures.pareto(shown, COST_AXES[measure], front),
            f"Test accuracy against {COST_AXES[measure]}{told}.",
            f"Mean test accuracy against {COST_AXES[measure]}, with 95 % intervals. The dashes join the variants that"
            f" no other beats in both.{finished}{by_number} {left_out}".strip(),
        )
    ]


def _sensitivity(report: Report) -> list[Picture]:
    found = report.sensitivity
    if not (found and found.current and found.settings):
        return []
    settings = [
        {
            "name": name,
            "label": SENSITIVITY_AXES[name][0],
            "logarithmic": SENSITIVITY_AXES[name][1],
            "points": shown,
            "floor": found.floor,
        }
        for name, shown in found.settings.items()
    ]
    known = {name: [point for point in shown if point.mean is not None] for name, shown in found.settings.items()}
    best = [
        f"{SENSITIVITY_AXES[name][0]} {max(shown, key=lambda point: point.mean).text}"
        for name, shown in known.items()
        if shown
    ]
    highest = f"; highest at {', '.join(best)}" if best else ""
    place = next((variant.place for variant in report.variants if variant.name == found.variant), 0)
    lost = any(point.diverged for shown in found.settings.values() for point in shown)
    crosses = " A cross stands where seeds diverged, with their number; they are in no mean." * lost
    return [
        _picture(
            "sensitivity",
            figures.sensitivity(settings, found.centre.mean, style.mark_of(place)),
            f"Validation accuracy of {found.variant} as one setting changes{highest}.",
            f"{found.variant}: mean over {found.seeds} seeds with its 95 % interval; dashes: nothing is changed. An"
            f" arrow stands for what is far below, with its figure.{crosses}",
        )
    ]
