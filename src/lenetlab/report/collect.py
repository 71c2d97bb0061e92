"""Collect the contents of the report from the outputs of earlier stages."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lenetlab.errors import UserError
from lenetlab.evaluation import by_class, curves, mistakes
from lenetlab.evaluation.predictions import Predictions, confusion
from lenetlab.report import inputs, model
from lenetlab.settings import messages, schema, study_schema
from lenetlab.statistics import difference, intervals, measures
from lenetlab.statistics.calibration import calibration
from lenetlab.statistics.claims.answers import Answer
from lenetlab.statistics.comparison import Outcome
from lenetlab.storage import code, paths, provenance, stage_outputs

HARDEST_IMAGES = 24  # as many as fit on a printed page
DISAGREEMENTS = 8  # for each variant of a comparison; one row

PARETO_COSTS = ("seconds_per_epoch", "multiply_accumulates")

FAR_BELOW = 0.05  # accuracies that are this much below the best one are not drawn to scale (figure of sensitivity)

SENSITIVITY_KEYS = (
    *("variant", "recipe", "data", "training_images", "validation_images", "device"),
    *(f"points/*/{key}" for key in ("setting", "value", "parameters", "validation_accuracy", "training_accuracy")),
)

REGULARIZERS: dict[str, tuple[str, object]] = {  # key of `regularization`: name, and the value that switches it off
    "batch_norm": ("batch normalisation", False),
    "dropout": ("dropout", 0.0),
    "weight_decay": ("weight decay", 0.0),
    "label_smoothing": ("label smoothing", 0.0),
    "augmentation": ("augmentation", "none"),
}


def collect(
    study: study_schema.Study,
    sources: inputs.InputPaths,
    outcomes: Sequence[Outcome],
    answers: Sequence[Answer],
    origin: dict[str, Any],
) -> model.Report:
    """Read the outputs of the study's variants; ignore those of other variants.

    UserError if a file is missing or damaged, or if evaluations do not belong together: other settings, data or code.
    """
    names, evaluations = study.study, sources.evaluations
    costs = inputs.read_costs(sources.costs, names)
    predictions = inputs.read_predictions(evaluations, names, len(study.data.classes))
    misread = {name: mistakes.read(evaluations / name / paths.MISTAKES, f"evaluate@{name}") for name in names}
    images = _misread_images(misread.values())
    variants = [
        _variant_summary(study, evaluations / name, index, predictions[name], misread[name], costs["variants"][name])
        for index, name in enumerate(names)
    ]
    _check_same_conditions(study, variants, evaluations, origin.get("torch"))
    return model.Report(
        variants=variants,
        outcomes=list(outcomes),
        effects=_regularization_effects(study, predictions, outcomes, variants),
        answers=list(answers),
        data=model.DataSummary(study.data.name, study.data.size, study.data.channels, study.data.classes),
        by_class=by_class.accuracies(predictions, len(study.data.classes)),
        hardest=_hardest_images(predictions, images),
        disagreements=[
            _pair_disagreements(*pair, predictions, images)
            for pair in dict.fromkeys((outcome.candidate, outcome.baseline) for outcome in outcomes)
        ],
        pareto_fronts={measure: _pareto_front(variants, measure) for measure in PARETO_COSTS},
        cost_conditions=costs["conditions"],
        processor_share=min(min(costs["variants"][name]["on_processor"]) for name in names),
        sensitivity=_sensitivity_results(study, sources.sensitivity, variants[0].record["identity"]["data"]),
        compute=_compute_totals(study, sources.journals),
        settle_seconds=_settle_seconds(study, outcomes, variants),
        margin=study.equivalence_margin,
        test_images=len(predictions[names[0]].labels),
        origin=origin,
    )


def _confident_mistakes(misread: mistakes.MisreadImages) -> list[model.ConfidentMistake]:
    """The most confident ones, in this order; mistakes.npz begins with them."""
    columns = misread.number, misread.label, misread.pixels, misread.predicted, misread.confidence, misread.votes
    return [
        model.ConfidentMistake(int(number), int(label), pixels, int(predicted), float(confidence), int(votes))
        for number, label, pixels, predicted, confidence, votes in zip(
            *(column[: mistakes.SHEET_SIZE] for column in columns), strict=True
        )
    ]


def _misread_images(variants: Iterable[mistakes.MisreadImages]) -> dict[int, model.LabelledImage]:
    """The images that any variant misclassifies and has the pixels of, by place in the test index."""
    return {
        int(misread.place[row]): model.LabelledImage(int(misread.number[row]), int(misread.label[row]), pixels)
        for misread in variants
        for row, pixels in zip(misread.pictured, misread.pixels, strict=True)
    }


def _variant_summary(
    study: study_schema.Study,
    evaluation: Path,
    index: int,
    predictions: Predictions,
    misread: mistakes.MisreadImages,
    costs: Mapping[str, Any],
) -> model.VariantSummary:
    record, stage = inputs.read_variant_record(evaluation), f"evaluate@{evaluation.name}"
    tested = stage_outputs.read_json_object(evaluation / paths.SEEDS, stage, "*/test_accuracy")
    curve_of = curves.read(evaluation / paths.CURVES, stage)
    with stage_outputs.reporting_damage(evaluation, stage):
        accuracies = {int(seed): float(values["test_accuracy"]) for seed, values in tested.items()}
        finished = sorted(int(seed) for seed in record["fingerprints"] if seed not in record["diverged"])
        seeds_by_file = [accuracies, predictions.seeds.tolist(), *(curve.seeds for curve in curve_of.values())]
        if any(sorted(seeds) != finished for seeds in seeds_by_file):
            raise ValueError("its files contain different seeds")
        counts = confusion(predictions.labels, predictions.predicted, len(study.data.classes))
    return model.VariantSummary(
        name=record["variant"],
        index=index,
        parameters=record["parameters"],
        multiply_accumulates=sum(layer["multiply_accumulates"] for layer in record["layers"]),
        seeds=[int(seed) for seed in record["fingerprints"]],
        accuracies=accuracies,
        metrics=inputs.read_metrics(evaluation),
        accuracy_interval=intervals.mean_interval(np.array(list(accuracies.values()))),
        training_deviation=difference.training_deviation(predictions),
        curves=curve_of,
        confusion=counts,
        commonest_mistake=_commonest_mistake(counts),
        mistakes=_confident_mistakes(misread),
        calibration=calibration(predictions),
        measured_costs={measure: _estimate(costs[measure]) for measure in model.COST_MEASURES},
        layers=record["layers"],
        settings=_flat({**record["identity"]["definition"], "training": record["identity"]["training"]}),
        record=record,
    )


def _check_same_conditions(
    study: study_schema.Study, variants: Sequence[model.VariantSummary], evaluations: Path, torch_version: str | None
) -> None:
    """UserError unless every evaluation was made with the present settings, and all under the same conditions.

    DVC reruns a variant if its own block in params.yaml changes, but not if that of its `match_parameters` does. The
    remedy keeps what was trained with the present code and `torch_version`.
    """
    problems = []
    for variant in variants:
        recipe = provenance.recipe(study, variant.name)
        if {key: variant.record["identity"].get(key) for key in recipe} != recipe:
            problems.append(
                f"{evaluations / variant.name}: made with other settings than those in params.yaml;"
                f" remedy: {_train_again(variant.name)}"
            )
    if len({(variant.record["identity"]["data"], variant.record["test_data"]) for variant in variants}) > 1:
        problems.append(f"{evaluations}: not all variants were made with the same data; remedy: dvc repro")
    present = {"code": code.code_digest(code.TRAINER), "torch": torch_version}
    for key in ("code", "torch", "device", "numerics"):
        names_by_value: dict[str, list[str]] = {}
        for variant in variants:
            names_by_value.setdefault(variant.record["identity"][key], []).append(variant.name)
        if len(names_by_value) > 1:
            length = 12 if key == "code" else None  # of a digest
            groups = (f"{' and '.join(names)} with {value[:length]}" for value, names in names_by_value.items())
            commonest = max(names_by_value, key=lambda value: len(names_by_value[value]))
            kept = names_by_value.get(present.get(key) or commonest, [])
            others = [variant.name for variant in variants if variant.name not in kept]
            problems.append(
                f"{evaluations}: the variants were trained with different {key}: {', '.join(groups)};"
                f" remedy: {_train_again(*others)}"
            )
    if problems:
        raise UserError(*problems)


def _train_again(*names: str) -> str:
    return f"dvc repro --force --single-item {' '.join(f'train@{name}' for name in names)}, then dvc repro"


def _commonest_mistake(confusion: np.ndarray) -> tuple[int, int, int] | None:
    """Label, prediction and count; None if there are no mistakes."""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=int))
    if not wrong.any():
        return None
    label, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    return int(label), int(predicted), int(wrong.max())


def _regularization_effects(
    study: study_schema.Study,
    predictions: Mapping[str, Predictions],
    outcomes: Sequence[Outcome],
    variants: Sequence[model.VariantSummary],
) -> list[model.RegularizationEffect]:
    """One for each regularised variant whose unregularised version is in the study too."""
    verdicts = {
        (outcome.candidate, outcome.baseline): outcome.verdict
        for outcome in outcomes
        if outcome.measure == "test_accuracy"
    }
    regularizers = {name: _regularizers(study.variants[name].regularization) for name in study.study}
    unregularized = {_other_settings(study, name): name for name in study.study if not regularizers[name]}
    diverged, effects = {variant.name for variant in variants if variant.diverged}, []
    for name in study.study:
        baseline = unregularized.get(_other_settings(study, name))
        if not regularizers[name] or baseline is None:
            continue
        regularized, plain = (measures.sample(predictions[one], "test_accuracy") for one in (name, baseline))
        effects.append(
            model.RegularizationEffect(
                variant=name,
                unregularized=baseline,
                regularizers=regularizers[name],
                mean_accuracy=float(regularized.values.mean()) if regularized.seeds else None,
                difference=difference.mean_difference(regularized, plain),
                interval_seeds=difference.interval_seeds(regularized, plain),
                interval=difference.interval_seeds_and_images(regularized, plain),
                verdict=verdicts.get((name, baseline)),
                diverged=[variant for variant in (name, baseline) if variant in diverged],
            )
        )
    return sorted(effects, key=lambda effect: study.study.index(effect.unregularized))


def _other_settings(study: study_schema.Study, name: str) -> str:
    """All settings of a variant except its regularisation, as canonical JSON."""
    variant = study.variants[name]
    blocks = {"input": variant.input, "model": variant.model, "training": study.training_of(name)}
    settings = {key: block.model_dump(mode="json", exclude=schema.WITHOUT_EFFECT) for key, block in blocks.items()}
    return json.dumps(settings, sort_keys=True)


def _regularizers(settings: schema.Regularization) -> list[str]:
    """Those that are switched on, with their strength: `dropout 0.5`."""
    texts = []
    for key, (name, off) in REGULARIZERS.items():
        value = getattr(settings, key)
        strengths = value if isinstance(value, tuple) else (value,)
        if any(strength != off for strength in strengths):
            texts.append(name if value is True else f"{name} {'/'.join(map(str, strengths))}")
    return texts


def _hardest_images(
    predictions: Mapping[str, Predictions], images: Mapping[int, model.LabelledImage]
) -> list[model.HardestImage]:
    return [
        model.HardestImage(
            **vars(images[image.place]), predicted=image.predicted, misread=image.misread, networks=image.networks
        )
        for image in mistakes.hardest(predictions, HARDEST_IMAGES, list(images))
    ]


def _pair_disagreements(
    candidate_name: str,
    baseline_name: str,
    predictions: Mapping[str, Predictions],
    images: Mapping[int, model.LabelledImage],
) -> model.PairDisagreements:
    candidate, baseline = predictions[candidate_name], predictions[baseline_name]
    candidate_better, baseline_better = (
        [
            model.DisagreementImage(
                **vars(images[image.place]), candidate_correct=image.candidate, baseline_correct=image.baseline
            )
            for image in disagreements
        ]
        for disagreements in mistakes.disagreements(candidate, baseline, DISAGREEMENTS, list(images))
    )
    seeds = len(candidate.seeds), len(baseline.seeds)
    return model.PairDisagreements(candidate_name, baseline_name, seeds, candidate_better, baseline_better)


def _pareto_front(variants: Sequence[model.VariantSummary], measure: str) -> list[str]:
    """Variants that no other equals or beats in both accuracy and cost, cheapest first.

    A variant with a diverged seed is not considered.
    """
    costs_and_accuracies = [
        (cost.mean, variant.mean_accuracy, variant.name)
        for variant in variants
        if not variant.diverged and (cost := variant.cost(measure)) and variant.mean_accuracy is not None
    ]
    best, front = -1.0, []
    for _, accuracy, name in sorted(costs_and_accuracies, key=lambda row: (row[0], -row[1])):
        if accuracy > best:
            best = accuracy
            front.append(name)
    return front


def _estimate(values: Sequence[float | None]) -> model.Estimate | None:
    """Mean and 95 % interval; None if a value is missing or there are none."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return model.Estimate(float(np.mean(known)), intervals.mean_interval(np.array(known, dtype=float)))


def _sensitivity_results(study: study_schema.Study, path: Path, data: str) -> model.SensitivityResults | None:
    """None if `make sensitivity` has never run: the file is then an empty object."""
    if not stage_outputs.read_json_object(path, "make sensitivity"):
        return None
    content = stage_outputs.read_json_object(path, "make sensitivity", *SENSITIVITY_KEYS)
    name, points = content["variant"], content["points"]
    same_recipe = name in study.variants and provenance.same_weights(content["recipe"], provenance.recipe(study, name))
    unchanged, *changed = [_setting_value(point, content["training_images"]) for point in points]
    values: dict[str, list[model.SettingValue]] = {}
    for point, value in zip(points[1:], changed, strict=True):
        values.setdefault(point["setting"], []).append(value)
    accuracies = [value.mean_accuracy for value in (unchanged, *changed) if value.mean_accuracy is not None]
    return model.SensitivityResults(
        variant=name,
        up_to_date=same_recipe and content["data"] == data,
        seeds=len(points[0]["validation_accuracy"]),
        validation_images=content["validation_images"],
        device=content["device"],
        unchanged_mean=unchanged.mean_accuracy,
        unchanged_interval=unchanged.interval,
        axis_floor=max(accuracies, default=0.0) - FAR_BELOW,
        values=values,
    )


def _setting_value(point: Mapping[str, Any], training_images: int) -> model.SettingValue:
    """One of `points` in sensitivity.json, where a diverged seed has no accuracy and 0 images means all."""
    value = point["value"]
    label = "" if value is None else f"{value:,}"
    if point["setting"] == "images" and value in (0, training_images):
        value, label = training_images, f"all {training_images:,}"
    validation, training = (
        [accuracy for accuracy in point[key].values() if accuracy is not None]
        for key in ("validation_accuracy", "training_accuracy")
    )
    estimate = _estimate(validation)
    return model.SettingValue(
        position=value,
        label=label,
        parameters=point["parameters"],
        mean_accuracy=estimate.mean if estimate else None,
        interval=estimate.interval if estimate else None,
        gap=float(np.mean(training)) - estimate.mean if estimate else None,
        diverged=len(point["validation_accuracy"]) - len(validation),
    )


def _compute_totals(study: study_schema.Study, journals: Path) -> model.ComputeTotals:
    """Sums over the journals, in which the seconds of an epoch are those of one seed's share of the processor."""
    trainings, epochs, seconds = 0, 0, 0.0
    devices: dict[str, None] = {}  # a dictionary keeps the order
    for name in study.study:
        for seed in study.seeds_of(name):
            path, stage = journals / name / f"{paths.seed_name(seed)}.jsonl", f"train@{name}"
            events = stage_outputs.read_journal(path, stage)
            with stage_outputs.reporting_damage(path, stage):
                devices |= {event["provenance"]["device"]: None for event in events if event["event"] == "start"}
                epoch_seconds = [float(event["seconds"]) for event in events if event["event"] == "epoch"]
            trainings += 1
            epochs += len(epoch_seconds)
            seconds += sum(epoch_seconds)
    return model.ComputeTotals(trainings, epochs, seconds, list(devices))


def _settle_seconds(
    study: study_schema.Study, outcomes: Sequence[Outcome], variants: Sequence[model.VariantSummary]
) -> tuple[float, float]:
    """Seconds of one core for the next look at the open comparisons, and for all looks up to `settle.most`."""
    wanted: dict[str, int] = {}
    for outcome in outcomes:
        for name in (outcome.candidate, outcome.baseline) if outcome.next_seeds else ():
            wanted[name] = max(wanted.get(name, 0), outcome.next_seeds or 0)
    first = most = 0.0
    for variant in variants:
        cost, seeds = variant.cost("seconds_per_epoch"), len(variant.seeds)
        if cost and variant.name in wanted:
            seconds = cost.mean * study.training_of(variant.name).epochs
            first += seconds * max(0, wanted[variant.name] - seeds)
            most += seconds * max(0, study.settle.most - seeds)
    return first, most


def _flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Settings by block and key, joined with a dot; values as params.yaml has them."""
    return {
        f"{block}.{key}": messages.setting_text(value)
        for block, values in settings.items()
        for key, value in values.items()
    }
