"""A model of MLflow as a folder on disk: the champion, or that of a run."""

from pathlib import Path

from lenetlab.errors import UserError
from lenetlab.tracking.connection import reporting_mlflow_errors, store_location
from lenetlab.tracking.models import logged, registry
from lenetlab.tracking.store import open_store


def fetch(name: str, data: str, folder: Path) -> Path:
    """Download the champion of a data set, or the model of the run with this id or name; returns the model's folder."""
    folder = folder.absolute()
    with reporting_mlflow_errors(), open_store(store_location()) as store:
        if name == registry.ALIAS:
            model = registry.champion_model(store, registry.name_of(data))
        else:
            run = store.find_run(name).info.run_id
            found = [one for one in logged.present(store) if one.source_run_id == run]
            if not found:
                raise UserError(f"MLflow's run {name!r} has no model; lenetlab sync logs those of the present outputs")
            model = found[-1].model_id
        artifacts = store.client.mlflow.artifacts.download_artifacts(
            f"{registry.SOURCE}{model}", dst_path=str(folder), tracking_uri=store.location.uri
        )
    return Path(artifacts) / "artifacts" / "model"
