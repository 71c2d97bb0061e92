"""A training resumes exactly where it was stopped, even if files are damaged."""

import json
import shutil
from pathlib import Path

import pytest

from lenetlab.storage import paths
from lenetlab.training import checkpoint, group, loop, optimizer, randomness, run_files
from tests.training.jobs import (
    CPU,
    UNSTABLE,
    UNSTABLE_TRAINING,
    load_digits,
    make_job,
    repeatable_files,
    train_one,
)

JOB = make_job(augmentation="affine", schedule="cosine", weight_averaging=0.9)
EPOCHS = JOB.training.epochs


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory) -> dict[str, str]:
    """The files of JOB, trained without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    train_one(prepared, JOB, folder)
    return repeatable_files(folder)


@pytest.fixture(scope="module")
def after_one(prepared, tmp_path_factory) -> Path:
    """The folder of JOB, stopped after one epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    train_one(prepared, JOB, folder, epochs=1)
    return folder


@pytest.fixture(scope="module")
def after_two(prepared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    train_one(prepared, JOB, folder, epochs=2)
    return folder


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train_one(prepared, make_job("mlp", epochs=4), folder)
    return folder


def copied(folder: Path, target: Path) -> Path:
    return shutil.copytree(folder, target / "copy")


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_stopped_training_resumes_exactly_where_it_was(prepared, tmp_path, kind):
    job = make_job(optimizer=kind, augmentation="affine", schedule="one-cycle", learning_rate=0.003)
    train_one(prepared, job, tmp_path / "whole")
    for epochs in (1, 2):
        folder = tmp_path / str(epochs)
        train_one(prepared, job, folder, epochs)
        assert not run_files.is_finished(folder)
        assert len(train_one(prepared, job, folder)) == EPOCHS - epochs
        assert repeatable_files(folder) == repeatable_files(tmp_path / "whole")


@pytest.mark.parametrize(("stop", "members"), [(1, 2), (2, 2), (3, 2), (2, 8)])
def test_the_copies_beside_a_seed_resume_with_it(prepared, tmp_path, monkeypatch, stop, members):
    """This one would diverge if they began again. A group on a GPU is filled to eight."""
    monkeypatch.setitem(group.MIN_MEMBERS, "cpu", members)
    job = make_job("lenet5-28", seed=5, **UNSTABLE, **UNSTABLE_TRAINING)
    examples, none = load_digits(prepared, job, limit=48), load_digits(prepared, job, limit=0)
    *_, last = loop.train_jobs([job], examples, none, [tmp_path / "whole"])
    assert last["status"] == "finished"
    for _, epoch in zip(range(stop), loop.train_jobs([job], examples, none, [tmp_path / "stopped"]), strict=False):
        assert epoch["event"] == "epoch"
    list(loop.train_jobs([job], examples, none, [tmp_path / "stopped"]))
    assert repeatable_files(tmp_path / "stopped") == repeatable_files(tmp_path / "whole")


def test_averaged_weights_are_resumed_too(prepared, whole, after_one, tmp_path):
    folder = copied(after_one, tmp_path)
    assert len(train_one(prepared, JOB, folder)) == EPOCHS - 1
    assert repeatable_files(folder) == whole


def forget(prefix: str):
    """Set the tensors of a resumed state with this prefix back to those of a new one."""

    def forget_tensors(state: checkpoint.TrainingState, fresh: checkpoint.TrainingState) -> None:
        for name, value in fresh.member_tensors(0).items():
            if name.startswith(prefix):
                state.member_tensors(0)[name].copy_(value)

    return forget_tensors


FORGOTTEN = {  # part of the state -> resume without it
    "weights": forget("model."),
    "optimizer": forget("optimizer."),
    "averages": forget("optimizer.average"),
    "epoch": lambda state, fresh: setattr(state, "epoch", fresh.epoch),
    "journal": lambda state, _: state.journals[0].clear(),
    "weights of earlier epochs": lambda state, _: state.digests[0].clear(),
}


@pytest.mark.parametrize("part", FORGOTTEN)
def test_a_checkpoint_without_a_part_of_the_state_would_be_noticed(
    prepared, whole, after_one, tmp_path, monkeypatch, count, part
):
    """The control of the tests above."""
    original = checkpoint.restore

    def partial(state: checkpoint.TrainingState, index: int, folder: Path) -> None:
        original(state, index, folder)
        FORGOTTEN[part](state, loop.initial_state([JOB], CPU))

    monkeypatch.setattr(checkpoint, "restore", partial)
    folder = copied(after_one, tmp_path)
    train_one(prepared, JOB, folder)
    count("controls: a part of the state left out")
    assert repeatable_files(folder) != whole


@pytest.mark.parametrize("part", ["order", "augmentation", "dropout", "schedule"])
def test_random_numbers_or_a_schedule_that_start_again_would_be_noticed(
    prepared, whole, after_one, tmp_path, monkeypatch, count, part
):
    """None of these is saved, because each follows from seed and epoch; those of another epoch change the bits."""
    generator, learning_rate = randomness.generator, optimizer.learning_rate
    if part == "schedule":
        steps_per_epoch = 13
        monkeypatch.setattr(
            optimizer,
            "learning_rate",
            lambda settings, step, steps: learning_rate(settings, step % steps_per_epoch, steps),
        )
    else:
        monkeypatch.setattr(
            randomness, "generator", lambda seed, epoch, purpose: generator(seed, epoch - (purpose == part), purpose)
        )
    folder = copied(after_one, tmp_path)
    train_one(prepared, JOB, folder)
    count("controls: a part of the state left out")
    assert repeatable_files(folder) != whole


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if kind == "cut" else content)
    if kind == "remove":
        path.unlink()


@pytest.mark.parametrize("name", ["state-02.safetensors", "epoch-02.safetensors", "progress-02.json"])
@pytest.mark.parametrize("kind", ["flip", "cut", "remove"])
def test_a_damaged_file_is_named_and_training_resumes_from_the_epoch_before(
    prepared, whole, after_two, tmp_path, capsys, name, kind
):
    folder = copied(after_two, tmp_path)
    damage(folder / name, kind)
    assert len(train_one(prepared, JOB, folder)) == 2  # the second epoch again, and the third
    assert repeatable_files(folder) == whole
    message = f"{folder / name}: {'missing' if kind == 'remove' else 'damaged'}"
    assert (message in capsys.readouterr().err) == ((name, kind) != ("progress-02.json", "remove"))


def test_damaged_weights_of_an_early_epoch_are_trained_again_from_the_start(
    prepared, whole, after_two, tmp_path, capsys
):
    folder = copied(after_two, tmp_path)
    damage(folder / "epoch-01.safetensors", "flip")
    assert len(train_one(prepared, JOB, folder)) == 3
    assert repeatable_files(folder) == whole
    assert "epoch-01.safetensors: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["epoch-02.safetensors", "curves.csv", "run.json", "journal.jsonl", "finished.json"])
def test_finished_means_that_every_file_is_intact(finished, tmp_path, capsys, name):
    folder = copied(finished, tmp_path)
    assert run_files.is_finished(folder)
    damage(folder / name, "flip")
    assert not run_files.is_finished(folder)
    assert f"{folder / name}: damaged" in capsys.readouterr().err


def test_only_the_last_two_states_are_kept(finished):
    names = {path.name for path in finished.iterdir() if path.name.startswith(("state", "progress"))}
    assert names == {"state-03.safetensors", "state-04.safetensors", "progress-03.json", "progress-04.json"}


def test_the_journal_has_every_epoch_once(prepared, after_one, tmp_path):
    folder = copied(after_one, tmp_path)
    train_one(prepared, JOB, folder)
    events = [json.loads(line) for line in (folder / paths.JOURNAL).read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "epoch", "start", "epoch", "epoch", "end"]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    assert all(event["seconds"] > 0 and event["peak_memory_bytes"] > 0 for event in epochs)
