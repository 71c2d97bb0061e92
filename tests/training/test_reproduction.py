"""A recorded training made again: identical, or different since which epoch, and why."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.settings import params
from lenetlab.storage import code, files, provenance
from lenetlab.storage.digests import sha256
from lenetlab.tracking import sync
from lenetlab.training import execution, loop, reproduction, schedule

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
SETTINGS = STUDY.training.model_copy(update={"epochs": 3, "batch_size": 32})
SMALL = STUDY.model_copy(update={"seeds": (0, 5), "training": SETTINGS, "device": "cpu"})


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def trained(root, prepared):
    """Both seeds of a variant with all that a change could break, as the stage leaves them."""
    plan = execution.plan_training(SMALL, "lenet5-regularized", dataset.load(prepared / "train"))
    execution.train_variant(plan, root / "runs/lenet5-regularized", root / "journals/lenet5-regularized")
    return root


def on_disk(root: Path, seed: int = 5) -> reproduction.TrainingRecord:
    name = "lenet5-regularized"
    return reproduction.read_record(root / f"runs/{name}/seed-{seed}", root / f"journals/{name}/seed-{seed}.jsonl")


def test_a_run_comes_out_identical_from_its_record_alone(trained, prepared):
    """Without the folder it was trained in, and whatever params.yaml says by now."""
    shutil.rmtree(trained / ".lenetlab")
    other = STUDY.model_copy(update={"variants": {"mlp": STUDY.variants["mlp"]}, "study": ("mlp",), "device": "cpu"})
    found = reproduction.reproduce(on_disk(trained), other, prepared / "train")
    assert found == reproduction.Reproduction("identical", None, 0.0, [])
    assert not list((trained / ".lenetlab" / "reproduce").iterdir())  # the next time all is trained again
    assert "identical; the weights of all 3 epochs" in reproduction.summary(on_disk(trained), found)


def test_it_is_trained_again_and_not_looked_up(trained, prepared, monkeypatch):
    asked = []
    fit = loop.train_jobs
    monkeypatch.setattr(loop, "train_jobs", lambda runs, *others: asked.append(runs[0].seed) or fit(runs, *others))
    reproduction.reproduce(on_disk(trained), SMALL, prepared / "train")
    assert asked == [5]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of its dependencies
def test_mlflow_alone_is_enough(trained, prepared):
    sync.sync(["lenet5-regularized"])
    disk = on_disk(trained)
    for name in ("runs", "journals", ".lenetlab"):
        shutil.rmtree(trained / name)
    told = reproduction.TrainingRecord(**sync.recorded("lenet5-regularized seed 5"))
    assert (told.identity, told.seed, told.accuracy) == (disk.identity, disk.seed, disk.accuracy)
    assert reproduction.reproduce(told, SMALL, prepared / "train").outcome == "identical"
    with pytest.raises(UserError, match="MLflow's run 'lenet5-regularized' has no tag seed, weights"):
        sync.recorded("lenet5-regularized")
    with pytest.raises(UserError, match="MLflow has no run 'nobody'; allowed"):
        sync.recorded("nobody")


def test_what_goes_another_way_is_dated_and_explained(trained, prepared, monkeypatch):
    rate = schedule.learning_rate
    monkeypatch.setattr(schedule, "learning_rate", lambda s, step, steps: rate(s, step, steps) * (1 + (step >= 40)))
    monkeypatch.setattr(code, "code_digest", lambda _: "another")
    found = reproduction.reproduce(on_disk(trained), SMALL, prepared / "train")
    assert (found.outcome, found.epoch) == ("different", 2)  # 39 batches are an epoch
    assert [reason.partition(":")[0] for reason in found.reasons] == ["code"]


def test_an_edit_that_changes_no_bit_is_told_and_forgiven(trained, prepared, monkeypatch):
    monkeypatch.setattr(code, "code_digest", lambda _: "another")
    found = reproduction.reproduce(on_disk(trained), SMALL, prepared / "train")
    assert found.outcome == "identical"
    assert found.reasons[0].startswith("code: other than that of the record")


def test_other_data_are_a_reason(trained, prepared, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(prepared / "train", fewer)
    index = (fewer / "index.csv").read_bytes().replace(b",training,", b",validation,", 40)
    (fewer / "index.csv").write_bytes(index)
    digest = sha256(index, (fewer / "pixels.npy").read_bytes())
    files.write_json(fewer / "profile.json", files.read_json(fewer / "profile.json") | {"digest": digest})
    found = reproduction.reproduce(on_disk(trained), SMALL, fewer)
    assert (found.outcome, found.epoch) == ("different", 1)
    assert [reason.partition(":")[0] for reason in found.reasons] == ["data"]


def test_a_record_that_was_changed_is_refused(trained, prepared):
    record = on_disk(trained)
    changed = replace(
        record, identity=json.loads(json.dumps(record.identity).replace('"momentum": 0.9', '"momentum": 0'))
    )
    with pytest.raises(UserError, match="does not agree with its own fingerprint"):
        reproduction.reproduce(changed, SMALL, prepared / "train")


def test_a_record_of_unknown_settings_names_the_commit_to_check_out(trained, prepared):
    record = on_disk(trained)
    identity = {**record.identity, "training": {**record.identity["training"], "warmth": 3}}
    other = replace(record, identity=identity, fingerprint=provenance.fingerprint(identity, record.seed))
    with pytest.raises(UserError, match=r"other code, whose settings this one does not know \(1 of them\)"):
        reproduction.reproduce(other, SMALL, prepared / "train")


def test_a_damaged_record_is_named(trained):
    (trained / "runs/lenet5-regularized/seed-5/epoch-02.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"epoch-02\.safetensors: damaged"):
        on_disk(trained)


ORIGIN = {"torch": "2.15.0", "numpy": "2.4.6", "python": "3.11.7", "device": "cpu: Some Processor (AVX512)"}
IDENTITY = {
    "variant": "mlp",
    "data": "d",
    "code": "c",
    "definition": {},
    "training": {},
    "torch": "2.15.0",
    "device": "cpu",
}
RECORD = reproduction.TrainingRecord(IDENTITY, 0, "f", ["aa", "bb", "cc"], [0.9, 0.95, 0.97], ORIGIN)


@pytest.mark.parametrize(
    ("origin", "identity", "accuracy", "outcome"),
    [
        ({"device": "cpu: Some Processor (AVX2)"}, {}, 0.9712, "equal within tolerance on other hardware"),
        ({"torch": "2.16.0"}, {}, 0.9712, "equal within tolerance on other hardware"),
        ({"device": "cpu: Some Processor (AVX2)"}, {}, 0.98, "different"),
        ({"device": "cpu: Some Processor (AVX2)"}, {"code": "other"}, 0.9712, "different"),
        ({}, {}, 0.9712, "different"),  # nothing else explains it
    ],
)
def test_rounding_is_forgiven_where_hardware_or_versions_explain_it(origin, identity, accuracy, outcome):
    found = replace(
        RECORD,
        identity=IDENTITY | identity,
        weights=["aa", "bb", "dd"],
        accuracy=[0.9, 0.95, accuracy],
        origin=ORIGIN | origin,
    )
    told = reproduction.compare(RECORD, found)
    assert (told.outcome, told.epoch) == (outcome, 3)
    assert len(told.reasons) == len(origin) + len(identity)


def test_epochs_that_are_missing_are_a_difference():
    found = replace(RECORD, weights=["aa", "bb"], accuracy=[0.9, 0.95])
    assert reproduction.compare(RECORD, found).epoch == 3
    assert "faulty hardware?" in reproduction.summary(RECORD, reproduction.compare(RECORD, found))


def test_a_digest_that_is_known_in_part_is_compared_as_far():
    assert reproduction.compare(replace(RECORD, weights=["a", "b", "c"]), RECORD).outcome == "identical"
