"""Populations of systems whose accuracies are known, from which trainings and test images are drawn by answer."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from lenetlab.statistics import difference
from lenetlab.statistics.measures import Sample

IMAGES = 10_000

# LeNet-5 with six seeds (docs/study): accuracy, deviation between trainings with unlimited test images, and mean over
# images of the variance of answers between trainings. With these, the numbers of images that none, one ... all seeds
# read correctly also agree with LeNet-5's.
ACCURACY, DEVIATION, WITHIN = 0.989, 0.0005, 0.0063


@dataclass(frozen=True)
class Population:
    """Systems whose accuracies with unlimited images and trainings are known.

    A training reads an image correctly if skill + seed + difficulty + system + noise > 0. The skill is a constant, the
    others are normal with mean 0 and variances that add up to 1: one value per training, per image for all systems, per
    image for this system, and per training and image. So the accuracy is the normal distribution function of the skill.
    """

    accuracies: tuple[float, ...]
    seed: float  # variances
    difficulty: float
    system: float

    def both_wrong(self, first: int, second: int, shared: float) -> float:
        """Probability that two answers are wrong that have this part of their variance in common; Owen 1956."""
        one, other = stats.norm.ppf([1 - self.accuracies[first], 1 - self.accuracies[second]])
        rest = np.sqrt(1 - shared**2)
        parts = special.owens_t([one, other], [(other / one - shared) / rest, (one / other - shared) / rest])
        return float((2 - self.accuracies[first] - self.accuracies[second]) / 2 - sum(parts))

    def deviation(self, system: int) -> float:
        """Standard deviation of accuracy between trainings, with unlimited images."""
        return float(np.sqrt(self.both_wrong(system, system, self.seed) - (1 - self.accuracies[system]) ** 2))

    def within(self, system: int) -> float:
        """Mean over images of the variance between trainings."""
        return 1 - self.accuracies[system] - self.both_wrong(system, system, self.difficulty + self.system)

    def components(self, candidate: int, baseline: int) -> difference.VarianceComponents:
        """The true values of what `difference.variance_components` estimates."""
        systems = (candidate, baseline)
        seeds = [(self.within(system) + (IMAGES - 1) * self.deviation(system) ** 2) / IMAGES for system in systems]
        alone = sum(self.both_wrong(system, system, self.difficulty + self.system) for system in systems)
        together = self.both_wrong(candidate, baseline, self.difficulty)
        images = alone - 2 * together - (self.accuracies[candidate] - self.accuracies[baseline]) ** 2
        return difference.VarianceComponents((seeds[0], seeds[1]), max(0.0, images) / IMAGES, IMAGES)

    def draw(self, generator: np.random.Generator, seeds: int, images: int = IMAGES) -> list[Sample]:
        """New trainings of each system, all on the same new images."""

        def normal(variance: float, *shape: int) -> np.ndarray:
            return np.float32(np.sqrt(variance)) * generator.standard_normal(shape, dtype=np.float32)

        difficulty, systems = normal(self.difficulty, images), []
        for skill in stats.norm.ppf(self.accuracies):
            expected = np.float32(skill) + difficulty + normal(self.system, images)
            noise = normal(1 - self.seed - self.difficulty - self.system, seeds, images)
            correct = expected + normal(self.seed, seeds, 1) + noise > 0
            systems.append(Sample(correct.mean(axis=1), correct))
        return systems


def calibrated(accuracies: tuple[float, ...], effect: float) -> Population:
    """Systems that vary as LeNet-5 does. If they are equal, the images give their difference the deviation `effect`."""

    def typical(seed: float, difficulty: float, system: float) -> Population:
        return Population((ACCURACY,), seed, difficulty, system)

    def excess(difficulty: float) -> float:
        """Variance of the difference due to images, minus the wanted one."""
        together = typical(seed, difficulty, 0.0).both_wrong(0, 0, difficulty)
        return 2 * (1 - ACCURACY - WITHIN - together) / IMAGES - effect**2

    seed = optimize.brentq(lambda part: typical(part, 0.0, 0.0).deviation(0) - DEVIATION, 1e-6, 0.5)
    image = optimize.brentq(lambda part: typical(seed, part, 0.0).within(0) - WITHIN, 0.0, 1 - seed)
    difficulty = optimize.brentq(excess, 0.0, image) if effect else image
    return Population(accuracies, seed, difficulty, image - difficulty)
