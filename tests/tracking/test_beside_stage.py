"""Publishing in a process beside a stage: while it trains, when it fails, is interrupted or killed."""

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from lenetlab.tracking import beside_stage, store, sync
from lenetlab.tracking.metrics import names
from tests.tracking.models import records
from tests.tracking.outputs import VARIANTS, journal, make_all, make_training, write_journal
from tests.tracking.stores import read_content, runs_by_name, statuses, wait_for, working_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]


@pytest.fixture
def resume(study) -> dict[int, Path]:
    """The folders for resuming, by seed."""
    return {seed: study / ".lenetlab/resume" / journal("mlp", seed, 3)[0]["fingerprint"] for seed in (0, 1)}


@pytest.mark.usefixtures("forked_publishers")
def test_runs_are_published_during_training_and_continue_after_a_failure(study, resume, capfd):
    def fail_in_the_second_epoch():
        write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=1, end=None))
        wait_for(lambda: "mlp seed 0" in statuses(study))
        assert statuses(study)["mlp seed 0"] == "RUNNING"
        write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=2, end=None))
        write_journal(resume[1] / "journal.jsonl", journal("mlp", 1, 3, until=1, end=None))
        wait_for(lambda: "mlp seed 1" in statuses(study))
        raise RuntimeError("the stage fails")

    def interrupt():
        wait_for(lambda: statuses(study)["mlp seed 0"] == "RUNNING")
        raise KeyboardInterrupt

    with pytest.raises(RuntimeError), beside_stage.publishing("train", "mlp", live=resume):
        fail_in_the_second_epoch()
    assert set(statuses(study).values()) == {"FAILED"}

    first = runs_by_name(study)["mlp seed 0"].info.run_id
    with pytest.raises(KeyboardInterrupt), beside_stage.publishing("train", "mlp", live=resume):
        interrupt()
    wait_for(lambda: set(statuses(study).values()) == {"KILLED"})  # after Ctrl-C the stage does not wait for this

    with beside_stage.publishing("train", "mlp", live=resume):
        make_training(study, "mlp")
    found = read_content(study)
    assert {run["status"][0] for run in found.values()} == {"FINISHED"}
    assert runs_by_name(study)["mlp seed 0"].info.run_id == first
    assert [point[1] for point in found["mlp seed 0"]["metrics"] if point[0] == names.TRAIN_LOSS] == [1, 2, 3]
    assert "checkpoints/epoch-03.safetensors" in found["mlp seed 1"]["artifacts"]
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("forked_publishers")
def test_every_stage_is_published(study, capfd):
    make_all(study)
    records.complete(study)
    with beside_stage.publishing("prepare"):
        pass
    with beside_stage.publishing("evaluate", "lenet5-regularized", list(VARIANTS)):
        pass
    with beside_stage.publishing("compare", study=list(VARIANTS)):
        pass
    assert len(statuses(study)) == 11
    assert set(sync.sync(list(VARIANTS)).values()) == {0}
    assert capfd.readouterr().err == ""


def test_a_killed_stage_leaves_no_run_running(study, resume):
    write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=1, end=None))
    script = (
        "import sys, time; from pathlib import Path; from lenetlab.tracking import beside_stage\n"
        "with beside_stage.publishing('train', 'mlp', live={0: Path(sys.argv[1])}): time.sleep(100)"
    )
    stage = subprocess.Popen([sys.executable, "-c", script, str(resume[0])], cwd=study)
    try:
        wait_for(lambda: "mlp seed 0" in statuses(study))
        assert set(statuses(study).values()) == {"RUNNING"}
    finally:
        stage.kill()
        stage.wait()
    wait_for(lambda: set(statuses(study).values()) == {"KILLED"})


@pytest.mark.usefixtures("forked_publishers")
def test_processes_that_create_a_store_at_the_same_time_do_not_clash(tmp_path, capfd):
    for variant in VARIANTS:
        make_training(tmp_path, variant)
    with working_in(tmp_path), ExitStack() as stack:
        for variant in VARIANTS:
            stack.enter_context(beside_stage.publishing("train", variant))
    assert len(statuses(tmp_path)) == 9
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("forked_publishers")
def test_processes_that_publish_the_same_runs_do_not_create_them_twice(study, resume, monkeypatch, capfd):
    search = store.Store.search

    def search_and_pause(self: store.Store, condition: str, with_deleted: bool = False) -> list:
        """So that another process can search before this one creates what it has not found."""
        found = search(self, condition, with_deleted)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(store.Store, "search", search_and_pause)
    for seed, folder in resume.items():
        write_journal(folder / "journal.jsonl", journal("mlp", seed, 3, until=1, end=None))
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(beside_stage.publishing("train", "mlp", live=resume))
        wait_for(lambda: "mlp seed 1" in statuses(study))
        make_training(study, "mlp")
    assert statuses(study) == {"mlp": "FINISHED", "mlp seed 0": "FINISHED", "mlp seed 1": "FINISHED"}
    assert capfd.readouterr().err == ""


def test_a_long_warning_is_complete(monkeypatch, capfd):
    """A pipe may deliver it in parts."""

    def start(task: str) -> subprocess.Popen[bytes]:
        script = f"echo .; printf 'failed: one '; sleep 0.3; echo two # {task}"
        return subprocess.Popen(["sh", "-c", script], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(beside_stage, "start_publisher", start)
    with beside_stage.publishing("prepare"):
        pass
    assert " is not complete: one two. Its outputs are; `lenetlab sync` sends the rest." in capfd.readouterr().err
