"""Calibration, compared with an example by hand, extreme cases, and a plain loop over bins for any answers."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from lenetlab.evaluation import predictions
from lenetlab.statistics import calibration
from lenetlab.statistics.calibration import BINS
from tests.answers import make_predictions


def answers(probability: object, correct: object) -> predictions.Predictions:
    """From matrices (seeds, images) of confidences and of whether the answer is correct."""
    correct = np.array(correct, dtype=bool)
    confidence = np.array(probability, dtype=np.float32)
    return make_predictions(np.zeros(correct.shape[1]), ~correct, probability=confidence)


def test_an_example_by_hand():
    """Two seeds and four images, with confidences in the bins from 8/15 to 9/15 and from 13/15 to 14/15.

    The second seed moves image 3 from the first bin to the second. Distance of the number of correct answers from the
    sum of confidences in each bin:
        seed 0: |1 - 2 × 0.55| + |2 - 2 × 0.9| = 0.1 + 0.2,    of 4 answers 0.075
        seed 1: |1 - 1 × 0.55| + |1 - 3 × 0.9| = 0.45 + 1.7,   of 4 answers 0.5375
    """
    found = calibration.calibration(
        answers([[0.9, 0.9, 0.55, 0.55], [0.9, 0.9, 0.55, 0.9]], [[1, 1, 1, 0], [1, 0, 1, 0]])
    )
    assert found.confidence == pytest.approx((5 * 0.9 + 3 * 0.55) / 8)
    assert found.accuracy == 5 / 8
    assert found.error == pytest.approx((0.075 + 0.5375) / 2)
    half = 12.7062 * (0.5375 - 0.075) / 2  # Student's t times the standard error of two values
    assert found.interval == pytest.approx((0.30625 - half, 0.30625 + half), abs=1e-5)
    low, high = found.bins
    assert (low.confidence, low.accuracy, low.answers) == (pytest.approx(0.55), pytest.approx(2 / 3), 3)
    assert (high.confidence, high.accuracy, high.answers) == (pytest.approx(0.9), pytest.approx(3 / 5), 5)
    # Two images in the first bin, and 2/3 of 2 is about 1; three in the second, and 3/5 of 3 is about 2.
    assert low.interval == pytest.approx(proportion_confint(1, 2, method="wilson"))
    assert high.interval == pytest.approx(proportion_confint(2, 3, method="wilson"))


def test_the_error_is_0_if_accuracy_equals_confidence_in_every_bin():
    """1 of 2 correct at 1/2, 3 of 4 at 3/4, and all at 1; these are exact in binary."""
    found = calibration.calibration(answers([[0.5] * 2 + [0.75] * 4 + [1.0] * 3], [[1, 0, 1, 1, 1, 0, 1, 1, 1]]))
    assert found.error == 0
    assert [one.confidence for one in found.bins] == [one.accuracy for one in found.bins] == [0.5, 0.75, 1.0]
    assert found.interval is None  # one seed


@pytest.mark.parametrize(
    ("confidence", "correct", "error"),
    [
        (1.0, [0, 0, 0, 0], 1.0),
        (1.0, [1, 1, 1, 0], 0.25),
        (0.5, [1, 1, 1, 1], 0.5),  # too low
        (0.5, [0, 0, 0, 0], 0.5),
    ],
)
def test_the_error_is_the_distance_of_confidence_and_accuracy(confidence, correct, error):
    found = calibration.calibration(answers([[confidence] * 4] * 2, [correct] * 2))
    assert found.error == error
    assert found.interval == (error, error)  # both seeds agree


def test_the_errors_of_two_bins_do_not_cancel():
    """One answer is sure and wrong, the other unsure and correct: mean confidence 0.75, accuracy 0.5."""
    assert calibration.calibration(answers([[1.0, 0.5]], [[0, 1]])).error == 0.75


def test_the_errors_of_two_seeds_do_not_cancel():
    """Both have confidence 0.5. All answers of one are correct and none of the other, so half of all."""
    found = calibration.calibration(answers([[0.5, 0.5]] * 2, [[1, 1], [0, 0]]))
    assert found.error == 0.5
    assert [(one.accuracy, one.confidence, one.answers) for one in found.bins] == [(0.5, 0.5, 4)]


def test_an_image_counts_once_whatever_the_number_of_seeds():
    """Ten seeds that agree give no more information about other images than one."""
    confidence, correct = [0.9, 0.92, 0.88, 0.9, 0.91], [1, 1, 0, 1, 1]
    (one_seed,) = calibration.calibration(answers([confidence], [correct])).bins
    (ten_seeds,) = calibration.calibration(answers([confidence] * 10, [correct] * 10)).bins
    assert (one_seed.answers, ten_seeds.answers) == (5, 50)
    assert one_seed.interval == ten_seeds.interval == pytest.approx(proportion_confint(4, 5, method="wilson"))


def test_an_image_counts_in_every_bin_that_a_seed_puts_it_in():
    low, high = calibration.calibration(answers([[0.5, 0.5], [0.9, 0.5]], [[1, 1], [1, 1]])).bins
    assert low.interval == pytest.approx(proportion_confint(2, 2, method="wilson"))
    assert high.interval == pytest.approx(proportion_confint(1, 1, method="wilson"))


@given(st.integers(1, 300), st.data())
def test_the_interval_of_a_bin_is_that_of_statsmodels(images, data):
    correct = data.draw(st.integers(0, images))
    found = calibration.calibration(answers([[0.7] * images], [[image < correct for image in range(images)]]))
    assert found.bins[0].interval == pytest.approx(proportion_confint(correct, images, method="wilson"), abs=1e-12)


def test_without_a_seed_there_is_no_calibration():
    assert calibration.calibration(answers(np.empty((0, 3)), np.empty((0, 3)))) is None


@pytest.mark.parametrize("number", range(BINS))
def test_a_bin_includes_its_upper_limit_and_excludes_its_lower_one(number):
    """Guo et al. 2017: above (m - 1) / M, up to m / M."""
    limit = (number + 1) / BINS
    middle, below, above = limit - 0.5 / BINS, np.nextafter(limit, 0), limit + 1e-6
    assert [one.answers for one in bins_of(middle, below, limit)] == [3]
    if number + 1 < BINS:
        assert [one.answers for one in bins_of(middle, limit, above)] == [2, 1]


def test_a_confidence_of_0_belongs_to_the_lowest_bin():
    assert [one.answers for one in bins_of(0.0, 0.5 / BINS)] == [2]


def bins_of(*confidences: float) -> list[calibration.Bin]:
    """The bins of one seed's answers, with confidences in double precision."""
    made = answers([confidences], [[True] * len(confidences)])
    return calibration.calibration(dataclasses.replace(made, probability=np.array([confidences]))).bins


# Single precision, as networks compute; a rounded limit lies a little below or above the exact one.
CONFIDENCE = st.floats(0, 1, width=32) | st.integers(0, BINS).map(lambda number: float(np.float32(number / BINS)))


@st.composite
def any_answers(draw: st.DrawFn) -> predictions.Predictions:
    seeds, images = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    confidence = [draw(st.lists(CONFIDENCE, min_size=images, max_size=images)) for _ in range(seeds)]
    correct = [draw(st.lists(st.booleans(), min_size=images, max_size=images)) for _ in range(seeds)]
    return answers(confidence, correct)


def inside(number: int, value: np.float32) -> bool:
    """Whether a bin contains a confidence, in exact arithmetic; the lowest bin includes 0."""
    exact = Fraction(float(value))
    return Fraction(number, BINS) < exact <= Fraction(number + 1, BINS) or (number == 0 and exact == 0)


def expected_error(probability: np.ndarray, correct: np.ndarray) -> float:
    """Guo et al. 2017, equation 3, as printed: the sum over bins of |B| / n times |acc(B) - conf(B)|."""
    total = 0.0
    for number in range(BINS):
        chosen = [image for image, value in enumerate(probability) if inside(number, value)]
        if chosen:
            accuracy = sum(bool(correct[image]) for image in chosen) / len(chosen)
            confidence = sum(float(probability[image]) for image in chosen) / len(chosen)
            total += len(chosen) / len(probability) * abs(accuracy - confidence)
    return total


@given(any_answers())
def test_the_error_is_that_of_a_loop_over_bins(given_answers):
    rows = zip(given_answers.probability, given_answers.correct, strict=True)
    errors = [expected_error(probability, correct) for probability, correct in rows]
    found = calibration.calibration(given_answers)
    assert found.error == pytest.approx(np.mean(errors), abs=1e-12)
    assert 0 <= found.error <= 1
    if len(errors) > 1:
        low, high = found.interval
        assert (low + high) / 2 == pytest.approx(np.mean(errors), abs=1e-12)


@given(any_answers())
def test_the_bins_are_those_of_a_loop_over_answers(given_answers):
    found = calibration.calibration(given_answers)
    bins = iter(found.bins)
    for number in range(BINS):
        chosen = [
            (seed, image)
            for seed, row in enumerate(given_answers.probability)
            for image, value in enumerate(row)
            if inside(number, value)
        ]
        if not chosen:
            continue  # empty bins are left out
        one, images = next(bins), len({image for _, image in chosen})
        assert one.answers == len(chosen)
        assert one.accuracy == pytest.approx(sum(given_answers.correct[place] for place in chosen) / len(chosen))
        assert one.confidence == pytest.approx(
            sum(float(given_answers.probability[place]) for place in chosen) / len(chosen)
        )
        assert number / BINS - 1e-9 <= one.confidence <= (number + 1) / BINS + 1e-9
        expected = proportion_confint(round(one.accuracy * images), images, method="wilson")
        assert one.interval == pytest.approx(expected, abs=1e-12)
        assert one.interval[0] <= one.accuracy + 1e-12
        assert one.accuracy <= one.interval[1] + 1e-12
    assert next(bins, None) is None
    assert sum(one.answers for one in found.bins) == given_answers.probability.size


@given(any_answers())
def test_confidence_and_accuracy_are_means_over_the_bins(given_answers):
    found = calibration.calibration(given_answers)
    for key in ("confidence", "accuracy"):
        weighted = sum(one.answers * getattr(one, key) for one in found.bins) / given_answers.probability.size
        assert getattr(found, key) == pytest.approx(weighted, abs=1e-12)
    assert abs(found.confidence - found.accuracy) <= found.error + 1e-12  # as errors of bins do not cancel


def all_numbers(found: calibration.Calibration) -> list[float]:
    whole = [found.confidence, found.accuracy, found.error, *(found.interval or ())]
    return whole + [value for one in found.bins for value in (one.confidence, one.accuracy, *one.interval, one.answers)]


@given(any_answers(), st.data())
def test_the_order_of_images_and_seeds_changes_nothing(given_answers, data):
    seeds, images = (data.draw(st.permutations(range(count))) for count in given_answers.probability.shape)
    places = np.ix_(seeds, images)
    shuffled = make_predictions(
        given_answers.labels[images], given_answers.predicted[places], probability=given_answers.probability[places]
    )
    before, after = calibration.calibration(given_answers), calibration.calibration(shuffled)
    assert all_numbers(after) == pytest.approx(all_numbers(before), abs=1e-12, rel=1e-12)
