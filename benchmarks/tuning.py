"""How the settings of `lenet5-tuned` were chosen: by validation accuracy, without reading a test image.

`make bench-tuning` trains the settings that tuning.json does not contain yet, and prints the results, best first. A
result is the mean over seeds of the validation accuracy after ten epochs on the 55,000 other training images.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lenetlab.data import dataset
from lenetlab.settings import params, schema
from lenetlab.storage import files
from lenetlab.training import devices, loop, parallel, run_files

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_suffix(".json")
PREPARED = ROOT / "data" / "prepared" / "train"
SEEDS = (100, 101, 102)  # not those of a study, so that the settings are not chosen for its seeds
COMMON = {"schedule": "one-cycle", "batch_norm": True, "augmentation": "elastic"}

TRIES: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.1, "label_smoothing": 0.1, "weight_averaging": 0.998},
    {"learning_rate": 0.1, "label_smoothing": 0.1, "weight_averaging": 0.998, "batch_norm": False},
    {"learning_rate": 0.05, "label_smoothing": 0.1, "weight_averaging": 0.998},
    {"learning_rate": 0.2, "label_smoothing": 0.1, "weight_averaging": 0.998},
    {"learning_rate": 0.1, "label_smoothing": 0.1, "weight_averaging": 0.998, "augmentation_strength": 0.6},
    {"learning_rate": 0.1, "label_smoothing": 0.1, "weight_averaging": 0.998, "augmentation_strength": 0.8},
    {"learning_rate": 0.1, "label_smoothing": 0.03, "weight_averaging": 0.998, "augmentation_strength": 0.8},
    {"learning_rate": 0.1, "label_smoothing": 0.1, "weight_averaging": 0.998, "augmentation_strength": 0.6,
     "augmentation": "affine"},
    {"learning_rate": 0.1, "label_smoothing": 0.1, "weight_averaging": 0.998, "augmentation_strength": 0.4},
    {"learning_rate": 0.1, "label_smoothing": 0.1, "weight_averaging": 0.998, "augmentation_strength": 0.3},
    {"learning_rate": 0.1, "label_smoothing": 0.05, "weight_averaging": 0.998, "augmentation_strength": 0.4},
    {"learning_rate": 0.05, "label_smoothing": 0.1, "weight_averaging": 0.998, "augmentation_strength": 0.4},
    {"learning_rate": 0.1, "augmentation_strength": 0.4},
    {"learning_rate": 0.05, "label_smoothing": 0.1, "weight_averaging": 0.998, "augmentation_strength": 0.4,
     "batch_norm": False},
    {"learning_rate": 0.2, "label_smoothing": 0.05, "weight_averaging": 0.998, "augmentation_strength": 0.4},
    {"learning_rate": 0.1, "label_smoothing": 0.02, "weight_averaging": 0.998, "augmentation_strength": 0.4},
    {"learning_rate": 0.2, "label_smoothing": 0.02, "weight_averaging": 0.998, "augmentation_strength": 0.3},
    {"learning_rate": 0.005, "label_smoothing": 0.02, "weight_averaging": 0.998, "augmentation_strength": 0.4,
     "optimizer": "adamw"},
    {"learning_rate": 0.1, "label_smoothing": 0.05, "weight_averaging": 0.998, "augmentation_strength": 0.4,
     "batch_size": 32},
    {"learning_rate": 0.1, "label_smoothing": 0.05, "weight_averaging": 0.998, "augmentation_strength": 0.4,
     "weight_decay": 0.0005},
)  # fmt: skip


def tuned_variant(settings: dict[str, Any]) -> tuple[schema.Variant, schema.Training]:
    """LeNet-5 with these settings: its definition with regularisation, and its training settings."""
    study, settings = params.load(ROOT / "params.yaml"), COMMON | settings
    plain = study.variants["lenet5"]
    rules = {key: value for key, value in settings.items() if key in schema.Regularization.model_fields}
    recipe = {key: value for key, value in settings.items() if key in schema.Training.model_fields}
    regularized = plain.model_copy(update={"regularization": plain.regularization.model_copy(update=rules)})
    return regularized, schema.Training.model_validate(study.training.model_dump() | recipe)


def train(
    settings: dict[str, Any], examples: dataset.Examples, validation: dataset.Examples
) -> Iterator[dict[str, Any]]:
    """Train all seeds as one group, and yield their losses and accuracies on the validation images."""
    definition, recipe = tuned_variant(settings)
    runs = [run_files.TrainingJob(definition, recipe, seed, {}, {}) for seed in SEEDS]
    state = loop.initial_state(runs, torch.device("cpu"))
    for _ in range(recipe.epochs):
        loop.train_epoch(runs[0], state, examples)
    losses, accuracies = loop.loss_and_accuracy(state.evaluated_network(), validation)
    yield {"settings": settings, "loss": losses.tolist(), "accuracy": accuracies.tolist()}


def main() -> None:
    devices.make_deterministic()
    prepared = dataset.load(PREPARED)
    form = params.load(ROOT / "params.yaml").variants["lenet5"].input
    examples, validation = (
        prepared.examples(split, form, prepared.normalization(form), torch.device("cpu"))
        for split in ("training", "validation")
    )
    record = files.read_json(RECORD) if RECORD.exists() else []
    known = [result["settings"] for result in record]
    missing = [settings for settings in TRIES if settings not in known]
    tasks = [lambda settings=settings: train(settings, examples, validation) for settings in missing]
    for _, result in parallel.run_tasks(tasks, min(len(tasks), devices.cores())) if tasks else ():
        record.append(result)
        files.write_json(RECORD, record)
        print(f"{100 * fmean(result['accuracy']):.3f} %  {result['settings']}", flush=True)
    print(f"\n{len(record)} tries, {len(SEEDS)} seeds each, on {len(validation)} validation images; best first")
    for result in sorted(record, key=lambda result: -fmean(result["accuracy"])):
        print(f"{100 * fmean(result['accuracy']):.3f} %  loss {fmean(result['loss']):.4f}  {result['settings']}")


if __name__ == "__main__":
    main()
