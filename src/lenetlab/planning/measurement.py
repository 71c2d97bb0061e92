"""A short measurement of how fast the variants of a study train; it needs no data."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from lenetlab.data import dataset
from lenetlab.evaluation import cost
from lenetlab.settings import schema, study_schema
from lenetlab.storage import provenance
from lenetlab.training import devices, group, parallel

IMAGES = 1280  # that are trained on per variant: 20 batches of 64


def measure(study: study_schema.Study, training_images: int) -> dict[str, Any]:
    """What `duration` reads in costs.json. Variants are measured on all processors at once, as seeds are trained."""
    device = devices.resolve(study.device)
    tasks = [
        partial(_time_epoch, study.variants[name], study.training_of(name), device, training_images)
        for name in study.study
    ]
    method = "fork" if device.type == "cpu" else "spawn"  # CUDA does not work in a forked process
    measured = dict(parallel.run_tasks(tasks, parallel.process_count(device, len(tasks)), method))
    return {
        "conditions": {
            "device": devices.describe(device),
            "training_images": training_images,
            "side_by_side": group.MAX_MEMBERS[device.type],
            "processes": parallel.process_count(device, sys.maxsize),
        },
        "recipes": {name: provenance.cost_recipe(study, name) for name in study.study},
        "variants": {
            name: {key: [value] for key, value in measured[place].items()} for place, name in enumerate(study.study)
        },
    }


def _time_epoch(
    variant: schema.Variant, settings: schema.Training, device: torch.device, training_images: int
) -> Iterator[dict[str, float]]:
    """A task for `parallel.run_tasks`: time a part of an epoch."""
    images = min(settings.images or training_images, training_images)
    # an image of a larger batch takes as long
    settings = settings.model_copy(update={"batch_size": min(settings.batch_size, IMAGES, images)})
    batches = min(IMAGES, images) // settings.batch_size
    count, size = batches * settings.batch_size, variant.input.size
    kind = variant.images
    examples = dataset.Examples(
        images=torch.rand(count, kind.channels, size, size).to(device),
        labels=torch.randint(kind.classes, (count,)).to(device),
        black=torch.zeros(kind.channels, 1, 1).to(device),
    )
    measured = cost.time_training(variant, settings, examples, batches)
    yield {**measured, "seconds_per_epoch": measured["seconds_per_epoch"] * images / count}
