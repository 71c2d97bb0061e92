"""The files in `reports/` for other programs and for DVC: valid, and read again as they were written."""

import csv
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

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


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_dvc_gets_one_short_number_per_variant_in_per_cent(report, folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics) == list(example.ACCURACIES)
    for variant in report.variants:
        assert metrics[variant.name] == {"accuracy": pytest.approx(100 * variant.mean_accuracy, abs=0.0005)}
        assert len(str(metrics[variant.name]["accuracy"])) <= 6


def test_curves_are_those_of_every_seed(report, folder):
    found = rows(folder / "curves.csv")
    expected = [
        (name, str(seed), str(epoch)) for name in example.ACCURACIES for seed in example.SEEDS for epoch in (1, 2, 3)
    ]
    assert [(row["variant"], row["seed"], row["epoch"]) for row in found] == expected
    last = {(row["variant"], int(row["seed"])): float(row["test_accuracy"]) for row in found if row["epoch"] == "3"}
    assert last == {(one.name, seed): value for one in report.variants for seed, value in one.accuracies.items()}


def test_the_confusion_table_counts_the_answers_of_all_seeds(report, folder):
    found = rows(folder / "confusion.csv")
    for variant in report.variants:
        own = [row for row in found if row["variant"] == variant.name]
        counts = {(int(row["actual"]), int(row["predicted"])): int(row["answers"]) for row in own}
        assert sum(counts.values()) == len(example.SEEDS) * report.test_images
        assert all(count == variant.confusion[place] > 0 for place, count in counts.items())
        shares = [float(row["share"]) for row in own if row["actual"] == "3"]
        assert sum(shares) == pytest.approx(100, abs=0.01)


def test_files_are_valid_if_seeds_diverged(diverged_folder):
    for path in diverged_folder.rglob("*.json"):
        assert not re.search(r"\b(NaN|Infinity)\b", path.read_text())
    metrics = files.read_json(diverged_folder / "metrics" / "mlp.json")
    assert metrics == {"parameters": 61_075, "test_accuracy": None, "test_accuracy_sd": None, "test_loss": None}
    assert {row["variant"] for row in rows(diverged_folder / "curves.csv")} == {"lenet5", "lenet5-regularized"}
    assert len(rows(diverged_folder / "curves.csv")) == example.EPOCHS * (6 + 4)  # finished seeds
    assert "mlp" not in {row["variant"] for row in rows(diverged_folder / "confusion.csv")}
    assert files.read_json(diverged_folder / "metrics.json")["mlp"] == {"accuracy": None}
    assert results.read_results(diverged_folder)[0][0].difference is None


def test_an_epoch_without_a_value_is_an_empty_cell(report, tmp_path):
    """Not NaN, which charts would not leave out."""
    first = report.variants[0]
    curve = first.curves["test_loss"]
    seed = next(iter(curve.seeds))
    seeds = {**curve.seeds, seed: [math.nan, *curve.seeds[seed][1:]]}
    gaps = {**first.curves, "test_loss": replace(curve, seeds=seeds)}
    results.write_results(replace(report, variants=[replace(first, curves=gaps)]), tmp_path)
    found = [row for row in rows(tmp_path / "curves.csv") if row["seed"] == str(seed)]
    assert [row["test_loss"] for row in found] == ["", *map(str, curve.seeds[seed][1:])]
    assert all(row["test_accuracy"] for row in found)
