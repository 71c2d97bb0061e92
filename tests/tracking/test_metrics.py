"""The metrics' names and units, and how busy the machine was."""

import shutil
import time
from dataclasses import dataclass

import pytest

from lenetlab.storage import files
from lenetlab.tracking import content, pages, sync, user_changes, variant_content
from lenetlab.tracking.metrics import names, system_load
from tests.tracking.outputs import START, VARIANTS, journal, make_all, make_evaluation, make_training
from tests.tracking.stores import open_client, read_content, runs_by_name

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of its dependencies


def three_digits(value):
    """As MLflow's charts show a number."""
    return f"{value:.3g}"


@pytest.mark.parametrize("lowest", [0.9883, 0.9893, 0.9896, 0.98955])
def test_variants_that_differ_by_a_tenth_of_a_point_read_differently_in_charts(tmp_path, lowest):
    make_all(tmp_path)
    shown = {}
    for place, variant in enumerate(VARIANTS):
        path = tmp_path / "evaluations" / variant / "metrics.json"
        accuracy = lowest + 0.001 * place
        files.write_json(path, files.read_json(path) | {"test_accuracy": accuracy})
        parent, *_ = variant_content.variant_runs(tmp_path, variant, None)
        assert parent.metrics[names.TEST_ACCURACY, 0][0] == pytest.approx(100 * accuracy)
        assert parent.metrics[names.TEST_ERROR, 0][0] == pytest.approx(100 * (1 - accuracy))
        for name in (names.TEST_ACCURACY, names.TEST_ERROR):
            shown.setdefault(name, set()).add(three_digits(parent.metrics[name, 0][0]))
    assert {name: len(values) for name, values in shown.items()} == {names.TEST_ACCURACY: 3, names.TEST_ERROR: 3}


def test_the_result_stands_first_and_costs_last(tmp_path):
    make_all(tmp_path)
    files.write_json(
        tmp_path / "costs.json", {"variants": {"mlp": {"seconds_per_epoch": [0.5], "latency_seconds": [1e-5]}}}
    )
    parent, child, *_ = variant_content.variant_runs(tmp_path, "mlp", None)
    order = sorted({name for name, _ in parent.metrics})
    assert order[:3] == [names.TEST_ACCURACY, names.TEST_ERROR, names.TEST_LOSS]
    sections = list(dict.fromkeys(name.partition("/")[0] for name in order))
    assert sections == ["1 result", "2 over seeds", "3 curves", "cost", "system"]
    single = {name for name, step in parent.metrics if step == 0}  # MLflow draws bars
    assert single == {name for name in order if not name.startswith(("3 curves/", "system/"))}
    assert sorted({name for name, _ in child.metrics})[0] == names.TEST_ACCURACY
    assert parent.metrics["cost/latency microseconds", 0][0] == 10


def test_a_run_has_the_colour_of_its_variant_in_the_report(tmp_path):
    from lenetlab.report import style

    make_all(tmp_path)
    study = list(VARIANTS)
    for place, variant in enumerate(study):
        runs = content.coloured(variant_content.variant_runs(tmp_path, variant, None), study)
        assert {run.tags["mlflow.runColor"] for run in runs} == {style.variant_mark(place).colour}
    (comparison,) = content.coloured(content.comparison_runs(tmp_path), study)
    assert comparison.tags["mlflow.runColor"] == style.INK


def test_a_seed_has_a_description_and_its_data_sets(tmp_path):
    for make in (make_training, make_evaluation):
        make(tmp_path, "mlp", diverged={1: 3})
    _, first, second = variant_content.variant_runs(tmp_path, "mlp", None)
    assert first.tags["mlflow.note.content"].startswith(
        f"Seed 0 of **mlp**: test accuracy **{first.tags['accuracy']}** after 3 epochs."
    )
    assert second.tags["mlflow.note.content"].startswith(
        "Seed 1 of **mlp**: **diverged** in epoch 3, batch 12, after 2 epochs."
    )
    assert set(first.datasets) == {"training", "validation", "test"}
    assert set(second.datasets) == {"training", "validation"}


def test_few_tags_of_a_seed_are_visible(published):
    tags = read_content(published)["mlp seed 0"]["tags"]
    visible = {key for key in tags if not key.startswith("mlflow.")}
    assert visible == {"accuracy", "commit", "data", "device", "dirty", "fingerprint", "seed", "stage", "variant"}


# How busy the machine was.


def test_measurements_are_means_over_an_epoch(tmp_path):
    events = journal("mlp", 0, 3)
    rows = [(-1, 100), (2, 10), (4, 30), (7, 50), (12, 70), (13, 90), (15, 80)]  # the epochs end at 6, 12 and 18
    text = "".join(f"{START + seconds:.3f},{cpu:.1f},{1000 + cpu:.1f}\n" for seconds, cpu in rows)
    files.write_text(tmp_path / system_load.FILE, text + "not a row\n17000,5")
    found = system_load.by_epoch(tmp_path, events)
    values = {key: value for key, (value, _) in found.items()}
    assert values == {
        **{(names.CPU, 1): 20, (names.CPU, 2): 60, (names.CPU, 3): 85},
        **{(names.MEMORY, 1): 1020, (names.MEMORY, 2): 1060, (names.MEMORY, 3): 1085},
    }
    assert found[names.CPU, 2][1] == events[2]["time"]
    assert system_load.by_epoch(tmp_path / "nothing", events) == {}


def test_the_machine_is_measured_for_seeds_that_train(tmp_path, monkeypatch):
    monkeypatch.setattr(system_load, "SECONDS", 0.02)
    training, finished = tmp_path / "training", tmp_path / "finished"
    training.mkdir()
    files.write_json(finished / "run.json", {})
    ended = False
    thread = system_load.measure([training, finished, tmp_path / "not-there"], lambda: ended)
    for _ in range(500):
        if (training / system_load.FILE).exists() and len(system_load._read(training / system_load.FILE)) > 1:
            break
        time.sleep(0.02)
    ended = True
    thread.join(10)
    assert not thread.is_alive()
    for moment, cpu, memory in system_load._read(training / system_load.FILE):
        assert abs(moment - time.time()) < 60
        assert 0 <= cpu <= 100
        assert memory > 10
    assert not (finished / system_load.FILE).exists()
    assert not (tmp_path / "not-there").exists()


# A store that an earlier version filled.


@dataclass(frozen=True)
class EarlierRun:
    id: str
    metrics: dict[str, float]


def make_earlier(folder, name: str) -> EarlierRun:
    """Give a run the names of tags and metrics that earlier versions used."""
    client, run = open_client(folder), runs_by_name(folder)[name]
    key = run.info.run_id
    for earlier, present in user_changes.EARLIER.items():
        if present in run.data.tags:
            client.set_tag(key, earlier, run.data.tags[present])
            client.delete_tag(key, present)
    metrics = {"train_accuracy": 0.97, "test_accuracy": 0.96, "cost_latency_seconds": 1e-5}
    for metric, value in metrics.items():
        client.log_metric(key, metric, value, step=3)
    return EarlierRun(key, metrics)


def test_a_store_of_an_earlier_version_is_completed(published_study):
    before = read_content(published_study)
    earlier = {name: make_earlier(published_study, name) for name in ("mlp", "mlp seed 0")}
    shutil.rmtree(published_study / "mlruns")
    sync.sync(list(VARIANTS))
    after = read_content(published_study)
    assert set(after) == set(before)
    for name, run in earlier.items():
        assert runs_by_name(published_study)[name].info.run_id == run.id
        assert not user_changes.EARLIER.keys() & after[name]["tags"].keys()
        assert after[name]["artifacts"] == before[name]["artifacts"]
        assert [point for point in after[name]["metrics"] if point[0] not in run.metrics] == before[name]["metrics"]
    assert set(sync.sync(list(VARIANTS)).values()) == {0}


def test_a_run_of_an_earlier_version_can_be_reproduced(published_study):
    expected = sync.recorded("mlp seed 0")
    make_earlier(published_study, "mlp seed 0")
    assert sync.recorded("mlp seed 0") == expected


@pytest.mark.parametrize(
    ("uri", "place"),
    [("", "after mlflow ui, http://127.0.0.1:5000"), ("http://user:secret@host:5001/", "http://host:5001")],
)
def test_sync_says_what_to_open_and_what_to_press(monkeypatch, uri, place):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    first, second = pages.how_to_open().splitlines()
    assert "lenetlab ui prints the address" in first
    assert second == f'or {place}: press "Model training" at the top left, then lenetlab'
