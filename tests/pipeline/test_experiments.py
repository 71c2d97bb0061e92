"""DVC experiments: the way in and back, their MLflow runs; results in git; clones and remotes."""

from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.projects import VARIANTS, copy_of, run, stages_run
from tests.tracking.stores import find_runs, open_client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]


def runs_by_id(project: Path, condition: str = "") -> dict[str, dict[str, Any]]:
    return {found.info.run_id: found.to_dictionary() for found in find_runs(open_client(project), condition)}


PLACES = ("data/prepared", "runs", "journals", "evaluations", "reports", "model", "costs.json")


def committed(finished: Path, folder: Path) -> Path:
    """A copy of the finished project with its results in git, as `make repro` asks for."""
    project = copy_of(finished, folder)
    run(project, "git", "add", "params.yaml", "dvc.lock", "reports")
    run(project, "git", "commit", "--quiet", "--message", "results")
    return project


def contents(project: Path) -> dict[str, bytes]:
    """Every file of the outputs."""
    found = [project / name for name in PLACES]
    found += [path for folder in found for path in folder.rglob("*")]
    return {str(path.relative_to(project)): path.read_bytes() for path in found if path.is_file()}


def go_back(project: Path) -> None:
    """From an experiment to the last commit, as README says."""
    run(project, "git", "checkout", "--quiet", ".")
    run(project, "dvc", "checkout", "--quiet")
    assert run(project, "git", "status", "--porcelain", "dvc.lock", "params.yaml", "reports") == ""


def check_tables(project: Path) -> None:
    """What DVC says about an experiment that changed the seeds: short, and without what nobody reads."""
    names = [f"{variant}.accuracy" for variant in VARIANTS]
    metrics, params = run(project, "dvc", "metrics", "diff"), run(project, "dvc", "params", "diff")
    assert all(name in metrics for name in names)
    assert [line.split()[1] for line in params.splitlines()[1:]] == ["seeds"]
    difference = run(project, "dvc", "exp", "diff", "HEAD", "warm-tapir")
    assert all(name in difference for name in names)
    for table in (metrics, params, difference):
        assert max(map(len, table.splitlines())) <= 120
    run(project, "dvc", "plots", "diff", "--out", "plots")
    page = (project / "plots" / "index.html").read_text()
    assert '"rev": "HEAD"' in page
    assert '"rev": "workspace"' in page


def test_a_clone_has_the_numbers_and_the_rest_comes_from_a_remote(finished, tmp_path):
    project, clone = committed(finished, tmp_path / "project"), tmp_path / "clone"
    run(project, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    run(project, "git", "commit", "--quiet", "--all", "--message", "remote")
    run(project, "git", "tag", "--annotate", "recommended@v1.0.0", "--message", "first")  # how DVC knows versions
    run(project, "dvc", "push", "--quiet")
    run(tmp_path, "dvc", "artifacts", "get", str(project), "recommended", "--out", "gotten")
    for name in ("model.json", "weights.safetensors"):
        assert (tmp_path / "gotten" / name).read_bytes() == (project / "model" / name).read_bytes()
    run(tmp_path, "git", "clone", "--quiet", str(project), "clone")
    for name in ("report.md", "comparison.json", "claims.json", "metrics.json", "curves.csv", "metrics/mlp.json"):
        assert (clone / "reports" / name).read_bytes() == (project / "reports" / name).read_bytes()
    assert not (clone / "runs").exists()
    assert "lenet5.accuracy" in run(clone, "dvc", "metrics", "show")
    copy_of(project / "digits", clone / "digits")
    run(clone, "dvc", "pull", "--quiet")
    assert stages_run(run(clone, "dvc", "repro")) == []
    assert contents(clone) == contents(project)
    assert run(clone, "git", "status", "--porcelain", "dvc.lock", "reports") == ""
    assert "nothing was new" not in run(clone, "lenetlab", "sync")
    names = sorted(found["info"]["run_name"] for found in runs_by_id(clone).values())
    assert names == sorted(found["info"]["run_name"] for found in runs_by_id(project).values())


@pytest.mark.parametrize("where", [[], ["--temp", "--copy-paths", "digits"]])
def test_an_experiment_with_other_seeds_overwrites_nothing(finished, tmp_path, count, large, where):
    if where and not large:
        pytest.skip("make torture tries it: both take a minute")
    project = committed(finished, tmp_path / "project")
    before, results = runs_by_id(project), contents(project)
    run(project, "dvc", "exp", "run", *where, "--name", "warm-tapir", "--set-param", "seeds=[5,7]")
    if not where:
        assert "nothing was new" in run(project, "lenetlab", "sync")
        check_tables(project)
        go_back(project)
        assert contents(project) == results
        run(project, "dvc", "exp", "apply", "--quiet", "warm-tapir")
        assert "runs/mlp/seed-7/run.json" in contents(project)
        assert "up to date" in run(project, "dvc", "status")
        go_back(project)
    assert contents(project) == results
    assert stages_run(run(project, "dvc", "repro")) == []
    assert "nothing was new" in run(project, "lenetlab", "sync")
    own = runs_by_id(project, "tags.dvc_experiment = 'warm-tapir'")
    seeds = [f"{variant} seed {seed}" for variant in ("lenet5", "mlp") for seed in (5, 7)]
    assert sorted(found["info"]["run_name"] for found in own.values()) == sorted(
        ["comparison", "lenet5", "mlp", *seeds]
    )
    assert {found["info"]["status"] for found in own.values()} == {"FINISHED"}
    assert {run_id: found for run_id, found in runs_by_id(project).items() if run_id not in own} == before
    count("DVC experiments in MLflow")
