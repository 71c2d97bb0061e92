"""Outputs as the stages leave them, with figures made up here."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np

from lenetlab.storage import files, manifests
from lenetlab.storage.digests import sha256, sha256_file, sha256_json

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
DATA = sha256(b"prepared training images")


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
        "code": sha256(b"code"),
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
        "fingerprint": sha256_json({**whole, "seed": seed}),
        "parent_fingerprint": sha256_json(whole),
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


def evaluated(variant: str, seed: int, epoch: int) -> dict:
    left = 1 - epoch_record(variant, seed, epoch)["train_accuracy"]
    return {"test_loss": 3.2 * left, "test_accuracy": 1 - 1.05 * left}


def make_prepared(outputs: Path) -> None:
    pixels = {"images": 5, "per_class": [1] * 5 + [0] * 5, "mean": 0.1307, "std": 0.3081}
    folder = outputs / "data" / "prepared"
    duplicates = {"within": 0, "across": 0}
    splits = {"training": pixels | {"images": 55000}, "validation": pixels | {"images": 5000}}
    profile = {"digest": DATA, "images": 60000, "splits": splits, "duplicates": duplicates}
    files.write_json(folder / "train" / "profile.json", profile)
    test = {"digest": sha256(b"test"), "images": 10000, "splits": {"test": pixels | {"images": 10000}}}
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
        manifests.write_manifest(
            folder / "run.json", {path.name: sha256_file(path) for path in sorted(folder.iterdir())}, **record
        )


def make_evaluation(outputs: Path, variant: str, seeds: int = 2, epochs: int = 3, lost: Lost | None = None) -> None:
    finished = [seed for seed in range(seeds) if seed not in (lost or {})]
    folder = outputs / "evaluations" / variant
    shutil.rmtree(folder, ignore_errors=True)
    last = {str(seed): evaluated(variant, seed, epochs) for seed in finished}
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
        {"seed": seed, "epoch": epoch, **evaluated(variant, seed, epoch)}
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
            "test_data": sha256(b"test"),
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
