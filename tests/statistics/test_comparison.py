"""The statistics, held to worked examples and other implementations."""

import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from lenetlab.errors import UserError
from lenetlab.evaluation import predictions
from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import params, schema
from lenetlab.statistics import comparison, difference, power, significance
from lenetlab.statistics.verdict import judge

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")


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
    found = significance.permutation(with_correct(first), with_correct(second))
    assert found == pytest.approx(enumerated(first, second), abs=1e-12)


def test_six_against_six_can_reach_2_in_924_and_five_against_five_2_in_252():
    six = significance.permutation(with_correct([980, 981, 982, 983, 984, 985]), with_correct([900] * 6))
    five = significance.permutation(with_correct([980, 981, 982, 983, 984]), with_correct([900] * 5))
    assert (six, five) == (pytest.approx(2 / 924), pytest.approx(2 / 252))


def test_ties_that_rounded_accuracies_lose_are_kept():
    """Shares of 10,000 images as floats gave 0.779 where counting gives 0.818."""
    first, second = [9_873, 9_891, 9_888, 9_880, 9_885], [9_879, 9_884, 9_890, 9_876, 9_883]
    found = significance.permutation(with_correct(first, 10_000), with_correct(second, 10_000))
    assert found == pytest.approx(enumerated(first, second))


@given(COUNTS, COUNTS)
@settings(max_examples=40, deadline=None)
def test_welchs_test_is_scipys(first, second):
    interval, p = significance.welch(with_correct(first), with_correct(second))
    if len(set(first)) == 1 or len(set(second)) == 1:
        return  # scipy warns there
    reference = stats.ttest_ind(np.array(first) / 1000, np.array(second) / 1000, equal_var=False)
    assert p == pytest.approx(reference.pvalue, abs=1e-9)
    assert interval == pytest.approx(reference.confidence_interval(0.95), abs=1e-9)


def test_welch_on_a_worked_example():
    """By hand: 10, 12, 14 against 20, 26: difference -11, squared errors 4/3 and 9, so 1.304 degrees of freedom."""
    interval, p = significance.welch(with_correct([10, 12, 14], 100), with_correct([20, 26], 100))
    spread, freedom = 4 / 3 + 9, (4 / 3 + 9) ** 2 / ((4 / 3) ** 2 / 2 + 9**2 / 1)
    assert freedom == pytest.approx(1.3040, abs=1e-4)
    assert p == pytest.approx(2 * stats.t.sf(11 / np.sqrt(spread), freedom))
    assert sum(interval) / 2 == pytest.approx(-0.11)


def test_holm_1979_on_a_worked_example():
    # Corrections by hand: 0.01 × 4, then 0.015 × 3, then 0.03 × 2 = 0.06, and 0.05 may not fall below it.
    assert significance.holm([0.01, 0.05, 0.03, 0.015]) == pytest.approx([0.04, 0.06, 0.06, 0.045])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=20)  # statsmodels takes its time
def test_holm_agrees_with_statsmodels(p_values):
    assert significance.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_one_seed_is_inconclusive_and_has_no_interval():
    study = STUDY.model_copy(update={"comparisons": {"only": STUDY.comparisons["headline"][:1]}, "seeds": (0,)})
    (outcome,) = comparison.compare(study, {"lenet5": with_correct([990]), "mlp": with_correct([970])}, {})
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
        assert {outcome.verdict for outcome in comparison.compare(study, found, {})} == {verdict}
    study = STUDY.model_copy(update={"comparisons": {"a": (pair,), "b": (pair,) * 7}})
    assert comparison.compare(study, found, {})[0].verdict == "better"  # another family does not count


def drawn(generator: np.random.Generator, accuracies: list[float], seeds: int = 6, images: int = 2000) -> list:
    """Sides whose seeds and images are independent, of known accuracies."""
    sides = []
    for accuracy in accuracies:
        predicted = (generator.random((seeds, images)) >= accuracy).astype(np.uint8)
        sides.append(Predictions(np.arange(seeds), np.zeros(images, np.uint8), predicted, predicted * 1.0))
    return sides


def shared(good: int, bad: int, spread: int = 1, images: int = 10_000, seeds: int = 6) -> tuple:
    """Sides with so many correct images, of which the second's are the first of the first's; seeds `spread` apart."""
    return tuple(with_correct([count + spread * seed for seed in range(seeds)], images) for count in (good, bad))


def verdict_of(candidate: Predictions, baseline: Predictions, margin: float = 0.002, p: float = 0.001) -> tuple:
    return judge(candidate, baseline, p, p, comparisons=1, margin=margin)


def test_both_p_values_count_and_so_does_the_interval_over_seeds_and_images():
    candidate, baseline = shared(9_900, 9_800)
    assert verdict_of(candidate, baseline)[0] == "better"
    assert verdict_of(baseline, candidate)[0] == "worse"
    assert judge(candidate, baseline, 0.06, 0.001, 1, 0.002)[0] == "inconclusive"
    assert judge(candidate, baseline, 0.001, 0.06, 1, 0.002)[0] == "inconclusive"
    assert judge(candidate, baseline, 0.05, 0.001, 1, 0.002)[0] == "inconclusive"


def test_what_the_images_at_hand_may_have_made_is_not_better():
    """Seeds agree to the image: 59 images only one side reads, 41 only the other. The seeds' tests are sure of it; an
    exact sign test over images is not (p = 0.09)."""
    labels = np.zeros(1000, np.uint8)
    wrong = np.zeros((6, 1000), np.uint8)
    candidate, baseline = wrong.copy(), wrong.copy()
    candidate[:, :41] = 1
    baseline[:, 41:100] = 1
    for seed in range(6):
        candidate[seed, 200 + seed], baseline[seed, 200 + seed] = 1, 1
    sides = [Predictions(np.arange(6), labels, predicted, predicted * 1.0) for predicted in (candidate, baseline)]
    assert significance.permutation(*sides) == pytest.approx(2 / 924)
    low, high = difference.interval_seeds_and_images(*sides)
    assert low < 0 < high
    verdict, reason = verdict_of(*sides)
    assert verdict == "inconclusive"
    assert "the interval over seeds and images holds 0" in reason
    assert stats.binomtest(41, 100).pvalue == pytest.approx(0.0886, abs=1e-4)


def test_better_by_less_than_the_margin_says_so():
    candidate, baseline = shared(9_900, 9_890)
    verdict, reason = verdict_of(candidate, baseline, margin=0.002)
    assert verdict == "better"
    assert "by 0.10 percentage points, which is less than the margin of 0.20" in reason
    assert "margin" not in verdict_of(candidate, baseline, margin=0.001)[1]


def test_equivalent_is_an_interval_within_the_margin():
    candidate, baseline = shared(9_900, 9_899, spread=3)
    narrow = difference.interval_seeds_and_images(candidate, baseline, 0.90)
    edge = max(map(abs, narrow))
    verdict, reason = verdict_of(candidate, baseline, margin=edge * 1.01, p=0.5)
    assert verdict == "equivalent"
    assert f"{100 * narrow[0]:+.2f} to {100 * narrow[1]:+.2f}" in reason
    assert verdict_of(candidate, baseline, margin=edge * 0.99, p=0.5)[0] == "inconclusive"


def test_the_90_percent_interval_is_narrower_by_the_quotient_of_students_limits():
    candidate, baseline = drawn(np.random.default_rng(0), [0.9, 0.88])
    spread = difference.variance_components(candidate, baseline)
    freedom = spread.freedom((6, 6), 2000)
    widths = [np.diff(difference.interval_seeds_and_images(candidate, baseline, level))[0] for level in (0.95, 0.90)]
    assert widths[1] / widths[0] == pytest.approx(stats.t.ppf(0.95, freedom) / stats.t.ppf(0.975, freedom))


def test_the_parts_of_the_doubt_are_those_of_an_analysis_of_variance():
    """Crossed random effects with one observation per cell: mean squares of statsmodels for one side, whose seeds and
    images are 6 and 12; the components follow from their expectations (Searle et al. 1992, section 4.3)."""
    generator = np.random.default_rng(3)
    predicted = (generator.random((6, 12)) < 0.3 + 0.4 * generator.random(12)).astype(np.uint8)
    side = Predictions(np.arange(6), np.zeros(12, np.uint8), predicted, predicted * 1.0)
    never = Predictions(np.arange(6), np.zeros(12, np.uint8), np.ones_like(predicted), predicted * 1.0)
    seed, image = np.indices(predicted.shape)
    table = {"correct": side.correct.ravel().astype(float), "seed": seed.ravel(), "image": image.ravel()}
    squares = anova_lm(ols("correct ~ C(seed) + C(image)", pd.DataFrame(table)).fit())["mean_sq"]
    seeds, images, both = squares["C(seed)"], squares["C(image)"], squares["Residual"]
    spread = difference.variance_components(side, never)
    assert spread.seeds == pytest.approx((seeds / 12, 0.0))  # the seeds' own part, and a 12th of what is both's
    assert spread.images == pytest.approx(max(0.0, (images - both) / 6) / 12)
    freed = difference.training_deviation(side)
    assert freed == pytest.approx(np.sqrt(max(0.0, (seeds - both) / 12)))


def test_the_share_of_the_seeds_is_1_without_images_and_0_without_seeds():
    candidate, baseline = with_correct([60, 60], 100), with_correct([50, 50], 100)
    assert difference.seed_share(difference.variance_components(candidate, baseline), (2, 2)) == 0
    assert difference.seed_share(difference.VarianceComponents((1.0, 2.0), 0.0), (3, 4)) == 1
    assert difference.seed_share(difference.VarianceComponents((1.0, 2.0), 5 / 6), (3, 4)) == pytest.approx(0.5)


@pytest.mark.slow
def test_the_closed_form_is_a_two_way_bootstrap():
    """Owen 2007's pigeonhole bootstrap resamples seeds and images; with many of both the two agree."""
    generator = np.random.default_rng(1)
    seeds, images = 40, 400
    easy = generator.normal(1.5, 1.0, images)
    sides = []
    for skill in (0.2, 0.0):
        own = easy + skill + generator.normal(0, 0.7, images) + generator.normal(0, 0.2, (seeds, 1))
        predicted = (own + generator.normal(0, 0.5, (seeds, images)) < 0).astype(np.uint8)
        sides.append(Predictions(np.arange(seeds), np.zeros(images, np.uint8), predicted, predicted * 1.0))
    found = []
    for _ in range(4000):
        chosen = generator.integers(0, images, images)
        means = [side.correct[generator.integers(0, seeds, seeds)][:, chosen].mean() for side in sides]
        found.append(means[0] - means[1])
    variance = difference.variance_components(*sides).variance((seeds, seeds))
    assert np.std(found) == pytest.approx(np.sqrt(variance), rel=0.1)


@given(COUNTS, COUNTS)
def test_superiority_is_mann_whitneys_u_and_its_interval_holds_it(first, second):
    found, (low, high) = significance.superiority(with_correct(first), with_correct(second))
    reference = stats.mannwhitneyu(first, second, method="asymptotic").statistic
    assert found == pytest.approx(reference / len(first) / len(second))
    assert 0 <= low <= found <= high <= 1


def quartic(theta: float, first: int, second: int) -> list[float]:
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
    found, interval = significance.superiority(with_correct(first), with_correct(second))
    assert interval == pytest.approx(quartic(found, len(first), len(second)), abs=1e-6)


def test_superiority_of_every_seed_over_every_other_is_not_certainty():
    found, interval = significance.superiority(with_correct([990] * 6), with_correct([900] * 6))
    assert (found, interval[1]) == (1.0, 1.0)
    assert interval[0] == pytest.approx(quartic(1.0, 6, 6)[0], abs=1e-6)
    found, interval = significance.superiority(with_correct([900] * 6), with_correct([990] * 6))
    assert (found, interval[0]) == (0.0, 0.0)
    assert interval[1] == pytest.approx(1 - quartic(1.0, 6, 6)[0], abs=1e-6)


def test_mcnemar_is_statsmodels_for_each_pair_of_seeds():
    candidate, baseline = drawn(np.random.default_rng(0), [0.95, 0.93], seeds=3, images=300)
    pairs = significance.mcnemar(candidate, baseline)
    assert [(pair.seed, pair.baseline_seed) for pair in pairs] == [(0, 0), (1, 1), (2, 2)]
    for place, pair in enumerate(pairs):
        table = np.zeros((2, 2), int)
        np.add.at(table, (1 - candidate.correct[place], 1 - baseline.correct[place]), 1)
        assert (pair.only_candidate, pair.only_baseline) == (table[0, 1], table[1, 0])
        assert pair.p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_the_deviation_between_trainings_is_freed_of_what_few_test_images_add():
    """Jordan 2024: trainings of the same quality differ on 400 images by chance alone; freed of it they do not."""
    (alike,) = drawn(np.random.default_rng(0), [0.9], seeds=500, images=400)
    assert np.std(alike.accuracy, ddof=1) == pytest.approx(np.sqrt(0.9 * 0.1 / 400), rel=0.1)
    assert difference.training_deviation(alike) < 0.004
    generator = np.random.default_rng(1)
    quality = generator.normal(0.9, 0.02, (3000, 1))
    predicted = (generator.random((3000, 400)) >= quality).astype(np.uint8)
    differing = Predictions(np.arange(3000), np.zeros(400, np.uint8), predicted, predicted * 1.0)
    assert difference.training_deviation(differing) == pytest.approx(0.02, rel=0.1)
    assert difference.training_deviation(with_correct([900])) is None


def test_how_many_comparisons_so_many_seeds_allow():
    """Six against six can reach 2/924, five 2/252, four 2/70, three 2/20: times 23, 6, 1 that is still below 0.05."""
    assert [power.most_comparisons(seeds) for seeds in range(1, 7)] == [0, 0, 0, 1, 6, 23]
    assert [power.least_seeds(count) for count in (1, 2, 6, 7, 23, 24)] == [4, 5, 5, 6, 6, 7]


@pytest.mark.parametrize("seeds", [5, 6, 12])
@pytest.mark.parametrize("truth", [0.5, 1.0, 2.0])
def test_power_without_doubt_from_images_is_statsmodels(seeds, truth):
    spread = difference.VarianceComponents((1.0, 1.0), 0.0)
    reference = TTestIndPower().power(truth, seeds, 0.05, alternative="two-sided")
    wrong_side = stats.nct.cdf(-stats.t.ppf(0.975, 2 * seeds - 2), 2 * seeds - 2, truth * np.sqrt(seeds / 2))
    assert power.power_of_difference(truth, spread, seeds, 10_000, 1) == pytest.approx(reference - wrong_side, abs=1e-9)
    stricter = TTestIndPower().power(truth, seeds, 0.05 / 6, alternative="larger") if seeds > 4 else 0
    assert power.power_of_difference(truth, spread, seeds, 10_000, 6) < stricter + 1e-9


def test_power_ends_where_the_permutation_test_cannot_reach_the_level_or_the_images_doubt():
    spread = difference.VarianceComponents((1e-6, 1e-6), 0.0)
    assert power.power_of_difference(0.1, spread, 5, 10_000, 6) > 0.99
    assert power.power_of_difference(0.1, spread, 5, 10_000, 7) == 0
    doubtful = difference.VarianceComponents((1e-12, 1e-12), 0.001**2)
    expected = stats.nct.sf(stats.t.ppf(0.975, 9_999), 9_999, 2.0)
    assert power.power_of_difference(0.002, doubtful, 500, 10_000, 1) == pytest.approx(expected, rel=1e-3)


def test_what_can_be_detected_has_80_percent_power():
    for seeds, count in ((4, 1), (6, 2), (10, 20)):
        least = power.detectable(power.TYPICAL, seeds, 10_000, count)
        assert power.power_of_difference(least, power.TYPICAL, seeds, 10_000, count) == pytest.approx(0.8, abs=1e-4)
    assert power.detectable(power.TYPICAL, 3, 10_000, 1) is None


def test_the_seeds_needed_are_the_fewest_with_that_power():
    spread, margin = difference.VarianceComponents((0.001**2, 0.001**2), 0.0003**2), 0.002
    needed = power.seeds_needed(spread, 10_000, 1, margin)

    def least(seeds: int) -> float:
        return min(
            power.power_of_difference(margin, spread, seeds, 10_000, 1),
            power.power_of_equivalence(0.0, margin, spread, seeds, 10_000),
        )

    assert least(needed) >= 0.8 > least(needed - 1)
    assert power.seeds_needed(difference.VarianceComponents((1e-9, 1e-9), 0.001**2), 10_000, 1, margin) is None
    assert power.seeds_needed(difference.VarianceComponents((0.0, 0.0), 0.0), 10_000, 24, margin) == 7


@pytest.mark.slow
def test_the_power_of_equivalence_is_that_of_simulated_studies():
    """Differences with known spread, judged as `judge` does: the 90 % interval within the margin."""
    generator = np.random.default_rng(0)
    spread, seeds, margin = difference.VarianceComponents((0.001**2, 0.001**2), 0.0), 8, 0.0012
    for truth in (0.0, 0.0006):
        values = generator.normal(0, 0.001, (20_000, 2, seeds))
        found = truth + values[:, 0].mean(1) - values[:, 1].mean(1)
        variance = values.var(axis=2, ddof=1).sum(1) / seeds
        half = stats.t.ppf(0.95, 2 * seeds - 2) * np.sqrt(variance)
        share = ((found - half > -margin) & (found + half < margin)).mean()
        predicted = power.power_of_equivalence(truth, margin, spread, seeds, 10_000)
        assert share == pytest.approx(predicted, abs=0.04)


def test_reasons_name_what_would_settle_it():
    few = shared(9_900, 9_893, spread=8)
    verdict, reason = verdict_of(*few, p=0.3)
    needed = power.seeds_needed(difference.variance_components(*few), 10_000, 1, 0.002)
    assert verdict == "inconclusive"
    assert needed > 6
    assert f"too few seeds: about {needed} each would settle a difference of the margin, 0.20," in reason
    small = shared(9_900, 9_889, spread=5)
    between = power.seeds_needed(difference.variance_components(*small), 10_000, 1, 0.002, truths=[0.001])
    assert power.seeds_needed(difference.variance_components(*small), 10_000, 1, 0.002) <= 6 < between
    told = f"so small a difference: about {between} each would settle one of 0.10, half the margin, with 80 % power"
    assert told in verdict_of(*small, p=0.3)[1]
    labels = np.zeros(100, np.uint8)
    blurred = np.zeros((2, 6, 100), np.uint8)
    blurred[0, :, :10], blurred[1, :, 10:19] = 1, 1
    sides = [Predictions(np.arange(6), labels, part, part * 1.0) for part in blurred]
    assert "too few test images: no number of seeds would settle" in verdict_of(*sides, p=0.3)[1]
    crowd = judge(*shared(9_900, 9_899), 0.3, 0.3, comparisons=24, margin=0.0001)[1]
    assert "too few seeds: 6 cannot reach p below 0.05 among 24 comparisons" in crowd


def test_confounds_are_what_else_differs():
    def of(candidate: str, baseline: str) -> list[str]:
        return comparison.confounds(STUDY, schema.DeclaredComparison(candidate=candidate, baseline=baseline))

    assert of("lenet5", "mlp") == []  # 1.0 % more parameters
    assert of("lenet5-regularized", "lenet5") == []  # batch normalisation and dropout are what is compared
    assert of("lenet5-28-regularized-affine", "lenet5-28") == []
    assert of("lenet5-28", "mlp-28-60-40") == ["parameters 44,426 against 49,950, a factor of 1.12"]
    assert of("lenet5-bilinear", "lenet5") == [
        "input.resize bilinear against pad",
        "input.normalize false against true",
    ]
    assert "input.size 28 against 32" in of("lenet5-28", "lenet5")
    slower = STUDY.variants["mlp"].model_copy(update={"training": schema.TrainingOverride(epochs=3, learning_rate=0.1)})
    study = STUDY.model_copy(update={"variants": {**STUDY.variants, "slower": slower}})
    pair = schema.DeclaredComparison(candidate="slower", baseline="mlp")
    assert comparison.confounds(study, pair) == [
        "training.epochs 3 against 10",
        "training.learning_rate 0.1 against 0.01",
    ]


def test_sides_on_different_images_are_refused():
    other = Predictions(np.arange(2), np.ones(1000, np.uint8), np.ones((2, 1000), np.uint8), np.ones((2, 1000)))
    with pytest.raises(UserError, match="different test images"):
        difference.mean_difference(with_correct([990, 990]), other)


def test_exchanging_the_sides_turns_the_verdict_round():
    study = STUDY.model_copy(update={"comparisons": {"only": STUDY.comparisons["headline"][:1]}})
    first, second = with_correct([980, 982, 984, 985, 981, 983]), with_correct([960, 965, 961, 964, 962, 963])
    (there,) = comparison.compare(study, {"lenet5": first, "mlp": second}, {})
    (back,) = comparison.compare(study, {"lenet5": second, "mlp": first}, {})
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert there.difference == pytest.approx(-back.difference)
    assert there.interval == pytest.approx([-limit for limit in reversed(back.interval)])
    assert there.p_permutation_holm == back.p_permutation_holm


def test_equal_variants_without_any_spread():
    same = with_correct([990, 990])
    assert significance.welch(same, same) == ((0.0, 0.0), 1.0)
    assert significance.welch(same, with_correct([980, 980])) == (pytest.approx((0.01, 0.01)), 0.0)


def test_the_interval_over_seeds_and_images_by_hand():
    """Two seeds, four images. Correct: candidate 1101 and 1100, baseline 1000 and 0100, so means 5/8 and 1/4.

    Variance of the means over seeds: (1/4)²/2/2 = 1/64 and 0. By image the differences are 1/2, 1/2, 0, 1/2: variance
    1/16; the seeds' share is (0 + 0 + 0 + 1/2)/4/2 + (1/2 + 1/2 + 0 + 0)/4/2 = 3/16, which is more: images add nothing.
    """
    labels, ones = np.zeros(4, dtype=np.uint8), np.ones((2, 4), dtype=np.float32)
    candidate = Predictions(np.arange(2), labels, np.array([[0, 0, 1, 0], [0, 0, 1, 1]], dtype=np.uint8), ones)
    baseline = Predictions(np.arange(2), labels, np.array([[0, 1, 1, 1], [1, 0, 1, 1]], dtype=np.uint8), ones)
    low, high = difference.interval_seeds_and_images(candidate, baseline)
    half = stats.t.ppf(0.975, 1) * np.sqrt(1 / 64)
    assert (low, high) == pytest.approx((3 / 8 - half, 3 / 8 + half))


def test_images_add_their_share_of_doubt_where_the_seeds_agree():
    """Without spread between seeds all doubt is the images': the interval of 100 paired differences, 10 of them 1."""
    candidate, baseline = with_correct([60, 60], 100), with_correct([50, 50], 100)
    half = stats.t.ppf(0.975, 99) * np.sqrt(0.1 * 0.9 * 100 / 99 / 100)
    assert difference.interval_seeds_and_images(candidate, baseline) == pytest.approx((0.1 - half, 0.1 + half))


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
        low, high = difference.interval_seeds_and_images(*sides)
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


# Seeds that diverged.


def of_seeds(counts: dict[int, int], images: int = 1000) -> Predictions:
    """By seed, so many of the images are read correctly; none at all if no seed finished."""
    labels = np.zeros(images, dtype=np.uint8)
    predicted = (np.arange(images) >= np.array(list(counts.values()), dtype=int)[:, None]).astype(np.uint8)
    return Predictions(np.array(list(counts), dtype=np.int64), labels, predicted, predicted * np.float32(1))


def headline(pairs: int = 1) -> schema.Study:
    return STUDY.model_copy(update={"comparisons": {"only": STUDY.comparisons["headline"][:pairs]}})


def test_a_variant_of_which_a_seed_diverged_is_neither_better_nor_worse():
    """Where the others would have decided: without the two that diverged it is better."""
    good = of_seeds({seed: 980 + seed for seed in (0, 2, 3, 5, 6, 7)})
    bad = of_seeds({seed: 900 + seed for seed in range(6)})
    (outcome,) = comparison.compare(headline(), {"lenet5": good, "mlp": bad}, {"lenet5": [], "mlp": []})
    assert outcome.verdict == "better"
    (there,) = comparison.compare(headline(), {"lenet5": good, "mlp": bad}, {"lenet5": [1, 4]})
    assert there.verdict == "inconclusive"
    assert there.reason == (
        "2 of 8 seeds of lenet5 diverged (seeds 1 and 4): the other seeds alone do not represent it"
    )
    for key in ("difference", "interval", "p_welch", "p_permutation_holm", "superiority", "share_seeds"):
        assert getattr(there, key) == getattr(outcome, key), key
    (back,) = comparison.compare(headline(), {"lenet5": bad, "mlp": good}, {"mlp": [1, 4]})
    assert (back.verdict, back.reason) == ("inconclusive", there.reason.replace("lenet5", "mlp"))


def test_no_number_of_seeds_settles_what_diverges():
    sides = dict(zip(("lenet5", "mlp"), shared(9_900, 9_893, spread=8), strict=True))
    needed = [comparison.compare(headline(), sides, lost)[0].seeds_needed for lost in ({}, {"mlp": [6]})]
    assert needed[0] > 6
    assert needed[1] is None


def test_where_both_sides_diverged_both_are_told():
    sides = {"lenet5": of_seeds({0: 980}), "mlp": of_seeds({})}
    (outcome,) = comparison.compare(headline(), sides, {"lenet5": [3], "mlp": [0, 3]})
    assert outcome.reason == (
        "1 of 2 seeds of lenet5 diverged (seed 3): the other seeds alone do not represent it;"
        " all 2 seeds of mlp diverged: it has no result"
    )


def test_without_a_seed_on_a_side_there_are_no_figures_and_p_is_1():
    whole, none = of_seeds({0: 980, 1: 981, 2: 983}), of_seeds({})
    for candidate, baseline in ((whole, none), (none, whole), (none, none)):
        assert difference.mean_difference(candidate, baseline) is None
        assert significance.welch(candidate, baseline) == (None, 1.0)
        assert significance.permutation(candidate, baseline) == 1.0
        assert significance.superiority(candidate, baseline) == (None, None)
        assert difference.variance_components(candidate, baseline) is None
        assert difference.interval_seeds_and_images(candidate, baseline) is None
        assert significance.mcnemar(candidate, baseline) == []
    assert difference.training_deviation(none) is None
    other = Predictions(none.seeds, none.labels + 1, none.predicted, none.probability)
    with pytest.raises(UserError, match="different test images"):
        difference.mean_difference(whole, other)


def test_networks_are_paired_by_their_seed_where_it_finished_on_both_sides():
    candidate, baseline = of_seeds({0: 980, 2: 985, 5: 990}), of_seeds({5: 970, 1: 960, 0: 900})
    pairs = significance.mcnemar(candidate, baseline)
    assert [(pair.seed, pair.baseline_seed, pair.only_candidate) for pair in pairs] == [(0, 0, 80), (5, 5, 20)]


FINISHED = st.dictionaries(st.integers(0, 5), st.integers(900, 1000), max_size=6)


@given(FINISHED, FINISHED, FINISHED)
@settings(max_examples=40, deadline=None)
def test_any_seeds_may_diverge(first, second, third):
    """All of it is JSON; nothing is decided of who lost a seed; and it makes no one else's correction milder."""
    sides = {"lenet5": of_seeds(first), "mlp": of_seeds(second), "lenet5-regularized": of_seeds(third)}
    lost = {name: sorted(set(range(6)) - set(side.seeds.tolist())) for name, side in sides.items()}
    study = headline(pairs=2)
    outcomes = comparison.compare(study, sides, lost)
    json.dumps([asdict(outcome) for outcome in outcomes], allow_nan=False)
    for outcome in outcomes:
        named = [name for name in (outcome.candidate, outcome.baseline) if lost[name]]
        assert all(f"seeds of {name} diverged" in outcome.reason for name in named)
        assert not named or outcome.verdict == "inconclusive"
        assert (outcome.difference is None) == (
            not all(len(sides[n].seeds) for n in (outcome.candidate, outcome.baseline))
        )
        alone = study.model_copy(
            update={
                "comparisons": {
                    "a": (schema.DeclaredComparison(candidate=outcome.candidate, baseline=outcome.baseline),)
                }
            }
        )
        (single,) = comparison.compare(alone, sides, lost)
        assert outcome.p_welch_holm >= single.p_welch_holm
        assert outcome.p_permutation_holm >= single.p_permutation_holm


def test_predictions_come_back_as_they_were_written(tmp_path):
    written = with_correct([900, 950])
    predictions.write(written, tmp_path / "predictions.npz")
    read = predictions.read(tmp_path / "predictions.npz")
    for name, value in vars(written).items():
        assert np.array_equal(getattr(read, name), value), name
    assert read.accuracy.tolist() == [0.9, 0.95]
