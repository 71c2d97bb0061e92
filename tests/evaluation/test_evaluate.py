"""Evaluation of trained weights: every number is computed again from the weights in the simplest way."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lenetlab.data import augmentation, dataset, png, prepare
from lenetlab.data.image_files import read_archive
from lenetlab.errors import UserError
from lenetlab.evaluation import curves, evaluate, mistakes, predictions
from lenetlab.networks import build
from lenetlab.settings import params, schema
from lenetlab.storage import files, manifests
from lenetlab.storage.digests import sha256_file
from lenetlab.training import checkpoint, execution, group, parallel
from tests.data.formats import data_settings, tar

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
VARIANT = "lenet5-regularized"
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
        plan = execution.plan_training(SMALL, VARIANT, dataset.load(prepared / "train"))
        execution.train_variant(plan, folder / "runs", folder / "journals")
    result = evaluate.evaluate(SMALL, VARIANT, folder / "runs", prepared / "test")
    evaluate.write(result, folder / "evaluation")
    return folder


def read_json(path: Path):
    return json.loads(path.read_text())


def test_predictions_accuracies_and_losses_are_those_of_the_weights(evaluated, prepared):
    test_set, definition = dataset.load(prepared / "test"), STUDY.variants[VARIANT]
    normalization = dataset.load(prepared / "train").normalization(definition.input)
    examples = test_set.examples("test", definition.input, normalization, torch.device("cpu"))
    answers = predictions.read(evaluated / "evaluation" / "predictions.npz")
    final = read_json(evaluated / "evaluation" / "seeds.json")
    assert answers.labels.tolist() == test_set.labels.tolist()
    assert answers.seeds.tolist() == [4, 9]
    assert (answers.predicted.dtype, answers.labels.dtype) == (np.uint8, np.uint8)
    for row, seed in enumerate((4, 9)):
        model = build.build_network(definition, seed=0)
        checkpoint.load_weights(model, evaluated / "runs" / f"seed-{seed}" / "epoch-02.safetensors")
        with torch.no_grad():
            probabilities = functional.softmax(model.eval()(examples.images), dim=1)
        assert np.array_equal(answers.predicted[row], probabilities.argmax(1).numpy())
        np.testing.assert_allclose(answers.probability[row], probabilities.amax(1), atol=1e-5)
        accuracy = (probabilities.argmax(1) == examples.labels).double().mean().item()
        loss = -probabilities[torch.arange(len(examples)), examples.labels].double().log().mean().item()
        assert final[str(seed)]["test_accuracy"] == pytest.approx(accuracy, abs=1e-12)
        assert final[str(seed)]["test_loss"] == pytest.approx(loss, rel=1e-4)


def test_files_do_not_depend_on_the_order_in_which_epochs_are_ready(evaluated, prepared, tmp_path, monkeypatch):
    run_tasks = parallel.run_tasks
    monkeypatch.setattr(parallel, "run_tasks", lambda tasks, processes: reversed(list(run_tasks(tasks, processes))))
    evaluate.write(evaluate.evaluate(SMALL, VARIANT, evaluated / "runs", prepared / "test"), tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (evaluated / "evaluation" / path.name).read_bytes()


def test_metrics_are_means_over_seeds(evaluated):
    final = read_json(evaluated / "evaluation" / "seeds.json").values()
    accuracies = [seed["test_accuracy"] for seed in final]
    assert read_json(evaluated / "evaluation" / "metrics.json") == {
        "parameters": 61_750,
        "test_accuracy": pytest.approx(sum(accuracies) / 2),
        "test_accuracy_sd": pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5),
        "test_loss": pytest.approx(sum(seed["test_loss"] for seed in final) / 2),
    }


def test_curves_join_training_and_test(evaluated):
    rows = list(csv.DictReader((evaluated / "evaluation" / "curves.csv").read_text().splitlines()))
    assert tuple(rows[0]) == ("seed", "epoch", *curves.MEASURES)
    assert [(row["seed"], row["epoch"]) for row in rows] == [("4", "1"), ("4", "2"), ("9", "1"), ("9", "2")]
    trained = list(csv.DictReader((evaluated / "runs" / "seed-9" / "curves.csv").read_text().splitlines()))
    assert [row["train_loss"] for row in rows[2:]] == [row["train_loss"] for row in trained]
    assert rows[1]["test_accuracy"] != rows[0]["test_accuracy"]


@pytest.fixture(scope="module")
def with_extra(evaluated, raw, tmp_path_factory):
    """A folder with prepared/ and evaluation/ of the same runs, on the test images and 90 negatives of them."""
    folder = tmp_path_factory.mktemp("with-extra")
    archives = {name: read_archive(raw / name, schema.ImageKind(), []) for name in ("train.tar", "test.tar")}
    for name, images in archives.items():
        contents = zip(images.names, map(png.encode, images.pixels), strict=True)
        files.write_bytes(folder / "raw" / name, tar(contents))
    images = archives["test.tar"]
    negatives = zip(images.names[:90], map(png.encode, 255 - images.pixels[:90]), strict=True)
    files.write_bytes(folder / "raw" / "extra.tar", tar(negatives))
    train, test = folder / "prepared" / "train", folder / "prepared" / "test"
    prepare.prepare(folder / "raw", train, test, data_settings(validation=200))
    evaluate.write(evaluate.evaluate(SMALL, VARIANT, evaluated / "runs", test), folder / "evaluation")
    return folder


def test_extra_images_are_answered_after_the_test_images(evaluated, with_extra):
    alone = predictions.read(evaluated / "evaluation" / "predictions.npz")
    together = predictions.read(with_extra / "evaluation" / "predictions.npz")
    assert together.predicted.shape == (2, 450)
    assert together.labels.tolist() == [*alone.labels, *alone.labels[:90]]  # a negative has the label of its image
    assert np.array_equal(together.predicted[:, :360], alone.predicted)
    assert not np.array_equal(together.predicted[:, 360:], alone.predicted[:, :90])
    definition = STUDY.variants[VARIANT]
    test_set, training = dataset.load(with_extra / "prepared/test"), dataset.load(with_extra / "prepared/train")
    normalization = training.normalization(definition.input)
    extra = test_set.examples("extra", definition.input, normalization, torch.device("cpu"))
    model = build.build_network(definition, seed=0)
    checkpoint.load_weights(model, evaluated / "runs" / "seed-9" / "epoch-02.safetensors")
    with torch.no_grad():
        assert np.array_equal(together.predicted[1, 360:], model.eval()(extra.images).argmax(1).numpy())


def test_accuracies_are_about_both_sets_and_given_for_each(evaluated, with_extra):
    answers = predictions.read(with_extra / "evaluation" / "predictions.npz")
    metrics = read_json(with_extra / "evaluation" / "metrics.json")
    parts = metrics["test_accuracy_by_set"]
    assert parts == {
        "test": pytest.approx(read_json(evaluated / "evaluation" / "metrics.json")["test_accuracy"], abs=1e-12),
        "extra": pytest.approx(answers.correct[:, 360:].mean(), abs=1e-12),
    }
    assert parts["test"] != parts["extra"]
    assert metrics["test_accuracy"] == pytest.approx((360 * parts["test"] + 90 * parts["extra"]) / 450, abs=1e-12)
    assert read_json(with_extra / "evaluation" / "variant.json")["test_images"] == {"test": 360, "extra": 90}
    assert read_json(evaluated / "evaluation" / "variant.json")["test_images"] == {"test": 360}


def test_a_place_says_which_set_a_misread_image_is_of(with_extra):
    """Its number does not: both sets may have it."""
    test_set = dataset.load(with_extra / "prepared/test")
    misread = mistakes.read(with_extra / "evaluation" / "mistakes.npz", "evaluate")
    assert len(set(misread.place.tolist())) == len(misread) > len(set(misread.number.tolist()))
    assert np.array_equal(misread.pixels, test_set.pixels[misread.place[misread.pictured]])
    assert np.array_equal(test_set.splits[misread.place] == "extra", misread.place >= 360)


def test_if_every_seed_diverged_there_is_no_accuracy_by_set(evaluated, with_extra, tmp_path):
    runs = with_diverged_seeds(evaluated / "runs", tmp_path / "runs", {4: 2, 9: 1})
    evaluate.write(evaluate.evaluate(SMALL, VARIANT, runs, with_extra / "prepared/test"), tmp_path / "none")
    assert read_json(tmp_path / "none" / "metrics.json")["test_accuracy_by_set"] == {"test": None, "extra": None}


def test_damaged_weights_raise_a_user_error_that_names_them(evaluated, prepared, tmp_path):
    shutil.copytree(evaluated / "runs", tmp_path / "runs")
    (tmp_path / "runs" / "seed-9" / "epoch-01.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"seed-9/epoch-01.safetensors.*remedy: dvc checkout --force"):
        evaluate.evaluate(SMALL, VARIANT, tmp_path / "runs", prepared / "test")


def test_weights_of_another_network_raise_a_user_error(evaluated, prepared):
    study = SMALL.model_copy(update={"variants": {VARIANT: STUDY.variants["lenet5-28"]}})
    with pytest.raises(UserError, match=r"epoch-01.safetensors: not the weights of this network"):
        evaluate.evaluate(study, VARIANT, evaluated / "runs", prepared / "test")


def with_diverged_seeds(runs: Path, target: Path, epochs: dict[int, int]) -> Path:
    """A copy of these runs in which some seeds diverged, each in the given epoch."""
    shutil.copytree(runs, target)
    for seed, epoch in epochs.items():
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
def test_a_diverged_seed_is_recorded_and_left_out_of_all_results(evaluated, prepared, tmp_path, epoch):
    runs = with_diverged_seeds(evaluated / "runs", tmp_path / "runs", {9: epoch})
    evaluate.write(evaluate.evaluate(SMALL, VARIANT, runs, prepared / "test"), tmp_path / "both")
    alone = SMALL.model_copy(update={"seeds": (4,)})
    evaluate.write(evaluate.evaluate(alone, VARIANT, evaluated / "runs", prepared / "test"), tmp_path / "alone")
    for name in ("metrics.json", "seeds.json", "curves.csv", "predictions.npz", "mistakes.npz"):
        assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    record = read_json(tmp_path / "both" / "variant.json")
    assert record["diverged"] == {"9": {"epoch": epoch, "step": 12}}
    assert list(record["fingerprints"]) == ["4", "9"]
    assert list(record["training_set"]) == ["4"]
    assert read_json(tmp_path / "alone" / "variant.json")["diverged"] == {}


def test_if_every_seed_diverged_the_same_files_are_written_without_rows(evaluated, prepared, tmp_path):
    runs = with_diverged_seeds(evaluated / "runs", tmp_path / "runs", {4: 2, 9: 1})
    result = evaluate.evaluate(SMALL, VARIANT, runs, prepared / "test")
    evaluate.write(result, tmp_path / "none")
    folders = tmp_path / "none", evaluated / "evaluation"
    empty, full = (sorted(path.name for path in folder.iterdir()) for folder in folders)
    assert empty == full
    assert read_json(tmp_path / "none" / "metrics.json") == {
        "parameters": 61_750,
        "test_accuracy": None,
        "test_accuracy_sd": None,
        "test_loss": None,
    }
    assert read_json(tmp_path / "none" / "seeds.json") == {}
    assert curves.read(tmp_path / "none" / "curves.csv", "evaluate") == {}
    assert result.seeds == []
    assert result.confusion.sum() == 0

    empty, full = (predictions.read(folder / "predictions.npz") for folder in folders)
    assert (empty.seeds.shape, empty.predicted.shape, empty.probability.shape) == ((0,), (0, 360), (0, 360))
    assert [array.dtype for array in vars(empty).values()] == [array.dtype for array in vars(full).values()]
    assert empty.labels.tolist() == full.labels.tolist()

    empty, full = (mistakes.read(folder / "mistakes.npz", "evaluate") for folder in folders)
    assert empty.pixels.shape == (0, 28, 28)
    assert [column.dtype for column in vars(empty).values()] == [column.dtype for column in vars(full).values()]


def test_test_images_are_not_augmented(evaluated, prepared, monkeypatch):
    """Even if the variant is trained with augmentation."""
    rules = STUDY.variants[VARIANT].regularization.model_copy(update={"augmentation": "elastic"})
    definition = STUDY.variants[VARIANT].model_copy(update={"regularization": rules})
    study = SMALL.model_copy(update={"variants": {VARIANT: definition}})
    seen, original = [], group.NetworkGroup.evaluation_logits

    def record_images(network: group.NetworkGroup, images: torch.Tensor) -> torch.Tensor:
        seen.append(images.clone())
        return original(network, images)

    def fail(*_: object) -> None:
        raise AssertionError("augmented")

    monkeypatch.setattr(parallel, "process_count", lambda *_: 1)  # in this process, where the patches are
    monkeypatch.setattr(group.NetworkGroup, "evaluation_logits", record_images)
    monkeypatch.setattr(augmentation, "apply", fail)
    monkeypatch.setattr(augmentation, "draw", fail)
    evaluate.evaluate(study, VARIANT, evaluated / "runs", prepared / "test")
    normalization = dataset.load(prepared / "train").normalization(definition.input)
    expected = dataset.load(prepared / "test").examples("test", definition.input, normalization, torch.device("cpu"))
    assert len(seen) == 2  # epochs
    assert all(torch.equal(images, expected.images) for images in seen)
