"""Loss and accuracy per epoch: of every seed, and their mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lenetlab.storage import stage_outputs

MEASURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Curve:
    """One measure of one variant; accuracies are fractions."""

    epochs: list[int]
    seeds: dict[int, list[float]]  # a figure per epoch, by seed
    mean: list[float]  # over seeds, a figure per epoch


def read_evaluation(path: Path, stage: str) -> dict[str, Curve]:
    """The curves of an evaluation; none if no seed finished. UserError names the stage if they cannot be read."""
    rows = stage_outputs.csv_rows(path, stage, "seed", "epoch", *MEASURES)
    with stage_outputs.reading(path, stage):
        return by_measure(rows)


def by_measure(rows: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """From rows of a seed and an epoch each to a curve for each measure that was taken; from none, to none."""
    by_seed: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_seed.setdefault(int(row["seed"]), []).append(row)
    if not by_seed:
        return {}
    first = next(iter(by_seed.values()))
    epochs, found = [int(row["epoch"]) for row in first], {}
    for measure in MEASURES:
        if first[0][measure] not in (None, ""):
            seeds = {seed: [float(row[measure]) for row in own] for seed, own in by_seed.items()}
            found[measure] = Curve(epochs, seeds, [fmean(values) for values in zip(*seeds.values(), strict=True)])
    return found
