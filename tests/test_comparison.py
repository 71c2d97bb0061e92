"""The statistics, held to worked examples and other implementations."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lenetlab import comparison, params, predictions
from lenetlab.predictions import Predictions

STUDY = params.load(Path(__file__).parents[1] / "params.yaml")


def with_correct(counts: list[int], images: int = 1000) -> Predictions:
    """Predictions of which, seed by seed, the first so many are correct."""
    labels = np.zeros(images, dtype=np.uint8)
    predicted = (np.arange(images) >= np.array(counts)[:, None]).astype(np.uint8)
    return Predictions(np.arange(len(counts)), labels, predicted, np.ones(predicted.shape, dtype=np.float32))


def enumerated(first: list[int], second: list[int]) -> float:
    """The exact permutation test, written out: every way to divide the counts into two groups."""
    everything = [*first, *second]
    observed = abs(sum(first) * len(second) - sum(second) * len(first))
    as_far = total = 0
    for chosen in combinations(range(len(everything)), len(first)):
        one = sum(everything[at] for at in chosen)
        total += 1
        as_far += abs(one * len(second) - (sum(everything) - one) * len(first)) >= observed
    return as_far / total


COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=5)


@given(COUNTS, COUNTS)
@settings(max_examples=40, deadline=None)
def test_the_permutation_test_counts_every_division(first, second):
    found = comparison.permutation(with_correct(first), with_correct(second))
    assert found == pytest.approx(enumerated(first, second), abs=1e-12)


def test_six_against_six_can_reach_2_in_924_and_five_against_five_2_in_252():
    six = comparison.permutation(with_correct([980, 981, 982, 983, 984, 985]), with_correct([900] * 6))
    five = comparison.permutation(with_correct([980, 981, 982, 983, 984]), with_correct([900] * 5))
    assert (six, five) == (pytest.approx(2 / 924), pytest.approx(2 / 252))


def test_ties_that_rounded_accuracies_lose_are_kept():
    """Shares of 10,000 images as floats gave 0.779 where counting gives 0.818."""
    first, second = [9_873, 9_891, 9_888, 9_880, 9_885], [9_879, 9_884, 9_890, 9_876, 9_883]
    found = comparison.permutation(with_correct(first, 10_000), with_correct(second, 10_000))
    assert found == pytest.approx(enumerated(first, second))


@given(COUNTS, COUNTS)
@settings(max_examples=40, deadline=None)
def test_welchs_test_is_scipys(first, second):
    interval, p = comparison.welch(with_correct(first), with_correct(second))
    if len(set(first)) == 1 or len(set(second)) == 1:
        return  # scipy warns there
    reference = stats.ttest_ind(np.array(first) / 1000, np.array(second) / 1000, equal_var=False)
    assert p == pytest.approx(reference.pvalue, abs=1e-9)
    assert interval == pytest.approx(reference.confidence_interval(0.95), abs=1e-9)


def test_welch_on_a_worked_example():
    """By hand: 10, 12, 14 against 20, 26: difference -11, squared errors 4/3 and 9, so 1.304 degrees of freedom."""
    interval, p = comparison.welch(with_correct([10, 12, 14], 100), with_correct([20, 26], 100))
    spread, freedom = 4 / 3 + 9, (4 / 3 + 9) ** 2 / ((4 / 3) ** 2 / 2 + 9**2 / 1)
    assert freedom == pytest.approx(1.3040, abs=1e-4)
    assert p == pytest.approx(2 * stats.t.sf(11 / np.sqrt(spread), freedom))
    assert sum(interval) / 2 == pytest.approx(-0.11)


def test_holm_1979_on_a_worked_example():
    # Corrections by hand: 0.01 × 4, then 0.015 × 3, then 0.03 × 2 = 0.06, and 0.05 may not fall below it.
    assert comparison.holm([0.01, 0.05, 0.03, 0.015]) == pytest.approx([0.04, 0.06, 0.06, 0.045])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_agrees_with_statsmodels(p_values):
    assert comparison.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_one_seed_is_inconclusive_and_has_no_interval():
    study = STUDY.model_copy(update={"comparisons": {"only": STUDY.comparisons["headline"][:1]}, "seeds": (0,)})
    (outcome,) = comparison.compare(study, {"lenet5": with_correct([990]), "mlp": with_correct([970])})
    assert outcome.verdict == "inconclusive"
    assert outcome.interval_seeds is outcome.interval is None
    assert outcome.p_welch == outcome.p_permutation == 1.0
    assert "one seed" in outcome.reason


def test_the_verdict_needs_both_tests_after_holm():
    """Five against five can reach 2/252; with seven comparisons in the family Holm makes 0.056 of that."""
    good, bad = with_correct([980, 981, 982, 983, 984]), with_correct([900, 901, 902, 903, 904])
    pair = STUDY.comparisons["headline"][0]
    found = {"lenet5": good, "mlp": bad}
    for pairs, verdict in ((6, "better"), (7, "inconclusive")):
        study = STUDY.model_copy(update={"comparisons": {"many": (pair,) * pairs}})
        assert {outcome.verdict for outcome in comparison.compare(study, found)} == {verdict}
    study = STUDY.model_copy(update={"comparisons": {"a": (pair,), "b": (pair,) * 7}})
    assert comparison.compare(study, found)[0].verdict == "better"  # another family does not count


def test_exchanging_the_sides_turns_the_verdict_round():
    study = STUDY.model_copy(update={"comparisons": {"only": STUDY.comparisons["headline"][:1]}})
    first, second = with_correct([980, 982, 984, 985, 981, 983]), with_correct([960, 965, 961, 964, 962, 963])
    (there,) = comparison.compare(study, {"lenet5": first, "mlp": second})
    (back,) = comparison.compare(study, {"lenet5": second, "mlp": first})
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert there.difference == pytest.approx(-back.difference)
    assert there.interval == pytest.approx([-limit for limit in reversed(back.interval)])
    assert there.p_permutation_holm == back.p_permutation_holm


def test_equal_variants_without_any_spread():
    same = with_correct([990, 990])
    assert comparison.welch(same, same) == ((0.0, 0.0), 1.0)
    assert comparison.welch(same, with_correct([980, 980])) == (pytest.approx((0.01, 0.01)), 0.0)


def test_the_interval_over_seeds_and_images_by_hand():
    """Two seeds, four images. Correct: candidate 1101 and 1100, baseline 1000 and 0100, so means 5/8 and 1/4.

    Variance of the means over seeds: (1/4)²/2/2 = 1/64 and 0. By image the differences are 1/2, 1/2, 0, 1/2: variance
    1/16; the seeds' share is (0 + 0 + 0 + 1/2)/4/2 + (1/2 + 1/2 + 0 + 0)/4/2 = 3/16, which is more: images add nothing.
    """
    labels, ones = np.zeros(4, dtype=np.uint8), np.ones((2, 4), dtype=np.float32)
    candidate = Predictions(np.arange(2), labels, np.array([[0, 0, 1, 0], [0, 0, 1, 1]], dtype=np.uint8), ones)
    baseline = Predictions(np.arange(2), labels, np.array([[0, 1, 1, 1], [1, 0, 1, 1]], dtype=np.uint8), ones)
    low, high = comparison.seeds_and_images(candidate, baseline)
    half = stats.t.ppf(0.975, 1) * np.sqrt(1 / 64)
    assert (low, high) == pytest.approx((3 / 8 - half, 3 / 8 + half))


def test_images_add_their_share_of_doubt_where_the_seeds_agree():
    """Without spread between seeds all doubt is the images': the interval of 100 paired differences, 10 of them 1."""
    candidate, baseline = with_correct([60, 60], 100), with_correct([50, 50], 100)
    half = stats.t.ppf(0.975, 99) * np.sqrt(0.1 * 0.9 * 100 / 99 / 100)
    assert comparison.seeds_and_images(candidate, baseline) == pytest.approx((0.1 - half, 0.1 + half))


@pytest.mark.slow
def test_the_interval_over_seeds_and_images_covers_what_it_says():
    """Simulated studies with known means: seeds and images drawn anew each time; 95 % of intervals hold the truth."""
    generator = np.random.default_rng(0)
    covered, studies, images, seeds = 0, 400, 2000, 6
    for _ in range(studies):
        difficulty = generator.normal(0, 1.0, images)
        sides = []
        for skill in (2.6, 2.4):
            logit = (
                skill + generator.normal(0, 0.10, (seeds, 1)) + difficulty + generator.normal(0, 0.8, (seeds, images))
            )
            predicted = (logit < 0).astype(np.uint8)
            sides.append(Predictions(np.arange(seeds), np.zeros(images, np.uint8), predicted, predicted * 1.0))
        spread = np.sqrt(0.10**2 + 1 + 0.8**2)
        truth = stats.norm.cdf(2.6 / spread) - stats.norm.cdf(2.4 / spread)
        low, high = comparison.seeds_and_images(*sides)
        covered += low <= truth <= high
    assert 0.92 <= covered / studies <= 0.985


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_confusion_permutes_with_the_classes(seed):
    generator = np.random.default_rng(seed)
    labels, predicted = generator.integers(0, 10, 50), generator.integers(0, 10, (3, 50))
    renamed = generator.permutation(10)
    before, after = predictions.confusion(labels, predicted), predictions.confusion(renamed[labels], renamed[predicted])
    assert before.sum() == 150
    assert np.array_equal(after[np.ix_(renamed, renamed)], before)


def test_predictions_come_back_as_they_were_written(tmp_path):
    written = with_correct([900, 950])
    predictions.write(written, tmp_path / "predictions.npz")
    read = predictions.read(tmp_path / "predictions.npz")
    for name, value in vars(written).items():
        assert np.array_equal(getattr(read, name), value), name
    assert read.accuracy.tolist() == [0.9, 0.95]
