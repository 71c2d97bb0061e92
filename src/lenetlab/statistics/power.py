"""Power: which verdicts a plan leads to if the true difference and the variances are known.

Studies are drawn from the normal model of docs/statistics.md, always the same ones, so results repeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, inf

import numpy as np
from scipy import optimize, special, stats

from lenetlab.settings import study_schema
from lenetlab.statistics import intervals
from lenetlab.statistics.difference import VarianceComponents
from lenetlab.statistics.sequential import Plan

POWER = 0.8
STUDIES = 4000  # that are drawn; a share is known to 1.5 points

# Medians over docs/study's comparisons of accuracy. `lenetlab check` uses them, as there are no results yet.
TYPICAL = VarianceComponents(seeds=(0.0012**2, 0.0012**2), images=0.0002**2, image_count=10_000)


@dataclass(frozen=True)
class Chances:
    """Probability of each verdict by each look of a plan."""

    higher: tuple[float, ...]  # the candidate is found to have the higher mean
    lower: tuple[float, ...]
    equivalent: tuple[float, ...]

    @property
    def any_verdict(self) -> float:
        """By the last look."""
        return self.higher[-1] + self.lower[-1] + self.equivalent[-1]


@lru_cache(maxsize=1000)
def chances(truth: float, components: VarianceComponents, comparisons: int, margin: float, plan: Plan) -> Chances:
    """The chances of one comparison that gets the strictest share of alpha in a family of this size."""
    decided = np.zeros(STUDIES, dtype=int)  # 1: higher, -1: lower, 2: equivalent
    shares: dict[int, list[float]] = {1: [], -1: [], 2: []}
    alpha, differences = intervals.LEVEL / comparisons, truth + _errors(components, plan.looks)
    levels = [plan.levels(components.ratio, alpha, sides) for sides in (2, 1)]
    for place, (seeds, level, level_equivalence) in enumerate(zip(plan.looks, *levels, strict=True)):
        counts = (seeds, seeds)
        deviation = max(np.sqrt(components.variance(counts)), 1e-12)
        freedom = components.degrees_of_freedom(counts) if components.variance(counts) else inf
        limit = stats.t.isf(level / 2, freedom) if smallest_p(seeds) < level else inf
        gain = differences[place] / deviation
        verdicts = np.where(np.abs(gain) > limit, np.sign(gain), 0).astype(int)
        within = margin / deviation - np.abs(gain) > stats.t.isf(level_equivalence, freedom)
        verdicts[(verdicts == 0) & within] = 2
        decided = np.where(decided, decided, verdicts)
        for verdict, share in shares.items():
            share.append(float((decided == verdict).mean()))
    return Chances(*(tuple(share) for share in shares.values()))


def smallest_p(seeds: int) -> float:
    """The smallest p value of the permutation test with this many seeds of each side."""
    return 2 / comb(2 * seeds, seeds)


def can_decide(plan: Plan, comparisons: int) -> bool:
    """Whether any look can find a difference in a family of this size."""
    alpha = intervals.LEVEL / comparisons
    return any(smallest_p(seeds) < level for seeds, level in zip(plan.looks, plan.levels(0.0, alpha), strict=True))


def detectable(components: VarianceComponents, comparisons: int, margin: float, plan: Plan) -> float | None:
    """The smallest true difference that is found with 80 % power by the last look; None if none can be found."""
    if not can_decide(plan, comparisons):
        return None

    def excess_power(truth: float) -> float:
        return chances(truth, components, comparisons, margin, plan).higher[-1] - POWER

    largest = 50 * float(np.sqrt(components.variance((2, 2)))) + margin
    return float(optimize.brentq(excess_power, 0.0, largest, rtol=1e-3))


def seeds_needed(components: VarianceComponents, comparisons: int, margin: float) -> int | None:
    """The first look by which a verdict is likely (80 %), if the true difference is the margin and if it is 0.

    None if none of the program's looks is enough.
    """
    plan = Plan(study_schema.LOOKS)
    verdicts = [chances(truth, components, comparisons, margin, plan) for truth in (0.0, margin)]
    by_look = [np.add(np.add(one.higher, one.lower), one.equivalent) for one in verdicts]
    likely = [seeds for seeds, *shares in zip(plan.looks, *by_look, strict=True) if min(shares) >= POWER]
    return likely[0] if likely else None


def images_needed(components: VarianceComponents, comparisons: int, margin: float) -> float:
    """Number of test images for such a verdict with unlimited seeds; no more than there are if images are no limit."""
    alpha = intervals.LEVEL / comparisons
    equivalent = special.ndtri(1 - alpha) + special.ndtri((1 + POWER) / 2)
    different = special.ndtri(1 - alpha / 2) + special.ndtri(POWER)
    return components.image_count * components.images * (max(equivalent, different) / margin) ** 2


def _errors(components: VarianceComponents, looks: Sequence[int]) -> np.ndarray:
    """(looks, studies): errors of the mean difference; a look has the seeds of the one before, and the same images."""
    generator = np.random.default_rng(0)
    images = np.sqrt(components.images) * generator.standard_normal(STUDIES)
    added = np.diff([0, *looks])[:, None]
    sums = np.cumsum(np.sqrt(added * sum(components.seeds)) * generator.standard_normal((len(looks), STUDIES)), axis=0)
    errors: np.ndarray = sums / np.array(looks)[:, None] + images
    return errors
