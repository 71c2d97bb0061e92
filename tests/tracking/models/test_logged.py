"""The networks of a study as logged models and as the registered champion, read back with MLflow's own client."""

import shutil
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.prediction import trained
from lenetlab.storage import files
from lenetlab.tracking import sync
from lenetlab.tracking.connection import store_location
from lenetlab.tracking.models import download, logged, registry
from lenetlab.tracking.store import open_store
from tests.tracking.models import records
from tests.tracking.outputs import make_all, make_reports
from tests.tracking.stores import open_client, runs_by_name

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]
VARIANTS = ["lenet5", "mlp", "lenet5-regularized"]
NAME = "lenetlab-digits"
STAYS = "lenet5 is champion (version 1): no verdict says that another variant is better"


def synced() -> dict[str, int]:
    return sync.sync(VARIANTS, "digits")


@pytest.fixture
def logged_study(study: Path) -> Path:
    """A study whose comparison says that lenet5 is better than mlp; all of it is in MLflow."""
    make_all(study)
    records.complete(study)
    assert synced()["models"] == 7  # six seeds, and the champion
    return study


def models(study: Path) -> dict[str, object]:
    found = open_client(study).search_logged_models(["1"])
    assert len({model.name for model in found}) == len(found), "two models have the same name"
    return {model.name: model for model in found}


def champion(study: Path) -> object:
    return open_client(study).get_model_version_by_alias(NAME, "champion")


def set_verdict(study: Path, candidate: str, verdict: str) -> None:
    path = study / "reports" / "comparison.json"
    entries = [entry | {"verdict": verdict} if entry["candidate"] == candidate else entry for entry in _read(path)]
    files.write_json(path, entries)


def _read(path: Path) -> list[dict]:
    return files.read_json(path)


def reason(study: Path) -> str:
    """Of the newest comparison."""
    client = open_client(study)
    (newest, *_) = client.search_runs(["1"], "tags.stage = 'compare'", order_by=["attributes.start_time DESC"])
    return newest.data.tags["champion"]


def test_every_seed_has_a_model_with_its_test_results(logged_study):
    found = models(logged_study)
    seeds = {f"{variant}-seed-{seed}" for variant in VARIANTS for seed in (0, 1)}
    assert set(found) == seeds | {"lenet5-all-seeds"}
    run, model = runs_by_name(logged_study)["mlp seed 1"], found["mlp-seed-1"]
    assert (model.source_run_id, model.status) == (run.info.run_id, "READY")
    assert model.tags["fingerprint"] == run.data.tags["fingerprint"]
    results = {metric.key: metric.value for metric in model.metrics}
    assert results
    assert results.items() <= run.data.metrics.items()
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]


def test_a_second_sync_sends_nothing_and_a_deleted_model_comes_back(logged_study):
    assert set(synced().values()) == {0}
    before = models(logged_study)
    open_client(logged_study).delete_logged_model(before["mlp-seed-0"].model_id)
    shutil.rmtree(logged_study / before["mlp-seed-1"].artifact_location / "artifacts")
    assert synced()["models"] == 2
    after = models(logged_study)
    assert set(after) == set(before)
    assert after["mlp-seed-0"].model_id != before["mlp-seed-0"].model_id
    assert after["mlp-seed-1"].model_id == before["mlp-seed-1"].model_id
    assert set(synced().values()) == {0}


def test_duplicates_and_what_a_killed_process_left_are_deleted(logged_study, monkeypatch):
    client, model = open_client(logged_study), models(logged_study)["mlp-seed-0"]
    copy = client.create_logged_model("1", model.name, model.source_run_id, tags=model.tags)
    client.finalize_logged_model(copy.model_id, "READY")
    client.create_logged_model("1", "left", model.source_run_id, tags=model.tags)
    client.create_logged_model("1", "of a user")
    monkeypatch.setattr(logged, "ABANDONED_SECONDS", -1)
    assert synced()["models"] == 0
    assert set(models(logged_study)) == {*(f"{name}-seed-{n}" for name in VARIANTS for n in (0, 1))} | {
        "lenet5-all-seeds",
        "of a user",
    }
    assert models(logged_study)["mlp-seed-0"].model_id == model.model_id


def test_models_are_found_after_a_move(logged_study, monkeypatch, tmp_path):
    moved = logged_study.rename(logged_study.with_name("moved"))
    monkeypatch.chdir(moved)
    assert set(synced().values()) == {0}
    for name, seeds in (("champion", (0, 1)), ("mlp seed 1", (1,))):
        folder = download.fetch(name, "digits", tmp_path)
        assert trained.of_folder(folder).seeds == seeds
        shutil.rmtree(folder)


def test_a_diverged_or_untested_seed_has_no_model(study):
    make_all(study)
    records.complete(study)
    shutil.rmtree(study / "evaluations" / "mlp")
    shutil.rmtree(study / "reports")
    assert synced()["models"] == 4
    with pytest.raises(UserError, match="MLflow has no champion of lenetlab-digits: a variant becomes champion when"):
        download.fetch("champion", "digits", study)
    with pytest.raises(UserError, match="MLflow's run 'mlp seed 1' has no model; lenetlab sync logs those"):
        download.fetch("mlp seed 1", "digits", study)


def test_the_winner_becomes_champion(logged_study):
    version = champion(logged_study)
    assert version.tags["variant"] == "lenet5"
    assert version.tags["seeds"] == "0 1"
    assert version.source == f"models:/{models(logged_study)['lenet5-all-seeds'].model_id}"
    assert version.run_id == runs_by_name(logged_study)["lenet5"].info.run_id
    assert version.description == "lenet5 is better than mlp. The mean probability of 2 networks."
    assert reason(logged_study) == STAYS


@pytest.mark.parametrize("verdict", ["equivalent", "inconclusive", "worse"])
def test_without_a_verdict_the_champion_stays_and_the_comparison_says_why(logged_study, verdict):
    set_verdict(logged_study, "lenet5-regularized", verdict)
    synced()
    assert champion(logged_study).version == 1
    assert reason(logged_study) == STAYS


def test_a_verdict_moves_the_champion_and_earlier_versions_stay(logged_study):
    set_verdict(logged_study, "lenet5-regularized", "better")
    assert synced()["models"] == 1
    assert (champion(logged_study).version, champion(logged_study).tags["variant"]) == (2, "lenet5-regularized")
    assert open_client(logged_study).get_model_version(NAME, "1").tags["variant"] == "lenet5"
    assert set(synced().values()) == {0}


def test_a_champion_whose_model_was_deleted_comes_back(logged_study):
    client = open_client(logged_study)
    client.delete_logged_model(models(logged_study)["lenet5-all-seeds"].model_id)
    for entry in (entries := _read(logged_study / "reports" / "comparison.json")):
        entry["verdict"] = "inconclusive"  # no verdict would make it champion now
    files.write_json(logged_study / "reports" / "comparison.json", entries)
    assert synced()["models"] == 1
    assert (champion(logged_study).version, champion(logged_study).tags["variant"]) == (2, "lenet5")
    shutil.rmtree(logged_study / models(logged_study)["lenet5-all-seeds"].artifact_location / "artifacts")
    assert synced()["models"] == 1
    assert champion(logged_study).version == 2
    assert trained.of_folder(download.fetch("champion", "digits", logged_study / "fetched")).seeds == (0, 1)
    client.delete_registered_model(NAME)
    synced()
    assert reason(logged_study) == "no champion: no comparison of test accuracy says better"


def test_a_model_is_finished_last(study, monkeypatch):
    make_all(study)
    records.complete(study)

    def killed(*_: object) -> None:
        raise UserError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(logged, "_link", killed)
        with pytest.raises(UserError, match="killed"):
            synced()
    assert models(study)
    assert not [model for model in models(study).values() if model.status == "READY"]


def test_a_comparison_of_a_dvc_experiment_moves_nothing(logged_study):
    make_reports(logged_study, experiment="other-rates")
    set_verdict(logged_study, "lenet5-regularized", "better")
    with open_store(store_location()) as store:
        registry.send_comparison(store, logged_study, "digits", [])
    assert champion(logged_study).version == 1
    assert reason(logged_study) == registry.OF_EXPERIMENT


def test_an_alias_that_the_user_set_stays(logged_study):
    client = open_client(logged_study)
    mine = client.create_model_version(NAME, models(logged_study)["mlp-seed-0"].model_uri)
    client.set_registered_model_alias(NAME, "champion", str(mine.version))
    synced()
    assert champion(logged_study).version == mine.version
    client.delete_registered_model_alias(NAME, "champion")
    synced()
    assert champion(logged_study).tags["variant"] == "lenet5"
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2, "the version was there"
