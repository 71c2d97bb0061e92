"""Runs to verdicts: is the difference between two variants more than chance?

What varies is the training (seeds) and the sample of test digits (images, which all seeds share). The verdict of this
version rests on the seeds: Welch's test and an exact permutation test, each after Holm's correction within the family.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from lenetlab import params
from lenetlab.predictions import Predictions

LEVEL = 0.05
EXACT = 1_000_000  # permutations up to which all are counted; beyond, so many are drawn

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Outcome:
    """One declared comparison, as `comparison.json` holds it. Differences of test accuracy are fractions."""

    candidate: str
    baseline: str
    family: str
    difference: float  # candidate minus baseline
    interval_seeds: Interval  # 95 %, for other trainings on the same test images; None with one seed
    interval: Interval  # 95 %, for other trainings and other test images
    p_welch: float
    p_permutation: float
    p_welch_holm: float
    p_permutation_holm: float
    verdict: Literal["better", "worse", "equivalent", "inconclusive"]
    reason: str


def compare(study: params.Study, predictions: Mapping[str, Predictions]) -> list[Outcome]:
    """The outcome of every comparison that the study declares, in its order."""
    outcomes = []
    for family, pairs in study.comparisons.items():
        sides = [(predictions[pair.candidate], predictions[pair.baseline]) for pair in pairs]
        p_welch = [welch(*sides_of_pair)[1] for sides_of_pair in sides]
        p_permutation = [permutation(*sides_of_pair) for sides_of_pair in sides]
        corrected = zip(holm(p_welch), holm(p_permutation), strict=True)
        for pair, (candidate, baseline), raw_welch, raw_permutation, (holm_welch, holm_permutation) in zip(
            pairs, sides, p_welch, p_permutation, corrected, strict=True
        ):
            difference = float(candidate.accuracy.mean() - baseline.accuracy.mean())
            verdict, reason = _verdict(difference, holm_welch, holm_permutation, len(candidate.seeds))
            outcomes.append(
                Outcome(
                    candidate=pair.candidate,
                    baseline=pair.baseline,
                    family=family,
                    difference=difference,
                    interval_seeds=welch(candidate, baseline)[0],
                    interval=seeds_and_images(candidate, baseline),
                    p_welch=raw_welch,
                    p_permutation=raw_permutation,
                    p_welch_holm=holm_welch,
                    p_permutation_holm=holm_permutation,
                    verdict=verdict,
                    reason=reason,
                )
            )
    return outcomes


def mean_interval(values: np.ndarray, level: float = 1 - LEVEL) -> Interval:
    """Student's interval for the mean of a variant's seeds; None with fewer than two."""
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def welch(candidate: Predictions, baseline: Predictions) -> tuple[Interval, float]:
    """Welch's 95 % interval for the difference of mean accuracies, and his test's p value, two-sided.

    With one seed there is neither (None and 1); where no seed differs from another, the interval is a point.
    """
    sides = (candidate, baseline)
    if min(len(side.seeds) for side in sides) < 2:
        return None, 1.0
    difference = float(candidate.accuracy.mean() - baseline.accuracy.mean())
    from_seeds = [_seed_variance(side) for side in sides]
    variance = sum(from_seeds)
    if not variance:
        return (difference, difference), float(difference == 0)
    freedom = variance**2 / sum(part**2 / (len(side.seeds) - 1) for part, side in zip(from_seeds, sides, strict=True))
    half = float(stats.t.ppf(1 - LEVEL / 2, freedom) * np.sqrt(variance))
    p_value = float(2 * stats.t.sf(abs(difference) / np.sqrt(variance), freedom))
    return (difference - half, difference + half), p_value


def permutation(candidate: Predictions, baseline: Predictions) -> float:
    """Exact two-sided p value: the share of all divisions of the seeds into two groups that differ as much.

    With one seed on a side it is 1.
    """
    counts = _counts(candidate), _counts(baseline)
    if min(map(len, counts)) < 2:
        return 1.0

    def difference(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(first.sum(axis) * len(counts[1]) - second.sum(axis) * len(counts[0]))

    test = stats.permutation_test(
        counts, difference, n_resamples=EXACT - 1, batch=10_000, alternative="greater", vectorized=True, rng=0
    )
    return float(test.pvalue)


def seeds_and_images(candidate: Predictions, baseline: Predictions) -> Interval:
    """95 % interval for other trainings and other test images, paired by image, in closed form.

    The variance of the difference is that of the seeds' means plus that of the images' mean differences, less the part
    of the latter that the seeds cause; degrees of freedom after Satterthwaite. Crossed random effects as in Owen 2007.
    """
    sides = (candidate, baseline)
    if min(len(side.seeds) for side in sides) < 2:
        return None
    by_image = candidate.correct.mean(axis=0) - baseline.correct.mean(axis=0)
    from_seeds = [_seed_variance(side) for side in sides]
    within = sum(side.correct.var(axis=0, ddof=1).mean() / len(side.seeds) for side in sides)
    from_images = max(0.0, float(by_image.var(ddof=1) - within)) / len(by_image)
    difference, variance = float(by_image.mean()), sum(from_seeds) + from_images
    if not variance:
        return difference, difference
    freedom = variance**2 / (
        sum(part**2 / (len(side.seeds) - 1) for part, side in zip(from_seeds, sides, strict=True))
        + from_images**2 / (len(by_image) - 1)
    )
    half = float(stats.t.ppf(1 - LEVEL / 2, freedom) * np.sqrt(variance))
    return difference - half, difference + half


def holm(p_values: list[float]) -> list[float]:
    """Holm 1979: p values of one family, corrected for their number."""
    ranks = np.argsort(p_values)
    corrected = np.empty(len(ranks))
    factors = np.arange(len(ranks), 0, -1)  # the smallest counts for all, the next for one less
    corrected[ranks] = np.maximum.accumulate(factors * np.take(p_values, ranks)).clip(max=1)
    return corrected.tolist()


def _seed_variance(side: Predictions) -> float:
    """Variance of the mean accuracy over seeds."""
    return float(_counts(side).var(ddof=1)) / len(side.labels) ** 2 / len(side.seeds)


def _counts(side: Predictions) -> np.ndarray:
    """Correct images per seed (S): whole numbers, so that equal ones have no variance and ties stay ties."""
    return side.correct.sum(axis=1)


def _verdict(difference: float, p_welch: float, p_permutation: float, seeds: int) -> tuple[str, str]:
    points = f"{abs(difference) * 100:.2f} percentage points"
    if max(p_welch, p_permutation) < LEVEL:
        verdict = "better" if difference > 0 else "worse"
        return (
            verdict,
            f"{verdict} by {points}: both tests over {seeds} seeds stay below {LEVEL} after Holm's correction",
        )
    if seeds < 2:
        return "inconclusive", "one seed shows nothing of how much another training would differ"
    above = " and ".join(
        name for name, p in (("Welch's test", p_welch), ("the permutation test", p_permutation)) if p >= LEVEL
    )
    return "inconclusive", (
        f"{seeds} seeds each cannot tell a difference of {points} from chance:"
        f" {above} with p of {LEVEL} or more after Holm's correction"
    )
