"""Learning curves: loss and accuracy per epoch, of every seed of a variant and their mean."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lenetlab.storage import stage_outputs

MEASURES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Curve:
    """One measure of one variant. Losses are mean cross-entropies in nats, accuracies are fractions.

    A value is NaN if the weights of that epoch were not kept, the mean if those of any seed were not.
    """

    epochs: list[int]
    seeds: dict[int, list[float]]  # by seed, one value per epoch
    mean: list[float]  # over seeds, one value per epoch


def read(path: Path, stage: str) -> dict[str, Curve]:
    """The curves in a `curves.csv` of an evaluation, by measure.

    Raises UserError if the file cannot be read; it names `stage`, which writes the file.
    """
    rows = stage_outputs.read_csv(path, stage, "seed", "epoch", *MEASURES)
    with stage_outputs.reporting_damage(path, stage):
        return from_rows(rows)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """Curves by measure, from one row per seed and epoch. Empty if there are no rows: every seed diverged.

    A measure without values has no curve: without validation images there are no validation curves.
    """
    rows_of_seed: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        rows_of_seed.setdefault(int(row["seed"]), []).append(row)
    if not rows_of_seed:
        return {}
    first = next(iter(rows_of_seed.values()))
    epochs, curves = [int(row["epoch"]) for row in first], {}
    for measure in MEASURES:
        seeds = {seed: [_number(row[measure]) for row in own] for seed, own in rows_of_seed.items()}
        if not math.isnan(next(iter(seeds.values()))[-1]):
            curves[measure] = Curve(epochs, seeds, [fmean(values) for values in zip(*seeds.values(), strict=True)])
    return curves


def _number(cell: str | float | None) -> float:
    return math.nan if cell in (None, "") else float(cell)
