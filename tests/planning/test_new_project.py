"""lenetlab init: what a new project has, what is refused, and what an update changes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lenetlab import cli
from lenetlab.errors import UserError
from lenetlab.planning import new_project, project_files
from lenetlab.settings import claims, params
from lenetlab.storage import files, installed
from tests.pipeline.projects import ROOT, read_yaml


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch) -> None:
    """A busy disk takes seconds for all files of a project; tests/storage checks that they are synced."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A new project, in whose folder the test works."""
    list(new_project.create(tmp_path / "study"))
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_pipeline_is_that_of_the_repository_with_code_json_in_place_of_the_code(project):
    expected, found = read_yaml(ROOT / "dvc.yaml"), read_yaml(project / "dvc.yaml")
    for name, stage in expected["stages"].items():
        code = [dep for dep in stage["deps"] if dep.startswith("src/")]
        stage["deps"] = [dep for dep in stage["deps"] if dep not in code]
        parts = [dep.removeprefix("src/lenetlab/").removesuffix(".py") for dep in code]
        assert found["stages"][name]["params"].pop(0) == {"code.json": parts}
    assert found == expected
    recorded = installed.read()
    assert all(len(recorded[part]) == 64 for stage in found["stages"] for part in project_files.parts())
    assert "src/" not in (project / "dvc.yaml").read_text()
    assert "tests/" not in (project / "dvc.yaml").read_text()


def test_the_study_is_that_of_the_repository_without_statements(project):
    assert (project / "params.yaml").read_text() == (ROOT / "params.yaml").read_text().replace(
        "claims: claims.yaml           #", "claims: data/no-claims.yaml   #"
    )
    study = params.load(Path("params.yaml"))
    assert claims.load(Path(study.claims), study).claims == []
    assert all(Path(path).exists() for path in (study.data.source, study.data.extra_test))


def test_every_file_of_a_stage_is_there(project):
    for name, stage in read_yaml(project / "dvc.yaml")["stages"].items():
        own = [dep for dep in stage["deps"] if dep.startswith(("stages/", "networks", "docs/"))]
        assert f"stages/{name}.py" in own
        assert [dep for dep in own if not (project / dep).exists()] == []


def test_links_of_its_pages_lead_to_files(project):
    for page in [project / "README.md", *project.rglob("*/*.md")]:
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
        assert [link for link in links if not link.startswith("http") and not (page.parent / link).exists()] == []


def test_commands_of_its_makefile_run_without_an_environment_of_its_own(project):
    wanted = subprocess.run(["make", "--dry-run", "repro"], cwd=project, check=True, capture_output=True, text=True)
    assert wanted.stdout.splitlines()[0] == "lenetlab check"


def test_git_starts_a_repository_that_ignores_outputs(project):
    git(project, "add", ".")
    for name in ("reports/report.html", "data/raw/train.tar", "mlflow.db", ".lenetlab/resume"):
        git(project, "check-ignore", name)
    assert subprocess.run(["git", "check-ignore", "code.json"], cwd=project, capture_output=True).returncode == 1


@pytest.mark.parametrize("name", ["a name with spaces", "new/below/new"])
def test_a_new_folder_may_have_any_name(tmp_path, name):
    lines = list(new_project.create(tmp_path / name))
    assert (tmp_path / name / "params.yaml").exists()
    shown = f"'{tmp_path / name}'" if " " in name else str(tmp_path / name)
    assert lines[-1] == f"next: cd {shown} && git add . && git commit -m 'Start a study' && make repro"


@pytest.mark.parametrize("with_git", [False, True])
def test_an_empty_folder_stays_the_same_folder(tmp_path, monkeypatch, with_git):
    if with_git:
        git(tmp_path, "init")
    monkeypatch.chdir(tmp_path)
    list(new_project.create(Path()))
    assert {"params.yaml", "code.json", ".git", ".dvc"} <= content(tmp_path)
    assert Path("params.yaml").exists()
    assert ".new" not in content(tmp_path)


def test_other_files_are_refused_and_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty; allowed: a new or empty folder"):
        list(new_project.create(tmp_path))
    with pytest.raises(UserError, match=r"mine.txt: not a folder; allowed"):
        list(new_project.create(tmp_path / "mine.txt"))
    assert content(tmp_path) == {"mine.txt"}


@pytest.mark.parametrize("exists", [False, True])
def test_after_an_error_nothing_is_written(tmp_path, monkeypatch, exists):
    def fail(*_) -> None:
        raise OSError(28, "No space left on device")

    if exists:
        (tmp_path / "study").mkdir()
    monkeypatch.setattr(files, "write_json", fail)
    with pytest.raises(OSError, match="No space"):
        list(new_project.create(tmp_path / "study"))
    assert [path for path in tmp_path.rglob("*") if path != tmp_path / "study"] == []
    assert (tmp_path / "study").exists() == exists


def test_in_another_repository_none_is_started(tmp_path):
    git(tmp_path, "init")
    lines = list(new_project.create(tmp_path / "study"))
    assert f"git: the files belong to the repository {tmp_path.resolve()}, in which the folder is" in lines
    assert ".git" not in content(tmp_path / "study")


def test_in_an_ignored_folder_of_another_repository_one_is_started(tmp_path):
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text("study/\n")
    assert len(list(new_project.create(tmp_path / "study"))) == 2
    assert ".git" in content(tmp_path / "study")


def test_without_git_it_says_what_does_not_work(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = list(new_project.create(tmp_path / "study"))
    assert new_project.NO_GIT in lines
    assert lines[-1] == f"next: cd {tmp_path / 'study'} && make repro"
    assert "no_scm = true" in (tmp_path / "study/.dvc/config").read_text()
    assert ".git" not in content(tmp_path / "study")


@pytest.mark.parametrize("arguments", [["init"], ["init", "--update", "study"]])
def test_the_command_wants_a_folder_or_update(arguments):
    with pytest.raises(UserError, match="init: needs either FOLDER, or --update"):
        cli.commands(arguments, standalone_mode=False)


def test_an_update_needs_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"code.json: not found here; remedy: cd to a project"):
        list(new_project.update())


def test_an_update_to_the_same_package_changes_nothing(project):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert len(list(new_project.update())) == 1
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("project")
def test_an_update_replaces_files_that_nobody_edited(monkeypatch):
    new = {
        **project_files.project_files("study"),
        **dict.fromkeys(("stages/train.py", "params.yaml", "claims.yaml", "stages/more.py"), b"# new\n"),
    }
    monkeypatch.setattr(project_files, "project_files", lambda _: new)
    edited = Path("params.yaml").read_bytes() + b"# mine\n"
    Path("params.yaml").write_bytes(edited)
    Path("README.md").write_text("mine\n")
    Path("claims.yaml").unlink()
    said = list(new_project.update())
    assert Path("stages/train.py").read_bytes() == Path("stages/more.py").read_bytes() == b"# new\n"
    assert Path("params.yaml").read_bytes() == edited
    assert Path("params.yaml.new").read_bytes() == b"# new\n"
    assert Path("README.md").read_text() == "mine\n"  # this version of it was edited
    assert not Path("README.md.new").exists()
    assert not Path("claims.yaml").exists()
    assert [line.partition(":")[0] for line in said[:3]] == ["params.yaml", "stages/train.py", "stages/more.py"]
    Path("params.yaml.new").unlink()
    assert len(list(new_project.update())) == 1
    assert not Path("params.yaml.new").exists()


@pytest.mark.usefixtures("project")
def test_an_update_keeps_digests_that_an_edited_pipeline_needs():
    files.write_json(installed.RECORD, {**installed.read(), "report/page": "0" * 64, "report/gone": "0" * 64})
    said = list(new_project.update())
    assert "code.json: now that of" in said[0]
    assert len(installed.read()["report/page"]) == 64
    assert installed.read()["report/page"] != "0" * 64
    assert "report/gone" not in installed.read()


def test_a_package_without_these_files_says_so(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "src" / "lenetlab" / "settings", tmp_path / "place" / "src" / "lenetlab" / "settings")
    monkeypatch.setattr(project_files.code, "PACKAGE", tmp_path / "place" / "src" / "lenetlab")
    with pytest.raises(UserError, match="not found; remedy: install lenetlab again"):
        list(new_project.create(tmp_path / "study"))
    assert content(tmp_path) == {"place"}
