"""The study in docs/study: its tables agree with study.yaml and with each other, and the pages with the tables.

The study is finished, so these tests must not fail if params.yaml or docs/study/claims.yaml gets more variants or
statements, or other seeds.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import multitest

from benchmarks import study, write
from lenetlab.settings import params, study_schema
from lenetlab.statistics import power
from lenetlab.statistics.difference import VarianceComponents
from lenetlab.statistics.sequential import Plan
from lenetlab.storage import files
from tests.pipeline.projects import read_yaml, write_yaml

ROOT = Path(__file__).parents[2]
CHANGES = read_yaml(study.CHANGES)
IMAGES = 10_000
FAMILIES = {
    family: [(pair["candidate"], pair["baseline"]) for pair in pairs]
    for family, pairs in CHANGES["comparisons"].items()
}


@pytest.fixture(scope="module")
def tables() -> study.Tables:
    return study.read_tables(study.TABLES)


def accuracies(tables: study.Tables, row: study.Row) -> list[np.ndarray]:
    """Of candidate and baseline, of the seeds that the comparison uses."""
    return [np.array(list(tables.accuracies[row[key]].values()))[: row["seeds"]] for key in ("candidate", "baseline")]


def components(tables: study.Tables, row: study.Row) -> VarianceComponents:
    """From the accuracies of the seeds, and the seeds' share of the variance."""
    first, second = (values.var(ddof=1) for values in accuracies(tables, row))
    from_seeds = (first + second) / row["seeds"]
    return VarianceComponents((first, second), from_seeds * (1 / row["share_seeds"] - 1), IMAGES)


def test_the_changes_are_valid_for_params_yaml(tmp_path):
    content, path = read_yaml(ROOT / "params.yaml"), tmp_path / "params.yaml"
    blocks = {name: content[name] | CHANGES[name] for name in ("data", "cost")}
    write_yaml(content | CHANGES | blocks, path)
    assert params.load(path).study == tuple(CHANGES["study"])


def test_the_changes_are_written_in_hydras_grammar():
    content = {
        "claims": "docs/study/claims.yaml",
        "data": {"validation": 0},
        "settle": {"most": 24},
        "cost": {"in_experiments": "full"},
        "study": ["a-b", "c"],
        "comparisons": {"f": [{"candidate": "a-b", "baseline": "c"}]},
    }
    assert list(study.hydra_overrides(content)) == [
        "claims=docs/study/claims.yaml",
        "data.validation=0",
        "settle.most=24",
        "cost.in_experiments=full",
        "study=[a-b,c]",
        "++comparisons.f=[{candidate:a-b,baseline:c}]",
    ]


def test_tables_are_those_of_study_yaml(tables):
    assert CHANGES["data"]["validation"] == 0
    assert len(CHANGES["study"]) == len(set(CHANGES["study"])) == 20
    assert {path.name for path in study.TABLES.glob("*.seeds.json")} == {f"{n}.seeds.json" for n in CHANGES["study"]}
    for values in tables.accuracies.values():
        assert len(values) in study_schema.LOOKS
        assert list(values) == [str(seed) for seed in range(len(values))]
    declared = [(family, *pair) for family, pairs in FAMILIES.items() for pair in pairs]
    assert [(row["family"], row["candidate"], row["baseline"]) for row in tables.comparisons] == declared
    assert list(tables.costs["variants"]) == CHANGES["study"]


def test_every_family_is_small_enough_for_six_seeds():
    assert power.can_decide(Plan.of(6, 36), max(map(len, FAMILIES.values())))


def test_p_values_and_intervals_follow_from_the_accuracies_of_the_seeds(tables):
    """SciPy's Welch test, and a permutation test on whole images."""
    for row in tables.comparisons:
        pair = accuracies(tables, row)
        welch = stats.ttest_ind(*pair, equal_var=False)
        assert row["difference"] == pytest.approx(pair[0].mean() - pair[1].mean())
        assert row["p_welch"] == pytest.approx(welch.pvalue, rel=1e-6)
        assert row["interval_seeds"] == pytest.approx(welch.confidence_interval(0.95), abs=1e-9)
        permutation = stats.permutation_test(
            [np.rint(IMAGES * values) for values in pair],
            lambda a, b, axis: abs(a.sum(axis) - b.sum(axis)),
            vectorized=True,
            n_resamples=1000,
            alternative="greater",
        )
        assert row["p_permutation"] == pytest.approx(permutation.pvalue, abs=0.03 if row["seeds"] > 6 else 1e-9)
        together, counts = components(tables, row), (row["seeds"], row["seeds"])
        t = abs(row["difference"]) / together.variance(counts) ** 0.5
        assert row["p_seeds_and_images"] == pytest.approx(
            2 * stats.t.sf(t, together.degrees_of_freedom(counts)), rel=1e-6
        )
        assert row["p"] == max(row["p_welch"], row["p_permutation"], row["p_seeds_and_images"])
        assert row["p"] == row["looks"][-1]["p"] or row["looks"][-1]["seeds"] > row["seeds"]


def test_verdicts_follow_from_the_numbers(tables):
    for row in tables.comparisons:
        looks = [look for look in row["looks"] if look["seeds"] <= row["seeds"]]
        plan = Plan(tuple(look["seeds"] for look in looks))
        if len(looks) == 1:  # the ratio of an earlier look is not in the tables
            ratio = [components(tables, row).ratio]
            expected = plan.sequential_p(ratio, [looks[0]["p"]])[-1]
            equivalence = plan.sequential_p(ratio, [looks[0]["p_equivalence"]], sides=1)[-1]
            assert row["p_sequential"] == pytest.approx(expected, rel=1e-6)
            assert row["p_equivalence_sequential"] == pytest.approx(equivalence, rel=1e-6)
        if row["verdict"] in ("better", "worse"):
            assert row["p_sequential_holm"] < 0.05
            assert (row["difference"] > 0) == (row["verdict"] == "better")
        else:
            assert row["p_sequential_holm"] >= 0.05
            assert (row["verdict"] == "equivalent") == (row["p_equivalence_sequential_holm"] < 0.05)
        assert (row["next_step"] is None) == (row["verdict"] != "inconclusive")


def test_p_values_are_corrected_for_their_family(tables):
    """Families in which all comparisons were judged at the same look."""
    for family in FAMILIES:
        rows = [row for row in tables.comparisons if row["family"] == family]
        if {(row["seeds"], len(row["looks"])) for row in rows} == {(6, 1)}:
            for key in ("p_sequential", "p_equivalence_sequential"):
                corrected = multitest.multipletests([row[key] for row in rows], method="holm")[1]
                assert [row[f"{key}_holm"] for row in rows] == pytest.approx(list(corrected))


def test_typical_variances_are_the_medians_of_these_comparisons(tables):
    """Deviations between trainings, and of a difference between samples of images; rounded to 0.02 points."""
    found = [components(tables, row) for row in tables.comparisons]
    deviations = [(np.mean(one.seeds) ** 0.5, one.images**0.5) for one in found]
    seeds, images = np.median(deviations, axis=0)
    assert power.TYPICAL.seeds[0] ** 0.5 == pytest.approx(seeds, abs=0.0001)
    assert power.TYPICAL.images**0.5 == pytest.approx(images, abs=0.0001)


def test_statements_have_these_answers(tables):
    assert Counter(row.verdict for row in tables.claims) == {
        "refuted": 24,
        "confirmed": 12,
        "consistent": 6,
        "undecided": 4,
    }
    assert len({row.id for row in tables.claims}) == len(tables.claims)


def test_statements_are_those_of_the_studys_file(tables):
    """Statements that were added or removed since the study do not matter."""
    content = read_yaml(ROOT / CHANGES["claims"])
    stated = {claim["id"]: claim for claim in content["claims"]}
    for row in tables.claims:
        if claim := stated.get(row.id):
            assert (row.kind, row.statement) == (claim["kind"], claim["statement"])
            assert row.report_note == content["reports"][row.report]


def test_the_statements_of_each_report_follow_the_line_about_it(tables):
    page = study.page(tables)
    for report in ("S0", "S1", "S2", "S3", "S4"):
        rows = [row for row in tables.claims if row.report == report]
        table = page.partition(f"\n**{report}**: {rows[0].report_note}\n\n")[2].partition("\n\n")[0]
        assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [f"| {row.id}" for row in rows]


def test_every_statement_about_a_difference_of_accuracies_has_its_comparison(tables):
    declared = {pair for pairs in FAMILIES.values() for pair in pairs}
    declared |= {(baseline, candidate) for candidate, baseline in declared}
    answered = {row.id for row in tables.claims}
    for claim in read_yaml(ROOT / CHANGES["claims"])["claims"]:
        if claim["id"] in answered and claim.get("expected") in ("better", "worse", "equivalent"):
            needed = {(name, claim["baseline"]) for name in (claim["candidate"], *claim.get("alone", ()))}
            assert needed <= declared, claim["id"]


def test_answers_about_accuracies_repeat_the_reasons_of_the_comparisons(tables):
    reasons = [row["reason"] for row in tables.comparisons]
    answers = [row.reason for row in tables.claims if " seeds each" in row.reason and "Welch" not in row.reason]
    assert answers
    assert all(any(reason in answer for reason in reasons) for answer in answers)


def test_costs_were_measured_on_an_idle_machine(tables):
    for name, measured in tables.costs["variants"].items():
        assert len(measured["seconds_per_epoch"]) == tables.costs["conditions"]["rounds"] == 5
        assert min(measured["on_processor"]) > 0.9, name
    counts = {"lenet5": 61_706, "mlp": 61_075, "lenet5-28": 44_426, "lenet5-1998": 60_000, "mlp-28-500-150": 469_160}
    assert {name: tables.costs["variants"][name]["parameters"] for name in counts} == counts


def test_the_tuned_lenet5_reaches_its_aim(tables):
    """A mean of at least 99.40 %, chosen on validation images alone."""
    assert np.mean(list(tables.accuracies["lenet5-tuned"].values())) >= 0.9940


def test_pages_are_generated_from_the_tables(tables):
    assert (study.TABLES / "README.md").read_text() == study.page(tables)
    document = (ROOT / "docs" / "statistics.md").read_text()
    assert document == write.replace_section(document, "example", study.example(tables))


def test_tables_are_copied_from_the_outputs_of_a_study(tmp_path):
    outputs, folder = tmp_path / "outputs", tmp_path / "tables"
    folder.mkdir()
    outputs.mkdir()
    content = read_yaml(ROOT / "params.yaml") | {"study": ["lenet5", "mlp"], "comparisons": {}}
    write_yaml(content, outputs / "params.yaml")
    for name in ("lenet5", "mlp", "lenet5-tanh"):
        files.write_json(outputs / "evaluations" / name / "seeds.json", {"0": {"test_accuracy": 0.5, "test_loss": 1.0}})
    files.write_json(outputs / "reports" / "comparison.json", [])
    files.write_json(outputs / "reports" / "claims.json", [{"id": "S0.1"}])
    files.write_json(outputs / "costs.json", {"variants": {}})
    files.write_json(folder / "old.seeds.json", {})
    study.keep_tables(outputs, folder)
    names = {"lenet5.seeds.json", "mlp.seeds.json", "comparison.json", "claims.json", "costs.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert files.read_json(folder / "lenet5.seeds.json")["0"]["test_accuracy"] == 0.5
    assert files.read_json(folder / "comparison.json") == []
    assert files.read_json(folder / "claims.json") == [{"id": "S0.1"}]
    assert files.read_json(folder / "costs.json") == {"variants": {}}
