"""MLflow as a view of the outputs: what it shows is rebuilt from the files that the stages wrote.

The module `runs` makes records of them, and a `Store` sends what MLflow lacks of these. So publishing twice changes
nothing, and an empty store is filled from the files alone. `follow` publishes beside a stage, `sync` later. A run is
known by its fingerprint, kept as a tag; MLflow's own run ids are written nowhere.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage import paths
from lenetlab.tracking import content, variant_content
from lenetlab.tracking.store import open_store, plain_errors, store_place

# On request.


def sync(variants: Sequence[str]) -> dict[str, int]:
    """Publish what lies on disk and is not in MLflow yet, and end what a crash left RUNNING; returns what was new."""
    outputs, resume = Path.cwd(), paths.resume_folder()
    with plain_errors(), open_store(store_place()) as store:
        store.put(*content.prepare_runs(outputs))
        for variant in variants:
            store.put(*variant_content.variant_runs(outputs, variant))
        store.put(*content.comparison_runs(outputs))
        store.end_the_dead(resume)
        return dict(store.added)


def recorded(run: str) -> dict[str, Any]:
    """What MLflow's run of a seed, by its id or its name, tells of a training, from tags and metrics alone."""
    with plain_errors(), open_store(store_place()) as store:
        found = store.find(run)
        tags = found.data.tags
        missing = sorted({"identity", "seed", "fingerprint", "weights"} - set(tags))
        if missing:
            raise UserError(
                f"MLflow's run {run!r} has no tag {', '.join(missing)}; allowed: a finished training of one seed,"
                " such as 'mlp seed 0'; lenetlab sync sends what is missing"
            )
        return {
            "identity": json.loads(tags["identity"]),
            "seed": int(tags["seed"]),
            "fingerprint": tags["fingerprint"],
            "weights": tags["weights"].split(),
            "accuracy": store.curve(found, "train_accuracy"),
            "origin": json.loads(tags.get("origin", "{}")),
        }
