"""A recorded training is trained again: identical, or different from which epoch on, and why."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.storage import code, files, provenance
from lenetlab.storage.digests import sha256
from lenetlab.tracking import sync
from lenetlab.training import devices, execution, loop, optimizer, reproduction
from tests.training.jobs import CATALOGUE, load_prepared, make_study

NAME = "lenet5-regularized"
STUDY = make_study((0, 5), epochs=3)
STEPS_PER_EPOCH = 7  # 200 images in batches of 32


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory) -> Path:
    """A folder with both seeds of the study, as the stage leaves them. Tests only read it."""
    folder = tmp_path_factory.mktemp("trained")
    plan = execution.plan_training(STUDY, NAME, load_prepared(prepared / "train"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        execution.train_variant(plan, folder / "runs" / NAME, folder / "journals" / NAME)
    return folder


@pytest.fixture(autouse=True)
def _trained_as_root(trained, monkeypatch):
    """Repetitions find the progress of the recorded training, and must not use it."""
    monkeypatch.setenv("DVC_ROOT", str(trained))


def read_record(folder: Path, seed: int = 5) -> reproduction.TrainingRecord:
    return reproduction.read_record(folder / f"runs/{NAME}/seed-{seed}", folder / f"journals/{NAME}/seed-{seed}.jsonl")


def test_a_run_is_repeated_identically_from_its_record_alone(trained, prepared, monkeypatch):
    """With other settings in params.yaml. It is trained, not looked up, and leaves nothing behind."""
    seeds, train_jobs = [], loop.train_jobs

    def recording(jobs, *others):
        seeds.extend(job.seed for job in jobs)
        return train_jobs(jobs, *others)

    monkeypatch.setattr(loop, "train_jobs", recording)
    other = STUDY.model_copy(update={"variants": {"mlp": CATALOGUE["mlp"]}, "study": ("mlp",), "seeds": (1,)})
    result = reproduction.reproduce([read_record(trained)], other, prepared / "train")[0]
    assert result == reproduction.Reproduction("identical", None, 0.0, [])
    assert seeds == [5]
    assert not list((trained / ".lenetlab" / "reproduce").iterdir())
    assert "identical; the weights of all 3 epochs" in reproduction.summary(read_record(trained), result)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from MLflow's dependencies
def test_a_record_in_mlflow_is_enough(trained, prepared, empty_store, tmp_path, monkeypatch):
    root = shutil.copytree(empty_store, tmp_path / "root")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(root))
    for name in ("runs", "journals"):
        (root / name).symlink_to(trained / name)
    sync.sync([NAME])
    for name in ("runs", "journals"):
        (root / name).unlink()
    record, on_disk = reproduction.TrainingRecord(**sync.recorded(f"{NAME} seed 5")), read_record(trained)
    assert (record.identity, record.seed, record.accuracy) == (on_disk.identity, on_disk.seed, on_disk.accuracy)
    assert reproduction.reproduce([record], STUDY, prepared / "train")[0].outcome == "identical"
    with pytest.raises(UserError, match=f"MLflow's run '{NAME}' has no tag mlflow.lenetlab.weights, seed"):
        sync.recorded(NAME)
    with pytest.raises(UserError, match="MLflow has no run 'nobody'; allowed"):
        sync.recorded("nobody")


def test_all_recorded_runs_are_repeated_and_an_interruption_loses_nothing(trained, prepared, monkeypatch):
    records = reproduction.read_records(trained / "runs", trained / "journals", [(NAME, 0), (NAME, 5)])
    epochs = []

    def interrupt_in_the_second_epoch(*arguments):
        epochs.append(arguments)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return train_epoch(*arguments)

    train_epoch = loop.train_epoch
    monkeypatch.setattr(devices, "cores", lambda: 1)
    monkeypatch.setattr(loop, "train_epoch", interrupt_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        reproduction.reproduce(records, STUDY, prepared / "train")
    results = reproduction.reproduce(records, STUDY, prepared / "train")
    assert len(epochs) == 1 + 1 + 2  # both seeds in one group: the first epoch, the interrupted one, the rest
    assert [result.outcome for result in results] == ["identical", "identical"]
    assert reproduction.total(results) == "2 runs: 2 identical"
    assert not list((trained / ".lenetlab" / "reproduce").iterdir())


def test_all_missing_records_are_named_at_once(trained):
    with pytest.raises(UserError) as caught:
        reproduction.read_records(
            trained / "runs", trained / "journals", [(name, seed) for name in (NAME, "mlp") for seed in (5, 6)]
        )
    assert [re.search(r"runs/(\S+)/run.json", problem)[1] for problem in caught.value.problems] == [
        f"{NAME}/seed-6",
        "mlp/seed-5",
        "mlp/seed-6",
    ]


def test_a_different_result_is_reported_with_its_first_epoch_and_its_cause(trained, prepared, monkeypatch):
    original = optimizer.learning_rate

    def other_rate(settings, step, steps):
        return original(settings, step, steps) * (1 + (step > STEPS_PER_EPOCH))

    monkeypatch.setattr(optimizer, "learning_rate", other_rate)
    monkeypatch.setattr(code, "code_digest", lambda _: "another")
    result = reproduction.reproduce([read_record(trained)], STUDY, prepared / "train")[0]
    assert (result.outcome, result.epoch) == ("different", 2)
    assert [reason.partition(":")[0] for reason in result.reasons] == ["code"]


def test_changed_code_that_changes_no_bit_is_reported_as_identical(trained, prepared, monkeypatch):
    monkeypatch.setattr(code, "code_digest", lambda _: "another")
    result = reproduction.reproduce([read_record(trained)], STUDY, prepared / "train")[0]
    assert result.outcome == "identical"
    assert result.reasons[0].startswith("code: not that of the record")


def test_other_data_are_a_reason(trained, prepared, tmp_path):
    fewer = shutil.copytree(prepared / "train", tmp_path / "fewer")
    index = (fewer / "index.csv").read_bytes().replace(b",training,", b",validation,", 40)
    (fewer / "index.csv").write_bytes(index)
    digest = sha256(index, (fewer / "pixels.npy").read_bytes())
    files.write_json(fewer / "profile.json", files.read_json(fewer / "profile.json") | {"digest": digest})
    result = reproduction.reproduce([read_record(trained)], STUDY, fewer)[0]
    assert (result.outcome, result.epoch) == ("different", 1)
    assert [reason.partition(":")[0] for reason in result.reasons] == ["data"]


def test_a_changed_record_is_rejected(trained, prepared):
    record = read_record(trained)
    identity = json.loads(json.dumps(record.identity).replace('"momentum": 0.9', '"momentum": 0'))
    with pytest.raises(UserError, match="does not match its own fingerprint"):
        reproduction.reproduce([replace(record, identity=identity)], STUDY, prepared / "train")[0]


def test_a_record_with_unknown_settings_names_the_commit_to_check_out(trained, prepared):
    record = read_record(trained)
    identity = {**record.identity, "training": {**record.identity["training"], "warmth": 3}}
    other = replace(record, identity=identity, fingerprint=provenance.fingerprint(identity, record.seed))
    with pytest.raises(UserError, match=r"does not know 1 of its settings; remedy: git checkout "):
        reproduction.reproduce([other], STUDY, prepared / "train")[0]


def test_a_damaged_record_is_named(trained, tmp_path):
    for name in ("runs", "journals"):
        shutil.copytree(trained / name, tmp_path / name)
    (tmp_path / "runs" / NAME / "seed-5" / "epoch-02.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"epoch-02\.safetensors: damaged"):
        read_record(tmp_path)


ORIGIN = {"torch": "2.15.0", "numpy": "2.4.6", "python": "3.11.7", "device": "cpu: Some Processor (AVX512)"}
IDENTITY = {
    "variant": "mlp",
    "data": "d",
    "code": "c",
    "definition": {},
    "training": {},
    "torch": "2.15.0",
    "numerics": "float32",
    "device": "cpu",
}
RECORD = reproduction.TrainingRecord(IDENTITY, 0, "f", ["aa", "bb", "cc"], [0.9, 0.95, 0.97], ORIGIN)


@pytest.mark.parametrize(
    ("origin", "identity", "accuracy", "outcome"),
    [
        ({"device": "cpu: Some Processor (AVX2)"}, {}, 0.9712, "equal within tolerance on other hardware"),
        ({"torch": "2.16.0"}, {}, 0.9712, "equal within tolerance on other hardware"),
        ({}, {"numerics": "float32, ATEN_CPU_CAPABILITY=avx2"}, 0.9712, "equal within tolerance on other hardware"),
        ({"device": "cpu: Some Processor (AVX2)"}, {}, 0.98, "different"),
        ({"device": "cpu: Some Processor (AVX2)"}, {"code": "other"}, 0.9712, "different"),
        ({}, {}, 0.9712, "different"),  # nothing explains it
    ],
)
def test_small_differences_are_tolerated_only_if_hardware_or_versions_explain_them(origin, identity, accuracy, outcome):
    repeated = replace(
        RECORD,
        identity=IDENTITY | identity,
        weights=["aa", "bb", "dd"],
        accuracy=[0.9, 0.95, accuracy],
        origin=ORIGIN | origin,
    )
    result = reproduction.compare(RECORD, repeated)
    assert (result.outcome, result.epoch) == (outcome, 3)
    assert len(result.reasons) == len(origin) + len(identity)


def test_missing_epochs_are_a_difference():
    repeated = replace(RECORD, weights=["aa", "bb"], accuracy=[0.9, 0.95])
    result = reproduction.compare(RECORD, repeated)
    assert result.epoch == 3
    assert "faulty hardware?" in reproduction.summary(RECORD, result)


def test_a_shortened_digest_is_compared_as_far_as_it_is_known():
    assert reproduction.compare(replace(RECORD, weights=["a", "b", "c"]), RECORD).outcome == "identical"
