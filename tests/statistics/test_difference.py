"""Differences, their variance and intervals, compared with worked examples and other implementations."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from lenetlab.statistics import difference
from lenetlab.statistics.difference import VarianceComponents
from lenetlab.statistics.measures import Sample
from tests.statistics.examples import (
    accuracies,
    from_wrong,
    random_variants,
    sure_of_these_images,
    with_correct,
    with_seeds,
)

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=5)


# Variance components.


def test_variance_components_are_those_of_an_analysis_of_variance():
    """Crossed random effects with one observation per cell: mean squares of statsmodels for one variant (6 seeds, 12
    images); the components follow from their expectations (Searle et al. 1992, section 4.3)."""
    generator = np.random.default_rng(3)
    variant = from_wrong(generator.random((6, 12)) < 0.3 + 0.4 * generator.random(12))
    never_correct = from_wrong(np.ones((6, 12), dtype=bool))
    seed, image = np.indices((6, 12))
    table = {"correct": variant.correct.ravel().astype(float), "seed": seed.ravel(), "image": image.ravel()}
    squares = anova_lm(ols("correct ~ C(seed) + C(image)", pd.DataFrame(table)).fit())["mean_sq"]
    seeds, images, residual = squares["C(seed)"], squares["C(image)"], squares["Residual"]
    components = difference.variance_components(*accuracies(variant, never_correct))
    assert components.seeds == pytest.approx((seeds / 12, 0.0))  # of the seeds, and a 12th of the residual
    assert components.images == pytest.approx(max(0.0, (images - residual) / 6) / 12)
    deviation = difference.training_deviation(variant)
    assert deviation == pytest.approx(np.sqrt(max(0.0, (seeds - residual) / 12)))


def test_share_of_the_seeds_is_1_without_images_and_0_without_seeds():
    components = difference.variance_components(*accuracies(with_correct([60, 60], 100), with_correct([50, 50], 100)))
    assert difference.seed_share(components, (2, 2)) == 0
    assert difference.seed_share(VarianceComponents((1.0, 2.0), 0.0, 100), (3, 4)) == 1
    assert difference.seed_share(VarianceComponents((1.0, 2.0), 5 / 6, 100), (3, 4)) == pytest.approx(0.5)
    assert difference.seed_share(VarianceComponents((0.0, 0.0), 0.0, 100), (3, 4)) is None


def test_training_deviation_is_without_the_variance_of_a_finite_test_set():
    """Jordan 2024: equally good trainings differ on 400 images by chance alone."""
    (equally_good,) = random_variants(np.random.default_rng(0), [0.9], seeds=500, images=400)
    assert np.std(equally_good.accuracy, ddof=1) == pytest.approx(np.sqrt(0.9 * 0.1 / 400), rel=0.1)
    assert difference.training_deviation(equally_good) < 0.004
    generator = np.random.default_rng(1)
    accuracies = generator.normal(0.9, 0.02, (3000, 1))
    differing = from_wrong(generator.random((3000, 400)) >= accuracies)
    assert difference.training_deviation(differing) == pytest.approx(0.02, rel=0.1)
    assert difference.training_deviation(with_correct([900])) is None


# Intervals.


@given(COUNTS, COUNTS)
def test_the_interval_over_seeds_is_scipys(first, second):
    if len(set(first)) == 1 or len(set(second)) == 1:
        return  # SciPy warns
    interval = difference.interval_seeds(*accuracies(with_correct(first), with_correct(second)))
    reference = stats.ttest_ind(np.array(first) / 1000, np.array(second) / 1000, equal_var=False)
    assert interval == pytest.approx(reference.confidence_interval(0.95), abs=1e-9)


def test_without_variance_an_interval_is_a_point():
    same, other = accuracies(with_correct([990, 990]), with_correct([980, 980]))
    assert difference.interval_seeds(same, same) == difference.interval_seeds_and_images(same, same) == (0.0, 0.0)
    assert difference.interval_seeds(same, other) == pytest.approx((0.01, 0.01))


def test_the_interval_over_seeds_and_images_by_hand():
    """Two seeds, four images. Correct: candidate 1101 and 1100, baseline 1000 and 0100, so means 5/8 and 1/4.

    Variance of the means over seeds: (1/4)²/2/2 = 1/64 and 0. By image the differences are 1/2, 1/2, 0, 1/2: variance
    1/16; the seeds' part is (0 + 0 + 0 + 1/2)/4/2 + (1/2 + 1/2 + 0 + 0)/4/2 = 3/16, which is more: images add nothing.
    """
    candidate = from_wrong(np.array([[0, 0, 1, 0], [0, 0, 1, 1]]))
    baseline = from_wrong(np.array([[0, 1, 1, 1], [1, 0, 1, 1]]))
    half = stats.t.ppf(0.975, 1) * np.sqrt(1 / 64)
    interval = difference.interval_seeds_and_images(*accuracies(candidate, baseline))
    assert interval == pytest.approx((3 / 8 - half, 3 / 8 + half))


def test_images_cause_all_variance_if_the_seeds_agree():
    """The interval of 100 paired differences, 10 of them 1."""
    candidate, baseline = with_correct([60, 60], 100), with_correct([50, 50], 100)
    half = stats.t.ppf(0.975, 99) * np.sqrt(0.1 * 0.9 * 100 / 99 / 100)
    assert difference.interval_seeds_and_images(*accuracies(candidate, baseline)) == pytest.approx(
        (0.1 - half, 0.1 + half)
    )


def test_a_difference_that_the_test_images_may_have_caused_has_0_in_its_interval():
    low, high = difference.interval_seeds_and_images(*accuracies(*sure_of_these_images()))
    assert low < 0 < high
    assert stats.binomtest(41, 100).pvalue == pytest.approx(0.0886, abs=1e-4)


def test_the_90_percent_interval_is_narrower_by_the_ratio_of_students_quantiles():
    variants = random_variants(np.random.default_rng(0), [0.9, 0.88])
    pair = accuracies(*variants)
    freedom = difference.variance_components(*pair).degrees_of_freedom((6, 6))
    wide, narrow = (np.diff(difference.interval_seeds_and_images(*pair, level))[0] for level in (0.95, 0.90))
    assert narrow / wide == pytest.approx(stats.t.ppf(0.95, freedom) / stats.t.ppf(0.975, freedom))


@pytest.mark.slow
def test_the_variance_in_closed_form_is_that_of_a_two_way_bootstrap():
    """Owen 2007's pigeonhole bootstrap resamples seeds and images; with many of both the two agree."""
    generator = np.random.default_rng(1)
    seeds, images = 40, 400
    difficulty = generator.normal(1.5, 1.0, images)
    variants = []
    for skill in (0.2, 0.0):
        expected = difficulty + skill + generator.normal(0, 0.7, images) + generator.normal(0, 0.2, (seeds, 1))
        variants.append(from_wrong(expected + generator.normal(0, 0.5, (seeds, images)) < 0))
    differences = []
    for _ in range(4000):
        chosen = generator.integers(0, images, images)
        first, second = (one.correct[generator.integers(0, seeds, seeds)][:, chosen].mean() for one in variants)
        differences.append(first - second)
    variance = difference.variance_components(*accuracies(*variants)).variance((seeds, seeds))
    assert np.std(differences) == pytest.approx(np.sqrt(variance), rel=0.1)


@pytest.mark.slow
def test_the_interval_over_seeds_and_images_contains_the_truth_in_95_percent_of_studies():
    """Simulated studies with known means, each with new seeds and images."""
    generator = np.random.default_rng(0)
    covered, studies, images, seeds = 0, 400, 2000, 6
    for _ in range(studies):
        difficulty = generator.normal(0, 1.0, images)
        variants = []
        for skill in (2.6, 2.4):
            noise = generator.normal(0, 0.10, (seeds, 1)) + generator.normal(0, 0.8, (seeds, images))
            variants.append(from_wrong(skill + difficulty + noise < 0))
        deviation = np.sqrt(0.10**2 + 1 + 0.8**2)
        truth = stats.norm.cdf(2.6 / deviation) - stats.norm.cdf(2.4 / deviation)
        low, high = difference.interval_seeds_and_images(*accuracies(*variants))
        covered += low <= truth <= high
    assert 0.92 <= covered / studies <= 0.985


# Probability of superiority.


@given(COUNTS, COUNTS)
def test_superiority_is_mann_whitneys_u_and_lies_in_its_interval(first, second):
    probability, (low, high) = difference.superiority(*accuracies(with_correct(first), with_correct(second)))
    reference = stats.mannwhitneyu(first, second, method="asymptotic").statistic
    assert probability == pytest.approx(reference / len(first) / len(second))
    assert 0 <= low <= probability <= high <= 1


def newcombe_limits(theta: float, first: int, second: int) -> list[float]:
    """Newcombe 2006, method 5, as R's package auRoc 0.2-1 (auc.nonpara.mw) solves it: roots of a polynomial."""
    n, z2, product = (first + second) / 2 - 1, stats.norm.ppf(0.975) ** 2, first * second
    a, b, c = -1 - 2 * n, 1 + 2 * n, 2 + n
    coefficients = [
        -product + z2 * a,
        product * (1 + 2 * theta) - z2 * (a - b),
        product * (2 - 2 * theta - theta**2) - z2 * (b - c),
        product * (theta**2 - 4 * theta) - z2 * c,
        product * 2 * theta**2,
    ]
    roots = np.roots(coefficients)
    return sorted(root.real for root in roots if abs(root.imag) < 1e-7 and 1e-7 < root.real < 1 - 1e-7)


@pytest.mark.parametrize("first", [[980, 981, 985, 990, 991, 992], [981, 985, 985, 990, 991]])
@pytest.mark.parametrize("second", [[979, 982, 984, 988, 989, 993], [980, 985, 986]])
def test_the_interval_of_superiority_is_that_of_r(first, second):
    probability, interval = difference.superiority(*accuracies(with_correct(first), with_correct(second)))
    assert interval == pytest.approx(newcombe_limits(probability, len(first), len(second)), abs=1e-6)


def test_the_interval_of_superiority_has_a_width_if_every_seed_beats_every_other():
    probability, interval = difference.superiority(*accuracies(with_correct([990] * 6), with_correct([900] * 6)))
    assert (probability, interval[1]) == (1.0, 1.0)
    assert interval[0] == pytest.approx(newcombe_limits(1.0, 6, 6)[0], abs=1e-6)
    probability, interval = difference.superiority(*accuracies(with_correct([900] * 6), with_correct([990] * 6)))
    assert (probability, interval[0]) == (0.0, 0.0)
    assert interval[1] == pytest.approx(1 - newcombe_limits(1.0, 6, 6)[0], abs=1e-6)


def test_superiority_counts_the_lower_value_where_lower_is_better():
    first, second = Sample(np.array([1.0, 2.0, 3.0]), None), Sample(np.array([2.5, 4.0, 5.0]), None)
    lower, interval = difference.superiority(first, second, lower_is_better=True)
    assert lower == pytest.approx(8 / 9)
    assert interval == difference.superiority(second, first)[1]
    assert difference.superiority(first, second)[0] == pytest.approx(1 / 9)


def test_without_a_finished_seed_there_are_no_numbers():
    some, none, one = accuracies(with_seeds({0: 980, 1: 981, 2: 983}), with_seeds({}), with_seeds({0: 980}))
    for candidate, baseline in ((some, none), (none, some), (none, none)):
        assert difference.mean_difference(candidate, baseline) is None
        assert difference.variance_components(candidate, baseline) is None
        assert difference.interval_seeds(candidate, baseline) is None
        assert difference.interval_seeds_and_images(candidate, baseline) is None
        assert difference.superiority(candidate, baseline) == (None, None)
    assert difference.training_deviation(with_seeds({})) is None
    assert difference.superiority(one, some) == (pytest.approx(1 / 6), None)


def test_one_test_image_has_no_interval_but_a_difference():
    pair = accuracies(with_correct([1, 1, 0], images=1), with_correct([0, 1, 0], images=1))
    assert difference.mean_difference(*pair) == pytest.approx(1 / 3)
    assert difference.variance_components(*pair) is None
    assert difference.interval_seeds(*pair) is difference.interval_seeds_and_images(*pair) is None


# Measures that are no mean over images, and losses.


def test_a_measure_without_images_has_the_variance_of_its_seeds_alone():
    pair = Sample(np.array([3.0, 4.0, 5.0]), None), Sample(np.array([6.0, 6.0, 9.0]), None)
    assert difference.variance_components(*pair) == VarianceComponents((1.0, 3.0), 0.0, 0)
    assert difference.interval_seeds_and_images(*pair) == difference.interval_seeds(*pair)
    reference = stats.ttest_ind(pair[0].values, pair[1].values, equal_var=False)
    assert difference.interval_seeds(*pair) == pytest.approx(reference.confidence_interval(0.95))


def test_the_interval_of_losses_over_seeds_and_images_by_hand():
    """Two seeds, three images. Candidate: 1 2 6 and 1 4 10, means 3 and 5; baseline: 2 2 5 for both, mean 3.

    Variance of the means over seeds: 2/2 = 1. By image the differences are -1, 1, 3: variance 4. Residuals of the
    candidate: (1 0 -1) and (-1 0 1) around the mean of each image, so a mean square of 4/2 = 2, of which a half
    is the seeds' part: I = (4 - 1)/3 = 1. Variance 1 + 1 = 2, degrees of freedom 2²/(1²/1 + 1²/2) = 8/3.
    """
    losses = np.array([[1.0, 2.0, 6.0], [1.0, 4.0, 10.0]]), np.array([[2.0, 2.0, 5.0], [2.0, 2.0, 5.0]])
    pair = [Sample(values.mean(axis=1), values) for values in losses]
    components = difference.variance_components(*pair)
    assert components.seeds == pytest.approx((2.0, 0.0))
    assert components.images == pytest.approx(1.0)
    assert components.ratio == pytest.approx(0.5)
    half = stats.t.ppf(0.975, 8 / 3) * np.sqrt(2)
    assert difference.interval_seeds_and_images(*pair) == pytest.approx((1 - half, 1 + half))


def test_the_ratio_of_the_parts_without_variance_between_seeds_is_infinite_or_0():
    assert VarianceComponents((0.0, 0.0), 0.5, 10).ratio == np.inf
    assert VarianceComponents((0.0, 0.0), 0.0, 10).ratio == 0
    assert VarianceComponents((1.0, 3.0), 0.5, 10).ratio == 0.125
