"""p values: of a difference, of equivalence, and Holm's correction; McNemar's test of single networks.

`welch_p` and `permutation_p` compare any two samples of values. All are two-sided except those of equivalence.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
from scipy import stats

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import difference
from lenetlab.statistics.measures import Sample

LISTED = 1_000_000  # divisions of the seeds that the permutation test lists, at most
STEPS = 512  # of the range of values, for which it counts divisions
UNSEEN = 3.0  # with n images on which two variants never differ, they may differ on 3 / n of all images (95 %)


@dataclass(frozen=True)
class PValues:
    """Three tests of one comparison; 1 if there are too few seeds or images for a test."""

    welch: float  # other trainings on the same images
    permutation: float  # the same, without assumptions about distributions
    seeds_and_images: float  # other trainings and other images

    @property
    def largest(self) -> float:
        return max(self.welch, self.permutation, self.seeds_and_images)


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two trained networks. It is about these two networks, not about the variants."""

    seed: int
    baseline_seed: int
    only_candidate: int  # images that only the candidate reads correctly
    only_baseline: int
    p: float


def of_difference(candidate: Sample, baseline: Sample) -> PValues:
    """The tests of one comparison."""
    components = difference.variance_components(candidate, baseline)
    gain, counts = difference.mean_difference(candidate, baseline), difference.seed_counts(candidate, baseline)
    if components is None or gain is None:
        return PValues(1.0, 1.0, 1.0)
    varies = components.variance(counts) > 0
    return PValues(
        welch=_two_sided(gain, components.without_images(), counts),
        permutation=permutation_p(candidate.values, baseline.values),
        seeds_and_images=_two_sided(gain, components, counts) if varies else _sign_p(candidate, baseline),
    )


def of_equivalence(candidate: Sample, baseline: Sample, margin: float, answers_are_counts: bool = True) -> float:
    """The larger p of two one-sided tests against ± margin, over seeds and images: Schuirmann 1987.

    1 if the variance is 0; and, if images were never seen to cause a difference, unless there are enough of them to
    exclude one as large as the margin. `answers_are_counts`: images count by right and wrong answers alone.
    """
    components = difference.variance_components(candidate, baseline)
    gain, counts = difference.mean_difference(candidate, baseline), difference.seed_counts(candidate, baseline)
    if components is None or gain is None or not components.variance(counts):
        return 1.0
    if answers_are_counts and effect_is_unseen(components, margin):
        return 1.0
    deviation = np.sqrt(components.variance(counts))
    return float(stats.t.sf((margin - abs(gain)) / deviation, components.degrees_of_freedom(counts)))


def effect_is_unseen(components: difference.VarianceComponents, margin: float) -> bool:
    """Whether images never caused a difference, but are too few to exclude one as large as the margin."""
    return bool(components.image_count and not components.images and UNSEEN / components.image_count >= margin)


def _two_sided(gain: float, components: difference.VarianceComponents, counts: tuple[int, int]) -> float:
    """Student's test with Satterthwaite's degrees of freedom; 0 or 1 without variance."""
    variance = components.variance(counts)
    if not variance:
        return float(gain == 0)
    return float(2 * stats.t.sf(abs(gain) / np.sqrt(variance), components.degrees_of_freedom(counts)))


def _sign_p(candidate: Sample, baseline: Sample) -> float:
    """The sign test over images, or over seeds if the measure has no images: how many favour each variant."""
    if candidate.by_image is None or baseline.by_image is None:
        count = min(candidate.seeds, baseline.seeds)
        differences = candidate.values[:count] - baseline.values[:count]
    else:
        differences = candidate.by_image.mean(axis=0) - baseline.by_image.mean(axis=0)
    return _binomial_p(int((differences > 0).sum()), int((differences < 0).sum()))


def _binomial_p(first: int, second: int) -> float:
    """The exact two-sided test that neither of two outcomes is more probable than the other."""
    return min(1.0, float(2 * stats.binom.cdf(min(first, second), first + second, 0.5)))


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


def permutation_p(first: np.ndarray, second: np.ndarray) -> float:
    """The exact permutation test on any two samples: Fisher 1935.

    The share of all divisions into two groups of these sizes whose means differ at least as much. Divisions are counted
    if the values are multiples of a step, as accuracies are; otherwise they are listed if they are few; otherwise they
    are counted with values rounded to STEPS steps of their range, which keeps the test exact.
    """
    pooled = np.concatenate([first, second])
    above = pooled - pooled.min()
    step = np.diff(np.unique(above)).min() if above.any() else 1.0
    multiples = above / step
    on_grid = multiples.max() <= STEPS and np.allclose(multiples, np.round(multiples), rtol=0, atol=1e-6)
    if not on_grid and comb(len(pooled), len(first)) < LISTED:
        return _listed(pooled, len(first))
    return _counted(np.round(above / (step if on_grid else above.max() / STEPS)).astype(int), len(first))


def _listed(pooled: np.ndarray, size: int) -> float:
    """The test on the pooled values, of which the first `size` are one group; lists all divisions."""
    divisions = comb(len(pooled), size)
    places = chain.from_iterable(combinations(range(len(pooled)), size))  # the first division is the observed one
    chosen = np.fromiter(places, dtype=np.uint16, count=divisions * size).reshape(divisions, size)
    distances = np.abs(_distance(pooled[chosen].sum(axis=1), pooled.sum(), size, len(pooled)))
    # Sums of fractions are inexact, but ties must stay ties.
    rounded = np.round(distances / (np.abs(pooled).max() or 1), 9)
    return float((rounded >= rounded[0]).mean())


def _counted(pooled: np.ndarray, size: int) -> float:
    """The same for whole numbers from 0: counts the divisions by the sum of one group, a value at a time."""
    most = int(np.sort(pooled)[-size:].sum())
    ways = np.zeros((size + 1, most + 1))  # by number of values in the group, and their sum
    ways[0, 0] = 1.0
    for value in pooled:
        ways[1:, value:] += ways[:-1, : most + 1 - value].copy()
    distances = np.abs(_distance(np.arange(most + 1), int(pooled.sum()), size, len(pooled)))
    observed = abs(_distance(int(pooled[:size].sum()), int(pooled.sum()), size, len(pooled)))
    return float(ways[size][distances >= observed].sum() / ways[size].sum())


def _distance(sums: Any, total: Any, size: int, pooled: int) -> Any:
    """Proportional to the difference of the group means, if the values of one group have this sum."""
    return sums * (pooled - size) - (total - sums) * size


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
            tests.append(McNemar(seed, seed, *only, _binomial_p(*only)))
    return tests
