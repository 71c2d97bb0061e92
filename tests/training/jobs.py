"""Small trainings for the tests of this folder. Their settings do not depend on the study that params.yaml declares."""

from functools import cache
from pathlib import Path

import torch

from lenetlab.data import dataset
from lenetlab.settings import params, schema, study_schema
from lenetlab.storage import paths
from lenetlab.storage.digests import sha256_file
from lenetlab.training import execution, loop, run_files

PARAMS = params.load(Path(__file__).parents[2] / "params.yaml")
CATALOGUE = PARAMS.variants
TRAINING = schema.Training(
    images=0,
    epochs=3,
    batch_size=16,
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    schedule="constant",
    weight_averaging=0.0,
)
CPU = torch.device("cpu")
# A network of which seed 5 hardly stays finite in a training with 48 images, and seed 4 does not. The first weights of
# seed 5 diverge if they get the learning rate of a later epoch.
UNSTABLE: dict[str, object] = {"channels": (3, 4), "hidden": (20, 10), "dropout": 0.0}
UNSTABLE_TRAINING: dict[str, object] = {"epochs": 4, "batch_size": 8, "learning_rate": 20.0, "schedule": "one-cycle"}

load_prepared = cache(dataset.load)


def changed_training(**settings: object) -> schema.Training:
    return schema.Training.model_validate(TRAINING.model_dump() | settings)


def changed_variant(name: str, **settings: object) -> schema.Variant:
    """A variant of the catalogue with some keys of its blocks `input`, `model` and `regularization` changed."""
    variant = CATALOGUE[name]
    for block in ("input", "model", "regularization"):
        keys = settings.keys() & type(getattr(variant, block)).model_fields.keys()
        changes = {key: settings.pop(key) for key in keys}
        variant = variant.model_copy(update={block: getattr(variant, block).model_copy(update=changes)})
    assert not settings
    return variant


def cnn_variant(*layers: dict[str, object], size: int = 28) -> schema.Variant:
    """A cnn with these layers, as params.yaml would list them."""
    model = schema.CNNSettings.model_validate({"name": "cnn", "layers": list(layers)})
    return changed_variant("lenet5-28", size=size).model_copy(update={"model": model})


def make_job(name: str = "lenet5-regularized", seed: int = 3, **settings: object) -> run_files.TrainingJob:
    """A job of a variant of the catalogue. Settings may be keys of `training` or of a block of the variant."""
    training = {key: settings.pop(key) for key in settings.keys() & schema.Training.model_fields.keys()}
    return run_files.TrainingJob(
        changed_variant(name, **settings),
        changed_training(**training),
        seed,
        record={"variant": name, "seed": seed},
        origin={},
    )


def make_study(seeds: tuple[int, ...], **training: object) -> study_schema.Study:
    """A study on the CPU with all variants of the catalogue and these seeds."""
    settings = changed_training(**{"epochs": 2, "batch_size": 32, "images": 200, **training})
    changes = {"device": "cpu", "seeds": seeds, "study": ("lenet5", "mlp"), "comparisons": {}, "training": settings}
    return PARAMS.model_copy(update=changes)


def load_digits(
    prepared: Path, job: run_files.TrainingJob, split: str = "training", limit: int = 200
) -> dataset.Examples:
    """The first images of a split, as the job reads them."""
    content, form = load_prepared(prepared / "train"), job.variant.input
    examples = content.examples(split, form, content.normalization(form), CPU)
    return dataset.Examples(examples.images[:limit], examples.labels[:limit], examples.black)


def train(prepared: Path, jobs: list[run_files.TrainingJob], folders: list[Path]) -> list[dict]:
    """Train jobs as one group on 200 images, with 50 validation images; returns all events."""
    training, validation = load_digits(prepared, jobs[0]), load_digits(prepared, jobs[0], "validation", 50)
    return list(loop.train_jobs(jobs, training, validation, folders))


def train_one(prepared: Path, job: run_files.TrainingJob, folder: Path, epochs: int | None = None) -> list[dict]:
    """Train one job, or stop it after so many epochs; returns the events of the epochs."""
    training, validation = load_digits(prepared, job), load_digits(prepared, job, "validation", 50)
    events = loop.train_jobs([job], training, validation, [folder])
    if epochs is not None:
        return [next(events) for _ in range(epochs)]
    return [event for event in events if event["event"] == "epoch"]


def fingerprint_and_weights(prepared: Path, folder: Path) -> tuple[str, str]:
    """The fingerprint of a short training of lenet5, and the SHA-256 of its weights."""
    study = make_study(seeds=(3,), epochs=1, images=64)
    (job,) = execution.plan_training(study, "lenet5", load_prepared(prepared / "train")).jobs
    train_one(prepared, job, folder)
    return job.record["fingerprint"], sha256_file(folder / "epoch-01.safetensors")


def repeatable_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a job that depend only on data, settings, seed and code, by name."""
    files = [*folder.glob("epoch-*"), folder / paths.CURVES, folder / paths.RUN_RECORD]
    return {path.name: sha256_file(path) for path in files}
