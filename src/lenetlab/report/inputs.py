"""The outputs of earlier stages that the report is made from: where they are, and their required keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenetlab.evaluation import predictions
from lenetlab.report.model import COST_MEASURES
from lenetlab.storage import paths, stage_outputs

# Keys that must be there, as `stage_outputs.read_json_object` takes them.
VARIANT_KEYS = (
    *(
        "variant",
        "parameters",
        "parent_fingerprint",
        "fingerprints",
        "test_data",
        "test_images/test",
        "conversions",
        "diverged/*/epoch",
        "diverged/*/step",
    ),
    *(f"identity/{key}" for key in ("definition", "training", "data", "code", "torch", "device", "numerics")),
    *(f"layers/*/{key}" for key in ("name", "kind", "output", "arithmetic", "parameters", "multiply_accumulates")),
)

METRIC_KEYS = ("parameters", "test_accuracy", "test_accuracy_sd", "test_loss")

COST_CONDITIONS = ("device", "training_images", "side_by_side", "batch", "rounds")


@dataclass(frozen=True)
class InputPaths:
    """Files and folders; docs/design.md describes their contents."""

    evaluations: Path
    journals: Path
    costs: Path  # costs.json
    sensitivity: Path  # sensitivity.json


PROJECT_OUTPUTS = InputPaths(paths.EVALUATIONS, paths.JOURNALS, paths.COSTS, paths.SENSITIVITY)


def read_predictions(evaluations: Path, names: Iterable[str], classes: int) -> dict[str, predictions.Predictions]:
    """Predictions on the test images, by variant."""
    return {name: predictions.read(evaluations / name / paths.PREDICTIONS, classes) for name in names}


def read_diverged_seeds(evaluations: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """Seeds that diverged, by variant."""
    return {name: [int(seed) for seed in read_variant_record(evaluations / name)["diverged"]] for name in names}


def read_parent_fingerprints(evaluations: Path, names: Iterable[str]) -> dict[str, str]:
    """What decides the trainings of a variant apart from the seed, as a digest, by variant."""
    return {name: str(read_variant_record(evaluations / name)["parent_fingerprint"]) for name in names}


def read_variant_record(evaluation: Path) -> dict[str, Any]:
    """variant.json in the folder of one variant."""
    return stage_outputs.read_json_object(
        evaluation / paths.VARIANT_RECORD, f"evaluate@{evaluation.name}", *VARIANT_KEYS
    )


def read_metrics(evaluation: Path) -> dict[str, Any]:
    """metrics.json in the folder of one variant."""
    return stage_outputs.read_json_object(evaluation / paths.METRICS, f"evaluate@{evaluation.name}", *METRIC_KEYS)


def read_costs(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """costs.json, which must contain these variants."""
    conditions = [f"conditions/{key}" for key in COST_CONDITIONS]
    measures = [f"variants/{name}/{measure}" for name in names for measure in (*COST_MEASURES, "on_processor")]
    return stage_outputs.read_json_object(path, "cost", *conditions, *measures)
