"""Trainings of a variant's seeds: decided by data, settings and seed alone, going on where they were stopped."""

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


FINISHED = "finished.json"  # in the folder for resuming: the digests of these two


@dataclass(frozen=True)
class TrainingJob:
    """One seed of one variant, and what its journal begins with."""

    variant: schema.Variant
    training: schema.Training
    seed: int
    record: dict[str, Any]  # variant, seed, fingerprints, identity, parameters
    origin: dict[str, Any]  # commit, versions, hardware


def write_final(
    run: TrainingJob,
    folder: Path,
    state: checkpoint.TrainingState,
    member: int,
    learnt: dict[str, float] | None,
    diverged: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Write journal and curves, and last the records with the digests of all that the run consists of.

    `learnt`: loss and accuracy on the training images in evaluation mode, at the end. `diverged`: epoch and step.
    Returns the last event of the journal.
    """
    status = {"status": "diverged", **diverged} if diverged else {"status": "finished"}
    journal = [*state.journals[member], {"event": "end", "time": time.time(), **status}]
    write_journal(journal, folder)
    table = io.StringIO()
    writer = csv.DictWriter(table, CURVE_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for line in journal if line["event"] == "epoch")
    files.write_text(folder / paths.CURVES, table.getvalue())
    digests = {paths.CURVES: sha256(table.getvalue().encode()), **state.digests[member]}
    manifests.write_manifest(folder / paths.RUN_RECORD, digests, **run.record, training_set=learnt, diverged=diverged)
    own = {name: sha256_file(folder / name) for name in (paths.RUN_RECORD, paths.JOURNAL)}
    manifests.write_manifest(
        folder / FINISHED, own
    )  # the journal is no function of the run, so the record leaves it out
    return journal[-1]


def is_finished(folder: Path) -> bool:
    """Whether a training came to its end in this folder for resuming; what is damaged there is named."""
    if not (folder / FINISHED).exists():
        return False
    try:
        manifests.read_manifest(folder / FINISHED)
        manifests.read_manifest(folder / paths.RUN_RECORD)
    except manifests.Damaged as damage:
        print(f"warning: {damage}; what depends on it is trained again", file=sys.stderr)
        return False
    return True


def write_journal(lines: list[dict[str, Any]], folder: Path) -> None:
    files.write_text(folder / paths.JOURNAL, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a curves.csv, that of a training or of an evaluation."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
