"""MLflow stores of tests: all that MLflow holds is read with its own client, without ids, so stores can be compared."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lenetlab.storage.digests import sha256_file


@contextmanager
def working_in(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """The block works in this folder, with the store that is used by default; its patches end with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        yield patch


def open_client(folder: Path) -> Any:
    """MLflow's client of the store in this folder.

    The address differs from the one that the package uses: otherwise, a forked process that publishes to this store
    would use the connections to the database that this process has opened.
    """
    import mlflow

    return mlflow.MlflowClient(f"sqlite:///{folder}/./mlflow.db")


def find_runs(client: Any, condition: str = "") -> list[Any]:
    experiment = client.get_experiment_by_name("lenetlab")
    return list(client.search_runs([experiment.experiment_id], condition)) if experiment else []


def runs_by_name(folder: Path) -> dict[str, Any]:
    found = find_runs(open_client(folder))
    assert len({run.info.run_name for run in found}) == len(found), "two runs have the same name"
    return {run.info.run_name: run for run in found}


def statuses(folder: Path) -> dict[str, str]:
    return {name: run.info.status for name, run in runs_by_name(folder).items()}


def read_content(folder: Path) -> dict[str, dict[str, Any]]:
    """All that MLflow holds of every run, by name."""
    client, runs = open_client(folder), runs_by_name(folder)
    return {run["name"]: run for run in describe(client, list(runs.values()), lambda uri: folder / uri)}


def describe(client: Any, runs: Sequence[Any], artifacts: Callable[[str], Path]) -> list[dict[str, Any]]:
    """All that MLflow holds of these runs; `artifacts` returns the folder of a URI."""
    names = {run.info.run_id: run.info.run_name for run in runs}
    return [
        {
            "name": run.info.run_name,
            "status": (run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": run.data.tags | {"mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))},
            "metrics": sorted(
                (point.key, point.step, point.value, point.timestamp)
                for key in run.data.metrics
                for point in client.get_metric_history(run.info.run_id, key)
            ),
            "artifacts": _artifacts(artifacts(run.info.artifact_uri)),
            "datasets": sorted((used.dataset.name, used.dataset.digest) for used in run.inputs.dataset_inputs),
        }
        for run in runs
    ]


def _artifacts(folder: Path) -> dict[str, str]:
    """SHA-256 of every artifact, by path. The artifact with their digests must agree, and is left out."""
    found = digests(folder)
    if found.pop("digests.json", None):
        assert json.loads((folder / "digests.json").read_text()) == found
    return found


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by path."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


def wait_for(condition: Callable[[], object]) -> None:
    """AssertionError after a minute."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute")
