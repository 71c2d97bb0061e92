"""Studies of normal accuracies, drawn without single answers, so that up to 96 seeds of six pairs are affordable.

The accuracies of the seeds and the effect of the images are drawn. What the estimates need of single answers is drawn
too: the estimate of the effect of images varies, and part of it is cut off at zero.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

from benchmarks.populations import ACCURACY, IMAGES, WITHIN
from lenetlab.settings import study_schema
from lenetlab.statistics import intervals, significance
from lenetlab.statistics.sequential import LARGEST_RATIO, Plan
from lenetlab.statistics.verdict import Decision, Evidence, Look, decide

LARGEST_FAMILY = 6
ALPHAS = intervals.LEVEL / np.arange(1, LARGEST_FAMILY + 1)  # all that Holm's correction compares a p value with
OFFSET = 0.002  # added to ratios before their logarithm is taken, as they may be 0
RATIOS = np.geomspace(OFFSET, LARGEST_RATIO + OFFSET, 40) - OFFSET
OLD_LOOKS = tuple(range(6, 61, 3))  # of the rule without a correction for looks

# The permutation test takes long. From this number of seeds on, its p value is less than CLOSE times that of Welch's
# test, or both are below all levels. So it is left out where it cannot be the largest of the three.
MANY, CLOSE = 12, 3

Array = np.ndarray


@cache
def level_table(sides: int) -> Array:
    """Levels by alpha, look and ratio: (alphas, looks, ratios)."""
    plan = Plan(study_schema.LOOKS)
    levels = [[plan.levels(float(ratio), float(alpha), sides) for ratio in RATIOS] for alpha in ALPHAS]
    return np.moveaxis(np.array(levels), 1, 2)


def levels_at(place: int, ratios: Array, sides: int) -> Array:
    """The levels of the look at this place for every alpha, (alphas, ...), interpolated between the ratios."""
    wanted, known = (np.log(np.minimum(values, LARGEST_RATIO) + OFFSET) for values in (ratios, RATIOS))
    table = np.log(level_table(sides)[:, place])
    return np.exp([np.interp(wanted, known, row) for row in table])


def rounded_p(p_values: Array, levels: Array) -> Array:
    """Sequential p values of one look, rounded up to just below the next of ALPHAS, or to 1.

    Holm's correction compares p values with these alphas alone, so verdicts are those of the exact p values.
    """
    below = (p_values < levels).sum(axis=0)  # a smaller alpha has a smaller level
    return np.concatenate([[1.0], ALPHAS * (1 - 1e-6)])[below]


class TabledPlan(Plan):
    """The program's plan with levels from the table: quick, for families of up to six."""

    def levels(self, ratio: float, alpha: float, sides: int = 2) -> list[float]:
        member = int(np.argmin(np.abs(ALPHAS - alpha)))
        places = range(len(self.looks))
        return [float(levels_at(place, np.array(ratio), sides)[member]) for place in places]

    def sequential_p(self, ratios: Sequence[float], p_values: Sequence[float], sides: int = 2) -> list[float]:
        pairs = enumerate(zip(ratios, p_values, strict=True))
        alone = [float(rounded_p(np.array(p), levels_at(at, np.array(ratio), sides))) for at, (ratio, p) in pairs]
        return [float(p) for p in np.minimum.accumulate(alone)]


def plan_up_to(seeds: int) -> TabledPlan:
    """The program's looks up to this number of seeds."""
    return TabledPlan(tuple(look for look in study_schema.LOOKS if look <= seeds))


@dataclass(frozen=True)
class Tests:
    """What one look computes, by study and pair; the permutation test is left out, as it takes long."""

    difference: Array
    ratio: Array
    p_welch: Array
    p_seeds_and_images: Array
    p_equivalence: Array


@dataclass(frozen=True)
class NormalStudies:
    """Studies with one family of independent pairs each. Accuracies are in images, and whole numbers, as real ones."""

    candidate: Array  # (studies, pairs, seeds)
    baseline: Array
    images: Array  # true variance of the effect of images: a number
    chance: Array  # (studies, pairs): the estimated over the true variance between images

    @property
    def pairs(self) -> int:
        return int(self.candidate.shape[1])

    @staticmethod
    def draw(
        generator: np.random.Generator,
        studies: int,
        truths: Sequence[float],
        deviation: float,
        images: float,
        freedom: float,
        seeds: int,
    ) -> "NormalStudies":
        """Fractions: true differences, deviation over the seeds of a side, deviation of a difference due to images.

        `freedom`: degrees of freedom of the estimated variance between images.
        """
        shape = (studies, len(truths))
        effect = np.array(truths) + images * generator.standard_normal(shape)
        candidate, baseline = deviation * generator.standard_normal((2, *shape, seeds)) + ACCURACY
        whole = [np.round(IMAGES * values) for values in (candidate + effect[:, :, None], baseline)]
        chance = generator.chisquare(freedom, shape) / freedom
        return NormalStudies(*whole, np.array((IMAGES * images) ** 2), chance)

    def test(self, seeds: int, margin: float) -> Tests:
        """The formulas of `difference` and `significance`, for all studies at once."""
        sides = [values[:, :, :seeds] for values in (self.candidate, self.baseline)]
        parts = [values.var(axis=2, ddof=1) / seeds for values in sides]
        gain = sides[0].mean(axis=2) - sides[1].mean(axis=2)
        noise = 2 * IMAGES * WITHIN / seeds  # of single answers, which the estimate subtracts
        images = np.maximum(0.0, (self.images + noise) * self.chance - noise)
        variance, squares = sum(parts), sum(part**2 for part in parts) / (seeds - 1)
        total = variance + images
        freedom = total**2 / (squares + images**2 / (IMAGES - 1))
        return Tests(
            difference=gain / IMAGES,
            ratio=images / (variance * seeds),
            p_welch=2 * stats.t.sf(np.abs(gain) / np.sqrt(variance), variance**2 / squares),
            p_seeds_and_images=2 * stats.t.sf(np.abs(gain) / np.sqrt(total), freedom),
            p_equivalence=stats.t.sf((IMAGES * margin - np.abs(gain)) / np.sqrt(total), freedom),
        )

    def permutation_p(self, study: int, pair: int, seeds: int) -> float:
        """The program's test on one pair."""
        return significance.permutation_p(self.candidate[study, pair, :seeds], self.baseline[study, pair, :seeds])

    def judge(self, margin: float, seeds: int, without_difference: bool = False) -> Iterator[list[Decision]]:
        """The decisions on the family of each study after all looks; optionally on equivalence alone."""
        looks = plan_up_to(seeds).looks
        tests = [self.test(look, margin) for look in looks]
        p_equivalence = np.minimum.accumulate(
            [rounded_p(one.p_equivalence, levels_at(at, one.ratio, 1)) for at, one in enumerate(tests)]
        )
        p = np.ones_like(p_equivalence) if without_difference else self._sequential(tests, looks)
        for study in range(len(self.candidate)):
            family = [
                Evidence(
                    tuple(
                        Look(seeds, float(one.difference[study, pair]), 1.0, 0.0, 1.0, 0.0)  # the rule reads no others
                        for seeds, one in zip(looks, tests, strict=True)
                    ),
                    tuple(p[:, study, pair].tolist()),
                    tuple(p_equivalence[:, study, pair].tolist()),
                )
                for pair in range(self.pairs)
            ]
            yield decide(family, [False] * self.pairs)

    def _sequential(self, tests: Sequence[Tests], looks: Sequence[int]) -> Array:
        """Sequential p values of a difference: (looks, studies, pairs).

        The permutation test is computed where it may matter: where the others find a difference at some alpha that no
        look before did.
        """
        found = np.ones((len(looks) + 1, *self.chance.shape))
        for place, (seeds, one) in enumerate(zip(looks, tests, strict=True)):
            levels = levels_at(place, one.ratio, 2)
            p = np.maximum(one.p_welch, one.p_seeds_and_images)
            strictest = ALPHAS[self.pairs - 1]
            open_yet = (found[place] >= strictest) & (rounded_p(p, levels) < found[place])
            if seeds >= MANY:
                open_yet &= one.p_seeds_and_images < CLOSE * one.p_welch
            for study, pair in np.argwhere(open_yet):
                p[study, pair] = max(p[study, pair], self.permutation_p(study, pair, seeds))
            found[place + 1] = np.minimum(found[place], rounded_p(p, levels))
        return found[1:]

    def old_errors(self, margin: float) -> Array:
        """Seeds at which the old rule first calls a pair better or worse, for each study; infinite if it never does.

        Welch's and the permutation test after Holm's correction, and the 95 % interval over seeds and images; looked
        at with three more seeds each time, without a correction for looks. Beyond MANY seeds, Welch's test stands for
        both.
        """
        first = np.full(len(self.candidate), np.inf)
        for seeds in OLD_LOOKS:
            tests = self.test(seeds, margin)
            outside = tests.p_seeds_and_images < intervals.LEVEL
            hopeful = (outside & (tests.p_welch < intervals.LEVEL)).any(axis=1) & np.isinf(first)
            for study in np.flatnonzero(hopeful):
                welch = np.array(significance.holm(tests.p_welch[study])) < intervals.LEVEL
                found = welch & outside[study]
                if found.any() and seeds <= MANY:
                    p_values = [self.permutation_p(study, pair, seeds) for pair in range(self.pairs)]
                    found &= np.array(significance.holm(p_values)) < intervals.LEVEL
                if found.any():
                    first[study] = seeds
        return first
