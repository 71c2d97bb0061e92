"""Many runs, in one process or several: the same bits, nothing lost, nothing left behind."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lenetlab.data import dataset
from lenetlab.errors import UserError, explain
from lenetlab.settings import params, schema
from lenetlab.storage import files
from lenetlab.storage.digests import sha256_file
from lenetlab.training import checkpoint, execution, parallel, run_files

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")


def study_of(seeds: tuple[int, ...] = (0, 1, 2), **training: object) -> schema.Study:
    settings = STUDY.training.model_copy(update={"epochs": 2, "batch_size": 32, **training})
    return STUDY.model_copy(update={"seeds": seeds, "training": settings, "device": "cpu"})


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """Progress is kept below the test's own folder."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))


def trained(prepared: Path, out: Path, study: schema.Study, variant: str = "lenet5-regularized") -> dict[str, str]:
    """Digests of all that a stage writes into `runs`."""
    plan = execution.plan_training(study, variant, dataset.load(prepared / "train"))
    execution.train_variant(plan, out / "runs", out / "journals")
    return {str(path.relative_to(out)): sha256_file(path) for path in (out / "runs").rglob("*") if path.is_file()}


def test_the_bits_do_not_depend_on_the_number_of_processes(prepared, tmp_path, monkeypatch):
    found = []
    for cores in (1, 2, 3):
        monkeypatch.setattr("lenetlab.training.devices.cores", lambda cores=cores: cores)
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / f"root{cores}"))
        found.append(trained(prepared, tmp_path / str(cores), study_of()))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3 * (2 + 2)  # seeds × (epochs, curves.csv, run.json)


def test_a_seed_alone_is_the_seed_among_others(prepared, tmp_path, monkeypatch):
    together = trained(prepared, tmp_path / "together", study_of((0, 1)))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    alone = trained(prepared, tmp_path / "alone", study_of((1,)))
    assert alone == {name: digest for name, digest in together.items() if "seed-1" in name}


def test_seeds_that_were_stopped_an_epoch_apart_go_on_as_if_nothing_had_happened(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("lenetlab.training.devices.cores", lambda: 1)
    whole = trained(prepared, tmp_path / "whole", study_of(epochs=3))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    saved, complete = [], checkpoint.save

    def stops(state: checkpoint.TrainingState, index: int, path: Path) -> None:
        if len(saved) == 4:
            raise KeyboardInterrupt
        complete(state, index, path)
        saved.append((state.seeds[index], state.epoch))

    monkeypatch.setattr(checkpoint, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        trained(prepared, tmp_path / "stopped", study_of(epochs=3))
    assert saved == [(0, 1), (1, 1), (2, 1), (0, 2)]
    monkeypatch.setattr(checkpoint, "save", complete)
    assert trained(prepared, tmp_path / "stopped", study_of(epochs=3)) == whole


@pytest.mark.parametrize(
    ("seeds", "processes", "sizes"),
    [(6, 2, [3, 3]), (5, 2, [2, 3]), (1, 2, [1]), (3, 4, [1, 1, 1]), (6, 1, [6]), (14, 2, [3, 4, 3, 4])],
)
def test_seeds_are_shared_out_evenly(seeds, processes, sizes):
    groups = parallel.split_evenly(list(range(seeds)), processes, torch.device("cpu"))
    assert [len(members) for members in groups] == sizes
    assert [seed for members in groups for seed in members] == list(range(seeds))


def test_an_added_seed_is_trained_and_the_others_are_kept(prepared, tmp_path):
    first = trained(prepared, tmp_path, study_of((0, 1)), "mlp")
    before = (tmp_path / "journals" / "seed-0.jsonl").read_text()
    second = trained(prepared, tmp_path, study_of((0, 1, 7)), "mlp")
    assert first.items() < second.items()
    assert (tmp_path / "journals" / "seed-0.jsonl").read_text() == before
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"seed-0", "seed-1", "seed-7"}


def test_a_changed_setting_never_meets_another_ones_progress(prepared):
    plans = [
        execution.plan_training(study, "mlp", dataset.load(prepared / "train"))
        for study in (study_of(), study_of(learning_rate=0.02))
    ]
    assert not set(plans[0].folders.values()) & set(plans[1].folders.values())


def test_a_damaged_finished_run_is_trained_again(prepared, tmp_path):
    first = trained(prepared, tmp_path, study_of((0,)), "mlp")
    plan = execution.plan_training(study_of((0,)), "mlp", dataset.load(prepared / "train"))
    (plan.folders[0] / "epoch-02.safetensors").write_bytes(b"damaged")
    assert not run_files.is_finished(plan.folders[0])
    assert trained(prepared, tmp_path, study_of((0,)), "mlp") == first


@pytest.mark.parametrize("cores", [1, 2])
def test_what_the_machine_lacks_is_told_by_any_process(prepared, tmp_path, monkeypatch, cores):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/full")

    monkeypatch.setattr("lenetlab.training.devices.cores", lambda: cores)
    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises((UserError, OSError)) as caught:
        trained(prepared, tmp_path, study_of((0, 1)), "mlp")
    assert "runs/full: No space left on device; remedy: make room" in str(explain(caught.value))


def test_a_diverged_seed_is_kept_as_such_and_not_trained_again(prepared, tmp_path, capsys):
    study = study_of((0, 1), learning_rate=100.0)
    first = trained(prepared, tmp_path, study, "lenet5")
    records = [files.read_json(tmp_path / "runs" / f"seed-{seed}" / "run.json") for seed in (0, 1)]
    assert all(record["diverged"]["epoch"] in (1, 2) for record in records)
    assert trained(prepared, tmp_path, study, "lenet5") == first
    assert "2 of 2 seeds were done before" in capsys.readouterr().err
    last = (tmp_path / "journals" / "seed-1.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["status"] == "diverged"


@pytest.mark.slow
def test_two_processes_that_train_the_same_take_turns(prepared, tmp_path):
    """The second waits, says so, and finds all done; the files are those of one process alone."""
    alone = trained(prepared, tmp_path / "alone", study_of(epochs=15))
    script = (
        "import sys; from pathlib import Path; from tests.training import test_execution as own\n"
        "own.trained(Path(sys.argv[1]), Path(sys.argv[2]), own.study_of(epochs=15))"
    )
    environment = {**os.environ, "DVC_ROOT": str(tmp_path / "together")}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(prepared), str(tmp_path / name)],
            cwd=Path(__file__).parents[2],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    told = "".join(process.communicate(timeout=300)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert told.count("another process trains it; waiting for that") == 1
    assert told.count("3 of 3 seeds were done before") == 1
    for name in ("first", "second"):
        kept = (tmp_path / name / "runs").rglob("*")
        assert {str(p.relative_to(tmp_path / name)): sha256_file(p) for p in kept if p.is_file()} == alone


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_one_run_is_told_and_leaves_no_process(processes):
    def fails():
        yield "started"
        raise UserError("seed 1: no good")

    def goes_on():
        for _ in range(1000):
            time.sleep(0.01)
            yield "still there"

    with pytest.raises(UserError, match="seed 1: no good"):
        list(parallel.run_tasks([fails, goes_on], processes))
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_noticed():
    def dies():
        yield "started"
        os.kill(os.getpid(), signal.SIGKILL)

    def waits():
        yield "started"
        time.sleep(30)

    began = time.monotonic()
    with pytest.raises(UserError, match="SIGKILL"):
        list(parallel.run_tasks([dies, waits], 2))
    assert time.monotonic() - began < 20


PROGRAM = """
import sys, time
from lenetlab.training import parallel
def task():
    while True:
        time.sleep(0.05)
        yield "alive"
for number, event in parallel.run_tasks([task, task], 2):
    print(event, flush=True)
"""


def test_workers_die_with_the_process_that_started_them():
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "alive\n"
    children = subprocess.run(["pgrep", "-P", str(parent.pid)], capture_output=True, text=True).stdout.split()
    assert len(children) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not any(Path("/proc", child).exists() for child in children):
            return
        time.sleep(0.1)
    pytest.fail("a worker outlived its parent")


def test_so_many_images_are_trained_on_as_the_setting_says(prepared, tmp_path):
    few, all_of_them = (trained(prepared, tmp_path / str(most), study_of((0,), images=most), "mlp") for most in (50, 0))
    assert few["runs/seed-0/epoch-01.safetensors"] != all_of_them["runs/seed-0/epoch-01.safetensors"]
    learnt = files.read_json(tmp_path / "50" / "runs" / "seed-0" / "run.json")["training_set"]["accuracy"]
    assert learnt * 50 == pytest.approx(round(learnt * 50))  # measured on these images, and no others


def test_more_images_than_there_are_is_an_error(prepared):
    with pytest.raises(UserError, match=r"training.images: 99999 for mlp.*allowed: 0 to 1237"):
        execution.plan_training(study_of(images=99_999), "mlp", dataset.load(prepared / "train"))
