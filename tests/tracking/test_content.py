"""The records that MLflow shows, from made-up outputs and without MLflow."""

import math

import pytest
from scipy import stats

from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.tracking import content, user_changes, variant_content
from lenetlab.tracking.metrics import names
from tests.tracking.outputs import (
    VARIANTS,
    diverged_journal,
    journal,
    make_all,
    make_evaluation,
    make_prepared,
    make_reports,
    make_training,
)


def parent_run(outputs, variant):
    return variant_content.variant_runs(outputs, variant, None)[0]


def metric_names(run):
    return {name for name, _ in run.metrics}


def names_of_tests(run):
    return {name for name in metric_names(run) if "test" in name}


def test_an_epoch_without_weights_has_no_test_metrics_and_a_dash_in_the_tag(tmp_path):
    """Of three epochs, seed 0 keeps the first and the last one, seed 1 the last one."""
    make_training(tmp_path, "mlp")
    make_evaluation(tmp_path, "mlp")
    table = tmp_path / "evaluations" / "mlp" / "curves.csv"
    removed = [(0, 2), (1, 1), (1, 2)]
    lines = table.read_text().splitlines(keepends=True)
    for seed, epoch in removed:
        (place,) = [place for place, line in enumerate(lines) if line.startswith(f"{seed},{epoch},")]
        lines[place] = f"{seed},{epoch},,\n"
        folder = tmp_path / "runs" / "mlp" / f"seed-{seed}"
        (folder / f"epoch-{epoch:02}.safetensors").unlink()
        record = files.read_json(folder / "run.json")
        del record["files"][f"epoch-{epoch:02}.safetensors"]
        files.write_json(folder / "run.json", record)
    table.write_text("".join(lines))
    parent, first, second = variant_content.variant_runs(tmp_path, "mlp", None)
    steps = [
        {step for name, step in run.metrics if name == names.TEST_CURVES["test_accuracy"]}
        for run in (first, second, parent)
    ]
    assert steps == [{1, 3}, {3}, {3}]
    assert [[digest == "-" for digest in run.tags[user_changes.WEIGHTS].split()] for run in (first, second)] == [
        [False, True, False],
        [True, True, False],
    ]
    assert {step for name, step in parent.metrics if name == names.TRAIN_LOSS} == {1, 2, 3}


# The data set and the comparison.


def test_without_outputs_there_are_no_runs(tmp_path):
    assert content.prepare_runs(tmp_path) == content.comparison_runs(tmp_path) == []
    assert variant_content.variant_runs(tmp_path, "mlp", None) == []


def test_the_run_of_the_data_set(tmp_path):
    make_prepared(tmp_path)
    (run,) = content.prepare_runs(tmp_path)
    assert run.params == {
        **{"training_images": "55000", "validation_images": "5000", "test_images": "10000"},
        **{"mean": "0.1307", "std": "0.3081", "duplicates_within": "0", "duplicates_across": "0"},
        **{"size": "28", "channels": "1", "classes": "10"},
    }
    assert run.tags["mlflow.note.content"].startswith(
        "Images: 55000 training, 5000 validation, 10000 test; 28×28 grey. Classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9."
    )
    assert {context: folder for context, (folder, _) in run.datasets.items()} == {
        "training": "data/prepared/train",
        "test": "data/prepared/test",
    }


def test_the_run_of_the_data_set_mentions_extra_test_images(tmp_path):
    make_prepared(tmp_path)
    path = tmp_path / "data" / "prepared" / "test" / "profile.json"
    test = files.read_json(path)
    test["splits"]["extra"] = test["splits"]["test"] | {"images": 700}
    test["conversions"] = {"extra": {"grey stored as 8-bit RGB": 700}}
    files.write_json(path, test)
    (run,) = content.prepare_runs(tmp_path)
    assert (run.params["test_images"], run.params["extra_images"]) == ("10000", "700")
    assert run.tags["mlflow.note.content"].startswith(
        "Images: 55000 training, 5000 validation, 10000 test, 700 extra test; 28×28 grey."
        " Converted: 700 extra images (grey stored as 8-bit RGB)."
    )


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["cat & dog", "a|b", "<b>", "中"], r"cat \& dog, a\|b, \<b\>, 中."),
        ([f"n{number}" for number in range(51)], "51."),
    ],
)
def test_the_run_of_colour_images_names_the_classes(tmp_path, names, shown):
    make_prepared(tmp_path)
    path = tmp_path / "data" / "prepared" / "train" / "profile.json"
    profile = files.read_json(path) | {"size": 64, "channels": 3, "classes": names}
    profile["splits"]["training"] |= {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.25]}
    files.write_json(path, profile)
    (run,) = content.prepare_runs(tmp_path)
    assert (run.params["mean"], run.params["std"]) == ("0.1, 0.2, 0.3", "0.5, 0.5, 0.25")
    assert (run.params["size"], run.params["channels"], run.params["classes"]) == ("64", "3", str(len(names)))
    assert f"; 64×64 colour. Classes: {shown} `samples.png`" in run.tags["mlflow.note.content"]


def test_results_that_only_git_has_are_no_run(tmp_path):
    """As in a new clone: DVC has not made or restored the rest of the report."""
    make_all(tmp_path)
    (tmp_path / "reports" / "origin.json").unlink()
    assert content.comparison_runs(tmp_path) == []


def test_the_run_of_the_comparison(tmp_path):
    make_all(tmp_path)
    (run,) = content.comparison_runs(tmp_path)
    assert run.params == {"comparisons": "2", "better": "1", "worse": "0", "equivalent": "0", "inconclusive": "1"}
    assert (run.tags["verdict"], run.tags["dirty"]) == ("1 better, 1 inconclusive", "true")
    assert run.tags["mlflow.note.content"] == (tmp_path / "reports" / "report.md").read_text()
    files.write_text(tmp_path / "reports" / "report.md", "word\n" * 2000)
    (again,) = content.comparison_runs(tmp_path)
    assert again.fingerprint == run.fingerprint
    note = again.tags["mlflow.note.content"]
    assert len(note) < 8000  # MLflow's limit
    assert note.endswith("word\n\n*The rest is in `report.md`, under Artifacts.*")


# A variant after training.


def test_a_parent_run_has_the_means_of_its_seeds(tmp_path):
    make_all(tmp_path)
    parent, *children = variant_content.variant_runs(tmp_path, "lenet5", None)
    assert [child.name for child in children] == ["lenet5 seed 0", "lenet5 seed 1"]
    assert {child.parent for child in children} == {parent.fingerprint}
    curves = (names.JOURNAL["train_loss"], names.JOURNAL["validation_accuracy"], names.TEST_CURVES["test_loss"])
    for key in (*curves, names.JOURNAL["seconds"]):
        expected = (children[0].metrics[key, 2][0] + children[1].metrics[key, 2][0]) / 2
        assert parent.metrics[key, 2][0] == pytest.approx(expected), key
    final = files.read_json(tmp_path / "evaluations" / "lenet5" / "metrics.json")
    assert parent.metrics[names.TEST_ACCURACY, 0][0] == pytest.approx(100 * final["test_accuracy"], abs=1e-4)
    assert parent.metrics[names.TEST_ERROR, 0][0] == pytest.approx(100 - 100 * final["test_accuracy"], abs=1e-4)
    assert parent.metrics[names.TEST_LOSS, 0][0] == final["test_loss"]
    assert len(metric_names(parent)) < 20  # MLflow's page is hard to read with more


def test_all_variants_have_the_same_params_and_metrics(tmp_path):
    make_all(tmp_path)
    parents = [parent_run(tmp_path, variant) for variant in VARIANTS]
    assert len({tuple(sorted(parent.params)) for parent in parents}) == 1
    assert len({tuple(sorted(parent.metrics)) for parent in parents}) == 1
    assert [parent.params["hidden"] for parent in parents] == ["120, 84", "59", "120, 84"]
    assert [parent.params["channels"] for parent in parents] == ["6, 16", "–", "6, 16"]


def test_costs_are_metrics_of_the_parent_run(tmp_path):
    make_all(tmp_path)
    measured = {"parameters": 61075, "multiply_accumulates": 61006, "seconds_per_epoch": [0.5, 0.7]}
    measured |= {"device_memory_bytes": [None, None], "on_processor": [1.0, 1.0]}
    files.write_json(tmp_path / "costs.json", {"variants": {"mlp": measured}})
    parent, *children = variant_content.variant_runs(tmp_path, "mlp", None)
    assert {key: value for key, (value, _) in parent.metrics.items() if key[0].startswith("cost/")} == {
        ("cost/multiply-accumulates", 0): 61006,
        ("cost/seconds per epoch", 0): 0.6,
    }
    others = [*children, *variant_content.variant_runs(tmp_path, "lenet5", None)]
    assert not [name for run in others for name in metric_names(run) if name.startswith("cost/")]


def test_the_interval_is_that_of_students_t(tmp_path):
    make_all(tmp_path, seeds=4)
    parent = parent_run(tmp_path, "mlp")
    final = files.read_json(tmp_path / "evaluations" / "mlp" / "metrics.json")
    error = final["test_accuracy_sd"] / math.sqrt(4)
    low, high = stats.t.interval(0.95, 3, final["test_accuracy"], error)
    assert parent.metrics[names.LOW, 0][0] == pytest.approx(100 * low, abs=1e-4)
    assert parent.metrics[names.HIGH, 0][0] == pytest.approx(100 * high, abs=1e-4)
    assert parent.tags["interval"] == f"{100 * low:.2f}–{100 * high:.2f} %"


def test_one_seed_has_no_interval(tmp_path):
    make_training(tmp_path, "mlp", seeds=1)
    make_evaluation(tmp_path, "mlp", seeds=1)
    parent = parent_run(tmp_path, "mlp")
    assert parent.tags["interval"] == "needs two seeds"
    assert names.LOW not in metric_names(parent)


def test_candidate_and_baseline_have_a_verdict(tmp_path):
    make_all(tmp_path)
    assert {variant: parent_run(tmp_path, variant).tags["verdict"] for variant in VARIANTS} == {
        "lenet5": "better than mlp; inconclusive against lenet5-regularized",
        "mlp": "worse than lenet5",
        "lenet5-regularized": "inconclusive against lenet5",
    }


def test_a_verdict_is_about_the_first_seeds_and_names_its_measure(tmp_path):
    """A variant may have more seeds than its comparison needed, as they were added for another comparison."""
    make_all(tmp_path)
    path = tmp_path / "reports" / "comparison.json"
    entries = files.read_json(path)
    first = {name: files.read_json(tmp_path / "evaluations" / name / "seeds.json")["0"] for name in ("lenet5", "mlp")}
    for entry, measure in zip(entries, ("test_accuracy", "test_loss"), strict=True):
        entry |= {"candidate": "lenet5", "baseline": "mlp", "measure": measure, "seeds": 1, "verdict": "better"}
        entry["difference"] = first["lenet5"][measure] - first["mlp"][measure]
        entry["declared"] = entries[0]["declared"]
    files.write_json(path, entries)
    assert parent_run(tmp_path, "lenet5").tags["verdict"] == "better than mlp; better than mlp (test_loss)"
    files.write_json(path, [{**entries[0], "difference": entries[0]["difference"] + 0.001}])
    assert "verdict" not in parent_run(tmp_path, "lenet5").tags


def test_a_comparison_of_earlier_results_gives_no_verdict(tmp_path):
    make_all(tmp_path)
    make_training(tmp_path, "mlp", epochs=2)
    make_evaluation(tmp_path, "mlp", epochs=2)
    assert "verdict" not in parent_run(tmp_path, "mlp").tags
    assert "verdict" not in parent_run(tmp_path, "lenet5").tags
    assert "verdict" in parent_run(tmp_path, "lenet5-regularized").tags


def test_an_evaluation_of_an_earlier_training_is_ignored(tmp_path):
    make_all(tmp_path)
    make_training(tmp_path, "mlp", epochs=2)
    for run in variant_content.variant_runs(tmp_path, "mlp", None):
        assert "accuracy" not in run.tags
        assert not names_of_tests(run)


@pytest.mark.parametrize(
    ("file", "stage"),
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
def test_a_damaged_file_raises_a_user_error_with_a_remedy(tmp_path, file, stage):
    make_all(tmp_path)
    restore = "git checkout" if stage == "compare" else "dvc checkout --force"
    for damaged in ("", "{", "[{}]", "{}\n", "5"):
        files.write_text(tmp_path / file, damaged)
        with pytest.raises(UserError, match=f"{file}: cannot be read .*; remedy: {restore} .*--single-item {stage}$"):
            variant_content.variant_runs(tmp_path, "mlp", None)


# During training.


def test_means_are_those_of_epochs_that_all_seeds_have():
    one, two = journal("mlp", 0, 3, until=2, end=None), journal("mlp", 1, 3, until=1, end=None)
    assert variant_content.training_runs([one], 2, "RUNNING", None)[0].metrics == {}
    assert {step for _, step in variant_content.training_runs([one, two], 2, "RUNNING", None)[0].metrics} == {1}
    assert variant_content.training_runs([[], []], 2, "RUNNING", None) == []


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
def test_the_status_of_a_parent_run_follows_from_those_of_its_seeds(ends, status):
    journals = [journal("mlp", seed, 3, end=end) for seed, end in enumerate(ends)]
    assert variant_content.training_runs(journals, 2, "KILLED", None)[0].status == status


def test_a_parent_run_is_running_if_a_seed_has_not_started():
    assert variant_content.training_runs([journal("mlp", 0, 3), []], 2, "RUNNING", None)[0].status == "RUNNING"


def test_without_validation_images_there_are_no_validation_metrics():
    events = journal("mlp", 0, 1)
    events[1]["validation_loss"] = events[1]["validation_accuracy"] = None
    _, run = variant_content.training_runs([events], 1, "KILLED", None)
    assert metric_names(run) == {
        *(names.JOURNAL[key] for key in ("train_loss", "train_accuracy", "seconds", "peak_memory_bytes"))
    }
    assert set(run.datasets) == {"training"}


# Seeds that diverged.


def test_a_diverged_seed_keeps_its_curves_and_weights_and_is_in_no_mean(tmp_path):
    for make in (make_training, make_evaluation):
        make(tmp_path, "mlp", seeds=4, diverged={1: 3, 3: 1})
    parent, *children = variant_content.variant_runs(tmp_path, "mlp", None)
    assert [(run.status, run.tags.get("diverged")) for run in children] == [
        ("FINISHED", None),
        ("FAILED", "epoch 3, batch 12"),
        ("FINISHED", None),
        ("FAILED", "epoch 1, batch 12"),
    ]
    diverged = children[1]
    assert {step for name, step in diverged.metrics if name == names.TRAIN_LOSS} == {1, 2}
    assert {"checkpoints/epoch-01.safetensors", "checkpoints/epoch-02.safetensors"} <= set(diverged.artifacts)
    assert not [name for run in (diverged, children[3]) for name in names_of_tests(run)]
    assert "accuracy" not in diverged.tags
    assert (parent.status, parent.tags["diverged"], parent.tags["seeds"]) == ("FAILED", "seeds 1, 3", "0 1 2 3")
    note = parent.tags["mlflow.note.content"]
    assert note.startswith("**2 of 4 seeds diverged** (1 in epoch 3, batch 12; 3 in epoch 1, batch 12)")
    assert "Test accuracy" in note
    expected = (children[0].metrics[names.TRAIN_LOSS, 3][0] + children[2].metrics[names.TRAIN_LOSS, 3][0]) / 2
    assert parent.metrics[names.TRAIN_LOSS, 3][0] == pytest.approx(expected)
    assert parent.metrics[names.DEVIATION, 0][0] > 0  # of the two that finished


def test_if_all_seeds_diverged_the_parent_run_has_no_results(tmp_path):
    make_all(tmp_path)
    for make in (make_training, make_evaluation):
        make(tmp_path, "mlp", diverged={0: 1, 1: 2})
    make_reports(tmp_path)
    files.write_json(tmp_path / "costs.json", {"variants": {"mlp": {"seconds_per_epoch": [0.5, 0.7]}}})
    parent, *children = variant_content.variant_runs(tmp_path, "mlp", None)
    assert {run.status for run in (parent, *children)} == {"FAILED"}
    assert parent.tags["accuracy"] == "diverged"
    assert "Test accuracy" not in parent.tags["mlflow.note.content"]
    assert parent.tags["verdict"] == "worse than lenet5"  # as in the made-up comparison
    assert {key: value for key, (value, _) in parent.metrics.items()} == {("cost/seconds per epoch", 0): 0.6}
    assert all(math.isfinite(value) for run in (parent, *children) for value, _ in run.metrics.values())


def test_if_a_seed_diverges_during_training_the_others_go_on():
    running = journal("mlp", 0, 3, until=2, end=None)
    journals = [running, diverged_journal("mlp", 1, 3, 2)]
    parent, first, second = variant_content.training_runs(journals, 2, "RUNNING", None)
    assert [run.status for run in (parent, first, second)] == ["RUNNING", "RUNNING", "FAILED"]
    assert parent.metrics[names.TRAIN_LOSS, 2] == first.metrics[names.TRAIN_LOSS, 2]
    assert parent.tags["diverged"] == "seed 1"
    parent, *_ = variant_content.training_runs([diverged_journal("mlp", 0, 3, 1), []], 2, "RUNNING", None)
    assert (parent.status, parent.metrics) == ("RUNNING", {})


def test_arguments_of_a_class_of_the_user_do_not_hide_other_params():
    model = {"file": "networks/mine.py", "name": "Small", "dropout": 0.3, "wide": True}
    definition = {"input": {"size": 28}, "model": model, "regularization": {"dropout": 0.0}}
    params = content.training_params(
        {"identity": {"definition": definition, "training": {"epochs": 2}}, "parameters": 9}
    )
    assert (params["model"], params["file"], params["dropout"]) == ("Small", "networks/mine.py", "0.0")
    assert (params["argument.dropout"], params["argument.wide"], params["hidden"]) == ("0.3", "true", "–")


def test_the_layers_of_a_cnn_are_one_param():
    layers = [{"conv": 16, "kernel": 3}, {"norm": "batch"}]
    definition = {"input": {}, "model": {"name": "cnn", "layers": layers}, "regularization": {}}
    params = content.training_params({"identity": {"definition": definition, "training": {}}, "parameters": 9})
    assert params["layers"] == "{conv: 16, kernel: 3}, {norm: batch}"
