"""Trained weights on the test images: curves over all epochs, the last epoch's predictions, and the worst mistakes."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from lenetlab import UserError, checkpoint, dataset, device, execution, files, models, params, predictions, training

CURVES = ("seed", *training.CURVES, "test_loss", "test_accuracy")
MISTAKES = 24  # as many as fit a page


@dataclass(frozen=True)
class Evaluation:
    """All seeds of a variant on the test set."""

    definition: dict[str, Any]  # `variant.json`
    curves: list[dict[str, Any]]  # a row per seed and epoch, CURVES
    predictions: predictions.Predictions
    mistakes: dict[str, np.ndarray]  # number, label, predicted, confidence, votes (K), pixels (K, 28, 28)


def evaluate(study: params.Study, variant: str, runs: Path, prepared_folder: Path) -> Evaluation:
    """Evaluate the weights of every epoch and seed in `runs`. UserError names what is missing or damaged."""
    device.pin()
    where = device.resolve(study.device)
    prepared = dataset.load(prepared_folder)
    records = [_record(runs / f"seed-{seed}") for seed in study.seeds]
    definition = study.variants[variant]
    normalization = dataset.Normalization(**records[0]["normalization"])
    digits = prepared.digits("test", definition.input, normalization, where)

    def task(record: dict[str, Any]) -> execution.Task:
        return lambda: _evaluate_seed(definition, runs / f"seed-{record['seed']}", record, digits)

    answers: dict[int, Any] = {}
    with tqdm(total=len(records), desc=f"{variant} on test", unit="seed", dynamic_ncols=True) as bar:
        processes = execution.workers(where, len(records))
        for number, answer in execution.perform([task(record) for record in records], processes):
            answers[number] = answer
            bar.update()
    in_order = [answers[number] for number in range(len(records))]
    found = predictions.Predictions(
        seeds=np.array(study.seeds, dtype=np.int64),
        labels=prepared.labels,
        predicted=np.stack([predicted for _, predicted, _ in in_order]),
        probability=np.stack([probability for _, _, probability in in_order]),
    )
    return Evaluation(
        definition={
            "variant": variant,
            **{key: records[0][key] for key in ("parameters", "parent_fingerprint", "identity", "normalization")},
            "fingerprints": {str(record["seed"]): record["fingerprint"] for record in records},
            "test_data": prepared.digest,
            "layers": models.layer_table(models.build(definition, seed=0), definition.input.size),
        },
        curves=[row for rows, _, _ in in_order for row in rows],
        predictions=found,
        mistakes=most_confident_mistakes(found, prepared.numbers, prepared.pixels),
    )


def write(evaluation: Evaluation, folder: Path) -> None:
    """The variant's files as other programs read them; see docs/design.md."""
    last = max(row["epoch"] for row in evaluation.curves)
    final = {row["seed"]: row for row in evaluation.curves if row["epoch"] == last}
    accuracies = [row["test_accuracy"] for row in final.values()]
    metrics = {
        "parameters": evaluation.definition["parameters"],
        "test_accuracy": float(np.mean(accuracies)),
        "test_accuracy_sd": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "test_loss": float(np.mean([row["test_loss"] for row in final.values()])),
    }
    seeds = {str(seed): {key: row[key] for key in ("test_accuracy", "test_loss")} for seed, row in final.items()}
    table = io.StringIO()
    writer = csv.DictWriter(table, CURVES, lineterminator="\n")
    writer.writeheader()
    writer.writerows(evaluation.curves)
    files.write_json(folder / "metrics.json", metrics)
    files.write_json(folder / "seeds.json", seeds)
    files.write_json(folder / "variant.json", evaluation.definition)
    files.write_text(folder / "curves.csv", table.getvalue())
    predictions.write(evaluation.predictions, folder / "predictions.npz")
    with files.writing(folder / "mistakes.npz") as stream:
        np.savez_compressed(stream, **evaluation.mistakes)


def most_confident_mistakes(
    found: predictions.Predictions, numbers: np.ndarray, pixels: np.ndarray, most: int = MISTAKES
) -> dict[str, np.ndarray]:
    """The images misread with the most confidence: the probability given to wrong answers, mean over all seeds."""
    confidence = np.where(found.correct, 0.0, found.probability).mean(axis=0)
    votes = (~found.correct).sum(axis=0)
    worst = np.argsort(-confidence, kind="stable")[:most]
    worst = worst[votes[worst] > 0]
    wrong = np.where(found.correct[:, worst], 10, found.predicted[:, worst])  # 10 stands for: not misread
    commonest = [np.bincount(column[column < 10], minlength=10).argmax() for column in wrong.T]
    return {
        "number": numbers[worst],
        "label": found.labels[worst],
        "predicted": np.array(commonest, dtype=np.uint8),
        "confidence": confidence[worst],
        "votes": votes[worst],
        "pixels": pixels[worst],
    }


def _evaluate_seed(
    definition: params.Variant, folder: Path, record: dict[str, Any], digits: dataset.Digits
) -> Iterator[tuple[list[dict[str, Any]], np.ndarray, np.ndarray]]:
    model = models.build(definition, seed=0).to(digits.labels.device)
    with (folder / "curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        checkpoint.load_weights(model, folder / checkpoint.weights_name(int(row["epoch"])))
        logits = models.logits(model, digits.images).double()
        predicted = logits.argmax(1)
        row["seed"], row["epoch"] = record["seed"], int(row["epoch"])
        row["test_loss"] = functional.cross_entropy(logits, digits.labels).item()
        row["test_accuracy"] = (predicted == digits.labels).sum().item() / len(digits)
    probability = torch.softmax(logits, dim=1).gather(1, predicted.unsqueeze(1)).squeeze(1)
    yield rows, predicted.cpu().numpy().astype(np.uint8), probability.float().cpu().numpy()


def _record(folder: Path) -> dict[str, Any]:
    if not training.finished(folder):
        raise UserError(f"{folder}: not a finished training, or a file of it is damaged; remedy: dvc repro train")
    return files.read_json(folder / "run.json")
