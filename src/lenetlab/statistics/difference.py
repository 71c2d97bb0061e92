"""Runs to verdicts: is the difference between two variants more than chance?

Two sources of doubt: another training (seeds), and another sample of test digits (images, which all seeds share). Each
is measured for itself, and both together; docs/statistics.md says why, with references and an example.
"""

from dataclasses import dataclass

import numpy as np

from lenetlab.errors import UserError
from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import intervals


@dataclass(frozen=True)
class VarianceComponents:
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


def mean_difference(candidate: Predictions, baseline: Predictions) -> float | None:
    """Of mean test accuracies, candidate minus baseline; None without a seed on a side.

    UserError if the images are not the same.
    """
    if not np.array_equal(candidate.labels, baseline.labels):
        raise UserError("evaluations: made on different test images; remedy: dvc repro")
    if not min(len(candidate.seeds), len(baseline.seeds)):
        return None
    return float(candidate.accuracy.mean() - baseline.accuracy.mean())


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


def variance_components(candidate: Predictions, baseline: Predictions) -> VarianceComponents | None:
    """What makes the difference vary; None with one seed. Crossed random effects, as in Owen 2007.

    Images vary in their mean difference over seeds; taken off is the part of that variance which the seeds cause.
    """
    sides = (candidate, baseline)
    if min(len(side.seeds) for side in sides) < 2:
        return None
    by_image = candidate.correct.mean(axis=0) - baseline.correct.mean(axis=0)
    from_seeds = sum(_interaction(side) / len(side.seeds) for side in sides)
    images = max(0.0, float(by_image.var(ddof=1) - from_seeds)) / len(by_image)
    return VarianceComponents((_seed_variance(candidate), _seed_variance(baseline)), images)


def interval_seeds_and_images(
    candidate: Predictions, baseline: Predictions, level: float = 1 - intervals.LEVEL
) -> intervals.Interval:
    """Interval for other trainings and other test images, paired by image, in closed form; None with one seed."""
    spread, found = variance_components(candidate, baseline), mean_difference(candidate, baseline)
    if spread is None:
        return None
    counts, images = (len(candidate.seeds), len(baseline.seeds)), len(candidate.labels)
    variance = spread.variance(counts)
    if not variance:
        return found, found
    return intervals.t_interval(found, variance, spread.freedom(counts, images), level)


def seed_share(spread: VarianceComponents, counts: tuple[int, int]) -> float | None:
    """Of the variance of the difference; None where nothing varies."""
    variance = spread.variance(counts)
    return 1 - spread.images / variance if variance else None


def _seed_variance(side: Predictions) -> float:
    """Variance of accuracy between trainings, on these images."""
    return float(correct_counts(side).var(ddof=1)) / len(side.labels) ** 2


def _interaction(side: Predictions) -> float:
    """Variance of single answers that neither the seed nor the image explains: a residual mean square."""
    centred = side.correct - side.accuracy[:, None]
    return float(centred.var(axis=0, ddof=1).sum()) / (len(side.labels) - 1)


def correct_counts(side: Predictions) -> np.ndarray:
    """Correct images per seed (S): whole numbers, so that equal ones have no variance and ties stay ties."""
    return side.correct.sum(axis=1)
