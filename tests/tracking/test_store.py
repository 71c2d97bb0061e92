"""What MLflow shows is read back through its own client and compared with the files it was published from."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.storage.digests import sha256, sha256_file
from lenetlab.tracking import beside_stage, sync, variant_content
from lenetlab.tracking.connection import store_location
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

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of its dependencies


def test_the_module_loads_neither_mlflow_nor_torch():
    seen = (
        "import sys; from lenetlab.tracking import beside_stage, publisher, sync\n"
        "print({'mlflow', 'torch', 'scipy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout == "set()\n"


# What MLflow holds.


@pytest.fixture
def root(template, tmp_path, monkeypatch):
    """The working folder of a study, with an empty store."""
    folder = tmp_path / "study"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def all_runs(folder: Path) -> dict:
    """MLflow's runs by name."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("lenetlab").experiment_id])
    assert len({run.info.run_name for run in found}) == len(found), "a run was doubled"
    return {run.info.run_name: run for run in found}


def digests(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


def told(client: Any, runs: Sequence[Any], place: Callable[[str], Path]) -> list[dict]:
    """All that MLflow tells of these runs, without its own ids; `place` finds the folder of artifacts of a URI."""
    names = {run.info.run_id: run.info.run_name for run in runs}
    return [
        {
            "name": run.info.run_name,
            "status": (run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": run.data.tags | {"mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))},
            "points": sorted(
                (point.key, point.step, point.value, point.timestamp)
                for key in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, key)
            ),
            "artifacts": digests(place(run.info.artifact_uri)),
            "data": sorted((item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs),
        }
        for run in runs
    ]


def shown(folder: Path) -> dict:
    """All that MLflow tells of every run, by name."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = told(client, list(all_runs(folder).values()), lambda uri: folder / uri)
    return {run.pop("name"): run for run in found}


def test_everything_published_is_read_back(root):
    make_all(root)
    added = sync.sync(list(VARIANTS))
    found = shown(root)
    seeds = [f"{variant} seed {seed}" for variant in VARIANTS for seed in (0, 1)]
    assert set(found) == {"prepare", "comparison", *VARIANTS, *seeds}
    assert added["runs"] == len(found)
    assert {run["status"][0] for run in found.values()} == {"FINISHED"}

    seed = found["mlp seed 1"]
    assert seed["status"][1:] == (1000 * (START + 100), 1000 * (START + 100) + 18500)
    assert seed["tags"]["mlflow.parentRunId"] == "mlp"
    assert seed["tags"]["fingerprint"] == journal("mlp", 1, 3)[0]["fingerprint"]
    assert [point[1:] for point in seed["points"] if point[0] == "train_loss"] == [
        (epoch, epoch_event("mlp", 1, epoch)["train_loss"], 1000 * (START + 100) + 6000 * epoch) for epoch in (1, 2, 3)
    ]
    assert [point[2] for point in seed["points"] if point[0] == "test_accuracy"] == [
        evaluation_row("mlp", 1, epoch)["test_accuracy"] for epoch in (1, 2, 3)
    ]
    assert seed["data"] == [("data/prepared/test", sha256(b"test")[:12]), ("data/prepared/train", DATA[:12])]
    assert seed["artifacts"] == {
        **digests(root / "evaluations/mlp/seed-1"),
        **{name: sha256_file(root / "runs/mlp/seed-1" / name) for name in ("curves.csv", "run.json")},
        **{f"checkpoints/epoch-{n:02}.safetensors": sha256(f"mlp 1 {n}".encode()) for n in (1, 2, 3)},
    }

    variant = found["lenet5"]
    assert variant["params"]["parameters"] == "61706"
    assert variant["tags"]["seeds"] == "0 1"
    assert {"curves.png", "confusion.png", "mistakes.png", "metrics.json"} <= set(variant["artifacts"])
    assert found["prepare"]["params"]["training_images"] == "55000"
    assert set(found["prepare"]["artifacts"]) == {"samples.png", "train/profile.json", "test/profile.json"}
    assert found["comparison"]["artifacts"] == digests(root / "reports")
    expected = {"dirty": "true", "dvc_experiment": "warm-tapir", "verdict": "1 better, 1 inconclusive"}
    assert expected.items() <= found["comparison"]["tags"].items()
    assert found["comparison"]["tags"]["mlflow.note.content"] == (root / "reports/report.md").read_text()


def test_publishing_twice_changes_nothing(root):
    make_all(root)
    sync.sync(list(VARIANTS))
    before = shown(root)
    assert set(sync.sync(list(VARIANTS)).values()) == {0}
    assert shown(root) == before


def test_a_store_filled_on_the_way_equals_one_rebuilt_at_the_end(root, template, tmp_path):
    make_prepared(root)
    sync.sync([])
    for variant in VARIANTS:
        make_training(root, variant)
        sync.sync([variant])
        make_evaluation(root, variant)
        sync.sync([variant])
    make_reports(root)
    sync.sync(list(VARIANTS))
    on_the_way = shown(root)

    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlruns")
    shutil.copy(template / "mlflow.db", root / "mlflow.db.new")  # a new inode: MLflow keeps the old one open
    (root / "mlflow.db.new").rename(root / "again.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///again.db")
        sync.sync(list(VARIANTS))
    rebuilt = tmp_path / "rebuilt"
    rebuilt.mkdir()
    shutil.copy(root / "again.db", rebuilt / "mlflow.db")
    shutil.move(root / "mlruns", rebuilt)
    assert shown(rebuilt) == on_the_way


def test_artifacts_are_found_after_the_folder_has_moved(root, tmp_path, monkeypatch):
    import mlflow

    make_all(root)
    sync.sync(["mlp"])
    monkeypatch.chdir(tmp_path)
    moved = root.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    run = all_runs(moved)["mlp"]
    assert not Path(run.info.artifact_uri).is_absolute()
    client = mlflow.MlflowClient(f"sqlite:///{moved / 'mlflow.db'}")
    assert "curves.png" in [item.path for item in client.list_artifacts(run.info.run_id)]
    picture = client.download_artifacts(run.info.run_id, "curves.png", str(tmp_path))
    assert Path(picture).read_bytes() == PNG
    assert set(sync.sync(["mlp"]).values()) == {0}


def test_a_seed_can_be_added(root):
    make_training(root, "mlp", seeds=2)
    sync.sync(["mlp"])
    before = all_runs(root)
    make_training(root, "mlp", seeds=3)
    assert sync.sync(["mlp"])["runs"] == 1
    after = all_runs(root)
    assert after["mlp"].info.run_id == before["mlp"].info.run_id
    losses = [epoch_event("mlp", seed, 3)["train_loss"] for seed in range(3)]
    assert after["mlp"].data.metrics["train_loss"] == pytest.approx(np.mean(losses))
    assert after["mlp"].data.tags["seeds"] == "0 1 2"
    assert set(sync.sync(["mlp"]).values()) == {0}


def test_the_latest_evaluation_is_the_one_shown(root):
    make_training(root, "mlp")
    make_evaluation(root, "mlp")
    sync.sync(["mlp"])
    folder = root / "evaluations/mlp"
    worse = files.read_json(folder / "metrics.json") | {"test_accuracy": 0.1}
    files.write_json(folder / "metrics.json", worse)
    sync.sync(["mlp"])
    assert all_runs(root)["mlp"].data.metrics["test_accuracy"] == 0.1
    assert set(sync.sync(["mlp"]).values()) == {0}


def test_a_picture_drawn_anew_is_sent_anew(root):
    make_all(root)
    sync.sync(["mlp"])
    files.write_bytes(root / "evaluations/mlp/curves.png", PNG + b"more")
    sync.sync(["mlp"])
    folder = root / all_runs(root)["mlp"].info.artifact_uri
    assert (folder / "curves.png").read_bytes() == PNG + b"more"


def test_a_deleted_run_is_published_again(root):
    import mlflow

    make_training(root, "mlp")
    sync.sync(["mlp"])
    run = all_runs(root)["mlp seed 0"].info.run_id
    mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}").delete_run(run)
    assert sync.sync(["mlp"])["runs"] == 1
    assert all_runs(root)["mlp seed 0"].info.run_id != run


def test_a_relative_store_belongs_to_the_repository(root, tmp_path, monkeypatch):
    workspace = tmp_path / "workspace"
    make_all(workspace)
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    sync.sync(["mlp"])
    assert Path.cwd() == workspace
    assert not list(workspace.glob("ml*"))
    assert "mlp seed 1" in shown(root)


def publish_live(*journals: list[dict]) -> None:
    with open_store(store_location()) as store:
        store.send(*variant_content.training_runs(journals, 2, "RUNNING"))


def test_runs_left_by_a_power_cut_are_ended(root):
    finished, cut = journal("mlp", 0, 3), journal("mlp", 1, 3, until=1, end=None)
    publish_live(finished[:3], cut)
    assert {run.info.status for run in all_runs(root).values()} == {"RUNNING"}
    write_journal(root / ".lenetlab/resume" / finished[0]["fingerprint"] / "journal.jsonl", finished)
    assert sync.sync(["mlp"])["ended"] == 3
    statuses = {name: run.info.status for name, run in all_runs(root).items()}
    assert statuses == {"mlp": "KILLED", "mlp seed 0": "FINISHED", "mlp seed 1": "KILLED"}
    assert all_runs(root)["mlp seed 1"].info.end_time == 1000 * (START + 100) + 6000
    assert sync.sync(["mlp"])["ended"] == 0


def test_a_training_that_makes_progress_is_left_alone(root):
    old, fresh = journal("mlp", 0, 3, end=None), journal("mlp", 1, 3, end=None)
    publish_live(old, fresh)
    fresh[-1]["time"] = time.time() - 60
    write_journal(root / ".lenetlab/resume" / fresh[0]["fingerprint"] / "journal.jsonl", fresh)
    assert sync.sync(["mlp"])["ended"] == 0
    assert {run.info.status for run in all_runs(root).values()} == {"RUNNING"}


@pytest.mark.usefixtures("root")
def test_sync_says_plainly_what_is_wrong(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9: ") as caught:
        sync.sync([])
    assert "secret" not in str(caught.value)


# Beside a stage, in a process of its own.


@pytest.fixture
def resume(root) -> dict[int, Path]:
    return {seed: root / ".lenetlab/resume" / journal("mlp", seed, 3)[0]["fingerprint"] for seed in (0, 1)}


def wait_for(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute")


@pytest.mark.slow
def test_a_stage_is_followed_while_it_trains_and_resumes(root, resume, capfd):
    def fail_in_the_second_epoch():
        write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=1, end=None))
        wait_for(lambda: "mlp seed 0" in all_runs(root))
        assert all_runs(root)["mlp seed 0"].info.status == "RUNNING"
        write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=2, end=None))
        write_journal(resume[1] / "journal.jsonl", journal("mlp", 1, 3, until=1, end=None))
        wait_for(lambda: "mlp seed 1" in all_runs(root))
        raise RuntimeError("the stage fails")

    def interrupt():
        wait_for(lambda: all_runs(root)["mlp seed 0"].info.status == "RUNNING")
        raise KeyboardInterrupt

    with pytest.raises(RuntimeError), beside_stage.publishing("train", "mlp", resume):
        fail_in_the_second_epoch()
    assert {run.info.status for run in all_runs(root).values()} == {"FAILED"}

    first = all_runs(root)["mlp seed 0"].info.run_id
    with pytest.raises(KeyboardInterrupt), beside_stage.publishing("train", "mlp", resume):
        interrupt()
    wait_for(lambda: {run.info.status for run in all_runs(root).values()} == {"KILLED"})  # nobody waits for that

    with beside_stage.publishing("train", "mlp", resume):
        make_training(root, "mlp")
    found = shown(root)
    assert {run["status"][0] for run in found.values()} == {"FINISHED"}
    assert all_runs(root)["mlp seed 0"].info.run_id == first
    assert [point[1] for point in found["mlp seed 0"]["points"] if point[0] == "train_loss"] == [1, 2, 3]
    assert "checkpoints/epoch-03.safetensors" in found["mlp seed 1"]["artifacts"]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_every_stage_is_followed(root, capfd):
    make_all(root)
    with beside_stage.publishing("prepare"):
        pass
    with beside_stage.publishing("evaluate", "lenet5-regularized"):
        pass
    with beside_stage.publishing("compare"):
        pass
    on_the_way = shown(root)
    assert set(sync.sync(list(VARIANTS)).values()) == {0}
    assert len(on_the_way) == 11
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_killed_stage_leaves_no_run_running(root, resume):
    write_journal(resume[0] / "journal.jsonl", journal("mlp", 0, 3, until=1, end=None))
    script = (
        "import sys, time; from pathlib import Path; from lenetlab.tracking import beside_stage\n"
        "with beside_stage.publishing('train', 'mlp', {0: Path(sys.argv[1])}): time.sleep(100)"
    )
    stage = subprocess.Popen([sys.executable, "-c", script, str(resume[0])], cwd=root)
    try:
        wait_for(lambda: "mlp seed 0" in all_runs(root))
        assert {run.info.status for run in all_runs(root).values()} == {"RUNNING"}
    finally:
        stage.kill()
        stage.wait()
    wait_for(lambda: {run.info.status for run in all_runs(root).values()} == {"KILLED"})


@pytest.mark.slow
def test_processes_that_open_a_new_store_at_once_do_not_clash(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for variant in VARIANTS:
        make_training(tmp_path, variant)
    with contextlib.ExitStack() as stack:
        for variant in VARIANTS:
            stack.enter_context(beside_stage.publishing("train", variant))
    assert len(all_runs(tmp_path)) == 9
    assert capfd.readouterr().err == ""


def descendants(process: int) -> set[int]:
    """With the process itself."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(processes: set[int]) -> set[tuple[str, int]]:
    """Addresses and ports; an address of version 6 as the system writes it."""
    sockets = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    found = set()
    for table in (path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()):
        for row in table.read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                address, port = local.split(":")
                name = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address
                found.add((name, int(port, 16)))
    return found


@pytest.mark.slow
def test_the_pages_are_served_to_this_machine_alone_and_end_quietly(root):
    make_all(root)
    sync.sync(["mlp"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", f"from lenetlab.tracking import pages; pages.ui({port})"]
    with (root / "errors").open("w") as errors:
        pages = subprocess.Popen(
            command,
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # A test run that a shell has put into the background ignores Ctrl-C, and so would all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        assert pages.stdout.readline() == "MLflow is starting …\n"
        assert pages.stdout.readline().startswith(f"http://127.0.0.1:{port}/#/experiments/1/runs?")
        run = all_runs(root)["mlp"].info.run_id
        artifact = f"http://127.0.0.1:{port}/get-artifact?run_uuid={run}&path=curves.png"
        assert urllib.request.urlopen(artifact, timeout=30).read() == PNG  # noqa: S310
        foreign = urllib.request.Request(artifact, headers={"Host": f"10.example.org:{port}"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign, timeout=30)  # noqa: S310
        if Path("/proc/net/tcp").exists():
            assert listening(descendants(pages.pid)) == {("127.0.0.1", port)}
        pages.send_signal(signal.SIGINT)
        assert pages.wait(timeout=20) == 0
        assert "Traceback" not in (root / "errors").read_text()
    finally:
        pages.terminate()
        pages.communicate(timeout=20)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the server is still there"
