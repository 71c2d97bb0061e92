"""The rule and its reasons."""

import numpy as np
import pytest

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import comparison, difference, power, verdict
from lenetlab.statistics.significance import PValues
from tests.statistics.examples import from_wrong, nested_pair, sure_of_these_images, with_correct

BOTH = "Welch's test and the permutation test"


def judge(
    variants: tuple[Predictions, Predictions],
    p: float = 0.001,
    p_permutation: float | None = None,
    margin: float = 0.002,
    comparisons: int = 1,
) -> tuple[str, str]:
    """With these p values after Holm's correction. Those before it, which the rule must not use, are the opposite."""
    permutation = p if p_permutation is None else p_permutation
    raw = 0.9 if max(p, permutation) < 0.05 else 1e-6
    p_values = PValues(welch=raw, permutation=raw, welch_holm=p, permutation_holm=permutation)
    return verdict.judge(comparison.rule_inputs(*variants, p_values, comparisons, margin))


def test_better_and_worse_need_both_p_values_below_the_level():
    variants = nested_pair(9_900, 9_800)
    assert judge(variants)[0] == "better"
    assert judge(variants[::-1])[0] == "worse"
    for p, p_permutation in ((0.06, 0.001), (0.001, 0.06), (0.05, 0.001), (0.001, 0.05)):
        assert judge(variants, p, p_permutation)[0] == "inconclusive"


def test_better_and_worse_say_which_evidence_there_is():
    tests = f"{BOTH} give p below 0.05 after Holm's correction (6 seeds each)"
    excludes = "and the 95 % interval over seeds and images excludes 0"
    variants = nested_pair(9_900, 9_800)
    assert judge(variants)[1] == f"better by 1.00 percentage points: {tests}, {excludes}"
    assert judge(variants[::-1])[1] == f"worse by 1.00 percentage points: {tests}, {excludes}"


def test_a_difference_below_the_margin_is_reported_as_such():
    variants = nested_pair(9_900, 9_890)
    word, reason = judge(variants, margin=0.002)
    assert word == "better"
    assert reason.startswith("better by 0.10 percentage points, less than the margin of 0.20: ")
    assert "margin" not in judge(variants, margin=0.001)[1]


def test_better_needs_the_interval_over_seeds_and_images():
    word, reason = judge(sure_of_these_images())
    assert word == "inconclusive"
    assert reason.startswith(
        "a difference of 1.80 percentage points could be due to the choice of test images: Welch's test and the"
        " permutation test give p below 0.05 after Holm's correction (6 seeds each), but the 95 % interval over seeds"
        " and images contains 0; "
    )


def test_equivalent_needs_the_90_percent_interval_within_the_margin():
    variants = nested_pair(9_900, 9_899, spread=3)
    narrow = difference.interval_seeds_and_images(*variants, 0.90)
    limit = max(map(abs, narrow))
    word, reason = judge(variants, margin=limit * 1.01, p=0.5)
    assert word == "equivalent"
    assert reason == (
        f"the 90 % interval over seeds and images, {100 * narrow[0]:+.2f} to {100 * narrow[1]:+.2f} percentage points,"
        f" lies within the margin of ±{101 * limit:.2f}"
    )
    assert judge(variants, margin=limit * 0.99, p=0.5)[0] == "inconclusive"


def test_one_seed_is_inconclusive():
    one_seed = with_correct([990]), with_correct([970])
    assert judge(one_seed) == ("inconclusive", "one seed does not show how much results vary between trainings")


@pytest.mark.parametrize(
    ("p", "p_permutation", "tests"),
    [(0.3, 0.3, f"{BOTH} give"), (0.3, 0.01, "Welch's test gives"), (0.01, 0.3, "the permutation test gives")],
)
def test_the_reason_names_the_tests_that_find_no_difference(p, p_permutation, tests):
    reason = judge(nested_pair(9_900, 9_893, spread=8), p, p_permutation)[1]
    assert reason.startswith(
        f"a difference of 0.07 percentage points could be due to chance: {tests} p of 0.05 or more after Holm's"
        " correction (6 seeds each); "
    )


def test_the_reason_names_the_seeds_that_would_be_enough():
    variants = nested_pair(9_900, 9_893, spread=8)
    needed = power.seeds_needed(difference.variance_components(*variants), 10_000, 1, 0.002)
    assert needed > 6
    assert judge(variants, p=0.3)[1].endswith(
        f"; too few seeds: about {needed} each would be enough, with 80 % power, for a verdict on a difference of 0.20"
        " percentage points (the margin) or on no difference"
    )


def test_the_reason_for_a_small_difference_names_the_seeds_for_half_the_margin():
    variants = nested_pair(9_900, 9_889, spread=5)
    components = difference.variance_components(*variants)
    needed = power.seeds_needed(components, 10_000, 1, 0.002, truths=[0.001])
    assert power.seeds_needed(components, 10_000, 1, 0.002) <= 6 < needed
    assert judge(variants, p=0.3)[1].endswith(
        f"; too few seeds for such a small difference: about {needed} each would be enough, with 80 % power, for a"
        " verdict on a difference of 0.10 percentage points (half the margin)"
    )


def test_the_reason_names_the_images_that_would_be_enough_with_unlimited_seeds():
    """By hand: no seed differs, so I is the variance of 100 differences of which 10 are -1 and 9 are 1, divided by 100;
    the difference must be 1.645 + 1.282 standard errors from the margin."""
    wrong = np.zeros((2, 6, 100))
    wrong[0, :, :10], wrong[1, :, 10:19] = 1, 1
    images = f"{round((0.19 - 0.01**2) * 100 / 99 * ((1.64485 + 1.28155) / 0.002) ** 2, -4):,.0f}"
    assert judge((from_wrong(wrong[0]), from_wrong(wrong[1])), p=0.3)[1].endswith(
        "; too few test images: no number of seeds would be enough for a verdict on a difference of 0.20 percentage"
        f" points (the margin) or on no difference; with unlimited seeds, about {images} images would be"
    )


def test_the_reason_says_if_the_family_is_too_large_for_the_permutation_test():
    reason = judge(nested_pair(9_900, 9_899), p=0.3, comparisons=24, margin=0.0001)[1]
    cannot = "the permutation test cannot give p below 0.05 in a family of"
    assert f"; too few seeds: with 6 each, {cannot} 24 comparisons; about " in reason
    three_seeds = judge(nested_pair(9_900, 9_880, seeds=3), p=0.3)[1]
    assert f"; too few seeds: with 3 each, {cannot} 1 comparison; about " in three_seeds
