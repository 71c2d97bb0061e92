"""lenetlab verify: honest work is verified, and each way to change it afterwards is noticed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline import projects

pytestmark = pytest.mark.slow


def verify(folder: Path, *arguments: str, status: int = 0) -> list[str]:
    """The lines about the folders, called from elsewhere, as a teacher does."""
    output = projects.run(folder, "lenetlab", "verify", *arguments, status=status)
    return [line for line in output.splitlines() if "verified" in line]


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    (content[0] if isinstance(content, list) else content).update(changes)
    path.write_text(json.dumps(content))


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but those that `dvc status` and `git status` write for themselves."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".dvc", ".git"} & set(path.parts)
    }


@pytest.fixture
def handed_in(finished, tmp_path) -> Path:
    return projects.copy_of(finished, tmp_path / "anna")


def test_honest_work_is_verified_and_stays_as_it_is(handed_in, tmp_path):
    before = contents(handed_in)
    (line,) = verify(tmp_path, "anna", "--variant", "mlp", "--seed", "5")
    assert line == (
        "anna: verified: files as in dvc.lock; verdicts follow from the predictions; report as laid out again;"
        " predictions of mlp, seed 5 are those of its weights; mlp, seed 5 trained again"
    )
    assert contents(handed_in) == before


def test_work_without_images_is_verified_with_those_of_the_teacher(handed_in, finished, tmp_path):
    shutil.rmtree(handed_in / "data" / "prepared")
    shutil.rmtree(handed_in / "data" / "raw")
    data = str(finished / "data" / "prepared")
    (line,) = verify(tmp_path, "anna", "--variant", "mlp", "--data", data)
    assert line.startswith("anna: verified: ")
    (line,) = verify(tmp_path, "anna", "--variant", "mlp", status=1)
    assert "data/prepared/train deleted" in line


@pytest.mark.usefixtures("handed_in")
def test_every_folder_has_its_line(tmp_path):
    (tmp_path / "empty").mkdir()
    lines = verify(tmp_path, "anna", "empty", "nowhere", "--no-training", status=1)
    assert [line.split(": ")[1] for line in lines] == ["verified", "NOT verified", "NOT verified"]
    assert lines[1].startswith("empty: NOT verified: params.yaml: not found in ")
    assert lines[2] == "nowhere: NOT verified: not a folder"


def test_a_changed_verdict_is_noticed(handed_in, tmp_path):
    edit_json(handed_in / "reports" / "comparison.json", verdict="equivalent")
    (line,) = verify(tmp_path, "anna", "--no-training", status=1)
    assert "verdict is equivalent, the predictions give " in line
    assert "modified" in line


def test_changed_predictions_are_noticed_though_all_else_agrees(handed_in, tmp_path):
    """The lock is renewed and the report laid out again, as someone would who wants a better result."""
    path = handed_in / "evaluations" / "mlp" / "predictions.npz"
    arrays = dict(np.load(path))
    arrays["predicted"][:] = arrays["labels"]
    np.savez(path, **arrays)
    projects.run(handed_in, "dvc", "commit", "--force", "evaluate@mlp")
    projects.run(handed_in, "dvc", "repro", "--single-item", "compare")
    (line,) = verify(tmp_path, "anna", "--variant", "mlp", "--seed", "0", "--no-training", status=1)
    assert "mlp, seed 0: " in line
    assert " % of the predictions are not those of the weights" in line


def test_weights_of_another_training_are_noticed(handed_in, tmp_path):
    """Seed 5 is handed in as seed 0 too, with records and lock renewed."""
    from lenetlab.storage.digests import sha256_json

    folder = handed_in / "runs" / "mlp"
    record = json.loads((folder / "seed-0" / "run.json").read_text())
    shutil.copyfile(folder / "seed-5" / "epoch-01.safetensors", folder / "seed-0" / "epoch-01.safetensors")
    other = json.loads((folder / "seed-5" / "run.json").read_text())
    record["files"]["epoch-01.safetensors"] = other["files"]["epoch-01.safetensors"]
    rest = {key: value for key, value in record.items() if key != "sha256"}
    (folder / "seed-0" / "run.json").write_text(json.dumps({**rest, "sha256": sha256_json(rest)}))
    projects.run(handed_in, "dvc", "commit", "--force", "train@mlp")
    projects.run(handed_in, "dvc", "repro", "--single-item", "evaluate@mlp")
    projects.run(handed_in, "dvc", "repro", "--single-item", "compare")
    (line,) = verify(tmp_path, "anna", "--variant", "mlp", "--seed", "0", status=1)
    assert line.startswith("anna: NOT verified: mlp, seed 0: different, first at epoch 1; training accuracy differs")


def test_a_changed_report_is_noticed(handed_in, tmp_path):
    path = handed_in / "reports" / "report.md"
    path.write_text(path.read_text().replace("inconclusive", "better"))
    projects.run(handed_in, "dvc", "commit", "--force", "compare")
    (line,) = verify(tmp_path, "anna", "--variant", "mlp", "--no-training", status=1)
    assert line == "anna: NOT verified: reports/report.md: not as laid out from the results"
