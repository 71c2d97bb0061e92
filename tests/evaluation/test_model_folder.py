"""The folder of the recommended model holds what it takes to build the network and to prepare images for it."""

import json
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.evaluation import model_folder
from lenetlab.settings import params
from lenetlab.storage import files, manifests
from lenetlab.storage.digests import sha256
from tests.settings import example

DATA = params.parse(Path("params.yaml"), example.PARAMS).data.model_copy(
    update={"size": 20, "channels": 3, "classes": ("cat", "dog")}
)
FIRST, LAST = b"weights of epoch 99", b"weights of epoch 100"
SETTINGS = {"input": {"size": 20}, "model": {"name": "mlp", "hidden": [3]}}


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Those of a variant with the seeds 3, which diverged, and 5."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs/mlp/seed-5"
    weights = {"epoch-99.safetensors": FIRST, "epoch-100.safetensors": LAST, "curves.csv": b"seed\n"}
    for name, content in weights.items():
        files.write_bytes(run / name, content)
    manifests.write_manifest(run / "run.json", {name: sha256(content) for name, content in weights.items()})
    write_record({"3": {"epoch": 1, "step": 2}})
    return tmp_path


def write_record(diverged: dict, **identity: object) -> None:
    folder = Path("evaluations/mlp")
    record = {
        "identity": {"definition": SETTINGS, "training": {"epochs": 100}, **identity},
        "normalization": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0]},
        "parameters": 42,
        "fingerprints": {"3": "f3", "5": "f5"},
        "diverged": diverged,
    }
    finished = [seed for seed in ("3", "5") if seed not in diverged]
    files.write_json(folder / "variant.json", record)
    files.write_json(folder / "seeds.json", {seed: {"test_accuracy": 0.9} for seed in finished})
    files.write_json(folder / "metrics.json", {"test_accuracy": 0.8 if finished else None})


def written() -> dict:
    model_folder.write(Path("model"), "mlp", "it is the best", DATA)
    return json.loads(Path("model/model.json").read_text())


def test_it_has_the_last_weights_of_the_first_seed_that_finished():
    assert written() == {
        "variant": "mlp",
        "recommended": "it is the best",
        "settings": SETTINGS,
        "training": {"epochs": 100},
        "images": {"size": 20, "channels": 3, "classes": ["cat", "dog"]},
        "normalization": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0]},
        "parameters": 42,
        "seeds": [5],
        "fingerprint": "f5",
        "test_accuracy": 0.9,
        "mean_test_accuracy": 0.8,
    }
    assert Path("model/weights.safetensors").read_bytes() == LAST


def test_a_class_of_the_user_lies_beside_the_weights():
    files.write_text(Path("networks/mine.py"), "class Mine: ...\n")
    write_record({"3": {"epoch": 1, "step": 2}}, own_code={"networks/mine.py": "d1"})
    written()
    assert Path("model/networks/mine.py").read_text() == "class Mine: ...\n"


def test_without_a_finished_seed_there_are_no_weights():
    written()
    write_record({"3": {"epoch": 1, "step": 2}, "5": {"epoch": 1, "step": 2}})
    record = written()
    assert (record["seeds"], record["fingerprint"], record["test_accuracy"]) == ([], None, None)
    assert [path.name for path in Path("model").iterdir()] == ["model.json"]


def test_damaged_weights_are_an_error_and_the_old_folder_stays():
    before = written()
    Path("runs/mlp/seed-5/epoch-100.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match=r"runs/mlp/seed-5: cannot be read .*train@mlp"):
        model_folder.write(Path("model"), "mlp", "another reason", DATA)
    assert json.loads(Path("model/model.json").read_text()) == before
