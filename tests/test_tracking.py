"""What MLflow shows is read back through its own client and compared with the files it was published from."""

import contextlib
import csv
import json
import math
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lenetlab import UserError, files, tracking

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of its dependencies
START = 1_700_000_000.0  # Unix seconds
EPOCH_SECONDS = 6.0
SHAPES = {  # variant -> parameters, model, regularization that differs, mean test accuracy of the last epoch
    "lenet5": (61706, {"name": "lenet5", "channels": [6, 16], "hidden": [120, 84], "pooling": "max"}, {}, 0.9891),
    "mlp": (61075, {"name": "mlp", "hidden": [59]}, {}, 0.9752),
    "lenet5-regularized": (
        61750,
        {"name": "lenet5", "channels": [6, 16], "hidden": [120, 84], "pooling": "max"},
        {"batch_norm": True, "dropout": 0.5},
        0.9901,
    ),
}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003860180343a5c610000000049454e44ae426082"
)
DATA = files.sha256(b"prepared training images")


def identity(variant: str, epochs: int) -> dict:
    _, model, regularization, _ = SHAPES[variant]
    plain = {"batch_norm": False, "dropout": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "augmentation": "none"}
    return {
        "variant": variant,
        "definition": {
            "input": {"size": 32, "resize": "pad", "normalize": True},
            "model": {**model, "activation": "relu"},
            "regularization": plain | regularization,
        },
        "training": {
            **{"epochs": epochs, "batch_size": 64, "optimizer": "sgd"},
            **{"learning_rate": 0.01, "momentum": 0.9, "schedule": "constant"},
        },
        "data": DATA,
        "code": files.sha256(b"code"),
        "torch": "2.15.0",
        "device": "cpu",
        "numerics": "float32",
    }


def epoch_record(variant: str, seed: int, epoch: int) -> dict:
    left = (1 - SHAPES[variant][3]) * (1 + 8 / epoch**1.5) + 0.0004 * seed
    return {
        **{"event": "epoch", "time": START + 100 * seed + EPOCH_SECONDS * epoch, "epoch": epoch},
        **{"seconds": EPOCH_SECONDS - 0.01 * seed, "peak_memory_bytes": 900_000_000 + seed},
        **{"train_loss": 3 * left, "train_accuracy": 1 - left},
        **{"validation_loss": 3.5 * left, "validation_accuracy": 1 - 1.1 * left},
    }


def journal(variant: str, seed: int, epochs: int, until: int | None = None, end: str | None = "finished") -> list[dict]:
    """The journal of one seed; with `until` and without `end`, that of one that stopped on the way."""
    whole = identity(variant, epochs)
    start = {
        **{"event": "start", "time": START + 100 * seed, "variant": variant, "seed": seed},
        "fingerprint": files.sha256_json({**whole, "seed": seed}),
        "parent_fingerprint": files.sha256_json(whole),
        "parameters": SHAPES[variant][0],
        "identity": whole,
        "normalization": {"mean": 0.13, "std": 0.31},
        "provenance": {
            **{"commit": "c0ffee" * 6 + "beef", "dirty": False, "experiment": None, "threads": 1},
            **{"python": "3.11.9", "numpy": "2.4.6", "torch": "2.15.0", "lenetlab": "0.1.0"},
            "device": "cpu: Some Processor",
        },
    }
    events = [
        start,
        *(epoch_record(variant, seed, epoch) for epoch in range(1, (epochs if until is None else until) + 1)),
    ]
    if end:
        events.append({"event": "end", "time": events[-1]["time"] + 0.5, "status": end})
    if end == "diverged":
        events[-1] |= {"epoch": len(events) - 1, "step": 12}
    return events


def diverged(variant: str, seed: int, epochs: int, epoch: int) -> list[dict]:
    """The journal of a seed that was stopped in that epoch."""
    return journal(variant, seed, epochs, until=epoch - 1, end="diverged")


def write_journal(path: Path, events: list[dict]) -> None:
    files.write_text(path, "".join(json.dumps(event) + "\n" for event in events))


def write_csv(path: Path, rows: list[dict], columns: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def test_row(variant: str, seed: int, epoch: int) -> dict:
    left = 1 - epoch_record(variant, seed, epoch)["train_accuracy"]
    return {"test_loss": 3.2 * left, "test_accuracy": 1 - 1.05 * left}


test_row.__test__ = False  # a helper, not a test


def make_prepared(outputs: Path) -> None:
    pixels = {"images": 5, "per_class": [1] * 5 + [0] * 5, "mean": 0.1307, "std": 0.3081}
    folder = outputs / "data" / "prepared"
    duplicates = {"within": 0, "across": 0}
    splits = {"training": pixels | {"images": 55000}, "validation": pixels | {"images": 5000}}
    profile = {"digest": DATA, "images": 60000, "splits": splits, "duplicates": duplicates}
    files.write_json(folder / "train" / "profile.json", profile)
    test = {"digest": files.sha256(b"test"), "images": 10000, "splits": {"test": pixels | {"images": 10000}}}
    files.write_json(folder / "test" / "profile.json", test | {"duplicates": duplicates})
    files.write_bytes(folder / "samples.png", PNG)


Lost = dict[int, int]  # seeds that diverged, and the epoch


def make_training(outputs: Path, variant: str, seeds: int = 2, epochs: int = 3, lost: Lost | None = None) -> None:
    for name in ("runs", "journals"):  # as `dvc repro` does it
        shutil.rmtree(outputs / name / variant, ignore_errors=True)
    for seed in range(seeds):
        end = (lost or {}).get(seed)
        events = diverged(variant, seed, epochs, end) if end else journal(variant, seed, epochs)
        write_journal(outputs / "journals" / variant / f"seed-{seed}.jsonl", events)
        folder = outputs / "runs" / variant / f"seed-{seed}"
        keys = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
        write_csv(folder / "curves.csv", [{key: event[key] for key in keys} for event in events[1:-1]], keys)
        for epoch in range(1, len(events) - 1):
            files.write_bytes(folder / f"epoch-{epoch:02}.safetensors", f"{variant} {seed} {epoch}".encode())
        record = {"variant": variant, "seed": seed, "fingerprint": events[0]["fingerprint"]}
        files.write_manifest(
            folder / "run.json", {path.name: files.sha256_file(path) for path in sorted(folder.iterdir())}, **record
        )


def make_evaluation(outputs: Path, variant: str, seeds: int = 2, epochs: int = 3, lost: Lost | None = None) -> None:
    finished = [seed for seed in range(seeds) if seed not in (lost or {})]
    folder = outputs / "evaluations" / variant
    shutil.rmtree(folder, ignore_errors=True)
    last = {str(seed): test_row(variant, seed, epochs) for seed in finished}
    accuracies, losses = ([row[key] for row in last.values()] for key in ("test_accuracy", "test_loss"))
    metrics = {
        "parameters": SHAPES[variant][0],
        "test_accuracy": float(np.mean(accuracies)) if last else None,
        "test_accuracy_sd": float(np.std(accuracies, ddof=1)) if len(last) > 1 else None,
        "test_loss": float(np.mean(losses)) if last else None,
    }
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "seeds.json", last)
    rows = [
        {"seed": seed, "epoch": epoch, **test_row(variant, seed, epoch)}
        for seed in finished
        for epoch in range(1, epochs + 1)
    ]
    write_csv(folder / "curves.csv", rows, ("seed", "epoch", "test_loss", "test_accuracy"))
    starts = [journal(variant, seed, epochs)[0] for seed in range(seeds)]
    files.write_json(
        folder / "variant.json",
        {
            "variant": variant,
            "fingerprints": {str(seed): start["fingerprint"] for seed, start in enumerate(starts)},
            "parent_fingerprint": starts[0]["parent_fingerprint"],
            "test_data": files.sha256(b"test"),
            "diverged": {str(seed): {"epoch": epoch, "step": 12} for seed, epoch in (lost or {}).items()},
        },
    )
    common = ("curves.png", "confusion.png", "mistakes.png") if finished else ()
    for name in (*common, *(f"seed-{seed}/curves.png" for seed in finished)):
        files.write_bytes(folder / name, PNG)


def make_reports(outputs: Path) -> None:
    def accuracy(variant: str) -> float | None:
        return files.read_json(outputs / "evaluations" / variant / "metrics.json")["test_accuracy"]

    def difference(candidate: str, baseline: str) -> float | None:
        means = accuracy(candidate), accuracy(baseline)
        return None if None in means else means[0] - means[1]

    pairs = [("lenet5", "mlp", "better"), ("lenet5-regularized", "lenet5", "inconclusive")]
    entries = [
        {"candidate": candidate, "baseline": baseline, "family": "headline", "verdict": verdict}
        | {"difference": difference(candidate, baseline)}
        for candidate, baseline, verdict in pairs
    ]
    files.write_json(outputs / "reports" / "comparison.json", entries)
    origin = {"commit": "c0ffee" * 6 + "beef", "dirty": True, "experiment": "warm-tapir"}
    files.write_json(outputs / "reports" / "origin.json", origin)
    for variant in SHAPES:
        files.write_json(outputs / "reports" / "metrics" / f"{variant}.json", {})
    files.write_text(outputs / "reports" / "report.md", "# Is the difference real?\n\nlenet5 is **better** than mlp.\n")
    files.write_text(outputs / "reports" / "report.html", "<h1>Is the difference real?</h1>")
    files.write_text(outputs / "reports" / "figures" / "accuracy.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")


def make_all(outputs: Path, seeds: int = 2, epochs: int = 3) -> None:
    make_prepared(outputs)
    for variant in SHAPES:
        make_training(outputs, variant, seeds, epochs)
        make_evaluation(outputs, variant, seeds, epochs)
    make_reports(outputs)


# What a page shall show: no MLflow in these.


def test_a_variant_shows_the_means_of_its_seeds(tmp_path):
    make_all(tmp_path)
    parent, *children = tracking.of_variant(tmp_path, "lenet5")
    assert [child.name for child in children] == ["lenet5 seed 0", "lenet5 seed 1"]
    assert {child.parent for child in children} == {parent.fingerprint}
    for key in ("train_loss", "validation_accuracy", "test_loss", "train_seconds"):
        expected = (children[0].points[key, 2][0] + children[1].points[key, 2][0]) / 2
        assert parent.points[key, 2][0] == pytest.approx(expected), key
    final = files.read_json(tmp_path / "evaluations" / "lenet5" / "metrics.json")
    assert parent.points["test_accuracy", 3][0] == final["test_accuracy"]
    assert len({key for key, _ in parent.points}) < 15  # or MLflow's page gets hard to read


def test_what_a_variant_costs_is_shown_on_its_run_and_no_others(tmp_path):
    make_all(tmp_path)
    measured = {"parameters": 61075, "multiply_accumulates": 61006, "seconds_per_epoch": [0.5, 0.7]}
    measured |= {"device_memory_bytes": [None, None], "on_processor": [1.0, 1.0]}
    files.write_json(tmp_path / "costs.json", {"variants": {"mlp": measured}})
    parent, *children = tracking.of_variant(tmp_path, "mlp")
    found = {key: value for (key, epoch), (value, _) in parent.points.items() if key.startswith("cost_") and epoch == 3}
    assert found == {"cost_multiply_accumulates": 61006, "cost_seconds_per_epoch": pytest.approx(0.6)}
    others = [*children, *tracking.of_variant(tmp_path, "lenet5")]
    assert not [key for run in others for key, _ in run.points if key.startswith("cost_")]


def test_the_interval_is_students(tmp_path):
    make_all(tmp_path, seeds=4)
    parent = tracking.of_variant(tmp_path, "mlp")[0]
    final = files.read_json(tmp_path / "evaluations" / "mlp" / "metrics.json")
    error = final["test_accuracy_sd"] / math.sqrt(4)
    low, high = stats.t.interval(0.95, 3, final["test_accuracy"], error)
    assert parent.points["test_accuracy_low", 3][0] == pytest.approx(low)
    assert parent.points["test_accuracy_high", 3][0] == pytest.approx(high)
    assert parent.tags["interval"] == f"{100 * low:.2f}–{100 * high:.2f} %"


def test_one_seed_has_no_interval(tmp_path):
    make_training(tmp_path, "mlp", seeds=1)
    make_evaluation(tmp_path, "mlp", seeds=1)
    parent = tracking.of_variant(tmp_path, "mlp")[0]
    assert parent.tags["interval"] == "needs two seeds"
    assert ("test_accuracy_low", 3) not in parent.points


def test_verdicts_are_told_from_both_sides(tmp_path):
    make_all(tmp_path)
    verdicts = {variant: tracking.of_variant(tmp_path, variant)[0].tags["verdict"] for variant in SHAPES}
    assert verdicts == {
        "lenet5": "better than mlp; inconclusive against lenet5-regularized",
        "mlp": "worse than lenet5",
        "lenet5-regularized": "inconclusive against lenet5",
    }


def test_a_comparison_of_earlier_results_says_nothing(tmp_path):
    make_all(tmp_path)
    make_training(tmp_path, "mlp", epochs=2)
    make_evaluation(tmp_path, "mlp", epochs=2)
    assert "verdict" not in tracking.of_variant(tmp_path, "mlp")[0].tags
    assert "verdict" not in tracking.of_variant(tmp_path, "lenet5")[0].tags
    assert "verdict" in tracking.of_variant(tmp_path, "lenet5-regularized")[0].tags


def test_an_evaluation_of_an_earlier_training_is_not_taken(tmp_path):
    make_all(tmp_path)
    make_training(tmp_path, "mlp", epochs=2)
    for run in tracking.of_variant(tmp_path, "mlp"):
        assert "accuracy" not in run.tags
        assert not any(key.startswith("test_") for key, _ in run.points)


def test_all_variants_can_be_compared(tmp_path):
    make_all(tmp_path)
    parents = [tracking.of_variant(tmp_path, variant)[0] for variant in SHAPES]
    assert len({tuple(sorted(parent.params)) for parent in parents}) == 1
    assert len({tuple(sorted(parent.points)) for parent in parents}) == 1
    assert [parent.params["hidden"] for parent in parents] == ["120, 84", "59", "120, 84"]
    assert [parent.params["channels"] for parent in parents] == ["6, 16", "–", "6, 16"]


def test_a_mean_waits_for_every_seed():
    one, two = journal("mlp", 0, 3, until=2, end=None), journal("mlp", 1, 3, until=1, end=None)
    assert tracking.of_training([one], 2, "RUNNING")[0].points == {}
    assert {step for _, step in tracking.of_training([one, two], 2, "RUNNING")[0].points} == {1}
    assert tracking.of_training([[], []], 2, "RUNNING") == []


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (("finished", "diverged"), "FAILED"),
        (("diverged", "diverged"), "FAILED"),
        (("finished", "finished"), "FINISHED"),
        (("finished", "failed"), "FAILED"),
        (("finished", None), "KILLED"),
        ((None, "failed"), "FAILED"),
    ],
)
def test_a_variant_ends_as_its_seeds_do(ends, status):
    journals = [journal("mlp", seed, 3, end=end) for seed, end in enumerate(ends)]
    assert tracking.of_training(journals, 2, "KILLED")[0].status == status


def test_a_variant_goes_on_while_a_seed_has_not_begun():
    assert tracking.of_training([journal("mlp", 0, 3), []], 2, "RUNNING")[0].status == "RUNNING"


def test_a_seed_that_diverged_is_marked_and_keeps_its_curves_and_checkpoints(tmp_path):
    for make in (make_training, make_evaluation):
        make(tmp_path, "mlp", seeds=4, lost={1: 3, 3: 1})
    parent, *children = tracking.of_variant(tmp_path, "mlp")
    assert [(run.status, run.tags.get("diverged")) for run in children] == [
        ("FINISHED", None),
        ("FAILED", "epoch 3, batch 12"),
        ("FINISHED", None),
        ("FAILED", "epoch 1, batch 12"),
    ]
    lost = children[1]
    assert {step for key, step in lost.points if key == "train_loss"} == {1, 2}
    assert {"checkpoints/epoch-01.safetensors", "checkpoints/epoch-02.safetensors"} <= set(lost.artifacts)
    assert not [key for run in (lost, children[3]) for key, _ in run.points if key.startswith("test_")]
    assert "accuracy" not in lost.tags
    assert (parent.status, parent.tags["diverged"], parent.tags["seeds"]) == ("FAILED", "seeds 1, 3", "0 1 2 3")
    note = parent.tags["mlflow.note.content"]
    assert note.startswith("**2 of 4 seeds diverged** (1 in epoch 3, batch 12; 3 in epoch 1, batch 12)")
    assert "Test accuracy" in note
    expected = (children[0].points["train_loss", 3][0] + children[2].points["train_loss", 3][0]) / 2
    assert parent.points["train_loss", 3][0] == pytest.approx(expected)
    assert parent.points["test_accuracy_sd", 3][0] > 0  # of the two that finished


def test_a_variant_whose_seeds_all_diverged_has_a_run_without_results(tmp_path):
    make_all(tmp_path)
    for make in (make_training, make_evaluation):
        make(tmp_path, "mlp", lost={0: 1, 1: 2})
    make_reports(tmp_path)
    files.write_json(tmp_path / "costs.json", {"variants": {"mlp": {"seconds_per_epoch": [0.5, 0.7]}}})
    parent, *children = tracking.of_variant(tmp_path, "mlp")
    assert {run.status for run in (parent, *children)} == {"FAILED"}
    assert parent.tags["accuracy"] == "diverged"
    assert "Test accuracy" not in parent.tags["mlflow.note.content"]
    assert parent.tags["verdict"] == "worse than lenet5"  # as the fabricated comparison has it
    assert {key: value for key, (value, _) in parent.points.items()} == {
        ("cost_seconds_per_epoch", 0): pytest.approx(0.6)
    }
    assert all(math.isfinite(value) for run in (parent, *children) for value, _ in run.points.values())


def test_a_training_of_which_a_seed_has_diverged_goes_on_with_the_others():
    going = journal("mlp", 0, 3, until=2, end=None)
    parent, one, other = tracking.of_training([going, diverged("mlp", 1, 3, 2)], 2, "RUNNING")
    assert [run.status for run in (parent, one, other)] == ["RUNNING", "RUNNING", "FAILED"]
    assert parent.points["train_loss", 2] == one.points["train_loss", 2]
    assert parent.tags["diverged"] == "seed 1"
    first, *_ = tracking.of_training([diverged("mlp", 0, 3, 1), []], 2, "RUNNING")
    assert (first.status, first.points) == ("RUNNING", {})


@pytest.mark.parametrize(
    ("place", "maker"),
    [
        ("journals/mlp/seed-1.jsonl", "train@mlp"),
        ("evaluations/mlp/variant.json", "evaluate@mlp"),
        ("evaluations/mlp/seeds.json", "evaluate@mlp"),
        ("evaluations/mlp/metrics.json", "evaluate@mlp"),
        ("evaluations/mlp/curves.csv", "evaluate@mlp"),
        ("costs.json", "cost"),
        ("reports/comparison.json", "compare"),
    ],
)
def test_a_damaged_output_is_named_with_what_helps(tmp_path, place, maker):
    make_all(tmp_path)
    for content in ("", "{", "[{}]", "{}\n", "5"):
        files.write_text(tmp_path / place, content)
        with pytest.raises(UserError, match=f"{place}: cannot be read .*dvc checkout --force .*--single-item {maker}$"):
            tracking.of_variant(tmp_path, "mlp")


def test_missing_validation_figures_are_left_out():
    events = journal("mlp", 0, 1)
    events[1]["validation_loss"] = events[1]["validation_accuracy"] = None
    run = tracking.of_training([events], 1, "KILLED")[1]
    assert {key for key, _ in run.points} == {
        "train_loss",
        "train_accuracy",
        "train_seconds",
        "train_peak_memory_bytes",
    }


def test_the_module_loads_neither_mlflow_nor_torch():
    seen = "import sys; from lenetlab import tracking; print({'mlflow', 'torch', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout == "set()\n"


# What MLflow holds.


@pytest.fixture
def root(template, tmp_path, monkeypatch):
    """The working folder of a study, with an empty store."""
    folder = tmp_path / "study"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def all_runs(folder: Path) -> dict:
    """MLflow's runs by name."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("lenetlab").experiment_id])
    assert len({run.info.run_name for run in found}) == len(found), "a run was doubled"
    return {run.info.run_name: run for run in found}


def digests(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): files.sha256_file(path) for path in paths}


def told(client: Any, runs: Sequence[Any], place: Callable[[str], Path]) -> list[dict]:
    """All that MLflow tells of these runs, without its own ids; `place` finds the folder of artifacts of a URI."""
    names = {run.info.run_id: run.info.run_name for run in runs}
    return [
        {
            "name": run.info.run_name,
            "status": (run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": run.data.tags | {"mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))},
            "points": sorted(
                (point.key, point.step, point.value, point.timestamp)
                for key in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, key)
            ),
            "artifacts": digests(place(run.info.artifact_uri)),
            "data": sorted((item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs),
        }
        for run in runs
    ]


def shown(folder: Path) -> dict:
    """All that MLflow tells of every run, by name."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = told(client, list(all_runs(folder).values()), lambda uri: folder / uri)
    return {run.pop("name"): run for run in found}


def test_everything_published_is_read_back(root):
    make_all(root)
    added = tracking.sync(list(SHAPES))
    found = shown(root)
    seeds = [f"{variant} seed {seed}" for variant in SHAPES for seed in (0, 1)]
    assert set(found) == {"prepare", "comparison", *SHAPES, *seeds}
    assert added["runs"] == len(found)
    assert {run["status"][0] for run in found.values()} == {"FINISHED"}

    seed = found["mlp seed 1"]
    assert seed["status"][1:] == (1000 * (START + 100), 1000 * (START + 100) + 18500)
    assert seed["tags"]["mlflow.parentRunId"] == "mlp"
    assert seed["tags"]["fingerprint"] == journal("mlp", 1, 3)[0]["fingerprint"]
    assert [point[1:] for point in seed["points"] if point[0] == "train_loss"] == [
        (epoch, epoch_record("mlp", 1, epoch)["train_loss"], 1000 * (START + 100) + 6000 * epoch) for epoch in (1, 2, 3)
    ]
    assert [point[2] for point in seed["points"] if point[0] == "test_accuracy"] == [
        test_row("mlp", 1, epoch)["test_accuracy"] for epoch in (1, 2, 3)
    ]
    assert seed["data"] == [("data/prepared/test", files.sha256(b"test")[:12]), ("data/prepared/train", DATA[:12])]
    assert seed["artifacts"] == {
        **digests(root / "evaluations/mlp/seed-1"),
        **{name: files.sha256_file(root / "runs/mlp/seed-1" / name) for name in ("curves.csv", "run.json")},
        **{f"checkpoints/epoch-{n:02}.safetensors": files.sha256(f"mlp 1 {n}".encode()) for n in (1, 2, 3)},
    }

    variant = found["lenet5"]
    assert variant["params"]["parameters"] == "61706"
    assert variant["tags"]["seeds"] == "0 1"
    assert {"curves.png", "confusion.png", "mistakes.png", "metrics.json"} <= set(variant["artifacts"])
    assert found["prepare"]["params"]["training_images"] == "55000"
    assert set(found["prepare"]["artifacts"]) == {"samples.png", "train/profile.json", "test/profile.json"}
    assert found["comparison"]["artifacts"] == digests(root / "reports")
    expected = {"dirty": "true", "dvc_experiment": "warm-tapir", "verdict": "1 better, 1 inconclusive"}
    assert expected.items() <= found["comparison"]["tags"].items()
    assert found["comparison"]["tags"]["mlflow.note.content"] == (root / "reports/report.md").read_text()


def test_publishing_twice_changes_nothing(root):
    make_all(root)
    tracking.sync(list(SHAPES))
    before = shown(root)
    assert set(tracking.sync(list(SHAPES)).values()) == {0}
    assert shown(root) == before


def test_a_store_filled_on_the_way_equals_one_rebuilt_at_the_end(root, template, tmp_path):
    make_prepared(root)
    tracking.sync([])
    for variant in SHAPES:
        make_training(root, variant)
        tracking.sync([variant])
        make_evaluation(root, variant)
        tracking.sync([variant])
    make_reports(root)
    tracking.sync(list(SHAPES))
    on_the_way = shown(root)

    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlruns")
    shutil.copy(template / "mlflow.db", root / "mlflow.db.new")  # a new inode: MLflow keeps the old one open
    (root / "mlflow.db.new").rename(root / "again.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///again.db")
        tracking.sync(list(SHAPES))
    rebuilt = tmp_path / "rebuilt"
    rebuilt.mkdir()
    shutil.copy(root / "again.db", rebuilt / "mlflow.db")
    shutil.move(root / "mlruns", rebuilt)
    assert shown(rebuilt) == on_the_way


def test_artifacts_are_found_after_the_folder_has_moved(root, tmp_path, monkeypatch):
    import mlflow

    make_all(root)
    tracking.sync(["mlp"])
    monkeypatch.chdir(tmp_path)
    moved = root.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    run = all_runs(moved)["mlp"]
    assert not Path(run.info.artifact_uri).is_absolute()
    client = mlflow.MlflowClient(f"sqlite:///{moved / 'mlflow.db'}")
    assert "curves.png" in [item.path for item in client.list_artifacts(run.info.run_id)]
    picture = client.download_artifacts(run.info.run_id, "curves.png", str(tmp_path))
    assert Path(picture).read_bytes() == PNG
    assert set(tracking.sync(["mlp"]).values()) == {0}


def test_a_seed_can_be_added(root):
    make_training(root, "mlp", seeds=2)
    tracking.sync(["mlp"])
    before = all_runs(root)
    make_training(root, "mlp", seeds=3)
    assert tracking.sync(["mlp"])["runs"] == 1
    after = all_runs(root)
    assert after["mlp"].info.run_id == before["mlp"].info.run_id
    losses = [epoch_record("mlp", seed, 3)["train_loss"] for seed in range(3)]
    assert after["mlp"].data.metrics["train_loss"] == pytest.approx(np.mean(losses))
    assert after["mlp"].data.tags["seeds"] == "0 1 2"
    assert set(tracking.sync(["mlp"]).values()) == {0}


def test_the_latest_evaluation_is_the_one_shown(root):
    make_training(root, "mlp")
    make_evaluation(root, "mlp")
    tracking.sync(["mlp"])
    folder = root / "evaluations/mlp"
    worse = files.read_json(folder / "metrics.json") | {"test_accuracy": 0.1}
    files.write_json(folder / "metrics.json", worse)
    tracking.sync(["mlp"])
    assert all_runs(root)["mlp"].data.metrics["test_accuracy"] == 0.1
    assert set(tracking.sync(["mlp"]).values()) == {0}


def test_a_picture_drawn_anew_is_sent_anew(root):
    make_all(root)
    tracking.sync(["mlp"])
    files.write_bytes(root / "evaluations/mlp/curves.png", PNG + b"more")
    tracking.sync(["mlp"])
    folder = root / all_runs(root)["mlp"].info.artifact_uri
    assert (folder / "curves.png").read_bytes() == PNG + b"more"


def test_a_deleted_run_is_published_again(root):
    import mlflow

    make_training(root, "mlp")
    tracking.sync(["mlp"])
    run = all_runs(root)["mlp seed 0"].info.run_id
    mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}").delete_run(run)
    assert tracking.sync(["mlp"])["runs"] == 1
    assert all_runs(root)["mlp seed 0"].info.run_id != run


def test_a_relative_store_belongs_to_the_repository(root, tmp_path, monkeypatch):
    workspace = tmp_path / "workspace"
    make_all(workspace)
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    tracking.sync(["mlp"])
    assert Path.cwd() == workspace
    assert not list(workspace.glob("ml*"))
    assert "mlp seed 1" in shown(root)


def publish_live(*journals: list[dict]) -> None:
    with tracking.opened(tracking.place()) as store:
        store.put(*tracking.of_training(journals, 2, "RUNNING"))


def test_runs_left_by_a_power_cut_are_ended(root):
    finished, cut = journal("mlp", 0, 3), journal("mlp", 1, 3, until=1, end=None)
    publish_live(finished[:3], cut)
    assert {run.info.status for run in all_runs(root).values()} == {"RUNNING"}
    write_journal(root / ".lenetlab/resume" / finished[0]["fingerprint"] / "journal.jsonl", finished)
    assert tracking.sync(["mlp"])["ended"] == 3
    statuses = {name: run.info.status for name, run in all_runs(root).items()}
    assert statuses == {"mlp": "KILLED", "mlp seed 0": "FINISHED", "mlp seed 1": "KILLED"}
    assert all_runs(root)["mlp seed 1"].info.end_time == 1000 * (START + 100) + 6000
    assert tracking.sync(["mlp"])["ended"] == 0


def test_a_training_that_makes_progress_is_left_alone(root):
    old, fresh = journal("mlp", 0, 3, end=None), journal("mlp", 1, 3, end=None)
    publish_live(old, fresh)
    fresh[-1]["time"] = time.time() - 60
    write_journal(root / ".lenetlab/resume" / fresh[0]["fingerprint"] / "journal.jsonl", fresh)
    assert tracking.sync(["mlp"])["ended"] == 0
    assert {run.info.status for run in all_runs(root).values()} == {"RUNNING"}


@pytest.mark.usefixtures("root")
def test_sync_says_plainly_what_is_wrong(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9: ") as caught:
        tracking.sync([])
    assert "secret" not in str(caught.value)


# Beside a stage, in a process of its own.


@pytest.fixture
def resume(root) -> dict[int, Path]:
    return {seed: root / ".lenetlab/resume" / journal("mlp", seed, 3)[0]["fingerprint"] for seed in (0, 1)}


def wait_for(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute")


@pytest.mark.slow
def test_a_stage_is_followed_while_it_trains_and_resumes(root, resume, capfd):
    def fail_in_the_second_epoch():
        write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=1, end=None))
        wait_for(lambda: "mlp seed 0" in all_runs(root))
        assert all_runs(root)["mlp seed 0"].info.status == "RUNNING"
        write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=2, end=None))
        write_journal(resume[1] / "journal.jsonl", journal("mlp", 1, 3, until=1, end=None))
        wait_for(lambda: "mlp seed 1" in all_runs(root))
        raise RuntimeError("the stage fails")

    def interrupt():
        wait_for(lambda: all_runs(root)["mlp seed 0"].info.status == "RUNNING")
        raise KeyboardInterrupt

    with pytest.raises(RuntimeError), tracking.follow("train", "mlp", resume):
        fail_in_the_second_epoch()
    assert {run.info.status for run in all_runs(root).values()} == {"FAILED"}

    first = all_runs(root)["mlp seed 0"].info.run_id
    with pytest.raises(KeyboardInterrupt), tracking.follow("train", "mlp", resume):
        interrupt()
    assert {run.info.status for run in all_runs(root).values()} == {"KILLED"}

    with tracking.follow("train", "mlp", resume):
        make_training(root, "mlp")
    found = shown(root)
    assert {run["status"][0] for run in found.values()} == {"FINISHED"}
    assert all_runs(root)["mlp seed 0"].info.run_id == first
    assert [point[1] for point in found["mlp seed 0"]["points"] if point[0] == "train_loss"] == [1, 2, 3]
    assert "checkpoints/epoch-03.safetensors" in found["mlp seed 1"]["artifacts"]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_every_stage_is_followed(root, capfd):
    make_all(root)
    with tracking.follow("prepare"):
        pass
    with tracking.follow("evaluate", "lenet5-regularized"):
        pass
    with tracking.follow("compare"):
        pass
    on_the_way = shown(root)
    assert set(tracking.sync(list(SHAPES)).values()) == {0}
    assert len(on_the_way) == 11
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_killed_stage_leaves_no_run_running(root, resume):
    write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=1, end=None))
    script = (
        "import sys, time; from pathlib import Path; from lenetlab import tracking\n"
        "with tracking.follow('train', 'mlp', {0: Path(sys.argv[1])}): time.sleep(100)"
    )
    stage = subprocess.Popen([sys.executable, "-c", script, str(resume[0])], cwd=root)
    try:
        wait_for(lambda: "mlp seed 0" in all_runs(root))
        assert {run.info.status for run in all_runs(root).values()} == {"RUNNING"}
    finally:
        stage.kill()
        stage.wait()
    wait_for(lambda: {run.info.status for run in all_runs(root).values()} == {"KILLED"})


@pytest.mark.slow
def test_processes_that_open_a_new_store_at_once_do_not_clash(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for variant in SHAPES:
        make_training(tmp_path, variant)
    with contextlib.ExitStack() as stack:
        for variant in SHAPES:
            stack.enter_context(tracking.follow("train", variant))
    assert len(all_runs(tmp_path)) == 9
    assert capfd.readouterr().err == ""


def descendants(process: int) -> set[int]:
    """With the process itself."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(processes: set[int]) -> set[tuple[str, int]]:
    """Addresses and ports; an address of version 6 as the system writes it."""
    sockets = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    found = set()
    for table in (path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()):
        for row in table.read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                address, port = local.split(":")
                name = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address
                found.add((name, int(port, 16)))
    return found


@pytest.mark.slow
def test_the_pages_are_served_to_this_machine_alone_and_end_quietly(root):
    make_all(root)
    tracking.sync(["mlp"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", f"from lenetlab import tracking; tracking.ui({port})"]
    with (root / "errors").open("w") as errors:
        pages = subprocess.Popen(
            command,
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # A test run that a shell has put into the background ignores Ctrl-C, and so would all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        assert pages.stdout.readline() == "MLflow is starting …\n"
        assert pages.stdout.readline().startswith(f"http://127.0.0.1:{port}/#/experiments/1/runs?")
        run = all_runs(root)["mlp"].info.run_id
        artifact = f"http://127.0.0.1:{port}/get-artifact?run_uuid={run}&path=curves.png"
        assert urllib.request.urlopen(artifact, timeout=30).read() == PNG  # noqa: S310
        foreign = urllib.request.Request(artifact, headers={"Host": f"10.example.org:{port}"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign, timeout=30)  # noqa: S310
        if Path("/proc/net/tcp").exists():
            assert listening(descendants(pages.pid)) == {("127.0.0.1", port)}
        pages.send_signal(signal.SIGINT)
        assert pages.wait(timeout=20) == 0
        assert "Traceback" not in (root / "errors").read_text()
    finally:
        pages.terminate()
        pages.communicate(timeout=20)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server is still there"
