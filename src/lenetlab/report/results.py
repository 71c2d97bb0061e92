"""Results in `reports/` for other programs: comparison.json, claims.json, origin.json, curves.csv, metrics/."""

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

ORIGIN_KEYS = ("commit", "dirty", "python", "numpy", "lenetlab")


def write_results(report: Report, folder: Path) -> None:
    """Write them all; numbers are not rounded."""
    files.write_json(folder / paths.COMPARISON, [asdict(outcome) for outcome in report.outcomes])
    files.write_json(folder / paths.ANSWERS, [asdict(answer) for answer in report.answers])
    files.write_json(folder / paths.ORIGIN, report.origin)
    files.write_text(folder / paths.CURVES, _mean_curves(report.variants))
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


def _mean_curves(variants: Sequence[VariantSummary]) -> str:
    """CSV for `dvc plots show`: a row per variant and epoch, means over seeds. No rows if no seed finished."""
    table = io.StringIO()
    writer = csv.DictWriter(table, ("variant", "epoch", *curves.MEASURES), lineterminator="\n")
    writer.writeheader()
    for variant in variants:
        epochs = variant.curves["test_loss"].epochs if variant.curves else []
        for row, epoch in enumerate(epochs):
            means = {name: curve.mean[row] for name, curve in variant.curves.items() if not math.isnan(curve.mean[row])}
            writer.writerow({"variant": variant.name, "epoch": epoch, **means})
    return table.getvalue()
