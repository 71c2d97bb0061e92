"""A training job, and the files of a finished one: journal, curves and run.json."""

import csv
import io
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenetlab.settings import schema
from lenetlab.storage import files, manifests, paths
from lenetlab.storage.digests import sha256, sha256_file
from lenetlab.training import checkpoint

CURVE_COLUMNS = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
FINISHED = "finished.json"  # the manifest of run.json and the journal; it exists once a job is finished


@dataclass(frozen=True)
class TrainingJob:
    """One seed of one variant. `record` and `origin` are what its journal begins with."""

    variant: schema.Variant
    training: schema.Training
    seed: int
    record: dict[str, Any]  # variant, seed, fingerprints, identity, number of parameters, normalization
    origin: dict[str, Any]  # commit, versions, hardware


def write_final(
    job: TrainingJob,
    folder: Path,
    state: checkpoint.TrainingState,
    member: int,
    training_set: dict[str, float] | None,
    diverged: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Write the files of a job that has finished or diverged, and return the last event of its journal.

    `training_set` has loss and accuracy on the training images in evaluation mode after the last epoch, `diverged` the
    epoch and step; one of them is None.
    """
    status = {"status": "diverged", **diverged} if diverged else {"status": "finished"}
    journal = [*state.journals[member], {"event": "end", "time": time.time(), **status}]
    write_journal(journal, folder)
    table = io.StringIO()
    writer = csv.DictWriter(table, CURVE_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(event for event in journal if event["event"] == "epoch")
    files.write_text(folder / paths.CURVES, table.getvalue())
    digests = {paths.CURVES: sha256(table.getvalue().encode()), **state.digests[member]}
    record = {**job.record, "training_set": training_set, "diverged": diverged}
    manifests.write_manifest(folder / paths.RUN_RECORD, digests, **record)
    # run.json leaves the journal out, because times differ between two executions of the same job.
    final = {name: sha256_file(folder / name) for name in (paths.RUN_RECORD, paths.JOURNAL)}
    manifests.write_manifest(folder / FINISHED, final)
    return journal[-1]


def is_finished(folder: Path) -> bool:
    """Whether the job of this folder has finished and all its files are intact; a damaged file causes a warning."""
    if not (folder / FINISHED).exists():
        return False
    try:
        manifests.read_manifest(folder / FINISHED)
        manifests.read_manifest(folder / paths.RUN_RECORD)
    except manifests.Damaged as damage:
        print(f"warning: {damage}; training repeats every epoch that depends on it", file=sys.stderr)
        return False
    return True


def write_journal(events: list[dict[str, Any]], folder: Path) -> None:
    files.write_text(folder / paths.JOURNAL, "".join(json.dumps(event, allow_nan=False) + "\n" for event in events))


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a curves.csv in `runs` or `evaluations`."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
