"""Trained weights on the test images: curves over all epochs, the last epoch's predictions, and the images misread."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.evaluation import mistakes, predictions
from lenetlab.networks import build, layer_table
from lenetlab.settings import schema
from lenetlab.storage import files, manifests, paths
from lenetlab.training import checkpoint, device, group, parallel, run_files

CURVES = ("seed", *run_files.CURVES, "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Evaluation:
    """The seeds of a variant that finished, on the test set."""

    definition: dict[str, Any]  # `variant.json`
    curves: list[dict[str, Any]]  # a row per seed and epoch, CURVES
    predictions: predictions.Predictions
    mistakes: dict[str, np.ndarray]  # `mistakes.npz`, as `mistakes.misread` tells

    @property
    def confusion(self) -> np.ndarray:
        return predictions.confusion(self.predictions.labels, self.predictions.predicted)

    @property
    def diverged(self) -> dict[str, dict[str, int]]:
        """The epoch and the step at which each of the other seeds was stopped."""
        return self.definition["diverged"]


def evaluate(study: schema.Study, variant: str, runs: Path, prepared_folder: Path) -> Evaluation:
    """Evaluate the weights of every epoch and seed in `runs`. UserError names what is missing or damaged.

    A seed that diverged has no last epoch to judge it by, and takes no part.
    """
    device.pin()
    where = device.resolve(study.device)
    prepared = dataset.load(prepared_folder)
    records = [_record(runs / paths.seed_name(seed)) for seed in study.seeds]
    seeds = [record["seed"] for record in records if not record["diverged"]]
    definition = study.variants[variant]
    normalization = dataset.Normalization(**records[0]["normalization"])
    digits = prepared.digits("test", definition.input, normalization, where)

    table = {seed: run_files.read_curves(runs / paths.seed_name(seed) / paths.CURVES) for seed in seeds}
    epochs = [int(row["epoch"]) for row in table[seeds[0]]] if seeds else []
    predicted, probability = np.empty((0, len(digits)), np.uint8), np.empty((0, len(digits)), np.float32)

    def task(epoch: int) -> parallel.Task:
        weights = [runs / paths.seed_name(seed) / checkpoint.weights_name(epoch) for seed in seeds]
        return lambda: _answers(definition, weights, digits)

    with tqdm(total=len(epochs), desc=f"{variant} on test", unit="epoch", dynamic_ncols=True) as bar:
        processes = parallel.workers(where, len(epochs))
        for number, (answers, losses) in parallel.perform([task(epoch) for epoch in epochs], processes):
            for seed, (classes, _), loss in zip(seeds, answers, losses, strict=True):
                accuracy = float((classes == prepared.labels).mean())
                table[seed][number].update(seed=seed, epoch=epochs[number], test_loss=loss, test_accuracy=accuracy)
            if epochs[number] == epochs[-1]:
                # the last epoch need not be the last to come
                predicted, probability = (np.stack(part) for part in zip(*answers, strict=True))
            bar.update()
    found = predictions.Predictions(np.array(seeds, dtype=np.int64), prepared.labels, predicted, probability)
    return Evaluation(
        definition={
            "variant": variant,
            **{key: records[0][key] for key in ("parameters", "parent_fingerprint", "identity", "normalization")},
            "fingerprints": {str(record["seed"]): record["fingerprint"] for record in records},
            **{
                key: {str(record["seed"]): record[key] for record in records if record[key]}
                for key in ("training_set", "diverged")  # a seed has the one or the other
            },
            "test_data": prepared.digest,
            "layers": layer_table.layer_table(build.build(definition, seed=0), definition.input.size),
        },
        curves=[row for rows in table.values() for row in rows],
        predictions=found,
        mistakes=mistakes.misread(found, prepared.numbers, prepared.pixels),
    )


def write(evaluation: Evaluation, folder: Path) -> None:
    """The variant's files as other programs read them; see docs/design.md."""
    last = max((row["epoch"] for row in evaluation.curves), default=None)
    final = {row["seed"]: row for row in evaluation.curves if row["epoch"] == last}
    accuracies = [row["test_accuracy"] for row in final.values()]
    metrics = {
        "parameters": evaluation.definition["parameters"],
        "test_accuracy": float(np.mean(accuracies)) if accuracies else None,
        "test_accuracy_sd": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "test_loss": float(np.mean([row["test_loss"] for row in final.values()])) if final else None,
    }
    seeds = {str(seed): {key: row[key] for key in ("test_accuracy", "test_loss")} for seed, row in final.items()}
    table = io.StringIO()
    writer = csv.DictWriter(table, CURVES, lineterminator="\n")
    writer.writeheader()
    writer.writerows(evaluation.curves)
    files.write_json(folder / paths.METRICS, metrics)
    files.write_json(folder / paths.SEEDS, seeds)
    files.write_json(folder / paths.VARIANT_RECORD, evaluation.definition)
    files.write_text(folder / paths.CURVES, table.getvalue())
    predictions.write(evaluation.predictions, folder / paths.PREDICTIONS)
    mistakes.write(evaluation.mistakes, folder / paths.MISTAKES)


def _answers(
    definition: schema.Variant, weights: Sequence[Path], digits: dataset.Digits
) -> Iterator[tuple[list[tuple[np.ndarray, np.ndarray]], list[float]]]:
    """For each file of weights the predicted classes (N) and their probabilities (N); and the mean cross-entropies."""
    answers, losses = [], []
    where = digits.labels.device
    for group_files in parallel.split(weights, 1, where):
        networks = [build.build(definition, seed=0).to(where) for _ in group_files]
        for network, path in zip(networks, group_files, strict=True):
            checkpoint.load_weights(network, path)
        for logits in group.Group(group.filled(networks, where)).evaluate(digits.images)[: len(group_files)].double():
            probability, predicted = torch.softmax(logits, dim=1).max(1)
            answers.append((predicted.cpu().numpy().astype(np.uint8), probability.float().cpu().numpy()))
            losses.append(functional.cross_entropy(logits, digits.labels).item())
    yield answers, losses


def _record(folder: Path) -> dict[str, Any]:
    try:
        return manifests.read_manifest(folder / paths.RUN_RECORD)
    except manifests.Damaged as damage:
        remedy = f"dvc checkout --force {folder.parent}, or dvc repro --force --single-item train@{folder.parent.name}"
        raise UserError(f"{damage}; remedy: {remedy}") from None
