"""Commands of the Makefile, with stand-ins for the programs that they run."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipeline.projects import ROOT

STUBS = ("dvc", "lenetlab", "python")
STUB = '#!/bin/bash\necho "${0##*/} $*" >> log\n'  # the program writes down how it was called


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the Makefile and an environment of stand-ins that all succeed."""
    for name in ("Makefile", "pipeline.mk", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in STUBS:
        write_program(tmp_path, name)
    (tmp_path / ".venv/installed").write_text(f"{tmp_path}/.venv\n")
    return tmp_path


def write_program(folder: Path, name: str, ends: str = "") -> None:
    path = folder / ".venv/bin" / name
    path.write_text(STUB + ends + "\n")
    path.chmod(0o755)


def make(folder: Path, target: str) -> int:
    """The exit status."""
    return subprocess.run(["make", target], cwd=folder, capture_output=True, timeout=60).returncode


def calls(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("repro", "dvc repro"),
        ("settle", "lenetlab settle"),
        ("sensitivity", "dvc repro"),
        ("study", "python -m benchmarks.study run"),
    ],
)
def test_mlflow_is_completed_after_dvc(folder, target, command):
    assert make(folder, target) == 0
    assert calls(folder)[-2:] == [command, "lenetlab sync"]


@pytest.fixture
def committed(folder: Path) -> Path:
    """Old results are in git."""
    (folder / "docs").mkdir()
    for name in ("dvc.lock", "docs/sensitivity.json"):
        (folder / name).write_text("old")
    user = ("-c", "user.name=Maxi", "-c", "user.email=maxi@example.org")
    for words in (["init"], ["add", "dvc.lock", "docs"], [*user, "commit", "--message", "old"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return folder


def printed(folder: Path, target: str) -> str:
    return subprocess.run(["make", target], cwd=folder, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("target", "program", "changed"),
    [
        ("repro", "dvc", "dvc.lock"),
        ("settle", "lenetlab", "dvc.lock"),
        ("sensitivity", "lenetlab", "docs/sensitivity.json"),
    ],
)
def test_new_results_are_to_be_committed(committed, target, program, changed):
    """Only then `git checkout .` and `dvc checkout` lead back from an experiment to them."""
    assert "git commit" not in printed(committed, target)
    write_program(committed, program, f"echo new > {changed}")
    last = printed(committed, target).splitlines()[-1]
    assert last == "new results: to keep them, git add params.yaml dvc.lock reports docs/sensitivity.json && git commit"


def test_results_of_a_failed_run_or_of_an_experiment_are_not_to_be_committed(committed):
    write_program(committed, "python", "echo new > dvc.lock")
    assert "git commit" not in printed(committed, "study")
    write_program(committed, "dvc", "echo new > dvc.lock; exit 255")
    assert "git commit" not in printed(committed, "repro")


def test_a_server_that_is_down_does_not_fail_make_repro(folder, count):
    write_program(folder, "lenetlab", '[ "$1" != sync ]')
    assert make(folder, "repro") == 0
    assert calls(folder)[-1] == "lenetlab sync"
    count("tracking faults")


def test_make_repro_fails_if_dvc_fails_and_completes_mlflow_all_the_same(folder):
    write_program(folder, "dvc", "exit 255")
    assert make(folder, "repro") != 0
    assert calls(folder)[-1] == "lenetlab sync"


def test_after_ctrl_c_nothing_is_synced(folder):
    write_program(folder, "dvc", "trap 'exit 255' INT; sleep 100 & wait")
    process = subprocess.Popen(
        ["make", "repro"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while "dvc repro" not in ((folder / "log").read_text() if (folder / "log").exists() else ""):
            assert time.monotonic() < deadline, "make did not start dvc repro"
            time.sleep(0.05)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=20) != 0
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
    assert calls(folder)[-1] == "dvc repro"
