"""What a user does in MLflow's pages stays; the rest of the store follows the outputs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lenetlab.storage import files
from lenetlab.tracking import beside_stage, content, experiment, sync, variant_content
from lenetlab.tracking.connection import StoreLocation, store_location
from lenetlab.tracking.metrics import names
from lenetlab.tracking.store import Store, open_store
from lenetlab.tracking.user_changes import IDENTITY, WEIGHTS
from tests.tracking.outputs import VARIANTS, journal, make_all, make_evaluation, make_training
from tests.tracking.stores import find_runs, open_client, read_content, runs_by_name, statuses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]
NOTE = "mlflow.note.content"
KIND = "user's changes in MLflow"
EVERYTHING = list(VARIANTS)


def set_accuracy(study: Path, accuracy: float) -> None:
    """A new result of the variant mlp."""
    path = study / "evaluations/mlp/metrics.json"
    files.write_json(path, files.read_json(path) | {"test_accuracy": accuracy})


def collect_garbage(client: Any, run_id: str) -> None:
    """As `mlflow gc` does."""
    client.delete_run(run_id)
    client._tracking_client.store._hard_delete_run(run_id)


# Notes, names and tags.


@pytest.mark.parametrize("name", ["mlp", "mlp seed 0", "prepare", "comparison"])
def test_what_a_user_wrote_stays(published_study, count, name):
    client, run = open_client(published_study), runs_by_name(published_study)[name].info.run_id
    client.set_tag(run, NOTE, "my note")
    client.set_tag(run, "verdict", "see my note")
    client.set_tag(run, "reviewed", "yes")
    client.delete_tag(run, "stage")
    client.update_run(run, name="my favourite")
    set_accuracy(published_study, 0.1)
    files.write_text(published_study / "reports/report.md", "Another report.")
    for _ in range(2):
        sync.sync(EVERYTHING)
    after = client.get_run(run)
    assert after.info.run_name == "my favourite"
    assert (after.data.tags[NOTE], after.data.tags["reviewed"]) == ("my note", "yes")
    assert after.data.tags["verdict"] == "see my note"
    assert "stage" not in after.data.tags
    assert len(find_runs(client)) == 11
    count(KIND)


def test_what_the_user_did_not_change_follows_the_outputs(published_study, count):
    client, run = open_client(published_study), runs_by_name(published_study)["mlp"].info.run_id
    client.set_tag(run, "interval", "narrow")
    set_accuracy(published_study, 0.1)
    sync.sync(EVERYTHING)
    tags = client.get_run(run).data.tags
    assert tags["accuracy"].startswith("10.00 ±")
    assert "**10.00 ±" in tags[NOTE]
    assert tags["interval"] == "narrow"
    count(KIND)


def test_a_note_written_while_a_training_runs_stays(study, count):
    runs = variant_content.training_runs([journal("mlp", 0, 3, until=1, end=None)], 1, "RUNNING", None)
    client = open_client(study)
    with open_store(store_location()) as store:
        store.send(*runs)
        client.set_tag(runs_by_name(study)["mlp"].info.run_id, NOTE, "looks good")
        make_training(study, "mlp", seeds=1)
        make_evaluation(study, "mlp", seeds=1)
        store.send(*variant_content.variant_runs(study, "mlp", None))
    assert runs_by_name(study)["mlp"].data.tags[NOTE] == "looks good"
    assert statuses(study)["mlp"] == "FINISHED"
    count(KIND)


def test_tags_that_reproduce_reads_are_restored(published_study, count):
    client, run = open_client(published_study), runs_by_name(published_study)["mlp seed 0"]
    client.set_tag(run.info.run_id, WEIGHTS, "0000000")
    client.delete_tag(run.info.run_id, IDENTITY)
    sync.sync(EVERYTHING)
    after = client.get_run(run.info.run_id).data.tags
    assert (after[WEIGHTS], after[IDENTITY]) == (run.data.tags[WEIGHTS], run.data.tags[IDENTITY])
    count(KIND)


def test_a_description_of_the_experiment_stays(published_study, count):
    client = open_client(published_study)
    found = client.get_experiment_by_name("lenetlab")
    client.set_experiment_tag(found.experiment_id, NOTE, "my description")
    client.set_experiment_tag(found.experiment_id, "team", "digits")
    sync.sync(EVERYTHING)
    tags = client.get_experiment(found.experiment_id).tags
    assert (tags[NOTE], tags["team"]) == ("my description", "digits")
    assert tags[f"mlflow.sharedViewState.{experiment.VIEW}"]
    count(KIND)


# Deleted runs, experiments and artifacts.


@pytest.mark.parametrize("names", [["mlp"], ["mlp seed 0"], ["comparison", "prepare"], ["mlp", "mlp seed 0"]])
def test_deleted_runs_are_restored(published_study, count, names):
    before, client = runs_by_name(published_study), open_client(published_study)
    for name in names:
        client.delete_run(before[name].info.run_id)
    sync.sync(EVERYTHING)
    after = runs_by_name(published_study)
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: run.info.run_id for name, run in before.items()
    }
    assert set(sync.sync(EVERYTHING).values()) == {0}
    count(KIND)


@pytest.mark.parametrize("name", ["mlp", "mlp seed 0", "comparison"])
def test_garbage_collected_runs_are_created_anew(published_study, count, name):
    before, client = read_content(published_study), open_client(published_study)
    collect_garbage(client, runs_by_name(published_study)[name].info.run_id)
    sync.sync(EVERYTHING)
    assert read_content(published_study) == before  # also the parents of the seeds
    count(KIND)


def test_a_run_deleted_while_it_trains_is_restored(study, count):
    events = journal("mlp", 0, 3)
    with open_store(store_location()) as store:
        store.send(*variant_content.training_runs([events[:2]], 1, "RUNNING", None))
        run = runs_by_name(study)["mlp seed 0"].info.run_id
        open_client(study).delete_run(run)
        store.send(*variant_content.training_runs([events], 1, "RUNNING", None))
    assert runs_by_name(study)["mlp seed 0"].info.run_id == run
    assert statuses(study)["mlp seed 0"] == "FINISHED"
    count(KIND)


def test_a_deleted_experiment_is_restored(published_study, count):
    before, client = read_content(published_study), open_client(published_study)
    client.delete_experiment(client.get_experiment_by_name("lenetlab").experiment_id)
    sync.sync(EVERYTHING)
    assert read_content(published_study) == before
    count(KIND)


@pytest.mark.parametrize("deleted", ["mlruns", "checkpoints", "run.json", "digests.json"])
def test_deleted_artifacts_are_sent_again(published_study, count, deleted):
    before = read_content(published_study)
    for path in [published_study / "mlruns"] if deleted == "mlruns" else (published_study / "mlruns").rglob(deleted):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    sync.sync(EVERYTHING)
    assert read_content(published_study) == before
    assert set(sync.sync(EVERYTHING).values()) == {0}
    count(KIND)


# Two publishers whose folders share no lock.


def store_elsewhere(study: Path, name: str) -> Store:
    """The store of the study, from a clone in another folder."""
    folder = study / name
    folder.mkdir()
    return Store(StoreLocation(f"sqlite:///{study}/mlflow.db", folder, study / "mlflow.db"), lambda *_: None, False)


def interrupt_search(store: Store, monkeypatch: pytest.MonkeyPatch, number: int, work: Callable[[], object]) -> None:
    """Do `work` after the search of this number, before its result is used."""
    search, searches = store.search, []

    def search_and_work(condition: str, with_deleted: bool = False) -> list[Any]:
        found = search(condition, with_deleted)
        searches.append(condition)
        if len(searches) == number:
            work()
        return found

    monkeypatch.setattr(store, "search", search_and_work)


@pytest.mark.parametrize("number", range(1, 7))
def test_two_publishers_at_once_leave_no_duplicates(study, monkeypatch, count, number):
    one, two = store_elsewhere(study, "one"), store_elsewhere(study, "two")
    journals = [journal("mlp", seed, 3) for seed in (0, 1)]
    running = variant_content.training_runs([events[:2] for events in journals], 2, "RUNNING", None)
    finished = variant_content.training_runs(journals, 2, "KILLED", None)
    interrupt_search(one, monkeypatch, number, lambda: two.send(*running))
    one.send(*running)
    for store in (two, one):
        store.send(*finished)
    assert statuses(study) == {"mlp": "FINISHED", "mlp seed 0": "FINISHED", "mlp seed 1": "FINISHED"}
    runs = runs_by_name(study)
    parents = {runs[name].data.tags["mlflow.parentRunId"] for name in ("mlp seed 0", "mlp seed 1")}
    assert parents == {runs["mlp"].info.run_id}
    for name in ("mlp seed 0", "mlp seed 1"):
        assert len(one.metric_history(runs[name], names.TRAIN_LOSS)) == 3
    count("two publishers without a common lock")


@pytest.mark.parametrize("changed", [False, True])
def test_sync_removes_duplicates_without_content_of_the_user(published_study, count, changed):
    client, before = open_client(published_study), runs_by_name(published_study)["mlp"]
    twin = client.create_run(before.info.experiment_id, before.info.start_time, before.data.tags, "mlp").info.run_id
    if changed:
        client.set_tag(twin, NOTE, "my note")
    sync.sync(EVERYTHING)
    names = [run.info.run_name for run in find_runs(client)]
    assert len(names) == len(set(names)) == 11
    if changed:  # the run with the note is the one that stays
        assert runs_by_name(published_study)["mlp"].info.run_id == twin
    assert set(sync.sync(EVERYTHING).values()) == {0}
    count("two publishers without a common lock")


# Outputs that changed.


def test_a_removed_seed_is_marked_until_it_returns(study, count):
    for make in (make_training, make_evaluation):
        make(study, "mlp", seeds=3)
    sync.sync(["mlp"])
    before, client = read_content(study), open_client(study)
    client.set_tag(runs_by_name(study)["mlp seed 2"].info.run_id, NOTE, "the best one")
    for make in (make_training, make_evaluation):
        make(study, "mlp", seeds=1)
    sync.sync(["mlp"])
    removed = read_content(study)
    assert {name for name, run in removed.items() if run["tags"].get("not_in_outputs") == "true"} == {
        "mlp seed 1",
        "mlp seed 2",
    }
    parent = removed["mlp"]["tags"]
    assert (parent["seeds"], parent["interval"]) == ("0", "needs two seeds")
    assert parent["not_in_outputs"] == " ".join(sorted((names.HIGH, names.LOW, names.DEVIATION)))
    assert set(sync.sync(["mlp"]).values()) == {0}
    for make in (make_training, make_evaluation):
        make(study, "mlp", seeds=3)
    sync.sync(["mlp"])
    after = read_content(study)
    assert not any("not_in_outputs" in run["tags"] for run in after.values())
    assert after["mlp seed 2"]["tags"][NOTE] == "the best one"
    assert after["mlp"]["tags"]["accuracy"] == before["mlp"]["tags"]["accuracy"]
    metrics = runs_by_name(study)["mlp"].data.metrics
    assert metrics[names.TEST_ACCURACY] == names.per_cent(
        files.read_json(study / "evaluations/mlp/metrics.json")["test_accuracy"]
    )
    count("outputs that change back")


def test_the_newest_value_of_a_metric_wins_also_if_it_is_an_old_one(published_study, count):
    for accuracy in (0.3, 0.9, 0.3, 0.2, 0.9):
        set_accuracy(published_study, accuracy)
        sync.sync(EVERYTHING)
        assert runs_by_name(published_study)["mlp"].data.metrics[names.TEST_ACCURACY] == 100 * accuracy
        assert set(sync.sync(EVERYTHING).values()) == {0}
    count("outputs that change back")


def test_a_tag_that_no_longer_applies_goes(study, count):
    make_all(study)
    sync.sync(EVERYTHING)
    shutil.rmtree(study / "reports")
    sync.sync(EVERYTHING)
    tags = runs_by_name(study)["mlp"].data.tags
    assert "verdict" not in tags
    assert "not compared yet" in tags[NOTE]
    count("outputs that change back")


# DVC experiments.


def make_experiment(study: Path, name: str | None, seeds: int, stages: int = 3) -> None:
    """The outputs of a study with the variant mlp alone, after this number of stages."""
    for make in (make_training, make_evaluation)[:stages]:
        make(study, "mlp", seeds=seeds)
    for path in (study / "journals/mlp").iterdir():
        path.write_text(path.read_text().replace('"experiment": null', f'"experiment": {json.dumps(name)}'))
    if stages == 3:
        files.write_json(study / "reports/metrics/mlp.json", files.read_json(study / "evaluations/mlp/metrics.json"))
        files.write_json(study / "reports/origin.json", {"commit": None, "dirty": None, "experiment": name})


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_an_experiment_has_runs_of_its_own(study, count, stages):
    make_experiment(study, None, seeds=3)
    sync.sync(["mlp"])
    committed = {run.info.run_id: run.to_dictionary() for run in find_runs(open_client(study))}
    make_experiment(study, "warm-tapir", seeds=2, stages=stages)
    sync.sync(["mlp"])
    after = {run.info.run_id: run for run in find_runs(open_client(study))}
    assert {run_id: run.to_dictionary() for run_id, run in after.items() if run_id in committed} == committed
    own = [run for run_id, run in after.items() if run_id not in committed]
    assert sorted(run.info.run_name for run in own) == ["mlp", "mlp seed 0", "mlp seed 1"]
    assert {run.data.tags["dvc_experiment"] for run in own} == {"warm-tapir"}
    make_experiment(study, None, seeds=3)  # as after `git checkout params.yaml && dvc repro`
    assert set(sync.sync(["mlp"]).values()) == {0}
    count("DVC experiments in MLflow")


def test_a_run_stays_that_of_its_experiment_although_the_user_removes_the_tag(study, count):
    make_experiment(study, "warm-tapir", seeds=2)
    sync.sync(["mlp"])
    before, client = read_content(study), open_client(study)
    own = [run.info.run_id for run in find_runs(client)]
    for run_id in own:
        client.delete_tag(run_id, "dvc_experiment")
    make_experiment(study, None, seeds=2)
    assert sync.sync(["mlp"])["runs"] == 3
    for run in find_runs(client):
        if run.info.run_id not in own:
            client.delete_run(run.info.run_id)
    make_experiment(study, "warm-tapir", seeds=2)
    sync.sync(["mlp"])
    assert read_content(study) == before
    count("DVC experiments in MLflow")


def test_the_comparison_of_an_experiment_is_its_own(published_study, count):
    origin = published_study / "reports/origin.json"
    files.write_json(origin, files.read_json(origin) | {"experiment": "warm-tapir"})
    (run,) = content.comparison_runs(published_study)
    assert run.experiment == "warm-tapir"
    sync.sync(EVERYTHING)
    comparisons = [run for run in find_runs(open_client(published_study)) if run.info.run_name == "comparison"]
    assert {run.data.tags.get("dvc_experiment") for run in comparisons} == {None, "warm-tapir"}
    count("DVC experiments in MLflow")


@pytest.mark.slow
@pytest.mark.usefixtures("forked_publishers")
def test_the_publisher_of_an_experiment_leaves_other_runs_alone(study, monkeypatch, count):
    def publish() -> None:
        for stage in ("train", "evaluate"):
            with beside_stage.publishing(stage, "mlp"):
                pass

    make_experiment(study, None, seeds=2)
    publish()
    before = read_content(study)
    monkeypatch.setenv("DVC_EXP_NAME", "warm-tapir")
    make_experiment(study, "warm-tapir", seeds=1)
    publish()
    client = open_client(study)
    own = find_runs(client, "tags.dvc_experiment = 'warm-tapir'")
    assert {(run.info.run_name, run.info.status) for run in own} == {("mlp", "FINISHED"), ("mlp seed 0", "FINISHED")}
    for run in own:
        client.delete_run(run.info.run_id)
    assert read_content(study) == before
    count("DVC experiments in MLflow")
