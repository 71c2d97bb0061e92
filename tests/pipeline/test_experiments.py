"""A DVC experiment has MLflow runs of its own, and leaves those of the committed study alone."""

from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.projects import copy_of, run
from tests.tracking.stores import find_runs, open_client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]


def runs_by_id(project: Path, condition: str = "") -> dict[str, dict[str, Any]]:
    return {found.info.run_id: found.to_dictionary() for found in find_runs(open_client(project), condition)}


@pytest.mark.parametrize("where", [[], ["--temp", "--copy-paths", "digits"]])
def test_an_experiment_with_other_seeds_overwrites_nothing(finished, tmp_path, count, large, where):
    if where and not large:
        pytest.skip("make torture tries it: both take a minute")
    project = copy_of(finished, tmp_path / "project")
    run(project, "git", "add", "dvc.lock")
    run(project, "git", "commit", "--quiet", "--message", "results")
    before = runs_by_id(project)
    run(project, "dvc", "exp", "run", *where, "--name", "warm-tapir", "--set-param", "seeds=[5,7]")
    if not where:
        assert "nothing was new" in run(project, "lenetlab", "sync")
        run(project, "git", "checkout", "--quiet", "params.yaml", "dvc.lock")
        run(project, "dvc", "checkout", "--quiet", "--force")
    run(project, "dvc", "repro")
    assert "nothing was new" in run(project, "lenetlab", "sync")
    own = runs_by_id(project, "tags.dvc_experiment = 'warm-tapir'")
    seeds = [f"{variant} seed {seed}" for variant in ("lenet5", "mlp") for seed in (5, 7)]
    assert sorted(found["info"]["run_name"] for found in own.values()) == sorted(
        ["comparison", "lenet5", "mlp", *seeds]
    )
    assert {found["info"]["status"] for found in own.values()} == {"FINISHED"}
    assert {run_id: found for run_id, found in runs_by_id(project).items() if run_id not in own} == before
    count("DVC experiments in MLflow")
