"""A project without code of its own notices when other code is installed than it recorded."""

import shutil
from pathlib import Path

import pytest

from lenetlab import cli
from lenetlab.errors import UserError
from lenetlab.storage import code, dependencies, files, installed

PARTS = ("settings", "report", "evaluation/curves", "errors")


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of parts of the package; the test works in a project that recorded them."""
    copy = tmp_path / "site" / "lenetlab"
    for name in ("settings", "report", "evaluation"):
        shutil.copytree(code.PACKAGE / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(code.PACKAGE / "errors.py", copy)
    monkeypatch.setattr(code, "PACKAGE", copy)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    files.write_json(installed.RECORD, {**installed.describe(PARTS), "files": {}})
    return copy


def append(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


@pytest.mark.parametrize(
    ("edited", "named"),
    [
        ("settings/edit.py", "settings"),
        ("report/templates/report.html", "report"),
        ("evaluation/curves.py", "evaluation/curves"),
        ("errors.py", "errors"),
    ],
)
def test_an_edit_of_a_recorded_part_is_noticed(package, edited, named):
    installed.require_recorded()
    append(package / edited)
    with pytest.raises(UserError, match=rf"^code.json: .* has other code \({named}\); remedy: lenetlab init --update"):
        installed.require_recorded()


def test_a_part_that_is_gone_or_grew_is_noticed(package):
    (package / "errors.py").unlink()
    (package / "report" / "more.py").touch()
    with pytest.raises(UserError, match=r"other code \(errors, report\)"):
        installed.require_recorded()


def test_other_parts_and_compiled_files_do_not_count(package):
    append(package / "evaluation" / "cost.py")
    (package / "settings" / "__pycache__").mkdir()
    (package / "settings" / "__pycache__" / "edit.pyc").touch()
    installed.require_recorded()


def test_a_project_with_code_of_its_own_needs_no_record(package):
    append(package / "errors.py")
    installed.OWN_CODE.mkdir(parents=True)
    installed.require_recorded()
    installed.OWN_CODE.rmdir()
    installed.RECORD.unlink()
    installed.require_recorded()


def test_every_command_and_every_stage_refuses_other_code(package):
    append(package / "errors.py")
    for command in ("check", "settle", "sync", "report"):
        with pytest.raises(UserError, match=r"^code.json: "):
            cli.commands([command], standalone_mode=False)
    with pytest.raises(UserError, match=r"^code.json: "), dependencies.unchanged():
        pytest.fail("the stage ran")


def test_a_stage_fails_if_another_package_is_installed_meanwhile(package):
    with pytest.raises(UserError, match=r"^code.json: "), dependencies.unchanged():
        append(package / "errors.py")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("content", ["", "[]", '{"version": "0.1.0"}'])
def test_a_damaged_record_is_named(content):
    installed.RECORD.write_text(content)
    with pytest.raises(UserError, match=r"^code.json: cannot be read .*git checkout code.json.*lenetlab init --update"):
        installed.require_recorded()
