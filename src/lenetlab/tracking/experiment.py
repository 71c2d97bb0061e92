"""MLflow as a view of the outputs: what it shows is rebuilt from the files that the stages wrote.

The module `runs` makes records of them, and a `Store` sends what MLflow lacks of these. So publishing twice changes
nothing, and an empty store is filled from the files alone. `follow` publishes beside a stage, `sync` later. A run is
known by its fingerprint, kept as a tag; MLflow's own run ids are written nowhere.
"""

from contextlib import closing
from pathlib import Path
from sqlite3 import connect as open_database

# mlflow is imported in the functions that need them. Importing mlflow takes 3 to 4 s, more than most stages:
# it happens in a process of its own while the stage works.

EXPERIMENT = "lenetlab"

VIEW = "variants"  # the prepared table of runs

DESCRIPTION = """\
Is one digit classifier better than another, or was it luck? Every **variant** was trained with several seeds. Its run
shows the means over them, with pictures under *Artifacts*; the runs below it are the seeds, with their checkpoints.

- **prepare**: the data set and a sample of its images
- **comparison**: the verdicts and the whole report (*Artifacts*, `report.html`)
- To compare variants, select their runs and press *Compare*. Accuracies are fractions; `interval` is the 95 %
  t interval of the mean test accuracy over seeds.
"""

COLUMNS = {  # of the prepared view -> width in pixels
    "params.`parameters`": 90,
    "tags.`accuracy`": 120,
    "tags.`interval`": 120,
    "tags.`verdict`": 330,
    "tags.`seeds`": 90,
}


def make_location_relative(database: Path, experiment: str, present: str | None = None) -> None:
    """MLflow makes every location of artifacts absolute, and when the folder has moved its pages find none of them.

    It does understand a location relative to the folder it works in, but takes none: so it is set in the database.
    """
    if present == f"mlruns/{experiment}":
        return
    with closing(open_database(database, timeout=30)) as connection, connection:
        change = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
        connection.execute(change, (f"mlruns/{experiment}", experiment))
