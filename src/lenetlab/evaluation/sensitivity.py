"""How the result changes with one setting of a variant at a time; judged on validation images.

The test images take no part: whoever picks a setting from this picture has picked it without them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage import files, paths, provenance
from lenetlab.training import execution, run_files

SETTINGS = ("learning_rate", "dropout", "width", "batch_size", "images")  # as `sensitivity` in params.yaml has them


@dataclass(frozen=True)
class Point:
    """A study of the variant alone, with one setting changed; none at the centre."""

    setting: str | None
    value: float | None
    study: schema.Study


def points(study: schema.Study) -> list[Point]:
    """The centre, and every value of every setting."""
    name, asked = study.sensitivity.variant, study.sensitivity
    centre = study.model_copy(update={"study": (name,), "comparisons": {}, "seeds": asked.seeds})
    found = [Point(None, None, centre)]
    for setting in SETTINGS:
        for value in getattr(asked, setting):
            changed = _changed(study.variants[name], setting, value)
            variants = {**study.variants, name: changed}
            found.append(Point(setting, value, centre.model_copy(update={"variants": variants})))
    return found


def measure(study: schema.Study, prepared_folder: Path) -> dict[str, Any]:
    """Train what is not trained yet of all points, and gather `docs/sensitivity.json`.

    UserError if there are not so many training images, or no validation images.
    """
    name, found, prepared = study.sensitivity.variant, points(study), dataset.load(prepared_folder)
    images, unseen = (int((prepared.splits == split).sum()) for split in ("training", "validation"))
    problems = [
        f"params.yaml: sensitivity.images: {most} is more than there are; allowed: 0 to {images}"
        for most in study.sensitivity.images
        if most > images
    ]
    if not unseen:
        problems.append(f"{prepared_folder}: no validation images to judge by; remedy: data.validation of 1 or more")
    if problems:
        raise UserError(*problems)
    plans = [execution.plan_training(point.study, name, prepared) for point in found]
    execution.train_unfinished(list({plan.jobs[0].record["parent_fingerprint"]: plan for plan in plans}.values()))
    return {
        "variant": name,
        "recipe": provenance.recipe(study, name),
        "data": prepared.digest,
        "training_images": images,
        "validation_images": unseen,
        "device": plans[0].jobs[0].origin["device"],
        "torch": plans[0].jobs[0].origin["torch"],
        "points": [_result(point, plan) for point, plan in zip(found, plans, strict=True)],
    }


def _changed(variant: schema.Variant, setting: str, value: float) -> schema.Variant:
    if setting == "width":
        return variant.scaled(value)
    if setting == "dropout":
        rules = variant.regularization.model_copy(update={"dropout": value})
        return variant.model_copy(update={"regularization": rules})
    return variant.model_copy(update={"training": variant.training.model_copy(update={setting: value})})


def _result(point: Point, plan: execution.TrainingPlan) -> dict[str, Any]:
    """Accuracies at the end, by seed: on validation images, and in evaluation mode on those that were trained on.

    None for a seed that diverged, since it has no end.
    """
    folders = {str(run.seed): plan.folders[run.seed] for run in plan.jobs}
    records = {seed: files.read_json(folder / paths.RUN_RECORD) for seed, folder in folders.items()}
    unseen = {
        seed: None
        if records[seed]["diverged"]
        else float(run_files.read_curves(folder / paths.CURVES)[-1]["validation_accuracy"])
        for seed, folder in folders.items()
    }
    learnt = {seed: record["training_set"] and record["training_set"]["accuracy"] for seed, record in records.items()}
    return {
        "setting": point.setting,
        "value": point.value,
        "parameters": plan.jobs[0].record["parameters"],
        "validation_accuracy": unseen,
        "training_accuracy": learnt,
    }
