"""p values, compared with worked examples and other implementations."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from lenetlab.statistics import significance
from tests.statistics.examples import random_variants, sure_of_these_images, with_correct, with_seeds

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=5)
TIES = [9_873, 9_891, 9_888, 9_880, 9_885], [9_879, 9_884, 9_890, 9_876, 9_883]


def count_divisions(first: list[int], second: list[int]) -> float:
    """The exact permutation test, written out in whole numbers: every way to divide the counts into two groups."""
    pooled, total = [*first, *second], sum(first) + sum(second)
    observed = abs(sum(first) * len(second) - sum(second) * len(first))
    sums = [sum(pooled[place] for place in chosen) for chosen in combinations(range(len(pooled)), len(first))]
    as_far = [abs(one * len(second) - (total - one) * len(first)) >= observed for one in sums]
    return sum(as_far) / len(sums)


# The permutation test.


@given(COUNTS, COUNTS)
@example(*TIES)
@settings(max_examples=40)
def test_the_permutation_test_counts_every_division(first, second):
    p = significance.permutation(with_correct(first, 10_000), with_correct(second, 10_000))
    assert p == pytest.approx(count_divisions(first, second), abs=1e-12)


@given(COUNTS, COUNTS)
@example(*TIES)  # as fractions, sums of these lose ties: 0.779 instead of 0.818
@example([9_851, 9_826, 9_830, 9_804, 9_807], [9_801, 9_817, 9_881, 9_864])
@settings(max_examples=40)
def test_the_permutation_test_keeps_ties_of_fractions(first, second):
    p = significance.permutation_p(np.array(first) / 10_000, np.array(second) / 10_000)
    assert p == pytest.approx(count_divisions(first, second), abs=1e-12)


def test_the_smallest_p_is_2_in_all_divisions():
    six = significance.permutation(with_correct([980, 981, 982, 983, 984, 985]), with_correct([900] * 6))
    five = significance.permutation(with_correct([980, 981, 982, 983, 984]), with_correct([900] * 5))
    assert (six, five) == (pytest.approx(2 / 924), pytest.approx(2 / 252))
    assert significance.permutation(*sure_of_these_images()) == pytest.approx(2 / 924)


@pytest.mark.parametrize("seed", range(4))
def test_divisions_are_drawn_if_there_are_too_many(monkeypatch, seed):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(0, 1, 6), generator.normal(0.8, 1, 6)
    exact = significance.permutation_p(first, second)
    monkeypatch.setattr(significance, "EXACT", 500)
    drawn = significance.permutation_p(first, second)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 500) + 1 / 500)
    assert drawn == significance.permutation_p(first, second)


# Welch's test.


@given(COUNTS, COUNTS)
@settings(max_examples=40)
def test_welchs_test_is_scipys(first, second):
    if len(set(first)) == 1 or len(set(second)) == 1:
        return  # SciPy warns
    fractions = np.array(first) / 1000, np.array(second) / 1000
    reference = stats.ttest_ind(*fractions, equal_var=False).pvalue
    assert significance.welch(with_correct(first), with_correct(second)) == pytest.approx(reference, abs=1e-9)
    assert significance.welch_p(*(sample.tolist() for sample in fractions)) == pytest.approx(reference, abs=1e-9)


def test_welchs_test_on_a_worked_example():
    """By hand: 10, 12, 14 against 20, 26: difference -11, squared errors 4/3 and 9, so 1.304 degrees of freedom."""
    p = significance.welch(with_correct([10, 12, 14], 100), with_correct([20, 26], 100))
    variance, freedom = 4 / 3 + 9, (4 / 3 + 9) ** 2 / ((4 / 3) ** 2 / 2 + 9**2 / 1)
    assert freedom == pytest.approx(1.3040, abs=1e-4)
    assert p == pytest.approx(2 * stats.t.sf(11 / np.sqrt(variance), freedom))


def test_welchs_test_without_variance_is_0_or_1():
    same = with_correct([990, 990])
    assert significance.welch(same, same) == 1
    assert significance.welch(same, with_correct([980, 980])) == 0
    assert significance.welch_p([0.1, 0.1], [0.1, 0.1, 0.1]) == 1
    assert significance.welch_p([0.1, 0.1], [0.2, 0.2]) == 0


def test_p_is_1_with_fewer_than_two_seeds():
    some, one, none = with_seeds({0: 980, 1: 981, 2: 983}), with_seeds({0: 900}), with_seeds({})
    for candidate, baseline in ((some, one), (one, some), (some, none), (none, some), (none, none)):
        assert significance.welch(candidate, baseline) == 1.0
        assert significance.permutation(candidate, baseline) == 1.0
    assert significance.mcnemar(some, none) == significance.mcnemar(none, some) == []


# Holm's correction.


def test_holm_1979_on_a_worked_example():
    # 0.01 × 4, then 0.015 × 3, then 0.03 × 2 = 0.06, and 0.05 must not become smaller than that.
    assert significance.holm([0.01, 0.05, 0.03, 0.015]) == pytest.approx([0.04, 0.06, 0.06, 0.045])


@pytest.mark.parametrize(
    "p_values", [[0.03], [0.05, 0.05, 0.1, 0.0], np.random.default_rng(0).random(8).tolist(), [0.004, 0.9, 0.011, 0.02]]
)
def test_holm_agrees_with_statsmodels(p_values):
    assert significance.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_a_family_has_both_tests_before_and_after_holm():
    variants = [with_correct([900 + 4 * number + seed for seed in range(6)]) for number in range(4)]
    pairs = [(variant, variants[0]) for variant in variants[1:]]
    p_values = significance.family(pairs)
    assert [p.welch for p in p_values] == [significance.welch(*pair) for pair in pairs]
    assert [p.permutation for p in p_values] == [significance.permutation(*pair) for pair in pairs]
    assert [p.welch_holm for p in p_values] == significance.holm([p.welch for p in p_values])
    assert [p.permutation_holm for p in p_values] == significance.holm([p.permutation for p in p_values])
    assert len({p.welch for p in p_values}) == 3


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
