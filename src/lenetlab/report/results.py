"""What a study found, as plain records read from the outputs: every number of the report, and nothing of its layout."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lenetlab.evaluation import curves, predictions
from lenetlab.report import model
from lenetlab.statistics import comparison, significance
from lenetlab.statistics.claims.answers import Answer
from lenetlab.storage import files, paths, stage_outputs

# What is read of files: keys as `reading.record` takes them.
VARIANT = (
    *("variant", "parameters", "fingerprints", "test_data", "diverged/*/epoch", "diverged/*/step"),
    *(f"identity/{key}" for key in ("definition", "training", "data", "code", "torch", "device", "numerics")),
    *(f"layers/*/{key}" for key in ("name", "kind", "output", "arithmetic", "parameters", "multiply_accumulates")),
)

METRICS = ("parameters", "test_accuracy", "test_accuracy_sd", "test_loss")

CONDITIONS = ("device", "training_images", "side_by_side", "batch", "rounds")

ORIGIN = ("commit", "dirty", "python", "numpy", "lenetlab")


@dataclass(frozen=True)
class Sources:
    """Where what the report tells is read from; see docs/design.md."""

    evaluations: Path
    journals: Path
    costs: Path  # costs.json
    sensitivity: Path  # sensitivity.json


SOURCES = Sources(paths.EVALUATIONS, paths.JOURNALS, paths.COSTS, paths.SENSITIVITY)


def read_predictions(evaluations: Path, names: Iterable[str]) -> dict[str, predictions.Predictions]:
    """The answers of each variant on the test images."""
    return {name: predictions.read(evaluations / name / paths.PREDICTIONS) for name in names}


def diverged_seeds(evaluations: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """Of each variant the seeds that did not finish."""
    return {name: [int(seed) for seed in variant_record(evaluations / name)["diverged"]] for name in names}


def read_costs(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """costs.json, with these variants."""
    measures = [f"variants/{name}/{measure}" for name in names for measure in (*model.COSTS, "on_processor")]
    return stage_outputs.json_object(path, "cost", *(f"conditions/{key}" for key in CONDITIONS), *measures)


def write_results(report: model.Report, folder: Path) -> None:
    """What other programs read: comparison.json, claims.json, origin.json, curves.csv, metrics/V.json."""
    files.write_json(folder / paths.COMPARISON, [asdict(outcome) for outcome in report.outcomes])
    files.write_json(folder / paths.ANSWERS, [asdict(answer) for answer in report.answers])
    files.write_json(folder / paths.ORIGIN, report.origin)
    files.write_text(folder / paths.CURVES, _mean_curves(report.variants))
    for variant in report.variants:
        files.write_json(folder / "metrics" / f"{variant.name}.json", variant.metrics)


def read_results(folder: Path) -> tuple[list[comparison.Outcome], list[Answer], dict[str, Any]]:
    """Outcomes, answers and origin, as `write` left them there. UserError if that cannot be read."""
    with stage_outputs.reading(folder / paths.COMPARISON, "compare"):
        outcomes = stage_outputs.json_list(folder / paths.COMPARISON, "compare", "mcnemar")
        for one in outcomes:
            one["mcnemar"] = [significance.McNemar(**pair) for pair in one["mcnemar"]]
            one.update({key: tuple(one[key]) for key in one if "interval" in key and one[key]})  # JSON has lists
        outcomes = [comparison.Outcome(**one) for one in outcomes]
    with stage_outputs.reading(folder / paths.ANSWERS, "compare"):
        answers = [Answer(**one) for one in stage_outputs.json_list(folder / paths.ANSWERS, "compare")]
    return outcomes, answers, stage_outputs.json_object(folder / paths.ORIGIN, "compare", *ORIGIN)


def variant_record(folder: Path) -> dict[str, Any]:
    return stage_outputs.json_object(folder / paths.VARIANT_RECORD, f"evaluate@{folder.name}", *VARIANT)


def _mean_curves(variants: Sequence[model.VariantSummary]) -> str:
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
