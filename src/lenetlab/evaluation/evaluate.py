"""The stage evaluate: the kept weights of every seed of a variant, measured on the test images."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from lenetlab.settings import schema, study_schema
from lenetlab.storage import files, manifests, paths
from lenetlab.training import checkpoint, devices, parallel, plain_group, run_files

CURVE_COLUMNS = ("seed", *run_files.CURVE_COLUMNS, "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Evaluation:
    """A variant on the test images. All but `record` holds only the seeds that finished."""

    record: dict[str, Any]  # the content of variant.json
    curves: list[dict[str, Any]]  # the rows of curves.csv, one per seed and epoch
    predictions: predictions.Predictions
    misread: mistakes.MisreadImages
    classes: int

    @property
    def seeds(self) -> list[int]:
        """The seeds that finished."""
        return [int(seed) for seed in self.predictions.seeds]

    @property
    def diverged(self) -> dict[str, dict[str, int]]:
        """The other seeds, with the epoch and step at which each diverged."""
        diverged: dict[str, dict[str, int]] = self.record["diverged"]
        return diverged

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes) counts over all seeds, a row per label."""
        return predictions.confusion(self.predictions.labels, self.predictions.predicted, self.classes)


@dataclass(frozen=True)
class _EpochResult:
    """What the weights of one seed after one epoch answer on the N test images."""

    predicted: np.ndarray  # (N) unsigned integers
    probability: np.ndarray  # (N) float32, of the predicted class
    losses: np.ndarray  # (N) float32, cross-entropy in nats
    loss: float  # their mean, computed with 64 bits


def evaluate(study: study_schema.Study, variant: str, runs: Path, prepared_folder: Path) -> Evaluation:
    """Evaluate all weights in `runs`. Raises UserError if a file is missing or damaged.

    Seeds that diverged have no last epoch and are left out. An epoch whose weights were not kept has no test results.
    """
    devices.make_deterministic()
    device = devices.resolve(study.device)
    prepared = dataset.load(prepared_folder)
    folders = {seed: runs / paths.seed_name(seed) for seed in study.seeds_of(variant)}
    records = {seed: _read_record(folder) for seed, folder in folders.items()}
    seeds = [seed for seed, record in records.items() if not record["diverged"]]
    definition = study.variants[variant]
    normalization = dataset.Normalization(**next(iter(records.values()))["normalization"])
    examples = _test_examples(prepared, definition.input, normalization, device)

    curves = {seed: _read_curves(seed, folders[seed]) for seed in seeds}
    epochs = len(curves[seeds[0]]) if seeds else 0
    weights = {
        epoch: {seed: folders[seed] / name for seed in seeds if name in records[seed]["files"]}
        for epoch in range(1, epochs + 1)
        if (name := checkpoint.weights_name(epoch))
    }
    kept = [epoch for epoch, by_seed in weights.items() if by_seed]
    tasks = [partial(_evaluate_epoch, definition, list(weights[epoch].values()), examples) for epoch in kept]
    last_epoch: list[_EpochResult] = []
    with tqdm(total=len(tasks), desc=f"{variant} on test", unit="epoch", dynamic_ncols=True) as bar:
        for number, results in parallel.run_tasks(tasks, parallel.process_count(device, len(tasks))):
            epoch = kept[number]
            for seed, result in zip(weights[epoch], results, strict=True):
                accuracy = float((result.predicted == prepared.labels).mean())
                curves[seed][epoch - 1].update(test_loss=result.loss, test_accuracy=accuracy)
            if epoch == epochs:  # not always the last to be ready; every seed has it
                last_epoch = results
            bar.update()
    class_type = predictions.class_type(definition.images.classes)
    answers = predictions.Predictions(
        seeds=np.array(seeds, dtype=np.int64),
        labels=prepared.labels.astype(class_type),
        predicted=_stacked([result.predicted for result in last_epoch], len(examples), class_type),
        probability=_stacked([result.probability for result in last_epoch], len(examples), np.float32),
        loss=_stacked([result.losses for result in last_epoch], len(examples), np.float32),
        training_accuracy=np.array([records[seed]["training_set"]["accuracy"] for seed in seeds], dtype=np.float64),
        epoch_accuracy=_stacked(
            [np.array([row["test_accuracy"] for row in curves[seed]], float) for seed in seeds], epochs, np.float64
        ),
    )
    return Evaluation(
        record=_variant_record(variant, definition, list(records.values()), prepared),
        curves=[row for rows in curves.values() for row in rows],
        predictions=answers,
        misread=mistakes.find(answers, prepared.numbers, prepared.pixels),
        classes=definition.images.classes,
    )


def write(evaluation: Evaluation, folder: Path) -> None:
    """Write the files of the evaluation; docs/design.md describes them."""
    last = max((row["epoch"] for row in evaluation.curves), default=None)
    final = {row["seed"]: row for row in evaluation.curves if row["epoch"] == last}
    accuracies = [row["test_accuracy"] for row in final.values()]
    metrics = {
        "parameters": evaluation.record["parameters"],
        "test_accuracy": float(np.mean(accuracies)) if accuracies else None,
        "test_accuracy_sd": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "test_loss": float(np.mean([row["test_loss"] for row in final.values()])) if final else None,
        **_accuracy_by_set(evaluation),
    }
    seeds = {str(seed): {key: row[key] for key in ("test_accuracy", "test_loss")} for seed, row in final.items()}
    table = io.StringIO()
    writer = csv.DictWriter(table, CURVE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(evaluation.curves)
    files.write_json(folder / paths.METRICS, metrics)
    files.write_json(folder / paths.SEEDS, seeds)
    files.write_json(folder / paths.VARIANT_RECORD, evaluation.record)
    files.write_text(folder / paths.CURVES, table.getvalue())
    predictions.write(evaluation.predictions, folder / paths.PREDICTIONS)
    mistakes.write(evaluation.misread, folder / paths.MISTAKES)


def _evaluate_epoch(
    definition: schema.Variant, weights: Sequence[Path], examples: dataset.Examples
) -> Iterator[list[_EpochResult]]:
    """A task for `parallel.run_tasks`: yields one list, with a result for each file of weights."""
    results = []
    device = examples.labels.device
    for group_files in parallel.split_evenly(weights, 1, device):
        networks = [build.build_network(definition, seed=0).to(device) for _ in group_files]
        for network, path in zip(networks, group_files, strict=True):
            checkpoint.load_weights(network, path)
        together = plain_group.group_of(plain_group.pad_with_copies(networks, networks[0], device))
        for logits in together.evaluation_logits(examples.images)[: len(group_files)].double():
            probability, predicted = torch.softmax(logits, dim=1).max(1)
            losses = functional.cross_entropy(logits, examples.labels, reduction="none")
            results.append(
                _EpochResult(
                    predicted=predicted.cpu().numpy().astype(predictions.class_type(definition.images.classes)),
                    probability=probability.float().cpu().numpy(),
                    losses=losses.float().cpu().numpy(),
                    loss=losses.mean().item(),
                )
            )
    yield results


def _read_curves(seed: int, folder: Path) -> list[dict[str, Any]]:
    """Rows for curves.csv, one per epoch from 1 on, with no test results yet."""
    without_results = {"test_loss": None, "test_accuracy": None}
    rows = run_files.read_curves(folder / paths.CURVES)
    return [{"seed": seed, **row, "epoch": int(row["epoch"]), **without_results} for row in rows]


def _test_examples(
    prepared: dataset.Prepared,
    form: schema.InputSettings,
    normalization: dataset.Normalization,
    device: torch.device,
) -> dataset.Examples:
    """The test images and then the extra ones, if there are any, in the order of the index."""
    sets = [prepared.examples(split, form, normalization, device) for split in prepared.profile["splits"]]
    images, labels = (torch.cat([getattr(examples, name) for examples in sets]) for name in ("images", "labels"))
    return dataset.Examples(images=images, labels=labels, black=sets[0].black)


def _accuracy_by_set(evaluation: Evaluation) -> dict[str, Any]:
    """Mean accuracies on the test images and on the extra ones; empty if there are no extra ones."""
    counts, answers = evaluation.record["test_images"], evaluation.predictions
    if len(counts) == 1:
        return {}
    correct = np.split(answers.correct, np.cumsum(list(counts.values()))[:-1], axis=1)
    means = (float(part.mean()) if evaluation.seeds else None for part in correct)
    return {"test_accuracy_by_set": dict(zip(counts, means, strict=True))}


def _stacked(rows: Sequence[np.ndarray], columns: int, dtype: type) -> np.ndarray:
    """(S, N) from S rows of N columns; S may be 0."""
    return np.array(rows, dtype).reshape(len(rows), columns)


def _variant_record(
    variant: str, definition: schema.Variant, records: Sequence[dict[str, Any]], prepared: dataset.Prepared
) -> dict[str, Any]:
    """The content of variant.json, from the run.json of all seeds and the prepared test images."""
    shared = {key: records[0][key] for key in ("parameters", "parent_fingerprint", "identity", "normalization")}
    by_seed = {  # a seed has either a training set or an epoch and step at which it diverged
        key: {str(record["seed"]): record[key] for record in records if record[key]}
        for key in ("training_set", "diverged")
    }
    return {
        "variant": variant,
        **shared,
        "fingerprints": {str(record["seed"]): record["fingerprint"] for record in records},
        **by_seed,
        "test_data": prepared.digest,
        "test_images": {split: part["images"] for split, part in prepared.profile["splits"].items()},
        "conversions": prepared.profile["conversions"],
        "layers": layer_table.layer_table(definition),
    }


def _read_record(folder: Path) -> dict[str, Any]:
    """The run.json of a seed, if all of its files are as it says."""
    try:
        return manifests.read_manifest(folder / paths.RUN_RECORD)
    except manifests.Damaged as damage:
        variant = folder.parent
        remedy = f"dvc checkout --force {variant}, or dvc repro --force --single-item train@{variant.name}"
        raise UserError(f"{damage}; remedy: {remedy}") from None
