"""Results in `reports/` for other programs: JSON of comparisons and statements, metrics and curves for DVC."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lenetlab.evaluation import curves
from lenetlab.report.model import Report, VariantSummary
from lenetlab.statistics.claims.answers import Answer
from lenetlab.statistics.comparison import Outcome
from lenetlab.statistics.significance import McNemar
from lenetlab.statistics.verdict import Look
from lenetlab.storage import files, paths, stage_outputs

PLACES = 3  # after the point, of per cents
ORIGIN_KEYS = ("commit", "dirty", "python", "numpy", "lenetlab")


def write_results(report: Report, folder: Path) -> None:
    """Write them all; only metrics.json is rounded."""
    files.write_json(folder / paths.COMPARISON, [asdict(outcome) for outcome in report.outcomes])
    files.write_json(folder / paths.ANSWERS, [asdict(answer) for answer in report.answers])
    files.write_json(folder / paths.ORIGIN, report.origin)
    files.write_text(folder / paths.CURVES, _curves(report.variants))
    files.write_text(folder / paths.CONFUSION, _confusion(report.variants, report.data.classes))
    files.write_json(folder / paths.METRICS, {variant.name: _short_metrics(variant) for variant in report.variants})
    for variant in report.variants:
        files.write_json(folder / "metrics" / f"{variant.name}.json", variant.metrics)


def read_results(folder: Path) -> tuple[list[Outcome], list[Answer], dict[str, Any]]:
    """The outcomes, answers and origin that `write_results` wrote. UserError if they cannot be read."""
    with stage_outputs.reporting_damage(folder / paths.COMPARISON, "compare"):
        comparisons = stage_outputs.read_json_list(folder / paths.COMPARISON, "compare", "looks", "mcnemar")
        outcomes = [Outcome(**_with_python_types(comparison)) for comparison in comparisons]
    with stage_outputs.reporting_damage(folder / paths.ANSWERS, "compare"):
        answers = [Answer(**answer) for answer in stage_outputs.read_json_list(folder / paths.ANSWERS, "compare")]
    return outcomes, answers, stage_outputs.read_json_object(folder / paths.ORIGIN, "compare", *ORIGIN_KEYS)


def _with_python_types(comparison: dict[str, Any]) -> dict[str, Any]:
    """An entry of comparison.json with tuples as intervals and the classes of looks and McNemar's tests."""
    intervals = {key: tuple(limits) for key, limits in comparison.items() if "interval" in key and limits}
    return {
        **comparison,
        **intervals,
        "looks": [Look(**look) for look in comparison["looks"]],
        "mcnemar": [McNemar(**test) for test in comparison["mcnemar"]],
    }


def _short_metrics(variant: VariantSummary) -> dict[str, float | None]:
    """One number in per cent, so that a row of `dvc metrics show` and `dvc exp show` fits a screen."""
    mean = variant.mean_accuracy
    return {"accuracy": None if mean is None else round(100 * mean, PLACES)}


def _curves(variants: Sequence[VariantSummary]) -> str:
    """CSV for `dvc plots show`: a row per variant, seed and epoch. No rows if no seed finished."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ("variant", "seed", "epoch", *curves.MEASURES), lineterminator="\n")
    writer.writeheader()
    for variant in variants:
        for seed in variant.accuracies:
            for row, epoch in enumerate(variant.curves["test_loss"].epochs):
                values = {measure: curve.seeds[seed][row] for measure, curve in variant.curves.items()}
                known = {measure: value for measure, value in values.items() if not math.isnan(value)}
                writer.writerow({"variant": variant.name, "seed": seed, "epoch": epoch, **known})
    return table.getvalue()


def _confusion(variants: Sequence[VariantSummary], classes: Sequence[str]) -> str:
    """CSV for `dvc plots show`: how many test images of each class were taken for which, over all seeds, without 0."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("variant", "actual", "predicted", "place", "answers", "share"))
    for variant in variants:
        totals = variant.confusion.sum(axis=1)
        for actual, predicted in zip(*variant.confusion.nonzero(), strict=True):
            answers = variant.confusion[actual, predicted]
            share = round(float(100 * answers / totals[actual]), PLACES)
            writer.writerow((variant.name, classes[actual], classes[predicted], predicted, answers, share))
    return table.getvalue()
