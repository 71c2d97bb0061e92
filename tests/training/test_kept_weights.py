"""With `training.keep_weights: k`, only the last k epochs and the best one keep their weights, during training too."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.storage import manifests, paths, stage_outputs
from lenetlab.storage.digests import sha256_file
from lenetlab.training import checkpoint, execution, loop, reproduction, run_files
from tests.training.jobs import load_digits, load_prepared, make_job, make_study, train_one

EPOCHS = 5
SETTINGS = {"epochs": EPOCHS, "optimizer": "adamw", "learning_rate": 0.02, "schedule": "cosine"}
SETTINGS |= {"weight_averaging": 0.5}


def job(keep: object) -> run_files.TrainingJob:
    return make_job("mlp", keep_weights=keep, **SETTINGS)


@pytest.fixture
def second_epoch_is_best(monkeypatch):
    """The losses on the validation images, epoch by epoch; those on the training images at the end are true."""
    measured, losses = loop.loss_and_accuracy, iter([3.0, 1.0, 2.0, 1.0, 4.0])

    def replaced(network, examples):
        loss, accuracy = measured(network, examples)
        return (loss if len(examples) > 50 else loss * 0 + next(losses)), accuracy

    monkeypatch.setattr(loop, "loss_and_accuracy", replaced)


@pytest.fixture(scope="module")
def all_weights(prepared, tmp_path_factory) -> dict[str, str]:
    """SHA-256 of the weights of every epoch, by file name."""
    folder = tmp_path_factory.mktemp("all")
    train_one(prepared, job("all"), folder)
    return {path.name: sha256_file(path) for path in folder.glob("epoch-*")}


def recorded_weights(folder: Path) -> dict[str, str]:
    """From run.json; AssertionError unless the files are as it says."""
    recorded = manifests.read_manifest(folder / paths.RUN_RECORD)["files"]
    return {name: digest for name, digest in recorded.items() if name != paths.CURVES}


def names(*epochs: int) -> set[str]:
    return {checkpoint.weights_name(epoch) for epoch in epochs}


@pytest.mark.usefixtures("second_epoch_is_best")
@pytest.mark.parametrize(
    ("keep", "epochs"), [(1, (2, 5)), (2, (2, 4, 5)), (3, (2, 3, 4, 5)), (4, (2, 3, 4, 5)), (9, (1, 2, 3, 4, 5))]
)
def test_the_last_epochs_and_the_best_one_are_kept_with_the_same_bits(prepared, all_weights, tmp_path, keep, epochs):
    train_one(prepared, job(keep), tmp_path)
    assert recorded_weights(tmp_path) == {name: all_weights[name] for name in names(*epochs)}


@pytest.mark.usefixtures("second_epoch_is_best")
@pytest.mark.parametrize("stop", range(1, EPOCHS))
def test_the_best_epoch_is_known_after_a_stop(prepared, all_weights, tmp_path, stop):
    train_one(prepared, job(1), tmp_path, epochs=stop)
    train_one(prepared, job(1), tmp_path)
    assert recorded_weights(tmp_path) == {name: all_weights[name] for name in names(2, 5)}


@pytest.mark.parametrize("keep", [1, 2])
def test_during_training_there_are_few_files_and_both_states_are_intact(prepared, tmp_path, keep):
    """The weights that the last two manifests list: two best epochs at most, and one more than is kept in the end."""
    training, validation = load_digits(prepared, job(keep)), load_digits(prepared, job(keep), "validation", 50)
    for event in loop.train_jobs([job(keep)], training, validation, [tmp_path]):
        assert len(list(tmp_path.glob("epoch-*"))) <= keep + 3
        listed: set[str] = set()
        for manifest in tmp_path.glob("progress-*"):
            listed |= set(manifests.read_manifest(manifest)["files"])
        if event["event"] == "epoch":
            assert {path.name for path in tmp_path.glob("*.safetensors")} == listed


@pytest.mark.parametrize("prefix", ["state", "epoch"])
def test_training_goes_back_to_the_epoch_before_if_a_file_is_damaged(prepared, tmp_path, prefix, capsys):
    train_one(prepared, job(1), tmp_path / "undisturbed")
    train_one(prepared, job(1), tmp_path / "damaged", epochs=3)
    (tmp_path / "damaged" / f"{prefix}-03.safetensors").write_bytes(b"damaged")
    assert len(train_one(prepared, job(1), tmp_path / "damaged")) == 3  # the third again, and two more
    assert f"{prefix}-03.safetensors: damaged" in capsys.readouterr().err
    assert recorded_weights(tmp_path / "damaged") == recorded_weights(tmp_path / "undisturbed")


def test_without_validation_images_the_best_epoch_has_the_lowest_training_loss(prepared, tmp_path, monkeypatch):
    trained, losses = loop.train_epoch, iter([3.0, 1.0, 2.0, 4.0, 5.0])

    def replaced(*arguments):
        loss, accuracy = trained(*arguments)
        return loss * 0 + next(losses), accuracy

    monkeypatch.setattr(loop, "train_epoch", replaced)
    training, none = load_digits(prepared, job(1)), load_digits(prepared, job(1), limit=0)
    list(loop.train_jobs([job(1)], training, none, [tmp_path]))
    assert set(recorded_weights(tmp_path)) == names(2, 5)


losses = st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), min_size=1, max_size=12)


@given(losses, st.integers(1, 12), st.booleans())
def test_kept_epochs(values, keep, validation):
    measured = {"validation_loss": None, "train_loss": 1.0}
    key = "validation_loss" if validation else "train_loss"
    journal = [{"event": "start"}]
    kept: list[set[int]] = []
    for epoch, value in enumerate(values, start=1):
        journal.append({"event": "epoch", "epoch": epoch, **measured, key: value})
        kept.append(checkpoint.kept_epochs(journal, keep))
        assert checkpoint.kept_epochs(journal, "all") == set(range(1, epoch + 1))
    best = values.index(min(values)) + 1
    assert kept[-1] == {best, *range(max(1, len(values) - keep + 1), len(values) + 1)}
    for before, after in pairwise(kept):  # what was removed is never wanted again
        assert after <= before | {max(after)}


def test_outputs_hold_the_kept_weights_alone_and_can_be_reproduced(prepared, tmp_path, own_root):
    study = make_study(seeds=(0, 1), epochs=4, keep_weights=1)
    plan = execution.plan_training(study, "mlp", load_prepared(prepared / "train"))
    execution.train_variant(plan, tmp_path / "runs", tmp_path / "journals")
    for seed in (0, 1):
        folder = tmp_path / "runs" / f"seed-{seed}"
        weights = recorded_weights(folder)
        assert {path.name for path in folder.iterdir()} == {*weights, paths.CURVES, paths.RUN_RECORD}
        assert len(weights) <= 2
    record = reproduction.read_record(folder, tmp_path / "journals" / "seed-1.jsonl")
    assert [digest != stage_outputs.NOT_KEPT for digest in record.weights][-1]
    assert (len(record.weights), len(record.accuracy)) == (4, 4)
    (result,) = reproduction.reproduce([record], study, prepared / "train")
    assert result.outcome == "identical"
    text = f"the weights of all {len(weights)} kept epochs are the same, bit for bit"
    assert text in reproduction.summary(record, result)
    assert own_root.exists()


def test_a_variant_may_keep_other_weights_than_the_study(prepared):
    study = make_study(seeds=(0,))
    kept = study.variants["mlp"].training.model_copy(update={"keep_weights": 2})
    variants = study.variants | {"mlp": study.variants["mlp"].model_copy(update={"training": kept})}
    plans = [
        execution.plan_training(one, "mlp", load_prepared(prepared / "train"))
        for one in (study, study.model_copy(update={"variants": variants}))
    ]
    assert [plan.jobs[0].training.keep_weights for plan in plans] == ["all", 2]
    assert [plan.jobs[0].record["identity"]["training"]["keep_weights"] for plan in plans] == ["all", 2]
    assert plans[0].folders != plans[1].folders


def test_a_gap_is_a_difference_only_where_the_other_training_has_weights():
    digests = {"epoch-02.safetensors": "bb", "epoch-10.safetensors": "jj", paths.CURVES: "cc"}
    weights = stage_outputs.weights_by_epoch(digests)
    assert weights == ["-", "bb", *["-"] * 7, "jj"]
    assert stage_outputs.weights_by_epoch({}) == []
    origin = {"torch": "1", "numpy": "1", "python": "3", "device": "cpu: one"}
    identity = {"variant": "mlp", "data": "", "code": "", "definition": {}, "training": {}}
    identity |= {"torch": "1", "numerics": "", "device": "cpu"}
    record = reproduction.TrainingRecord(identity, 0, "", weights, [0.5] * 10, origin)
    assert reproduction.compare(record, record).outcome == "identical"
    other = reproduction.TrainingRecord(identity, 0, "", ["-", "-", "cc", *weights[3:]], [0.5] * 10, origin)
    assert reproduction.compare(record, other).epoch == 2
