"""A short training is killed, cut from its power or refused by the disk at one operation of the file system after the
other; gone on with, it must end with the bits of a training that was never disturbed, and repeat no finished epoch."""

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

from lenetlab.data import dataset
from lenetlab.settings import params
from lenetlab.storage.digests import sha256_file
from lenetlab.training import execution
from tests.storage import faults

pytestmark = [pytest.mark.slow, pytest.mark.torture]

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
KINDS = {faults.Kill: "killed", faults.PowerCut: "power cut", faults.Error: "refused by the disk"}


@pytest.fixture(scope="module")
def plan(prepared, large) -> execution.TrainingPlan:
    """All that a checkpoint could forget: dropout, augmentation, a schedule, momentum and averages, several seeds."""
    definition = STUDY.variants["lenet5-regularized"]
    rules = definition.regularization.model_copy(update={"augmentation": "affine"})
    settings = {"epochs": 3 if large else 2, "batch_size": 32, "images": 64}
    settings |= {"schedule": "one-cycle", "weight_averaging": 0.9}
    study = STUDY.model_copy(
        update={
            "device": "cpu",
            "seeds": (0, 5) if large else (5,),
            "training": STUDY.training.model_copy(update=settings),
            "variants": {"lenet5-regularized": definition.model_copy(update={"regularization": rules})},
        }
    )
    found = execution.plan_training(study, "lenet5-regularized", dataset.load(prepared / "train"))
    few = replace(found.prepared, splits=found.prepared.splits.copy())
    few.splits[few.splits == "validation"] = "none"  # a curve less, and a trial takes half the time
    return replace(found, prepared=few)


@pytest.fixture
def work(plan, monkeypatch) -> Callable[[Path], Callable[[], None]]:
    """The stage's work in a folder of its own, in one process."""
    monkeypatch.setattr("lenetlab.training.devices.cores", lambda: 1)

    def in_folder(root: Path) -> Callable[[], None]:
        resume = {seed: root / ".lenetlab" / "resume" / old.name for seed, old in plan.folders.items()}

        def train() -> None:
            os.environ["DVC_ROOT"] = str(root)
            execution.train_variant(replace(plan, folders=resume), root / "runs", root / "journals")

        root.mkdir()
        return train

    monkeypatch.setenv("DVC_ROOT", "")  # so that it is as before when the test ends
    return in_folder


def outputs(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): sha256_file(path) for path in (root / "runs").rglob("*.*")}


def epochs_kept(operations: list[faults.Operation], at: int, durable: bool) -> dict[str, int]:
    """By folder, the epochs that are finished before an operation: the manifest has its name, which is `durable`."""
    done = {}
    for number, (kind, path) in enumerate(operations[:at]):
        found = re.fullmatch(r"(.*/[0-9a-f]{64})/progress-(\d+)\.json", path)
        if kind == "rename" and found:
            synced = any(later == ("fsync", found[1]) for later in operations[number:at])
            if synced or not durable:
                done[found[1].rpartition("/")[2]] = int(found[2])
    return done


def epochs_trained(root: Path, since: float) -> dict[int, int]:
    """By seed, how many were trained since then (Unix seconds); each epoch must stand in the journal once, in order."""
    found = {}
    for journal in (root / "journals").iterdir():
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        epochs = [event["epoch"] for event in events if event["event"] == "epoch"]
        assert epochs == list(range(1, len(epochs) + 1))
        seed = int(journal.stem.removeprefix("seed-"))
        found[seed] = sum(event["event"] == "epoch" and event["time"] > since for event in events)
    return found


def chosen(operations: list[faults.Operation], large: bool) -> list[tuple[int, faults.Fault]]:
    """Every operation is killed; of what else may happen there, a sample that is spread over all of them."""
    cases = list(faults.cases(operations, errors=(errno.ENOSPC, errno.EIO)))
    kills = [(at, fault) for at, fault in cases if type(fault) is faults.Kill]
    others = [(at, fault) for at, fault in cases if type(fault) is not faults.Kill]
    return [*kills, *others[:: len(others) // (1500 if large else 60)]]


def test_whatever_happens_at_any_operation_the_bits_are_those_of_an_undisturbed_run(
    work, plan, tmp_path, large, count, capfd
):
    operations = faults.record_operations(work(tmp_path / "whole"), tmp_path / "whole")
    whole, epochs = outputs(tmp_path / "whole"), plan.jobs[0].training.epochs
    assert len(whole) == len(plan.jobs) * (epochs + 2)
    for at, fault in chosen(operations, large):
        root = tmp_path / "disturbed"
        train = work(root)
        ended = faults.run_with_fault(train, at=at, fault=fault, below=root)
        assert ended.killed == isinstance(fault, faults.Kill), (at, fault, ended)
        assert isinstance(ended.error, OSError | None), (at, fault, ended)  # copying has another way, should one fail
        began = time.time()
        assert faults.run_in_fork(train) == faults.Outcome(), (at, operations[at:][:1], fault)
        assert outputs(root) == whole, (at, operations[at:][:1], fault)
        assert not list(root.rglob("*.part")), (at, fault)
        kept = epochs_kept(operations, at, durable=isinstance(fault, faults.PowerCut))
        for seed, trained in epochs_trained(root, began).items():
            assert trained <= epochs - kept.get(plan.folders[seed].name, 0), (at, fault)
        shutil.rmtree(root)
        count(KINDS[type(fault)])
        capfd.readouterr()  # or a thousand progress bars are shown when a case fails


def test_a_run_that_is_disturbed_again_and_again_comes_to_its_end(work, tmp_path, count, capfd):
    """After as many operations as putting finished seeds together takes, which no attempt is spared."""
    whole, train = work(tmp_path / "whole"), work(tmp_path / "disturbed")
    whole()
    together = len(faults.record_operations(whole, tmp_path / "whole"))
    fault, attempts = faults.PowerCut("middle"), 0
    while faults.run_with_fault(train, at=together, fault=fault, below=tmp_path / "disturbed").killed:
        count(KINDS[faults.PowerCut])
        attempts += 1
        assert attempts < 40
    assert attempts > 2
    assert outputs(tmp_path / "disturbed") == outputs(tmp_path / "whole")
    capfd.readouterr()
