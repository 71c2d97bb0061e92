"""p values, compared with worked examples and other implementations."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import difference, significance
from lenetlab.statistics.measures import Sample
from lenetlab.statistics.significance import PValues
from tests.statistics.examples import (
    accuracies,
    from_wrong,
    nested_pair,
    random_variants,
    sure_of_these_images,
    with_correct,
    with_seeds,
)

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=5)
TIES = [9_873, 9_891, 9_888, 9_880, 9_885], [9_879, 9_884, 9_890, 9_876, 9_883]


def of_difference(candidate: Predictions, baseline: Predictions) -> PValues:
    return significance.of_difference(*accuracies(candidate, baseline))


def count_divisions(first: list[int], second: list[int]) -> float:
    """The exact permutation test, written out in whole numbers: every way to divide the counts into two groups."""
    pooled, total = [*first, *second], sum(first) + sum(second)
    observed = abs(sum(first) * len(second) - sum(second) * len(first))
    sums = [sum(pooled[place] for place in chosen) for chosen in combinations(range(len(pooled)), len(first))]
    as_far = [abs(one * len(second) - (total - one) * len(first)) >= observed for one in sums]
    return sum(as_far) / len(sums)


# The permutation test.


@given(COUNTS, COUNTS)
@example(*TIES)  # as fractions, sums of these lose ties: 0.779 instead of 0.818
@example([9_851, 9_826, 9_830, 9_804, 9_807], [9_801, 9_817, 9_881, 9_864])
@settings(max_examples=40)
def test_the_permutation_test_counts_every_division(first, second):
    p = significance.permutation_p(np.array(first) / 10_000, np.array(second) / 10_000)
    assert p == pytest.approx(count_divisions(first, second), abs=1e-12)
    candidate, baseline = accuracies(with_correct(first, 10_000), with_correct(second, 10_000))
    assert significance.of_difference(candidate, baseline).permutation == p


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=4), st.lists(st.floats(-5, 5), min_size=2, max_size=5))
@settings(max_examples=20)
def test_the_permutation_test_of_any_values_is_scipys(first, second):
    found = significance.permutation_p(np.array(first), np.array(second))
    assume(np.ptp([*first, *second]) > 1e-3)
    reference = stats.permutation_test(
        (first, second), lambda one, other: one.mean() - other.mean(), n_resamples=np.inf
    )
    sides = stats.permutation_test(
        (first, second),
        lambda one, other: abs(np.round(one.mean() - other.mean(), 9)),
        n_resamples=np.inf,
        alternative="greater",
    )  # two-sided as here: as far from 0 in either direction; SciPy doubles the smaller side
    assert found == pytest.approx(sides.pvalue, abs=1e-9)
    if len(first) == len(second):
        assert found == pytest.approx(reference.pvalue, abs=1e-9)


@pytest.mark.parametrize("sizes", [(6, 6), (4, 9), (9, 5)])
def test_counted_divisions_are_those_that_are_listed(sizes):
    generator = np.random.default_rng(sum(sizes))
    for _ in range(20):
        pooled = generator.integers(0, 12, sum(sizes))
        counted, listed = significance._counted(pooled, sizes[0]), significance._listed(pooled / 7, sizes[0])
        assert counted == pytest.approx(listed, abs=1e-12)


@pytest.mark.parametrize("sizes", [(12, 12), (24, 36)])
def test_values_that_are_no_multiples_of_a_step_are_counted_in_small_steps(sizes):
    """There are too many divisions to list. A million are drawn as a reference: three standard errors of its p value,
    and what 512 steps may change."""
    generator = np.random.default_rng(3)
    first, second = generator.normal(0.6, 1, sizes[0]), generator.normal(0, 1, sizes[1])
    pooled = np.concatenate([first, second])
    drawn = generator.permuted(np.tile(pooled, (20_000, 1)), axis=1)
    distances = np.abs(drawn[:, : sizes[0]].mean(axis=1) - drawn[:, sizes[0] :].mean(axis=1))
    reference = (distances >= abs(first.mean() - second.mean())).mean()
    p = significance.permutation_p(first, second)
    assert 0.005 < p < 0.5
    assert p == pytest.approx(reference, abs=4 * np.sqrt(reference / 20_000))
    assert significance.permutation_p(second, first) == pytest.approx(p, abs=1e-12)
    assert significance.permutation_p(second + 100, first + 100) == pytest.approx(p, rel=1e-3)


def test_many_accuracies_are_counted_exactly():
    """With all values of one group above the others, two divisions are as far apart."""
    first, second = (9_900 + np.arange(24)) / 10_000, (9_860 + np.arange(24)) / 10_000
    assert significance.permutation_p(first, second) == pytest.approx(2 / comb(48, 24), rel=1e-9)


def test_equal_values_have_p_1():
    for count in (3, 20):
        assert significance.permutation_p(np.full(count, 0.1), np.full(count, 0.1)) == 1


def test_the_smallest_p_is_2_in_all_divisions():
    for seeds, divisions in ((6, 924), (5, 252)):
        first, second = np.array([0.980, 0.981, 0.982, 0.983, 0.984, 0.985])[:seeds], np.full(seeds, 0.9)
        assert significance.permutation_p(first, second) == pytest.approx(2 / divisions)
    assert of_difference(*sure_of_these_images()).permutation == pytest.approx(2 / 924)


# Welch's test.


@given(COUNTS, COUNTS)
@settings(max_examples=40)
def test_welchs_test_is_scipys(first, second):
    if len(set(first)) == 1 or len(set(second)) == 1:
        return  # SciPy warns
    fractions = np.array(first) / 1000, np.array(second) / 1000
    reference = stats.ttest_ind(*fractions, equal_var=False).pvalue
    assert of_difference(with_correct(first), with_correct(second)).welch == pytest.approx(reference, abs=1e-9)
    assert significance.welch_p(*(sample.tolist() for sample in fractions)) == pytest.approx(reference, abs=1e-9)


def test_welchs_test_on_a_worked_example():
    """By hand: 10, 12, 14 against 20, 26: difference -11, squared errors 4/3 and 9, so 1.304 degrees of freedom."""
    p = of_difference(with_correct([10, 12, 14], 100), with_correct([20, 26], 100)).welch
    variance, freedom = 4 / 3 + 9, (4 / 3 + 9) ** 2 / ((4 / 3) ** 2 / 2 + 9**2 / 1)
    assert freedom == pytest.approx(1.3040, abs=1e-4)
    assert p == pytest.approx(2 * stats.t.sf(11 / np.sqrt(variance), freedom))


def test_welchs_test_without_variance_is_0_or_1():
    same = with_correct([990, 990])
    assert of_difference(same, same).welch == 1
    assert of_difference(same, with_correct([980, 980])).welch == 0
    assert significance.welch_p([0.1, 0.1], [0.1, 0.1, 0.1]) == 1
    assert significance.welch_p([0.1, 0.1], [0.2, 0.2]) == 0


# Seeds and images.


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_p_over_seeds_and_images_is_below_a_level_if_the_interval_of_this_confidence_excludes_0(seed):
    pair = accuracies(*random_variants(np.random.default_rng(seed), [0.90, 0.88], images=300))
    p = significance.of_difference(*pair).seeds_and_images
    touching = difference.interval_seeds_and_images(*pair, confidence=1 - p)
    assert min(np.abs(touching)) == pytest.approx(0, abs=1e-9)


def test_p_over_seeds_and_images_on_a_worked_example():
    """Two seeds, four images, as in test_difference: difference 3/8, variance 1/64, one degree of freedom."""
    candidate = from_wrong(np.array([[0, 0, 1, 0], [0, 0, 1, 1]]))
    baseline = from_wrong(np.array([[0, 1, 1, 1], [1, 0, 1, 1]]))
    assert of_difference(candidate, baseline).seeds_and_images == pytest.approx(2 * stats.t.sf(3, 1))


def test_images_that_may_have_caused_a_difference_raise_the_largest_p():
    p = of_difference(*sure_of_these_images())
    assert p.largest == p.seeds_and_images > 0.05 > 0.01 > max(p.welch, p.permutation)


def test_without_variance_p_is_that_of_a_sign_test_over_the_images():
    """No seed of either variant differs in its accuracy, and nothing is left for the images; still, only as many images
    as favour one of the variants speak for it."""
    everything, nothing = with_correct([4] * 6, 4), with_correct([0] * 6, 4)
    assert of_difference(everything, nothing).seeds_and_images == pytest.approx(2 / 2**4)
    assert of_difference(everything, everything).seeds_and_images == 1
    one_each = from_wrong(np.eye(6, 50))  # each seed misreads another image
    components = difference.variance_components(*accuracies(with_correct([50] * 6, 50), one_each))
    assert components.variance((6, 6)) == 0
    found = of_difference(with_correct([50] * 6, 50), one_each).seeds_and_images
    assert found == pytest.approx(stats.binomtest(6, 6).pvalue)


def test_without_variance_and_images_p_is_that_of_a_sign_test_over_the_seeds():
    """All seeds take 3 epochs, or all take 5."""
    candidate, baseline = Sample(np.full(6, 3.0), None), Sample(np.full(8, 5.0), None)
    assert significance.of_difference(candidate, baseline).seeds_and_images == pytest.approx(2 / 2**6)


def test_p_is_1_with_fewer_than_two_seeds_or_images():
    some, one, none = with_seeds({0: 980, 1: 981, 2: 983}), with_seeds({0: 900}), with_seeds({})
    for pair in ((some, one), (one, some), (some, none), (none, some), (none, none)):
        assert of_difference(*pair) == PValues(1.0, 1.0, 1.0)
        assert significance.of_equivalence(*accuracies(*pair), 0.5) == 1.0
    assert significance.mcnemar(some, none) == significance.mcnemar(none, some) == []
    one_image = with_correct([1, 1, 1], 1), with_correct([0, 0, 1], 1)
    assert of_difference(*one_image) == PValues(1.0, 1.0, 1.0)
    assert significance.of_equivalence(*accuracies(*one_image), 0.9) == 1.0


# Equivalence.


@given(COUNTS, COUNTS, st.floats(0.01, 0.5))
@settings(max_examples=40)
def test_equivalence_of_values_without_images_is_two_tests_of_statsmodels(first, second, margin):
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    values = np.array(first) / 1000, np.array(second) / 1000
    found = significance.of_equivalence(*(Sample(one, None) for one in values), margin)
    assert found == pytest.approx(ttost_ind(*values, -margin, margin, usevar="unequal")[0], abs=1e-9)


def test_equivalence_is_found_if_the_90_percent_interval_lies_within_the_margin():
    pair = accuracies(*nested_pair(9_900, 9_899, spread=3))
    limit = max(map(abs, difference.interval_seeds_and_images(*pair, 0.90)))
    assert significance.of_equivalence(*pair, limit) == pytest.approx(0.05)
    assert significance.of_equivalence(*pair, 1.01 * limit) < 0.05 < significance.of_equivalence(*pair, 0.99 * limit)


def test_variants_without_variance_are_never_equivalent():
    """Six seeds that read 50 images correctly could still misread one of twenty others."""
    for images in (50, 10_000):
        pair = accuracies(*[with_correct([images] * 6, images)] * 2)
        assert significance.of_equivalence(*pair, 0.5) == 1.0


def test_images_that_never_differed_may_differ_on_three_in_their_number():
    """The images of one seed each differ, by chance: the variance of the images is 0, that of the seeds is not."""
    for images, p in ((1500, 1.0), (1501, 0.0)):
        wrong = np.zeros((2, 6, images))
        wrong[0, :3, 0] = wrong[1, :3, 0] = 1
        pair = accuracies(*map(from_wrong, wrong))
        components = difference.variance_components(*pair)
        assert components.images == 0 < components.variance((6, 6))
        assert significance.of_equivalence(*pair, 0.002) == pytest.approx(p, abs=0.01)
        assert significance.of_equivalence(*pair, 0.002, answers_are_counts=False) == pytest.approx(0.0, abs=0.01)


# Holm's correction.


def test_holm_1979_on_a_worked_example():
    # 0.01 × 4, then 0.015 × 3, then 0.03 × 2 = 0.06, and 0.05 must not become smaller than that.
    assert significance.holm([0.01, 0.05, 0.03, 0.015]) == pytest.approx([0.04, 0.06, 0.06, 0.045])


@pytest.mark.parametrize(
    "p_values", [[0.03], [0.05, 0.05, 0.1, 0.0], np.random.default_rng(0).random(8).tolist(), [0.004, 0.9, 0.011, 0.02]]
)
def test_holm_agrees_with_statsmodels(p_values):
    assert significance.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


# McNemar's test.


def test_mcnemars_test_is_that_of_statsmodels_for_each_pair_of_seeds():
    candidate, baseline = random_variants(np.random.default_rng(0), [0.95, 0.93], seeds=3, images=300)
    tests = significance.mcnemar(candidate, baseline)
    assert [(test.seed, test.baseline_seed) for test in tests] == [(0, 0), (1, 1), (2, 2)]
    for place, test in enumerate(tests):
        table = np.zeros((2, 2), int)
        np.add.at(table, (1 - candidate.correct[place], 1 - baseline.correct[place]), 1)
        assert (test.only_candidate, test.only_baseline) == (table[0, 1], table[1, 0])
        assert test.p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_networks_are_paired_by_seeds_that_finished_for_both_variants():
    candidate, baseline = with_seeds({0: 980, 2: 985, 5: 990}), with_seeds({5: 970, 1: 960, 0: 900})
    tests = significance.mcnemar(candidate, baseline)
    assert [(test.seed, test.baseline_seed, test.only_candidate) for test in tests] == [(0, 0, 80), (5, 5, 20)]
