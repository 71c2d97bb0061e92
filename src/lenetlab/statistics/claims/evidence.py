"""What statements are checked against: the study's results, and what is missing in them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lenetlab.evaluation import curves, divergence
from lenetlab.settings import study_schema
from lenetlab.statistics import comparison, formatting
from lenetlab.statistics.claims import claim_text
from lenetlab.storage import paths, stage_outputs

# Consistent: the study does not contradict a stated value. In the order in which totals list them.
ClaimVerdict = Literal["confirmed", "consistent", "refuted", "undecided", "not applicable"]


@dataclass(frozen=True)
class Finding:
    """The answer to one part of a statement."""

    verdict: ClaimVerdict
    found: str  # the measured or counted value, short
    reason: str


@dataclass(frozen=True)
class VariantResults:
    """Results of one variant's seeds that finished, from its evaluation."""

    layers: list[dict[str, Any]]
    curves: dict[int, dict[int, dict[str, str]]]  # rows of curves.csv by seed and epoch
    training_set: dict[int, dict[str, float]]  # by seed: loss and accuracy at the end, in evaluation mode
    diverged: list[int]  # seeds without a result

    @property
    def epochs(self) -> int:
        """Epochs that every seed was trained for."""
        return min(max(rows) for rows in self.curves.values())

    def curve_values(self, measure: str, epoch: int | None = None) -> list[float]:
        """The measure after this epoch or the last, per seed; NaN if it is missing."""
        return [number_or_nan(rows[epoch or self.epochs].get(measure)) for rows in self.curves.values()]

    def training_set_values(self, measure: str) -> list[float]:
        """Loss or accuracy on the training images in evaluation mode, per seed; NaN if it is missing."""
        return [number_or_nan(self.training_set.get(seed, {}).get(measure)) for seed in self.curves]

    def epochs_to(self, accuracy: float, most: int) -> list[float]:
        """The first epoch whose test accuracy reaches this value, per seed; `most` + 1 if none up to `most` does.

        NaN if an epoch before it has no test accuracy, since its weights were not kept.
        """
        return [_first_epoch(rows, accuracy, most) for rows in self.curves.values()]


@dataclass(frozen=True)
class Evidence:
    """All that statements are checked against."""

    study: study_schema.Study
    outcomes: Sequence[comparison.Outcome]
    evaluations: Mapping[str, VariantResults]
    costs: Mapping[str, Mapping[str, Any]]  # costs.json, by variant: one value per round for each measure
    resolution: float  # the widest half-width, as a fraction of accuracy, with which a value is consistent

    def layers(self, name: str) -> list[dict[str, Any]]:
        """The layer table of any variant of the catalogue, trained or not."""
        if name in self.evaluations:
            return self.evaluations[name].layers
        from lenetlab.networks import layer_table  # imports torch: seconds that trained variants do not need

        definition = self.study.variants[name]
        return layer_table.layer_table(definition)

    def on_other_data(self, data: str | None) -> Finding | None:
        """The answer if a statement is about results on other data than those of the study."""
        here = self.study.data
        if data is None or data == here.name:
            return None
        return Finding(
            "not applicable",
            formatting.NONE,
            f"it is about results on {data}; this study has {here.name} ({here.source})",
        )

    def not_evaluated(self, *names: str) -> Finding | None:
        """The answer if one of these variants has no evaluation."""
        for name in names:
            if name not in self.study.study:
                return undecided(f"{name} is not in this study; `make study` trains the whole catalogue")
            if name not in self.evaluations:
                return undecided(f"{name} has not been evaluated yet; run `make repro`")
        return None

    def incomplete(self, *names: str) -> Finding | None:
        """The answer if one of these variants has no evaluation, or a seed that diverged."""
        if missing := self.not_evaluated(*names):
            return missing
        results = {name: self.evaluations[name] for name in names}
        reasons = [
            divergence.reason_undecided(name, result.diverged, len(result.curves) + len(result.diverged))
            for name, result in results.items()
            if result.diverged
        ]
        return undecided("; ".join(reasons)) if reasons else None


def undecided(reason: str) -> Finding:
    """There is no value to compare with."""
    return Finding("undecided", formatting.NONE, reason)


def combine(parts: Iterable[Finding]) -> Finding:
    """The answer from all parts: the first of these verdicts that a part has. Reasons of other parts are left out."""
    parts = list(parts)
    verdicts: tuple[ClaimVerdict, ...] = ("refuted", "undecided", "not applicable", "consistent", "confirmed")
    verdict = next(verdict for verdict in verdicts if verdict in {part.verdict for part in parts})
    found = dict.fromkeys(part.found for part in parts if part.found != formatting.NONE)
    reasons = dict.fromkeys(part.reason for part in parts if part.verdict == verdict)
    return Finding(verdict, "; ".join(found) or formatting.NONE, "; ".join(reasons))


def not_finite(name: str, measure: str, values: Sequence[float]) -> Finding | None:
    """The answer if a value is missing or infinite."""
    lacking = sum(not math.isfinite(value) for value in values)
    if not lacking:
        return None
    return undecided(f"no finite {claim_text.MEASURES[measure].name} in {lacking} of {len(values)} trainings of {name}")


def read_results(folder: Path) -> VariantResults:
    """The evaluation in this folder; UserError if a file is missing or damaged."""
    stage = f"evaluate@{folder.name}"
    record = stage_outputs.read_json_object(folder / paths.VARIANT_RECORD, stage, "layers", "diverged")
    rows: dict[int, dict[int, dict[str, str]]] = {}
    with stage_outputs.reporting_damage(folder / paths.CURVES, stage):
        for row in stage_outputs.read_csv(folder / paths.CURVES, stage, "seed", "epoch", *curves.MEASURES):
            rows.setdefault(int(row["seed"]), {})[int(row["epoch"])] = row
        if not rows and not record["diverged"]:
            raise ValueError("it has no rows")
    with stage_outputs.reporting_damage(folder / paths.VARIANT_RECORD, stage):
        training_set = {int(seed): values for seed, values in record.get("training_set", {}).items()}
        return VariantResults(record["layers"], rows, training_set, [int(seed) for seed in record["diverged"]])


def _first_epoch(rows: Mapping[int, Mapping[str, str]], accuracy: float, most: int) -> float:
    for epoch in range(1, most + 1):
        reached = number_or_nan(rows[epoch]["test_accuracy"])
        if math.isnan(reached):
            return math.nan
        if reached >= accuracy:
            return epoch
    return most + 1


def number_or_nan(value: str | float | None) -> float:
    """A cell of curves.csv or a value of variant.json."""
    return math.nan if value is None or value == "" else float(value)
