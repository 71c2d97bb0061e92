"""The whole pipeline through `dvc repro` in a clone; its files and its MLflow store are read back.

Each test reads the finished project, or edits a copy of it.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import socket
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from lenetlab.tracking import user_changes
from lenetlab.tracking.metrics import names
from tests.pipeline.projects import AUTHOR, ROOT, SEEDS, USER, VARIANTS, clone, copy_of, edit, run, stages_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory) -> Path:
    """A copy for tests that run commands but edit nothing."""
    return copy_of(finished, tmp_path_factory.mktemp("copies") / "project")


def test_every_file_of_the_contract_is_there(project):
    expected = [f"data/raw/{name}.tar" for name in ("train", "test", "extra")]
    expected += [
        "data/raw/conversions.json",
        "data/raw/extra-conversions.json",
        "reports/comparison.json",
        "reports/report.html",
        "reports/report.md",
        "reports/curves.csv",
        "reports/confusion.csv",
        "reports/metrics.json",
        "reports/claims.json",
        "reports/origin.json",
        "model/model.json",
        "model/weights.safetensors",
        "costs.json",
    ]
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
    assert sorted(ran[:2]) == ["extra", "fetch"]
    assert ran[2] == "prepare"
    assert ran[-1] == "compare"
    assert sorted(ran[3:-1]) == sorted(names)
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
    """All runs in the project's MLflow store."""
    return json.loads(run(project, "python", "-W", "ignore", "-c", READ_STORE).splitlines()[-1])


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
        curves = {
            key: name for key, name in (names.JOURNAL | names.TEST_CURVES).items() if name.startswith("3 curves/")
        }
        assert len(curves) == 6
        for key, name in curves.items():
            assert found["metrics"][name] == [[1, names.in_unit(name, float(row[key]))]], key
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
        assert parent["metrics"]["cost/seconds per epoch"] == [[0, pytest.approx(sum(both) / len(both), rel=1e-3)]]
        assert parent["metrics"]["cost/multiply-accumulates"] == [[0, costs[variant]["multiply_accumulates"]]]
        assert "cost/device memory megabytes" not in parent["metrics"]
    (comparison,) = [found for found in runs if found["name"] == "comparison"]
    kept = {path.name for path in (project / "reports" / "figures").iterdir()}
    assert {f"figures/{name}" for name in kept} <= set(comparison["artifacts"])


def without_ids(found: list[dict]) -> dict[str, dict]:
    """What tells one record from another, by the runs' names; which run a run stands below is told by its variant.

    Without how busy the machine was, which no output says.
    """
    others = ("mlflow.parentRunId", user_changes.SENT_METRICS)
    return {
        run["name"]: {
            **{key: run[key] for key in ("status", "params", "digests", "datasets")},
            **{
                kind: {name: value for name, value in run[kind].items() if name not in (names.CPU, names.MEMORY)}
                for kind in ("metrics", "stamps")
            },
            "tags": {key: value for key, value in run["tags"].items() if key not in others},
            "below": [above["name"] for above in found if above["id"] == run["tags"].get("mlflow.parentRunId")],
        }
        for run in found
    }


def test_mlflow_is_rebuilt_where_dvc_has_restored_the_outputs(project, runs, tmp_path):
    remote, other = tmp_path / "remote", tmp_path / "other"
    project = copy_of(project, tmp_path / "project")
    run(project, "git", "add", "dvc.lock", "reports")
    run(project, "git", "commit", "--quiet", "--message", "run")
    run(tmp_path, "git", "clone", "--quiet", str(project), str(other))
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
    for folder in ("runs", "journals", "evaluations", "reports", "model", "mlruns"):
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


def accuracy(project: Path, variant: str) -> float:
    """Mean over seeds, in per cent."""
    with np.load(project / "evaluations" / variant / "predictions.npz") as found:
        return pytest.approx(100 * (found["predicted"] == found["labels"]).mean(), abs=0.001)


def test_metrics_params_plots_and_status_work(project):
    metrics = json.loads(run(project, "dvc", "metrics", "show", "--json"))
    (files,) = [revision["data"] for revision in metrics.values()]
    assert {name: content["data"] for name, content in files.items()} == {
        "reports/metrics.json": {variant: {"accuracy": accuracy(project, variant)} for variant in VARIANTS}
    }
    assert max(map(len, run(project, "dvc", "metrics", "show").splitlines())) <= 120
    run(project, "dvc", "plots", "show", "--out", "plots")
    page = (project / "plots" / "index.html").read_text()
    titles = [f"{part} {measure}" for part in ("training", "validation", "test") for measure in ("accuracy", "loss")]
    assert [title for title in [*titles, "confusion matrix"] if f'"text": "{title}"' not in page] == []
    assert "<DVC_" not in page
    assert "up to date" in run(project, "dvc", "status")


@pytest.fixture(scope="module")
def scratch(finished, tmp_path_factory) -> Path:
    """A copy for `dvc repro --dry`; each test undoes its edit."""
    return copy_of(finished, tmp_path_factory.mktemp("copies") / "scratch")


def due(project: Path) -> list[str]:
    """The stages that DVC would run now, without those that only follow them."""
    return sorted(stages_run(run(project, "dvc", "repro", "--dry")))


def test_an_added_seed_trains_and_does_not_measure_costs_again(scratch):
    edit(scratch, lambda content: content["seeds"].append(7))
    found = due(scratch)
    edit(scratch, lambda content: content["seeds"].pop())
    assert {f"train@{variant}" for variant in VARIANTS} <= set(found)
    assert "cost" not in found


@pytest.mark.parametrize("name", ["templates/report.html", "page.py"])
def test_an_edit_of_the_report_trains_and_evaluates_nothing(scratch, name):
    source = scratch / "src" / "lenetlab" / "report" / name
    before = source.read_text()
    source.write_text(before + "\n")
    found = due(scratch)
    source.write_text(before)
    assert found == ["compare"]


@pytest.mark.usefixtures("without_mlflow")
def test_another_folder_without_test_images_gives_the_same_weights(finished, digits_folder, tmp_path):
    """A new clone fetches, prepares and trains; the test images are gone before it trains."""
    other = clone(tmp_path, digits_folder)
    run(other, "dvc", "repro", "prepare")
    shutil.rmtree(other / "data" / "prepared" / "test")
    run(other, "dvc", "repro", "--single-item", "train@mlp")
    for seed in SEEDS:
        name = f"runs/mlp/seed-{seed}/epoch-01.safetensors"
        assert (other / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.usefixtures("without_mlflow")
def test_sensitivity_is_measured_kept_and_shown(finished, tmp_path):
    def ask_little(content: dict) -> None:
        lists = {"learning_rate": [0.01], "dropout": [], "width": [0.5], "batch_size": [], "images": [100]}
        content["sensitivity"] = {"variant": "mlp", "seeds": [0, 5], **lists}

    project = copy_of(finished, tmp_path / "project")
    edit(project, ask_little)
    page = project / "reports" / "report.html"
    assert NOT_MEASURED in page.read_text()  # the table in git was measured on MNIST
    run(project, "lenetlab", "sensitivity")
    points = json.loads((project / "docs" / "sensitivity.json").read_text())["points"]
    assert [(point["setting"], point["value"]) for point in points] == [
        (None, None),
        ("learning_rate", 0.01),
        ("width", 0.5),
        ("images", 100),
    ]
    assert points[0]["validation_accuracy"] == points[1]["validation_accuracy"]  # 0.01 is the rate of the variant
    assert stages_run(run(project, "dvc", "repro")) == ["compare"]
    assert NOT_MEASURED not in page.read_text()
    assert (project / "reports" / "figures" / "sensitivity.svg").is_file()


NOT_MEASURED = "Not measured yet with the present data and settings"


@pytest.fixture(scope="module")
def edited(finished, no_mlflow, tmp_path_factory) -> Path:
    """A copy in which one variant was edited and one that diverges was added, after `dvc repro`."""

    def change(content: dict) -> None:
        content["variants"]["mlp"]["model"]["hidden"] = [58]
        content["variants"]["hot"] = {**content["variants"]["lenet5"], "training": {"learning_rate": 100.0}}
        content["study"].append("hot")
        content["comparisons"]["headline"].append({"candidate": "hot", "baseline": "lenet5"})

    project = copy_of(finished, tmp_path_factory.mktemp("copies") / "edited")
    edit(project, change)
    assert "variants.mlp.model.hidden" in run(project, "dvc", "params", "diff")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(no_mlflow), prepend=os.pathsep)
        (project / "log").write_text(run(project, "dvc", "repro"))
    run(project, "lenetlab", "sync")
    return project


def test_an_edited_and_an_added_variant_are_all_that_is_trained(edited):
    trained = [f"{stage}@{variant}" for stage in ("evaluate", "train") for variant in ("hot", "mlp")]
    assert sorted(stages_run((edited / "log").read_text())) == sorted(["compare", "cost", *trained])


def test_a_variant_that_diverges_is_reported_and_affects_no_other(finished, edited):
    assert "diverged" in (edited / "log").read_text()
    for name in ("seeds.json", "predictions.npz"):
        path = f"evaluations/lenet5/{name}"
        assert (edited / path).read_bytes() == (finished / path).read_bytes()
    first, second = json.loads((edited / "reports" / "comparison.json").read_text())
    assert first["difference"] is not None
    assert second["verdict"] == "inconclusive"
    records = [json.loads((edited / "runs/hot" / f"seed-{seed}" / "run.json").read_text()) for seed in SEEDS]
    lost = [record for record in records if record["diverged"]]
    assert ("all 2 seeds" if len(lost) == 2 else "1 of 2 seeds") + " of hot diverged" in second["reason"]
    assert len(json.loads((edited / "evaluations/hot/seeds.json").read_text())) == 2 - len(lost)
    assert "hot" in (edited / "reports" / "report.html").read_text()
    store = stored(edited)
    by_name = {found["name"]: found for found in store}
    assert len(store) == 8 + 2 * 3 + 1  # the first 8, two variants with two seeds each, another comparison
    for record in lost:
        found = by_name[f"hot seed {record['seed']}"]
        assert found["status"] == by_name["hot"]["status"] == "FAILED"
        assert "diverged" in found["tags"]


@pytest.mark.usefixtures("without_mlflow")
def test_a_matched_width_follows_the_other_variant_after_the_remedy(finished, tmp_path):
    """DVC does not rerun an MLP when its budget changes; compare rejects it by name, and its remedy helps."""

    def match(content: dict) -> None:
        content["variants"]["mlp"]["model"] = {"name": "mlp", "match_parameters": "lenet5", "activation": "relu"}

    def shrink(content: dict) -> None:
        content["variants"]["lenet5"]["model"]["hidden"] = [60, 42]

    def width() -> list[int]:
        record = json.loads((project / "evaluations" / "mlp" / "variant.json").read_text())
        return record["identity"]["definition"]["model"]["hidden"]

    project = copy_of(finished, tmp_path / "project")
    edit(project, match)  # 59 units, as before
    run(project, "dvc", "commit", "--force", "train@mlp", "evaluate@mlp")
    edit(project, shrink)
    assert not {"train@mlp", "evaluate@mlp"} & set(due(project))
    log = run(project, "python", "stages/compare.py", status=1)
    assert "evaluations/mlp: made with other settings than those in params.yaml" in log
    assert "dvc repro --force --single-item train@mlp, then dvc repro" in log
    run(project, "dvc", "repro", "--force", "--single-item", "train@mlp")
    assert stages_run(run(project, "dvc", "repro", "evaluate@mlp")) == ["evaluate@mlp"]
    assert width() == [(2_572 + 60 * 401 + 42 * 61 + 10 * 43 - 10) // (1024 + 11)]
