"""`lenetlab sync`: send MLflow what it lacks of the outputs, end runs left by a crash; read the record of a run."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage import files, paths
from lenetlab.tracking import content, user_changes, variant_content
from lenetlab.tracking.connection import reporting_mlflow_errors, store_location
from lenetlab.tracking.metrics import names
from lenetlab.tracking.models import logged, registry
from lenetlab.tracking.store import Store, milliseconds, open_store

CRASHED_SECONDS = 600  # without progress, after which a RUNNING run was left by a crash


def sync(study: Sequence[str], data: str | None = None) -> dict[str, int]:
    """Send what MLflow lacks of the outputs of these variants; returns what was sent and how often.

    `data` names the data set, whose champion the comparison may change; None: it changes none.
    """
    outputs, resume = Path.cwd(), paths.resume_folder()  # the block below works in the folder of the store
    with reporting_mlflow_errors(), open_store(store_location(), checks_artifacts=True) as store:
        store.send(*content.coloured(content.prepare_runs(outputs), study))
        of_variants: list[content.RunContent] = []
        for variant in study:
            experiment = variant_content.experiment_of(outputs, variant)
            runs = content.coloured(variant_content.variant_runs(outputs, variant, experiment, resume), study)
            store.send(*runs)
            store.mark_removed_seeds(*runs)
            logged.send_seeds(store, outputs, runs)
            of_variants += runs
        registry.send_comparison(store, outputs, data, of_variants)
        _end_crashed_runs(store, resume, study)
        return dict(store.sent)


def _end_crashed_runs(store: Store, resume: Path, study: Sequence[str]) -> None:
    """End RUNNING runs without progress, left by a crash or a power cut, as their journals say or as KILLED.

    Progress is a start or an epoch of any seed of the variant, in the store or in the folder for resuming. If a
    training was only slower than that, its real end replaces this one later.
    """
    families: dict[str, list[Any]] = {}  # runs of a variant and of its seeds
    for run in store.search("attributes.status = 'RUNNING' and tags.stage = 'train'"):
        families.setdefault(run.data.tags.get("mlflow.parentRunId", run.info.run_id), []).append(run)
    for runs in families.values():
        folders = [resume / run.data.tags.get("fingerprint", "unknown") for run in runs]  # a user may remove tags
        journals = [files.read_json_lines(folder / paths.JOURNAL) for folder in folders]
        times = [journal[-1]["time"] for journal in journals if journal]
        times += [run.info.start_time / 1000 for run in runs]
        losses = (names.TRAIN_LOSS, names.EARLIER_TRAIN_LOSS)
        times += [
            point.timestamp / 1000 for run in runs for name in losses for point in store.metric_history(run, name)
        ]
        last_progress = max(times)
        if time.time() - last_progress < CRASHED_SECONDS:
            continue
        for run, journal in zip(runs, journals, strict=True):
            experiment = run.data.tags.get(user_changes.EXPERIMENT)
            seed = journal and variant_content.seed_run(journal, "KILLED", experiment, resume)
            if seed:
                store.send(*content.coloured([seed], study))
            if not seed or store.stored[seed.key].id != run.info.run_id:  # a duplicate with a user's changes
                store.client.set_terminated(run.info.run_id, "KILLED", end_time=milliseconds(last_progress))
            store.sent["ended"] += 1


def recorded(run: str) -> dict[str, Any]:
    """The record of a training, from tags and metrics of its MLflow run alone; `run` is the id or name of a seed's run.

    The keys are the fields of `training.reproduction.TrainingRecord`.
    """
    with reporting_mlflow_errors(), open_store(store_location()) as store:
        found = store.find_run(run)
        print(f"MLflow run {found.info.run_id}: {found.info.run_name}", file=sys.stderr)
        tags = found.data.tags
        missing = sorted({user_changes.IDENTITY, "seed", "fingerprint", user_changes.WEIGHTS} - set(tags))
        if missing:
            raise UserError(
                f"MLflow's run {run!r} has no tag {', '.join(missing)}; allowed: a finished training of one seed,"
                " such as 'mlp seed 0'; lenetlab sync sends what is missing"
            )
        return {
            "identity": json.loads(tags[user_changes.IDENTITY]),
            "seed": int(tags["seed"]),
            "fingerprint": tags["fingerprint"],
            "weights": tags[user_changes.WEIGHTS].split(),
            "accuracy": [value / 100 for value in store.metric_values(found, names.TRAIN_ACCURACY)]
            or store.metric_values(found, names.EARLIER_TRAIN_ACCURACY),
            "origin": json.loads(tags.get(user_changes.ORIGIN, "{}")),
        }
