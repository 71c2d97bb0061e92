"""A project and its images are moved: what was trained is used, what is gone has a remedy, and the remedy works."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline import projects

pytestmark = pytest.mark.slow
UP_TO_DATE = "MLflow is up to date: nothing was new"


def up_to_date(log: str) -> bool:
    """Whether DVC ran no stage."""
    return "up to date" in log and not projects.stages_run(log)


def test_a_moved_project_continues_where_it_is(finished, tmp_path, count: Callable[[str], None]):
    before = projects.copy_of(finished, tmp_path / "one")
    moved = before.rename(tmp_path / "another place")
    assert up_to_date(projects.run(moved, "dvc", "repro"))
    assert projects.run(moved, "lenetlab", "sync").splitlines()[0] == UP_TO_DATE
    projects.run(moved, "lenetlab", "report")
    assert "identical" in projects.run(moved, "lenetlab", "reproduce", "mlp seed 0")
    assert "warning" not in projects.run(moved, "dvc", "repro", "--force", "--single-item", "evaluate@mlp")
    assert projects.run(moved, "lenetlab", "sync").splitlines()[0] == UP_TO_DATE
    assert not before.exists()
    count("moved projects and stores")


def test_images_that_were_moved_are_found_again(finished, tmp_path, count: Callable[[str], None]):
    project = projects.copy_of(finished, tmp_path / "project")
    (project / "digits").rename(tmp_path / "elsewhere")
    projects.run(project, "dvc", "repro", status=255)  # DVC removes the outputs of fetch, and says little
    message = projects.run(project, "lenetlab", "check", status=1)
    assert message.startswith("error: params.yaml: data.source: 'digits' does not exist; ")
    assert "set data.source in params.yaml to where the images are now" in message
    projects.edit(project, lambda content: content["data"].update(source=str(tmp_path / "elsewhere")))
    projects.run(project, "lenetlab", "check")
    assert projects.stages_run(projects.run(project, "dvc", "repro")) == ["fetch", "compare"]
    count("moved projects and stores")


def test_without_images_the_fetched_ones_are_used(finished, tmp_path, count: Callable[[str], None]):
    project = projects.copy_of(finished, tmp_path / "project")
    (project / "digits").rename(tmp_path / "elsewhere")
    projects.run(project, "dvc", "repro", status=255)
    message = projects.run(project, "lenetlab", "check", status=1)
    remedy = re.search(r"(dvc checkout fetch), then (dvc repro --downstream prepare)", message)
    for command in remedy.groups():
        log = projects.run(project, *command.split())
    assert up_to_date(log)
    count("moved projects and stores")


def test_a_temporary_experiment_finds_images_at_the_path_that_check_names(finished, tmp_path):
    project = projects.copy_of(finished, tmp_path / "project")
    projects.run(project, "git", "add", "dvc.lock")
    projects.run(project, "git", "commit", "--quiet", "--message", "run")
    found = re.search(r"for these, set it to '(.+)'", projects.run(project, "lenetlab", "check"))
    assert Path(found[1]) == project / "digits"
    projects.run(project, "dvc", "exp", "run", "--temp", "--set-param", f"data.source={found[1]}")
