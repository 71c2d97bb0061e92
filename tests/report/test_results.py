"""The files in `reports/` for other programs: unrounded, valid JSON, read again as they were written."""

import csv
import json
import math
import re
from dataclasses import asdict, replace

import pytest

from lenetlab.errors import UserError
from lenetlab.report import results
from lenetlab.storage import files
from tests.report import example


def test_results_are_read_again_as_they_were_written(report, folder, tmp_path):
    assert results.read_results(folder) == (report.outcomes, report.answers, report.origin)
    with pytest.raises(UserError, match=r"comparison.json: cannot be read .*--single-item compare"):
        results.read_results(tmp_path)


def test_json_is_not_rounded(report, folder):
    entries = json.loads((folder / "comparison.json").read_text())
    assert [entry["difference"] for entry in entries] == [outcome.difference for outcome in report.outcomes]
    assert entries[0]["interval"] == list(report.outcomes[0].interval)
    assert json.loads((folder / "claims.json").read_text()) == [asdict(answer) for answer in example.ANSWERS]


def test_metrics_are_copies_of_those_of_the_evaluations(input_paths, folder):
    for name in example.ACCURACIES:
        copy = folder / "metrics" / f"{name}.json"
        assert copy.read_bytes() == (input_paths.evaluations / name / "metrics.json").read_bytes()


def test_mean_curves_are_means_over_seeds(report, folder):
    with (folder / "curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = [(name, str(epoch)) for name in example.ACCURACIES for epoch in (1, 2, 3)]
    assert [(row["variant"], row["epoch"]) for row in rows] == expected
    last = {row["variant"]: float(row["test_accuracy"]) for row in rows if row["epoch"] == "3"}
    assert last == pytest.approx({variant.name: variant.mean_accuracy for variant in report.variants})


def test_files_are_valid_if_seeds_diverged(diverged_folder):
    for path in diverged_folder.rglob("*.json"):
        assert not re.search(r"\b(NaN|Infinity)\b", path.read_text())
    metrics = files.read_json(diverged_folder / "metrics" / "mlp.json")
    assert metrics == {"parameters": 61_075, "test_accuracy": None, "test_accuracy_sd": None, "test_loss": None}
    with (diverged_folder / "curves.csv").open(newline="") as stream:
        assert [row["variant"] for row in csv.DictReader(stream)] == ["lenet5"] * 3 + ["lenet5-regularized"] * 3
    assert results.read_results(diverged_folder)[0][0].difference is None


def test_an_epoch_without_a_mean_is_an_empty_cell(report, tmp_path):
    """Not NaN, which charts would not leave out."""
    first = report.variants[0]
    curve = first.curves["test_loss"]
    gaps = {**first.curves, "test_loss": replace(curve, mean=[math.nan, *curve.mean[1:]])}
    results.write_results(replace(report, variants=[replace(first, curves=gaps)]), tmp_path)
    with (tmp_path / "curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["test_loss"] for row in rows] == ["", *map(str, curve.mean[1:])]
    assert all(row["test_accuracy"] for row in rows)
