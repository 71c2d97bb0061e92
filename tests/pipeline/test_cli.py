"""The command line, as a user types it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lenetlab(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    program = "from lenetlab import cli; cli.main()"
    return subprocess.run([sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True)


def edited(tmp_path: Path, *edits: tuple[str, str]) -> Path:
    """A folder with our params.yaml, changed."""
    text = (ROOT / "params.yaml").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "claims.yaml").write_text((ROOT / "claims.yaml").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mnist.toml").touch()
    return tmp_path


def test_check_says_what_will_be_done():
    found = lenetlab("check")
    assert (found.returncode, found.stderr) == (0, "")
    assert "3 variants, 6 seeds each, 2 comparisons, 10 epochs" in found.stdout


def test_check_says_what_a_family_can_tell():
    """Six seeds each: a difference of 0.25 points in a family of two comparisons, by the typical spread."""
    found = lenetlab("check")
    assert "comparisons.headline: a difference of 0.25 percentage points is found with 80 % power" in found.stdout


@pytest.mark.parametrize(
    ("name", "left", "remedy"),
    [
        ("dvc.lock", "", "git checkout dvc.lock, or, if git has none, rm dvc.lock;"),
        ("dvc.lock", "schema: '2.0'\nstages:\n  fetch:\n    cmd: 'pyth", "git checkout dvc.lock"),
        ("dvc.lock", "{", "git checkout dvc.lock"),
        (".dvc/tmp/rwlock", "", "rm .dvc/tmp/rwlock;"),
        (".dvc/tmp/rwlock", '{"read": {"/a": [', "rm .dvc/tmp/rwlock;"),
    ],
)
def test_check_tells_of_what_dvc_left_damaged(tmp_path, name, left, remedy):
    folder = edited(tmp_path)
    (folder / ".dvc" / "tmp").mkdir(parents=True)
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    (folder / ".dvc" / "tmp" / "rwlock").write_text('{"read": {}, "write": {}}')
    assert lenetlab("check", folder=folder).returncode == 0
    (folder / name).write_text(left)
    found = lenetlab("check", folder=folder)
    assert found.returncode == 1
    assert f"{name}: damaged, as DVC leaves it if it is killed while it writes; remedy: {remedy}" in found.stderr


@pytest.mark.parametrize(
    ("seeds", "comparisons", "needed"),
    [("[0]", 2, 5), ("[0, 1, 2]", 2, 5), ("[0, 1, 2, 3]", 2, 5), ("[0, 1, 2, 3, 4]", 7, 6)],
)
def test_check_says_before_training_what_cannot_succeed(tmp_path, seeds, comparisons, needed):
    """Five seeds allow six comparisons in a family, four one, three none."""
    more = ["mlp-28-60-40", "lenet5-28", "lenet5-average", "lenet5-tanh", "lenet5-bilinear"][: comparisons - 2]
    pairs = "".join(f"    - {{candidate: {name}, baseline: lenet5}}\n" for name in more)
    folder = edited(
        tmp_path,
        ("seeds: [0, 1, 2, 3, 4, 5]", f"seeds: {seeds}"),
        ("  - mlp\n", "  - mlp\n" + "".join(f"  - {name}\n" for name in more)),
        ("\nequivalence_margin", f"{pairs}\nequivalence_margin"),
    )
    found = lenetlab("check", folder=folder)
    assert found.returncode == 0
    assert "comparisons.headline: nothing can be found better or worse" in found.stdout
    assert f"among {comparisons} comparisons; needed: {needed} seeds" in found.stdout


def test_check_reads_the_statements_too(tmp_path):
    folder = edited(tmp_path)
    (folder / "claims.yaml").write_text("claims:\n  - {id: a, kind: guess, statement: b}\n")
    found = lenetlab("check", folder=folder)
    assert found.returncode == 1
    assert "claims.yaml: claims[0].kind: 'guess' is not allowed" in found.stderr


def test_check_tells_of_the_source_and_of_the_statements_at_once(tmp_path):
    folder = edited(tmp_path, ("data/mnist.toml", "my/digits"))
    (folder / "claims.yaml").unlink()
    found = lenetlab("check", folder=folder)
    assert found.returncode == 1
    assert "data.source: 'my/digits' does not exist" in found.stderr
    assert "claims.yaml: cannot be read: No such file or directory" in found.stderr


def test_check_lists_every_error_and_fails(tmp_path):
    folder = edited(tmp_path, ("epochs: 10", "epochs: 0"), ("  - mlp\n", "  - mpl\n"), ("device: auto", "device: tpu"))
    found = lenetlab("check", folder=folder)
    assert found.returncode == 1
    assert found.stdout == ""
    for part in ("training.epochs: 0", "study[1]: 'mpl'", "device: 'tpu'"):
        assert part in found.stderr
    assert "Traceback" not in found.stderr


def test_check_finds_a_source_that_is_not_there(tmp_path):
    found = lenetlab("check", folder=edited(tmp_path, ("data/mnist.toml", "my/digits")))
    assert found.returncode == 1
    assert "data.source: 'my/digits' does not exist" in found.stderr


def test_check_finds_a_device_that_is_not_there(tmp_path):
    found = lenetlab("check", folder=edited(tmp_path, ("device: auto", "device: cuda:77")))
    assert found.returncode == 1
    assert "device: 'cuda:77' is not on this machine; allowed here: auto, cpu" in found.stderr


def test_check_without_a_file(tmp_path):
    found = lenetlab("check", folder=tmp_path)
    assert (found.returncode, found.stderr) == (1, "error: params.yaml: cannot be read: No such file or directory\n")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fetch", "prepare", "train", "evaluate", "compare"])
def test_a_stage_run_by_itself_checks_params_yaml_too(tmp_path, stage):
    folder = edited(tmp_path, ("epochs: 10", "epochs: 0"))
    arguments = ["lenet5"] if stage in ("train", "evaluate") else []
    command = [sys.executable, ROOT / "stages" / f"{stage}.py", *arguments]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert found.returncode == 1
    assert "training.epochs: 0 is not allowed; allowed: a whole number from 1 to 1000" in found.stderr
    assert "Traceback" not in found.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["claims.yaml", "data", "params.yaml"]
