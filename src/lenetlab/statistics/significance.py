"""p values, all two-sided: Welch's test, the exact permutation test, Holm's correction, McNemar's test.

`welch` and `permutation` compare the accuracies of two variants, `welch_p` and `permutation_p` any two samples.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb

import numpy as np
from scipy import stats

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import difference

EXACT = 1_000_000  # the permutation test counts all divisions of the seeds if they are fewer, otherwise draws this many


@dataclass(frozen=True)
class PValues:
    """Tests over the seeds for one comparison, before and after Holm's correction within its family."""

    welch: float
    permutation: float
    welch_holm: float
    permutation_holm: float


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two trained networks. It is about these two networks, not about the variants."""

    seed: int
    baseline_seed: int
    only_candidate: int  # images that only the candidate reads correctly
    only_baseline: int
    p: float


def family(pairs: Sequence[tuple[Predictions, Predictions]]) -> list[PValues]:
    """The tests of all comparisons (candidate, baseline) of one family."""
    by_welch, by_permutation = [welch(*pair) for pair in pairs], [permutation(*pair) for pair in pairs]
    columns = by_welch, by_permutation, holm(by_welch), holm(by_permutation)
    return [PValues(*row) for row in zip(*columns, strict=True)]


def welch(candidate: Predictions, baseline: Predictions) -> float:
    """Welch's test on the accuracies of the seeds; 1 with fewer than two seeds, 0 or 1 if the seeds do not vary."""
    components = difference.variance_components(candidate, baseline)
    gain, counts = difference.mean_difference(candidate, baseline), difference.seed_counts(candidate, baseline)
    if components is None or gain is None:
        return 1.0
    from_seeds = difference.VarianceComponents(components.seeds, images=0.0)
    variance = from_seeds.variance(counts)
    if not variance:
        return float(gain == 0)
    freedom = from_seeds.degrees_of_freedom(counts, len(candidate.labels))
    return float(2 * stats.t.sf(abs(gain) / np.sqrt(variance), freedom))


def welch_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's test on any two samples of at least two values; 0 or 1 if neither varies.

    Exact means and deviations, so the order of the values does not matter.
    """
    means = [statistics.mean(sample) for sample in (first, second)]
    deviations = [statistics.stdev(sample) for sample in (first, second)]
    if not any(deviations):
        return float(means[0] == means[1])
    samples = means[0], deviations[0], len(first), means[1], deviations[1], len(second)
    return float(stats.ttest_ind_from_stats(*samples, equal_var=False).pvalue)


def permutation(candidate: Predictions, baseline: Predictions) -> float:
    """The exact permutation test on the numbers of correct images; 1 with fewer than two seeds."""
    counts = difference.correct_counts(candidate), difference.correct_counts(baseline)
    return permutation_p(*counts) if min(map(len, counts)) > 1 else 1.0


def permutation_p(first: np.ndarray, second: np.ndarray) -> float:
    """The permutation test on any two samples: Fisher 1935.

    The share of all divisions into two groups of these sizes whose means differ at least as much. Exact if there are
    fewer than EXACT divisions; otherwise SciPy draws this many.
    """
    size, pooled = len(first), np.concatenate([first, second])
    total, largest = pooled.sum(), np.abs(pooled).max() or 1

    def distance(sums: np.ndarray) -> np.ndarray:
        apart = np.abs(sums * len(second) - (total - sums) * len(first))
        rounded: np.ndarray = np.round(apart / largest, 9)  # sums of fractions are inexact, but ties must stay ties
        return rounded

    divisions = comb(len(pooled), size)
    if divisions < EXACT:
        places = chain.from_iterable(combinations(range(len(pooled)), size))  # the first division is the observed one
        chosen = np.fromiter(places, dtype=np.uint16, count=divisions * size).reshape(divisions, size)
        distances = distance(pooled[chosen].sum(axis=1))
        return float((distances >= distances[0]).mean())
    test = stats.permutation_test(
        (first, second),
        lambda one, _, axis: distance(one.sum(axis)),
        n_resamples=EXACT - 1,
        batch=10_000,
        alternative="greater",
        vectorized=True,
        rng=0,
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of one family, corrected for their number: Holm 1979."""
    ranks = np.argsort(p_values)
    corrected = np.empty(len(ranks))
    factors = np.arange(len(ranks), 0, -1)  # the smallest p times their number, the next times one less
    corrected[ranks] = np.maximum.accumulate(factors * np.take(p_values, ranks)).clip(max=1)
    return [float(p) for p in corrected]


def mcnemar(candidate: Predictions, baseline: Predictions) -> list[McNemar]:
    """One exact test for each seed that finished for both variants: McNemar 1947."""
    tests, correct = [], dict(zip(baseline.seeds.tolist(), baseline.correct, strict=True))
    for seed, first in zip(candidate.seeds.tolist(), candidate.correct, strict=True):
        if seed in correct:
            only = int((first & ~correct[seed]).sum()), int((correct[seed] & ~first).sum())
            p_value = min(1.0, float(2 * stats.binom.cdf(min(only), sum(only), 0.5)))
            tests.append(McNemar(seed, seed, *only, p_value))
    return tests
