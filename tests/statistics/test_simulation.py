"""The simulation of studies: its populations, its quick formulas, its rows, and the error rates of a few studies.

All draws have fixed seeds. `most_errors` is the bound that a rule which errs in exactly 5 % of studies keeps with
probability 0.999.
"""

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks import normal_studies, ours, outcomes, simulation, simulation_tables, whole_studies
from benchmarks.normal_studies import NormalStudies, TabledPlan
from benchmarks.populations import ACCURACY, Population, calibrated
from lenetlab.evaluation import predictions
from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import study_schema
from lenetlab.statistics import difference, intervals, significance, verdict
from lenetlab.statistics.measures import Sample
from lenetlab.statistics.sequential import Plan
from lenetlab.storage import files
from tests.pipeline.projects import read_yaml, write_yaml
from tests.statistics.examples import from_wrong

POPULATION = Population((0.9, 0.7), seed=0.02, difficulty=0.4, system=0.2)
MARGIN = simulation.MARGIN
EFFECTS = simulation.EFFECTS


def most_errors(studies: int) -> float:
    return stats.binom.ppf(0.999, studies, intervals.LEVEL) / studies


def draw(studies, truths, effect, seeds=12, seed=0) -> NormalStudies:
    generator = np.random.default_rng(seed)
    freedom = simulation.FREEDOM[effect]
    return NormalStudies.draw(generator, studies, truths, simulation.DEVIATION, EFFECTS[effect], freedom, seeds)


def conclude(drawn: NormalStudies, truths, seeds=12) -> outcomes.Outcomes:
    return outcomes.Outcomes.of(drawn.judge(MARGIN, seeds), truths, MARGIN)


def make_variants(seeds, accuracies=(0.95,), images=500) -> list[Sample]:
    """A variant for each accuracy; they share the difficulty of the images."""
    return [Sample(one.accuracy, one.correct) for one in make_predictions(seeds, accuracies, images)]


def make_predictions(seeds, accuracies=(0.95,), images=500) -> list[Predictions]:
    generator = np.random.default_rng(0)
    difficulty = generator.normal(0, 0.8, images)
    skills = stats.norm.ppf(accuracies)
    return [from_wrong(skill + difficulty + generator.normal(0, 0.6, (seeds, images)) < 0) for skill in skills]


# Populations.


def test_the_accuracy_of_a_population_is_the_mean_of_its_draws():
    generator = np.random.default_rng(0)
    means = np.array([[variant.values.mean() for variant in POPULATION.draw(generator, 3, 2000)] for _ in range(200)])
    standard_error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    assert np.all(standard_error < 0.004)
    assert np.all(np.abs(means.mean(axis=0) - POPULATION.accuracies) < 4 * standard_error)


def test_the_variance_components_of_a_population_are_the_means_of_their_estimates():
    generator, exact = np.random.default_rng(0), POPULATION.components(0, 1)
    estimates = [difference.variance_components(*POPULATION.draw(generator, 4)) for _ in range(100)]
    for place in (0, 1):
        mean = np.mean([components.seeds[place] for components in estimates])
        assert mean == pytest.approx(exact.seeds[place], rel=0.2)
    assert np.mean([components.images for components in estimates]) == pytest.approx(exact.images, rel=0.02)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.9])
def test_the_probability_of_two_wrong_answers_is_that_of_scipys_normal_distribution(shared):
    one, other = stats.norm.ppf([0.1, 0.3])
    reference = stats.multivariate_normal([0, 0], [[1, shared], [shared, 1]]).cdf([one, other])
    assert POPULATION.both_wrong(0, 1, shared) == pytest.approx(reference, abs=1e-6)


@pytest.mark.parametrize("deviation", EFFECTS.values(), ids=EFFECTS)
def test_a_population_varies_as_lenet5_does(deviation):
    population = calibrated((ACCURACY,) * 2, deviation)
    components = population.components(0, 1)
    assert population.deviation(0) == pytest.approx(0.0005)
    assert np.sqrt(components.seeds[1]) == pytest.approx(simulation.DEVIATION, abs=0.00001)
    assert np.sqrt(components.images) == pytest.approx(deviation, abs=1e-8)


# Levels from a table.


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("ratio", [0.0, 0.0007, 0.05, 0.46, 3.3, 40.0])
def test_levels_of_the_table_are_those_of_the_program(ratio, sides):
    looks = study_schema.LOOKS
    for alpha in normal_studies.ALPHAS:
        tabled = TabledPlan(looks).levels(ratio, alpha, sides)
        assert tabled == pytest.approx(Plan(looks).levels(ratio, alpha, sides), rel=0.01)


def test_rounded_sequential_p_values_lead_to_the_same_holm_decisions():
    """Families of the program's exact p values against p values rounded up to what Holm's correction compares with."""
    generator, looks = np.random.default_rng(0), (6, 9, 12)
    for _ in range(20):
        family = [(generator.choice([0.0, 0.1, 1.0], 3), 10 ** generator.uniform(-4, -1, 3)) for _ in range(6)]
        exact = [Plan(looks).sequential_p(ratios, p_values)[-1] for ratios, p_values in family]
        rounded = [TabledPlan(looks).sequential_p(ratios, p_values)[-1] for ratios, p_values in family]
        decisions = [[p < intervals.LEVEL for p in significance.holm(values)] for values in (exact, rounded)]
        assert decisions[0] == decisions[1]


# Studies of normal accuracies.


def test_the_tests_of_normal_studies_are_those_of_the_program():
    drawn = draw(3, (0.0, 0.001), "large")
    for seeds in (6, 12):
        tests = drawn.test(seeds, MARGIN)
        for study, pair in np.ndindex(3, 2):
            sides = [values[study, pair, :seeds] / 10_000 for values in (drawn.candidate, drawn.baseline)]
            gain = sides[0].mean() - sides[1].mean()
            assert tests.difference[study, pair] == pytest.approx(gain)
            assert tests.p_welch[study, pair] == pytest.approx(stats.ttest_ind(*sides, equal_var=False).pvalue)
            parts = tuple(float(side.var(ddof=1)) for side in sides)
            components = difference.VarianceComponents(parts, tests.ratio[study, pair] * sum(parts), 10_000)
            deviation = np.sqrt(components.variance((seeds, seeds)))
            freedom = components.degrees_of_freedom((seeds, seeds))
            both = 2 * stats.t.sf(abs(gain) / deviation, freedom)
            assert tests.p_seeds_and_images[study, pair] == pytest.approx(both)
            within = stats.t.sf((MARGIN - abs(gain)) / deviation, freedom)
            assert tests.p_equivalence[study, pair] == pytest.approx(within)


def test_normal_studies_vary_as_whole_studies_do():
    """Deviation of the difference, and mean and deviation of the estimated effect of images, at 6 seeds."""
    population = calibrated((ACCURACY,) * 2, EFFECTS["large"])
    generator = np.random.default_rng(0)
    whole = [population.draw(generator, 6) for _ in range(300)]
    estimates = np.array([difference.variance_components(*pair).images for pair in whole])
    drawn = draw(3000, (0.0,), "large", seeds=6)
    tests = drawn.test(6, MARGIN)
    parts = [values.var(axis=2, ddof=1) for values in (drawn.candidate, drawn.baseline)]
    quick = tests.ratio * sum(parts) / 10_000**2
    assert quick.mean() == pytest.approx(estimates.mean(), rel=0.03)
    assert quick.std() == pytest.approx(estimates.std(), rel=0.2)
    gains = [difference.mean_difference(*pair) for pair in whole]
    assert tests.difference.std() == pytest.approx(np.std(gains), rel=0.15)


def test_decisions_on_normal_studies_are_those_of_the_program():
    """The program's own evidence from seed values, in studies whose images have no effect."""
    truths = (0.0, 0.001, 0.003)
    drawn = draw(12, truths, "none")
    no_images = NormalStudies(drawn.candidate, drawn.baseline, drawn.images, np.zeros_like(drawn.chance))
    plan = Plan((6, 9, 12))
    for study, decisions in enumerate(no_images.judge(MARGIN, 12)):
        samples = [
            [Sample(values[study, pair] / 10_000, None) for values in (drawn.candidate, drawn.baseline)]
            for pair in range(len(truths))
        ]
        evidence = [verdict.collect_evidence(*pair, MARGIN, len(truths), plan, True) for pair in samples]
        expected = verdict.decide(evidence, [False] * len(truths))
        assert [(one.verdict, one.look.seeds) for one in decisions] == [
            (one.verdict, one.look.seeds) for one in expected
        ]


def test_the_same_seed_gives_the_same_row():
    row, again, other = (simulation.normal_row("difference", (0.001,), 0.0003, 20, (seed,)) for seed in (1, 1, 2))
    assert row == again
    assert row["mean_seeds"] != other["mean_seeds"]


def test_the_old_rule_errs_more_often_with_every_look_and_the_new_one_keeps_its_level():
    drawn = draw(300, (0.0, 0.0), "moderate", seeds=60)
    first = drawn.old_errors(MARGIN)
    old = [np.mean(first <= seeds) for seeds in (6, 12, 24, 60)]
    assert old == sorted(old)
    assert old[-1] > 2 * most_errors(300)
    assert conclude(drawn, (0.0, 0.0), 60).false_difference.any(axis=1).mean() <= most_errors(300)


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("pairs", [1, 6])
def test_families_of_equal_pairs_rarely_err(pairs, effect):
    truths = (0.0,) * pairs
    found = conclude(draw(300, truths, effect, 36), truths, 36)
    assert found.false_difference.any(axis=1).mean() <= most_errors(300)
    assert not found.false_equivalent.any()  # it is no error here


@pytest.mark.parametrize("pairs", [1, 6])
def test_families_at_the_margin_are_rarely_equivalent_also_if_no_pair_is_found_better(pairs):
    truths = (MARGIN,) * pairs
    drawn = draw(300, truths, "moderate", 36)
    alone = outcomes.Outcomes.of(drawn.judge(MARGIN, 36, without_difference=True), truths, MARGIN)
    assert 0 < alone.false_equivalent.any(axis=1).mean() <= most_errors(300)
    assert conclude(drawn, truths, 36).false_equivalent.sum() <= alone.false_equivalent.sum()


def test_pairs_that_are_found_pass_their_share_on_without_more_errors():
    truths = (0.005,) * 5 + (0.0,)
    found = conclude(draw(300, truths, "none", 36), truths, 36)
    assert (found.verdict[:, :5] == "better").all()
    rate = found.false_difference.any(axis=1).mean()
    assert 0.01 < rate <= most_errors(300)  # a sixth of 5 % without what the others pass on


def test_the_estimate_of_a_pair_found_better_is_too_large():
    found = conclude(draw(400, (0.001,), "moderate", 36), (0.001,), 36)
    better = found.verdict == "better"
    assert 0.3 < better.mean() < 0.6
    assert 0.0013 < found.difference[better].mean() < 0.002


def test_with_many_seeds_the_permutation_test_is_close_to_welchs():
    """So it may be left out where the p value over seeds and images is CLOSE times as large."""
    drawn = draw(60, (0.001,), "none", 24)
    for seeds in (normal_studies.MANY, 24):
        welch = drawn.test(seeds, MARGIN).p_welch[:, 0]
        permutation = np.array([drawn.permutation_p(study, 0, seeds) for study in range(60)])
        relevant = welch > 1e-4
        assert relevant.sum() > 20
        assert (permutation < normal_studies.CLOSE * welch)[relevant].all()


# Outcomes.


def test_errors_are_what_the_truth_forbids():
    truths = np.array([0.0, 0.001, 0.002, -0.001])
    words = [["better", "better", "equivalent", "worse"], ["equivalent", "worse", "better", "better"]]
    shape = (2, 4)
    found = outcomes.Outcomes(truths, 0.002, np.array(words), np.full(shape, 6), np.zeros(shape))
    assert found.false_difference.tolist() == [[True, False, False, False], [False, True, False, True]]
    assert found.false_equivalent.tolist() == [[False, False, True, False], [False] * 4]


def test_shares_have_wilsons_interval():
    found = outcomes.share([True] * 5 + [False] * 95)
    assert found["share"] == 0.05
    assert (found["low"], found["high"]) == pytest.approx(proportion_confint(5, 100, method="wilson"))


# Whole studies.


def simulate(scenario, studies) -> simulation.Row:
    return whole_studies.simulate(scenario, MARGIN, studies, (0,))


def test_whole_studies_rarely_err_and_their_intervals_contain_the_truth():
    population = calibrated((ACCURACY,) * 2, EFFECTS["large"])
    row = simulate(whole_studies.population_scenario("whole", "large", population, 9), 100)
    assert row["false_difference"]["share"] <= most_errors(100)
    assert row["interval"]["share"] >= 0.88
    assert row["interval_seeds"]["high"] < 0.9  # of other trainings on the same images only


@pytest.mark.parametrize("images", [1, 50])
def test_few_images_without_a_mistake_are_never_equivalent(images):
    sure = Population((1 - 1e-9, 1 - 1e-9), seed=0.0003, difficulty=0.8, system=0.03)
    row = simulate(whole_studies.population_scenario("few images", "sure", sure, 12, images), 5)
    assert row["verdicts"]["inconclusive"]["share"] == 1


def test_many_seeds_are_halved_at_random():
    (variant,) = make_variants(21)
    scenario = whole_studies.split_scenario("example", variant)
    drawn = scenario.studies(np.random.default_rng(0))
    known = {tuple(row) for row in variant.by_image.tolist()}
    for _, ((first, second),) in zip(range(3), drawn, strict=False):
        rows = [tuple(row) for half in (first, second) for row in half.by_image.tolist()]
        assert len(rows) == len(set(rows)) == 20
        assert set(rows) <= known
        assert np.array_equal(first.values, first.by_image.mean(axis=1))


def test_weights_of_the_images_make_two_variants_equal():
    good, bad = make_variants(6, (0.95, 0.90), images=2000)
    assert difference.mean_difference(good, bad) > 0.03
    drawn = whole_studies.resampled_scenario("example", good, bad, seeds=6).studies(np.random.default_rng(0))
    differences = [difference.mean_difference(*pair) for _, (pair,) in zip(range(300), drawn, strict=False)]
    assert abs(np.mean(differences)) < 4 * np.std(differences) / np.sqrt(len(differences)) < 0.002


def test_resampling_keeps_the_answers_of_a_seed_to_an_image():
    (variant,) = make_variants(6)
    numbered = Sample(variant.values, np.arange(6)[:, None] * 1000 + np.arange(500))  # the answers can be recognised
    scenario = whole_studies.resampled_scenario("example", numbered, numbered, 7)
    (pair,) = next(scenario.studies(np.random.default_rng(0)))
    assert np.array_equal(pair[0].by_image[0] % 1000, pair[1].by_image[0] % 1000)
    for drawn in pair:
        assert drawn.by_image.shape == (7, 500)
        assert (np.ptp(drawn.by_image // 1000, axis=1) == 0).all()
        assert (np.ptp(drawn.by_image % 1000, axis=0) == 0).all()


# Tables.


def test_the_tables_say_first_which_rows_err_too_often():
    row = outcomes.Outcomes(np.zeros(1), MARGIN, np.full((100, 1), "better"), np.full((100, 1), 6), np.zeros((100, 1)))
    assert simulation_tables.above_level(row.row(6)) == ["better or worse"]
    calm = outcomes.Outcomes(np.zeros(1), MARGIN, np.full((100, 1), "equivalent"), row.seeds, row.difference)
    assert simulation_tables.above_level(calm.row(6)) == []


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A row of each kind instead of all, recorded in an empty folder; evaluations of lenet5 and mlp."""
    all_scenarios, all_rows = simulation.scenarios, simulation.normal_rows

    def some_scenarios(real):
        by_group = {scenario.group: scenario for scenario in all_scenarios(real)}
        return [by_group[group] for group in ("few images", "split")]

    def some_rows():
        return list({row.args[0]: row for row in all_rows()}.values())  # the last one of each group

    content = read_yaml(ours.PARAMETERS)
    write_yaml(content | {"study": ["lenet5", "mlp"], "comparisons": {}}, tmp_path / "params.yaml")
    monkeypatch.setattr(ours, "PARAMETERS", tmp_path / "params.yaml")
    monkeypatch.setattr(simulation, "scenarios", some_scenarios)
    monkeypatch.setattr(simulation, "normal_rows", some_rows)
    monkeypatch.setattr(simulation, "CALIBRATION_SEEDS", 3)
    monkeypatch.setattr(simulation, "RECORD", tmp_path / "simulation.json")
    monkeypatch.setattr(simulation, "DOCUMENT", tmp_path / "statistics.md")
    before = "Before.\n<!-- simulation: begin -->\nold\n<!-- simulation: end -->\nAfter.\n"
    (tmp_path / "statistics.md").write_text(before)
    for name, seeds in (("lenet5", 12), ("mlp", 5)):
        (variant,) = make_predictions(seeds)
        predictions.write(variant, tmp_path / "evaluations" / name / "predictions.npz")
    return tmp_path


def test_results_are_recorded_and_written_into_the_document(small):
    arguments = ["--studies", "4", "--evaluations", str(small / "evaluations")]
    done = CliRunner().invoke(simulation.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = files.read_json(small / "simulation.json")
    tables = simulation_tables.tables(record)
    marks = "<!-- simulation: begin -->", "<!-- simulation: end -->"
    assert (small / "statistics.md").read_text() == f"Before.\n{marks[0]}\n\n{tables}\n\n{marks[1]}\nAfter.\n"
    assert tables in done.output
    groups = {row["group"]: row["studies"] for row in record["rows"]}
    normal = ("stopping", "margin", "passed on", "passed on to equivalence", "difference")
    assert groups == {"few images": 1, "split": 1} | dict.fromkeys(normal, 4)
    assert "| 5 × 0.00, 1 × 0.20 | 0.03 |" in tables
    assert record["real"] == ["lenet5"]  # five seeds are too few
    assert "| lenet5 | 6 | " in tables


def test_missing_evaluations_are_named_and_their_rows_left_out(small, monkeypatch):
    arguments = ["--studies", "1", "--evaluations", str(small / "nothing")]
    names = {scenario.group for scenario in simulation.scenarios({"lenet5": make_variants(12)[0]})}
    assert names == {"few images", "split"}
    monkeypatch.setattr(simulation, "scenarios", lambda _: [])
    done = CliRunner().invoke(simulation.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "no evaluation of a variant with six seeds" in done.output
    assert "the rows about them are missing" in (small / "statistics.md").read_text()
