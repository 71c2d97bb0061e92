"""What simulated studies conclude, beside what is true: errors, verdicts, seeds and estimates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from lenetlab.statistics.verdict import Decision

CHECKED = (6, 12, 24, 96)  # numbers of seeds by which errors are counted
ROUNDING = 1e-12  # of a true difference, which may be computed from two accuracies


@dataclass(frozen=True)
class Outcomes:
    """The decisions of all studies: arrays (studies, pairs)."""

    truths: np.ndarray  # (pairs)
    margin: float
    verdict: np.ndarray
    seeds: np.ndarray  # of the look that decided, or the last; 0 without a look
    difference: np.ndarray

    @staticmethod
    def of(decisions: Iterable[Sequence[Decision]], truths: Sequence[float], margin: float) -> "Outcomes":
        families = list(decisions)
        looks = [[decision.look for decision in family] for family in families]
        return Outcomes(
            truths=np.array(truths),
            margin=margin,
            verdict=np.array([[decision.verdict for decision in family] for family in families]),
            seeds=np.array([[look.seeds if look else 0 for look in family] for family in looks]),
            difference=np.array([[look.difference if look else np.nan for look in family] for family in looks]),
        )

    @property
    def false_difference(self) -> np.ndarray:
        """Better although it is not, or worse although it is not."""
        better, worse = self.verdict == "better", self.verdict == "worse"
        wrong: np.ndarray = (better & (self.truths <= 0)) | (worse & (self.truths >= 0))
        return wrong

    @property
    def false_equivalent(self) -> np.ndarray:
        """Equivalent although the true difference reaches the margin."""
        wrong: np.ndarray = (self.verdict == "equivalent") & (np.abs(self.truths) >= self.margin - ROUNDING)
        return wrong

    def row(self, most: int) -> dict[str, Any]:
        """Shares of studies with an error, shares of pairs with each verdict, mean seeds, mean estimate of *better*."""
        by_seeds = {
            str(seeds): share((self.false_difference & (self.seeds <= seeds)).any(axis=1))
            for seeds in CHECKED
            if seeds <= most
        }
        words = ("better", "worse", "equivalent", "inconclusive")
        better = self.verdict == "better"
        return {
            "studies": len(self.verdict),
            "truths": self.truths.tolist(),
            "most": most,
            "false_difference": share(self.false_difference.any(axis=1)),
            "false_difference_by": by_seeds,
            "false_equivalent": share(self.false_equivalent.any(axis=1)),
            "verdicts": {word: share((self.verdict == word).ravel()) for word in words},
            "found": share(better[:, self.truths > 0].ravel()) if (self.truths > 0).any() else None,
            "mean_seeds": float(self.seeds.mean()),
            "estimate_if_better": float(self.difference[better].mean()) if better.any() else None,
        }


def share(results: Sequence[bool] | np.ndarray) -> dict[str, float]:
    """The share of true results with Wilson's 95 % interval."""
    found = np.asarray(results, dtype=bool)
    limits = stats.binomtest(int(found.sum()), len(found)).proportion_ci(0.95, method="wilson")
    return {"share": float(found.mean()), "low": float(limits.low), "high": float(limits.high)}
