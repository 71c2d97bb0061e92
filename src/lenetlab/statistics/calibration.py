"""Whether a network that is 90 % sure is right in 90 % of the cases."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import intervals

BINS = 15  # of confidence, equally wide, as in Guo et al. 2017


@dataclass(frozen=True)
class Bin:
    """The answers of all seeds that were given with a like confidence."""

    confidence: float  # mean
    accuracy: float
    interval: tuple[float, float]  # 95 %; an image counts once, however many seeds answer so
    answers: int


@dataclass(frozen=True)
class Calibration:
    """Of one variant; fractions."""

    confidence: float  # probability given to the predicted class, mean over images and seeds
    accuracy: float
    error: float  # expected calibration error, mean over seeds
    interval: intervals.Interval  # 95 %, of that mean over seeds
    bins: list[Bin]


def calibration(found: Predictions) -> Calibration | None:
    """None without a seed."""
    if not len(found.seeds):
        return None
    errors = np.array([_expected_error(*row) for row in zip(found.probability, found.correct, strict=True)])
    members = _members(found.probability)
    bins = []
    for number in np.unique(members):
        inside = members == number
        images, accuracy = int(inside.any(axis=0).sum()), float(found.correct[inside].mean())
        confidence = float(found.probability[inside].mean(dtype=np.float64))
        bins.append(Bin(confidence, accuracy, _wilson(accuracy, images), int(inside.sum())))
    return Calibration(
        confidence=float(found.probability.mean(dtype=np.float64)),
        accuracy=float(found.correct.mean()),
        error=float(errors.mean()),
        interval=intervals.mean_interval(errors),
        bins=bins,
    )


def _expected_error(probability: np.ndarray, correct: np.ndarray) -> float:
    """Guo et al. 2017, equation 3: how far accuracy is from confidence within a bin, mean over the answers."""
    members = _members(probability)
    gaps = np.bincount(members, weights=correct - probability.astype(np.float64), minlength=BINS)
    return float(np.abs(gaps).sum() / len(members))


def _members(probability: np.ndarray) -> np.ndarray:
    """The bin that each belongs to: above its lower limit, up to its upper one."""
    return np.clip(np.ceil(probability.astype(np.float64) * BINS).astype(int) - 1, 0, BINS - 1)


def _wilson(rate: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a rate among so many."""
    interval = stats.binomtest(round(rate * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
