"""Confidence and prediction intervals from Student's t distribution."""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.05  # significance level of every test, two-sided; intervals have a confidence of 1 - LEVEL

Interval = tuple[float, float] | None  # lower and upper limit; None if there are too few values

ONE_SEED = "one seed does not show how much results vary between trainings"  # why there is no interval


def mean_interval(values: np.ndarray, confidence: float = 1 - LEVEL) -> Interval:
    """Student's interval for the mean of the results of several seeds; None with fewer than two."""
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def t_interval(
    estimate: float, variance: float, degrees_of_freedom: float, confidence: float = 1 - LEVEL
) -> tuple[float, float]:
    """Interval around an estimate with this variance."""
    half = float(stats.t.ppf((1 + confidence) / 2, degrees_of_freedom) * np.sqrt(variance))
    return estimate - half, estimate + half


def prediction_interval(values: Sequence[float], confidence: float = 1 - LEVEL) -> Interval:
    """Interval for the result of one more training, if results are normally distributed; None with fewer than two.

    Mean ± t · s · √(1 + 1/n): Hahn and Meeker 1991, Statistical Intervals, chapter 4.
    """
    if len(values) < 2:
        return None
    deviation = statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * deviation
    mean = statistics.mean(values)  # exact, so the order of the seeds does not matter
    return mean - half, mean + half
