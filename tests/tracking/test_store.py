"""What `lenetlab sync` sends to MLflow is read back and compared with the files that it was made from."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.storage.digests import sha256, sha256_file
from lenetlab.tracking import content, sync, user_changes, variant_content
from lenetlab.tracking.connection import store_location
from lenetlab.tracking.metrics import names
from lenetlab.tracking.store import open_store
from tests.tracking.outputs import (
    DATA,
    PNG,
    START,
    VARIANTS,
    epoch_event,
    evaluation_row,
    journal,
    make_all,
    make_evaluation,
    make_prepared,
    make_reports,
    make_training,
    write_journal,
)
from tests.tracking.stores import digests, open_client, read_content, runs_by_name, statuses

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of its dependencies


def sync_adds_nothing() -> bool:
    return set(sync.sync(list(VARIANTS)).values()) == {0}


def test_importing_tracking_loads_neither_mlflow_nor_torch():
    script = (
        "import sys; from lenetlab.tracking import beside_stage, publisher, sync\n"
        "print({'mlflow', 'torch', 'scipy'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


# Sending.


def test_everything_published_is_read_back(published):
    found = read_content(published)
    seeds = [f"{variant} seed {seed}" for variant in VARIANTS for seed in (0, 1)]
    assert set(found) == {"prepare", "comparison", *VARIANTS, *seeds}
    assert {run["status"][0] for run in found.values()} == {"FINISHED"}

    seed = found["mlp seed 1"]
    assert seed["status"][1:] == (1000 * (START + 100), 1000 * (START + 100) + 18500)
    assert seed["tags"]["mlflow.parentRunId"] == "mlp"
    assert seed["tags"]["fingerprint"] == journal("mlp", 1, 3)[0]["fingerprint"]
    assert [point[1:] for point in seed["metrics"] if point[0] == names.TRAIN_LOSS] == [
        (epoch, epoch_event("mlp", 1, epoch)["train_loss"], 1000 * (START + 100) + 6000 * epoch) for epoch in (1, 2, 3)
    ]
    assert [point[2] for point in seed["metrics"] if point[0] == names.TEST_CURVES["test_accuracy"]] == [
        names.per_cent(evaluation_row("mlp", 1, epoch)["test_accuracy"]) for epoch in (1, 2, 3)
    ]
    assert seed["datasets"] == [
        ("data/prepared/test", sha256(b"test")[:12]),
        ("data/prepared/train", DATA[:12]),
        ("data/prepared/train (validation)", DATA[:12]),
    ]
    assert seed["artifacts"] == {
        **digests(published / "evaluations/mlp/seed-1"),
        **{name: sha256_file(published / "runs/mlp/seed-1" / name) for name in ("curves.csv", "run.json")},
        **{f"checkpoints/epoch-{n:02}.safetensors": sha256(f"mlp 1 {n}".encode()) for n in (1, 2, 3)},
    }

    variant = found["lenet5"]
    assert variant["params"]["parameters"] == "61706"
    assert variant["tags"]["seeds"] == "0 1"
    assert {"curves.png", "confusion.png", "mistakes.png", "metrics.json"} <= set(variant["artifacts"])
    assert found["prepare"]["params"]["training_images"] == "55000"
    assert set(found["prepare"]["artifacts"]) == {"samples.png", "train/profile.json", "test/profile.json"}
    assert found["comparison"]["artifacts"] == digests(published / "reports")
    expected = {"dirty": "true", "verdict": "1 better, 1 inconclusive"}
    assert expected.items() <= found["comparison"]["tags"].items()
    assert found["comparison"]["tags"]["mlflow.note.content"] == (published / "reports/report.md").read_text()


def test_publishing_twice_changes_nothing(published_study):
    before = read_content(published_study)
    assert sync_adds_nothing()
    assert read_content(published_study) == before


def test_a_store_filled_after_every_stage_equals_one_filled_at_the_end(study, published):
    def copy_times(name: str) -> None:
        """The times of the runs `prepare` and `comparison` are those of such a file."""
        shutil.copystat(published / name, study / name)

    make_prepared(study)
    copy_times("data/prepared/train/profile.json")
    added = sync.sync([])["runs"]
    for variant in VARIANTS:
        make_training(study, variant)
        added += sync.sync([variant])["runs"]
        make_evaluation(study, variant)
        added += sync.sync([variant])["runs"]
    make_reports(study)
    copy_times("reports/comparison.json")
    added += sync.sync(list(VARIANTS))["runs"]
    found = read_content(study)
    assert found == read_content(published)
    assert added == len(found)


def test_artifacts_are_found_after_the_folder_was_moved(published_study, monkeypatch):
    moved = published_study.rename(published_study.with_name("moved"))
    monkeypatch.chdir(moved)
    run = runs_by_name(moved)["mlp"].info
    assert not Path(run.artifact_uri).is_absolute()
    client = open_client(moved)
    assert "curves.png" in [item.path for item in client.list_artifacts(run.run_id)]
    picture = client.download_artifacts(run.run_id, "curves.png", str(moved.parent))
    assert Path(picture).read_bytes() == PNG
    assert sync_adds_nothing()


def test_a_seed_can_be_added(study):
    make_training(study, "mlp", seeds=2)
    sync.sync(list(VARIANTS))
    before = runs_by_name(study)
    make_training(study, "mlp", seeds=3)
    assert sync.sync(list(VARIANTS))["runs"] == 1
    after = runs_by_name(study)
    assert after["mlp"].info.run_id == before["mlp"].info.run_id
    losses = [epoch_event("mlp", seed, 3)["train_loss"] for seed in range(3)]
    assert after["mlp"].data.metrics[names.TRAIN_LOSS] == pytest.approx(np.mean(losses))
    assert after["mlp"].data.tags["seeds"] == "0 1 2"
    assert sync_adds_nothing()


def test_a_new_evaluation_replaces_the_metrics(published_study):
    path = published_study / "evaluations/mlp/metrics.json"
    files.write_json(path, files.read_json(path) | {"test_accuracy": 0.1})
    sync.sync(list(VARIANTS))
    assert runs_by_name(published_study)["mlp"].data.metrics[names.TEST_ACCURACY] == 10
    assert sync_adds_nothing()


def test_a_changed_picture_is_sent_again(published_study):
    files.write_bytes(published_study / "evaluations/mlp/curves.png", PNG + b"more")
    sync.sync(["mlp"])
    folder = published_study / runs_by_name(published_study)["mlp"].info.artifact_uri
    assert (folder / "curves.png").read_bytes() == PNG + b"more"


@pytest.mark.parametrize("made_by", ["sync", "evaluate"])
def test_a_file_of_the_same_size_is_replaced(published_study, count, made_by):
    """As after training on another processor: other weights under the same fingerprint."""
    folder, stored = published_study / "runs/mlp/seed-0", runs_by_name(published_study)["mlp seed 0"].info.artifact_uri
    files.write_bytes(folder / "epoch-02.safetensors", b"mlp 0 X")
    record = files.read_json(folder / "run.json")
    record["files"]["epoch-02.safetensors"] = sha256(b"mlp 0 X")
    files.write_json(folder / "run.json", record)
    if made_by == "sync":
        sync.sync(["mlp"])
    else:
        with open_store(store_location()) as store:
            store.send(*content.coloured(variant_content.variant_runs(published_study, "mlp", None), list(VARIANTS)))
    assert (published_study / stored / "checkpoints/epoch-02.safetensors").read_bytes() == b"mlp 0 X"
    assert (published_study / stored / "run.json").read_bytes() == (folder / "run.json").read_bytes()
    assert sha256(b"mlp 0 X")[:7] in runs_by_name(published_study)["mlp seed 0"].data.tags[user_changes.WEIGHTS]
    count("outputs that change back")


def test_an_interrupted_upload_is_noticed_although_the_files_are_the_old_ones_again(
    published_study, monkeypatch, count
):
    before, path = read_content(published_study), published_study / "evaluations/mlp/curves.png"
    picture = path.read_bytes()
    files.write_bytes(path, picture[::-1])

    def stop(*_: object) -> None:
        raise OSError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_text", stop)
        with pytest.raises(UserError, match="stopped"):
            sync.sync(list(VARIANTS))
    files.write_bytes(path, picture)
    sync.sync(list(VARIANTS))
    assert read_content(published_study) == before
    count("outputs that change back")


def test_a_relative_store_is_relative_to_the_repository(study, tmp_path, monkeypatch):
    workspace = tmp_path / "workspace"
    make_all(workspace)
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(study))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    sync.sync(["mlp"])
    assert Path.cwd() == workspace
    assert not list(workspace.glob("ml*"))
    assert "mlp seed 1" in read_content(study)


@pytest.mark.usefixtures("study")
def test_sync_says_where_mlflow_is_and_what_is_wrong(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9: ") as caught:
        sync.sync([])
    assert "secret" not in str(caught.value)


# Runs that a crash left RUNNING.


def publish_live(*journals: list[dict]) -> None:
    with open_store(store_location()) as store:
        store.send(*variant_content.training_runs(journals, 2, "RUNNING", None))


def write_resume_journal(study: Path, events: list[dict]) -> None:
    write_journal(study / ".lenetlab/resume" / events[0]["fingerprint"] / "journal.jsonl", events)


@pytest.mark.parametrize("store", ["mlflow.db", "elsewhere/mlflow.db"])
def test_runs_left_by_a_power_cut_are_ended(study, store, monkeypatch):
    (study / store).parent.mkdir(exist_ok=True)
    (study / "mlflow.db").rename(study / store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    folder = (study / store).parent
    finished, cut = journal("mlp", 0, 3), journal("mlp", 1, 3, until=1, end=None)
    publish_live(finished[:3], cut)
    assert set(statuses(folder).values()) == {"RUNNING"}
    write_resume_journal(study, finished)
    assert sync.sync(["mlp"])["ended"] == 3
    assert statuses(folder) == {"mlp": "KILLED", "mlp seed 0": "FINISHED", "mlp seed 1": "KILLED"}
    assert runs_by_name(folder)["mlp seed 1"].info.end_time == 1000 * (START + 100) + 6000
    assert sync.sync(["mlp"])["ended"] == 0


def test_a_run_that_is_left_alone_is_ended(study):
    with open_store(store_location()) as store:
        store.send(variant_content.training_runs([journal("mlp", 0, 3, until=0, end=None)], 1, "RUNNING", None)[0])
    assert sync.sync(["mlp"])["ended"] == 1
    assert statuses(study) == {"mlp": "KILLED"}


def test_a_training_that_makes_progress_is_not_ended(study):
    old, fresh = journal("mlp", 0, 3, end=None), journal("mlp", 1, 3, end=None)
    publish_live(old, fresh)
    fresh[-1]["time"] = time.time() - 60
    write_resume_journal(study, fresh)
    assert sync.sync(["mlp"])["ended"] == 0
    assert set(statuses(study).values()) == {"RUNNING"}


@pytest.mark.parametrize("in_store", ["parent", "child", "child without fingerprint", "child of a lost parent"])
@pytest.mark.parametrize("has_journal", [False, True])
def test_a_crash_between_the_requests_for_parent_and_child_leaves_no_running_run(study, count, in_store, has_journal):
    events, client = journal("mlp", 0, 3, until=1, end=None), open_client(study)
    runs = variant_content.training_runs([events], 1, "RUNNING", None)
    with open_store(store_location()) as store:
        store.send(*(runs[:1] if in_store == "parent" else runs))
    found = runs_by_name(study)
    if in_store == "child without fingerprint":
        client.delete_tag(found["mlp seed 0"].info.run_id, "fingerprint")
    if in_store == "child of a lost parent":
        client.delete_run(found["mlp"].info.run_id)
    if has_journal:
        write_resume_journal(study, events)
    sync.sync(["mlp"])
    assert set(statuses(study).values()) == {"KILLED"}
    assert sync.sync(["mlp"])["ended"] == 0
    count("crash between two requests to MLflow")
