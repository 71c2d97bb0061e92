"""Runs to verdicts: is the difference between two variants more than chance?

Two sources of doubt: another training (seeds), and another sample of test digits (images, which all seeds share). Each
is measured for itself, and both together; docs/statistics.md says why, with references and an example.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from scipy import optimize, stats

from lenetlab import UserError, params, wording
from lenetlab.predictions import Predictions

LEVEL = 0.05
POWER = 0.8
EXACT = 1_000_000  # permutations up to which all are counted; beyond, so many are drawn
MOST_SEEDS = 1000  # that params.yaml allows
FAR = 8.0  # standard errors, found by every study; SciPy's noncentral t is not a number for much more
SIMILAR = 5  # per cent: how far two numbers of parameters may be apart and be called similar

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Pair:
    """McNemar's test on one training of each side: about these two networks, not about the methods."""

    seed: int
    baseline_seed: int
    only_candidate: int  # images that it alone reads correctly
    only_baseline: int
    p: float


@dataclass(frozen=True)
class Outcome:
    """One declared comparison, as `comparison.json` holds it. Differences of test accuracy are fractions.

    All figures are of the seeds that finished. Where one of either side diverged, they decide nothing.
    """

    candidate: str
    baseline: str
    family: str
    difference: float | None  # candidate minus baseline; None where no seed of a side finished
    interval_seeds: Interval  # 95 %, for other trainings on the same test images; None with one seed
    interval: Interval  # 95 %, for other trainings and other test images
    interval_equivalence: Interval  # the same at 90 %, which is to lie within the margin
    share_seeds: float | None  # of the variance of the difference, what is due to seeds; the rest is due to images
    p_welch: float
    p_permutation: float
    p_welch_holm: float
    p_permutation_holm: float
    verdict: Literal["better", "worse", "equivalent", "inconclusive"]
    reason: str
    confounds: list[str]  # differences between the sides that are no regularisation
    seeds_needed: int | None  # of each side, to settle a difference as large as the margin, or none; None: no number
    superiority: float | None  # probability that one training of the candidate beats one of the baseline; ties: half
    superiority_interval: Interval  # 95 %
    mcnemar: list[Pair]


@dataclass(frozen=True)
class Spread:
    """What makes the difference of two mean accuracies vary."""

    seeds: tuple[float, float]  # variance between trainings, candidate and baseline, on these images
    images: float  # variance of the difference with the sample of images, were there no end of seeds

    def variance(self, counts: tuple[int, int]) -> float:
        return sum(part / count for part, count in zip(self.seeds, counts, strict=True)) + self.images

    def freedom(self, counts: tuple[int, int], images: int) -> float:
        """Degrees of freedom of that variance, after Satterthwaite."""
        parts = [part / count for part, count in zip(self.seeds, counts, strict=True)]
        squares = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        return self.variance(counts) ** 2 / (squares + self.images**2 / (images - 1))


# The middle of docs/study's comparisons: what `lenetlab check` reckons with before there are results.
TYPICAL = Spread(seeds=(0.0012**2, 0.0012**2), images=0.0002**2)


def compare(
    study: params.Study, predictions: Mapping[str, Predictions], diverged: Mapping[str, Collection[int]]
) -> list[Outcome]:
    """The outcome of every comparison that the study declares, in its order.

    `predictions` are of the seeds that finished; `diverged` are the others, by variant.
    """
    outcomes = []
    for family, pairs in study.comparisons.items():
        sides = [(predictions[pair.candidate], predictions[pair.baseline]) for pair in pairs]
        interval_seeds, p_welch = zip(*(welch(*sides_of_pair) for sides_of_pair in sides), strict=True)
        p_permutation = [permutation(*sides_of_pair) for sides_of_pair in sides]
        corrected = zip(holm(p_welch), holm(p_permutation), strict=True)
        for pair, (candidate, baseline), interval, raw_welch, raw_permutation, (holm_welch, holm_permutation) in zip(
            pairs, sides, interval_seeds, p_welch, p_permutation, corrected, strict=True
        ):
            lost = _lost(pair, candidate, baseline, diverged)
            verdict, reason = (
                ("inconclusive", "; ".join(lost))
                if lost
                else judge(candidate, baseline, holm_welch, holm_permutation, len(pairs), study.equivalence_margin)
            )
            spread, counts = spread_of(candidate, baseline), (len(candidate.seeds), len(baseline.seeds))
            superior, superiority_interval = superiority(candidate, baseline)
            settled = (len(candidate.labels), len(pairs), study.equivalence_margin)
            needed = seeds_needed(spread, *settled) if spread and not lost else None
            outcomes.append(
                Outcome(
                    candidate=pair.candidate,
                    baseline=pair.baseline,
                    family=family,
                    difference=difference(candidate, baseline),
                    interval_seeds=interval,
                    interval=seeds_and_images(candidate, baseline),
                    interval_equivalence=seeds_and_images(candidate, baseline, 1 - 2 * LEVEL),
                    share_seeds=spread and share_of_seeds(spread, counts),
                    p_welch=raw_welch,
                    p_permutation=raw_permutation,
                    p_welch_holm=holm_welch,
                    p_permutation_holm=holm_permutation,
                    verdict=verdict,
                    reason=reason,
                    confounds=confounds(study, pair),
                    seeds_needed=needed,
                    superiority=superior,
                    superiority_interval=superiority_interval,
                    mcnemar=mcnemar(candidate, baseline),
                )
            )
    return outcomes


def difference(candidate: Predictions, baseline: Predictions) -> float | None:
    """Of mean test accuracies, candidate minus baseline; None without a seed on a side.

    UserError if the images are not the same.
    """
    if not np.array_equal(candidate.labels, baseline.labels):
        raise UserError("evaluations: made on different test images; remedy: dvc repro")
    if not min(len(candidate.seeds), len(baseline.seeds)):
        return None
    return float(candidate.accuracy.mean() - baseline.accuracy.mean())


# Other trainings.


def mean_interval(values: np.ndarray, level: float = 1 - LEVEL) -> Interval:
    """Student's interval for the mean of a variant's seeds; None with fewer than two."""
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def welch(candidate: Predictions, baseline: Predictions) -> tuple[Interval, float]:
    """Welch's 95 % interval for the difference of mean accuracies, and his test's p value, two-sided.

    With fewer than two seeds on a side there is neither (None and 1); where no seed differs from another, the interval
    is a point.
    """
    spread, found = spread_of(candidate, baseline), difference(candidate, baseline)
    if spread is None:
        return None, 1.0
    counts, among_seeds = (len(candidate.seeds), len(baseline.seeds)), Spread(spread.seeds, images=0.0)
    variance = among_seeds.variance(counts)
    if not variance:
        return (found, found), float(found == 0)
    freedom = among_seeds.freedom(counts, len(candidate.labels))
    p_value = float(2 * stats.t.sf(abs(found) / np.sqrt(variance), freedom))
    return _around(found, variance, freedom, 1 - LEVEL), p_value


def permutation(candidate: Predictions, baseline: Predictions) -> float:
    """The exact permutation test's p value, two-sided, on correct images; 1 with fewer than two seeds on a side."""
    counts = _counts(candidate), _counts(baseline)
    return divisions(*counts) if min(map(len, counts)) > 1 else 1.0


def divisions(first: np.ndarray, second: np.ndarray) -> float:
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


def superiority(candidate: Predictions, baseline: Predictions) -> tuple[float | None, Interval]:
    """Probability that one training of the candidate beats one of the baseline, with its 95 % interval.

    The measure that Bouthillier et al. 2021 propose; the interval is method 5 of Newcombe 2006, which stays honest
    where every seed of one side beats every seed of the other. With one seed on a side there is none, without any
    there is no probability either.
    """
    first, second = _counts(candidate), _counts(baseline)
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
        return (found - truth) ** 2 - stats.norm.ppf(1 - LEVEL / 2) ** 2 * variance

    low = optimize.brentq(beyond, 0.0, min(found, 1 - 1e-9)) if found > 0 else 0.0
    high = optimize.brentq(beyond, max(found, 1e-9), 1.0) if found < 1 else 1.0
    return found, (float(low), float(high))


def training_deviation(side: Predictions) -> float | None:
    """Standard deviation of accuracy between trainings on endlessly many test images; Jordan 2024. None with one seed.

    What a finite test set adds to the deviation that is seen is taken off: each image's own variance between trainings.
    """
    seeds, images = side.correct.shape
    if seeds < 2:
        return None
    by_chance = side.correct.var(axis=0, ddof=1).sum() / images**2
    freed = (_seed_variance(side) - by_chance) * images / (images - 1)
    return float(np.sqrt(max(0.0, freed)))


# Other trainings and other images.


def spread_of(candidate: Predictions, baseline: Predictions) -> Spread | None:
    """What makes the difference vary; None with one seed. Crossed random effects, as in Owen 2007.

    Images vary in their mean difference over seeds; taken off is the part of that variance which the seeds cause.
    """
    sides = (candidate, baseline)
    if min(len(side.seeds) for side in sides) < 2:
        return None
    by_image = candidate.correct.mean(axis=0) - baseline.correct.mean(axis=0)
    from_seeds = sum(_interaction(side) / len(side.seeds) for side in sides)
    images = max(0.0, float(by_image.var(ddof=1) - from_seeds)) / len(by_image)
    return Spread((_seed_variance(candidate), _seed_variance(baseline)), images)


def seeds_and_images(candidate: Predictions, baseline: Predictions, level: float = 1 - LEVEL) -> Interval:
    """Interval for other trainings and other test images, paired by image, in closed form; None with one seed."""
    spread, found = spread_of(candidate, baseline), difference(candidate, baseline)
    if spread is None:
        return None
    counts, images = (len(candidate.seeds), len(baseline.seeds)), len(candidate.labels)
    variance = spread.variance(counts)
    if not variance:
        return found, found
    return _around(found, variance, spread.freedom(counts, images), level)


def share_of_seeds(spread: Spread, counts: tuple[int, int]) -> float | None:
    """Of the variance of the difference; None where nothing varies."""
    variance = spread.variance(counts)
    return 1 - spread.images / variance if variance else None


def mcnemar(candidate: Predictions, baseline: Predictions) -> list[Pair]:
    """McNemar's exact test for each seed that finished on both sides."""
    pairs, correct = [], dict(zip(baseline.seeds.tolist(), baseline.correct, strict=True))
    for seed, first in zip(candidate.seeds.tolist(), candidate.correct, strict=True):
        if seed in correct:
            alone = int((first & ~correct[seed]).sum()), int((correct[seed] & ~first).sum())
            p_value = min(1.0, float(2 * stats.binom.cdf(min(alone), sum(alone), 0.5)))
            pairs.append(Pair(seed, seed, *alone, p_value))
    return pairs


# What a study can and cannot tell.


def most_comparisons(seeds: int) -> int:
    """How many comparisons a family may hold for the permutation test of so many seeds each to reach the level.

    Its least p is 2 in all divisions of the seeds, and so many times that, after Holm's correction, is to stay below.
    """
    return (comb(2 * seeds, seeds) - 1) // round(2 / LEVEL)


def least_seeds(comparisons: int) -> int:
    """The fewest seeds of each side with which so many comparisons in a family can reach the level."""
    return next(seeds for seeds in range(2, MOST_SEEDS) if most_comparisons(seeds) >= comparisons)


def power(truth: float, spread: Spread, seeds: int, images: int, comparisons: int) -> float:
    """Probability that so many seeds of each side find a true advantage: the smaller of the tests' and the interval's.

    Each is that of a t test, from the noncentral t distribution; Holm's correction is taken at its hardest.
    """
    counts = (seeds, seeds)
    found = []
    for part, level in ((Spread(spread.seeds, 0.0), LEVEL / comparisons), (spread, LEVEL)):
        variance = part.variance(counts)
        if not variance:
            found.append(float(truth != 0))
            continue
        freedom, offset = part.freedom(counts, images), min(truth / np.sqrt(variance), FAR)
        found.append(float(stats.nct.sf(stats.t.ppf(1 - level / 2, freedom), freedom, offset)))
    return min(found) if most_comparisons(seeds) >= comparisons else 0.0


def power_of_equivalence(truth: float, margin: float, spread: Spread, seeds: int, images: int) -> float:
    """Probability that so many seeds of each side find variants equivalent that differ by `truth`; two t tests."""
    variance = spread.variance((seeds, seeds))
    if not variance:
        return float(abs(truth) < margin)
    freedom = spread.freedom((seeds, seeds), images)
    limit = stats.t.ppf(1 - LEVEL, freedom)
    sides = [stats.t.cdf((margin + sign * truth) / np.sqrt(variance) - limit, freedom) for sign in (-1, 1)]
    return max(0.0, float(sum(sides) - 1))


def detectable(spread: Spread, seeds: int, images: int, comparisons: int) -> float | None:
    """The smallest true difference that so many seeds find with 80 % power; None if they cannot find any."""
    if most_comparisons(seeds) < comparisons:
        return None

    def lacking(truth: float) -> float:
        return power(truth, spread, seeds, images, comparisons) - POWER

    return float(optimize.brentq(lacking, 0.0, 1.0, xtol=1e-7))


def seeds_needed(
    spread: Spread, images: int, comparisons: int, margin: float, truths: Sequence[float] | None = None
) -> int | None:
    """The fewest seeds of each side that settle each of these true differences with 80 % power; else 0 and the margin.

    Settled is what is found better, or equivalent. None: no number does, since the images leave too much doubt.
    """

    def settles(seeds: int) -> bool:
        return all(
            max(
                power(truth, spread, seeds, images, comparisons),
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


# Verdicts.


def judge(
    candidate: Predictions,
    baseline: Predictions,
    p_welch: float,
    p_permutation: float,
    comparisons: int,
    margin: float,
) -> tuple[str, str]:
    """Verdict and reason, from p values after Holm's correction within a family of so many comparisons."""
    found, seeds = difference(candidate, baseline), min(len(candidate.seeds), len(baseline.seeds))
    interval, narrow = (seeds_and_images(candidate, baseline, level) for level in (1 - LEVEL, 1 - 2 * LEVEL))
    if interval is None or narrow is None:
        return "inconclusive", "one seed shows nothing of how much another training would differ"
    size = f"{_points(abs(found))} percentage points"
    if max(p_welch, p_permutation) < LEVEL and not interval[0] <= 0 <= interval[1]:
        verdict = "better" if found > 0 else "worse"
        small = f", which is less than the margin of {_points(margin)}" if abs(found) < margin else ""
        return verdict, (
            f"{verdict} by {size}{small}: both tests over {seeds} seeds stay below {LEVEL} after Holm's correction,"
            " and the interval over seeds and images excludes 0"
        )
    if -margin < narrow[0] and narrow[1] < margin:
        return "equivalent", (
            f"the 90 % interval over seeds and images, {_points(narrow[0], '+')} to {_points(narrow[1], '+')},"
            f" lies within the margin of ±{_points(margin)} percentage points"
        )
    return "inconclusive", f"a difference of {size} {_missing(candidate, baseline, p_welch, p_permutation)}; " + (
        _remedy(candidate, baseline, comparisons, margin)
    )


def confounds(study: params.Study, pair: params.Comparison) -> list[str]:
    """In what the sides differ besides network and regularisation, and in parameters by more than 5 %."""
    sides = [study.variants[name] for name in (pair.candidate, pair.baseline)]
    parameters = [side.parameters for side in sides]
    found = []
    if 100 * (max(parameters) - min(parameters)) > SIMILAR * min(parameters):
        found.append(f"parameters {parameters[0]:,} against {parameters[1]:,}, a factor of {_ratio(parameters)}")
    blocks = {
        "input": [side.input.model_dump() for side in sides],
        "training": [study.training_of(name).model_dump() for name in (pair.candidate, pair.baseline)],
    }
    for block, (first, second) in blocks.items():
        found += [
            f"{block}.{key} {_plain(first[key])} against {_plain(second[key])}"
            for key in first
            if first[key] != second[key]
        ]
    return found


def _lost(
    pair: params.Comparison, candidate: Predictions, baseline: Predictions, diverged: Mapping[str, Collection[int]]
) -> list[str]:
    """What there is to say of the sides whose seeds did not all finish.

    Whether a training finishes is no matter of chance that the tests know of: those that did are a selection.
    """
    return [
        wording.diverged(name, diverged[name], len(diverged[name]) + len(side.seeds))
        for name, side in ((pair.candidate, candidate), (pair.baseline, baseline))
        if diverged.get(name)
    ]


def _missing(candidate: Predictions, baseline: Predictions, p_welch: float, p_permutation: float) -> str:
    """Which of the conditions for a difference was not met."""
    above = [name for name, p in (("Welch's test", p_welch), ("the permutation test", p_permutation)) if p >= LEVEL]
    seeds = min(len(candidate.seeds), len(baseline.seeds))
    if above:
        return (
            f"is not told from chance by {seeds} seeds each: {' and '.join(above)} with p of {LEVEL} or more"
            " after Holm's correction"
        )
    return f"over {seeds} seeds each would be told from chance, but the interval over seeds and images holds 0"


def _remedy(candidate: Predictions, baseline: Predictions, comparisons: int, margin: float) -> str:
    """What would settle it: seeds, or images."""
    spread, images = spread_of(candidate, baseline), len(candidate.labels)
    seeds, limit = min(len(candidate.seeds), len(baseline.seeds)), f"the margin, {_points(margin)},"
    needed = seeds_needed(spread, images, comparisons, margin)
    if needed is None:
        reach = stats.norm.ppf(1 - LEVEL) + stats.norm.ppf((1 + POWER) / 2)
        wanted = _rounded(images * spread.images * (reach / margin) ** 2)
        return f"too few test images: no number of seeds would settle a difference of {limit} but {wanted} images could"
    if most_comparisons(seeds) < comparisons:
        return (
            f"too few seeds: {seeds} cannot reach p below {LEVEL} among {comparisons} comparisons; about {needed} each"
            f" would settle a difference of {limit} with 80 % power"
        )
    if needed > seeds:
        return f"too few seeds: about {needed} each would settle a difference of {limit} or its absence with 80 % power"
    between = seeds_needed(spread, images, comparisons, margin, truths=[margin / 2])
    told = f"about {between} each would" if between else "no number of them on these images would"
    half = f"one of {_points(margin / 2)}, half the margin, with 80 % power"
    return f"too few seeds for so small a difference: {told} settle {half}"


def _around(middle: float, variance: float, freedom: float, level: float) -> tuple[float, float]:
    half = float(stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(variance))
    return middle - half, middle + half


def _seed_variance(side: Predictions) -> float:
    """Variance of accuracy between trainings, on these images."""
    return float(_counts(side).var(ddof=1)) / len(side.labels) ** 2


def _interaction(side: Predictions) -> float:
    """Variance of single answers that neither the seed nor the image explains: a residual mean square."""
    centred = side.correct - side.accuracy[:, None]
    return float(centred.var(axis=0, ddof=1).sum()) / (len(side.labels) - 1)


def _counts(side: Predictions) -> np.ndarray:
    """Correct images per seed (S): whole numbers, so that equal ones have no variance and ties stay ties."""
    return side.correct.sum(axis=1)


def _points(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.2f}"


def _ratio(parameters: list[int]) -> str:
    return f"{max(parameters) / min(parameters):.3g}"


def _rounded(number: float) -> str:
    """To two digits, since it is an estimate."""
    return f"{float(f'{number:.1e}'):,.0f}"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
