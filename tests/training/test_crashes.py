"""A short training meets a fault at every operation of the file system, and resumes.

It may be killed, lose its power, or get an error from the disk. Then it must end with the bits of an undisturbed
training, and repeat no finished epoch.
"""

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lenetlab.storage.digests import sha256_file
from lenetlab.training import execution
from tests.storage import faults
from tests.training.jobs import UNSTABLE, UNSTABLE_TRAINING, changed_variant, load_prepared, make_study

pytestmark = pytest.mark.slow

NAME = "mlp-28-60-40"
KINDS = {faults.Kill: "killed", faults.PowerCut: "power cut", faults.Error: "refused by the disk"}


def small_plan(prepared: Path, seeds: tuple[int, ...], **training: object) -> execution.TrainingPlan:
    """A tiny network with everything that a checkpoint holds, and with everything that it leaves out.

    It holds weights, statistics of batch normalisation, momentum and averages; it leaves out order, dropout,
    augmentation and schedule.
    """
    settings = {"epochs": 3, "batch_size": 8, "images": 16, "schedule": "one-cycle", "weight_averaging": 0.9}
    study = make_study(seeds, **settings | training)
    variant = changed_variant(NAME, hidden=(6, 5), batch_norm=True, dropout=0.3, augmentation="affine")
    study = study.model_copy(update={"variants": {NAME: variant}})
    data = load_prepared(prepared / "train")
    without_validation = replace(data, splits=data.splits.copy())  # a trial takes half the time
    without_validation.splits[data.splits == "validation"] = "none"
    return execution.plan_training(study, NAME, without_validation)


@pytest.fixture(scope="module")
def plan(prepared, large) -> execution.TrainingPlan:
    return small_plan(prepared, (0, 5) if large else (5,))


@pytest.fixture
def few_weights(prepared) -> execution.TrainingPlan:
    """Weights are removed after the epochs 3 to 5; the best epoch is not the last one for most of them."""
    return small_plan(prepared, (5,), epochs=5, keep_weights=1, learning_rate=0.3)


@pytest.fixture(params=[(5,), (4, 5)], ids=["alone", "after a divergence"])
def unstable(prepared, request) -> execution.TrainingPlan:
    """A seed that trains alone, from the start or after another seed of its group has diverged.

    Its copy would diverge if it did not resume with the seed.
    """
    study = make_study(request.param, images=48, **UNSTABLE_TRAINING)
    study = study.model_copy(update={"variants": {"lenet5-28": changed_variant("lenet5-28", **UNSTABLE)}})
    return execution.plan_training(study, "lenet5-28", load_prepared(prepared / "train"))


@pytest.fixture
def work_in(request, monkeypatch) -> Callable[[Path], Callable[[], None]]:
    """Make a folder, and a function that does the work of the stage there, in one process."""
    name = next((name for name in ("unstable", "few_weights") if name in request.fixturenames), "plan")
    plan = request.getfixturevalue(name)
    monkeypatch.setattr("lenetlab.training.devices.cores", lambda: 1)
    monkeypatch.setenv("DVC_ROOT", "")  # so that the variable is restored after the test

    def in_folder(root: Path) -> Callable[[], None]:
        resume = {seed: root / ".lenetlab" / "resume" / folder.name for seed, folder in plan.folders.items()}

        def train() -> None:
            os.environ["DVC_ROOT"] = str(root)
            execution.train_variant(replace(plan, folders=resume), root / "runs", root / "journals")

        root.mkdir()
        return train

    return in_folder


def outputs(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): sha256_file(path) for path in (root / "runs").rglob("*.*")}


def finished_epochs(operations: list[faults.Operation], at: int, durable: bool) -> dict[str, int]:
    """By folder, the last epoch that is finished before operation `at`: its manifest has its final name.

    If `durable`, the folder must have been synced after that.
    """
    epochs = {}
    for number, (kind, path) in enumerate(operations[:at]):
        manifest = re.fullmatch(r"(.*/[0-9a-f]{64})/progress-(\d+)\.json", path)
        if kind == "rename" and manifest:
            synced = any(later == ("fsync", manifest[1]) for later in operations[number:at])
            if synced or not durable:
                epochs[manifest[1].rpartition("/")[2]] = int(manifest[2])
    return epochs


def epochs_trained_since(root: Path, start: float) -> dict[int, int]:
    """By seed, the number of epochs trained since `start` (Unix time). The journal must have each epoch once."""
    trained = {}
    for journal in (root / "journals").iterdir():
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        epochs = [event["epoch"] for event in events if event["event"] == "epoch"]
        assert epochs == list(range(1, len(epochs) + 1))
        seed = int(journal.stem.removeprefix("seed-"))
        trained[seed] = sum(event["event"] == "epoch" and event["time"] > start for event in events)
    return trained


def choose_cases(operations: list[faults.Operation], large: bool) -> list[tuple[int, faults.Fault]]:
    """A kill at every operation that changes a file, and a sample of the other faults that is spread over all."""
    cases = list(faults.cases(operations, errors=(errno.ENOSPC, errno.EIO)))
    kills = [(at, fault) for at, fault in cases if type(fault) is faults.Kill and operations[at].kind != "fsync"]
    others = [(at, fault) for at, fault in cases if type(fault) is not faults.Kill]
    return [*kills, *others[:: len(others) // (1500 if large else 60)]]


def test_after_a_fault_at_any_operation_the_bits_are_those_of_an_undisturbed_training(
    work_in, plan, tmp_path, large, count, capfd
):
    operations = faults.record_operations(work_in(tmp_path / "undisturbed"), tmp_path / "undisturbed")
    undisturbed, epochs = outputs(tmp_path / "undisturbed"), plan.jobs[0].training.epochs
    assert len(undisturbed) == len(plan.jobs) * (epochs + 2)
    for at, fault in choose_cases(operations, large):
        root = tmp_path / "disturbed"
        train = work_in(root)
        outcome = faults.run_with_fault(train, at=at, fault=fault, below=root)
        assert outcome.killed == isinstance(fault, faults.Kill), (at, fault, outcome)
        # None is right too: shutil.copyfile has another way to copy if the first fails.
        assert isinstance(outcome.error, OSError | None), (at, fault, outcome)
        resumed = time.time()
        train()
        assert outputs(root) == undisturbed, (at, operations[at:][:1], fault)
        assert not list(root.rglob("*.part")), (at, fault)
        finished = finished_epochs(operations, at, durable=isinstance(fault, faults.PowerCut))
        for seed, trained in epochs_trained_since(root, resumed).items():
            assert trained <= epochs - finished.get(plan.folders[seed].name, 0), (at, fault)
        shutil.rmtree(root)
        count(KINDS[type(fault)])
        capfd.readouterr()  # otherwise a failure shows a thousand progress bars


def test_a_kill_does_not_let_a_seed_diverge(work_in, unstable, tmp_path, count, capfd):
    """Killed before every file gets its name."""
    operations = faults.record_operations(work_in(tmp_path / "undisturbed"), tmp_path / "undisturbed")
    undisturbed = outputs(tmp_path / "undisturbed")
    ends = [json.loads(path.read_text())["diverged"] for path in (tmp_path / "undisturbed").glob("runs/*/run.json")]
    assert (len(ends), ends.count(None)) == (len(unstable.jobs), 1)
    for at in (number for number, operation in enumerate(operations) if operation.kind == "rename"):
        train = work_in(tmp_path / str(at))
        assert faults.run_with_fault(train, at=at, fault=faults.Kill(), below=tmp_path / str(at)).killed
        train()
        assert outputs(tmp_path / str(at)) == undisturbed, operations[at]
        count("killed, with unstable settings")
        capfd.readouterr()


def test_a_fault_while_weights_are_removed_does_no_harm(work_in, few_weights, tmp_path, count, capfd):
    """Killed, or without power, before every file gets its name or is removed; nothing else is left in the end."""
    operations = faults.record_operations(work_in(tmp_path / "undisturbed"), tmp_path / "undisturbed")
    undisturbed, epochs = outputs(tmp_path / "undisturbed"), few_weights.jobs[0].training.epochs
    removed = [path for kind, path in operations if kind == "unlink" and re.search(r"/epoch-\d+\.safetensors$", path)]
    assert len(removed) >= 2
    for at in (number for number, operation in enumerate(operations) if operation.kind in ("rename", "unlink")):
        for fault in (faults.Kill(), faults.PowerCut(names=0.5), faults.PowerCut(names=1.0)):
            root = tmp_path / "disturbed"
            train = work_in(root)
            assert faults.run_with_fault(train, at=at, fault=fault, below=root).killed
            resumed = time.time()
            train()
            assert outputs(root) == undisturbed, (operations[at], fault)
            finished = finished_epochs(operations, at, durable=isinstance(fault, faults.PowerCut))
            for seed, trained in epochs_trained_since(root, resumed).items():
                assert trained <= epochs - finished.get(few_weights.folders[seed].name, 0), (operations[at], fault)
            shutil.rmtree(root)
            count(KINDS[type(fault)])
            capfd.readouterr()


def test_a_training_that_is_disturbed_again_and_again_ends(work_in, tmp_path, count, capfd):
    """Each attempt gets as many operations as it takes to put finished seeds together, which it cannot do without."""
    train_undisturbed, train = work_in(tmp_path / "undisturbed"), work_in(tmp_path / "disturbed")
    train_undisturbed()
    needed = len(faults.record_operations(train_undisturbed, tmp_path / "undisturbed"))
    fault, attempts = faults.PowerCut("middle"), 0
    while faults.run_with_fault(train, at=needed, fault=fault, below=tmp_path / "disturbed").killed:
        count(KINDS[faults.PowerCut])
        attempts += 1
        assert attempts < 40
    assert attempts > 2
    assert outputs(tmp_path / "disturbed") == outputs(tmp_path / "undisturbed")
    capfd.readouterr()
