"""Training all seeds in one process or several: the same bits, nothing lost, no process left."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import torch

from lenetlab.errors import UserError, explain
from lenetlab.settings import study_schema
from lenetlab.storage import files
from lenetlab.storage.digests import sha256_file
from lenetlab.training import checkpoint, execution, loop, parallel, run_files
from tests.training.jobs import load_prepared, make_study

pytestmark = pytest.mark.usefixtures("own_root")
CORES = "lenetlab.training.devices.cores"


def train(prepared: Path, folder: Path, study: study_schema.Study, variant: str = "mlp") -> dict[str, str]:
    """Train as the stage does. Returns the SHA-256 of every file in `runs`, by name."""
    plan = execution.plan_training(study, variant, load_prepared(prepared / "train"))
    execution.train_variant(plan, folder / "runs", folder / "journals")
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    names = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): sha256_file(path) for path in names}


def test_the_bits_do_not_depend_on_the_number_of_processes(prepared, tmp_path, monkeypatch):
    found = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(CORES, lambda cores=cores: cores)
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / f"root{cores}"))
        found.append(train(prepared, tmp_path / str(cores), make_study((0, 1, 2)), "lenet5-regularized"))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3 * (2 + 2)  # seeds × (epochs, curves.csv, run.json)


def test_a_seed_trained_alone_equals_the_seed_trained_with_others(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(CORES, lambda: 1)
    together = train(prepared, tmp_path / "together", make_study((0, 1)), "lenet5-regularized")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    alone = train(prepared, tmp_path / "alone", make_study((1,)), "lenet5-regularized")
    assert alone == {name: digest for name, digest in together.items() if "seed-1" in name}


def test_seeds_that_were_stopped_one_epoch_apart_end_with_the_same_bits(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(CORES, lambda: 1)
    study = make_study((0, 1, 2), epochs=3)
    undisturbed = train(prepared, tmp_path / "undisturbed", study, "lenet5-regularized")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    saved, save = [], checkpoint.save

    def stop_after_four(state: checkpoint.TrainingState, index: int, folder: Path) -> None:
        if len(saved) == 4:
            raise KeyboardInterrupt
        save(state, index, folder)
        saved.append((state.seeds[index], state.epoch))

    monkeypatch.setattr(checkpoint, "save", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        train(prepared, tmp_path / "stopped", study, "lenet5-regularized")
    assert saved == [(0, 1), (1, 1), (2, 1), (0, 2)]
    monkeypatch.setattr(checkpoint, "save", save)
    assert train(prepared, tmp_path / "stopped", study, "lenet5-regularized") == undisturbed


@pytest.mark.parametrize(
    ("seeds", "processes", "sizes"),
    [(6, 2, [3, 3]), (5, 2, [2, 3]), (1, 2, [1]), (3, 4, [1, 1, 1]), (6, 1, [6]), (14, 2, [3, 4, 3, 4])],
)
def test_seeds_are_split_evenly(seeds, processes, sizes):
    groups = parallel.split_evenly(list(range(seeds)), processes, torch.device("cpu"))
    assert [len(members) for members in groups] == sizes
    assert [seed for members in groups for seed in members] == list(range(seeds))


def test_an_added_seed_is_trained_and_the_others_are_kept(prepared, tmp_path):
    before = train(prepared, tmp_path, make_study((0, 1)))
    journal = (tmp_path / "journals" / "seed-0.jsonl").read_text()
    after = train(prepared, tmp_path, make_study((0, 1, 7)))
    assert before.items() < after.items()
    assert (tmp_path / "journals" / "seed-0.jsonl").read_text() == journal
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"seed-0", "seed-1", "seed-7"}


def test_with_a_changed_setting_progress_is_kept_in_another_folder(prepared):
    studies = make_study((0, 1)), make_study((0, 1), learning_rate=0.02)
    data = load_prepared(prepared / "train")
    folders = [set(execution.plan_training(study, "mlp", data).folders.values()) for study in studies]
    assert not folders[0] & folders[1]


def test_a_damaged_finished_job_is_trained_again(prepared, tmp_path):
    before = train(prepared, tmp_path, make_study((0,)))
    plan = execution.plan_training(make_study((0,)), "mlp", load_prepared(prepared / "train"))
    (plan.folders[0] / "epoch-02.safetensors").write_bytes(b"damaged")
    assert not run_files.is_finished(plan.folders[0])
    assert train(prepared, tmp_path, make_study((0,))) == before


@pytest.mark.parametrize("cores", [1, 2])
def test_a_full_disk_is_reported_from_any_process(prepared, tmp_path, monkeypatch, cores):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/full")

    monkeypatch.setattr(CORES, lambda: cores)
    monkeypatch.setattr(checkpoint, "save", fail)
    with pytest.raises((UserError, OSError)) as caught:
        train(prepared, tmp_path, make_study((0, 1)))
    assert "runs/full: No space left on device; remedy: " in str(explain(caught.value))


def test_a_diverged_seed_is_recorded_and_not_trained_again(prepared, tmp_path, capsys):
    study = make_study((0, 1), learning_rate=100.0, images=0)
    before = train(prepared, tmp_path, study, "lenet5")
    records = [files.read_json(tmp_path / "runs" / f"seed-{seed}" / "run.json") for seed in (0, 1)]
    assert all(record["diverged"]["epoch"] in (1, 2) for record in records)
    assert train(prepared, tmp_path, study, "lenet5") == before
    assert "2 of 2 seeds were finished before and are kept" in capsys.readouterr().err
    last = (tmp_path / "journals" / "seed-1.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["status"] == "diverged"


def start_fork(work: Callable[[], object], log: Path) -> ForkProcess:
    """Start a fork of this process, whose standard error goes to a file."""

    def run() -> None:
        sys.stderr = log.open("w", buffering=1)
        work()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_of_two_processes_that_train_the_same_the_second_waits(prepared, tmp_path, monkeypatch):
    """It says so, and then keeps what the first has trained; the results are those of one process alone."""
    monkeypatch.setattr(CORES, lambda: 1)
    study, first_log, second_log = make_study((0, 1, 2)), tmp_path / "first.log", tmp_path / "second.log"
    alone = train(prepared, tmp_path / "alone", study)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "shared"))
    training, may_go_on = multiprocessing.Event(), multiprocessing.Event()

    def train_when_allowed() -> None:
        original = loop.train_jobs

        def paused(*arguments):
            training.set()
            assert may_go_on.wait(30)
            return original(*arguments)

        loop.train_jobs = paused  # in this fork only
        train(prepared, tmp_path / "first", study)

    first = start_fork(train_when_allowed, first_log)
    assert training.wait(30)
    second = start_fork(lambda: train(prepared, tmp_path / "second", study), second_log)
    wait_for(lambda: second_log.exists() and "waiting" in second_log.read_text())
    time.sleep(0.3)  # it looks ten times a second, and must print its message once
    may_go_on.set()
    for process in (first, second):
        process.join(30)
        assert process.exitcode == 0
    assert second_log.read_text().count("mlp: another process trains it; waiting for that") == 1
    assert second_log.read_text().count("3 of 3 seeds were finished before and are kept") == 1
    assert "waiting" not in first_log.read_text()
    assert digests(tmp_path / "first") == digests(tmp_path / "second") == alone


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_a_task_is_raised_and_leaves_no_process(processes):
    def fail():
        yield "started"
        raise UserError("seed 1: no good")

    def work_long():
        for _ in range(1000):
            time.sleep(0.01)
            yield "working"

    with pytest.raises(UserError, match="seed 1: no good"):
        list(parallel.run_tasks([fail, work_long], processes))
    assert not multiprocessing.active_children()


def test_the_death_of_a_worker_process_is_noticed():
    def die():
        yield "started"
        os.kill(os.getpid(), signal.SIGKILL)

    def wait():
        yield "started"
        time.sleep(30)

    started = time.monotonic()
    with pytest.raises(UserError, match="SIGKILL"):
        list(parallel.run_tasks([die, wait], 2))
    assert time.monotonic() - started < 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can end a process with its parent")
def test_worker_processes_die_with_the_process_that_started_them(tmp_path):
    def work():
        while True:
            time.sleep(0.05)
            yield "working"

    started = multiprocessing.Event()

    def run_workers() -> None:
        for _ in parallel.run_tasks([work, work], 2):
            started.set()

    parent = start_fork(run_workers, tmp_path / "log")
    assert started.wait(30)
    command = ["pgrep", "-P", str(parent.pid)]
    workers = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(workers) == 2
    parent.kill()
    parent.join()
    wait_for(lambda: not any(Path("/proc", worker).exists() for worker in workers), seconds=10)


def test_training_uses_as_many_images_as_the_setting_says(prepared, tmp_path):
    few, all_images = (train(prepared, tmp_path / str(count), make_study((0,), images=count)) for count in (50, 0))
    assert few["runs/seed-0/epoch-01.safetensors"] != all_images["runs/seed-0/epoch-01.safetensors"]
    accuracy = files.read_json(tmp_path / "50" / "runs" / "seed-0" / "run.json")["training_set"]["accuracy"]
    assert accuracy * 50 == pytest.approx(round(accuracy * 50))  # measured on these 50 images


def test_more_images_than_there_are_raise_a_user_error(prepared):
    with pytest.raises(UserError, match=r"training.images: 99999 for mlp.*allowed: 0 to 1237"):
        execution.plan_training(make_study((0,), images=99_999), "mlp", load_prepared(prepared / "train"))
