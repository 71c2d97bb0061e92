"""What a study found, as plain records read from the outputs: every number of the report, and nothing of its layout."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenetlab import (
    UserError,
    calibration,
    comparison,
    curves,
    files,
    mistakes,
    params,
    predictions,
    provenance,
    reading,
    wording,
)
from lenetlab.answers import Answer
from lenetlab.calibration import Calibration
from lenetlab.curves import Curve

HARDEST = 24  # images that most networks misread, as many as fit a page
EACH_WAY = 8  # images on which two variants disagree, in favour of one of them
FAR_BELOW = 0.05  # of accuracy: what lies further below the best is not drawn to scale in the figure of sensitivity
COSTS = ("seconds_per_epoch", "process_memory_bytes", "device_memory_bytes", "latency_seconds", "images_per_second")
# What is read of files: keys as `reading.record` takes them.
VARIANT = (
    *("variant", "parameters", "fingerprints", "test_data", "diverged/*/epoch", "diverged/*/step"),
    *(f"identity/{key}" for key in ("definition", "training", "data", "code", "torch", "device", "numerics")),
    *(f"layers/*/{key}" for key in ("name", "kind", "output", "arithmetic", "parameters", "multiply_accumulates")),
)
METRICS = ("parameters", "test_accuracy", "test_accuracy_sd", "test_loss")
CONDITIONS = ("device", "training_images", "side_by_side", "batch", "rounds")
ORIGIN = ("commit", "dirty", "python", "numpy", "lenetlab")
SENSITIVITY = (
    *("variant", "recipe", "data", "training_images", "validation_images", "device"),
    *(f"points/*/{key}" for key in ("setting", "value", "parameters", "validation_accuracy", "training_accuracy")),
)
REGULARISERS = {  # key of `regularization` -> in words, and the value that means none
    "batch_norm": ("batch normalisation", False),
    "dropout": ("dropout", 0.0),
    "weight_decay": ("weight decay", 0.0),
    "label_smoothing": ("label smoothing", 0.0),
    "augmentation": ("augmentation", "none"),
}


@dataclass(frozen=True)
class Sources:
    """Where what the report tells is read from; see docs/design.md."""

    evaluations: Path
    journals: Path
    costs: Path  # costs.json
    sensitivity: Path  # sensitivity.json


@dataclass(frozen=True)
class Measured:
    """A figure of every round, and what they say together."""

    mean: float
    interval: comparison.Interval  # 95 %, of the mean over rounds


@dataclass(frozen=True)
class Digit:
    """A test image and what is told of it."""

    number: int  # of its file
    label: int
    pixels: np.ndarray  # (28, 28)


@dataclass(frozen=True)
class Mistake(Digit):
    predicted: int  # the commonest wrong answer
    confidence: float  # given to wrong answers, mean over all seeds
    votes: int  # seeds that misread it


@dataclass(frozen=True)
class HardDigit(Digit):
    predicted: int
    misread: int  # networks of all variants
    networks: int


@dataclass(frozen=True)
class DisputedDigit(Digit):
    candidate: int  # seeds that read it correctly
    baseline: int


@dataclass(frozen=True)
class Dispute:
    """Where the two sides of a comparison disagree."""

    candidate: str
    baseline: str
    seeds: tuple[int, int]
    for_candidate: list[DisputedDigit]
    for_baseline: list[DisputedDigit]


@dataclass(frozen=True)
class Variant:
    """What the study found of one variant; accuracies are fractions."""

    name: str
    place: int  # in the study, from 0
    parameters: int
    multiply_accumulates: int  # to read one image
    seeds: list[int]  # all that were trained
    accuracies: dict[int, float]  # test, last epoch, by seed, of those that finished
    metrics: dict[str, Any]  # metrics.json
    interval: comparison.Interval  # 95 %, of the mean over seeds
    deviation: float | None  # between trainings, freed of what few test images add
    curves: dict[str, Curve]  # by measure; none if no seed finished
    confusion: np.ndarray  # (10, 10), summed over seeds
    commonest: tuple[int, int, int] | None  # of the mistakes: label, answer, how often
    mistakes: list[Mistake]
    calibration: Calibration | None
    cost: dict[str, Measured | None]  # by measure of COSTS
    layers: list[dict[str, Any]]
    settings: dict[str, str]  # flat: input.size, model.name, …
    record: dict[str, Any]  # variant.json

    @property
    def mean(self) -> float | None:
        """Of the seeds that finished; None if none did."""
        return self.metrics["test_accuracy"]

    @property
    def diverged(self) -> str:
        """How many seeds, and in which epoch; nothing if all finished."""
        lost = self.record["diverged"]
        return wording.divergence(lost, len(self.seeds)) if lost else ""

    @property
    def sd(self) -> float | None:
        """Over seeds; None with one."""
        return self.metrics["test_accuracy_sd"]

    @property
    def final(self) -> dict[str, float]:
        """Means over seeds after the last epoch, by measure."""
        return {measure: curve.mean[-1] for measure, curve in self.curves.items()}


@dataclass(frozen=True)
class Effect:
    """What regularisers do to a network that is otherwise the same."""

    variant: str
    plain: str
    added: list[str]  # in words
    mean: float | None
    difference: float | None
    interval_seeds: comparison.Interval
    interval: comparison.Interval  # 95 %, over seeds and images
    verdict: str | None  # of the declared comparison of the two, if there is one
    diverged: list[str]  # of the two, those of which a seed diverged


@dataclass(frozen=True)
class SettingPoint:
    position: float  # on the axis
    text: str  # of the value
    parameters: int
    mean: float | None  # validation accuracy, of the seeds that finished; None if none did
    interval: comparison.Interval  # 95 %, of the mean over seeds
    gap: float | None  # mean accuracy on the training images less that
    diverged: int  # seeds


@dataclass(frozen=True)
class Sensitivity:
    """How the result of one variant changes with its settings."""

    variant: str
    current: bool  # whether it was measured with the present data and settings of the variant
    seeds: int
    validation_images: int
    device: str
    centre: SettingPoint  # nothing changed
    floor: float  # what lies below is not drawn to scale
    settings: dict[str, list[SettingPoint]]


@dataclass(frozen=True)
class Compute:
    """What all trainings of the study took."""

    trainings: int
    epochs: int
    seconds: float  # of one processor
    devices: list[str]


@dataclass(frozen=True)
class Report:
    variants: list[Variant]
    outcomes: list[comparison.Outcome]
    effects: list[Effect]
    answers: list[Answer]
    hardest: list[HardDigit]
    disputes: list[Dispute]
    fronts: dict[str, list[str]]  # by cost: the variants that no other beats in accuracy and cost, cheapest first
    conditions: dict[str, Any]  # under which costs were measured
    undisturbed: float  # the least share of its time in which a measured process had a processor
    sensitivity: Sensitivity | None
    compute: Compute
    margin: float  # of equivalence
    test_images: int
    origin: dict[str, Any]  # commit, versions


def collect(
    study: params.Study,
    sources: Sources,
    outcomes: Sequence[comparison.Outcome],
    answers: Sequence[Answer],
    origin: dict[str, Any],
) -> Report:
    """Read what lies on disk of the study's variants; of others that lie there nothing counts.

    UserError if an evaluation was made from other settings or other data than the study's.
    """
    measured, folder = costs(sources.costs, study.study), sources.evaluations
    answered = {name: predictions.read(folder / name / "predictions.npz") for name in study.study}
    images: dict[int, Digit] = {}
    variants = [
        _variant(folder / name, place, answered[name], measured["variants"][name], images)
        for place, name in enumerate(study.study)
    ]
    _of_this_study(study, variants, folder)
    return Report(
        variants=variants,
        outcomes=list(outcomes),
        effects=_effects(study, answered, outcomes, variants),
        answers=list(answers),
        hardest=[
            HardDigit(**vars(images[one.place]), predicted=one.read_as, misread=one.misread, networks=one.networks)
            for one in mistakes.hardest(answered, HARDEST)
        ],
        disputes=[_dispute(outcome, answered, images) for outcome in outcomes],
        fronts={measure: _front(variants, measure) for measure in ("seconds_per_epoch", "multiply_accumulates")},
        conditions=measured["conditions"],
        undisturbed=min(min(measured["variants"][name]["on_processor"]) for name in study.study),
        sensitivity=_sensitivity(study, sources.sensitivity, variants[0].record["identity"]["data"]),
        compute=_compute(study, sources.journals),
        margin=study.equivalence_margin,
        test_images=len(answered[study.study[0]].labels),
        origin=origin,
    )


def diverged(evaluations: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """Of each variant the seeds that did not finish."""
    return {name: [int(seed) for seed in _definition(evaluations / name)["diverged"]] for name in names}


def costs(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """costs.json, with these variants."""
    measures = [f"variants/{name}/{measure}" for name in names for measure in (*COSTS, "on_processor")]
    return reading.record(path, "cost", *(f"conditions/{key}" for key in CONDITIONS), *measures)


def cost_of(variant: Variant, measure: str) -> Measured | None:
    """A measured cost, or one that follows from the definition and has no interval."""
    if measure in COSTS:
        return variant.cost[measure]
    return Measured(getattr(variant, measure), None)


def write(report: Report, folder: Path) -> None:
    """What other programs read: comparison.json, claims.json, origin.json, curves.csv, metrics/V.json."""
    files.write_json(folder / "comparison.json", [asdict(outcome) for outcome in report.outcomes])
    files.write_json(folder / "claims.json", [asdict(answer) for answer in report.answers])
    files.write_json(folder / "origin.json", report.origin)
    files.write_text(folder / "curves.csv", _mean_curves(report.variants))
    for variant in report.variants:
        files.write_json(folder / "metrics" / f"{variant.name}.json", variant.metrics)


def read(folder: Path) -> tuple[list[comparison.Outcome], list[Answer], dict[str, Any]]:
    """Outcomes, answers and origin, as `write` left them there. UserError if that cannot be read."""
    with reading.named(folder / "comparison.json", "compare"):
        outcomes = reading.entries(folder / "comparison.json", "compare", "mcnemar")
        for one in outcomes:
            one["mcnemar"] = [comparison.Pair(**pair) for pair in one["mcnemar"]]
            one.update({key: tuple(one[key]) for key in one if "interval" in key and one[key]})  # JSON has lists
        outcomes = [comparison.Outcome(**one) for one in outcomes]
    with reading.named(folder / "claims.json", "compare"):
        answers = [Answer(**one) for one in reading.entries(folder / "claims.json", "compare")]
    return outcomes, answers, reading.record(folder / "origin.json", "compare", *ORIGIN)


def _definition(folder: Path) -> dict[str, Any]:
    return reading.record(folder / "variant.json", f"evaluate@{folder.name}", *VARIANT)


def _variant(
    folder: Path, place: int, found: predictions.Predictions, cost: Mapping[str, Any], images: dict[int, Digit]
) -> Variant:
    """The record of a variant; the images that it misreads are added to `images`, by place in the test index."""
    record, stage = _definition(folder), f"evaluate@{folder.name}"
    tested = reading.record(folder / "seeds.json", stage, "*/test_accuracy")
    drawn = curves.tested(folder / "curves.csv", stage)
    columns = mistakes.read(folder / "mistakes.npz", stage)
    misread = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for one in misread:
        images.setdefault(int(one["place"]), Digit(int(one["number"]), int(one["label"]), one["pixels"]))
    with reading.named(folder, stage):
        accuracies = {int(seed): float(values["test_accuracy"]) for seed, values in tested.items()}
        finished = [int(seed) for seed in record["fingerprints"] if seed not in record["diverged"]]
        seeds_of = [accuracies, found.seeds.tolist(), *(curve.seeds for curve in drawn.values())]
        if any(sorted(seeds) != sorted(finished) for seeds in seeds_of):
            raise ValueError("its files do not tell of the same seeds")
    confusion = predictions.confusion(found.labels, found.predicted)
    return Variant(
        name=record["variant"],
        place=place,
        parameters=record["parameters"],
        multiply_accumulates=sum(layer["multiply_accumulates"] for layer in record["layers"]),
        seeds=[int(seed) for seed in record["fingerprints"]],
        accuracies=accuracies,
        metrics=reading.record(folder / "metrics.json", stage, *METRICS),
        interval=comparison.mean_interval(np.array(list(accuracies.values()))),
        deviation=comparison.training_deviation(found),
        curves=drawn,
        confusion=confusion,
        commonest=_commonest(confusion),
        mistakes=[
            Mistake(
                **vars(images[int(one["place"])]),
                predicted=int(one["predicted"]),
                confidence=float(one["confidence"]),
                votes=int(one["votes"]),
            )
            for one in misread[: mistakes.SHOWN]
        ],
        calibration=calibration.calibration(found),
        cost={measure: _over_rounds(cost[measure]) for measure in COSTS},
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


def _commonest(confusion: np.ndarray) -> tuple[int, int, int] | None:
    wrong = confusion * (1 - np.eye(len(confusion), dtype=int))
    if not wrong.any():
        return None
    label, answer = np.unravel_index(wrong.argmax(), wrong.shape)
    return int(label), int(answer), int(wrong.max())


def _effects(
    study: params.Study,
    answered: Mapping[str, predictions.Predictions],
    outcomes: Sequence[comparison.Outcome],
    variants: Sequence[Variant],
) -> list[Effect]:
    """For every regularised variant whose plain counterpart, alike in all else, is in the study too."""
    verdicts = {(outcome.candidate, outcome.baseline): outcome.verdict for outcome in outcomes}
    definitions = {name: study.variants[name] for name in study.study}
    plain = {_otherwise(study, name): name for name, one in definitions.items() if not _added(one.regularization)}
    found, lost = [], {variant.name for variant in variants if variant.diverged}
    for name, definition in definitions.items():
        added, base = _added(definition.regularization), plain.get(_otherwise(study, name))
        if added and base:
            sides = answered[name], answered[base]
            found.append(
                Effect(
                    variant=name,
                    plain=base,
                    added=added,
                    mean=float(sides[0].accuracy.mean()) if len(sides[0].seeds) else None,
                    difference=comparison.difference(*sides),
                    interval_seeds=comparison.welch(*sides)[0],
                    interval=comparison.seeds_and_images(*sides),
                    verdict=verdicts.get((name, base)),
                    diverged=[side for side in (name, base) if side in lost],
                )
            )
    return sorted(found, key=lambda effect: study.study.index(effect.plain))


def _otherwise(study: params.Study, name: str) -> str:
    """All of a variant but its regularisation, to be compared."""
    one = study.variants[name]
    rest = {"input": one.input, "model": one.model, "training": study.training_of(name)}
    return json.dumps({key: value.model_dump(mode="json") for key, value in rest.items()}, sort_keys=True)


def _added(rules: params.Regularization) -> list[str]:
    """The regularisers that are on, with their strength."""
    found = []
    for key, (word, none) in REGULARISERS.items():
        value = getattr(rules, key)
        rates = value if isinstance(value, tuple) else (value,)
        if any(rate != none for rate in rates):
            found.append(word if value is True else f"{word} {'/'.join(map(str, rates))}")
    return found


def _dispute(
    outcome: comparison.Outcome, answered: Mapping[str, predictions.Predictions], images: Mapping[int, Digit]
) -> Dispute:
    sides = answered[outcome.candidate], answered[outcome.baseline]
    told = [
        [DisputedDigit(**vars(images[one.place]), candidate=one.candidate, baseline=one.baseline) for one in way]
        for way in mistakes.disagreements(*sides, EACH_WAY)
    ]
    return Dispute(outcome.candidate, outcome.baseline, tuple(len(side.seeds) for side in sides), *told)


def _front(variants: Sequence[Variant], measure: str) -> list[str]:
    """The variants that no other one equals or beats in both accuracy and cost, of those of which no seed diverged."""
    variants = [variant for variant in variants if not variant.diverged]
    price = {variant.name: cost_of(variant, measure).mean for variant in variants}
    best, front = -1.0, []
    for variant in sorted(variants, key=lambda variant: (price[variant.name], -variant.mean)):
        if variant.mean > best:
            best = variant.mean
            front.append(variant.name)
    return front


def _over_rounds(figures: Sequence[float | None]) -> Measured | None:
    if None in figures:
        return None
    return Measured(float(np.mean(figures)), comparison.mean_interval(np.array(figures, dtype=float)))


def _sensitivity(study: params.Study, path: Path, data: str) -> Sensitivity | None:
    """What was measured with `make sensitivity`; None if that was never done."""
    if not reading.record(path, "make sensitivity"):
        return None
    found = reading.record(path, "make sensitivity", *SENSITIVITY)
    name = found["variant"]
    known = name in study.variants and provenance.recipe(study, name) == found["recipe"]
    centre, *points = [_setting_point(one, found["training_images"]) for one in found["points"]]
    settings: dict[str, list[SettingPoint]] = {}
    for one, point in zip(found["points"][1:], points, strict=True):
        settings.setdefault(one["setting"], []).append(point)
    return Sensitivity(
        variant=name,
        current=known and found["data"] == data,
        seeds=len(found["points"][0]["validation_accuracy"]),
        validation_images=found["validation_images"],
        device=found["device"],
        centre=centre,
        floor=max((one.mean for one in (centre, *points) if one.mean is not None), default=0.0) - FAR_BELOW,
        settings=settings,
    )


def _setting_point(one: Mapping[str, Any], most: int) -> SettingPoint:
    """A row of sensitivity.json, in which a seed that diverged has no accuracy."""
    value, everything = one["value"], one["setting"] == "images" and one["value"] in (0, most)
    unseen, learnt = (
        [accuracy for accuracy in one[key].values() if accuracy is not None]
        for key in ("validation_accuracy", "training_accuracy")
    )
    measured = _over_rounds(unseen) if unseen else None
    return SettingPoint(
        position=most if everything else value,
        text=f"all {most:,}" if everything else f"{value:,}" if value is not None else "",
        parameters=one["parameters"],
        mean=measured and measured.mean,
        interval=measured and measured.interval,
        gap=measured and float(np.mean(learnt)) - measured.mean,
        diverged=len(one["validation_accuracy"]) - len(unseen),
    )


def _compute(study: params.Study, folder: Path) -> Compute:
    """From the journals: seconds of an epoch are there divided by how many seeds shared the processor."""
    trainings, epochs, seconds, devices = 0, 0, 0.0, {}
    for name in study.study:
        for seed in study.seeds:
            trainings += 1
            path, stage = folder / name / f"seed-{seed}.jsonl", f"train@{name}"
            events = reading.events(path, stage)
            with reading.named(path, stage):
                devices |= {event["provenance"]["device"]: None for event in events if event["event"] == "start"}
                spent = [float(event["seconds"]) for event in events if event["event"] == "epoch"]
            epochs, seconds = epochs + len(spent), seconds + sum(spent)
    return Compute(trainings, epochs, seconds, list(devices))


def _mean_curves(variants: Sequence[Variant]) -> str:
    """What `dvc plots show` draws: a row per variant and epoch, means over seeds."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ("variant", "epoch", *curves.MEASURES), lineterminator="\n")
    writer.writeheader()
    for variant in variants:
        epochs = variant.curves["test_loss"].epochs if variant.curves else []  # if no seed finished
        for at, epoch in enumerate(epochs):
            means = {measure: curve.mean[at] for measure, curve in variant.curves.items()}
            writer.writerow({"variant": variant.name, "epoch": epoch, **means})
    return table.getvalue()


def _flat(settings: dict[str, Any]) -> dict[str, str]:
    return {
        f"{block}.{key}": ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
        for block, values in settings.items()
        for key, value in values.items()
    }
