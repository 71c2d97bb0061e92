"""Power: what a number of seeds can find, and how many seeds a verdict needs.

Power is the probability that a study finds a true difference, or equivalence.
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from scipy import optimize, stats

from lenetlab.statistics import intervals
from lenetlab.statistics.difference import VarianceComponents

POWER = 0.8

MOST_SEEDS = 1000  # params.yaml allows no more

LARGEST_OFFSET = 8.0  # standard errors; every study finds such a difference, and SciPy returns NaN for much larger ones

# Medians over docs/study's comparisons. `lenetlab check` uses them, as there are no results yet.
TYPICAL = VarianceComponents(seeds=(0.0012**2, 0.0012**2), images=0.0002**2)


def most_comparisons(seeds: int) -> int:
    """The largest family in which the permutation test can give p below the level, with this many seeds per variant.

    Its smallest p is 2 / C(2 · seeds, seeds); Holm's correction multiplies it by the number of comparisons.
    """
    return (comb(2 * seeds, seeds) - 1) // round(2 / intervals.LEVEL)


def least_seeds(comparisons: int) -> int:
    """The fewest seeds per variant with which a family of this size can reach p below the level."""
    return next(seeds for seeds in range(2, MOST_SEEDS) if most_comparisons(seeds) >= comparisons)


def power_of_difference(
    truth: float, components: VarianceComponents, seeds: int, images: int, comparisons: int
) -> float:
    """Probability that a true difference above 0 is found better, with this many seeds per variant.

    The smaller of two powers, each from the noncentral t distribution: that of the tests over the seeds, with Holm's
    correction for the whole family, and that of the interval over seeds and images.
    """
    if most_comparisons(seeds) < comparisons:
        return 0.0
    counts, powers = (seeds, seeds), []
    from_seeds = VarianceComponents(components.seeds, images=0.0)
    for part, level in ((from_seeds, intervals.LEVEL / comparisons), (components, intervals.LEVEL)):
        variance = part.variance(counts)
        if not variance:
            powers.append(float(truth != 0))
            continue
        freedom, offset = part.degrees_of_freedom(counts, images), min(truth / np.sqrt(variance), LARGEST_OFFSET)
        powers.append(float(stats.nct.sf(stats.t.ppf(1 - level / 2, freedom), freedom, offset)))
    return min(powers)


def power_of_equivalence(truth: float, margin: float, components: VarianceComponents, seeds: int, images: int) -> float:
    """Probability that variants whose true difference is `truth` are found equivalent, by two one-sided t tests."""
    variance = components.variance((seeds, seeds))
    if not variance:
        return float(abs(truth) < margin)
    freedom = components.degrees_of_freedom((seeds, seeds), images)
    limit = stats.t.ppf(1 - intervals.LEVEL, freedom)
    one_sided = [stats.t.cdf((margin + sign * truth) / np.sqrt(variance) - limit, freedom) for sign in (-1, 1)]
    return max(0.0, float(sum(one_sided) - 1))


def detectable(components: VarianceComponents, seeds: int, images: int, comparisons: int) -> float | None:
    """The smallest true difference that is found with 80 % power; None if none can be found."""
    if most_comparisons(seeds) < comparisons:
        return None

    def excess_power(truth: float) -> float:
        return power_of_difference(truth, components, seeds, images, comparisons) - POWER

    return float(optimize.brentq(excess_power, 0.0, 1.0, xtol=1e-7))


def seeds_needed(
    components: VarianceComponents,
    images: int,
    comparisons: int,
    margin: float,
    truths: Sequence[float] | None = None,
) -> int | None:
    """The fewest seeds per variant that give a verdict other than inconclusive with 80 % power.

    This holds for each true difference in `truths`, by default 0 and the margin. None if no number of seeds is enough,
    because the test images cause too much of the variance.
    """

    def enough(seeds: int) -> bool:
        return all(
            max(
                power_of_difference(truth, components, seeds, images, comparisons),
                power_of_equivalence(truth, margin, components, seeds, images),
            )
            >= POWER
            for truth in truths or (0.0, margin)
        )

    low, high = least_seeds(comparisons), MOST_SEEDS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
