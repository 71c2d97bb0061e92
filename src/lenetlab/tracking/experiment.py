"""The MLflow experiment of this project: its description, its prepared table of runs, its place for artifacts."""

import json
import os
import shlex
import shutil
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.tracking import user_changes
from lenetlab.tracking.connection import Client, StoreLocation

NAME = "lenetlab"
ARTIFACTS = "mlruns"  # MLflow's name of the folder beside a database
VIEW = "variants"  # name of the prepared table
DESCRIPTION = """\
Is one image classifier better than another, or is the difference due to chance? Every **variant** was trained with
several seeds. Its run shows the means over the seeds, with pictures under *Artifacts*; the runs below it are the seeds,
with their checkpoints.

- **prepare**: the data set and a sample of its images
- **comparison**: the verdicts and the whole report (*Artifacts*, `report.html`)
- To compare variants, select their runs and press *Compare*. `interval` is the 95 % t interval of the mean test
  accuracy over seeds.
- Metrics: *1 result* after the last epoch, *2 over seeds* what varies between seeds, *3 curves* by epoch, *cost* on an
  idle machine, *system* time and memory of the training itself. Colours are those of the report.
"""
# Of the prepared table -> width in pixels. A window of 1440 pixels shows the first two beside MLflow's assistant.
COLUMNS = {
    "tags.`accuracy`": 125,
    "tags.`verdict`": 265,
    "tags.`dvc_experiment`": 110,
    "tags.`interval`": 120,
    "params.`parameters`": 90,
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
        try:
            client.create_experiment(NAME, tags=user_changes.changes(TAGS, {}, removing=False)[0])
        except client.mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another clone, which uses the same store, was faster
                raise
        found = client.get_experiment_by_name(NAME)
    if found is None or found.name != NAME:
        raise OSError("an answer that is not MLflow's")
    experiment = str(found.experiment_id)
    if location.database:
        _keep_artifacts_beside(location.database, experiment)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(experiment)
    for key, value in user_changes.changes(TAGS, user_changes.renamed(found.tags), removing=False)[0].items():
        client.set_experiment_tag(experiment, key, value)
    return experiment


def _keep_artifacts_beside(database: Path, experiment: str) -> None:
    """Make every location of artifacts on this machine relative, so that database and artifacts can be moved together.

    MLflow understands one, relative to the folder it works in, but its interface makes every location absolute. So what
    other programs or earlier versions of this one recorded, or a process that was killed here, has places in the folder
    where the project was. Nothing more may be written there; artifacts that are there alone are copied.
    """
    _require_folder(database.parent / ARTIFACTS)
    home = f"{ARTIFACTS}/{experiment}"
    places = (  # of a table: the columns of the key and of the location, and the relative location
        ("experiments", "experiment_id", "artifact_location", home),
        ("runs", "run_uuid", "artifact_uri", home + "/{}/artifacts"),
        ("logged_models", "model_id", "artifact_location", home + "/models/{}/artifacts"),
    )
    with closing(connect(database, timeout=30)) as connection, connection:
        for table, key, column, pattern in places:
            query = f"SELECT {key}, {column} FROM {table} WHERE experiment_id = ?"  # noqa: S608  names from above
            for name, before in connection.execute(query, (experiment,)).fetchall():
                after = pattern.format(name)
                if before != after and (old := _local_folder(before)):
                    if table != "experiments":
                        _copy_unless_there(database.parent / old, database.parent / after)
                    change = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"  # noqa: S608
                    connection.execute(change, (after, name))


def _require_folder(place: Path) -> None:
    if os.path.lexists(place) and not place.is_dir():
        raise UserError(
            f"{place}: not a folder, or a link to none, so MLflow's artifacts cannot be there; remedy: restore the"
            f" folder, or rm {shlex.quote(str(place))}, and lenetlab sync sends them again"
        )


def _local_folder(uri: str) -> str | None:
    """The folder that a location of artifacts names; None if it is on another machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    if uri.startswith("mlflow-artifacts:/"):  # of a server with this database, which keeps them beside it by default
        return uri.replace("mlflow-artifacts:/", "mlartifacts/", 1)
    return None if "://" in uri.removeprefix("file://") else str(local_file_uri_to_path(uri))


def _copy_unless_there(old: Path, new: Path) -> None:
    # os.path: unlike pathlib, it takes a folder that this user may not read for one that is not there
    if os.path.isdir(old) and not new.exists():  # noqa: PTH112
        with files.writing_folder(new) as folder:
            shutil.copytree(old, folder, dirs_exist_ok=True)
