"""The simulation of studies: its populations, its scenarios, and the error rates of the rule in a few studies.

All draws have fixed seeds. `most_errors` is the bound that a rule which errs in exactly 5 % of studies keeps with
probability 0.999.
"""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks import ours, simulation
from lenetlab.evaluation import predictions
from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import difference, intervals
from lenetlab.storage import files
from tests.pipeline.projects import read_yaml, write_yaml
from tests.statistics.examples import from_wrong

POPULATION = simulation.Population((0.9, 0.7), seed=0.02, difficulty=0.4, system=0.2)


def most_errors(studies: int) -> float:
    return stats.binom.ppf(0.999, studies, intervals.LEVEL) / studies


def simulate(studies, accuracies, effect, seeds, seed=0) -> simulation.Row:
    scenario = simulation.population_scenario("equal", effect, calibrated(accuracies, effect), seeds)
    return simulation.simulate(scenario, studies, (seed,))


def calibrated(accuracies, effect) -> simulation.Population:
    return simulation.calibrated(accuracies, simulation.EFFECTS[effect])


def make_variants(seeds, accuracies=(0.95,), images=500) -> list[Predictions]:
    """A variant for each accuracy; they share the difficulty of the images."""
    generator = np.random.default_rng(0)
    difficulty = generator.normal(0, 0.8, images)
    skills = stats.norm.ppf(accuracies)
    return [from_wrong(skill + difficulty + generator.normal(0, 0.6, (seeds, images)) < 0) for skill in skills]


# Populations.


def test_the_accuracy_of_a_population_is_the_mean_of_its_draws():
    generator = np.random.default_rng(0)
    means = np.array([[variant.accuracy.mean() for variant in POPULATION.draw(generator, 3)] for _ in range(200)])
    standard_error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert np.all(standard_error < 0.002)
    assert np.all(np.abs(means.mean(axis=0) - POPULATION.accuracies) < 4 * standard_error)


def test_the_variance_components_of_a_population_are_the_means_of_their_estimates():
    generator, exact = np.random.default_rng(0), POPULATION.components(0, 1)
    estimates = [difference.variance_components(*POPULATION.draw(generator, 4)) for _ in range(400)]
    for place in (0, 1):
        mean = np.mean([components.seeds[place] for components in estimates])
        assert mean == pytest.approx(exact.seeds[place], rel=0.15)
    assert np.mean([components.images for components in estimates]) == pytest.approx(exact.images, rel=0.02)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9])
def test_the_probability_of_two_wrong_answers_is_that_of_scipys_normal_distribution(shared):
    one, other = stats.norm.ppf([0.1, 0.3])
    reference = stats.multivariate_normal([0, 0], [[1, shared], [shared, 1]]).cdf([one, other])
    assert POPULATION.both_wrong(0, 1, shared) == pytest.approx(reference, abs=1e-6)


@pytest.mark.parametrize(("effect", "deviation"), simulation.EFFECTS.items())
def test_a_population_varies_as_lenet5_does(effect, deviation):
    population = calibrated((simulation.ACCURACY,) * 2, effect)
    components = population.components(0, 1)
    assert population.deviation(0) == pytest.approx(0.0005)
    assert np.sqrt(components.seeds[1]) == pytest.approx(0.00094, abs=0.00001)
    assert np.sqrt(components.images) == pytest.approx(deviation, abs=1e-8)


def test_the_same_seed_gives_the_same_row():
    accuracies = (0.99, 0.98)
    row, again, other = (simulate(5, accuracies, "large", 5, seed) for seed in (1, 1, 2))
    assert row == again
    draws = [POPULATION.draw(np.random.default_rng(seed), 3)[0].predicted for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert row["truths"] == other["truths"] == (pytest.approx(0.01),)


# Real variants.


def test_six_seeds_are_halved_in_ten_ways_without_any_verdict_of_difference():
    (variant,) = make_variants(6)
    scenario = simulation.split_scenario("example", variant)
    halves = [pair for (pair,) in scenario.studies(np.random.default_rng(0))]
    divisions = {frozenset(frozenset(half.seeds.tolist()) for half in pair) for pair in halves}
    assert len(divisions) == len(halves) == 10
    assert all(frozenset.union(*pair) == set(range(6)) for pair in divisions)
    row = simulation.simulate(scenario, 1000, (0,))
    assert (row["studies"], row["seeds"]) == (10, 3)
    assert row["told_apart"]["share"] == row["permutation"]["share"] == 0


def test_at_most_a_twentieth_of_all_divisions_of_ten_seeds_differ():
    """This holds for any data, as the permutation test ranks these divisions."""
    (variant,) = make_variants(10)
    row = simulation.simulate(simulation.split_scenario("example", variant), 1000, (0,))
    assert row["studies"] == 126
    assert row["told_apart"]["share"] <= row["permutation"]["share"] <= 0.05
    assert row["permutation"]["share"] > 0


def test_many_seeds_are_halved_at_random():
    (variant,) = make_variants(21)
    drawn = simulation.split_scenario("example", variant).studies(np.random.default_rng(0))
    for _, ((first, second),) in zip(range(3), drawn, strict=False):
        assert len(first.seeds) == len(second.seeds) == 10
        assert len({*first.seeds, *second.seeds}) == 20


def test_weights_of_the_images_make_two_variants_equal():
    good, bad = make_variants(6, (0.95, 0.90), images=2000)
    assert difference.mean_difference(good, bad) > 0.03
    drawn = simulation.resampled_scenario("example", good, bad, seeds=6).studies(np.random.default_rng(0))
    differences = [difference.mean_difference(*pair) for _, (pair,) in zip(range(300), drawn, strict=False)]
    assert abs(np.mean(differences)) < 4 * np.std(differences) / np.sqrt(len(differences)) < 0.002


def test_resampling_keeps_the_answers_of_a_seed_to_an_image():
    numbers = np.arange(500)  # as labels, so that drawn images can be recognised
    predicted = np.where(make_variants(6)[0].correct, numbers, -1)
    variant = Predictions(np.arange(6), numbers, predicted, np.ones(predicted.shape))
    (pair,) = next(simulation.resampled_scenario("example", variant, variant, 7).studies(np.random.default_rng(0)))
    assert np.array_equal(pair[0].labels, pair[1].labels)
    for drawn in pair:
        assert len(drawn.seeds) == 7
        assert np.array_equal(drawn.predicted, predicted[np.ix_(drawn.seeds, drawn.labels)])


# Tables.


def test_shares_have_wilsons_interval():
    found = simulation.share([True] * 5 + [False] * 95)
    assert found["share"] == 0.05
    assert (found["low"], found["high"]) == pytest.approx(proportion_confint(5, 100, method="wilson"))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two scenarios instead of all, recorded in an empty folder; evaluations of lenet5 and mlp."""
    all_scenarios = simulation.scenarios

    def two_scenarios(real):
        by_group = {scenario.group: scenario for scenario in all_scenarios(real)}
        return [by_group[group] for group in ("different", "split")]

    content = read_yaml(ours.PARAMETERS)
    write_yaml(content | {"study": ["lenet5", "mlp"], "comparisons": {}}, tmp_path / "params.yaml")
    monkeypatch.setattr(ours, "PARAMETERS", tmp_path / "params.yaml")
    monkeypatch.setattr(simulation, "scenarios", two_scenarios)
    monkeypatch.setattr(simulation, "CALIBRATION_SEEDS", 3)
    monkeypatch.setattr(simulation, "RECORD", tmp_path / "simulation.json")
    monkeypatch.setattr(simulation, "DOCUMENT", tmp_path / "statistics.md")
    before = "Before.\n<!-- simulation: begin -->\nold\n<!-- simulation: end -->\nAfter.\n"
    (tmp_path / "statistics.md").write_text(before)
    for name, seeds in (("lenet5", 6), ("mlp", 5)):
        (variant,) = make_variants(seeds)
        predictions.write(variant, tmp_path / "evaluations" / name / "predictions.npz")
    return tmp_path


def test_results_are_recorded_and_written_into_the_document(small):
    arguments = ["--studies", "3", "--evaluations", str(small / "evaluations")]
    done = CliRunner().invoke(simulation.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = files.read_json(small / "simulation.json")
    tables = simulation.tables(record)
    marks = "<!-- simulation: begin -->", "<!-- simulation: end -->"
    assert (small / "statistics.md").read_text() == f"Before.\n{marks[0]}\n\n{tables}\n\n{marks[1]}\nAfter.\n"
    assert tables in done.output
    assert [(row["group"], row["studies"]) for row in record["rows"]] == [("different", 3), ("split", 3)]
    assert "| large | 10 | 0.50 | 100.0 (43.9 to 100.0) | 100.0 | 0.0 (0.0 to 56.1) |" in tables
    assert "| lenet5 | 3 | 3 | 0.0 (0.0 to 56.1) |" in tables
    assert "mlp" not in tables  # five seeds are too few


# Error rates of the rule.


@pytest.fixture(scope="module")
def equal():
    """Studies of two systems that are equal in the population and differ much on any sample of test images."""
    return simulate(200, (simulation.ACCURACY,) * 2, "large", 6)


def test_equal_systems_are_rarely_found_different(equal):
    assert equal["told_apart"]["share"] <= most_errors(200)  # 0.1


def test_the_tests_over_seeds_alone_find_equal_systems_different_far_more_often(equal):
    assert equal["welch"]["low"] > most_errors(200)
    assert equal["permutation"]["low"] > most_errors(200)


def test_the_interval_over_seeds_and_images_contains_the_truth_and_that_over_seeds_does_not(equal):
    assert 0.915 <= equal["interval"]["share"] <= 0.985
    assert equal["interval_seeds"]["high"] < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["moderate", "large"])
def test_a_difference_is_found_as_often_as_predicted(effect):
    row = simulate(150, (simulation.ACCURACY + 0.003, simulation.ACCURACY), effect, 6)
    assert row["power"] > 0.8
    tolerance = 4 * np.sqrt(row["power"] * (1 - row["power"]) / 150) + 0.02  # the prediction is that of a t test alone
    assert row["better"]["share"] == pytest.approx(row["power"], abs=tolerance)
    assert row["worse"]["share"] == 0
    assert row["interval"]["low"] < 0.95 < row["interval"]["high"]


@pytest.mark.slow
def test_equivalence_is_found_as_often_as_predicted():
    row = simulate(150, (simulation.ACCURACY,) * 2, "moderate", 6)
    assert row["power_of_equivalence"] > 0.8
    assert row["within_margin"]["share"] == pytest.approx(row["power_of_equivalence"], abs=0.12)
    assert row["equivalent"]["share"] == pytest.approx(row["within_margin"]["share"], abs=0.05)  # the others are better


@pytest.mark.slow
def test_systems_that_differ_by_the_margin_are_rarely_found_equivalent():
    row = simulate(200, (simulation.ACCURACY + simulation.MARGIN, simulation.ACCURACY), "large", 6)
    assert row["equivalent"]["share"] <= most_errors(200)  # 0.1


@pytest.mark.slow
def test_a_family_errs_no_more_often_than_one_comparison():
    """Six candidates equal to the baseline on any images: seeds cause all variance, and Holm's correction is enough."""
    row = simulate(100, (simulation.ACCURACY,) * 7, "none", 5)
    assert row["told_apart"]["share"] <= most_errors(100)  # 0.12


@pytest.mark.slow
def test_a_resampled_variant_is_rarely_found_different_from_itself():
    (variant,) = make_variants(6, images=10_000)
    row = simulation.simulate(simulation.resampled_scenario("example", variant, variant, 6), 150, (0,))
    assert row["told_apart"]["share"] <= most_errors(150)  # 0.113
