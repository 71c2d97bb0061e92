"""Runs to verdicts: is the difference between two variants more than chance?

Two sources of doubt: another training (seeds), and another sample of test digits (images, which all seeds share). Each
is measured for itself, and both together; docs/statistics.md says why, with references and an example.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import difference, intervals

EXACT = 1_000_000  # permutations up to which all are counted; beyond, so many are drawn


@dataclass(frozen=True)
class McNemar:
    """McNemar's test on one training of each side: about these two networks, not about the methods."""

    seed: int
    baseline_seed: int
    only_candidate: int  # images that it alone reads correctly
    only_baseline: int
    p: float


def welch(candidate: Predictions, baseline: Predictions) -> tuple[intervals.Interval, float]:
    """Welch's 95 % interval for the difference of mean accuracies, and his test's p value, two-sided.

    With fewer than two seeds on a side there is neither (None and 1); where no seed differs from another, the interval
    is a point.
    """
    spread, found = difference.variance_components(candidate, baseline), difference.mean_difference(candidate, baseline)
    if spread is None:
        return None, 1.0
    counts, among_seeds = (
        (len(candidate.seeds), len(baseline.seeds)),
        difference.VarianceComponents(spread.seeds, images=0.0),
    )
    variance = among_seeds.variance(counts)
    if not variance:
        return (found, found), float(found == 0)
    freedom = among_seeds.freedom(counts, len(candidate.labels))
    p_value = float(2 * stats.t.sf(abs(found) / np.sqrt(variance), freedom))
    return intervals.t_interval(found, variance, freedom, 1 - intervals.LEVEL), p_value


def permutation(candidate: Predictions, baseline: Predictions) -> float:
    """The exact permutation test's p value, two-sided, on correct images; 1 with fewer than two seeds on a side."""
    counts = difference.correct_counts(candidate), difference.correct_counts(baseline)
    return permutation_p(*counts) if min(map(len, counts)) > 1 else 1.0


def permutation_p(first: np.ndarray, second: np.ndarray) -> float:
    """The share of all divisions of these figures into two groups whose means differ as much; of any figures."""
    largest = max(np.abs(first).max(), np.abs(second).max()) or 1

    def distance(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
        apart = np.abs(one.sum(axis) * len(second) - other.sum(axis) * len(first))
        return np.round(apart / largest, 9)  # sums of fractions are not exact, and ties are to stay ties

    test = stats.permutation_test(
        (first, second), distance, n_resamples=EXACT - 1, batch=10_000, alternative="greater", vectorized=True, rng=0
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm 1979: p values of one family, corrected for their number."""
    ranks = np.argsort(p_values)
    corrected = np.empty(len(ranks))
    factors = np.arange(len(ranks), 0, -1)  # the smallest counts for all, the next for one less
    corrected[ranks] = np.maximum.accumulate(factors * np.take(p_values, ranks)).clip(max=1)
    return corrected.tolist()


def superiority(candidate: Predictions, baseline: Predictions) -> tuple[float | None, intervals.Interval]:
    """Probability that one training of the candidate beats one of the baseline, with its 95 % interval.

    The measure that Bouthillier et al. 2021 propose; the interval is method 5 of Newcombe 2006, which stays honest
    where every seed of one side beats every seed of the other. With one seed on a side there is none, without any
    there is no probability either.
    """
    first, second = difference.correct_counts(candidate), difference.correct_counts(baseline)
    if not min(len(first), len(second)):
        return None, None
    wins = np.sign(first[:, None] - second[None, :])
    found = float((wins.mean() + 1) / 2)
    if min(len(first), len(second)) < 2:
        return found, None
    weight = (len(first) + len(second)) / 2 - 1

    def beyond(truth: float) -> float:
        """Below 0 where `found` is no surprise under this truth; 0 at the ends of the interval."""
        shape = 1 + weight * (1 - truth) / (2 - truth) + weight * truth / (1 + truth)
        variance = truth * (1 - truth) * shape / (len(first) * len(second))
        return (found - truth) ** 2 - stats.norm.ppf(1 - intervals.LEVEL / 2) ** 2 * variance

    low = optimize.brentq(beyond, 0.0, min(found, 1 - 1e-9)) if found > 0 else 0.0
    high = optimize.brentq(beyond, max(found, 1e-9), 1.0) if found < 1 else 1.0
    return found, (float(low), float(high))


def mcnemar(candidate: Predictions, baseline: Predictions) -> list[McNemar]:
    """McNemar's exact test for each seed that finished on both sides."""
    pairs, correct = [], dict(zip(baseline.seeds.tolist(), baseline.correct, strict=True))
    for seed, first in zip(candidate.seeds.tolist(), candidate.correct, strict=True):
        if seed in correct:
            alone = int((first & ~correct[seed]).sum()), int((correct[seed] & ~first).sum())
            p_value = min(1.0, float(2 * stats.binom.cdf(min(alone), sum(alone), 0.5)))
            pairs.append(McNemar(seed, seed, *alone, p_value))
    return pairs
