"""How the accuracy of a variant changes with one setting at a time: `make sensitivity`.

Accuracies are those on validation images, so a setting that is chosen from them was not chosen on test images.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.settings import schema, study_schema
from lenetlab.storage import files, paths, provenance
from lenetlab.training import execution, run_files

SETTINGS = ("learning_rate", "dropout", "width", "batch_size", "images")  # keys of `sensitivity` in params.yaml


@dataclass(frozen=True)
class Point:
    """A study of one variant with one setting changed; both are None for the variant as it is."""

    setting: str | None
    value: float | None
    study: study_schema.Study


def points(study: study_schema.Study) -> list[Point]:
    """The variant as it is, then one point for every value of every setting."""
    name, options = study.sensitivity.variant, study.sensitivity
    unchanged = study.model_copy(update={"study": (name,), "comparisons": {}, "seeds": options.seeds})
    all_points = [Point(None, None, unchanged)]
    for setting in SETTINGS:
        for value in getattr(options, setting):
            variants = {**study.variants, name: _with_setting(study.variants[name], setting, value)}
            all_points.append(Point(setting, value, unchanged.model_copy(update={"variants": variants})))
    return all_points


def measure(study: study_schema.Study, prepared_folder: Path) -> dict[str, Any]:
    """Train all points that are not trained yet, and return the content of `docs/sensitivity.json`.

    Raises UserError if there are too few training images or no validation images.
    """
    name, prepared = study.sensitivity.variant, dataset.load(prepared_folder)
    training_images, validation_images = (int((prepared.splits == split).sum()) for split in ("training", "validation"))
    problems = [
        f"params.yaml: sensitivity.images: {images} is more than there are; allowed: 0 to {training_images}"
        for images in study.sensitivity.images
        if images > training_images
    ]
    if not validation_images:
        problems.append(f"{prepared_folder}: no validation images; remedy: data.validation of 1 or more")
    if problems:
        raise UserError(*problems)
    plans = [(point, execution.plan_training(point.study, name, prepared)) for point in points(study)]
    distinct = {plan.jobs[0].record["parent_fingerprint"]: plan for _, plan in plans}  # some values change nothing
    execution.train_unfinished(list(distinct.values()))
    origin = plans[0][1].jobs[0].origin
    return {
        "variant": name,
        "recipe": provenance.recipe(study, name),
        "data": prepared.digest,
        "training_images": training_images,
        "validation_images": validation_images,
        "device": origin["device"],
        "torch": origin["torch"],
        "points": [_result(point, plan) for point, plan in plans],
    }


def _with_setting(variant: schema.Variant, setting: str, value: float) -> schema.Variant:
    """The variant with one setting changed; of width, `value` is a factor."""
    if setting == "width":
        return variant.scaled(value)
    if setting == "dropout":
        rules = variant.regularization.model_copy(update={"dropout": value})
        return variant.model_copy(update={"regularization": rules})
    return variant.model_copy(update={"training": variant.training.model_copy(update={setting: value})})


def _result(point: Point, plan: execution.TrainingPlan) -> dict[str, Any]:
    """An entry of `points`: accuracies after the last epoch, by seed; None for a seed that diverged."""
    validation: dict[str, float | None] = {}
    training: dict[str, float | None] = {}
    for job in plan.jobs:
        seed, folder = str(job.seed), plan.folders[job.seed]
        record = files.read_json(folder / paths.RUN_RECORD)
        if record["diverged"]:
            validation[seed] = training[seed] = None
        else:
            validation[seed] = float(run_files.read_curves(folder / paths.CURVES)[-1]["validation_accuracy"])
            training[seed] = record["training_set"]["accuracy"]  # in evaluation mode
    return {
        "setting": point.setting,
        "value": point.value,
        "parameters": plan.jobs[0].record["parameters"],
        "validation_accuracy": validation,
        "training_accuracy": training,
    }
