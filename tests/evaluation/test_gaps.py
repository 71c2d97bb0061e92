"""Epochs whose weights were not kept: gaps in tables, curves and figures, and answers that say so."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.evaluation import curves, evaluate, predictions
from lenetlab.report import figures
from lenetlab.settings import params, study_schema
from lenetlab.statistics import comparison
from lenetlab.statistics.claims import evidence
from lenetlab.storage import files, manifests, paths
from lenetlab.training import checkpoint, execution
from tests.answers import make_predictions
from tests.pipeline.projects import ROOT

CATALOGUE = params.load(ROOT / "params.yaml")
SETTINGS = {"epochs": 4, "batch_size": 64, "images": 200, "keep_weights": 1}
STUDY = CATALOGUE.model_copy(
    update={"seeds": (4, 9), "device": "cpu", "training": CATALOGUE.training.model_copy(update=SETTINGS)}
)


@pytest.fixture(scope="module")
def evaluated(prepared, tmp_path_factory):
    """A folder with runs/ and mlp/, the evaluation. Seed 4 keeps its epochs 2 and 4, seed 9 the last one."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        patch.setattr("lenetlab.training.devices.cores", lambda: 1)
        patch.setattr(
            checkpoint,
            "kept_epochs",
            lambda journal, _: {2, len(journal) - 1} if journal[0]["seed"] == 4 else {len(journal) - 1},
        )
        plan = execution.plan_training(STUDY, "mlp", dataset.load(prepared / "train"))
        execution.train_variant(plan, folder / "runs", folder / "journals")
    evaluate.write(evaluate.evaluate(STUDY, "mlp", folder / "runs", prepared / "test"), folder / "mlp")
    return folder


def test_test_results_exist_for_kept_epochs_alone(evaluated):
    with (evaluated / "mlp" / paths.CURVES).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["seed"], row["epoch"]) for row in rows] == [(s, e) for s in ("4", "9") for e in ("1", "2", "3", "4")]
    known = {(row["seed"], row["epoch"]) for row in rows if row["test_loss"] and row["test_accuracy"]}
    empty = {(row["seed"], row["epoch"]) for row in rows if not row["test_loss"] and not row["test_accuracy"]}
    assert known == {("4", "2"), ("4", "4"), ("9", "4")}
    assert len(known | empty) == 8
    assert all(row["train_loss"] and row["validation_loss"] for row in rows)
    answers = predictions.read(evaluated / "mlp" / paths.PREDICTIONS)
    assert np.isnan(answers.epoch_accuracy).tolist() == [[True, False, True, False], [True, True, True, False]]
    assert answers.epoch_accuracy[:, -1].tolist() == answers.accuracy.tolist()
    final = files.read_json(evaluated / "mlp" / paths.SEEDS)
    assert [final[seed]["test_accuracy"] for seed in ("4", "9")] == answers.accuracy.tolist()


def test_results_are_those_of_a_training_that_keeps_all_weights(evaluated, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    training = STUDY.training.model_copy(update={"keep_weights": "all"})
    study = STUDY.model_copy(update={"training": training})
    plan = execution.plan_training(study, "mlp", dataset.load(prepared / "train"))
    execution.train_variant(plan, tmp_path / "runs", tmp_path / "journals")
    evaluate.write(evaluate.evaluate(study, "mlp", tmp_path / "runs", prepared / "test"), tmp_path / "mlp")
    some, every = (predictions.read(folder / "mlp" / paths.PREDICTIONS) for folder in (evaluated, tmp_path))
    known = ~np.isnan(some.epoch_accuracy)
    assert np.array_equal(some.epoch_accuracy[known], every.epoch_accuracy[known])
    assert np.array_equal(some.loss, every.loss)
    for name in (paths.METRICS, paths.SEEDS, paths.MISTAKES):
        assert (evaluated / "mlp" / name).read_bytes() == (tmp_path / "mlp" / name).read_bytes()
    recorded = [manifests.read_manifest(one / "runs" / "seed-9" / paths.RUN_RECORD) for one in (evaluated, tmp_path)]
    assert recorded[0]["files"].items() < recorded[1]["files"].items()


def test_curves_have_gaps_and_means_only_where_every_seed_has_a_value(evaluated):
    read = curves.read(evaluated / "mlp" / paths.CURVES, "evaluate@mlp")
    test = read["test_accuracy"]
    assert [math.isnan(value) for value in test.seeds[4]] == [True, False, True, False]
    assert [math.isnan(value) for value in test.mean] == [True, True, True, False]
    assert not any(math.isnan(value) for value in (*read["train_loss"].mean, *read["validation_loss"].mean))
    drawn = {line.get_gid(): line for axes in figures.learning_curves(read).axes for line in axes.get_lines()}
    assert (
        drawn["test-accuracy"].get_marker() == drawn["test-loss-0"].get_marker() == "o"
    )  # alone, a line shows nothing
    assert drawn["train-accuracy"].get_marker() == "None"


def test_statements_about_an_epoch_without_weights_are_not_answered_with_another(evaluated):
    results = evidence.read_results(evaluated / "mlp")
    assert np.isnan(results.curve_values("test_accuracy", 2)).tolist() == [False, True]
    assert np.isnan(results.curve_values("test_accuracy")).tolist() == [False, False]
    assert np.isnan(results.epochs_to(1e-9, 4)).all()  # the first epoch reaches it, but nobody knows
    reached = replace(results, curves={4: {epoch: {"test_accuracy": str(epoch / 10)} for epoch in range(1, 5)}})
    assert reached.epochs_to(0.3, 4) == [3]
    assert reached.epochs_to(0.5, 4) == [5]


def test_a_comparison_by_epochs_names_the_variants_with_gaps():
    """Such an evaluation is older than params.yaml, which does not allow this comparison."""
    declared = study_schema.DeclaredComparison(candidate="lenet5", baseline="mlp", measure="epochs_to", accuracy=0.9)
    study = CATALOGUE.model_copy(update={"comparisons": {"headline": (declared,)}})
    full = make_predictions(np.arange(4), np.tile(np.arange(4), (2, 1)))
    gaps = replace(full, epoch_accuracy=np.array([[np.nan, 1.0], [0.5, 1.0]]))
    with pytest.raises(UserError, match=r"epochs_to needs .* not known of mlp; remedy: training.keep_weights: all"):
        comparison.compare(study, {"lenet5": full, "mlp": gaps}, {})


def test_predictions_must_have_an_accuracy_after_the_last_epoch(tmp_path):
    full = make_predictions(np.arange(4), np.tile(np.arange(4), (2, 1)))
    for values, valid in (([[np.nan, 1.0]], True), ([[0.5, np.nan]], False), ([[np.inf, 1.0]], False)):
        path = tmp_path / "mlp" / "predictions.npz"
        predictions.write(replace(full, epoch_accuracy=np.array(values * 2)), path)
        if valid:
            predictions.read(path)
        else:
            with pytest.raises(UserError, match="epoch_accuracy: a value outside of 0 to 1"):
                predictions.read(path)
