"""Changes of what was declared, after results existed."""

from dataclasses import asdict, replace

import pytest

from lenetlab.report import declarations
from lenetlab.settings import study_schema
from tests.report import example

TRAINED = {name: f"f1f1{name}" for name in example.ACCURACIES}
STUDY = example.make_study()


def judged(report, study=STUDY, previous=(), trained=TRAINED):
    """The first comparison, as a later run of the stage sees it."""
    return declarations.with_changes(report.outcomes[:1], study, trained, [asdict(one) for one in previous])[0]


def with_seeds(**seeds):
    variants = {name: STUDY.variants[name].model_copy(update={"seeds": chosen}) for name, chosen in seeds.items()}
    return STUDY.model_copy(update={"variants": {**STUDY.variants, **variants}})


def test_the_first_results_record_what_was_declared(report):
    first = judged(report)
    assert first.changes == []
    assert first.declared == {
        "family": [
            "lenet5 mlp test_accuracy",
            "lenet5-regularized lenet5 test_accuracy",
            "lenet5-regularized lenet5 test_loss",
        ],
        "margin": report.outcomes[0].margin,
        "most": 36,
        "seeds": {"lenet5": list(example.SEEDS), "mlp": list(example.SEEDS)},
        "trained": {"lenet5": "f1f1lenet5", "mlp": "f1f1mlp"},
    }


def test_more_seeds_are_no_change(report):
    first = judged(report)
    later = judged(report, with_seeds(lenet5=tuple(range(9))), [first])
    assert later.changes == []
    assert later.declared["seeds"]["lenet5"] == list(range(9))
    again = judged(report, STUDY, [later])
    assert (again.changes, again.declared["seeds"]["lenet5"]) == ([], list(range(9)))  # results of nine are known


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        (
            STUDY.model_copy(update={"settle": study_schema.SettleSettings(most=72)}),
            "settle.most was 36 and is now 72; this costs nothing",
        ),
        (
            STUDY.model_copy(update={"settle": study_schema.SettleSettings(most=0)}),
            "settle.most was 36 and is now 0; the error of both rules adds up, to as much as 10 %",
        ),
        (
            STUDY.model_copy(update={"comparisons": {"headline": STUDY.comparisons["headline"][:1]}}),
            "the family had 3 comparisons and now has 1, or others; comparisons that are chosen by their results make",
        ),
        (
            with_seeds(lenet5=(6, 7, 8, 9, 10, 11)),
            "the seeds of lenet5 began with 0, 1, 2, 3, 4, 5 and now begin with 6, 7, 8, 9, 10, 11; seeds that are",
        ),
    ],
)
def test_a_change_is_told_with_its_cost_until_it_is_undone(report, study, sentence):
    first = judged(report)
    changed = judged(report, study, [first])
    assert len(changed.changes) == 1
    assert changed.changes[0].startswith(sentence)
    assert judged(report, study, [changed]).changes == changed.changes
    assert judged(report, STUDY, [changed]).changes == []


def test_another_margin_is_a_change(report):
    first = judged(report)
    other = replace(report.outcomes[0], margin=0.01)
    (changed,) = declarations.with_changes([other], STUDY, TRAINED, [asdict(first)])
    assert changed.changes[0].startswith("the margin was 0.25 percentage points and is now 1.00 percentage points;")


def test_a_fixed_number_of_seeds_may_not_change(report):
    fixed = {"settle": study_schema.SettleSettings(most=0)}
    first = judged(report, STUDY.model_copy(update=fixed))
    more = with_seeds(mlp=tuple(range(9))).model_copy(update=fixed)
    (change,) = judged(report, more, [first]).changes
    assert change.startswith(
        "the fixed number of seeds of mlp was 6 and is now 9; a number that is chosen by the results"
    )


def test_other_trainings_make_a_new_study(report):
    first = judged(report)
    again = STUDY.model_copy(update={"settle": study_schema.SettleSettings(most=0)})
    assert judged(report, again, [first], {**TRAINED, "mlp": "other"}).changes == []


def test_a_comparison_that_was_added_after_results_is_told(report):
    first, second, _ = declarations.with_changes(report.outcomes, STUDY, TRAINED, [])
    added = replace(report.outcomes[0], candidate="lenet5-regularized", baseline="mlp")
    previous = [asdict(first), asdict(second)]
    (late,) = declarations.with_changes([added], STUDY, TRAINED, previous)
    assert late.changes == [declarations.LATE]


def test_a_record_that_cannot_be_read_counts_as_none(tmp_path):
    path = tmp_path / "declared.json"
    assert declarations.read_record(path) == []
    for content in ("", "{}", "[1]", "[{}]", '[{"declared": {}}]'):
        path.write_text(content)
        assert declarations.read_record(path) == []


def test_an_experiment_does_not_replace_the_record_of_other_trainings(report, tmp_path):
    path, first = tmp_path / "new" / "declared.json", judged(report)
    declarations.write_record(path, [first], [])
    experiment = judged(report, STUDY, [first], {**TRAINED, "mlp": "other"})
    declarations.write_record(path, [experiment], declarations.read_record(path))
    declarations.write_record(path, [experiment], declarations.read_record(path))
    entries = declarations.read_record(path)
    assert [entry["declared"]["trained"]["mlp"] for entry in entries] == ["f1f1mlp", "other"]
    seeds = with_seeds(mlp=(9, 8, 7, 6, 5, 4))
    (again,) = declarations.with_changes(report.outcomes[:1], seeds, TRAINED, entries)
    assert again.changes[0].startswith("the seeds of mlp began with 0, 1, 2, 3, 4, 5 and now begin with 9, 8, 7")
