"""What a study found, as plain records read from the outputs: every number of the report, and nothing of its layout."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lenetlab.errors import UserError
from lenetlab.evaluation import curves, mistakes, predictions
from lenetlab.report import model, results
from lenetlab.settings import schema
from lenetlab.statistics import calibration, comparison, difference, intervals, significance
from lenetlab.statistics.claims.answers import Answer
from lenetlab.storage import paths, provenance, stage_outputs

HARDEST = 24  # images that most networks misread, as many as fit a page

EACH_WAY = 8  # images on which two variants disagree, in favour of one of them

FAR_BELOW = 0.05  # of accuracy: what lies further below the best is not drawn to scale in the figure of sensitivity

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


def collect(
    study: schema.Study,
    sources: results.Sources,
    outcomes: Sequence[comparison.Outcome],
    answers: Sequence[Answer],
    origin: dict[str, Any],
) -> model.Report:
    """Read what lies on disk of the study's variants; of others that lie there nothing counts.

    UserError if an evaluation was made from other settings or other data than the study's.
    """
    measured, folder = results.read_costs(sources.costs, study.study), sources.evaluations
    answered = results.read_predictions(folder, study.study)
    images: dict[int, model.Digit] = {}
    variants = [
        _variant(folder / name, place, answered[name], measured["variants"][name], images)
        for place, name in enumerate(study.study)
    ]
    _require_same_study(study, variants, folder)
    return model.Report(
        variants=variants,
        outcomes=list(outcomes),
        effects=_effects(study, answered, outcomes, variants),
        answers=list(answers),
        hardest=[
            model.HardDigit(
                **vars(images[one.place]), predicted=one.read_as, misread=one.misread, networks=one.networks
            )
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


def _variant(
    folder: Path, place: int, found: predictions.Predictions, cost: Mapping[str, Any], images: dict[int, model.Digit]
) -> model.VariantSummary:
    """The record of a variant; the images that it misreads are added to `images`, by place in the test index."""
    record, stage = results.variant_record(folder), f"evaluate@{folder.name}"
    tested = stage_outputs.json_object(folder / paths.SEEDS, stage, "*/test_accuracy")
    drawn = curves.read_evaluation(folder / paths.CURVES, stage)
    columns = mistakes.read(folder / paths.MISTAKES, stage)
    misread = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for one in misread:
        images.setdefault(int(one["place"]), model.Digit(int(one["number"]), int(one["label"]), one["pixels"]))
    with stage_outputs.reading(folder, stage):
        accuracies = {int(seed): float(values["test_accuracy"]) for seed, values in tested.items()}
        finished = [int(seed) for seed in record["fingerprints"] if seed not in record["diverged"]]
        seeds_of = [accuracies, found.seeds.tolist(), *(curve.seeds for curve in drawn.values())]
        if any(sorted(seeds) != sorted(finished) for seeds in seeds_of):
            raise ValueError("its files do not tell of the same seeds")
    confusion = predictions.confusion(found.labels, found.predicted)
    return model.VariantSummary(
        name=record["variant"],
        place=place,
        parameters=record["parameters"],
        multiply_accumulates=sum(layer["multiply_accumulates"] for layer in record["layers"]),
        seeds=[int(seed) for seed in record["fingerprints"]],
        accuracies=accuracies,
        metrics=stage_outputs.json_object(folder / paths.METRICS, stage, *results.METRICS),
        interval=intervals.mean_interval(np.array(list(accuracies.values()))),
        deviation=difference.training_deviation(found),
        curves=drawn,
        confusion=confusion,
        commonest=_commonest(confusion),
        mistakes=[
            model.Mistake(
                **vars(images[int(one["place"])]),
                predicted=int(one["predicted"]),
                confidence=float(one["confidence"]),
                votes=int(one["votes"]),
            )
            for one in misread[: mistakes.SHOWN]
        ],
        calibration=calibration.calibration(found),
        cost={measure: _over_rounds(cost[measure]) for measure in model.COSTS},
        layers=record["layers"],
        settings=_flat({**record["identity"]["definition"], "training": record["identity"]["training"]}),
        record=record,
    )


def _require_same_study(study: schema.Study, variants: Sequence[model.VariantSummary], folder: Path) -> None:
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
    study: schema.Study,
    answered: Mapping[str, predictions.Predictions],
    outcomes: Sequence[comparison.Outcome],
    variants: Sequence[model.VariantSummary],
) -> list[model.Effect]:
    """For every regularised variant whose plain counterpart, alike in all else, is in the study too."""
    verdicts = {(outcome.candidate, outcome.baseline): outcome.verdict for outcome in outcomes}
    definitions = {name: study.variants[name] for name in study.study}
    plain = {
        _all_but_regularization(study, name): name
        for name, one in definitions.items()
        if not _added(one.regularization)
    }
    found, lost = [], {variant.name for variant in variants if variant.diverged}
    for name, definition in definitions.items():
        added, base = _added(definition.regularization), plain.get(_all_but_regularization(study, name))
        if added and base:
            sides = answered[name], answered[base]
            found.append(
                model.Effect(
                    variant=name,
                    plain=base,
                    added=added,
                    mean=float(sides[0].accuracy.mean()) if len(sides[0].seeds) else None,
                    difference=difference.mean_difference(*sides),
                    interval_seeds=significance.welch(*sides)[0],
                    interval=difference.interval_seeds_and_images(*sides),
                    verdict=verdicts.get((name, base)),
                    diverged=[side for side in (name, base) if side in lost],
                )
            )
    return sorted(found, key=lambda effect: study.study.index(effect.plain))


def _all_but_regularization(study: schema.Study, name: str) -> str:
    """All of a variant but its regularisation, to be compared."""
    one = study.variants[name]
    rest = {"input": one.input, "model": one.model, "training": study.training_of(name)}
    return json.dumps({key: value.model_dump(mode="json") for key, value in rest.items()}, sort_keys=True)


def _added(rules: schema.Regularization) -> list[str]:
    """The regularisers that are on, with their strength."""
    found = []
    for key, (word, none) in REGULARISERS.items():
        value = getattr(rules, key)
        rates = value if isinstance(value, tuple) else (value,)
        if any(rate != none for rate in rates):
            found.append(word if value is True else f"{word} {'/'.join(map(str, rates))}")
    return found


def _dispute(
    outcome: comparison.Outcome, answered: Mapping[str, predictions.Predictions], images: Mapping[int, model.Digit]
) -> model.Dispute:
    sides = answered[outcome.candidate], answered[outcome.baseline]
    told = [
        [model.DisputedDigit(**vars(images[one.place]), candidate=one.candidate, baseline=one.baseline) for one in way]
        for way in mistakes.disagreements(*sides, EACH_WAY)
    ]
    return model.Dispute(outcome.candidate, outcome.baseline, tuple(len(side.seeds) for side in sides), *told)


def _front(variants: Sequence[model.VariantSummary], measure: str) -> list[str]:
    """The variants that no other one equals or beats in both accuracy and cost, of those of which no seed diverged."""
    variants = [variant for variant in variants if not variant.diverged]
    price = {variant.name: model.cost_of(variant, measure).mean for variant in variants}
    best, front = -1.0, []
    for variant in sorted(variants, key=lambda variant: (price[variant.name], -variant.mean)):
        if variant.mean > best:
            best = variant.mean
            front.append(variant.name)
    return front


def _over_rounds(figures: Sequence[float | None]) -> model.Measured | None:
    if None in figures:
        return None
    return model.Measured(float(np.mean(figures)), intervals.mean_interval(np.array(figures, dtype=float)))


def _sensitivity(study: schema.Study, path: Path, data: str) -> model.SensitivityResults | None:
    """What was measured with `make sensitivity`; None if that was never done."""
    if not stage_outputs.json_object(path, "make sensitivity"):
        return None
    found = stage_outputs.json_object(path, "make sensitivity", *SENSITIVITY)
    name = found["variant"]
    known = name in study.variants and provenance.recipe(study, name) == found["recipe"]
    centre, *points = [_setting_point(one, found["training_images"]) for one in found["points"]]
    settings: dict[str, list[model.SettingPoint]] = {}
    for one, point in zip(found["points"][1:], points, strict=True):
        settings.setdefault(one["setting"], []).append(point)
    return model.SensitivityResults(
        variant=name,
        current=known and found["data"] == data,
        seeds=len(found["points"][0]["validation_accuracy"]),
        validation_images=found["validation_images"],
        device=found["device"],
        centre=centre,
        floor=max((one.mean for one in (centre, *points) if one.mean is not None), default=0.0) - FAR_BELOW,
        settings=settings,
    )


def _setting_point(one: Mapping[str, Any], most: int) -> model.SettingPoint:
    """A row of sensitivity.json, in which a seed that diverged has no accuracy."""
    value, everything = one["value"], one["setting"] == "images" and one["value"] in (0, most)
    unseen, learnt = (
        [accuracy for accuracy in one[key].values() if accuracy is not None]
        for key in ("validation_accuracy", "training_accuracy")
    )
    measured = _over_rounds(unseen) if unseen else None
    return model.SettingPoint(
        position=most if everything else value,
        text=f"all {most:,}" if everything else f"{value:,}" if value is not None else "",
        parameters=one["parameters"],
        mean=measured and measured.mean,
        interval=measured and measured.interval,
        gap=measured and float(np.mean(learnt)) - measured.mean,
        diverged=len(one["validation_accuracy"]) - len(unseen),
    )


def _compute(study: schema.Study, folder: Path) -> model.Compute:
    """From the journals: seconds of an epoch are there divided by how many seeds shared the processor."""
    trainings, epochs, seconds, devices = 0, 0, 0.0, {}
    for name in study.study:
        for seed in study.seeds:
            trainings += 1
            path, stage = folder / name / f"{paths.seed_name(seed)}.jsonl", f"train@{name}"
            events = stage_outputs.journal(path, stage)
            with stage_outputs.reading(path, stage):
                devices |= {event["provenance"]["device"]: None for event in events if event["event"] == "start"}
                spent = [float(event["seconds"]) for event in events if event["event"] == "epoch"]
            epochs, seconds = epochs + len(spent), seconds + sum(spent)
    return model.Compute(trainings, epochs, seconds, list(devices))


def _flat(settings: dict[str, Any]) -> dict[str, str]:
    return {
        f"{block}.{key}": ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
        for block, values in settings.items()
        for key, value in values.items()
    }
