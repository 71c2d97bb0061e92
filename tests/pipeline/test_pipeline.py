"""The whole pipeline through `dvc repro`, in a clone of its own, with its results and its MLflow store read back."""

import contextlib
import csv
import json
import os
import re
import shutil
import socket
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.projects import AUTHOR, ROOT, SEEDS, USER, VARIANTS, clone, edit, run, stages_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory, digits_folder):
    """A clone in which `dvc repro` has run once."""
    folder = clone(tmp_path_factory.mktemp("project"), digits_folder)
    (folder / "log").write_text(run(folder, "dvc", "repro"))
    return folder


def test_every_file_of_the_contract_is_there(project):
    expected = ["data/raw/train.tar", "data/raw/test.tar", "reports/comparison.json", "reports/report.html"]
    expected += ["reports/report.md", "reports/curves.csv", "reports/claims.json", "reports/origin.json", "costs.json"]
    expected += ["reports/figures/seeds.svg", "reports/figures/network-mlp.svg"]
    for part in ("train", "test"):
        expected += [f"data/prepared/{part}/{name}" for name in ("index.csv", "pixels.npy", "profile.json")]
    for variant in VARIANTS:
        for seed in SEEDS:
            files = ("epoch-01.safetensors", "curves.csv", "run.json")
            expected += [f"runs/{variant}/seed-{seed}/{name}" for name in files]
            expected += [f"journals/{variant}/seed-{seed}.jsonl"]
        names = ("metrics.json", "seeds.json", "curves.csv", "predictions.npz", "variant.json", "mistakes.npz")
        expected += [f"evaluations/{variant}/{name}" for name in names]
        expected += [f"reports/metrics/{variant}.json"]
    assert [name for name in expected if not (project / name).is_file()] == []


def test_the_stages_ran_in_order_and_a_second_time_none_does(project):
    names = ["cost", *(f"{stage}@{variant}" for variant in VARIANTS for stage in ("train", "evaluate"))]
    ran = stages_run((project / "log").read_text())
    assert ran[:2] == ["fetch", "prepare"]
    assert ran[-1] == "compare"
    assert sorted(ran[2:-1]) == sorted(names)
    assert stages_run(run(project, "dvc", "repro")) == []


def test_the_comparison_follows_from_the_predictions(project):
    (entry,) = json.loads((project / "reports" / "comparison.json").read_text())
    accuracies = {}
    for variant in VARIANTS:
        with np.load(project / "evaluations" / variant / "predictions.npz") as found:
            assert found["seeds"].tolist() == list(SEEDS)
            assert found["predicted"].shape == (len(SEEDS), 360)
            accuracies[variant] = (found["predicted"] == found["labels"]).mean(axis=1)
        seeds = json.loads((project / "evaluations" / variant / "seeds.json").read_text())
        assert [seeds[str(seed)]["test_accuracy"] for seed in SEEDS] == pytest.approx(accuracies[variant])
    assert entry["difference"] == pytest.approx(accuracies["lenet5"].mean() - accuracies["mlp"].mean())
    assert entry["verdict"] == "inconclusive"  # two seeds against two cannot fall below p = 1/3
    assert (entry["candidate"], entry["baseline"], entry["family"]) == ("lenet5", "mlp", "headline")


READ_STORE = """
import json
from hashlib import sha256
from pathlib import Path

from mlflow import MlflowClient

client = MlflowClient("sqlite:///mlflow.db")


def history(run, key):
    return [[metric.step, metric.value] for metric in client.get_metric_history(run, key)]


def artifacts(run, folder=None):
    for item in client.list_artifacts(run, folder):
        yield from artifacts(run, item.path) if item.is_dir else [item.path]


(experiment,) = [found for found in client.search_experiments() if found.name == "lenetlab"]
print(json.dumps([
    {
        "id": found.info.run_id,
        "name": found.info.run_name,
        "status": found.info.status,
        "tags": found.data.tags,
        "params": found.data.params,
        "stamps": {
            key: [metric.timestamp for metric in client.get_metric_history(found.info.run_id, key)]
            for key in found.data.metrics
        },
        "digests": {
            path: sha256((Path(found.info.artifact_uri) / path).read_bytes()).hexdigest()
            for path in artifacts(found.info.run_id)
        },
        "metrics": {key: history(found.info.run_id, key) for key in found.data.metrics},
        "artifacts": list(artifacts(found.info.run_id)),
        "datasets": [used.dataset.name for used in found.inputs.dataset_inputs],
    }
    for found in client.search_runs([experiment.experiment_id], max_results=1000)
]))
"""


def stored(project: Path) -> list[dict]:
    return json.loads(run(project, sys.executable, "-W", "ignore", "-c", READ_STORE).splitlines()[-1])


@pytest.fixture(scope="module")
def runs(project):
    """What MLflow holds after the first `dvc repro`."""
    return stored(project)


def test_mlflow_holds_one_finished_run_for_everything_that_ran(project, runs):
    assert {found["status"] for found in runs} == {"FINISHED"}
    parents = {found["tags"]["variant"]: found for found in runs if found["name"] in VARIANTS}
    children = [found for found in runs if "mlflow.parentRunId" in found["tags"]]
    assert set(parents) == set(VARIANTS)
    assert len(runs) == 1 + 2 + 4 + 1  # prepare, parents, children, comparison
    assert sorted((c["tags"]["variant"], c["tags"]["seed"]) for c in children) == [
        (variant, str(seed)) for variant in VARIANTS for seed in SEEDS
    ]
    for child in children:
        assert child["tags"]["mlflow.parentRunId"] == parents[child["tags"]["variant"]]["id"]
        record = json.loads(
            (project / "runs" / child["tags"]["variant"] / f"seed-{child['tags']['seed']}" / "run.json").read_text()
        )
        assert child["tags"]["fingerprint"] == record["fingerprint"]


def test_mlflow_shows_the_numbers_of_the_files(project, runs):
    for found in runs:
        if "mlflow.parentRunId" not in found["tags"]:
            continue
        variant, seed = found["tags"]["variant"], found["tags"]["seed"]
        with (project / "evaluations" / variant / "curves.csv").open() as table:
            (row,) = [row for row in csv.DictReader(table) if row["seed"] == seed]
        for key in (
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
            "test_loss",
            "test_accuracy",
        ):
            assert found["metrics"][key] == [[1, float(row[key])]], key
        assert any("epoch-01.safetensors" in path for path in found["artifacts"])
        assert any(path.endswith("curves.png") for path in found["artifacts"])
        assert found["datasets"]
        for tag in ("commit", "dirty", "data", "device", "fingerprint"):
            assert tag in found["tags"], tag


def test_mlflow_keeps_the_report_with_the_comparison(runs):
    (comparison,) = [found for found in runs if any("report.html" in path for path in found["artifacts"])]
    assert "mlflow.parentRunId" not in comparison["tags"]


def test_mlflow_keeps_the_costs_and_the_figures(project, runs):
    costs = json.loads((project / "costs.json").read_text())["variants"]
    for variant in VARIANTS:
        (parent,) = [found for found in runs if found["name"] == variant]
        both = costs[variant]["seconds_per_epoch"]
        assert parent["metrics"]["cost_seconds_per_epoch"] == [[1, pytest.approx(sum(both) / len(both))]]
        assert parent["metrics"]["cost_multiply_accumulates"] == [[1, costs[variant]["multiply_accumulates"]]]
        assert "cost_device_memory_bytes" not in parent["metrics"]
    (comparison,) = [found for found in runs if found["name"] == "comparison"]
    kept = {path.name for path in (project / "reports" / "figures").iterdir()}
    assert {f"figures/{name}" for name in kept} <= set(comparison["artifacts"])


def without_ids(found: list[dict]) -> dict[str, dict]:
    """What tells one record from another, by the runs' names; which run a run stands below is told by its variant."""
    return {
        run["name"]: {
            **{key: run[key] for key in ("status", "params", "metrics", "stamps", "digests", "datasets")},
            "tags": {key: value for key, value in run["tags"].items() if key != "mlflow.parentRunId"},
            "below": [above["name"] for above in found if above["id"] == run["tags"].get("mlflow.parentRunId")],
        }
        for run in found
    }


def test_mlflow_is_rebuilt_where_dvc_has_restored_the_outputs(project, runs, tmp_path):
    remote, other = tmp_path / "remote", tmp_path / "other"
    run(tmp_path, "git", "clone", "--quiet", str(project), str(other))
    shutil.copy(project / "dvc.lock", other)
    for folder in (project, other):  # as `dvc remote add --local --default` writes it
        (folder / ".dvc" / "config.local").write_text(f"[core]\nremote = kept\n['remote \"kept\"']\nurl = {remote}\n")
    run(project, "dvc", "push", "--quiet")
    run(other, "dvc", "pull", "--quiet")
    assert "8 runs" in run(other, "lenetlab", "sync")
    assert without_ids(stored(other)) == without_ids(runs)


def readable(content: bytes) -> str:
    """A text, or the longer words of what is none."""
    if b"\0" not in content:
        return content.decode()
    return "\n".join(word.decode() for word in re.findall(rb"[ -~]{6,}", content))


def test_nothing_that_is_kept_tells_of_the_place_the_user_or_secrets(project):
    places = [path for path in (str(project), str(ROOT), str(Path.home())) if len(path) > 4]
    machine = (
        [socket.gethostname()] if re.search(r"\d|-", socket.gethostname()) else []
    )  # a plain word may stand anywhere
    private = [*places, *machine, *AUTHOR, *USER.values()]
    named = ("TOKEN", "SECRET", "PASSWORD", "KEY")
    private += [value for name, value in os.environ.items() if any(part in name for part in named) and len(value) > 7]
    told = re.compile("|".join(rf"(?<![\w-]){re.escape(text)}(?![\w-])" for text in private))
    pictures = re.compile(r"data:[\w/+;-]+,[\w/+=]+")
    kept = [project / "costs.json", project / "dvc.lock"]
    for folder in ("runs", "journals", "evaluations", "reports", "mlruns"):
        kept += (path for path in (project / folder).rglob("*") if path.is_file())
    # In what is packed a short name may stand by chance: so pictures within the page are left out.
    texts = {str(path.relative_to(project)): readable(path.read_bytes()) for path in kept}
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as store:
        # MLflow gives its own experiment, which nobody uses here, an absolute place.
        store.execute("DELETE FROM experiments WHERE name = 'Default'")
        texts["mlflow.db"] = "\n".join(store.iterdump())
    assert len(texts) > 100
    found = {name: told.findall(pictures.sub("", text)) for name, text in texts.items()}
    assert {name: words for name, words in found.items() if words} == {}


def test_the_report_is_laid_out_again_from_what_lies_on_disk(project):
    """The same bytes, so that DVC sees no change; without training data, weights or test images."""
    folders = [project / name for name in ("runs", "data/prepared")]
    before = {path: path.read_bytes() for path in (project / "reports").rglob("*") if path.is_file()}
    (project / "reports" / "report.html").unlink()
    (project / "reports" / "figures" / "left-over.svg").touch()
    for folder in folders:
        shutil.move(folder, folder.with_name(f"{folder.name}-hidden"))
    try:
        assert "report: reports/report.html" in run(project, "lenetlab", "report")
    finally:
        for folder in folders:
            shutil.move(folder.with_name(f"{folder.name}-hidden"), folder)
    assert {path: path.read_bytes() for path in (project / "reports").rglob("*") if path.is_file()} == before
    assert "up to date" in run(project, "dvc", "status")


def test_metrics_params_plots_and_status_work(project):
    metrics = json.loads(run(project, "dvc", "metrics", "show", "--json"))
    (files,) = [revision["data"] for revision in metrics.values()]
    keys = {"parameters", "test_accuracy", "test_accuracy_sd", "test_loss"}
    assert {name: set(content["data"]) for name, content in files.items()} == {
        f"reports/metrics/{variant}.json": keys for variant in VARIANTS
    }
    run(project, "dvc", "plots", "show", "--out", "plots")
    assert "lenet5" in (project / "plots" / "index.html").read_text()
    assert "up to date" in run(project, "dvc", "status")


@pytest.mark.usefixtures("without_mlflow")
def test_the_test_set_is_not_visible_to_training(project):
    """Without the test data on the disk, training gives the same bits."""
    weights = project / "runs" / "mlp" / "seed-0" / "epoch-01.safetensors"
    before = weights.read_bytes()
    shutil.move(project / "data" / "prepared" / "test", project / "hidden")
    shutil.rmtree(project / ".lenetlab" / "resume")
    try:
        run(project, "dvc", "repro", "--force", "--single-item", "train@mlp")
    finally:
        shutil.move(project / "hidden", project / "data" / "prepared" / "test")
    assert weights.read_bytes() == before


@pytest.mark.usefixtures("without_mlflow")
def test_editing_one_variant_reruns_that_variant_and_the_comparison(project):
    def change(content: dict) -> None:
        content["variants"]["mlp"]["model"]["hidden"] = [58]

    edit(project, change)
    assert "variants.mlp.model.hidden" in run(project, "dvc", "params", "diff")
    log = run(project, "dvc", "repro")
    assert sorted(stages_run(log)) == ["compare", "cost", "evaluate@mlp", "train@mlp"]


def test_adding_a_seed_does_not_measure_the_costs_again(project):
    edit(project, lambda content: content["seeds"].append(7))
    due = stages_run(run(project, "dvc", "repro", "--dry"))
    edit(project, lambda content: content["seeds"].pop())
    assert "train@lenet5" in due
    assert "cost" not in due


@pytest.mark.usefixtures("without_mlflow")
def test_sensitivity_is_measured_kept_and_shown(project):
    def ask_little(content: dict) -> None:
        lists = {"learning_rate": [0.01, 0.05], "dropout": [0.5], "width": [0.5], "batch_size": [], "images": [100]}
        content["sensitivity"] = {"variant": "lenet5", "seeds": [0, 5], **lists}

    edit(project, ask_little)
    page = project / "reports" / "report.html"
    assert "Not measured with these data and settings yet" in page.read_text()  # the table in git is about MNIST
    run(project, "lenetlab", "sensitivity")
    found = json.loads((project / "docs" / "sensitivity.json").read_text())
    assert [(point["setting"], point["value"]) for point in found["points"]] == [
        (None, None),
        ("learning_rate", 0.01),
        ("learning_rate", 0.05),
        ("dropout", 0.5),
        ("width", 0.5),
        ("images", 100),
    ]
    assert found["points"][0]["validation_accuracy"] == found["points"][1]["validation_accuracy"]  # its own rate
    assert stages_run(run(project, "dvc", "repro")) == ["compare"]
    assert "How the result of lenet5 changes" in page.read_text()
    assert (project / "reports" / "figures" / "sensitivity.svg").is_file()


@pytest.mark.usefixtures("without_mlflow")
def test_editing_the_report_reruns_the_comparison_alone(project):
    with (project / "src" / "lenetlab" / "report.py").open("a") as source:
        source.write("\n# edited\n")
    assert stages_run(run(project, "dvc", "repro")) == ["compare"]


@pytest.mark.usefixtures("without_mlflow")
def test_a_new_user_of_the_same_machine_gets_the_same_weights(project, tmp_path, digits_folder):
    other = clone(tmp_path, digits_folder)
    run(other, "dvc", "repro", "train@lenet5")
    for seed in SEEDS:
        name = f"runs/lenet5/seed-{seed}/epoch-01.safetensors"
        assert (other / name).read_bytes() == (project / name).read_bytes()


def test_a_variant_that_diverges_is_told_and_spoils_no_other(project):
    def add_one(content: dict) -> None:
        hot = {**content["variants"]["lenet5"], "training": {"learning_rate": 100.0}}
        content["variants"]["hot"] = hot
        content["study"].append("hot")
        content["comparisons"]["headline"].append({"candidate": "hot", "baseline": "lenet5"})

    before = json.loads((project / "reports" / "comparison.json").read_text())[0]
    edit(project, add_one)
    log = run(project, "dvc", "repro")
    assert "diverged" in log
    first, second = json.loads((project / "reports" / "comparison.json").read_text())
    assert first["difference"] == before["difference"]
    assert second["verdict"] == "inconclusive"
    records = [json.loads((project / "runs/hot" / f"seed-{seed}" / "run.json").read_text()) for seed in SEEDS]
    lost = [record for record in records if record["diverged"]]
    assert ("all 2 seeds" if len(lost) == 2 else "1 of 2 seeds") + " of hot diverged" in second["reason"]
    kept = json.loads((project / "evaluations/hot/seeds.json").read_text())
    assert len(kept) == 2 - len(lost)
    assert "hot" in (project / "reports" / "report.html").read_text()
    store = stored(project)
    told = {found["name"]: found for found in store}
    # Two parents with two children, of which the edited one had run without MLflow, and another comparison.
    assert len(store) == 8 + 2 * 3 + 1
    for record in lost:
        found = told[f"hot seed {record['seed']}"]
        assert found["status"] == told["hot"]["status"] == "FAILED"
        assert "diverged" in found["tags"]


@pytest.mark.usefixtures("without_mlflow")
def test_a_matched_width_follows_the_other_variant_once_the_remedy_is_taken(project):
    """DVC does not rerun an MLP whose budget has changed; compare refuses it by name, and what it says helps."""

    def match(content: dict) -> None:
        content["variants"]["mlp"]["model"] = {"name": "mlp", "match_parameters": "lenet5", "activation": "relu"}

    def shrink(content: dict) -> None:
        content["variants"]["lenet5"]["model"]["hidden"] = [60, 42]

    def width() -> list[int]:
        record = json.loads((project / "evaluations" / "mlp" / "variant.json").read_text())
        return record["identity"]["definition"]["model"]["hidden"]

    edit(project, match)
    run(project, "dvc", "repro", "evaluate@mlp")
    assert width() == [59]
    edit(project, shrink)
    assert "evaluate@mlp" not in stages_run(run(project, "dvc", "repro", "--dry"))
    log = run(project, "python", "stages/compare.py", status=1)
    assert "evaluations/mlp: made from other settings than those of params.yaml" in log
    assert "dvc repro --force --single-item train@mlp, then dvc repro" in log
    run(project, "dvc", "repro", "--force", "--single-item", "train@mlp")
    assert stages_run(run(project, "dvc", "repro", "evaluate@mlp")) == ["evaluate@mlp"]
    assert width() == [(2_572 + 60 * 401 + 42 * 61 + 10 * 43 - 10) // (1024 + 11)]
