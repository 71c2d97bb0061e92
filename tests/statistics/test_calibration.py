"""Calibration: an example worked by hand, the extremes, and a plain loop over bins for any answers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from lenetlab.evaluation import predictions
from lenetlab.statistics import calibration
from lenetlab.statistics.calibration import BINS


def answers(probability: object, correct: object) -> predictions.Predictions:
    """One row per seed; all images are of class 0, and what is not correct is read as 1."""
    right = np.array(correct, dtype=bool)
    return predictions.Predictions(
        seeds=np.arange(len(right)),
        labels=np.zeros(right.shape[1], dtype=np.uint8),
        predicted=np.where(right, 0, 1).astype(np.uint8),
        probability=np.array(probability, dtype=np.float32),
    )


def test_an_example_by_hand():
    """Two seeds and four images, with confidences in the bins from 8/15 to 9/15 and from 13/15 to 14/15.

    The second seed moves image 3 from the first bin to the second. By seed, how far the number of correct answers is
    from the sum of confidences, in each bin:
        seed 0: |1 - 2 × 0.55| + |2 - 2 × 0.9| = 0.1 + 0.2,    of 4 answers 0.075
        seed 1: |1 - 1 × 0.55| + |1 - 3 × 0.9| = 0.45 + 1.7,   of 4 answers 0.5375
    """
    found = calibration.calibration(
        answers([[0.9, 0.9, 0.55, 0.55], [0.9, 0.9, 0.55, 0.9]], [[1, 1, 1, 0], [1, 0, 1, 0]])
    )
    assert found.confidence == pytest.approx((5 * 0.9 + 3 * 0.55) / 8)
    assert found.accuracy == 5 / 8
    assert found.error == pytest.approx((0.075 + 0.5375) / 2)
    half = 12.7062 * (0.5375 - 0.075) / 2  # Student's t for two values, whose standard error is half their difference
    assert found.interval == pytest.approx((0.30625 - half, 0.30625 + half), abs=1e-5)
    low, high = found.bins
    assert (low.confidence, low.accuracy, low.answers) == (pytest.approx(0.55), pytest.approx(2 / 3), 3)
    assert (high.confidence, high.accuracy, high.answers) == (pytest.approx(0.9), pytest.approx(3 / 5), 5)
    # Images 2 and 3 in the first, of which 2/3 is nearest to 1; images 0, 1 and 3 in the second, of which 3/5 is to 2.
    assert low.interval == pytest.approx(proportion_confint(1, 2, method="wilson"))
    assert high.interval == pytest.approx(proportion_confint(2, 3, method="wilson"))


def test_whoever_is_right_as_often_as_it_says_is_calibrated():
    """Right are 1 of 2 at 1/2, 3 of 4 at 3/4, and all at 1; all of these are exact in binary."""
    found = calibration.calibration(answers([[0.5] * 2 + [0.75] * 4 + [1.0] * 3], [[1, 0, 1, 1, 1, 0, 1, 1, 1]]))
    assert found.error == 0
    assert [one.confidence for one in found.bins] == [one.accuracy for one in found.bins] == [0.5, 0.75, 1.0]
    assert found.interval is None  # of one seed there is no deviation


@pytest.mark.parametrize(
    ("said", "right", "error"),
    [
        (1.0, [0, 0, 0, 0], 1.0),
        (1.0, [1, 1, 1, 0], 0.25),
        (0.5, [1, 1, 1, 1], 0.5),  # too little confidence is as wrong as too much
        (0.5, [0, 0, 0, 0], 0.5),
    ],
)
def test_the_error_is_how_far_confidence_is_from_accuracy(said, right, error):
    found = calibration.calibration(answers([[said] * 4] * 2, [right] * 2))
    assert found.error == error
    assert found.interval == (error, error)  # the seeds answer alike


def test_the_errors_of_two_bins_do_not_cancel():
    """Half of the answers are sure and wrong, the others doubtful and right: on the whole, 0.75 against 0.5."""
    assert calibration.calibration(answers([[1.0, 0.5]], [[0, 1]])).error == 0.75


def test_the_errors_of_two_seeds_do_not_cancel():
    """Together they are right in half of the cases, as they say; alone, neither is."""
    found = calibration.calibration(answers([[0.5, 0.5]] * 2, [[1, 1], [0, 0]]))
    assert found.error == 0.5
    assert [(one.accuracy, one.confidence, one.answers) for one in found.bins] == [(0.5, 0.5, 4)]


def test_an_image_counts_once_however_many_seeds_answer():
    """Ten seeds that agree say no more of other images than one does."""
    said, right = [0.9, 0.92, 0.88, 0.9, 0.91], [1, 1, 0, 1, 1]
    (alone,) = calibration.calibration(answers([said], [right])).bins
    (together,) = calibration.calibration(answers([said] * 10, [right] * 10)).bins
    assert (alone.answers, together.answers) == (5, 50)
    assert alone.interval == together.interval == pytest.approx(proportion_confint(4, 5, method="wilson"))


def test_an_image_that_seeds_put_into_two_bins_counts_in_both():
    low, high = calibration.calibration(answers([[0.5, 0.5], [0.9, 0.5]], [[1, 1], [1, 1]])).bins
    assert low.interval == pytest.approx(proportion_confint(2, 2, method="wilson"))
    assert high.interval == pytest.approx(proportion_confint(1, 1, method="wilson"))


@given(st.integers(1, 300), st.data())
def test_the_limits_are_those_of_statsmodels(images, data):
    right = data.draw(st.integers(0, images))
    found = calibration.calibration(answers([[0.7] * images], [[at < right for at in range(images)]]))
    assert found.bins[0].interval == pytest.approx(proportion_confint(right, images, method="wilson"), abs=1e-12)


def test_without_a_seed_there_is_no_calibration():
    none = np.empty((0, 3))
    nobody = predictions.Predictions(
        np.arange(0), np.zeros(3, np.uint8), none.astype(np.uint8), none.astype(np.float32)
    )
    assert calibration.calibration(nobody) is None


@pytest.mark.parametrize("number", range(BINS))
def test_a_limit_between_two_bins_belongs_to_the_lower_one(number):
    """As in Guo et al. 2017: above (m - 1) / M, up to m / M; what is just above it is in the next."""
    limit = np.array((number + 1) / BINS)
    inside = [np.nextafter(limit, 0), limit]
    assert calibration._members(np.array(inside)).tolist() == [number] * 2
    beyond = limit.astype(np.float32) + np.float32(1e-6)
    assert calibration._members(np.array([beyond])).tolist() == [min(number + 1, BINS - 1)]


def test_no_confidence_at_all_belongs_to_the_lowest_bin():
    assert calibration._members(np.array([0.0], dtype=np.float32)).tolist() == [0]


# The probabilities of a network are of this kind; a limit that is rounded to it lies a little below or above.
CONFIDENCE = st.floats(0, 1, width=32) | st.integers(0, BINS).map(lambda number: float(np.float32(number / BINS)))


@st.composite
def any_answers(draw: st.DrawFn) -> predictions.Predictions:
    seeds, images = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    said = [draw(st.lists(CONFIDENCE, min_size=images, max_size=images)) for _ in range(seeds)]
    right = [draw(st.lists(st.booleans(), min_size=images, max_size=images)) for _ in range(seeds)]
    return answers(said, right)


def inside(number: int, value: np.float32) -> bool:
    """Whether a confidence belongs to that bin, in exact arithmetic; the lowest one has its lower limit too."""
    exact = Fraction(float(value))
    return Fraction(number, BINS) < exact <= Fraction(number + 1, BINS) or (number == 0 and exact == 0)


def expected_error(said: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, equation 3, as it is written: over bins, |B| / n times |acc(B) - conf(B)|."""
    total = 0.0
    for number in range(BINS):
        chosen = [at for at, value in enumerate(said) if inside(number, value)]
        if chosen:
            accuracy = sum(bool(right[at]) for at in chosen) / len(chosen)
            confidence = sum(float(said[at]) for at in chosen) / len(chosen)
            total += len(chosen) / len(said) * abs(accuracy - confidence)
    return total


@given(any_answers())
def test_the_error_is_that_of_a_loop_over_bins(given_answers):
    rows = zip(given_answers.probability, given_answers.correct, strict=True)
    errors = [expected_error(said, right) for said, right in rows]
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
            (seed, at)
            for seed, row in enumerate(given_answers.probability)
            for at, value in enumerate(row)
            if inside(number, value)
        ]
        if not chosen:
            continue  # an empty bin has no accuracy and is left out
        one, images = next(bins), len({at for _, at in chosen})
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
def test_the_whole_is_the_mean_of_its_bins(given_answers):
    found = calibration.calibration(given_answers)
    for key in ("confidence", "accuracy"):
        weighted = sum(one.answers * getattr(one, key) for one in found.bins) / given_answers.probability.size
        assert getattr(found, key) == pytest.approx(weighted, abs=1e-12)
    assert abs(found.confidence - found.accuracy) <= found.error + 1e-12  # gaps can only cancel


def numbers(found: calibration.Calibration) -> list[float]:
    whole = [found.confidence, found.accuracy, found.error, *(found.interval or ())]
    return whole + [value for one in found.bins for value in (one.confidence, one.accuracy, *one.interval, one.answers)]


@given(any_answers(), st.data())
def test_the_order_of_images_and_seeds_changes_nothing(given_answers, data):
    seeds, images = (data.draw(st.permutations(range(count))) for count in given_answers.probability.shape)
    places = np.ix_(seeds, images)
    shuffled = predictions.Predictions(
        given_answers.seeds[seeds],
        given_answers.labels[images],
        given_answers.predicted[places],
        given_answers.probability[places],
    )
    before, after = calibration.calibration(given_answers), calibration.calibration(shuffled)
    assert numbers(after) == pytest.approx(numbers(before), abs=1e-12, rel=1e-12)
