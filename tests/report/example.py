"""Inputs of a report with made-up results of three variants of the catalogue."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lenetlab.evaluation import curves, mistakes, predictions
from lenetlab.networks import layer_table
from lenetlab.report import collect, inputs, model
from lenetlab.settings import params, study_schema
from lenetlab.statistics import comparison
from lenetlab.statistics.claims.answers import Answer
from lenetlab.storage import files, provenance
from tests.answers import make_predictions

ROOT = Path(__file__).parents[2]
ACCURACIES = {"lenet5": 0.99, "mlp": 0.95, "lenet5-regularized": 0.99}  # expected, by variant
SEEDS = (0, 1, 2, 3, 4, 5)
IMAGES, EPOCHS = 400, 3
ORIGIN = {
    **{"commit": "c0ffee", "dirty": True, "python": "3.11.7"},
    **{"numpy": "2.4.6", "torch": "2.15.0", "lenetlab": "0.1.0"},
}
REPORTS = {"S0": "Coursework report; SGD | ten epochs", "S2": "Another <report>"}
ANSWERS = [
    Answer(*fields, exact=exact, report=report, report_note=REPORTS.get(report))
    for report, exact, fields in (
        ("S0", True, ("S0.1", "parameters", "LeNet-5 has 44,526", "refuted", "44,426", "it has 100 fewer")),
        ("S0", True, ("S0.4", "parameters", "The MLP has 49,950", "confirmed", "49,950", "its layers add up to it")),
        (
            "S2",
            False,
            ("S2.9", "relation", "It takes | longer", "undecided", "–", "no time <was> measured; run `make <b>`"),
        ),
        (None, False, ("mine", "accuracy", "It reaches 99 %", "consistent", "99.01 %", "not contradicted")),
    )
]

Diverged = Mapping[str, Mapping[int, int]]  # by variant and seed: the epoch


def make_study(seeds: tuple[int, ...] = SEEDS, **data: Any) -> study_schema.Study:
    """`data`: settings of the images, other than those of MNIST."""
    catalogue = params.load(ROOT / "params.yaml")
    of_images = catalogue.data.model_copy(update=data)
    kind = {"images": of_images.kind}
    regularized = {"candidate": "lenet5-regularized", "baseline": "lenet5"}
    pairs: list[dict[str, Any]] = [{"candidate": "lenet5", "baseline": "mlp"}, regularized]
    pairs.append({**regularized, "measure": "test_loss"})
    comparisons = tuple(study_schema.DeclaredComparison(**pair) for pair in pairs)
    changes: dict[str, Any] = {
        "data": of_images,
        "variants": {name: variant.model_copy(update=kind) for name, variant in catalogue.variants.items()},
        "study": tuple(ACCURACIES),
        "seeds": seeds,
        "comparisons": {"headline": comparisons},
        "settle": study_schema.SettleSettings(most=36),
        "equivalence_margin": 0.0025,
        "other_margins": study_schema.OtherMargins(test_loss=0.01, gap=0.0025, epochs_to=0.5),
        "training": catalogue.training.model_copy(update={"epochs": EPOCHS}),
    }
    return catalogue.model_copy(update=changes)


STUDY = make_study()


def write_inputs(
    folder: Path,
    seeds: tuple[int, ...] = SEEDS,
    validation: bool = True,
    diverged: Diverged | None = None,
    study: study_schema.Study = STUDY,
) -> inputs.InputPaths:
    """All files that `collect` reads, and a folder that it must ignore."""
    names = "evaluations", "journals", "costs.json", "sensitivity.json"
    paths = inputs.InputPaths(*(folder / name for name in names))
    for name in ACCURACIES:
        write_evaluation(paths.evaluations / name, seeds, validation, (diverged or {}).get(name, {}), study)
        write_journals(paths.journals / name, seeds)
    (paths.evaluations / "left-over").mkdir()  # of a variant that was removed from the study
    files.write_json(paths.costs, costs())
    files.write_json(paths.sensitivity, sensitivity())
    return paths


def collect_report(
    paths: inputs.InputPaths, seeds: tuple[int, ...] = SEEDS, study: study_schema.Study | None = None
) -> model.Report:
    study = study or make_study(seeds)
    read = inputs.read_predictions(paths.evaluations, study.study, len(study.data.classes))
    outcomes = comparison.compare(study, read, inputs.read_diverged_seeds(paths.evaluations, study.study))
    return collect.collect(study, paths, outcomes, ANSWERS, ORIGIN)


def collect_without_comparisons(paths: inputs.InputPaths, seeds: tuple[int, ...]) -> model.Report:
    return collect.collect(make_study(seeds), paths, [], [], ORIGIN)


def small(report: model.Report, **changes: Any) -> model.Report:
    """A report about lenet5 alone, without comparisons, to be drawn in less time."""
    fronts = {cost: ["lenet5"] for cost in report.pareto_fronts}
    empty: dict[str, Any] = {"outcomes": [], "effects": [], "hardest": [], "disagreements": []}
    return replace(report, **{"variants": report.variants[:1], **empty, "pareto_fronts": fronts, **changes})


def write_evaluation(
    folder: Path, seeds: tuple[int, ...], validation: bool, diverged: Mapping[int, int], study: study_schema.Study
) -> None:
    """Wrong answers are too large by one. Every seed misreads image 7, of class 7 if there are ten."""
    name, definition = folder.name, study.variants[folder.name]
    classes = definition.images.classes
    finished = tuple(seed for seed in seeds if seed not in diverged)
    labels = np.arange(IMAGES) % classes
    wrong = np.random.default_rng([len(name), *finished]).random((len(finished), IMAGES)) >= ACCURACIES[name]
    wrong[:, 7] = True
    answers = make_predictions(
        labels,
        (labels + wrong) % classes,
        seeds=np.array(finished, np.int64),
        probability=np.full(wrong.shape, 0.75, np.float32),
    )
    predictions.write(answers, folder / "predictions.npz")
    numbers, pixels = np.arange(IMAGES) + 1000, np.arange(IMAGES, dtype=np.uint8)
    shape = (study.data.size, study.data.size, study.data.channels)[: 2 if study.data.channels == 1 else 3]
    pixels = pixels.reshape(-1, *[1] * len(shape)) * np.ones(shape, np.uint8)
    mistakes.write(mistakes.find(answers, numbers, pixels), folder / "mistakes.npz")
    accuracies = dict(zip(finished, answers.accuracy.tolist(), strict=True))
    write_curves(folder / "curves.csv", accuracies, validation)
    tested = {str(seed): {"test_accuracy": accuracy, "test_loss": 0.2} for seed, accuracy in accuracies.items()}
    files.write_json(folder / "seeds.json", tested)
    metrics = {
        "parameters": definition.parameters,
        "test_accuracy": float(answers.accuracy.mean()) if finished else None,
        "test_accuracy_sd": float(answers.accuracy.std(ddof=1)) if len(finished) > 1 else None,
        "test_loss": 0.2 if finished else None,
    }
    files.write_json(folder / "metrics.json", metrics)
    record = {
        "variant": name,
        "parameters": definition.parameters,
        "parent_fingerprint": f"f1f1{name}",
        "identity": {
            **provenance.recipe(study, name),
            **{"data": "da7a", "code": "c0de", "torch": "2.15.0", "device": "cpu", "numerics": "float32"},
        },
        "fingerprints": {str(seed): f"f1f1{name}{seed}" for seed in seeds},
        "diverged": {str(seed): {"epoch": epoch, "step": 12} for seed, epoch in diverged.items()},
        "test_data": "7e57",
        "test_images": {"test": IMAGES},
        "conversions": {},
        "layers": layer_table.layer_table(definition),
    }
    files.write_json(folder / "variant.json", record)


def write_curves(path: Path, accuracies: Mapping[int, float], validation: bool) -> None:
    """Test accuracies rise by 0.01 per epoch to these."""
    lines = [",".join(("seed", "epoch", *curves.MEASURES))]
    for seed, last in accuracies.items():
        for epoch in range(1, EPOCHS + 1):
            accuracy = last - 0.01 * (EPOCHS - epoch)
            held_out = f"0.2,{accuracy}" if validation else ","
            lines.append(f"{seed},{epoch},{0.3 / epoch},{accuracy},{held_out},{0.2 / epoch},{accuracy}")
    files.write_text(path, "\n".join(lines) + "\n")


def write_journals(folder: Path, seeds: tuple[int, ...]) -> None:
    """Every epoch took a quarter of a second."""
    start = {"event": "start", "provenance": {"device": "cpu: a processor"}}
    events = [start, *({"event": "epoch", "seconds": 0.25} for _ in range(EPOCHS)), {"event": "end"}]
    for seed in seeds:
        files.write_text(folder / f"seed-{seed}.jsonl", "".join(json.dumps(event) + "\n" for event in events))


def costs() -> dict[str, Any]:
    """Two rounds; the MLP is cheapest."""
    seconds = {"lenet5": [2.0, 2.2], "mlp": [0.5, 0.7], "lenet5-regularized": [3.0, 3.2]}
    measured = {
        name: {
            "seconds_per_epoch": rounds,
            "process_memory_bytes": [700_000_000, 700_000_000],
            "device_memory_bytes": [None, None],
            "latency_seconds": [value * 1e-4 for value in rounds],
            "images_per_second": [1e5 / value for value in rounds],
            "on_processor": [1.0, 0.99],
        }
        for name, rounds in seconds.items()
    }
    conditions = {"device": "cpu: a processor", "training_images": 55_000, "side_by_side": 6, "batch": 250, "rounds": 2}
    return {"conditions": conditions, "variants": measured}


def sensitivity() -> dict[str, Any]:
    """Of lenet5, with two seeds: a learning rate of 0.1 learns nothing, and 0 images stands for all."""

    def point(setting: str | None, value: float | None, accuracy: float) -> dict[str, Any]:
        validation = {"0": accuracy - 0.001, "1": accuracy + 0.001}
        by_seed = {"validation_accuracy": validation, "training_accuracy": {"0": 0.99, "1": 0.99}}
        return {"setting": setting, "value": value, "parameters": 61_706, **by_seed}

    points = [point(None, None, 0.98), point("learning_rate", 0.01, 0.98), point("learning_rate", 0.1, 0.1)]
    points += [point("images", 1000, 0.95), point("images", 0, 0.98)]
    variant = {"variant": "lenet5", "recipe": provenance.recipe(STUDY, "lenet5"), "data": "da7a"}
    images = {"training_images": 55_000, "validation_images": 5000}
    return {**variant, **images, "device": "cpu: a processor", "torch": "2.15.0", "points": points}
