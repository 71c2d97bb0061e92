"""Which trainings are still to be done: all, those whose settings changed, or none."""

import json
from pathlib import Path

import pytest

from lenetlab.planning import unfinished
from lenetlab.settings import params, study_schema
from lenetlab.storage import paths, provenance
from lenetlab.training import run_files
from tests.settings import example

ALL = {"lenet5": 6, "mlp": 6, "lenet5-regularized": 6}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> study_schema.Study:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    example.write_params(tmp_path)
    return params.load(tmp_path / "params.yaml")


def write_run(folder: Path, study: study_schema.Study, variant: str, seed: int, **changes: object) -> None:
    identity = provenance.identity(study, variant, "d1", "2.15", "cpu", "float32") | changes
    folder.mkdir(parents=True)
    record = {"variant": variant, "seed": seed, "identity": identity}
    (folder / paths.RUN_RECORD).write_text(json.dumps(record))


def write_runs(study: study_schema.Study, variant: str, **changes: object) -> None:
    for seed in study.seeds_of(variant):
        write_run(paths.RUNS / variant / f"seed-{seed}", study, variant, seed, **changes)


def write_progress(study: study_schema.Study, variant: str, seed: int, **changes: object) -> Path:
    folder = paths.resume_folder() / f"{variant}-{seed}-{len(changes)}"
    write_run(folder, study, variant, seed, **changes)
    (folder / run_files.FINISHED).touch()
    return folder


def test_in_a_new_project_everything_is_to_be_done(study):
    assert unfinished.count(study) == ALL


def test_outputs_with_the_present_settings_are_finished(study):
    write_runs(study, "mlp")
    assert unfinished.count(study) == {**ALL, "mlp": 0}


@pytest.mark.parametrize("change", [{"code": "other"}, {"training": {}}, {"definition": {}}, {"data": "d2"}])
def test_outputs_of_other_code_settings_or_data_are_trained_again(study, change):
    paths.PREPARED_TRAIN.mkdir(parents=True)
    (paths.PREPARED_TRAIN / "profile.json").write_text('{"digest": "d1"}')
    write_runs(study, "mlp", **change)
    write_progress(study, "mlp", 0, **change)
    assert unfinished.count(study) == ALL


def test_a_variant_with_more_seeds_trains_those_whose_progress_is_not_finished(study):
    """DVC deletes its outputs first, so only progress counts."""
    write_runs(study, "mlp")
    more = study.model_copy(update={"seeds": tuple(range(9))})
    assert unfinished.count(more)["mlp"] == 9
    for seed in range(6):
        write_progress(study, "mlp", seed)
    assert unfinished.count(more) == {"lenet5": 9, "mlp": 3, "lenet5-regularized": 9}


def test_progress_that_has_not_finished_does_not_count(study):
    (write_progress(study, "mlp", 0) / run_files.FINISHED).unlink()
    assert unfinished.count(study) == ALL


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": {}}', '{"identity": 3}', "\ufffd"])
def test_a_record_that_cannot_be_read_counts_as_none(study, text):
    write_runs(study, "mlp")
    (paths.RUNS / "mlp" / "seed-3" / paths.RUN_RECORD).write_text(text)
    assert unfinished.count(study) == ALL


def test_the_file_of_a_finished_training_is_that_which_training_writes():
    assert unfinished.FINISHED == run_files.FINISHED
