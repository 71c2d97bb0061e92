"""Runs to verdicts: is the difference between two variants more than chance?

Two sources of doubt: another training (seeds), and another sample of test digits (images, which all seeds share). Each
is measured for itself, and both together; docs/statistics.md says why, with references and an example.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.05

Interval = tuple[float, float] | None


# Other trainings.


def mean_interval(values: np.ndarray, level: float = 1 - LEVEL) -> Interval:
    """Student's interval for the mean of a variant's seeds; None with fewer than two."""
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def t_interval(middle: float, variance: float, freedom: float, level: float) -> tuple[float, float]:
    half = float(stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(variance))
    return middle - half, middle + half


def prediction_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Where the result of one more training lies, if results are normally distributed; None with fewer than two.

    Mean ± t·sd·√(1 + 1/n): Hahn and Meeker 1991, Statistical Intervals, chapter 4.
    """
    if len(values) < 2:
        return None
    spread = statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * spread
    mean = statistics.mean(values)  # exact, so that the order of the seeds is of no account
    return mean - half, mean + half
