"""The study in docs/study: its tables agree with study.yaml and with each other, and the pages with the tables.

The study is finished, so these tests must not fail if params.yaml or docs/study/claims.yaml gets more variants or
statements, or other seeds.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks import study, write
from lenetlab.settings import params
from lenetlab.statistics import power, verdict
from lenetlab.statistics.difference import VarianceComponents
from lenetlab.storage import files
from tests.pipeline.projects import read_yaml, write_yaml

ROOT = Path(__file__).parents[2]
CHANGES = read_yaml(study.CHANGES)
IMAGES, MARGIN = 10_000, 0.002
FAMILIES = {
    family: [(pair["candidate"], pair["baseline"]) for pair in pairs]
    for family, pairs in CHANGES["comparisons"].items()
}


@pytest.fixture(scope="module")
def tables() -> study.Tables:
    return study.read_tables(study.TABLES)


def accuracies(tables: study.Tables, row: study.Row) -> list[np.ndarray]:
    """Of candidate and baseline, by seed."""
    return [np.array(list(tables.accuracies[row[key]].values())) for key in ("candidate", "baseline")]


def components(tables: study.Tables, row: study.Row) -> VarianceComponents:
    """From the accuracies of the seeds, and the seeds' share of the variance."""
    first, second = (values.var(ddof=1) for values in accuracies(tables, row))
    from_seeds = (first + second) / len(tables.accuracies[row["candidate"]])
    return VarianceComponents((first, second), from_seeds * (1 / row["share_seeds"] - 1))


def test_the_changes_are_valid_for_params_yaml(tmp_path):
    content, path = read_yaml(ROOT / "params.yaml"), tmp_path / "params.yaml"
    data = content["data"] | CHANGES["data"]
    write_yaml(content | CHANGES | {"data": data}, path)
    assert params.load(path).study == tuple(CHANGES["study"])


def test_the_changes_are_written_in_hydras_grammar():
    content = {
        "claims": "docs/study/claims.yaml",
        "data": {"validation": 0},
        "study": ["a-b", "c"],
        "comparisons": {"f": [{"candidate": "a-b", "baseline": "c"}]},
    }
    assert list(study.hydra_overrides(content)) == [
        "claims=docs/study/claims.yaml",
        "data.validation=0",
        "study=[a-b,c]",
        "++comparisons.f=[{candidate:a-b,baseline:c}]",
    ]


def test_tables_are_those_of_study_yaml(tables):
    assert CHANGES["data"]["validation"] == 0
    assert len(CHANGES["study"]) == len(set(CHANGES["study"])) == 20
    assert {path.name for path in study.TABLES.glob("*.seeds.json")} == {f"{n}.seeds.json" for n in CHANGES["study"]}
    assert {tuple(values) for values in tables.accuracies.values()} == {("0", "1", "2", "3", "4", "5")}
    declared = [(family, *pair) for family, pairs in FAMILIES.items() for pair in pairs]
    assert [(row["family"], row["candidate"], row["baseline"]) for row in tables.comparisons] == declared
    assert list(tables.costs["variants"]) == CHANGES["study"]


def test_every_family_is_small_enough_for_six_seeds():
    assert max(map(len, FAMILIES.values())) <= power.most_comparisons(6)


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
        assert row["p_permutation"] == pytest.approx(permutation.pvalue)


def test_verdicts_and_reasons_follow_from_the_numbers(tables):
    for row in tables.comparisons:
        inputs = verdict.RuleInputs(
            difference=row["difference"],
            interval=tuple(row["interval"]),
            interval_equivalence=tuple(row["interval_equivalence"]),
            components=components(tables, row),
            p_welch=row["p_welch_holm"],
            p_permutation=row["p_permutation_holm"],
            seeds=6,
            images=IMAGES,
            comparisons=len(FAMILIES[row["family"]]),
            margin=MARGIN,
        )
        assert verdict.judge(inputs) == (row["verdict"], row["reason"])
        different = max(row["p_welch_holm"], row["p_permutation_holm"]) < 0.05
        different &= not row["interval"][0] <= 0 <= row["interval"][1]
        assert (row["verdict"] in ("better", "worse")) == different
        if not different:
            assert (row["verdict"] == "equivalent") == (max(map(abs, row["interval_equivalence"])) < MARGIN)


def test_typical_variances_are_the_medians_of_these_comparisons(tables):
    """Deviations between trainings, and of a difference between samples of images; rounded to 0.02 points."""
    found = [components(tables, row) for row in tables.comparisons]
    deviations = [(np.mean(one.seeds) ** 0.5, one.images**0.5) for one in found]
    seeds, images = np.median(deviations, axis=0)
    assert power.TYPICAL.seeds[0] ** 0.5 == pytest.approx(seeds, abs=0.0001)
    assert power.TYPICAL.images**0.5 == pytest.approx(images, abs=0.0001)


def test_statements_have_these_answers(tables):
    assert Counter(row.verdict for row in tables.claims) == {"refuted": 24, "confirmed": 20, "undecided": 2}
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
    answers = [row.reason for row in tables.claims if "interval over seeds and images" in row.reason]
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
