"""`dvc repro` is killed at random times and in several ways; in the end the outputs are those of an undisturbed run."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lenetlab.data import dataset
from lenetlab.evaluation import evaluate
from lenetlab.settings import params
from lenetlab.storage.digests import sha256_file
from lenetlab.training import execution
from tests.pipeline.projects import ROOT, clone, copy_of, edit, environment, make_small, run

pytestmark = pytest.mark.slow

VARIANT, EPOCHS = "lenet5-regularized", 20
TARGET = f"evaluate@{VARIANT}"


def ask_for_long_training(content: dict) -> None:
    make_small(content)
    content["study"].append(VARIANT)
    content["training"] |= {"epochs": EPOCHS, "schedule": "one-cycle", "images": 300}
    content["variants"][VARIANT]["regularization"]["augmentation"] = "affine"


@pytest.fixture
def project(tmp_path, digits_folder, finished, large) -> Path:
    """A project in which all is still to be done; in an ordinary run, fetch and prepare are done."""
    if large:
        (tmp_path / "project").mkdir()
        return clone(tmp_path / "project", digits_folder, ask_for_long_training)
    project = copy_of(finished, tmp_path / "project")
    for name in ("runs", "evaluations", ".lenetlab", "mlruns", "mlflow.db", ".dvc/cache/runs"):
        run(project, "rm", "-rf", name)
    edit(project, ask_for_long_training)
    return project


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory) -> dict[str, str]:
    """Digests of the outputs when training and evaluation run in this process, without DVC."""
    folder = tmp_path_factory.mktemp("quiet")
    shutil.copy(ROOT / "params.yaml", folder)
    edit(folder, ask_for_long_training)
    study, runs = params.load(folder / "params.yaml"), folder / "runs" / VARIANT
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        plan = execution.plan_training(study, VARIANT, dataset.load(prepared / "train"))
        execution.train_variant(plan, runs, folder / "journals")
        evaluate.write(evaluate.evaluate(study, VARIANT, runs, prepared / "test"), folder / "evaluations" / VARIANT)
    return results(folder)


def results(folder: Path) -> dict[str, str]:
    kept = [*(folder / "runs").rglob("*.*"), folder / "evaluations" / VARIANT / "predictions.npz"]
    return {str(path.relative_to(folder)): sha256_file(path) for path in kept if path.is_file()}


def started(project: Path, *command: str, log: io.IOBase | int = subprocess.DEVNULL) -> subprocess.Popen:
    """In a process group of its own, as a shell starts it; Ctrl-C is not ignored."""
    return subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        stdout=log,
        stderr=subprocess.STDOUT,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def processes_of(project: Path, word: str) -> list[int]:
    """Ids of processes that run in that folder and have the word in their command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word in (process / "cmdline").read_text() and (process / "cwd").resolve() == project.resolve():
                found.append(int(process.name))
        except OSError:  # it is gone
            continue
    return found


def ended(project: Path, word: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while processes_of(project, word) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(project, word)


SIGNALS = {
    "dvc alone, SIGKILL": lambda process: process.kill(),
    "dvc alone, SIGTERM": lambda process: process.terminate(),
    "all of it, SIGKILL": lambda process: os.killpg(process.pid, signal.SIGKILL),
    "all of it, Ctrl-C": lambda process: os.killpg(process.pid, signal.SIGINT),
}


def remove_what_dvc_damaged(project: Path) -> None:
    """DVC writes two files in place and cannot read them after a kill at that moment; `lenetlab check` says how to
    recover. Nothing is lost: DVC's run cache knows what is finished."""
    for name, begins in (("dvc.lock", "schema:"), (".dvc/tmp/rwlock", "{")):
        path = project / name
        if path.exists() and not path.read_text().startswith(begins):
            assert f"{name}: damaged" in run(project, "lenetlab", "check", status=1)
            path.unlink()


def test_kills_at_random_times_lose_nothing_and_leave_no_process(project, undisturbed, large, count):
    chance, kills = random.Random(7), 0  # noqa: S311  no secret
    most, longest = (50, 16) if large else (3, 9)
    while kills < most:
        process = started(project, "dvc", "repro", TARGET)
        try:
            process.wait(timeout=chance.uniform(2, longest))
            assert results(project) == undisturbed
            run(project, "dvc", "repro", "--force", "fetch")  # it finished before the kill: start again
            for name in ("runs", "evaluations", "dvc.lock", ".lenetlab"):
                run(project, "rm", "-rf", name)
        except subprocess.TimeoutExpired:
            way = chance.choice(list(SIGNALS))
            SIGNALS[way](process)
            process.wait()
            assert ended(project, "stages/", 60), way
            remove_what_dvc_damaged(project)
            count("dvc repro killed at a random time")
            kills += 1
    run(project, "dvc", "repro", TARGET)
    assert results(project) == undisturbed
    assert ended(project, "lenetlab.tracking.publisher", 60)
    assert not [path for path in project.rglob("*.part") if ".dvc" not in path.parts]
    run(project, "lenetlab", "sync")
    runs = json.loads(run(project, "python", "-W", "ignore", "-c", READ_STORE).splitlines()[-1])
    trained = {name: found for name, found in runs.items() if name.startswith(f"{VARIANT} seed")}
    assert set(trained) == {f"{VARIANT} seed {seed}" for seed in (0, 5)}
    for status, steps in trained.values():
        assert (status, steps) == ("FINISHED", list(range(1, EPOCHS + 1)))


READ_STORE = """
import json
from mlflow import MlflowClient

client, found = MlflowClient("sqlite:///mlflow.db"), {}
for run in client.search_runs([client.get_experiment_by_name("lenetlab").experiment_id]):
    assert run.info.run_name not in found, f"{run.info.run_name} twice"
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "3 curves/train loss")]
    found[run.info.run_name] = (run.info.status, steps)
print(json.dumps(found))
"""


def wait_until_it_trains(project: Path) -> None:
    for _ in range(1200):
        if list((project / ".lenetlab" / "resume").glob("*/progress-02.json")):
            return
        time.sleep(0.05)
    raise AssertionError("no epoch was finished within a minute")


def test_a_stage_ends_with_its_dvc_under_a_shell_that_waits(project, monkeypatch):
    """Debian's /bin/sh waits for its last command; bash replaces itself with it."""
    monkeypatch.setenv("SHELL", "/bin/sh")
    edit(project, lambda content: content["training"].update(epochs=1000))
    process = started(project, "dvc", "repro", f"train@{VARIANT}")
    wait_until_it_trains(project)
    process.kill()
    process.wait()
    assert ended(project, "stages/", 60)


LEFT_ALONE = """
import os, subprocess, sys

subprocess.Popen(sys.argv[1:])
os._exit(0)
"""


def test_a_stage_ends_if_its_dvc_was_killed_before_it_started(tmp_path):
    """An orphan's new parent is in another process group."""
    words, environ = [sys.executable, ROOT / "stages" / "fetch.py"], environment() | {"DVC_STAGE": "fetch"}
    command = [sys.executable, "-c", LEFT_ALONE, *words]
    done = subprocess.run(command, cwd=tmp_path, env=environ, process_group=0, capture_output=True, text=True)
    assert done.stderr == "error: the `dvc repro` that started this stage has ended\n"


@pytest.mark.parametrize("options", [{}, {"process_group": 0}, {"start_new_session": True}])
def test_a_stage_starts_in_the_group_of_its_parent_and_in_one_of_its_own(tmp_path, options):
    words, environ = [sys.executable, ROOT / "stages" / "fetch.py"], environment() | {"DVC_STAGE": "fetch"}
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, **options)
    assert "params.yaml" in done.stderr  # it started, and misses this file


def test_ctrl_c_says_what_is_kept_and_how_to_continue(project, tmp_path, count):
    edit(project, lambda content: content["training"].update(epochs=1000))
    with (tmp_path / "log").open("wb") as log:
        process = started(project, "dvc", "repro", f"train@{VARIANT}", log=log)
        wait_until_it_trains(project)
        os.killpg(process.pid, signal.SIGINT)
        assert ended(project, "stages/", 60)
        assert process.wait(timeout=60) != 0
    said = (tmp_path / "log").read_text()
    assert "stopped; finished epochs are kept: the same command continues there" in said
    assert "Traceback" not in said
    count("Ctrl-C")


@pytest.mark.usefixtures("without_mlflow")
def test_two_dvc_repro_at_once_do_not_harm_each_other(project, undisturbed, tmp_path, count):
    """DVC rejects the second; tests/training/test_execution.py starts two trainings without DVC."""
    with (tmp_path / "log").open("wb") as log:
        first = started(project, "dvc", "repro", TARGET)
        wait_until_it_trains(project)
        second = started(project, "dvc", "repro", TARGET, log=log)
        assert second.wait(timeout=300) != 0
        assert first.wait(timeout=300) == 0
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "is busy" in said or "lock" in said, said
    assert results(project) == undisturbed
    count("two at once")
