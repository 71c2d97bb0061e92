"""Calibration: is a network that is 90 % sure right in 90 % of the cases?"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import intervals

BINS = 15  # of confidence, equally wide, as in Guo et al. 2017


@dataclass(frozen=True)
class Bin:
    """The predictions of all seeds whose confidence lies in one bin; fractions."""

    confidence: float  # mean
    accuracy: float
    interval: tuple[float, float]  # 95 %, of the accuracy; each image counts once, whatever the number of seeds
    answers: int  # predictions in this bin


@dataclass(frozen=True)
class Calibration:
    """Calibration of one variant; fractions."""

    confidence: float  # probability of the predicted class, mean over images and seeds
    accuracy: float
    error: float  # expected calibration error, mean over seeds
    interval: intervals.Interval  # 95 %, of that mean
    bins: list[Bin]  # those with predictions, in order of confidence


def calibration(predictions: Predictions) -> Calibration | None:
    """Calibration over all finished seeds; None if there are none."""
    if not len(predictions.seeds):
        return None
    correct, probability = predictions.correct, predictions.probability
    errors = np.array([_expected_error(*seed) for seed in zip(probability, correct, strict=True)])
    bin_numbers = _bin_numbers(probability)
    bins = []
    for number in np.unique(bin_numbers):
        inside = bin_numbers == number
        images, accuracy = int(inside.any(axis=0).sum()), float(correct[inside].mean())
        confidence = float(probability[inside].mean(dtype=np.float64))
        bins.append(Bin(confidence, accuracy, _wilson_interval(accuracy, images), int(inside.sum())))
    return Calibration(
        confidence=float(probability.mean(dtype=np.float64)),
        accuracy=float(correct.mean()),
        error=float(errors.mean()),
        interval=intervals.mean_interval(errors),
        bins=bins,
    )


def _expected_error(probability: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error of one seed: Guo et al. 2017, equation 3."""
    bin_numbers = _bin_numbers(probability)
    gaps = np.bincount(bin_numbers, weights=correct - probability.astype(np.float64), minlength=BINS)
    return float(np.abs(gaps).sum() / len(bin_numbers))


def _bin_numbers(probability: np.ndarray) -> np.ndarray:
    """From 0. A bin includes its upper limit and excludes its lower one."""
    numbers: np.ndarray = np.ceil(probability.astype(np.float64) * BINS).astype(int).clip(1, BINS) - 1
    return numbers


def _wilson_interval(rate: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a rate that was observed in `count` cases."""
    interval = stats.binomtest(round(rate * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
