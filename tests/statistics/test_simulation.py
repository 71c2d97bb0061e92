"""The simulation of studies: its populations are what they say; and in few studies what `make bench-simulation` tells.

The seeds are fixed, so what passes once passes always. A bound on errors is what a rule that errs in exactly 5 % of
studies keeps with probability 0.999.
"""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks import simulation
from lenetlab.evaluation import predictions
from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import difference, intervals
from lenetlab.storage import files

PLAIN = simulation.Population((0.9, 0.7), seed=0.02, difficulty=0.4, system=0.2)


def most_errors(studies):
    """Of a rule that errs in 5 % of studies, in all but one of 1000 attempts."""
    return stats.binom.ppf(0.999, studies, intervals.LEVEL) / studies


def simulated(studies, accuracies, effect, seeds, seed=0):
    scenario = simulation.of_population("equal", effect, calibrated(accuracies, effect), seeds)
    return simulation.simulated(scenario, studies, (seed,))


def calibrated(accuracies, effect):
    return simulation.calibrated(accuracies, simulation.EFFECTS[effect])


def made_up(seeds, accuracies=(0.95,), images=500):
    """A variant of so many seeds for each accuracy; they share the difficulty of the images."""
    generator = np.random.default_rng(0)
    difficulty, sides = generator.normal(0, 0.8, images), []
    for skill in stats.norm.ppf(accuracies):
        wrong = (skill + difficulty + generator.normal(0, 0.6, (seeds, images)) < 0).astype(np.uint8)
        labels = np.zeros(images, dtype=np.uint8)
        sides.append(Predictions(np.arange(seeds), labels, wrong, np.ones(wrong.shape, dtype=np.float32)))
    return sides


# The populations.


def test_the_accuracy_of_a_population_is_what_its_draws_have_on_average():
    generator = np.random.default_rng(0)
    found = np.array([[side.accuracy.mean() for side in PLAIN.draw(generator, 3)] for _ in range(200)])
    deviation = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert np.all(deviation < 0.002)
    assert np.all(np.abs(found.mean(axis=0) - PLAIN.accuracies) < 4 * deviation)


def test_the_spread_of_a_population_is_what_its_draws_have_on_average():
    generator, exact = np.random.default_rng(0), PLAIN.spread(0, 1)
    found = [difference.variance_components(*PLAIN.draw(generator, 4)) for _ in range(400)]
    for side in (0, 1):
        assert np.mean([spread.seeds[side] for spread in found]) == pytest.approx(exact.seeds[side], rel=0.15)
    assert np.mean([spread.images for spread in found]) == pytest.approx(exact.images, rel=0.02)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9])
def test_two_wrong_answers_as_scipys_normal_distribution_has_them(shared):
    one, other = stats.norm.ppf([0.1, 0.3])
    reference = stats.multivariate_normal([0, 0], [[1, shared], [shared, 1]]).cdf([one, other])
    assert PLAIN.both_wrong(0, 1, shared) == pytest.approx(reference, abs=1e-6)


@pytest.mark.parametrize(("effect", "deviation"), simulation.EFFECTS.items())
def test_a_population_is_calibrated_to_lenet5(effect, deviation):
    population = calibrated((simulation.ACCURACY,) * 2, effect)
    spread = population.spread(0, 1)
    assert population.deviation(0) == pytest.approx(0.0005)
    assert np.sqrt(spread.seeds[1]) == pytest.approx(0.00094, abs=0.00001)
    assert np.sqrt(spread.images) == pytest.approx(deviation, abs=1e-8)


def test_the_same_seed_gives_the_same_row():
    accuracies = (0.99, 0.98)
    row, again, other = (simulated(5, accuracies, "large", 5, seed) for seed in (1, 1, 2))
    assert row == again
    draws = [PLAIN.draw(np.random.default_rng(seed), 3)[0].predicted for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert row["truths"] == other["truths"] == (pytest.approx(0.01),)


# Real variants.


def test_six_seeds_are_halved_in_ten_ways_and_none_is_told_apart():
    (variant,) = made_up(6)
    scenario = simulation.split("made up", variant)
    halves = [pair for (pair,) in scenario.studies(np.random.default_rng(0))]
    seen = {frozenset(frozenset(side.seeds.tolist()) for side in pair) for pair in halves}
    assert len(seen) == len(halves) == 10
    assert all(frozenset.union(*pair) == set(range(6)) for pair in seen)
    row = simulation.simulated(scenario, 1000, (0,))
    assert (row["studies"], row["seeds"]) == (10, 3)
    assert row["told_apart"]["share"] == row["permutation"]["share"] == 0


def test_of_all_ways_to_halve_ten_seeds_at_most_a_twentieth_are_told_apart():
    """No chance in it: the permutation test ranks just these ways."""
    (variant,) = made_up(10)
    row = simulation.simulated(simulation.split("made up", variant), 1000, (0,))
    assert row["studies"] == 126
    assert row["told_apart"]["share"] <= row["permutation"]["share"] <= 0.05
    assert row["permutation"]["share"] > 0


def test_many_seeds_are_halved_at_random():
    (variant,) = made_up(21)
    drawn = simulation.split("made up", variant).studies(np.random.default_rng(0))
    for _, ((first, second),) in zip(range(3), drawn, strict=False):
        assert len(first.seeds) == len(second.seeds) == 10
        assert len({*first.seeds, *second.seeds}) == 20


def test_two_variants_are_weighted_until_they_are_equal():
    good, bad = made_up(6, (0.95, 0.90), images=2000)
    assert difference.mean_difference(good, bad) > 0.03
    drawn = simulation.resampled("made up", good, bad, seeds=6).studies(np.random.default_rng(0))
    found = [difference.mean_difference(*pair) for _, (pair,) in zip(range(300), drawn, strict=False)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found)) < 0.002


def test_resampled_sides_answer_for_the_same_images_as_their_seeds_did():
    numbers = np.arange(500)  # as labels, so that one sees which images were drawn
    predicted = np.where(made_up(6)[0].correct, numbers, -1)
    variant = Predictions(np.arange(6), numbers, predicted, np.ones(predicted.shape))
    (pair,) = next(simulation.resampled("made up", variant, variant, 7).studies(np.random.default_rng(0)))
    assert np.array_equal(pair[0].labels, pair[1].labels)
    for side in pair:
        assert len(side.seeds) == 7
        assert np.array_equal(side.predicted, predicted[np.ix_(side.seeds, side.labels)])


# What is told.


def test_shares_have_wilsons_interval():
    found = simulation.share([True] * 5 + [False] * 95)
    assert found["share"] == 0.05
    assert (found["low"], found["high"]) == pytest.approx(proportion_confint(5, 100, method="wilson"))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two scenarios instead of all, recorded in an empty folder."""
    every = simulation.scenarios

    def few(real):
        chosen = {scenario.group: scenario for scenario in every(real)}
        return [chosen[group] for group in ("different", "split")]

    monkeypatch.setattr(simulation, "scenarios", few)
    monkeypatch.setattr(simulation, "CALIBRATION_SEEDS", 3)
    monkeypatch.setattr(simulation, "RECORD", tmp_path / "simulation.json")
    monkeypatch.setattr(simulation, "DOCUMENT", tmp_path / "statistics.md")
    before = "Before.\n<!-- simulation: begin -->\nold\n<!-- simulation: end -->\nAfter.\n"
    (tmp_path / "statistics.md").write_text(before)
    (variant,) = made_up(6)
    predictions.write(variant, tmp_path / "evaluations" / "lenet5" / "predictions.npz")
    predictions.write(made_up(5)[0], tmp_path / "evaluations" / "mlp" / "predictions.npz")
    return tmp_path


def run(folder):
    words = ["--studies", "3", "--evaluations", str(folder / "evaluations")]
    return CliRunner().invoke(simulation.main, words, catch_exceptions=False)


def test_the_record_and_the_document_hold_what_was_found(small):
    done = run(small)
    assert done.exit_code == 0, done.output
    record = files.read_json(small / "simulation.json")
    told = simulation.tables(record)
    marks = "<!-- simulation: begin -->", "<!-- simulation: end -->"
    assert (small / "statistics.md").read_text() == f"Before.\n{marks[0]}\n\n{told}\n\n{marks[1]}\nAfter.\n"
    assert told in done.output
    assert [(row["group"], row["studies"]) for row in record["rows"]] == [("different", 3), ("split", 3)]
    assert "| large | 10 | 0.50 | 100.0 (43.9 to 100.0) | 100.0 | 0.0 (0.0 to 56.1) |" in told
    assert "| lenet5 | 3 | 3 | 0.0 (0.0 to 56.1) |" in told
    assert "mlp" not in told  # five seeds


# The rule.


@pytest.fixture(scope="module")
def equal():
    """400 studies of two systems that are equal in the population and differ much on any test set."""
    return simulated(400, (simulation.ACCURACY,) * 2, "large", 6)


@pytest.mark.slow
def test_equal_systems_are_seldom_told_apart(equal):
    assert equal["told_apart"]["share"] <= most_errors(400)  # 0.0875


@pytest.mark.slow
def test_the_seeds_tests_alone_tell_equal_systems_apart_far_more_often(equal):
    assert equal["welch"]["low"] > 0.1
    assert equal["permutation"]["low"] > 0.1


@pytest.mark.slow
def test_the_interval_over_seeds_and_images_holds_the_truth_and_that_over_seeds_does_not(equal):
    assert 0.92 <= equal["interval"]["share"] <= 0.98
    assert equal["interval_seeds"]["high"] < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("effect", ["moderate", "large"])
def test_a_difference_is_found_as_often_as_was_predicted(effect):
    row = simulated(300, (simulation.ACCURACY + 0.003, simulation.ACCURACY), effect, 6)
    assert row["power"] > 0.8
    slack = 4 * np.sqrt(row["power"] * (1 - row["power"]) / 300) + 0.02  # the prediction is of a t test, no more
    assert row["better"]["share"] == pytest.approx(row["power"], abs=slack)
    assert row["worse"]["share"] == 0
    assert 0.92 <= row["interval"]["share"] <= 0.98


@pytest.mark.slow
def test_equivalence_is_found_as_often_as_was_predicted():
    row = simulated(300, (simulation.ACCURACY,) * 2, "moderate", 6)
    assert row["power_of_equivalence"] > 0.8
    assert row["within_margin"]["share"] == pytest.approx(row["power_of_equivalence"], abs=0.1)
    assert row["equivalent"]["share"] == pytest.approx(row["within_margin"]["share"], abs=0.05)  # better goes first


@pytest.mark.slow
def test_what_differs_by_the_margin_is_seldom_found_equivalent():
    row = simulated(300, (simulation.ACCURACY + simulation.MARGIN, simulation.ACCURACY), "large", 6)
    assert row["equivalent"]["share"] <= most_errors(300)  # 0.093


@pytest.mark.slow
def test_a_family_errs_no_more_often_than_one_comparison():
    """Six candidates, all equal to the baseline, on any images: all doubt is the seeds', so it is Holm's correction."""
    row = simulated(200, (simulation.ACCURACY,) * 7, "none", 5)
    assert row["told_apart"]["share"] <= most_errors(200)  # 0.105


@pytest.mark.slow
def test_seeds_and_images_of_one_variant_drawn_twice_are_seldom_told_apart():
    (variant,) = made_up(6, images=10_000)
    row = simulation.simulated(simulation.resampled("made up", variant, variant, 6), 300, (0,))
    assert row["told_apart"]["share"] <= most_errors(300)  # 0.093
