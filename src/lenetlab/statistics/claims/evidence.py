"""The study's answers to published statements: confirmed, refuted or undecided.

What paper and pencil can decide needs no training. A stated figure is held against what one more training would show, a
stated order against tests over the seeds. Each statement is judged alone: nothing is corrected for how many there are,
except what a declared comparison already corrects.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lenetlab.evaluation import curves, divergence
from lenetlab.settings import schema
from lenetlab.statistics import comparison
from lenetlab.statistics.claims import claim_text
from lenetlab.storage import paths, stage_outputs

ClaimVerdict = Literal["confirmed", "refuted", "undecided"]


@dataclass(frozen=True)
class Finding:
    """The answer to one part of a statement."""

    verdict: ClaimVerdict
    found: str
    reason: str


@dataclass(frozen=True)
class VariantResults:
    """What the trainings of one variant reached that finished."""

    layers: list[dict[str, Any]]
    curves: dict[int, dict[int, dict[str, str]]]  # rows of curves.csv by seed and epoch
    training_set: dict[int, dict[str, float]]  # by seed: loss and accuracy at the end, in evaluation mode
    diverged: list[int]  # the seeds that did not finish

    @property
    def epochs(self) -> int:
        return min(max(rows) for rows in self.curves.values())

    def figures(self, measure: str, epoch: int | None = None) -> list[float]:
        """One per seed, after that epoch or the last; not a number where there is none."""
        return [number_or_nan(rows[epoch or self.epochs].get(measure)) for rows in self.curves.values()]

    def learnt(self, measure: str) -> list[float]:
        """One per seed, on the training images in evaluation mode; not a number where there is none."""
        return [number_or_nan(self.training_set.get(seed, {}).get(measure)) for seed in self.curves]

    def epochs_to(self, accuracy: float, most: int) -> list[int]:
        """The first epoch, per seed, whose test accuracy reaches that; `most` + 1 where none up to `most` does."""
        return [
            next(
                (epoch for epoch in range(1, most + 1) if number_or_nan(rows[epoch]["test_accuracy"]) >= accuracy),
                most + 1,
            )
            for rows in self.curves.values()
        ]


@dataclass(frozen=True)
class Evidence:
    """All that a statement may be held against."""

    study: schema.Study
    outcomes: Sequence[comparison.Outcome]
    evaluations: Mapping[str, VariantResults]
    costs: Mapping[str, Mapping[str, Any]]  # costs.json, by variant: a figure per round for each measure

    def layers(self, name: str) -> list[dict[str, Any]]:
        """The layer table of any variant of the catalogue, trained or not."""
        if name in self.evaluations:
            return self.evaluations[name].layers
        from lenetlab.networks import (  # torch takes seconds, and a study of the whole catalogue does not need it here
            build,
            layer_table,
        )

        definition = self.study.variants[name]
        return layer_table.layer_table(build.build(definition, seed=0), definition.input.size)

    def missing(self, *names: str) -> Finding | None:
        """That a variant is not evaluated, if so."""
        for name in names:
            if name not in self.study.study:
                reason = f"{name} is not in this study; `make study` trains the whole catalogue"
                return Finding("undecided", "–", reason)
            if name not in self.evaluations:
                return Finding("undecided", "–", f"{name} is not evaluated yet; `make repro` does it")
        return None

    def unknown(self, *names: str) -> Finding | None:
        """That a variant is not evaluated, or that what it reaches is not known since seeds of it diverged."""
        if missing := self.missing(*names):
            return missing
        sides = {name: self.evaluations[name] for name in names if self.evaluations[name].diverged}
        reasons = [
            divergence.reason(name, one.diverged, len(one.curves) + len(one.diverged)) for name, one in sides.items()
        ]
        return Finding("undecided", "–", "; ".join(reasons)) if reasons else None


def combine(parts: Iterable[Finding]) -> Finding:
    """One finding of several parts: refuted if one is, else undecided if one is; the reasons are those that decide."""
    parts = list(parts)
    verdict = next(v for v in ("refuted", "undecided", "confirmed") if v in {part.verdict for part in parts})
    found = dict.fromkeys(part.found for part in parts if part.found != "–")
    reasons = dict.fromkeys(part.reason for part in parts if part.verdict == verdict)
    return Finding(verdict, "; ".join(found) or "–", "; ".join(reasons))


def missing_figures(name: str, measure: str, values: Sequence[float]) -> Finding | None:
    """That a figure is missing, or its training has diverged."""
    lacking = [value for value in values if not math.isfinite(value)]
    if not lacking:
        return None
    return Finding(
        "undecided",
        "–",
        f"{len(lacking)} of {len(values)} trainings of {name} have no finite {claim_text.WORDS[measure]}",
    )


def read_results(folder: Path) -> VariantResults:
    stage = f"evaluate@{folder.name}"
    record = stage_outputs.json_object(folder / paths.VARIANT_RECORD, stage, "layers", "diverged")
    rows: dict[int, dict[int, dict[str, str]]] = {}
    with stage_outputs.reading(folder / paths.CURVES, stage):
        for row in stage_outputs.csv_rows(folder / paths.CURVES, stage, "seed", "epoch", *curves.MEASURES):
            rows.setdefault(int(row["seed"]), {})[int(row["epoch"])] = row
        if not rows and not record["diverged"]:
            raise ValueError("it has no rows")
    with stage_outputs.reading(folder / paths.VARIANT_RECORD, stage):
        learnt = {int(seed): figures for seed, figures in record.get("training_set", {}).items()}
        return VariantResults(record["layers"], rows, learnt, [int(seed) for seed in record["diverged"]])


def number_or_nan(value: str | float | None) -> float:
    return math.nan if value in ("", None) else float(value)
