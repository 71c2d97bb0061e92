"""Intervals, compared with worked examples, statsmodels and simulated trainings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from lenetlab.statistics import intervals


def test_the_interval_of_the_mean_is_scipys():
    values = np.array([0.985, 0.986, 0.987, 0.988, 0.989, 0.990])
    for confidence in (0.9, 0.95):
        reference = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        assert intervals.mean_interval(values, confidence) == pytest.approx(tuple(reference))
    assert intervals.mean_interval(values[:1]) is None


def test_the_prediction_interval_by_hand():
    """9, 10, 11: mean 10, deviation 1, t(0.975, 2) = 4.30265, and √(4/3); for 90 % t(0.95, 2) = 2.91999."""
    assert intervals.prediction_interval([9, 10, 11]) == pytest.approx((5.03173, 14.96827), abs=1e-5)
    assert intervals.prediction_interval([9, 10, 11], 0.9) == pytest.approx((6.62829, 13.37171), abs=1e-5)
    assert intervals.prediction_interval([10]) is intervals.prediction_interval([]) is None


@given(st.lists(st.integers(9000, 10_000), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_prediction_interval_is_that_of_statsmodels(counts, confidence):
    values = np.array(counts) / 10_000
    if np.ptp(values) == 0:
        assert intervals.prediction_interval(values.tolist(), confidence) == (values[0], values[0])
        return
    frame = OLS(values, np.ones(len(values))).fit().get_prediction([[1.0]]).summary_frame(alpha=1 - confidence)
    expected = (frame["obs_ci_lower"][0], frame["obs_ci_upper"][0])
    assert intervals.prediction_interval(values.tolist(), confidence) == pytest.approx(expected, abs=1e-9)


def test_the_prediction_interval_contains_one_more_training_in_95_percent_of_cases():
    """Seven simulated trainings each, six of them known."""
    trainings = np.random.default_rng(0).normal(0.99, 0.001, (2000, 7))
    inside = [low <= last <= high for *known, last in trainings for low, high in [intervals.prediction_interval(known)]]
    assert 0.935 <= np.mean(inside) <= 0.965
