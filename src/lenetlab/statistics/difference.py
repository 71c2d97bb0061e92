"""The difference of two variants: its size, its variance, and intervals.

Two sources of variation: trainings (seeds), and test images, which all seeds share. docs/statistics.md has the
formulas, references and an example.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from lenetlab.errors import UserError
from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import intervals


@dataclass(frozen=True)
class VarianceComponents:
    """Why the difference of two mean accuracies varies."""

    seeds: tuple[float, float]  # variance of accuracy between trainings on these images: candidate, baseline
    images: float  # variance of the difference between samples of test images, with unlimited seeds

    def variance(self, counts: tuple[int, int]) -> float:
        """Variance of the difference with these numbers of seeds."""
        return sum(part / count for part, count in zip(self.seeds, counts, strict=True)) + self.images

    def degrees_of_freedom(self, counts: tuple[int, int], images: int) -> float:
        """Degrees of freedom of that variance: Satterthwaite 1946."""
        parts = [part / count for part, count in zip(self.seeds, counts, strict=True)]
        squares = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        return self.variance(counts) ** 2 / (squares + self.images**2 / (images - 1))


def mean_difference(candidate: Predictions, baseline: Predictions) -> float | None:
    """Mean test accuracy of the candidate minus that of the baseline; None if either has no finished seed.

    UserError if the two were evaluated on different images.
    """
    if not np.array_equal(candidate.labels, baseline.labels):
        raise UserError("evaluations: made on different test images; remedy: dvc repro")
    if not min(seed_counts(candidate, baseline)):
        return None
    return float(candidate.accuracy.mean() - baseline.accuracy.mean())


def seed_counts(candidate: Predictions, baseline: Predictions) -> tuple[int, int]:
    """Numbers of finished seeds."""
    return len(candidate.seeds), len(baseline.seeds)


def correct_counts(predictions: Predictions) -> np.ndarray:
    """Correct images per seed (S). Whole numbers, so equal results have no variance and ties stay ties."""
    counts: np.ndarray = predictions.correct.sum(axis=1)
    return counts


def variance_components(candidate: Predictions, baseline: Predictions) -> VarianceComponents | None:
    """Estimates for crossed random effects (Owen 2007); None if a variant has fewer than two seeds.

    The variance between images of the mean difference includes a part that the seeds cause; it is subtracted.
    """
    if min(seed_counts(candidate, baseline)) < 2:
        return None
    by_image = candidate.correct.mean(axis=0) - baseline.correct.mean(axis=0)
    from_seeds = sum(_interaction(variant) / len(variant.seeds) for variant in (candidate, baseline))
    images = max(0.0, float(by_image.var(ddof=1) - from_seeds)) / len(by_image)
    return VarianceComponents((_accuracy_variance(candidate), _accuracy_variance(baseline)), images)


def seed_share(components: VarianceComponents, counts: tuple[int, int]) -> float | None:
    """The part of the variance of the difference that seeds cause; None if there is no variance."""
    variance = components.variance(counts)
    return 1 - components.images / variance if variance else None


def interval_seeds(candidate: Predictions, baseline: Predictions) -> intervals.Interval:
    """Welch's 95 % interval, for other trainings on the same test images; None with one seed."""
    components = variance_components(candidate, baseline)
    if components is None:
        return None
    return _interval(candidate, baseline, VarianceComponents(components.seeds, images=0.0), 1 - intervals.LEVEL)


def interval_seeds_and_images(
    candidate: Predictions, baseline: Predictions, confidence: float = 1 - intervals.LEVEL
) -> intervals.Interval:
    """Interval for other trainings and other test images, paired by image, in closed form; None with one seed."""
    components = variance_components(candidate, baseline)
    return None if components is None else _interval(candidate, baseline, components, confidence)


def superiority(candidate: Predictions, baseline: Predictions) -> tuple[float | None, intervals.Interval]:
    """Probability that one training of the candidate beats one of the baseline (ties: half), with its 95 % interval.

    Bouthillier et al. 2021 propose it. The interval is method 5 of Newcombe 2006, which has a width even if every seed
    of one variant beats every seed of the other. No interval with one seed, no probability without a finished seed.
    """
    first, second = correct_counts(candidate), correct_counts(baseline)
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
    if seeds < 2:
        return None
    from_images = predictions.correct.var(axis=0, ddof=1).sum() / images**2
    variance = (_accuracy_variance(predictions) - from_images) * images / (images - 1)
    return float(np.sqrt(max(0.0, variance)))


def _interval(
    candidate: Predictions, baseline: Predictions, components: VarianceComponents, confidence: float
) -> intervals.Interval:
    difference, counts = mean_difference(candidate, baseline), seed_counts(candidate, baseline)
    variance = components.variance(counts)
    if difference is None:
        return None
    if not variance:
        return difference, difference
    freedom = components.degrees_of_freedom(counts, len(candidate.labels))
    return intervals.t_interval(difference, variance, freedom, confidence)


def _accuracy_variance(predictions: Predictions) -> float:
    """Variance of accuracy between trainings on these images."""
    return float(correct_counts(predictions).var(ddof=1)) / len(predictions.labels) ** 2


def _interaction(predictions: Predictions) -> float:
    """Variance of single answers that neither seed nor image explains: a residual mean square."""
    centred = predictions.correct - predictions.accuracy[:, None]
    return float(centred.var(axis=0, ddof=1).sum()) / (len(predictions.labels) - 1)
