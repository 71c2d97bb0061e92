"""A project runs its own code, also as a copy, in an experiment or with an environment of another folder."""

import subprocess
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.storage import dependencies
from tests.pipeline.projects import (
    ROOT,
    copy_of,
    edit,
    environment,
    forked,
    make_small,
    read_yaml,
    run,
    write_yaml,
)

SAY_WHERE = "import sys\nprint('code of', __file__, file=sys.stderr)\n"


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of a project whose code differs. The environment of the tests has the code of another folder installed."""
    project = copy_of(finished, tmp_path / "copy")
    for module in ("storage/locks.py", "tracking/publisher.py"):
        source = project / "src" / "lenetlab" / module
        source.write_text(source.read_text().replace("\nimport", f"\n{SAY_WHERE}import", 1))
    return project


def run_with_installed_code(folder: Path, *command: str, status: int = 0) -> str:
    """Like `run`, but the code that is installed is not that of the folder."""
    return run(folder, *command, status=status, environ=forked(environment(ROOT)))


@pytest.mark.slow
def test_a_copied_project_runs_its_own_code_also_beside_a_stage(copied, count):
    source = copied / "src/lenetlab/tracking/publisher.py"
    source.write_text(source.read_text().replace("import gc\n", "import gc\nopen('publisher-of-copy', 'w').close()\n"))
    log = run_with_installed_code(copied, "dvc", "repro", "--force", "--single-item", "train@mlp")
    assert f"code of {copied}/src/lenetlab/storage/locks.py" in log
    assert (copied / "publisher-of-copy").exists()
    count("copies")


@pytest.mark.slow
def test_an_experiment_in_another_folder_runs_the_code_there(copied, count):
    """Queued and temporary experiments run in a copy of the project: the one that the edit was queued with."""
    run(copied, "git", "add", "dvc.lock")  # with it, the experiment finds the prepared images in the cache
    log = run_with_installed_code(copied, "dvc", "exp", "run", "--temp", "--single-item", "train@mlp")
    assert f"code of {copied}/.dvc/tmp/exps/" in log
    assert f"code of {copied}/src" not in log
    count("copies")


@pytest.mark.slow  # it copies a finished project
def test_the_command_line_refuses_to_run_the_code_of_another_project(copied, count):
    log = run_with_installed_code(copied, "lenetlab", "check", status=1)
    assert log.startswith(f"error: lenetlab: runs the code in {ROOT}/src/lenetlab, but this folder has its own")
    assert "remedy: make setup" in log
    assert "is valid" in run(copied, "lenetlab", "check")
    count("copies")


@pytest.fixture
def stage(tmp_path, monkeypatch) -> Path:
    """A small project in whose folder DVC runs the stage train@mlp."""
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    edit(tmp_path, make_small)
    for name in ("src/lenetlab/training/loop.py", "src/lenetlab/report/page.py", "data/prepared/train/index.csv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("content\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train@mlp")
    return tmp_path


def set_learning_rate(content: dict) -> None:
    content["training"]["learning_rate"] = 0.1


def set_dropout_of_mlp(content: dict) -> None:
    content["variants"]["mlp"]["regularization"]["dropout"] = 0.1


def set_dropout_of_lenet5(content: dict) -> None:
    content["variants"]["lenet5"]["regularization"]["dropout"] = 0.1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda folder: (folder / "src/lenetlab/training/loop.py").write_text("other\n"),
            "src/lenetlab/training/loop.py",
        ),
        (lambda folder: (folder / "src/lenetlab/training/new.py").touch(), "src/lenetlab/training/new.py"),
        (lambda folder: (folder / "data/prepared/train/index.csv").unlink(), "data/prepared/train/index.csv"),
        (lambda folder: edit(folder, set_learning_rate), "params.yaml: training"),
        (lambda folder: edit(folder, set_dropout_of_mlp), "params.yaml: variants.mlp"),
    ],
    ids=["edited", "added", "removed", "setting", "variant"],
)
def test_a_stage_fails_if_what_it_depends_on_changes_meanwhile(stage, count, change, named):
    message = rf"^{named}: changed while the stage ran, .*remedy: dvc repro again"
    with pytest.raises(UserError, match=message), dependencies.unchanged():
        change(stage)
    with dependencies.unchanged():
        pass
    count("edits meanwhile")


def test_params_of_another_file_count(stage):
    content = read_yaml(stage / "dvc.yaml")
    content["stages"]["train"]["params"].append({"more.yaml": ["key"]})
    write_yaml(content, stage / "dvc.yaml")
    with pytest.raises(UserError, match=r"^more.yaml: changed"), dependencies.unchanged():
        (stage / "more.yaml").write_text("key: 1\n")


def test_other_edits_do_not_disturb_a_stage(stage, monkeypatch):
    with dependencies.unchanged():
        edit(stage, set_dropout_of_lenet5)
        (stage / "src/lenetlab/report/page.py").write_text("other\n")
        (stage / "src/lenetlab/training/__pycache__").mkdir()
        for name in ("__pycache__/loop.pyc", ".loop.py.swp", "loop.py~"):  # of Python and of editors
            (stage / "src/lenetlab/training" / name).touch()
    monkeypatch.delenv("DVC_STAGE")
    with dependencies.unchanged():  # nothing is recorded outside DVC
        edit(stage, set_learning_rate)


@pytest.mark.slow
@pytest.mark.usefixtures("without_mlflow")
def test_dvc_does_not_record_code_that_was_edited_while_it_ran(finished, tmp_path, count):
    project = copy_of(finished, tmp_path / "project")
    source = project / "src/lenetlab/data/sources.py"
    while_it_runs = "    open(__file__, 'a').write('# edited')\n    download.log("
    source.write_text(source.read_text().replace("    download.log(", while_it_runs, 1))
    locked = (project / "dvc.lock").read_bytes()
    log = run(project, "dvc", "repro", "--single-item", "fetch", status=255)
    assert "error: src/lenetlab/data/sources.py: changed while the stage ran" in log
    assert (project / "dvc.lock").read_bytes() == locked
    count("edits meanwhile")


@pytest.mark.parametrize(("made_for", "anew"), [("{folder}/.venv", False), ("/elsewhere/.venv", True), ("", True)])
def test_make_notices_an_environment_of_another_folder(tmp_path, made_for, anew):
    """`python3` is a stand-in that only writes down how it was called."""
    for name in ("Makefile", "pipeline.mk", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "python3"
    python.write_text(
        "#!/bin/sh\n"
        'echo "$@" >> calls\n'
        'if [ "$2" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/pip; fi\n'
    )
    python.chmod(0o755)
    make = ["make", "setup", f"PYTHON={python}"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "calls").unlink()
    stamp = tmp_path / ".venv" / "installed"
    assert stamp.read_text() == f"{tmp_path}/.venv\n"
    stamp.write_text(made_for.format(folder=tmp_path) + "\n")
    (tmp_path / ".venv" / "old").touch()
    said = subprocess.run(make, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert (".venv was made for another folder: making it anew" in said) == anew
    assert (tmp_path / ".venv" / "old").exists() != anew
    assert (tmp_path / "calls").exists() == anew
