"""Runs to verdicts: is the difference between two variants more than chance?

Two sources of doubt: another training (seeds), and another sample of test digits (images, which all seeds share). Each
is measured for itself, and both together; docs/statistics.md says why, with references and an example.
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from scipy import optimize, stats

from lenetlab.statistics import difference, intervals

POWER = 0.8

MOST_SEEDS = 1000  # that params.yaml allows

FAR = 8.0  # standard errors, found by every study; SciPy's noncentral t is not a number for much more


# The middle of docs/study's comparisons: what `lenetlab check` reckons with before there are results.
TYPICAL = difference.VarianceComponents(seeds=(0.0012**2, 0.0012**2), images=0.0002**2)


# What a study can and cannot tell.


def most_comparisons(seeds: int) -> int:
    """How many comparisons a family may hold for the permutation test of so many seeds each to reach the level.

    Its least p is 2 in all divisions of the seeds, and so many times that, after Holm's correction, is to stay below.
    """
    return (comb(2 * seeds, seeds) - 1) // round(2 / intervals.LEVEL)


def least_seeds(comparisons: int) -> int:
    """The fewest seeds of each side with which so many comparisons in a family can reach the level."""
    return next(seeds for seeds in range(2, MOST_SEEDS) if most_comparisons(seeds) >= comparisons)


def power_of_difference(
    truth: float, spread: difference.VarianceComponents, seeds: int, images: int, comparisons: int
) -> float:
    """Probability that so many seeds of each side find a true advantage: the smaller of the tests' and the interval's.

    Each is that of a t test, from the noncentral t distribution; Holm's correction is taken at its hardest.
    """
    counts = (seeds, seeds)
    found = []
    for part, level in (
        (difference.VarianceComponents(spread.seeds, 0.0), intervals.LEVEL / comparisons),
        (spread, intervals.LEVEL),
    ):
        variance = part.variance(counts)
        if not variance:
            found.append(float(truth != 0))
            continue
        freedom, offset = part.freedom(counts, images), min(truth / np.sqrt(variance), FAR)
        found.append(float(stats.nct.sf(stats.t.ppf(1 - level / 2, freedom), freedom, offset)))
    return min(found) if most_comparisons(seeds) >= comparisons else 0.0


def power_of_equivalence(
    truth: float, margin: float, spread: difference.VarianceComponents, seeds: int, images: int
) -> float:
    """Probability that so many seeds of each side find variants equivalent that differ by `truth`; two t tests."""
    variance = spread.variance((seeds, seeds))
    if not variance:
        return float(abs(truth) < margin)
    freedom = spread.freedom((seeds, seeds), images)
    limit = stats.t.ppf(1 - intervals.LEVEL, freedom)
    sides = [stats.t.cdf((margin + sign * truth) / np.sqrt(variance) - limit, freedom) for sign in (-1, 1)]
    return max(0.0, float(sum(sides) - 1))


def detectable(spread: difference.VarianceComponents, seeds: int, images: int, comparisons: int) -> float | None:
    """The smallest true difference that so many seeds find with 80 % power; None if they cannot find any."""
    if most_comparisons(seeds) < comparisons:
        return None

    def lacking(truth: float) -> float:
        return power_of_difference(truth, spread, seeds, images, comparisons) - POWER

    return float(optimize.brentq(lacking, 0.0, 1.0, xtol=1e-7))


def seeds_needed(
    spread: difference.VarianceComponents,
    images: int,
    comparisons: int,
    margin: float,
    truths: Sequence[float] | None = None,
) -> int | None:
    """The fewest seeds of each side that settle each of these true differences with 80 % power; else 0 and the margin.

    Settled is what is found better, or equivalent. None: no number does, since the images leave too much doubt.
    """

    def settles(seeds: int) -> bool:
        return all(
            max(
                power_of_difference(truth, spread, seeds, images, comparisons),
                power_of_equivalence(truth, margin, spread, seeds, images),
            )
            >= POWER
            for truth in truths or (0.0, margin)
        )

    low, high = least_seeds(comparisons), MOST_SEEDS
    if not settles(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if settles(middle) else (middle + 1, high)
    return low
