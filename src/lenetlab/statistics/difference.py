"""The difference of two variants: its size, its variance, and intervals.

Two sources of variation: trainings (seeds), and test images, which all seeds share. docs/statistics.md has the
formulas, references and an example.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import intervals
from lenetlab.statistics.measures import Sample


@dataclass(frozen=True)
class VarianceComponents:
    """Why the difference of two means varies."""

    seeds: tuple[float, float]  # variance between trainings on these images: candidate, baseline
    images: float  # variance of the difference between samples of test images, with unlimited seeds
    image_count: int

    @property
    def ratio(self) -> float:
        """The part of the images over that of one seed of each side."""
        between_seeds = sum(self.seeds)
        if not between_seeds:
            return np.inf if self.images else 0.0
        return self.images / between_seeds

    def variance(self, counts: tuple[int, int]) -> float:
        """Variance of the difference with these numbers of seeds."""
        return sum(part / count for part, count in zip(self.seeds, counts, strict=True)) + self.images

    def degrees_of_freedom(self, counts: tuple[int, int]) -> float:
        """Degrees of freedom of that variance: Satterthwaite 1946."""
        parts = [part / count for part, count in zip(self.seeds, counts, strict=True)]
        squares = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        from_images = self.images**2 / (self.image_count - 1) if self.images else 0.0
        return float(self.variance(counts) ** 2 / (squares + from_images))

    def without_images(self) -> "VarianceComponents":
        """For other trainings on the same images."""
        return VarianceComponents(self.seeds, 0.0, self.image_count)


def mean_difference(candidate: Sample, baseline: Sample) -> float | None:
    """Mean of the candidate minus that of the baseline; None if either has no finished seed."""
    if not min(seed_counts(candidate, baseline)):
        return None
    return float(candidate.values.mean() - baseline.values.mean())


def seed_counts(candidate: Sample, baseline: Sample) -> tuple[int, int]:
    """Numbers of finished seeds."""
    return candidate.seeds, baseline.seeds


def variance_components(candidate: Sample, baseline: Sample) -> VarianceComponents | None:
    """Estimates for crossed random effects (Owen 2007); None with fewer than two seeds or images.

    The variance between images of the mean difference includes a part that the seeds cause; it is subtracted.
    """
    if min(seed_counts(candidate, baseline)) < 2:
        return None
    seeds = _variance(candidate.values), _variance(baseline.values)
    if candidate.by_image is None or baseline.by_image is None:
        return VarianceComponents(seeds, 0.0, 0)
    count = candidate.by_image.shape[1]
    if count < 2:
        return None
    difference = candidate.by_image.mean(axis=0) - baseline.by_image.mean(axis=0)
    from_seeds = sum(_interaction(variant) / variant.seeds for variant in (candidate, baseline))
    return VarianceComponents(seeds, max(0.0, _variance(difference) - from_seeds) / count, count)


def seed_share(components: VarianceComponents, counts: tuple[int, int]) -> float | None:
    """The part of the variance of the difference that seeds cause; None if there is no variance."""
    variance = components.variance(counts)
    return 1 - components.images / variance if variance else None


def interval_seeds(candidate: Sample, baseline: Sample) -> intervals.Interval:
    """Welch's 95 % interval, for other trainings on the same test images; None with one seed."""
    components = variance_components(candidate, baseline)
    if components is None:
        return None
    return _interval(candidate, baseline, components.without_images(), 1 - intervals.LEVEL)


def interval_seeds_and_images(
    candidate: Sample, baseline: Sample, confidence: float = 1 - intervals.LEVEL
) -> intervals.Interval:
    """Interval for other trainings and other test images, paired by image, in closed form; None with one seed."""
    components = variance_components(candidate, baseline)
    return None if components is None else _interval(candidate, baseline, components, confidence)


def superiority(
    candidate: Sample, baseline: Sample, lower_is_better: bool = False
) -> tuple[float | None, intervals.Interval]:
    """Probability that one training of the candidate beats one of the baseline (ties: half), with its 95 % interval.

    Bouthillier et al. 2021 propose it. The interval is method 5 of Newcombe 2006, which has a width even if every seed
    of one variant beats every seed of the other. No interval with one seed, no probability without a finished seed.
    """
    first, second = (baseline.values, candidate.values) if lower_is_better else (candidate.values, baseline.values)
    if not min(len(first), len(second)):
        return None, None
    wins = np.sign(first[:, None] - second[None, :])
    observed = float((wins.mean() + 1) / 2)
    if min(len(first), len(second)) < 2:
        return observed, None
    weight = (len(first) + len(second)) / 2 - 1

    def excess(truth: float) -> float:
        """Squared distance of the observed value beyond what this truth allows; 0 at the limits of the interval."""
        shape = 1 + weight * (1 - truth) / (2 - truth) + weight * truth / (1 + truth)
        variance = truth * (1 - truth) * shape / (len(first) * len(second))
        return (observed - truth) ** 2 - float(stats.norm.ppf(1 - intervals.LEVEL / 2)) ** 2 * variance

    low = optimize.brentq(excess, 0.0, min(observed, 1 - 1e-9)) if observed > 0 else 0.0
    high = optimize.brentq(excess, max(observed, 1e-9), 1.0) if observed < 1 else 1.0
    return observed, (float(low), float(high))


def training_deviation(predictions: Predictions) -> float | None:
    """Standard deviation of a variant's accuracy between trainings with unlimited test images; None with one seed.

    Jordan 2024: the variance of each image's answers between trainings, which a finite test set adds, is subtracted.
    """
    seeds, images = predictions.correct.shape
    if seeds < 2 or images < 2:
        return None
    from_images = predictions.correct.var(axis=0, ddof=1).sum() / images**2
    variance = (_variance(predictions.accuracy) - from_images) * images / (images - 1)
    return float(np.sqrt(max(0.0, variance)))


def _interval(
    candidate: Sample, baseline: Sample, components: VarianceComponents, confidence: float
) -> intervals.Interval:
    difference, counts = mean_difference(candidate, baseline), seed_counts(candidate, baseline)
    variance = components.variance(counts)
    if difference is None:
        return None
    if not variance:
        return difference, difference
    return intervals.t_interval(difference, variance, components.degrees_of_freedom(counts), confidence)


def _variance(values: np.ndarray) -> float:
    """Exactly 0 for equal values, whose mean may be rounded."""
    return float(values.var(ddof=1)) if np.ptp(values) else 0.0


def _interaction(variant: Sample) -> float:
    """Variance of single values that neither seed nor image explains: a residual mean square."""
    by_image = np.asarray(variant.by_image)
    centred = by_image - variant.values[:, None]
    return float(centred.var(axis=0, ddof=1).sum() / (by_image.shape[1] - 1))
