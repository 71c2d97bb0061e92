"""Error spending, compared with published tables and with gsdesign; sequential p values, by their definition."""

import warnings
from math import e, exp, inf, log, sqrt

import gsdesign
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from lenetlab.settings import study_schema
from lenetlab.statistics import sequential, significance
from lenetlab.statistics.sequential import Plan

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # adastop's source has an invalid escape sequence
    from adastop import MultipleAgentsComparator

ALL = Plan(study_schema.LOOKS)
FIXED = Plan((8,), fixed=True)

RATIOS = st.floats(0, 20)
ALPHAS = st.floats(1e-4, 0.3)
P_VALUES = st.floats(1e-6, 1)


def obrien_fleming_spent(time: float, alpha: float, sides: int) -> float:
    """Lan & DeMets 1983: spends like O'Brien and Fleming's bounds. Each side of a two-sided test has half of alpha."""
    return 2 * sides * stats.norm.sf(stats.norm.isf(alpha / sides / 2) / sqrt(time))


def pocock_spent(time: float, alpha: float) -> float:
    """Lan & DeMets 1983: spends like Pocock's bounds."""
    return alpha * log(1 + (e - 1) * time)


def gsdesign_crossings(times, bounds, sides) -> list[float]:
    """Probability of a crossing by each look, by another implementation: Jennison & Turnbull 2000, chapter 19."""
    lower = [-bound if sides == 2 else -inf for bound in bounds]
    grid = gsdesign.h1(r=60, info=times[0], a=lower[0], b=bounds[0])
    crossed = [sides * float(gsdesign.h1(r=60, info=times[0], a=bounds[0])[2].sum())]
    for look in range(1, len(times)):
        step = {
            "r": 60,
            "theta": 0.0,
            "info": times[look],
            "theta_prev": 0.0,
            "info_prev": times[look - 1],
            "gm1": grid,
        }
        crossed.append(crossed[-1] + sides * float(gsdesign.hupdate(a=bounds[look], b=inf, **step)[2].sum()))
        grid = gsdesign.hupdate(a=lower[look], b=bounds[look], **step)
    return crossed


# Bounds and probabilities.


@pytest.mark.parametrize(
    ("looks", "error"), [(1, 0.050), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193), (20, 0.248)]
)
def test_repeated_tests_at_the_ordinary_level_err_as_in_armitage_mcpherson_and_rowe_1969(looks, error):
    crossed = sequential.crossing_probabilities(range(1, looks + 1), [1.96] * looks)
    assert crossed[-1] == pytest.approx(error, abs=5e-4)


def test_the_constants_of_pocock_and_of_obrien_and_fleming_err_in_5_percent():
    """Pocock 1977 and O'Brien & Fleming 1979, five looks."""
    times = range(1, 6)
    assert sequential.crossing_probabilities(times, [2.413] * 5)[-1] == pytest.approx(0.05, abs=5e-5)
    falling = [2.040 * sqrt(5 / time) for time in times]
    assert sequential.crossing_probabilities(times, falling)[-1] == pytest.approx(0.05, abs=5e-5)


def test_bounds_of_lan_and_demets_1983():
    """Five equal looks, two-sided 0.05; published with three decimals."""
    times = [0.2, 0.4, 0.6, 0.8, 1.0]
    falling = sequential.boundaries(times, [obrien_fleming_spent(time, 0.05, 2) for time in times])
    assert falling == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=1e-3)
    level = sequential.boundaries(times, [pocock_spent(time, 0.05) for time in times])
    assert level == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=1e-3)


def test_one_sided_bounds_of_lan_and_demets_1983():
    times = [0.25, 0.5, 0.75, 1.0]
    bounds = sequential.boundaries(times, [obrien_fleming_spent(time, 0.05, 1) for time in times], sides=1)
    assert bounds == pytest.approx([3.74955, 2.53993, 2.01604, 1.72014], abs=5e-5)


@given(st.integers(1, 9), RATIOS, ALPHAS, st.sampled_from([1, 2]))
@settings(max_examples=10, deadline=None)
def test_bounds_spend_what_they_should_also_by_gsdesign(looks, ratio, alpha, sides):
    times = sequential.information_times(ALL.looks[:looks], ratio)
    errors = [alpha * sequential.spent(seeds) for seeds in ALL.looks[:looks]]
    bounds = sequential.boundaries(times, errors, sides)
    assert sequential.crossing_probabilities(times, bounds, sides) == pytest.approx(errors, rel=1e-6)
    assert gsdesign_crossings(times, bounds, sides) == pytest.approx(errors, rel=5e-4)


def test_the_group_sequential_permutation_test_of_adastop_has_these_bounds():
    """Two looks at six more values of each side. adastop draws 10,000 divisions of each block, and compares the size of
    a difference with a one-sided bound, so its alpha is half of the two-sided error."""
    generator = np.random.default_rng(2)
    values = {name: generator.normal(size=12) for name in ("candidate", "baseline")}
    test = MultipleAgentsComparator(n=6, K=2, B=10_000, alpha=0.1, seed=0)
    for look in (6, 12):
        test.partial_compare({name: drawn[:look] for name, drawn in values.items()}, verbose=False)
    blocks = [np.concatenate([drawn[start : start + 6] for drawn in values.values()]) for start in (0, 6)]
    variances = np.cumsum([block.var(ddof=1) / 3 for block in blocks])  # of the sum of the blocks' differences
    found = [bound / sqrt(variance) for (_, bound), variance in zip(test.boundary, variances, strict=True)]
    assert found == pytest.approx(sequential.boundaries(variances, [0.1, 0.2]), rel=0.06)


@pytest.mark.parametrize("shift", [0.0, 1.0, 1.6, 2.5])
def test_at_one_look_adastop_decides_by_the_permutation_test(shift):
    """With one look, at several levels; its alpha is half of the two-sided one."""
    generator = np.random.default_rng(1)
    candidate, baseline = generator.normal(shift, 1, 5), generator.normal(0, 1, 5)
    p = significance.permutation_p(candidate, baseline)
    for alpha in (0.005, 0.01, 0.03, 0.06, 0.2, 0.45):
        test = MultipleAgentsComparator(n=5, K=1, B=10_000, alpha=alpha, seed=0)
        test.partial_compare({"candidate": candidate, "baseline": baseline}, verbose=False)
        (decision,) = test.decisions.values()
        assert (decision in ("larger", "smaller")) == (p <= 2 * alpha), (p, alpha)


# The levels of the rule.


def test_what_is_spent_by_each_look():
    found = [sequential.spent(seeds) for seeds in ALL.looks]
    assert found == pytest.approx([0.330, 0.451, 0.551, 0.699, 0.798, 0.909, 0.959, 0.992, 0.998], abs=5e-4)


@pytest.mark.parametrize(
    ("comparisons", "ratio", "sides", "levels"),
    [
        (1, 0.0, 2, [0.016484, 0.011112, 0.010569, 0.012872, 0.011232, 0.010695, 0.006708, 0.003742, 0.001162]),
        (2, 0.0, 2, [0.008242, 0.005230, 0.004886, 0.005969, 0.005104, 0.004855, 0.002962, 0.001642, 0.000492]),
        (3, 0.0, 2, [0.005495, 0.003378, 0.003127, 0.003831, 0.003243, 0.003087, 0.001857, 0.001028, 0.000302]),
        (6, 0.0, 2, [0.002747, 0.001608, 0.001470, 0.001811, 0.001509, 0.001440, 0.000849, 0.000469, 0.000134]),
        (1, 0.1, 2, [0.016484, 0.013628, 0.014457, 0.018639, 0.019351, 0.021170, 0.018733, 0.015471, 0.010700]),
        (1, 0.0, 1, [0.016484, 0.011913, 0.011588, 0.014112, 0.012625, 0.012081, 0.007840, 0.004428, 0.001438]),
    ],
)
def test_the_levels_are_those_of_a_separate_computation(comparisons, ratio, sides, levels):
    """Made outside of this project before the rule was written, from the same recursion with other code."""
    assert ALL.levels(ratio, 0.05 / comparisons, sides) == pytest.approx(levels, abs=1.1e-6)


@given(RATIOS, ALPHAS, st.sampled_from([1, 2]))
@settings(max_examples=8, deadline=None)
def test_no_level_is_higher_than_what_is_spent_by_its_look(ratio, alpha, sides):
    levels = ALL.levels(ratio, alpha, sides)
    assert all(0 < level <= alpha * ALL.spent(look) * (1 + 1e-6) for look, level in zip(ALL.looks, levels, strict=True))


@given(RATIOS, st.sampled_from([1, 2]))
@settings(max_examples=8, deadline=None)
def test_every_level_rises_with_alpha(ratio, sides):
    """Otherwise no smallest alpha would be a p value."""
    by_alpha = [ALL.levels(ratio, alpha, sides) for alpha in (1e-6, 1e-4, 0.01, 0.05, 0.1, 0.2, 0.4)]
    assert (np.diff(by_alpha, axis=0) > 0).all()


def test_a_level_does_not_depend_on_later_looks():
    assert Plan(ALL.looks[:4]).levels(0.3, 0.05) == pytest.approx(ALL.levels(0.3, 0.05)[:4], rel=1e-9)


def test_a_large_part_of_the_images_raises_the_levels_and_then_changes_them_no_more():
    """The more of the variance all looks share, the less a further look adds."""
    small, larger = ALL.levels(0.0, 0.05), ALL.levels(1.0, 0.05)
    assert larger[0] == pytest.approx(small[0])
    assert all(high > low for high, low in zip(larger[1:], small[1:], strict=True))
    assert ALL.levels(inf, 0.05) == ALL.levels(sequential.LARGEST_RATIO, 0.05)


# Plans.


def test_a_plan_has_the_looks_that_the_seeds_allow():
    assert [Plan.of(seeds, 36).looks for seeds in (0, 5, 6, 8, 12)] == [(), (), (6,), (6,), (6, 9, 12)]
    assert Plan.of(1000, 6).looks == study_schema.LOOKS


def test_without_adding_seeds_the_only_look_has_all_of_alpha():
    assert Plan.of(8, 0) == FIXED
    assert FIXED.levels(0.4, 0.05) == [pytest.approx(0.05)]
    assert FIXED.levels(0.4, 0.05, sides=1) == [pytest.approx(0.05)]
    assert Plan.of(1, 0).looks == Plan.of(0, 0).looks == ()


# Sequential p values.


def test_sequential_p_values_of_a_separate_computation():
    """Looks at 6, 9 and 12 seeds without an effect of images; each look alone, then together."""
    p_values = [0.03, 0.012, 0.004]
    alone = [ALL.sequential_p([0.0] * 3, np.where(np.arange(3) == look, p_values, 1.0))[-1] for look in range(3)]
    assert alone == pytest.approx([0.090997, 0.053639, 0.020852], abs=2e-6)
    assert ALL.sequential_p([0.0] * 3, p_values) == pytest.approx(alone, abs=2e-6)


@given(P_VALUES)
@settings(max_examples=20, deadline=None)
def test_a_fixed_plan_leaves_p_as_it_is(p):
    for sides in (1, 2):
        assert FIXED.sequential_p([0.7], [p], sides) == [pytest.approx(p, rel=1e-6)]


@given(st.floats(1e-6, 0.3))
@settings(max_examples=20, deadline=None)
def test_at_the_first_look_p_is_divided_by_what_is_spent(p):
    assert ALL.sequential_p([0.7], [p]) == [pytest.approx(p / (1 - exp(-6 / 15)), rel=1e-6)]


LOOKED_AT = st.lists(st.tuples(RATIOS, P_VALUES), min_size=1, max_size=5)


@given(LOOKED_AT, ALPHAS, st.sampled_from([1, 2]))
@settings(max_examples=25, deadline=None)
def test_the_sequential_p_is_the_smallest_alpha_at_which_a_look_so_far_decides(looks, alpha, sides):
    ratios, p_values = zip(*looks, strict=True)
    found = ALL.sequential_p(ratios, p_values, sides)
    assert found == sorted(found, reverse=True)  # a look more never raises it
    assume(abs(found[-1] / alpha - 1) > 1e-6)
    levels = [Plan(ALL.looks[:count]).levels(ratio, alpha, sides)[-1] for count, ratio in enumerate(ratios, start=1)]
    assert (found[-1] <= alpha) == any(p <= level for p, level in zip(p_values, levels, strict=True))


@given(LOOKED_AT, st.integers(0, 4), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_smaller_p_at_any_look_never_raises_the_sequential_p(looks, place, factor):
    ratios, p_values = zip(*looks, strict=True)
    smaller = [p * factor if look == place else p for look, p in enumerate(p_values)]
    before, after = ALL.sequential_p(ratios, p_values)[-1], ALL.sequential_p(ratios, smaller)[-1]
    assert after <= before * (1 + 1e-6)


def test_p_values_of_0_and_1_have_sequential_p_values():
    assert ALL.sequential_p([0.0, inf], [1.0, 1.0]) == [1.0, 1.0]
    (zero,) = ALL.sequential_p([0.0], [0.0])
    assert 0 < zero < 1e-10


@given(
    exponents=st.lists(st.floats(-300, 0), min_size=len(ALL.looks), max_size=len(ALL.looks)),
    ratio=st.floats(0, 10),
    sides=st.sampled_from([1, 2]),
)
@settings(max_examples=30, deadline=None)
def test_tiny_p_values_at_many_looks_have_sequential_p_values(exponents, ratio, sides):
    """A study of 48 seeds had p values that fell from 1e-11 to 1e-16: below the smallest one that is computed."""
    found = ALL.sequential_p([ratio] * len(exponents), [10.0**exponent for exponent in exponents], sides)
    assert all(0 < p <= 1 for p in found)
    assert found == sorted(found, reverse=True)


def test_a_p_value_below_the_smallest_after_one_just_above_it():
    p_values = [1e-3, 1e-5, 1e-7, 1e-9, 1e-12, 1e-14, 1e-16]
    found = Plan.of(48, 48).sequential_p([0.05] * 7, p_values)
    assert found[-1] < 1e-10
