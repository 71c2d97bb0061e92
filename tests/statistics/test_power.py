"""Power, compared with statsmodels, worked examples and simulated studies."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from lenetlab.statistics import power
from lenetlab.statistics.difference import VarianceComponents


def test_the_number_of_seeds_limits_the_size_of_a_family():
    """The smallest p is 2/924 with six seeds, 2/252 with five, 2/70 with four, 2/20 with three; 23, 6 and 1 times these
    are still below 0.05."""
    assert [power.most_comparisons(seeds) for seeds in range(1, 7)] == [0, 0, 0, 1, 6, 23]
    assert [power.least_seeds(count) for count in (1, 2, 6, 7, 23, 24)] == [4, 5, 5, 6, 6, 7]


@pytest.mark.parametrize("seeds", [5, 6, 12])
@pytest.mark.parametrize("truth", [0.5, 1.0, 2.0])
def test_power_without_variance_from_images_is_that_of_statsmodels(seeds, truth):
    components = VarianceComponents((1.0, 1.0), 0.0)
    reference = TTestIndPower().power(truth, seeds, 0.05, alternative="two-sided")
    wrong_side = stats.nct.cdf(-stats.t.ppf(0.975, 2 * seeds - 2), 2 * seeds - 2, truth * np.sqrt(seeds / 2))
    found = power.power_of_difference(truth, components, seeds, 10_000, 1)
    assert found == pytest.approx(reference - wrong_side, abs=1e-9)
    after_holm = TTestIndPower().power(truth, seeds, 0.05 / 6, alternative="larger")
    assert power.power_of_difference(truth, components, seeds, 10_000, 6) < after_holm + 1e-9


def test_power_is_0_if_the_permutation_test_cannot_reach_the_level():
    components = VarianceComponents((1e-6, 1e-6), 0.0)
    assert power.power_of_difference(0.1, components, 5, 10_000, 6) > 0.99
    assert power.power_of_difference(0.1, components, 5, 10_000, 7) == 0


def test_images_limit_the_power_of_any_number_of_seeds():
    components = VarianceComponents((1e-12, 1e-12), 0.001**2)
    expected = stats.nct.sf(stats.t.ppf(0.975, 9_999), 9_999, 2.0)
    assert power.power_of_difference(0.002, components, 500, 10_000, 1) == pytest.approx(expected, rel=1e-3)


def test_a_detectable_difference_has_80_percent_power():
    for seeds, comparisons in ((4, 1), (6, 2), (10, 20)):
        least = power.detectable(power.TYPICAL, seeds, 10_000, comparisons)
        found = power.power_of_difference(least, power.TYPICAL, seeds, 10_000, comparisons)
        assert found == pytest.approx(0.8, abs=1e-4)
    assert power.detectable(power.TYPICAL, 3, 10_000, 1) is None


def test_seeds_needed_are_the_fewest_with_80_percent_power():
    components, margin = VarianceComponents((0.001**2, 0.001**2), 0.0003**2), 0.002
    needed = power.seeds_needed(components, 10_000, 1, margin)

    def smaller_power(seeds: int) -> float:
        return min(
            power.power_of_difference(margin, components, seeds, 10_000, 1),
            power.power_of_equivalence(0.0, margin, components, seeds, 10_000),
        )

    assert smaller_power(needed) >= 0.8 > smaller_power(needed - 1)
    assert power.seeds_needed(VarianceComponents((1e-9, 1e-9), 0.001**2), 10_000, 1, margin) is None
    assert power.seeds_needed(VarianceComponents((0.0, 0.0), 0.0), 10_000, 24, margin) == 7


def test_seeds_needed_are_enough_for_the_margin_and_for_no_difference():
    """In a large family, Holm's correction makes the margin harder to find; in a small one, equivalence is harder."""
    components, margin = VarianceComponents((0.001**2, 0.001**2), 0.0003**2), 0.002
    for comparisons, harder, easier in ((20, margin, 0.0), (1, 0.0, margin)):
        by_truth = [power.seeds_needed(components, 10_000, comparisons, margin, [truth]) for truth in (harder, easier)]
        assert by_truth[0] > by_truth[1]
        assert power.seeds_needed(components, 10_000, comparisons, margin) == by_truth[0]


def test_the_power_of_equivalence_is_that_of_simulated_studies():
    """Differences with known variance; the 90 % interval must lie within the margin."""
    generator = np.random.default_rng(0)
    components, seeds, margin = VarianceComponents((0.001**2, 0.001**2), 0.0), 8, 0.0012
    for truth in (0.0, 0.0006):
        values = generator.normal(0, 0.001, (20_000, 2, seeds))
        estimates = truth + values[:, 0].mean(1) - values[:, 1].mean(1)
        variance = values.var(axis=2, ddof=1).sum(1) / seeds
        half = stats.t.ppf(0.95, 2 * seeds - 2) * np.sqrt(variance)
        share = ((estimates - half > -margin) & (estimates + half < margin)).mean()
        predicted = power.power_of_equivalence(truth, margin, components, seeds, 10_000)
        assert share == pytest.approx(predicted, abs=0.04)
