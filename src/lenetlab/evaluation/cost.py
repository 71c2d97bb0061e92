"""What the variants of a study cost, under the same conditions: one after another, round by round, on one thread."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from lenetlab.data import dataset
from lenetlab.networks import build, layer_table
from lenetlab.settings import schema
from lenetlab.storage import files, provenance
from lenetlab.training import devices, group, loop, parallel, run_files

BATCH = 250  # images that are read at once
READINGS = 200  # of one image; their median is the latency
BATCHES = 8  # that the throughput is taken from
TAME = 0.001  # the highest learning rate here: steps take as long at any, and a training that diverges would end
WARM_UP = 3  # calls that do not count


def measure(study: schema.Study, prepared_folder: Path) -> dict[str, Any]:
    """`costs.json`: the conditions, and by variant a list of one figure per round for each measure.

    Every figure is taken in a process of its own, so that no variant's memory counts for another; rounds go through the
    study forwards and backwards in turn, so that a machine that slows down slows all alike.
    """
    where = devices.resolve(study.device)
    variants = {name: _defined(study.variants[name]) for name in study.study}
    measured: dict[str, list[dict[str, float | None]]] = {name: [] for name in study.study}
    with tqdm(total=study.cost.rounds * len(variants), desc="cost", unit="measurement", dynamic_ncols=True) as bar:
        for number in range(study.cost.rounds):
            for name in study.study[:: -1 if number % 2 else 1]:
                bar.set_postfix_str(name)
                asked = study.variants[name], study.training_of(name), str(where), prepared_folder, study.cost.batches
                measured[name].append(_apart(_measured, *asked))
                bar.update()
    return {
        "conditions": {
            "device": devices.describe(where),
            "training_images": files.read_json(prepared_folder / "profile.json")["splits"]["training"]["images"],
            "threads": 1,
            "side_by_side": group.MAX_MEMBERS[where.type],
            "batch": BATCH,
            "rounds": study.cost.rounds,
            "batches": study.cost.batches,
        },
        "origin": provenance.origin(),
        "variants": {
            name: {**variants[name], **{key: [one[key] for one in rounds] for key in rounds[0]}}
            for name, rounds in measured.items()
        },
    }


def _defined(variant: schema.Variant) -> dict[str, int]:
    """What follows from the definition alone."""
    layers = layer_table.layer_table(build.build_network(variant, seed=0), variant.input.size)
    return {key: sum(layer[key] for layer in layers) for key in ("parameters", "multiply_accumulates")}


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a new process, which dies with this one. A GPU cannot be used after a fork."""
    method = "fork" if arguments[2] == "cpu" else "spawn"
    [(_, found)] = parallel.run_tasks([partial(_once, function, *arguments)], 1, method)
    return found


def _once(function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    yield function(*arguments)


def _measured(
    variant: schema.Variant, settings: schema.Training, where: str, prepared_folder: Path, batches: int
) -> dict[str, float | None]:
    """One round of one variant, with nothing of another in memory."""
    devices.make_deterministic()
    place = torch.device(where)
    prepared = dataset.load(prepared_folder)
    scale = prepared.normalization(variant.input)
    digits = prepared.digits("training", variant.input, scale, place, settings.images)
    trained = _training(variant, settings, digits, batches)
    memory = {
        "process_memory_bytes": devices.peak_memory(torch.device("cpu")),
        # other devices share the main memory
        "device_memory_bytes": devices.peak_memory(place) if place.type == "cuda" else None,
    }
    return {**trained, **memory, **_reading(build.build_network(variant, seed=0).to(place), digits)}


def _training(
    variant: schema.Variant, settings: schema.Training, digits: dataset.Digits, batches: int
) -> dict[str, float]:
    """Seconds of an epoch, of one seed among as many as are trained side by side; from some of its batches.

    `on_processor` is the share of that time in which this process had a processor: much less than 1 on a busy machine.
    """
    where = digits.labels.device
    settings = settings.model_copy(update={"learning_rate": min(settings.learning_rate, TAME)})
    runs = [run_files.TrainingJob(variant, settings, seed, {}, {}) for seed in range(group.MAX_MEMBERS[where.type])]
    state, steps = loop.initial_state(runs, where), loop.steps_per_epoch(runs[0], digits)
    began, worked = _now(where), time.process_time()
    chance = loop.draw_randomness(variant, state, len(digits), where)
    drawn = _now(where)
    waited, full = worked - time.process_time() + drawn - began, max(1, len(digits) // settings.batch_size)
    for step in range(WARM_UP):
        loop.train_step(runs[0], state, digits, chance, step % full)
    start, worked = _now(where), time.process_time()
    for step in range(batches):
        loop.train_step(runs[0], state, digits, chance, step % full)
    each = (_now(where) - start) / batches
    waited += batches * each - (time.process_time() - worked)
    return {
        "seconds_per_epoch": (drawn - began + steps * each) / len(runs),
        "on_processor": min(1.0, 1 - waited / (drawn - began + batches * each)),
    }


@torch.inference_mode()
def _reading(network: nn.Module, digits: dataset.Digits) -> dict[str, float]:
    """Seconds until one image is read, and images per second where many are read at once, by the plain network."""
    network.eval()
    where, batch = digits.labels.device, digits.images[:BATCH]
    for _ in range(WARM_UP):
        network(digits.images[:1]), network(batch)
    singles = []
    for number in range(READINGS):
        image = digits.images[number % len(digits)].unsqueeze(0)
        began = _now(where)
        network(image)
        singles.append(_now(where) - began)
    began = _now(where)
    for _ in range(BATCHES):
        network(batch)
    return {"latency_seconds": median(singles), "images_per_second": BATCHES * len(batch) / (_now(where) - began)}


def _now(where: torch.device) -> float:
    """Seconds, when the device has done what it was told."""
    if where.type != "cpu":
        torch.accelerator.synchronize(where)
    return time.perf_counter()
