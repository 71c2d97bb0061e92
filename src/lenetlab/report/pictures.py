"""Which pictures the report has: each figure with its caption and its alternative text, which states the finding."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lenetlab.evaluation import mistakes
from lenetlab.report import diagrams, figures, style
from lenetlab.report.headline import result_sentence
from lenetlab.report.model import DataSummary, LabelledImage, PairDisagreements, Report, VariantSummary
from lenetlab.statistics.formatting import percent, points, whole

SENSITIVITY_AXES = {  # setting: label, and whether its axis is logarithmic
    "learning_rate": ("learning rate", True),
    "dropout": ("dropout", False),
    "width": ("width (factor on maps and units)", True),
    "batch_size": ("batch size (images)", True),
    "images": ("training images", True),
}

COST_AXES = {
    "seconds_per_epoch": "seconds per epoch and seed",
    "multiply_accumulates": "multiply-accumulate operations per image",
}

WITH_SHAPES = ("Conv2d", "PartialConv2d", "MaxPool2d", "AvgPool2d", "Subsampling", "Linear", "Codes")  # layer kinds

FINISHED_ONLY = " (finished seeds only)"


@dataclass(frozen=True)
class Picture:
    name: str  # of its file
    svg: str
    alternative: str
    caption: str

    @property
    def inline(self) -> Markup:
        """SVG for the page. A screen reader treats it as an image and reads the alternative text."""
        label = escape(self.alternative)
        return Markup(self.svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))  # noqa: S704


def draw_all(report: Report) -> dict[str, Picture]:
    """All pictures by name; those without anything to show are left out."""
    pictures = [
        *_comparisons(report),
        *_seeds(report),
        *_ablation(report),
        *(picture for variant in report.variants for picture in _variant_pictures(variant, report.data)),
        *_hardest(report),
        *(picture for pair in report.disagreements for picture in _disagreements(pair, report.data.classes)),
        *_calibration(report),
        *(picture for measure in COST_AXES for picture in _pareto(report, measure)),
        *_sensitivity(report),
    ]
    return {picture.name: picture for picture in pictures}


def _picture(name: str, figure: Figure, alternative: str, *caption: str) -> Picture:
    return Picture(name, style.svg(figure, name), alternative, " ".join(filter(None, caption)))


def _comparisons(report: Report) -> list[Picture]:
    marks, diverged = _marks(report), {variant.name for variant in report.variants if variant.diverged}
    outcomes = [outcome for outcome in report.outcomes if outcome.measure == "test_accuracy"]
    rows = [
        figures.ForestRow(
            f"{outcome.candidate} − {outcome.baseline}: {outcome.verdict}"
            + FINISHED_ONLY * bool(diverged & {outcome.candidate, outcome.baseline}),
            marks[outcome.candidate],
            outcome.difference,
            outcome.interval_seeds,
            outcome.interval,
        )
        for outcome in outcomes
        if outcome.difference is not None
    ]
    return _forest(
        "comparisons",
        rows,
        " ".join(result_sentence(outcome, report) for outcome in outcomes),
        "Difference of mean test accuracy, candidate minus baseline, in the colour of the candidate.",
        _not_shown(report) if len(rows) < len(outcomes) else "",
    )


def _ablation(report: Report) -> list[Picture]:
    marks = _marks(report)
    titles = [
        f"{effect.unregularized} with {' and '.join(effect.regularizers)}" + FINISHED_ONLY * bool(effect.diverged)
        for effect in report.effects
    ]
    rows = [
        figures.ForestRow(title, marks[effect.variant], effect.difference, effect.interval_seeds, effect.interval)
        for title, effect in zip(titles, report.effects, strict=True)
        if effect.difference is not None
    ]
    differences = [
        f"{title}: {points(effect.difference)}" for title, effect in zip(titles, report.effects, strict=True)
    ]
    return _forest(
        "ablation",
        rows,
        "Difference of test accuracy to the same network without regularisation, in percentage points."
        f" {'; '.join(differences)}.",
        "Mean test accuracy of the regularised variant minus that of the same network without regularisation.",
        _not_shown(report) if len(rows) < len(report.effects) else "",
    )


def _forest(
    name: str, rows: Sequence[figures.ForestRow], alternative: str, subject: str, not_shown: str
) -> list[Picture]:
    lines = "Thick line: 95 % interval over seeds; thin line: over seeds and test images."
    return [_picture(name, figures.forest(rows), alternative, subject, lines, not_shown)] if rows else []


def _seeds(report: Report) -> list[Picture]:
    rows = [
        figures.SeedRow(
            _name_with_divergence(variant),
            style.variant_mark(variant.index),
            list(variant.accuracies.values()),
            variant.mean_accuracy,
            variant.accuracy_interval,
        )
        for variant in report.variants
        if variant.mean_accuracy is not None
    ]
    if not rows:
        return []
    return [
        _picture(
            "seeds",
            figures.seed_accuracies(rows),
            f"Test accuracy of every seed. {'; '.join(f'{row.name}: mean {percent(row.mean)} %' for row in rows)}",
            "Each point is one training (one seed). Vertical bar: mean; horizontal line: its 95 % interval over seeds.",
            _not_shown(report),
        )
    ]


def _variant_pictures(variant: VariantSummary, data: DataSummary) -> list[Picture]:
    """Learning curves, confusion matrix, network and mistakes; only the network if no seed finished."""
    name, seeds, colour = variant.name, len(variant.accuracies), style.variant_mark(variant.index).colour
    finished = f"the {seeds} seeds that finished" if variant.diverged else f"all {seeds} seeds"
    large = " Too many classes for numbers." if len(data.classes) > figures.NUMBERED_CLASSES else ""
    if variant.mean_accuracy is None:
        return [_network(variant, data)]
    return [
        _picture(
            f"curves-{name}",
            figures.learning_curves(variant.curves, colour),
            f"Loss and accuracy of {name} per epoch; mean accuracy after the last epoch:"
            f" {percent(variant.last_epoch['train_accuracy'])} % in training,"
            f" {percent(variant.last_epoch['test_accuracy'])} % on the test images.",
            f"{name}: thin lines are {finished}, thick lines their mean. Training loss and accuracy are measured"
            " during the epoch, while the weights change and with dropout and augmentation (if used).",
        ),
        _picture(
            f"confusion-{name}",
            figures.confusion(variant.confusion, data.classes, colour),
            f"Confusion matrix of {name}: {_commonest_mistake(variant, data)}.",
            f"{name}: number of test images, summed over {finished}; only mistakes are shaded.{large}",
        ),
        _network(variant, data),
        *_confident_mistakes(variant, data, finished),
    ]


def _network(variant: VariantSummary, data: DataSummary) -> Picture:
    name, size = variant.name, int(variant.settings["input.size"])
    colour = " in colour" if data.channels == 3 else ""
    shapes = [f"{layer['name']} {layer['output']}" for layer in variant.layers if layer["kind"] in WITH_SHAPES]
    return _picture(
        f"network-{name}",
        diagrams.network(variant.layers, size, style.variant_mark(variant.index).colour, data.channels),
        f"3D diagram of {name}, from {size}×{size} pixels{colour} to {len(data.classes)} classes: {', '.join(shapes)}.",
        f"{name}: {whole(variant.parameters)} parameters; {whole(variant.multiply_accumulates)} multiply-accumulate"
        " operations per image. Feature maps are drawn to scale, as in figure 2 of LeCun et al. 1998.",
    )


def _commonest_mistake(variant: VariantSummary, data: DataSummary) -> str:
    if variant.commonest_mistake is None:
        return "no image is misclassified"
    label, predicted, count = variant.commonest_mistake
    names = data.classes[label], data.classes[predicted]
    return f"the most frequent mistake is {names[0]} classified as {names[1]}, {count} times"


def _confident_mistakes(variant: VariantSummary, data: DataSummary, finished: str) -> list[Picture]:
    if not variant.mistakes:
        return []
    texts = [
        mistakes.caption(
            data.classes[image.label],
            data.classes[image.predicted],
            image.confidence,
            image.votes,
            len(variant.accuracies),
        )
        for image in variant.mistakes
    ]
    above, below = zip(*texts, strict=True)
    return [
        _picture(
            f"mistakes-{variant.name}",
            _image_sheet(variant.mistakes, above, below),
            f"The {len(texts)} test images that {variant.name} misclassifies with the highest confidence; the first is"
            f" {above[0]}.",
            f"{variant.name}: above each image, its label and the most frequent wrong prediction; below, the"
            f" probability given to wrong classes (mean over {finished}) and how many seeds misclassify the image.",
        )
    ]


def _hardest(report: Report) -> list[Picture]:
    images = report.hardest
    if not images:
        return []
    first, names = images[0], report.data.classes
    return [
        _picture(
            "hardest",
            _image_sheet(
                images,
                [f"{names[image.label]} read as {names[image.predicted]}" for image in images],
                [f"{image.misread} of {image.networks}" for image in images],
            ),
            f"The {len(images)} test images that the largest share of networks misclassifies; {first.misread} of"
            f" {first.networks} networks misclassify the first, which is {names[first.label]}.",
            f"Above each image, its label and the most frequent wrong prediction; below, how many of the"
            f" {first.networks} networks (every seed of every variant) misclassify it.",
            "Diverged seeds are not counted." if _any_diverged(report) else "",
        )
    ]


def _disagreements(pair: PairDisagreements, names: Sequence[str]) -> list[Picture]:
    pictures = []
    for better, worse, images in (
        (pair.candidate, pair.baseline, pair.candidate_better),
        (pair.baseline, pair.candidate, pair.baseline_better),
    ):
        if not images:
            continue
        below = [
            f"{image.candidate_correct} of {pair.seeds[0]}, {image.baseline_correct} of {pair.seeds[1]}"
            for image in images
        ]
        pictures.append(
            _picture(
                f"disputed-{better}-{worse}",
                _image_sheet(images, [names[image.label] for image in images], below),
                f"{len(images)} test images that a larger share of the seeds of {better} than of {worse} classifies"
                f" correctly; the first is {names[images[0].label]}: {below[0]}.",
                f"Images that a larger share of the seeds of {better} than of {worse} classifies correctly. Above each"
                f" image, its label; below, how many seeds of {pair.candidate} and of {pair.baseline} classify it"
                " correctly.",
            )
        )
    return pictures


def _calibration(report: Report) -> list[Picture]:
    calibrations = [(variant, variant.calibration) for variant in report.variants if variant.calibration]
    if not calibrations:
        return []
    panels = [
        figures.ReliabilityPanel(
            variant.name,
            style.variant_mark(variant.index),
            [(group.confidence, group.accuracy, group.interval) for group in calibration.bins],
        )
        for variant, calibration in calibrations
    ]
    errors = [f"{variant.name} {percent(calibration.error)}" for variant, calibration in calibrations]
    return [
        _picture(
            "calibration",
            figures.reliability(panels),
            f"Accuracy against confidence. Expected calibration error in percentage points: {'; '.join(errors)}.",
            "Reliability diagrams: accuracy of the predictions in each bin of confidence, over all seeds, with 95 %"
            " intervals. On the dashed line, accuracy equals confidence; below it, the network is overconfident.",
            _not_shown(report),
        )
    ]


def _pareto(report: Report, measure: str) -> list[Picture]:
    plotted = {
        variant.name: figures.CostPoint(
            _name_with_divergence(variant),
            variant.index + 1,
            style.variant_mark(variant.index),
            variant.mean_accuracy,
            variant.accuracy_interval,
            cost.mean,
            cost.interval,
        )
        for variant in report.variants
        if variant.mean_accuracy is not None and (cost := variant.cost(measure))
    }
    if not plotted:
        return []
    axis, front = COST_AXES[measure], report.pareto_fronts[measure]
    return [
        _picture(
            f"pareto-{measure}",
            figures.pareto(
                list(plotted.values()), axis, [(plotted[name].cost, plotted[name].accuracy) for name in front]
            ),
            f"Test accuracy against {axis}{_listed('; Pareto front: ', front)}.",
            f"Mean test accuracy against {axis}, with 95 % intervals. The dashed line joins the Pareto front: the"
            " variants that no other variant beats in both accuracy and cost.",
            "Variants with diverged seeds are not part of it." if _any_diverged(report) else "",
            "Numbers refer to the table." if len(plotted) > style.LEGEND_VARIANTS else "",
            _not_shown(report),
        )
    ]


def _sensitivity(report: Report) -> list[Picture]:
    results = report.sensitivity
    if not (results and results.up_to_date and results.values):
        return []
    panels, best = [], []
    for setting, values in results.values.items():
        label, logarithmic = SENSITIVITY_AXES[setting]
        drawn = [
            figures.SensitivityPoint(value.position, value.label, value.mean_accuracy, value.interval, value.diverged)
            for value in values
        ]
        panels.append(figures.SensitivityPanel(setting, label, logarithmic, results.axis_floor, drawn))
        known = [(value.mean_accuracy, value.label) for value in values if value.mean_accuracy is not None]
        if known:
            best.append(f"{label} {max(known, key=lambda pair: pair[0])[1]}")
    index = next((variant.index for variant in report.variants if variant.name == results.variant), 0)
    diverged = any(value.diverged for values in results.values.values() for value in values)
    return [
        _picture(
            "sensitivity",
            figures.sensitivity(panels, results.unchanged_mean, style.variant_mark(index)),
            f"Validation accuracy of {results.variant} as one setting changes{_listed('; highest at ', best)}.",
            f"{results.variant}: mean over {results.seeds} seeds with its 95 % interval; dashed line: no setting"
            " changed. An arrow stands for an accuracy far below the axis, which is written beside it.",
            "A cross marks values with diverged seeds; beside it, their number. Means do not include them."
            if diverged
            else "",
        )
    ]


def _image_sheet(images: Sequence[LabelledImage], above: Sequence[str], below: Sequence[str]) -> Figure:
    return figures.image_sheet([image.pixels for image in images], above, below)


def _marks(report: Report) -> dict[str, style.Mark]:
    return {variant.name: style.variant_mark(variant.index) for variant in report.variants}


def _name_with_divergence(variant: VariantSummary) -> str:
    """So that the picture shows if its numbers are about some of the seeds only."""
    lost = f" ({variant.diverged_count} of {len(variant.seeds)} seeds diverged)" if variant.diverged else ""
    return f"{variant.name}{lost}"


def _not_shown(report: Report) -> str:
    """For the caption; empty if every variant has a result."""
    names = [variant.name for variant in report.variants if variant.mean_accuracy is None]
    return f"Not shown because every seed diverged: {' and '.join(names)}." if names else ""


def _listed(introduction: str, items: Sequence[str]) -> str:
    """Empty if there are no items."""
    return introduction + ", ".join(items) if items else ""


def _any_diverged(report: Report) -> bool:
    return any(variant.diverged for variant in report.variants)
