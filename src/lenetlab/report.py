"""The report: first records of what the study found, then one self-contained HTML page and its Markdown twin."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lenetlab import UserError, comparison, figures, files, params, predictions, provenance
from lenetlab.answers import Answer

TEMPLATES = Path(__file__).parent / "templates"
MEASURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Variant:
    """What the study found of one variant; accuracies are fractions."""

    name: str
    colour: str
    parameters: int
    accuracies: dict[int, float]  # test, last epoch, by seed
    metrics: dict[str, Any]  # metrics.json
    interval: comparison.Interval  # 95 %, of the mean over seeds
    deviation: float | None  # between trainings, freed of what few test images add
    curves: list[dict[str, str]]  # rows of curves.csv
    confusion: np.ndarray  # (10, 10), summed over seeds
    mistakes: dict[str, np.ndarray]
    layers: list[dict[str, Any]]
    settings: dict[str, str]  # flat: input.size, model.name, …
    record: dict[str, Any]  # variant.json

    @property
    def mean(self) -> float:
        return self.metrics["test_accuracy"]

    @property
    def sd(self) -> float | None:
        """Over seeds; None with one."""
        return self.metrics["test_accuracy_sd"]


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


@dataclass(frozen=True)
class Report:
    variants: list[Variant]
    outcomes: list[comparison.Outcome]
    answers: list[Answer]
    margin: float  # of equivalence
    test_images: int
    origin: dict[str, Any]  # commit, versions


def collect(
    study: params.Study,
    folder: Path,
    outcomes: Sequence[comparison.Outcome],
    answers: Sequence[Answer],
    origin: dict[str, Any],
) -> Report:
    """Read the evaluations of the study's variants; other folders that lie there do not count.

    UserError if one was made from other settings or other data than the study's.
    """
    variants = [_variant(folder / name, name, place) for place, name in enumerate(study.study)]
    _of_this_study(study, variants, folder)
    images = int(variants[0].confusion.sum()) // len(study.seeds)
    return Report(variants, list(outcomes), list(answers), study.equivalence_margin, images, origin)


def write(report: Report, folder: Path) -> None:
    """All that `reports` holds, into an existing folder; see docs/design.md."""
    pictures = draw(report)
    for picture in pictures.values():
        files.write_text(folder / "figures" / f"{picture.name}.svg", figures.standing_alone(picture.svg))
    files.write_text(folder / "report.html", render("report.html", report, pictures))
    files.write_text(folder / "report.md", render("report.md", report, pictures))
    files.write_json(folder / "comparison.json", [asdict(outcome) for outcome in report.outcomes])
    files.write_json(folder / "claims.json", [asdict(answer) for answer in report.answers])
    files.write_json(folder / "origin.json", report.origin)
    files.write_text(folder / "curves.csv", _mean_curves(report))
    for variant in report.variants:
        files.write_json(folder / "metrics" / f"{variant.name}.json", variant.metrics)


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
        "significant": _significant,
        "cell": _cell,
    }
    settings = {key: [variant.settings.get(key, "–") for variant in report.variants] for key in _setting_keys(report)}
    page = environment.get_template(template).render(
        report=report,
        pictures=pictures,
        answers=[(outcome, answer(outcome, report)) for outcome in headlines(report)],
        settings=settings,
        told=_told(report.answers),
        first=report.variants[0].record,
    )
    return page.replace(" %", "\N{NO-BREAK SPACE}%")


def headlines(report: Report) -> list[comparison.Outcome]:
    """The comparisons that the page opens with: the family that is declared first."""
    return [outcome for outcome in report.outcomes if outcome.family == report.outcomes[0].family]


def answer(outcome: comparison.Outcome, report: Report) -> str:
    """A comparison's result in a sentence, with interval and n."""
    candidate, baseline, interval = outcome.candidate, outcome.baseline, outcome.interval
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
    seeds = len(report.variants[0].accuracies)
    over = (
        f"95 % interval over seeds and images {doubt}; {seeds} seeds each"
        if interval
        else "one seed each, so no interval"
    )
    besides = f" They also differ in {'; '.join(outcome.confounds)}." if outcome.confounds else ""
    return f"{found} percentage points of test accuracy ({over}; {whole(report.test_images)} test images).{besides}"


def draw(report: Report) -> dict[str, Picture]:
    """All pictures by name, each with a text that says what is to be seen."""
    colours = {variant.name: variant.colour for variant in report.variants}
    rows = [
        {**asdict(outcome), "title": f"{outcome.candidate} − {outcome.baseline}", "colour": colours[outcome.candidate]}
        for outcome in report.outcomes
    ]
    found = []
    if rows:
        found.append(
            _picture(
                "comparisons",
                figures.forest(rows),
                " ".join(answer(outcome, report) for outcome in report.outcomes),
                "Differences of mean test accuracy, candidate minus baseline, in the candidate's colour. Thick: 95 %"
                " interval over seeds; thin: over seeds and test images.",
            )
        )
    found.append(
        _picture(
            "seeds",
            figures.points([_point(variant) for variant in report.variants]),
            "Test accuracy of every seed. "
            + "; ".join(f"{variant.name}: mean {percent(variant.mean)} %" for variant in report.variants),
            "Every training as a point; the bar is the mean with its 95 % interval over seeds.",
        )
    )
    for variant in report.variants:
        rates, name = _rates(variant), variant.name
        found += [
            _picture(
                f"curves-{name}",
                figures.curves(variant.curves, variant.colour),
                f"Loss and accuracy of {name} per epoch; at the end {percent(rates['train_accuracy'])} % in training"
                f" and {percent(rates['test_accuracy'])} % on the test images.",
                f"{name}: all {len(variant.accuracies)} seeds thin, their mean thick. Training loss and accuracy are"
                " taken while the weights change, with dropout and augmentation where there are any.",
            ),
            _picture(
                f"confusion-{name}",
                figures.confusion(variant.confusion),
                f"Confusion of {name}: {_commonest(variant.confusion)}.",
                f"{name}: counts, summed over {len(variant.accuracies)} seeds; only mistakes are shaded.",
            ),
        ]
        if len(variant.mistakes["number"]):
            found.append(
                _picture(
                    f"mistakes-{name}",
                    figures.mistakes(variant.mistakes, len(variant.accuracies)),
                    f"{len(variant.mistakes['number'])} test images that {name} misreads with the most confidence.",
                    f"{name}: below each, the probability given to wrong answers (mean over all seeds) and how many"
                    " seeds misread it.",
                )
            )
    return {picture.name: picture for picture in found}


def _picture(name: str, figure: Figure, alt: str, caption: str) -> Picture:
    return Picture(name, figures.svg(figure, name), alt, caption)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}".replace("-", "−")


def points(difference: float) -> str:
    """Percentage points with their sign; what rounds to nothing has none."""
    return f"{100 * difference:+.2f}".replace("+0.00", "0.00").replace("-0.00", "0.00").replace("-", "−")


def whole(count: int) -> str:
    return f"{count:,}"


def span(interval: comparison.Interval) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}" if interval else "–"


def points_span(interval: comparison.Interval) -> str:
    return f"{points(interval[0])} to {points(interval[1])}" if interval else "–"


def p_value(value: float) -> str:
    """Two significant digits."""
    return "< 0.0001" if value < 0.0001 else f"{value:#.2g}"


def _variant(folder: Path, name: str, place: int) -> Variant:
    found = predictions.read(folder / "predictions.npz")
    record, seeds = files.read_json(folder / "variant.json"), files.read_json(folder / "seeds.json")
    with (folder / "curves.csv").open(newline="") as stream:
        curves = list(csv.DictReader(stream))
    with np.load(folder / "mistakes.npz", allow_pickle=False) as content:
        mistakes = dict(content)
    accuracies = {int(seed): values["test_accuracy"] for seed, values in seeds.items()}
    return Variant(
        name=name,
        colour=figures.colour(place),
        parameters=record["parameters"],
        accuracies=accuracies,
        metrics=files.read_json(folder / "metrics.json"),
        interval=comparison.mean_interval(np.array(list(accuracies.values()))),
        deviation=comparison.training_deviation(found),
        curves=curves,
        confusion=predictions.confusion(found.labels, found.predicted),
        mistakes=mistakes,
        layers=record["layers"],
        settings=_flat({**record["identity"]["definition"], "training": record["identity"]["training"]}),
        record=record,
    )


def _of_this_study(study: params.Study, variants: Sequence[Variant], folder: Path) -> None:
    """DVC sees a variant's own block; that of another one, which a width is matched to, may have changed since."""
    problems, data = [], {(variant.record["identity"]["data"], variant.record["test_data"]) for variant in variants}
    for variant in variants:
        asked = provenance.recipe(study, variant.name)
        if {key: variant.record["identity"][key] for key in asked} != asked:
            problems.append(
                f"{folder / variant.name}: made from other settings than those of params.yaml;"
                f" remedy: dvc repro --force --single-item train@{variant.name}, then dvc repro"
            )
    if len(data) > 1:
        problems.append(f"{folder}: its variants were not all made from the same data; remedy: dvc repro")
    if problems:
        raise UserError(*problems)


def _told(answers: Sequence[Answer]) -> str:
    """How many statements got which answer."""
    counts = Counter(answer.verdict for answer in answers)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("confirmed", "refuted", "undecided"))


def _cell(text: str) -> str:
    """Text in a Markdown table, where a bar would end the cell and a tag would be one."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _significant(pairs: Sequence[comparison.Pair]) -> str:
    return f"{sum(pair.p < comparison.LEVEL for pair in pairs)} of {len(pairs)}"


def _point(variant: Variant) -> dict[str, Any]:
    shown = {key: getattr(variant, key) for key in ("name", "colour", "mean", "interval")}
    return {**shown, "accuracies": list(variant.accuracies.values())}


def _rates(variant: Variant) -> dict[str, float]:
    """Means over seeds of the last epoch's measures, where there are any."""
    last = max(int(row["epoch"]) for row in variant.curves)
    rows = [row for row in variant.curves if int(row["epoch"]) == last]
    return {key: float(np.mean([float(row[key]) for row in rows])) for key in MEASURES if rows[0][key]}


def _commonest(confusion: np.ndarray) -> str:
    wrong = confusion * (1 - np.eye(len(confusion), dtype=int))
    if not wrong.any():
        return "no image is misread"
    label, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    return f"the commonest mistake is a {label} read as a {predicted}, {wrong.max()} times"


def _mean_curves(report: Report) -> str:
    """What `dvc plots show` draws: a row per variant and epoch, means over seeds."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ("variant", "epoch", *MEASURES), lineterminator="\n")
    writer.writeheader()
    for variant in report.variants:
        for epoch in dict.fromkeys(row["epoch"] for row in variant.curves):
            rows = [row for row in variant.curves if row["epoch"] == epoch]
            means = {key: np.mean([float(row[key]) for row in rows]) for key in MEASURES if rows[0][key]}
            writer.writerow({"variant": variant.name, "epoch": epoch, **means})
    return table.getvalue()


def _flat(settings: dict[str, Any]) -> dict[str, str]:
    return {
        f"{block}.{key}": ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
        for block, values in settings.items()
        for key, value in values.items()
    }


def _setting_keys(report: Report) -> list[str]:
    return list(dict.fromkeys(key for variant in report.variants for key in variant.settings))
