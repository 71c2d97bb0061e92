"""A project that `lenetlab init` makes from the wheel, outside the repository, from images to results."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.pipeline.projects import ROOT, edit, make_small, run, stages_run

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder with the package as its wheel has it; programs that a test starts import it from there."""
    source, site = tmp_path / "source", tmp_path / "site"
    for name in run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    offline = ("--no-deps", "--no-index")
    run(source, *PIP, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(tmp_path), ".")
    (wheel,) = tmp_path.glob("*.whl")
    run(tmp_path, *PIP, "install", *offline, "--no-compile", "--target", str(site), str(wheel))
    shutil.rmtree(source)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    return site


def make_small_of_own_images(content: dict) -> None:
    source = content["data"]["source"]
    make_small(content)
    content["data"]["source"] = source


@pytest.mark.slow
def test_a_project_outside_the_repository_from_images_to_an_upgrade(site, tmp_path, digits_folder):
    project = tmp_path / "my study"
    said = run(tmp_path, "lenetlab", "init", project.name)
    assert said.splitlines()[-1].startswith("next: cd 'my study' && git add .")
    assert run(project, "python", "-c", "import lenetlab; print(lenetlab.__file__)").startswith(str(site))
    run(project, "lenetlab", "import", str(digits_folder), "--write")
    edit(project, make_small_of_own_images)
    run(project, "git", "add", ".")
    run(
        project, "git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "start"
    )

    log = run(project, "make", "repro")
    assert {"train@lenet5", "evaluate@mlp", "compare"} <= set(stages_run(log))
    assert "MLflow is up to date" in log
    assert log.splitlines()[-1].startswith("new results: to keep them, git add ")
    assert (project / "reports/report.html").exists()
    origin = json.loads((project / "reports/origin.json").read_text())
    assert origin["commit"] == run(project, "git", "rev-parse", "HEAD").strip()
    assert not origin["dirty"]
    assert stages_run(run(project, "dvc", "repro")) == []

    with (site / "lenetlab/report/headline.py").open("a") as source:
        source.write("# edited\n")
    noticed = run(project, "lenetlab", "check", status=1)
    assert noticed.startswith("error: code.json: records lenetlab ")
    assert "has other code (report); remedy: lenetlab init --update, then dvc repro" in noticed
    assert noticed.strip() in run(project, "dvc", "repro", "--force", "--single-item", "compare", status=255)
    assert "changed: report\n" in run(project, "lenetlab", "init", "--update")
    assert run(project, "git", "status", "--porcelain", "--", "code.json", "dvc.yaml", "stages") == " M code.json\n"
    assert stages_run(run(project, "dvc", "repro")) == ["compare"]
    assert "identical" in run(project, "lenetlab", "reproduce", "--variant", "mlp", "--seed", "0")
