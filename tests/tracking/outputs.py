"""Made-up outputs of the stages, as files."""

import csv
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenetlab.storage import files, manifests
from lenetlab.storage.digests import sha256, sha256_file, sha256_json


@dataclass(frozen=True)
class Variant:
    parameters: int
    accuracy: float  # on the training images after many epochs, mean over seeds
    model: dict[str, Any]
    regularization: dict[str, Any] = field(default_factory=dict)  # where it differs from none


LENET5 = {"name": "lenet5", "channels": [6, 16], "hidden": [120, 84], "pooling": "max"}
VARIANTS = {
    "lenet5": Variant(61706, 0.9891, LENET5),
    "mlp": Variant(61075, 0.9752, {"name": "mlp", "hidden": [59]}),
    "lenet5-regularized": Variant(61750, 0.9901, LENET5, {"batch_norm": True, "dropout": 0.5}),
}
START = 1_700_000_000.0  # Unix seconds
EPOCH_SECONDS = 6.0
COMMIT = "c0ffee" * 6 + "beef"
DATA = sha256(b"prepared training images")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003860180343a5c610000000049454e44ae426082"
)

Event = dict[str, Any]  # a line of a journal
Diverged = dict[int, int]  # by seed, the epoch in which it diverged


# Journals.


def identity(variant: str, epochs: int) -> dict[str, Any]:
    none = {"batch_norm": False, "dropout": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0, "augmentation": "none"}
    return {
        "variant": variant,
        "definition": {
            "input": {"size": 32, "resize": "pad", "normalize": True},
            "model": {**VARIANTS[variant].model, "activation": "relu"},
            "regularization": none | VARIANTS[variant].regularization,
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


def error_rate(variant: str, seed: int, epoch: int) -> float:
    """On the training images."""
    return (1 - VARIANTS[variant].accuracy) * (1 + 8 / epoch**1.5) + 0.0004 * seed


def epoch_event(variant: str, seed: int, epoch: int) -> Event:
    error = error_rate(variant, seed, epoch)
    return {
        **{"event": "epoch", "time": START + 100 * seed + EPOCH_SECONDS * epoch, "epoch": epoch},
        **{"seconds": EPOCH_SECONDS - 0.01 * seed, "peak_memory_bytes": 900_000_000 + seed},
        **{"train_loss": 3 * error, "train_accuracy": 1 - error},
        **{"validation_loss": 3.5 * error, "validation_accuracy": 1 - 1.1 * error},
    }


def journal(
    variant: str, seed: int, epochs: int, until: int | None = None, end: str | None = "finished"
) -> list[Event]:
    """The journal of one seed; with `until` it has only these epochs, and if `end` is None it has no end."""
    common = identity(variant, epochs)
    start = {
        **{"event": "start", "time": START + 100 * seed, "variant": variant, "seed": seed},
        "fingerprint": sha256_json({**common, "seed": seed}),
        "parent_fingerprint": sha256_json(common),
        "parameters": VARIANTS[variant].parameters,
        "identity": common,
        "normalization": {"mean": 0.13, "std": 0.31},
        "provenance": {
            **{"commit": COMMIT, "dirty": False, "experiment": None, "threads": 1},
            **{"python": "3.11.9", "numpy": "2.4.6", "torch": "2.15.0", "lenetlab": "0.1.0"},
            "device": "cpu: Some Processor",
        },
    }
    last = epochs if until is None else until
    events = [start, *(epoch_event(variant, seed, epoch) for epoch in range(1, last + 1))]
    if end:
        events.append({"event": "end", "time": events[-1]["time"] + 0.5, "status": end})
    if end == "diverged":
        events[-1] |= {"epoch": last + 1, "step": 12}
    return events


def diverged_journal(variant: str, seed: int, epochs: int, epoch: int) -> list[Event]:
    """The journal of a seed that diverged in this epoch."""
    return journal(variant, seed, epochs, until=epoch - 1, end="diverged")


def write_journal(path: Path, events: list[Event]) -> None:
    files.write_text(path, "".join(json.dumps(event) + "\n" for event in events))


# The outputs of one stage each.


def make_prepared(outputs: Path) -> None:
    pixels = {"images": 5, "per_class": [1] * 5 + [0] * 5, "mean": 0.1307, "std": 0.3081}
    folder = outputs / "data" / "prepared"
    duplicates = {"within": 0, "across": 0}
    splits = {"training": pixels | {"images": 55000}, "validation": pixels | {"images": 5000}}
    kind = {"size": 28, "channels": 1, "classes": [str(number) for number in range(10)], "duplicates": duplicates}
    kind["conversions"] = {}
    profile = {"digest": DATA, "images": 60000, "splits": splits, **kind}
    files.write_json(folder / "train" / "profile.json", profile)
    test = {"digest": sha256(b"test"), "images": 10000, "splits": {"test": pixels | {"images": 10000}}}
    files.write_json(folder / "test" / "profile.json", test | kind)
    files.write_bytes(folder / "samples.png", PNG)


def make_training(
    outputs: Path, variant: str, seeds: int = 2, epochs: int = 3, diverged: Diverged | None = None
) -> None:
    for name in ("runs", "journals"):  # `dvc repro` removes them too
        shutil.rmtree(outputs / name / variant, ignore_errors=True)
    for seed in range(seeds):
        epoch = (diverged or {}).get(seed)
        events = diverged_journal(variant, seed, epochs, epoch) if epoch else journal(variant, seed, epochs)
        write_journal(outputs / "journals" / variant / f"seed-{seed}.jsonl", events)
        folder = outputs / "runs" / variant / f"seed-{seed}"
        keys = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
        _write_csv(folder / "curves.csv", [{key: event[key] for key in keys} for event in events[1:-1]], keys)
        for number in range(1, len(events) - 1):
            files.write_bytes(folder / f"epoch-{number:02}.safetensors", f"{variant} {seed} {number}".encode())
        digests = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
        record = {"variant": variant, "seed": seed, "fingerprint": events[0]["fingerprint"]}
        manifests.write_manifest(folder / "run.json", digests, **record)


def evaluation_row(variant: str, seed: int, epoch: int) -> dict[str, float]:
    error = error_rate(variant, seed, epoch)
    return {"test_loss": 3.2 * error, "test_accuracy": 1 - 1.05 * error}


def make_evaluation(
    outputs: Path, variant: str, seeds: int = 2, epochs: int = 3, diverged: Diverged | None = None
) -> None:
    diverged = diverged or {}
    finished = [seed for seed in range(seeds) if seed not in diverged]
    folder = outputs / "evaluations" / variant
    shutil.rmtree(folder, ignore_errors=True)
    final = {str(seed): evaluation_row(variant, seed, epochs) for seed in finished}
    accuracies, losses = ([row[key] for row in final.values()] for key in ("test_accuracy", "test_loss"))
    metrics = {
        "parameters": VARIANTS[variant].parameters,
        "test_accuracy": float(np.mean(accuracies)) if final else None,
        "test_accuracy_sd": float(np.std(accuracies, ddof=1)) if len(final) > 1 else None,
        "test_loss": float(np.mean(losses)) if final else None,
    }
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "seeds.json", final)
    rows = [
        {"seed": seed, "epoch": epoch, **evaluation_row(variant, seed, epoch)}
        for seed in finished
        for epoch in range(1, epochs + 1)
    ]
    _write_csv(folder / "curves.csv", rows, ("seed", "epoch", "test_loss", "test_accuracy"))
    starts = {str(seed): journal(variant, seed, epochs)[0] for seed in range(seeds)}
    record = {
        "variant": variant,
        "fingerprints": {seed: start["fingerprint"] for seed, start in starts.items()},
        "parent_fingerprint": starts["0"]["parent_fingerprint"],
        "test_data": sha256(b"test"),
        "diverged": {str(seed): {"epoch": epoch, "step": 12} for seed, epoch in diverged.items()},
    }
    files.write_json(folder / "variant.json", record)
    shared = ("curves.png", "confusion.png", "mistakes.png") if finished else ()
    for name in (*shared, *(f"seed-{seed}/curves.png" for seed in finished)):
        files.write_bytes(folder / name, PNG)


def make_reports(outputs: Path, experiment: str | None = None) -> None:
    def difference(candidate: str, baseline: str) -> float | None:
        paths = [outputs / "evaluations" / name / "metrics.json" for name in (candidate, baseline)]
        means = [files.read_json(path)["test_accuracy"] for path in paths]
        return None if None in means else means[0] - means[1]

    def trained(name: str) -> str:
        return files.read_json(outputs / "evaluations" / name / "variant.json")["parent_fingerprint"]

    folder = outputs / "reports"
    pairs = [("lenet5", "mlp", "better"), ("lenet5-regularized", "lenet5", "inconclusive")]
    entries = [
        {"candidate": candidate, "baseline": baseline, "family": "headline", "verdict": verdict}
        | {"difference": difference(candidate, baseline), "measure": "test_accuracy", "seeds": 1000}
        | {"declared": {"trained": {name: trained(name) for name in (candidate, baseline)}}}
        for candidate, baseline, verdict in pairs
    ]
    files.write_json(folder / "comparison.json", entries)
    files.write_json(folder / "origin.json", {"commit": COMMIT, "dirty": True, "experiment": experiment})
    for variant in VARIANTS:
        metrics = files.read_json(outputs / "evaluations" / variant / "metrics.json")
        files.write_json(folder / "metrics" / f"{variant}.json", metrics)
    files.write_text(folder / "report.md", "# Is the difference real?\n\nlenet5 is **better** than mlp.\n")
    files.write_text(folder / "report.html", "<h1>Is the difference real?</h1>")
    files.write_text(folder / "figures" / "accuracy.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")


def make_all(outputs: Path, seeds: int = 2, epochs: int = 3) -> None:
    make_prepared(outputs)
    for variant in VARIANTS:
        make_training(outputs, variant, seeds, epochs)
        make_evaluation(outputs, variant, seeds, epochs)
    make_reports(outputs)


def _write_csv(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
