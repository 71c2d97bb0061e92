"""From prepared images of other sizes, channels and classes to trained networks, evaluations, costs and sensitivity."""

from pathlib import Path

import numpy as np
import pytest

from lenetlab.data import dataset
from lenetlab.evaluation import cost, evaluate, mistakes, predictions, sensitivity
from lenetlab.planning import measurement
from lenetlab.settings import params, schema, study_schema
from lenetlab.storage import paths
from lenetlab.training import execution, reproduction
from tests.data import kinds
from tests.data.formats import data_settings

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
COLOUR = data_settings(size=64, channels=3, classes=["cat", "dog", "owl", "tree frog", "bee"], validation=20)
LETTERS = data_settings(size=28, channels=1, classes=[*"abcdefghijklmnopqrstuvwxyz"], validation=52)
MANY = data_settings(size=16, channels=1, classes=300, validation=0)


def study_of(data: study_schema.DataSettings, **training: object) -> study_schema.Study:
    """LeNet-5 and the MLP on images of this kind, with one seed and two epochs."""
    variants = {}
    for name in ("lenet5-regularized", "mlp"):
        variant = STUDY.variants[name]
        form = schema.InputSettings(size=max(data.size, 16), resize="pad", normalize=True)
        rules = variant.regularization.model_copy(update={"augmentation": "elastic", "dropout": 0.0})
        variants[name] = variant.model_copy(update={"input": form, "regularization": rules, "images": data.kind})
    settings = {"epochs": 2, "batch_size": 16, "images": 0, "learning_rate": 0.02, **training}
    changes = {
        "seeds": (3,),
        "device": "cpu",
        "study": tuple(variants),
        "variants": variants,
        "comparisons": {},
        "data": data,
        "training": STUDY.training.model_copy(update=settings),
    }
    return STUDY.model_copy(update=changes)


@pytest.mark.parametrize(("data", "train", "test"), [(COLOUR, 220, 50), (LETTERS, 520, 104), (MANY, 600, 300)])
def test_images_of_any_kind_are_trained_and_evaluated(tmp_path, monkeypatch, data, train, test):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    study, count = study_of(data), len(data.classes)
    folder = kinds.prepared_folder(tmp_path, data, train, test)
    for variant in study.study:
        plan = execution.plan_training(study, variant, dataset.load(folder / "train"))
        execution.train_variant(plan, tmp_path / variant, tmp_path / "journals" / variant)
        result = evaluate.evaluate(study, variant, tmp_path / variant, folder / "test")
        evaluate.write(result, tmp_path / "evaluation")

        answers = predictions.read(tmp_path / "evaluation" / paths.PREDICTIONS)
        assert answers.labels.tolist() == [place % count for place in range(test)]
        assert answers.labels.dtype == answers.predicted.dtype == (np.uint8 if count <= 256 else np.uint16)
        assert result.confusion.shape == (count, count)
        assert result.confusion.sum() == test
        misread = mistakes.read(tmp_path / "evaluation" / paths.MISTAKES, "evaluate")
        pixels = np.load(folder / "test/pixels.npy")
        assert np.array_equal(misread.pixels, pixels[misread.place[misread.pictured]])
        assert misread.predicted.tolist() == answers.predicted[0][misread.place].tolist()
        assert result.record["layers"][-1]["output"] == str(count)
    if count < 10:
        assert answers.accuracy[0] > 0.5  # a bright row, which is easy


def test_costs_and_sensitivity_of_colour_images(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    study = study_of(COLOUR, epochs=1)
    settings = study.sensitivity.model_copy(
        update={"variant": "mlp", "seeds": (0, 1), "dropout": (0.5,), "width": (0.5,)}
        | {"learning_rate": (), "batch_size": (), "images": ()}
    )
    study = study.model_copy(update={"cost": study_schema.CostSettings(rounds=2, batches=1), "sensitivity": settings})
    folder = kinds.prepared_folder(tmp_path, COLOUR, 120, 20)

    costs = cost.measure(study, folder / "train")
    speeds = measurement.measure(study, 100)
    points = sensitivity.measure(study, folder / "train")["points"]

    for measured in (costs, speeds):
        assert all(measured["variants"][name]["seconds_per_epoch"][0] > 0 for name in study.study)
    assert costs["variants"]["mlp"]["parameters"] == study.variants["mlp"].parameters
    assert [point["setting"] for point in points] == [None, "dropout", "width"]


def test_a_training_on_colour_images_is_repeated_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "first"))
    study = study_of(COLOUR, epochs=1)
    folder = kinds.prepared_folder(tmp_path, COLOUR, 60, 5)
    plan = execution.plan_training(study, "lenet5-regularized", dataset.load(folder / "train"))
    execution.train_variant(plan, tmp_path / "runs/lenet5-regularized", tmp_path / "journals/lenet5-regularized")
    record = reproduction.read_records(tmp_path / "runs", tmp_path / "journals", [("lenet5-regularized", 3)])

    (result,) = reproduction.reproduce(record, study, folder / "train")

    assert result.outcome == "identical"
