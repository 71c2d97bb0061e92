"""The MLflow experiment of this project: its description, its prepared table of runs, its place for artifacts."""

import json
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

from lenetlab.tracking.connection import Client, StoreLocation

NAME = "lenetlab"
VIEW = "variants"  # name of the prepared table
DESCRIPTION = """\
Is one digit classifier better than another, or is the difference due to chance? Every **variant** was trained with
several seeds. Its run shows the means over the seeds, with pictures under *Artifacts*; the runs below it are the seeds,
with their checkpoints.

- **prepare**: the data set and a sample of its images
- **comparison**: the verdicts and the whole report (*Artifacts*, `report.html`)
- To compare variants, select their runs and press *Compare*. Accuracies are fractions; `interval` is the 95 %
  t interval of the mean test accuracy over seeds.
"""
COLUMNS = {  # of the prepared table -> width in pixels
    "params.`parameters`": 90,
    "tags.`accuracy`": 120,
    "tags.`interval`": 120,
    "tags.`verdict`": 330,
    "tags.`seeds`": 90,
}
TAGS = {
    "mlflow.note.content": DESCRIPTION,
    # Not a documented interface: without it, the page shows MLflow's usual table.
    f"mlflow.sharedViewState.{VIEW}": json.dumps(
        {
            "selectedColumns": list(COLUMNS),
            "columnOrder": list(COLUMNS),
            "columnWidths": COLUMNS,
            "orderByKey": "attributes.start_time",  # with any other order, seeds no longer stand below their variant
            "orderByAsc": False,
        }
    ),
}


def find_or_create(client: Client, location: StoreLocation) -> str:
    """The id of the experiment, which is created, restored or completed if necessary."""
    found = client.get_experiment_by_name(NAME)
    if found is None:
        created = str(client.create_experiment(NAME, tags=TAGS))
        if location.database:
            _make_artifacts_relative(location.database, created)
        return created
    if found.name != NAME:
        raise OSError("an answer that is not MLflow's")
    experiment = str(found.experiment_id)
    # A process may have been killed after it created the experiment.
    if location.database and found.artifact_location != _relative_location(experiment):
        _make_artifacts_relative(location.database, experiment)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(experiment)
    for key, value in TAGS.items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(experiment, key, value)
    return experiment


def _make_artifacts_relative(database: Path, experiment: str) -> None:
    """Set a relative location of artifacts, so that the pages find them after the folder was moved.

    MLflow understands one, relative to the folder it works in, but its interface makes every location absolute.
    """
    with closing(connect(database, timeout=30)) as connection, connection:
        change = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
        connection.execute(change, (_relative_location(experiment), experiment))


def _relative_location(experiment: str) -> str:
    return f"mlruns/{experiment}"
