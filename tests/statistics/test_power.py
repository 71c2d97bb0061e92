"""Chances of verdicts, compared with statsmodels, worked examples and a simulation outside of this project."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from lenetlab.settings import study_schema
from lenetlab.statistics import power
from lenetlab.statistics.difference import VarianceComponents
from lenetlab.statistics.sequential import Plan

LOOKS = study_schema.LOOKS
TO_36 = Plan(LOOKS[:6])
NEVER = VarianceComponents((0.0, 0.0), 0.0, 10_000)


def vary(seeds: float, images: float) -> VarianceComponents:
    """These deviations in percentage points, on 10,000 images."""
    return VarianceComponents(((seeds / 100) ** 2,) * 2, (images / 100) ** 2, 10_000)


def fixed(seeds: int) -> Plan:
    return Plan((seeds,), fixed=True)


def shares(truth: float, components: VarianceComponents, margin: float = 0.2) -> list[float]:
    """Better and equivalent by 36 seeds, in per cent; truth and margin in percentage points."""
    found = power.chances(truth / 100, components, 1, margin / 100, TO_36)
    return [100 * found.higher[-1], 100 * found.equivalent[-1]]


# Chances.


@pytest.mark.parametrize(
    ("seeds", "images", "better", "equivalent"),
    [
        (0.094, 0.00, [None, 10, 47, 86, 98, 100], [98, 90, 53, 14, 2, 0]),
        (0.094, 0.03, [None, 13, 44, 81, 97, 100], [97, 87, 56, 19, 3, 0]),
        (0.094, 0.09, [None, 7, 18, 35, 56, 88], [33, 29, 19, 10, 4, None]),
        (0.128, 0.03, [None, 13, 43, 79, 96, 100], [96, 87, 56, 20, 4, 0]),
        (0.170, 0.03, [None, 12, 36, 71, 93, 100], [92, 79, 48, 18, 4, 0]),
    ],
)
def test_the_chances_of_verdicts_are_those_of_a_simulation_of_whole_studies(seeds, images, better, equivalent):
    """Made outside of this project before the rule was written, with estimated variances. They are known here, so four
    points of per cent may differ. Truth 0 to 0.30 points, margin 0.20."""
    truths = (0, 0.05, 0.10, 0.15, 0.20, 0.30)
    for truth, *simulated in zip(truths, better, equivalent, strict=True):
        for found, expected in zip(shares(truth, vary(seeds, images)), simulated, strict=True):
            assert expected is None or found == pytest.approx(expected, abs=4), truth


def test_a_smaller_margin_leaves_more_to_find():
    assert shares(0.10, vary(0.094, 0.03), margin=0.1) == pytest.approx([69, 3], abs=4)
    assert shares(0.15, vary(0.094, 0.03), margin=0.1) == pytest.approx([96, 0], abs=4)


@pytest.mark.parametrize("comparisons", [1, 3])
def test_a_true_difference_of_0_is_found_in_no_more_than_5_percent(comparisons):
    for images in (0.0, 0.03, 0.09, 1.0):
        found = power.chances(0.0, vary(0.094, images), comparisons, 1e-9, TO_36)
        assert found.higher[-1] + found.lower[-1] < (0.05 / comparisons) + 0.01
        assert found.equivalent[-1] == 0


@pytest.mark.parametrize("comparisons", [1, 3])
def test_a_true_difference_of_the_margin_is_equivalent_in_no_more_than_5_percent(comparisons):
    for images in (0.0, 0.03, 0.09):
        found = power.chances(0.002, vary(0.094, images), comparisons, 0.002, TO_36)
        assert found.equivalent[-1] < (0.05 / comparisons) + 0.01


def test_chances_grow_with_the_looks_and_turn_with_the_sign():
    found = power.chances(0.001, vary(0.17, 0.03), 2, 0.002, TO_36)
    for share in (found.higher, found.lower, found.equivalent):
        assert len(share) == len(TO_36.looks)
        assert list(share) == sorted(share)
    assert found.any_verdict == pytest.approx(found.higher[-1] + found.lower[-1] + found.equivalent[-1])
    turned = power.chances(-0.001, vary(0.17, 0.03), 2, 0.002, TO_36)
    assert turned.lower[-1] == pytest.approx(found.higher[-1], abs=0.03)


@pytest.mark.parametrize("seeds", [5, 6, 12, 48])
@pytest.mark.parametrize("truth", [0.3, 0.8, 1.5])
def test_a_single_look_without_an_effect_of_images_has_about_the_power_of_statsmodels(seeds, truth):
    """The noncentral t distribution also has the error of the estimated variance, so up to 5 points differ."""
    components = VarianceComponents((1.0, 1.0), 0.0, 10_000)
    found = power.chances(truth, components, 1, 1e-9, fixed(seeds))
    reference = TTestIndPower().power(truth, seeds, 0.05, alternative="two-sided")
    assert found.higher[-1] + found.lower[-1] == pytest.approx(reference, abs=0.05)


def test_a_single_look_finds_equivalence_as_simulated_studies_do():
    """Differences with known variance; the 90 % interval must lie within the margin."""
    generator = np.random.default_rng(0)
    components, seeds, margin = VarianceComponents((0.001**2, 0.001**2), 0.0, 10_000), 8, 0.0012
    for truth in (0.0, 0.0006):
        values = generator.normal(0, 0.001, (20_000, 2, seeds))
        estimates = truth + values[:, 0].mean(1) - values[:, 1].mean(1)
        half = stats.t.ppf(0.95, 2 * seeds - 2) * np.sqrt(values.var(axis=2, ddof=1).sum(1) / seeds)
        share = ((estimates - half > -margin) & (estimates + half < margin)).mean()
        found = power.chances(truth, components, 1, margin, fixed(seeds))
        # A difference that is found comes first.
        assert found.equivalent[-1] == pytest.approx(share, abs=0.06)


def test_images_limit_the_power_of_any_number_of_seeds():
    components = VarianceComponents((1e-12, 1e-12), 0.001**2, 10_000)
    found = power.chances(0.002, components, 1, 1e-9, fixed(500)).higher[-1]
    assert found == pytest.approx(stats.nct.sf(stats.t.ppf(0.975, 9_999), 9_999, 2.0), abs=0.02)


def test_nothing_is_found_if_the_permutation_test_cannot_reach_the_level():
    surely = VarianceComponents((1e-8, 1e-8), 0.0, 10_000)
    six = Plan((6,))
    for comparisons, chance in ((7, 1.0), (8, 0.0)):
        assert power.chances(0.1, surely, comparisons, 0.002, six).higher == (chance,)
    for comparisons, chance in ((6, 1.0), (7, 0.0)):
        assert power.chances(0.1, surely, comparisons, 0.002, fixed(5)).higher == (chance,)


def test_without_variance_a_difference_is_certain():
    assert power.chances(0.01, NEVER, 1, 0.002, TO_36).higher[0] == 1.0
    assert power.chances(0.0, NEVER, 1, 0.002, TO_36).higher[-1] == 0.0


# What a plan can decide.


def test_the_smallest_p_is_two_of_all_divisions():
    assert [power.smallest_p(seeds) for seeds in (2, 3, 5, 6)] == [2 / 6, 2 / 20, 2 / 252, 2 / 924]


def test_the_number_of_seeds_limits_the_size_of_a_family():
    """Six seeds settle families of up to seven, nine seeds larger ones; with a fixed number, all of alpha is left."""
    assert [power.can_decide(Plan((6,)), count) for count in (1, 7, 8)] == [True, True, False]
    assert power.can_decide(Plan((6, 9)), 8)
    largest = [max((count for count in range(1, 40) if power.can_decide(fixed(seeds), count)), default=0)
               for seeds in range(2, 7)]  # fmt: skip
    assert largest == [0, 0, 1, 6, 23]
    assert not power.can_decide(Plan.of(1, 0), 1)
    assert not power.can_decide(Plan.of(5, 36), 1)


def test_a_detectable_difference_has_80_percent_power():
    for plan, comparisons in ((Plan((6,)), 2), (TO_36, 1), (TO_36, 20), (fixed(5), 6)):
        least = power.detectable(power.TYPICAL, comparisons, 0.002, plan)
        found = power.chances(least, power.TYPICAL, comparisons, 0.002, plan).higher[-1]
        assert found == pytest.approx(0.8, abs=0.005)
    assert power.detectable(power.TYPICAL, 8, 0.002, Plan((6,))) is None


def test_adding_seeds_detects_smaller_differences():
    least = [power.detectable(power.TYPICAL, 1, 0.0005, Plan(LOOKS[:count])) for count in (1, 2, 4, 9)]
    assert least == sorted(least, reverse=True)
    assert least[0] > 1.3 * least[-1]


# What a verdict needs.


def test_seeds_needed_are_the_first_look_by_which_a_verdict_is_likely_on_the_margin_and_on_none():
    components, margin, everything = vary(0.17, 0.03), 0.002, Plan(LOOKS)
    needed = power.seeds_needed(components, 1, margin)
    place = LOOKS.index(needed)
    by_look = [
        [sum(at) for at in zip(found.higher, found.lower, found.equivalent, strict=True)]
        for found in (power.chances(truth, components, 1, margin, everything) for truth in (0.0, margin))
    ]
    assert min(one[place] for one in by_look) >= 0.8 > min(one[place - 1] for one in by_look)


def test_a_larger_family_a_smaller_margin_and_more_variance_need_more_seeds():
    base = power.seeds_needed(vary(0.128, 0.03), 1, 0.002)
    assert 6 < base < power.seeds_needed(vary(0.128, 0.03), 6, 0.002)
    assert power.seeds_needed(vary(0.128, 0.03), 1, 0.0015) > base
    assert power.seeds_needed(vary(0.25, 0.03), 1, 0.002) > base
    assert power.seeds_needed(vary(0.01, 0.01), 1, 0.002) == 6


def test_no_number_of_seeds_is_enough_if_the_images_limit_the_verdict():
    assert power.seeds_needed(vary(0.094, 0.09), 1, 0.002) is None
    assert power.seeds_needed(vary(30.0, 0.03), 1, 0.002) is None  # one of the seeds is stuck


def test_images_needed_by_hand():
    """1.645 + 1.282 standard errors for equivalence; in a family of six, 2.638 + 0.842 for a difference."""
    components = vary(0.094, 0.09)
    assert power.images_needed(components, 1, 0.002) == pytest.approx(
        10_000 * (0.0009 * 2.92640 / 0.002) ** 2, rel=1e-4
    )
    assert power.images_needed(components, 6, 0.002) == pytest.approx(
        10_000 * (0.0009 * 3.67553 / 0.002) ** 2, rel=1e-4
    )
    assert power.images_needed(vary(0.094, 0.0), 1, 0.002) == 0


def test_with_the_images_that_are_needed_enough_seeds_give_a_verdict():
    before = vary(0.094, 0.09)
    images = power.images_needed(before, 1, 0.002)
    enough = VarianceComponents((1e-9, 1e-9), before.images * 10_000 / images, round(images))
    for truth in (0.0, 0.002):
        found = power.chances(truth, enough, 1, 0.002, fixed(500))
        assert found.any_verdict >= 0.79
