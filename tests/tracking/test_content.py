"""Outputs become runs that tell the same."""

import math

import pytest
from scipy import stats

from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.tracking import variant_content
from tests.tracking.outputs import SHAPES, diverged, journal, make_all, make_evaluation, make_reports, make_training


def test_a_variant_shows_the_means_of_its_seeds(tmp_path):
    make_all(tmp_path)
    parent, *children = variant_content.variant_runs(tmp_path, "lenet5")
    assert [child.name for child in children] == ["lenet5 seed 0", "lenet5 seed 1"]
    assert {child.parent for child in children} == {parent.fingerprint}
    for key in ("train_loss", "validation_accuracy", "test_loss", "train_seconds"):
        expected = (children[0].points[key, 2][0] + children[1].points[key, 2][0]) / 2
        assert parent.points[key, 2][0] == pytest.approx(expected), key
    final = files.read_json(tmp_path / "evaluations" / "lenet5" / "metrics.json")
    assert parent.points["test_accuracy", 3][0] == final["test_accuracy"]
    assert len({key for key, _ in parent.points}) < 15  # or MLflow's page gets hard to read


def test_what_a_variant_costs_is_shown_on_its_run_and_no_others(tmp_path):
    make_all(tmp_path)
    measured = {"parameters": 61075, "multiply_accumulates": 61006, "seconds_per_epoch": [0.5, 0.7]}
    measured |= {"device_memory_bytes": [None, None], "on_processor": [1.0, 1.0]}
    files.write_json(tmp_path / "costs.json", {"variants": {"mlp": measured}})
    parent, *children = variant_content.variant_runs(tmp_path, "mlp")
    found = {key: value for (key, epoch), (value, _) in parent.points.items() if key.startswith("cost_") and epoch == 3}
    assert found == {"cost_multiply_accumulates": 61006, "cost_seconds_per_epoch": pytest.approx(0.6)}
    others = [*children, *variant_content.variant_runs(tmp_path, "lenet5")]
    assert not [key for run in others for key, _ in run.points if key.startswith("cost_")]


def test_the_interval_is_students(tmp_path):
    make_all(tmp_path, seeds=4)
    parent = variant_content.variant_runs(tmp_path, "mlp")[0]
    final = files.read_json(tmp_path / "evaluations" / "mlp" / "metrics.json")
    error = final["test_accuracy_sd"] / math.sqrt(4)
    low, high = stats.t.interval(0.95, 3, final["test_accuracy"], error)
    assert parent.points["test_accuracy_low", 3][0] == pytest.approx(low)
    assert parent.points["test_accuracy_high", 3][0] == pytest.approx(high)
    assert parent.tags["interval"] == f"{100 * low:.2f}–{100 * high:.2f} %"


def test_one_seed_has_no_interval(tmp_path):
    make_training(tmp_path, "mlp", seeds=1)
    make_evaluation(tmp_path, "mlp", seeds=1)
    parent = variant_content.variant_runs(tmp_path, "mlp")[0]
    assert parent.tags["interval"] == "needs two seeds"
    assert ("test_accuracy_low", 3) not in parent.points


def test_verdicts_are_told_from_both_sides(tmp_path):
    make_all(tmp_path)
    verdicts = {variant: variant_content.variant_runs(tmp_path, variant)[0].tags["verdict"] for variant in SHAPES}
    assert verdicts == {
        "lenet5": "better than mlp; inconclusive against lenet5-regularized",
        "mlp": "worse than lenet5",
        "lenet5-regularized": "inconclusive against lenet5",
    }


def test_a_comparison_of_earlier_results_says_nothing(tmp_path):
    make_all(tmp_path)
    make_training(tmp_path, "mlp", epochs=2)
    make_evaluation(tmp_path, "mlp", epochs=2)
    assert "verdict" not in variant_content.variant_runs(tmp_path, "mlp")[0].tags
    assert "verdict" not in variant_content.variant_runs(tmp_path, "lenet5")[0].tags
    assert "verdict" in variant_content.variant_runs(tmp_path, "lenet5-regularized")[0].tags


def test_an_evaluation_of_an_earlier_training_is_not_taken(tmp_path):
    make_all(tmp_path)
    make_training(tmp_path, "mlp", epochs=2)
    for run in variant_content.variant_runs(tmp_path, "mlp"):
        assert "accuracy" not in run.tags
        assert not any(key.startswith("test_") for key, _ in run.points)


def test_all_variants_can_be_compared(tmp_path):
    make_all(tmp_path)
    parents = [variant_content.variant_runs(tmp_path, variant)[0] for variant in SHAPES]
    assert len({tuple(sorted(parent.params)) for parent in parents}) == 1
    assert len({tuple(sorted(parent.points)) for parent in parents}) == 1
    assert [parent.params["hidden"] for parent in parents] == ["120, 84", "59", "120, 84"]
    assert [parent.params["channels"] for parent in parents] == ["6, 16", "–", "6, 16"]


def test_a_mean_waits_for_every_seed():
    one, two = journal("mlp", 0, 3, until=2, end=None), journal("mlp", 1, 3, until=1, end=None)
    assert variant_content.training_runs([one], 2, "RUNNING")[0].points == {}
    assert {step for _, step in variant_content.training_runs([one, two], 2, "RUNNING")[0].points} == {1}
    assert variant_content.training_runs([[], []], 2, "RUNNING") == []


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (("finished", "diverged"), "FAILED"),
        (("diverged", "diverged"), "FAILED"),
        (("finished", "finished"), "FINISHED"),
        (("finished", "failed"), "FAILED"),
        (("finished", None), "KILLED"),
        ((None, "failed"), "FAILED"),
    ],
)
def test_a_variant_ends_as_its_seeds_do(ends, status):
    journals = [journal("mlp", seed, 3, end=end) for seed, end in enumerate(ends)]
    assert variant_content.training_runs(journals, 2, "KILLED")[0].status == status


def test_a_variant_goes_on_while_a_seed_has_not_begun():
    assert variant_content.training_runs([journal("mlp", 0, 3), []], 2, "RUNNING")[0].status == "RUNNING"


def test_a_seed_that_diverged_is_marked_and_keeps_its_curves_and_checkpoints(tmp_path):
    for make in (make_training, make_evaluation):
        make(tmp_path, "mlp", seeds=4, lost={1: 3, 3: 1})
    parent, *children = variant_content.variant_runs(tmp_path, "mlp")
    assert [(run.status, run.tags.get("diverged")) for run in children] == [
        ("FINISHED", None),
        ("FAILED", "epoch 3, batch 12"),
        ("FINISHED", None),
        ("FAILED", "epoch 1, batch 12"),
    ]
    lost = children[1]
    assert {step for key, step in lost.points if key == "train_loss"} == {1, 2}
    assert {"checkpoints/epoch-01.safetensors", "checkpoints/epoch-02.safetensors"} <= set(lost.artifacts)
    assert not [key for run in (lost, children[3]) for key, _ in run.points if key.startswith("test_")]
    assert "accuracy" not in lost.tags
    assert (parent.status, parent.tags["diverged"], parent.tags["seeds"]) == ("FAILED", "seeds 1, 3", "0 1 2 3")
    note = parent.tags["mlflow.note.content"]
    assert note.startswith("**2 of 4 seeds diverged** (1 in epoch 3, batch 12; 3 in epoch 1, batch 12)")
    assert "Test accuracy" in note
    expected = (children[0].points["train_loss", 3][0] + children[2].points["train_loss", 3][0]) / 2
    assert parent.points["train_loss", 3][0] == pytest.approx(expected)
    assert parent.points["test_accuracy_sd", 3][0] > 0  # of the two that finished


def test_a_variant_whose_seeds_all_diverged_has_a_run_without_results(tmp_path):
    make_all(tmp_path)
    for make in (make_training, make_evaluation):
        make(tmp_path, "mlp", lost={0: 1, 1: 2})
    make_reports(tmp_path)
    files.write_json(tmp_path / "costs.json", {"variants": {"mlp": {"seconds_per_epoch": [0.5, 0.7]}}})
    parent, *children = variant_content.variant_runs(tmp_path, "mlp")
    assert {run.status for run in (parent, *children)} == {"FAILED"}
    assert parent.tags["accuracy"] == "diverged"
    assert "Test accuracy" not in parent.tags["mlflow.note.content"]
    assert parent.tags["verdict"] == "worse than lenet5"  # as the fabricated comparison has it
    assert {key: value for key, (value, _) in parent.points.items()} == {
        ("cost_seconds_per_epoch", 0): pytest.approx(0.6)
    }
    assert all(math.isfinite(value) for run in (parent, *children) for value, _ in run.points.values())


def test_a_training_of_which_a_seed_has_diverged_goes_on_with_the_others():
    going = journal("mlp", 0, 3, until=2, end=None)
    parent, one, other = variant_content.training_runs([going, diverged("mlp", 1, 3, 2)], 2, "RUNNING")
    assert [run.status for run in (parent, one, other)] == ["RUNNING", "RUNNING", "FAILED"]
    assert parent.points["train_loss", 2] == one.points["train_loss", 2]
    assert parent.tags["diverged"] == "seed 1"
    first, *_ = variant_content.training_runs([diverged("mlp", 0, 3, 1), []], 2, "RUNNING")
    assert (first.status, first.points) == ("RUNNING", {})


@pytest.mark.parametrize(
    ("place", "maker"),
    [
        ("journals/mlp/seed-1.jsonl", "train@mlp"),
        ("evaluations/mlp/variant.json", "evaluate@mlp"),
        ("evaluations/mlp/seeds.json", "evaluate@mlp"),
        ("evaluations/mlp/metrics.json", "evaluate@mlp"),
        ("evaluations/mlp/curves.csv", "evaluate@mlp"),
        ("costs.json", "cost"),
        ("reports/comparison.json", "compare"),
    ],
)
def test_a_damaged_output_is_named_with_what_helps(tmp_path, place, maker):
    make_all(tmp_path)
    for content in ("", "{", "[{}]", "{}\n", "5"):
        files.write_text(tmp_path / place, content)
        with pytest.raises(UserError, match=f"{place}: cannot be read .*dvc checkout --force .*--single-item {maker}$"):
            variant_content.variant_runs(tmp_path, "mlp")


def test_missing_validation_figures_are_left_out():
    events = journal("mlp", 0, 1)
    events[1]["validation_loss"] = events[1]["validation_accuracy"] = None
    run = variant_content.training_runs([events], 1, "KILLED")[1]
    assert {key for key, _ in run.points} == {
        "train_loss",
        "train_accuracy",
        "train_seconds",
        "train_peak_memory_bytes",
    }
