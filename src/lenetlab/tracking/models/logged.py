"""Logged models: the network of every seed as a model of its run, which MLflow loads and serves.

A model is known by its run and by the tag MADE_FROM, so sending twice changes nothing and a deleted model comes back.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lenetlab.errors import UserError
from lenetlab.prediction import trained
from lenetlab.storage.digests import sha256_file, sha256_json
from lenetlab.tracking.connection import FREE_WAIT_SECONDS, MAX_WAIT_SECONDS
from lenetlab.tracking.content import RunContent
from lenetlab.tracking.models import folder
from lenetlab.tracking.store import UPLOAD_RATE, Store

MADE_FROM = "made_from"  # digest of description and weights
FORMAT = 1  # of the folder of a model; raise it to have all models logged again
ABANDONED_SECONDS = 60  # after which a model that is not ready was left by a killed process
PAGE = 100


@dataclass(frozen=True)
class ModelContent:
    """What MLflow should hold of one model."""

    name: str
    run: RunContent  # which was sent before
    trained: trained.TrainedModel

    @property
    def made_from(self) -> str:
        weights = [sha256_file(path) for path in self.trained.weights]
        return sha256_json([FORMAT, self.trained.description(), weights])[:16]


def send_seeds(store: Store, outputs: Path, runs: Sequence[RunContent]) -> None:
    """Log the networks of the tested seeds among these runs, which were sent before."""
    by_variant: dict[str, list[RunContent]] = {}
    for run in runs:
        if "seed" in run.tags and "test" in run.datasets:
            by_variant.setdefault(run.tags["variant"], []).append(run)
    for variant, tested in by_variant.items():
        if model := of_outputs(outputs, variant, tested):
            seeds = [(int(run.tags["seed"]), run) for run in tested]
            send(store, outputs, [ModelContent(f"{variant}-seed-{seed}", run, model.only(seed)) for seed, run in seeds])


def of_outputs(outputs: Path, variant: str, runs: Sequence[RunContent]) -> trained.TrainedModel | None:
    """The trained networks of these seeds' runs; None, with a warning, if the outputs do not have all of it."""
    try:
        return trained.of_outputs(outputs, variant, [int(run.tags["seed"]) for run in runs])
    except UserError as error:
        print(f"warning: MLflow gets no models of {variant}: {error}", file=sys.stderr)
        return None


def send(store: Store, outputs: Path, models: Sequence[ModelContent]) -> list[str]:
    """Log what the store lacks of these models; returns the id of each."""
    with store.locked(store.on_answer, "models.lock"):  # so that no two processes of this folder log the same model
        found = _all(store)
        _delete_abandoned(store, found)
        found = _finished(found)
        return [_send(store, outputs, model, found) for model in models]


def present(store: Store) -> list[Any]:
    """All finished models of the experiment that are not deleted, the oldest first."""
    return _finished(_all(store))


def _finished(models: Sequence[Any]) -> list[Any]:
    ready = [model for model in models if model.status == "READY"]
    return sorted(ready, key=lambda model: (model.creation_timestamp, model.model_id))


def _delete_abandoned(store: Store, models: Sequence[Any]) -> None:
    """Delete those of these models that killed processes left unfinished."""
    for model in models:
        age = time.time() - model.creation_timestamp / 1000
        if model.status != "READY" and MADE_FROM in model.tags and age > ABANDONED_SECONDS:
            store.client.delete_logged_model(model.model_id)


def _all(store: Store) -> list[Any]:
    page = store.client.search_logged_models([store.experiment], max_results=PAGE)
    found = list(page)
    while page.token:
        page = store.client.search_logged_models([store.experiment], max_results=PAGE, page_token=page.token)
        found += page
    return found


def _send(store: Store, outputs: Path, model: ModelContent, others: Sequence[Any]) -> str:
    run, made_from = store.stored[model.run.key].id, model.made_from
    same = [one for one in others if one.source_run_id == run and one.tags.get(MADE_FROM) == made_from]
    for duplicate in same[1:]:  # of a publisher in another folder, at the same time
        store.client.delete_logged_model(duplicate.model_id)
    if same:
        name: str = same[0].model_id
        if store.checks_artifacts and not is_complete(store, name):
            _upload(store, outputs, model, name)
        return name
    tags = {MADE_FROM: made_from, "variant": model.trained.variant, "fingerprint": model.run.fingerprint}
    tags["seeds"] = " ".join(map(str, model.trained.seeds))
    created = store.client.create_logged_model(
        store.experiment, model.name, source_run_id=run, tags=tags, params=model.run.params, model_type="classifier"
    )
    _upload(store, outputs, model, created.model_id)
    _link(store, model.run, created.model_id)  # before it is finished: otherwise a killed process would leave it out
    store.client.finalize_logged_model(created.model_id, "READY")
    return str(created.model_id)


def is_complete(store: Store, model: str) -> bool:
    """Whether the store has the files of a model."""
    listings = (store.client.list_logged_model_artifacts(model, place) for place in (None, "artifacts/model"))
    names = {item.path for listing in listings for item in listing}
    return {"MLmodel", f"artifacts/model/{folder.CODE}", f"artifacts/model/{trained.DESCRIPTION}"} <= names


def _upload(store: Store, outputs: Path, model: ModelContent, model_id: str) -> None:
    with TemporaryDirectory() as temporary:
        place = Path(temporary) / "model"
        ids = {"model_id": model_id, "run_id": store.stored[model.run.key].id}
        folder.write(model.trained, ids, outputs, place)
        size = sum(path.stat().st_size for path in place.rglob("*"))
        store.on_answer(min(MAX_WAIT_SECONDS - 1, max(FREE_WAIT_SECONDS, size / UPLOAD_RATE)))
        store.client.log_model_artifacts(model_id, str(place))
    store.sent["models"] += 1


def _link(store: Store, run: RunContent, model_id: str) -> None:
    """Show the model on the page of its run, and the run's results on the page of the model."""
    from mlflow.entities import LoggedModelOutput, Metric

    run_id, last = store.stored[run.key].id, max(step for _, step in run.metrics)
    store.client.log_outputs(run_id, [LoggedModelOutput(model_id, last)])
    if "seed" not in run.tags:  # a variant's results are means of its networks, not those of all together
        return
    metrics = [
        Metric(name, value, round(1000 * time), step, model_id=model_id, run_id=run_id)
        for (name, step), (value, time) in run.metrics.items()
        if step == 0  # results of the whole training
    ]
    store.client.log_batch(run_id, metrics)
