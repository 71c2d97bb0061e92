"""Evaluation of trained weights: every number again from the weights, by the plainest way."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lenetlab.data import augmentation, dataset
from lenetlab.errors import UserError
from lenetlab.evaluation import curves, evaluate, mistakes, predictions
from lenetlab.networks import build
from lenetlab.settings import params
from lenetlab.storage import manifests
from lenetlab.storage.digests import sha256_file
from lenetlab.training import checkpoint, execution, group, parallel

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
SMALL = STUDY.model_copy(
    update={
        "seeds": (4, 9),
        "device": "cpu",
        "training": STUDY.training.model_copy(update={"epochs": 2, "batch_size": 32}),
    }
)


@pytest.fixture(scope="module")
def evaluated(prepared, tmp_path_factory):
    """A folder with runs/ and evaluation/ of two seeds of the regularised LeNet-5."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        plan = execution.plan(SMALL, "lenet5-regularized", prepared / "train")
        execution.train(plan, folder / "runs", folder / "journals")
    found = evaluate.evaluate(SMALL, "lenet5-regularized", folder / "runs", prepared / "test")
    evaluate.write(found, folder / "evaluation")
    return folder


def test_the_files_hold_what_the_weights_answer(evaluated, prepared):
    content, variant = dataset.load(prepared / "test"), STUDY.variants["lenet5-regularized"]
    scale = dataset.load(prepared / "train").normalization(variant.input)
    digits = content.digits("test", variant.input, scale, torch.device("cpu"))
    found = predictions.read(evaluated / "evaluation" / "predictions.npz")
    seeds = json.loads((evaluated / "evaluation" / "seeds.json").read_text())
    assert found.labels.tolist() == content.labels.tolist()
    assert found.seeds.tolist() == [4, 9]
    assert (found.predicted.dtype, found.labels.dtype) == (np.uint8, np.uint8)
    for row, seed in enumerate((4, 9)):
        model = build.build(variant, seed=0)
        checkpoint.load_weights(model, evaluated / "runs" / f"seed-{seed}" / "epoch-02.safetensors")
        with torch.no_grad():
            probabilities = functional.softmax(model.eval()(digits.images), dim=1)
        assert np.array_equal(found.predicted[row], probabilities.argmax(1).numpy())
        np.testing.assert_allclose(found.probability[row], probabilities.amax(1), atol=1e-5)
        accuracy = (probabilities.argmax(1) == digits.labels).double().mean().item()
        loss = -probabilities[torch.arange(len(digits)), digits.labels].double().log().mean().item()
        assert seeds[str(seed)]["test_accuracy"] == pytest.approx(accuracy, abs=1e-12)
        assert seeds[str(seed)]["test_loss"] == pytest.approx(loss, rel=1e-4)


def test_the_order_in_which_epochs_are_ready_makes_no_difference(evaluated, prepared, tmp_path, monkeypatch):
    perform = parallel.perform
    monkeypatch.setattr(parallel, "perform", lambda tasks, processes: reversed(list(perform(tasks, processes))))
    found = evaluate.evaluate(SMALL, "lenet5-regularized", evaluated / "runs", prepared / "test")
    evaluate.write(found, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (evaluated / "evaluation" / path.name).read_bytes()


def test_metrics_are_the_means_of_the_seeds(evaluated):
    metrics = json.loads((evaluated / "evaluation" / "metrics.json").read_text())
    seeds = json.loads((evaluated / "evaluation" / "seeds.json").read_text()).values()
    accuracies = [seed["test_accuracy"] for seed in seeds]
    assert metrics == {
        "parameters": 61_750,
        "test_accuracy": pytest.approx(sum(accuracies) / 2),
        "test_accuracy_sd": pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5),
        "test_loss": pytest.approx(sum(seed["test_loss"] for seed in seeds) / 2),
    }


def test_the_curves_join_training_and_test(evaluated):
    rows = list(csv.DictReader((evaluated / "evaluation" / "curves.csv").read_text().splitlines()))
    assert tuple(rows[0]) == evaluate.CURVES
    assert [(row["seed"], row["epoch"]) for row in rows] == [("4", "1"), ("4", "2"), ("9", "1"), ("9", "2")]
    trained = list(csv.DictReader((evaluated / "runs" / "seed-9" / "curves.csv").read_text().splitlines()))
    assert [row["train_loss"] for row in rows[2:]] == [row["train_loss"] for row in trained]
    assert rows[1]["test_accuracy"] != rows[0]["test_accuracy"]


def test_damaged_weights_are_named_and_not_evaluated(evaluated, prepared, tmp_path):
    for path in (evaluated / "runs").rglob("*.*"):
        target = tmp_path / path.relative_to(evaluated / "runs")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "seed-9" / "epoch-01.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="seed-9"):
        evaluate.evaluate(SMALL, "lenet5-regularized", tmp_path, prepared / "test")


def diverged(runs: Path, target: Path, lost: dict[int, int]) -> Path:
    """The same runs, of which these seeds were stopped in an epoch."""
    shutil.copytree(runs, target)
    for seed, epoch in lost.items():
        folder = target / f"seed-{seed}"
        record = manifests.read_manifest(folder / "run.json")
        lines = (folder / "curves.csv").read_text().splitlines(keepends=True)
        (folder / "curves.csv").write_text("".join(lines[:epoch]))
        kept = ["curves.csv", *(checkpoint.weights_name(done) for done in range(1, epoch))]
        for name in set(record.pop("files")) - set(kept):
            (folder / name).unlink()
        record |= {"training_set": None, "diverged": {"epoch": epoch, "step": 12}}
        manifests.write_manifest(folder / "run.json", {name: sha256_file(folder / name) for name in kept}, **record)
    return target


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_seed_that_diverged_is_named_and_in_no_figure(evaluated, prepared, tmp_path, epoch):
    runs = diverged(evaluated / "runs", tmp_path / "runs", {9: epoch})
    found = evaluate.evaluate(SMALL, "lenet5-regularized", runs, prepared / "test")
    evaluate.write(found, tmp_path / "some")
    alone = evaluate.evaluate(
        SMALL.model_copy(update={"seeds": (4,)}), "lenet5-regularized", evaluated / "runs", prepared / "test"
    )
    evaluate.write(alone, tmp_path / "alone")
    for name in ("metrics.json", "seeds.json", "curves.csv", "predictions.npz", "mistakes.npz"):
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    record = json.loads((tmp_path / "some" / "variant.json").read_text())
    assert record["diverged"] == {"9": {"epoch": epoch, "step": 12}}
    assert list(record["fingerprints"]) == ["4", "9"]
    assert list(record["training_set"]) == ["4"]
    assert json.loads((tmp_path / "alone" / "variant.json").read_text())["diverged"] == {}


def test_where_every_seed_diverged_there_are_the_same_files_without_rows(evaluated, prepared, tmp_path):
    runs = diverged(evaluated / "runs", tmp_path / "runs", {4: 2, 9: 1})
    found = evaluate.evaluate(SMALL, "lenet5-regularized", runs, prepared / "test")
    evaluate.write(found, tmp_path / "none")
    names = sorted(path.name for path in (evaluated / "evaluation").iterdir())
    assert sorted(path.name for path in (tmp_path / "none").iterdir()) == names
    metrics = json.loads((tmp_path / "none" / "metrics.json").read_text())
    assert metrics == {"parameters": 61_750, "test_accuracy": None, "test_accuracy_sd": None, "test_loss": None}
    assert json.loads((tmp_path / "none" / "seeds.json").read_text()) == {}
    read, whole = (
        predictions.read(folder / "predictions.npz") for folder in (tmp_path / "none", evaluated / "evaluation")
    )
    assert (read.seeds.shape, read.predicted.shape, read.probability.shape) == ((0,), (0, 360), (0, 360))
    assert [part.dtype for part in vars(read).values()] == [part.dtype for part in vars(whole).values()]
    assert read.labels.tolist() == whole.labels.tolist()
    misread, before = (
        mistakes.read(folder / "mistakes.npz", "evaluate") for folder in (tmp_path / "none", evaluated / "evaluation")
    )
    assert misread["pixels"].shape == (0, 28, 28)
    assert {column: values.dtype for column, values in misread.items()} == {
        column: values.dtype for column, values in before.items()
    }
    assert curves.read_evaluation(tmp_path / "none" / "curves.csv", "evaluate") == {}
    assert found.confusion.sum() == 0


def test_weights_of_another_network_are_refused(evaluated):
    model = build.build(STUDY.variants["lenet5-28"], seed=0)
    with pytest.raises(UserError, match="not the weights of this network"):
        checkpoint.load_weights(model, evaluated / "runs" / "seed-4" / "epoch-01.safetensors")


def test_test_images_are_met_as_they_are_whatever_the_variant_was_trained_on(prepared, tmp_path, monkeypatch):
    """A variant with elastic augmentation: nothing is augmented where its weights are evaluated."""
    rules = STUDY.variants["lenet5"].regularization.model_copy(update={"augmentation": "elastic"})
    variant = STUDY.variants["lenet5"].model_copy(update={"regularization": rules})
    study = SMALL.model_copy(update={"variants": {**STUDY.variants, "lenet5": variant}, "seeds": (4,)})
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    execution.train(execution.plan(study, "lenet5", prepared / "train"), tmp_path / "runs", tmp_path / "journals")
    seen, original = [], group.Group.evaluate

    def watched(network: group.Group, images: torch.Tensor) -> torch.Tensor:
        seen.append(images.clone())
        return original(network, images)

    def never(*_: object) -> None:
        raise AssertionError("augmented")

    monkeypatch.setattr(parallel, "workers", lambda *_: 1)  # in this process, where it is watched
    monkeypatch.setattr(group.Group, "evaluate", watched)
    monkeypatch.setattr(augmentation, "changed", never)
    monkeypatch.setattr(augmentation, "draw", never)
    evaluate.evaluate(study, "lenet5", tmp_path / "runs", prepared / "test")
    content = dataset.load(prepared / "test")
    scale = dataset.load(prepared / "train").normalization(variant.input)
    expected = content.digits("test", variant.input, scale, torch.device("cpu")).images
    assert len(seen) == 2  # epochs
    assert all(torch.equal(images, expected) for images in seen)
