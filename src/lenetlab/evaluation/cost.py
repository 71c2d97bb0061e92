"""The stage cost: what each variant of the study costs in operations, time and memory, under equal conditions."""

import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from lenetlab.data import dataset
from lenetlab.networks import build, layer_table
from lenetlab.settings import schema, study_schema
from lenetlab.storage import code, files, provenance
from lenetlab.storage.digests import sha256_json
from lenetlab.training import devices, group, loop, parallel, randomness, run_files

WARM_UP = 3  # calls before each measurement that do not count
LATENCY_CALLS = 200  # of one image each; the latency is their median
THROUGHPUT_CALLS = 8  # of one batch each
THROUGHPUT_BATCH = 250  # images
MAX_LEARNING_RATE = 0.001  # a step takes as long at any rate, but at a high one the loss may become NaN

Measurement = dict[str, float | None]  # one round of one variant, by the keys of costs.json


def measure(study: study_schema.Study, prepared_folder: Path) -> dict[str, Any]:
    """The content of costs.json: the conditions, and for each variant and measure one value per round.

    Each measurement runs in a new process, so that it has its own memory. Rounds go through the study forwards and
    backwards in turn, so that a machine that becomes slower affects all variants alike. That is why all variants are
    measured even if one is new: seconds of different days would make a false ratio. In a DVC experiment, as many rounds
    and batches are measured as `cost.in_experiments` says.
    """
    settings = _acceptable(study)[-1]
    short = settings != study.cost
    study, device = study.model_copy(update={"cost": settings}), devices.resolve(study.device)
    operations = {name: count_operations(study.variants[name]) for name in study.study}
    rounds: dict[str, list[Measurement]] = {name: [] for name in study.study}
    with tqdm(total=study.cost.rounds * len(rounds), desc="cost", unit="measurement", dynamic_ncols=True) as bar:
        for number in range(study.cost.rounds):
            for name in study.study[:: -1 if number % 2 else 1]:
                bar.set_postfix_str(name)
                rounds[name].append(_measure_in_new_process(study, name, device, prepared_folder))
                bar.update()
    costs = {
        "conditions": {
            "device": devices.describe(device),
            "training_images": _training_images(prepared_folder),
            "threads": 1,
            "side_by_side": group.MAX_MEMBERS[device.type],
            "processes": parallel.process_count(device, sys.maxsize),
            "batch": THROUGHPUT_BATCH,
            "rounds": study.cost.rounds,
            "batches": study.cost.batches,
            "short": short,
        },
        "origin": provenance.origin(),
        "recipes": _recipes(study),
        "variants": {
            name: {**operations[name], **{key: [values[key] for values in measured] for key in measured[0]}}
            for name, measured in rounds.items()
        },
        "fingerprint": fingerprint(study, settings, prepared_folder),
    }
    return {**costs, "sha256": sha256_json(costs)}


def keep(costs: dict[str, Any], folder: Path) -> None:
    """Keep a measurement for `find_kept`, beside those of other variants and conditions."""
    name = sha256_json([costs["fingerprint"], costs["recipes"]])
    files.write_json(folder / f"{name}.json", costs)


def find_kept(folder: Path, study: study_schema.Study, prepared_folder: Path) -> dict[str, Any] | None:
    """The content of costs.json from an intact measurement in this folder, if what decides it is as it was then.

    It may have measured more variants than the study has, since each measurement is a process of its own. The newest
    comes first; in a DVC experiment, a full one before a short one.
    """
    recipes = _recipes(study)
    newest_first = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    measured = list(filter(None, map(_read_intact, newest_first)))
    complete = [costs for costs in measured if recipes.items() <= costs["recipes"].items()]
    for settings in _acceptable(study):
        for costs in complete:
            if costs["fingerprint"] == fingerprint(study, settings, prepared_folder):
                variants = {name: costs["variants"][name] for name in study.study}
                kept = {**costs, "recipes": recipes, "variants": variants}
                return {**kept, "sha256": sha256_json(kept)}
    return None


def fingerprint(study: study_schema.Study, settings: study_schema.CostSettings, prepared_folder: Path) -> str:
    """SHA-256 of all that decides a measurement, except what is measured."""
    return sha256_json(
        {
            "cost": {"rounds": settings.rounds, "batches": settings.batches},
            "training_images": _training_images(prepared_folder),
            "device": devices.describe(devices.resolve(study.device)),
            "numerics": devices.numerics(),
            "torch": torch.__version__,
            "code": code.code_digest(__name__),
        }
    )


def _recipes(study: study_schema.Study) -> dict[str, str]:
    """What is measured: for each variant the settings that decide its cost, which seeds and epochs do not."""
    return {name: provenance.cost_recipe(study, name) for name in study.study}


def _acceptable(study: study_schema.Study) -> list[study_schema.CostSettings]:
    """How precise a measurement may be, the most precise first; the last one is how this stage would measure."""
    return [study.cost, study.cost.shortened] if os.environ.get("DVC_EXP_NAME") else [study.cost]


def _read_intact(path: Path) -> dict[str, Any] | None:
    """A kept measurement; None if it is damaged."""
    try:
        costs: dict[str, Any] = files.read_json(path)
        return costs if costs.pop("sha256") == sha256_json(costs) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _training_images(prepared_folder: Path) -> int:
    return int(files.read_json(prepared_folder / "profile.json")["splits"]["training"]["images"])


def count_operations(variant: schema.Variant) -> dict[str, int]:
    """Parameters, and multiply-accumulates for one image; both follow from the definition."""
    layers = layer_table.layer_table(variant)
    return {key: sum(layer[key] for layer in layers) for key in ("parameters", "multiply_accumulates")}


def _measure_in_new_process(
    study: study_schema.Study, name: str, device: torch.device, prepared_folder: Path
) -> Measurement:
    task = partial(
        _measurement, study.variants[name], study.training_of(name), device, prepared_folder, study.cost.batches
    )
    method = "fork" if device.type == "cpu" else "spawn"  # CUDA does not work in a forked process
    measurement: Measurement
    [(_, measurement)] = parallel.run_tasks([task], 1, method)
    return measurement


def _measurement(
    variant: schema.Variant, settings: schema.Training, device: torch.device, prepared_folder: Path, batches: int
) -> Iterator[Measurement]:
    """A task for `parallel.run_tasks`: one round of one variant."""
    devices.make_deterministic()
    prepared = dataset.load(prepared_folder)
    normalization = prepared.normalization(variant.input)
    examples = prepared.examples("training", variant.input, normalization, device, settings.images)
    training_times = time_training(variant, settings, examples, batches)
    memory = {
        "process_memory_bytes": devices.peak_memory(torch.device("cpu")),
        # devices other than CUDA share the main memory
        "device_memory_bytes": devices.peak_memory(device) if device.type == "cuda" else None,
    }
    yield {**training_times, **memory, **_time_inference(build.build_network(variant, seed=0).to(device), examples)}


def time_training(
    variant: schema.Variant, settings: schema.Training, examples: dataset.Examples, batches: int
) -> dict[str, float]:
    """Seconds per epoch of one seed in a full group, estimated from some batches.

    `on_processor` is the share of that time in which this process had a processor: well below 1 on a busy machine.
    """
    device = examples.labels.device
    settings = settings.model_copy(update={"learning_rate": min(settings.learning_rate, MAX_LEARNING_RATE)})
    seeds = range(group.MAX_MEMBERS[device.type])
    jobs = [run_files.TrainingJob(variant, settings, seed, {}, {}) for seed in seeds]
    state = loop.initial_state(jobs, device)

    drawing = _Stopwatch(device)
    draws = randomness.draw(variant, state, len(examples), device)
    drawing.stop()

    full_batches = max(1, len(examples) // settings.batch_size)  # the last batch of an epoch may be smaller
    for step in range(WARM_UP):
        loop.train_step(jobs[0], state, examples, draws, step % full_batches)
    stepping = _Stopwatch(device)
    for step in range(batches):
        loop.train_step(jobs[0], state, examples, draws, step % full_batches)
    stepping.stop()

    epoch = drawing.seconds + loop.steps_per_epoch(jobs[0], examples) * stepping.seconds / batches
    on_processor = (drawing.on_processor + stepping.on_processor) / (drawing.seconds + stepping.seconds)
    return {"seconds_per_epoch": epoch / len(jobs), "on_processor": min(1.0, on_processor)}


@torch.inference_mode()
def _time_inference(network: nn.Module, examples: dataset.Examples) -> dict[str, float]:
    """Median seconds for a single image, and images per second in batches, by the plain network."""
    network.eval()
    device, batch = examples.labels.device, examples.images[:THROUGHPUT_BATCH]
    for _ in range(WARM_UP):
        network(examples.images[:1]), network(batch)
    latencies = []
    for call in range(LATENCY_CALLS):
        image = examples.images[call % len(examples)].unsqueeze(0)
        watch = _Stopwatch(device)
        network(image)
        watch.stop()
        latencies.append(watch.seconds)
    watch = _Stopwatch(device)
    for _ in range(THROUGHPUT_CALLS):
        network(batch)
    watch.stop()
    return {"latency_seconds": median(latencies), "images_per_second": THROUGHPUT_CALLS * len(batch) / watch.seconds}


class _Stopwatch:
    """Seconds between its creation and `stop`, in all and on a processor; waits until the device has finished."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.processor_start = time.process_time()
        self.start = self._now()

    def stop(self) -> None:
        self.seconds = self._now() - self.start
        self.on_processor = time.process_time() - self.processor_start

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()
