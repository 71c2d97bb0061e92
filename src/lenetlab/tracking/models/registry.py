"""The registered model of a data set: versions that became champion, and the alias `champion`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.prediction import verdicts
from lenetlab.storage import paths
from lenetlab.tracking import content, variant_content
from lenetlab.tracking.content import RunContent
from lenetlab.tracking.models import champion, logged
from lenetlab.tracking.store import GONE, Store

ALIAS = "champion"
SOURCE = "models:/"  # of a version: this, and the id of a logged model
DESCRIPTION = (
    "The networks of all seeds of the variant that won: `models:/{name}@champion` answers with their mean probability."
    " The alias moves only when a comparison of test accuracy says that another variant is better than the champion,"
    " on the same data. Other versions were champion before."
)
OF_EXPERIMENT = "a DVC experiment never changes the champion"


def name_of(data: str) -> str:
    """The registered model's name for a data set; MLflow does not allow every sign."""
    return f"lenetlab-{re.sub(r'[^a-z0-9_]+', '-', data.lower()).strip('-') or 'images'}"


def send_comparison(store: Store, outputs: Path, data: str | None, runs: Sequence[RunContent]) -> None:
    """Send the run `comparison`, if there is one; its verdicts may move the champion of the data set `data`.

    `runs` are all runs of the variants, which were sent before.
    """
    for comparison in content.coloured(content.comparison_runs(outputs), ()):
        if data is not None:
            update(store, outputs, data, comparison, runs)
        store.send(comparison)


def update(store: Store, outputs: Path, data: str, comparison: RunContent, runs: Sequence[RunContent]) -> None:
    """Move the alias if a verdict says so; the tag `champion` of the comparison says who it is, and why.

    `comparison` is sent after this.
    """
    if comparison.experiment is not None:
        comparison.tags["champion"] = OF_EXPERIMENT
        return
    entries = [
        entry
        for entry in content.read_comparison(outputs / paths.REPORTS) or []
        if variant_content.is_current(entry, outputs / paths.EVALUATIONS)
    ]
    parents = {run.tags["variant"]: run for run in runs if "seed" not in run.tags and run.experiment is None}
    trained = {name: run.fingerprint for name, run in parents.items()}
    wins = {pair for pair in verdicts.wins(entries) if set(pair) <= set(parents)}
    digest = next((run.tags["data"] for run in parents.values()), "")
    name = name_of(data)
    version, decision = _champion_version(store, name), champion.Decision(None, "")
    present = _champion(version)
    if present and trained.get(present.variant) == present.fingerprint and not _has_networks(store, version):
        seeds = _seeds_of(runs, present.fingerprint)
        _register(store, outputs, name, parents[present.variant], seeds, f"{present.variant} stays champion")
        present = _champion(_champion_version(store, name))
    for _ in range(len(parents) + 1):  # each move is by one verdict; verdicts in a circle end it too
        decision = champion.decide(present, wins, trained, digest)
        if decision.variant is None:
            break
        seeds = _seeds_of(runs, trained[decision.variant])
        if not _register(store, outputs, name, parents[decision.variant], seeds, decision.reason):
            break
        present = _champion(_champion_version(store, name))
    comparison.tags["champion"] = decision.reason


def _seeds_of(runs: Sequence[RunContent], fingerprint: str) -> list[RunContent]:
    """The runs of the seeds of a variant's training."""
    return [run for run in runs if run.parent == fingerprint and run.experiment is None]


def _champion_version(store: Store, name: str) -> Any:
    """MLflow's version to which the alias points; None if there is none."""
    try:
        return store.client.get_model_version_by_alias(name, ALIAS)
    except store.client.mlflow.exceptions.MlflowException as error:
        if error.error_code not in GONE:
            raise
        return None


def _has_networks(store: Store, version: Any) -> bool:
    """Whether the model of a version was not deleted."""
    try:
        store.client.get_logged_model(model_of(version))
    except store.client.mlflow.exceptions.MlflowException as error:
        if error.error_code not in GONE:
            raise
        return False
    return not store.checks_artifacts or logged.is_complete(store, model_of(version))


def _champion(found: Any) -> champion.Champion | None:
    """What a version says about its variant; None if there is no version."""
    if found is None:
        return None
    tags = {key: found.tags.get(key, "") for key in ("variant", "fingerprint", "data")}
    return champion.Champion(
        version=str(found.version), **tags | {"variant": tags["variant"] or f"version {found.version}"}
    )


def model_of(version: Any) -> str:
    """The id of the logged model that a version was made from; MLflow leaves `model_id` empty when it is read."""
    return str(version.source).removeprefix(SOURCE)


def champion_model(store: Store, name: str) -> str:
    """The id of the champion's logged model. UserError if there is no champion."""
    version = _champion_version(store, name)
    if version is None:
        raise UserError(
            f"MLflow has no champion of {name}: a variant becomes champion when a comparison of test accuracy says that"
            " it is better than another one; lenetlab sync sends it, and the tag champion of the run comparison says"
            " more"
        )
    return model_of(version)


def _register(
    store: Store, outputs: Path, name: str, parent: RunContent, seeds: Sequence[RunContent], reason: str
) -> bool:
    """Make a version of all networks of a variant and point the alias to it; False if its networks are not there."""
    variant = parent.tags["variant"]
    tested = [run for run in seeds if "test" in run.datasets]
    model = logged.of_outputs(outputs, variant, tested) if tested else None
    if model is None:
        return False
    (model_id,) = logged.send(store, outputs, [logged.ModelContent(f"{variant}-all-seeds", parent, model)])
    try:
        store.client.create_registered_model(name, description=DESCRIPTION.format(name=name))
    except store.client.mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = _version_of(store, name, model_id) or store.client.create_model_version(
        name,
        source=SOURCE + model_id,
        run_id=store.stored[parent.key].id,
        model_id=model_id,
        tags={
            **{key: parent.tags[key] for key in ("variant", "fingerprint", "data")},
            "seeds": " ".join(map(str, model.seeds)),
        },
        description=f"{reason}. The mean probability of {len(model.seeds)} networks.",
        await_creation_for=0,
    )
    store.client.set_registered_model_alias(name, ALIAS, str(version.version))
    return True


def _version_of(store: Store, name: str, model_id: str) -> Any:
    """The version of this model, if there is one: a process may have been killed before it moved the alias."""
    found = store.client.search_model_versions(f"name = '{name}'")
    return next((version for version in found if model_of(version) == model_id), None)
