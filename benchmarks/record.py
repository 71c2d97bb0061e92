"""Seconds to 99 %: how long LeNet-5 with 61,706 parameters trains until it reads 99 % of the test images, on average.

`make bench-record` measures and records it. Each training is a process of its own, which starts with nothing in memory:
python -m benchmarks.record train SEED THREADS DEVICE PREPARED JUDGES. The recipe was chosen on 5,000 images kept out of
training: python -m benchmarks.record measure --validation shows how it does there, and records nothing.
"""

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from torch.nn import functional
from torch.optim.adamw import adamw

from benchmarks import data, ours, run, write
from lenetlab import dataset, device, files, group, models, params, training

VARIANT = "lenet5"
EPOCHS = 2
BATCH = 128  # computed as two halves, side by side as two seeds are: a third faster on a CPU
HALVES = 2
RATE, WARM_UP = 0.008, 0.2  # AdamW's; it rises in so large a part of the steps, then falls to 0, in straight lines
BETAS = 0.9, 0.99
GAIN = 1.5  # times torch's initial weights, below the output layer
SMOOTHING = 0.1  # of the labels
AVERAGED = 0.1  # the last part of the steps, whose weights are averaged


def train(definition: params.Variant, seed: int, digits: dataset.Digits) -> group.Group:
    """The trained network, as a group whose members share their weights."""
    where = digits.labels.device
    network = models.build(definition, seed).to(where)
    weights = dict(network.named_parameters())
    values = [value.detach() for value in weights.values()]
    for name, value in weights.items():
        if name.endswith("weight") and "output" not in name:
            value.detach().mul_(GAIN)
    together = group.Group([network] * HALVES)
    together.weights = {name: value.expand(HALVES, *value.shape) for name, value in weights.items()}
    first, second, averages = ([torch.zeros_like(value) for value in values] for _ in range(3))
    orders = [torch.randperm(len(digits), generator=training.stream(seed, epoch, "order")) for epoch in range(EPOCHS)]
    batches = torch.cat(orders).to(where).split(BATCH)[: EPOCHS * len(digits) // BATCH]
    averaged = math.ceil(AVERAGED * len(batches))
    settings = {"amsgrad": False, "beta1": BETAS[0], "beta2": BETAS[1], "eps": 1e-8, "weight_decay": 0.0}
    for step, batch in enumerate(batches, start=1):
        images = digits.images.index_select(0, batch).unflatten(0, (HALVES, -1))
        logits = together.train(images, {}).flatten(0, 1)
        loss = functional.cross_entropy(logits, digits.labels.index_select(0, batch), label_smoothing=SMOOTHING)
        gradients = list(torch.autograd.grad(loss, list(weights.values())))
        done = step / len(batches)
        rate = RATE * min(done / WARM_UP, (1 - done) / (1 - WARM_UP))
        counts = [torch.tensor(step - 1.0) for _ in values]
        adamw(values, gradients, first, second, [], counts, foreach=False, lr=rate, maximize=False, **settings)
        if step > len(batches) - averaged:
            for average, value in zip(averages, values, strict=True):
                average.add_(value, alpha=1 / averaged)
    for value, average in zip(values, averages, strict=True):
        value.copy_(average)
    return together


@click.group(help=__doc__.partition("\n")[0])
def main() -> None:
    pass


@main.command("train", help="One training, and what share of the split JUDGES it then reads.")
@click.argument("seed", type=int)
@click.argument("threads", type=int)
@click.argument("place")
@click.argument("prepared", type=Path)
@click.argument("judges", type=click.Choice(["test", "validation"]))
def train_once(seed: int, threads: int, place: str, prepared: Path, judges: str) -> None:
    definition = params.load(ours.PARAMETERS).variants[VARIANT]
    device.pin()
    torch.set_num_threads(threads)
    where = device.resolve(place)
    ready = time.monotonic()
    if where.type == "cuda":
        torch.zeros(1, device=where)  # its start takes seconds, and belongs to the imports
        ready = time.monotonic()
    content = dataset.load(prepared / "train")
    scale = content.normalization(definition.input)
    digits = content.digits("training", definition.input, scale, where)
    _wait(where)
    read = time.monotonic()
    network = train(definition, seed, digits)
    _wait(where)
    ended = time.monotonic()
    judging = content if judges == "validation" else dataset.load(prepared / "test")
    unseen = judging.digits(judges, definition.input, scale, where)
    answers = network.evaluate(unseen.images)[0].argmax(1)
    accuracy = (answers == unseen.labels).double().mean().item()
    seconds = {"reading": read - ready, "training": ended - read, "seconds": ended - ready}
    click.echo(json.dumps({"ready": ready, "accuracy": accuracy, **seconds}))


@main.command(help="All trainings, in turn, on one core, on all of them, and on a GPU if there is one.")
@click.option("--seeds", type=click.IntRange(2), default=10, show_default=True)
@click.option("--validation", is_flag=True, help="train on 55,000 images and judge by the other 5,000; records nothing")
def measure(seeds: int, validation: bool) -> None:
    places = [("1 core", 1, "cpu"), (f"{device.cores()} cores", device.cores(), "cpu")]
    if torch.cuda.is_available():
        places.append((torch.cuda.get_device_name(), 1, "cuda"))
    judges, first = ("validation", 100) if validation else ("test", 0)
    rows: list[dict[str, Any]] = [{"name": name, "measurements": []} for name, _, _ in places]
    with tempfile.TemporaryDirectory(prefix="lenetlab-record-") as folder:
        work = Path(folder)
        data.prepare(data.fetched(work), work / "prepared", validation=5000 if validation else 0)
        for seed in range(first, first + seeds):
            for row, (name, threads, place) in zip(rows, places, strict=True):
                words = (str(seed), str(threads), place, str(work / "prepared"), judges)
                case = run.Case("record", name, (sys.executable, "-m", "benchmarks.record", "train", *words))
                row["measurements"].append({"seed": seed, **run.measure(case)})
                found = row["measurements"][-1]
                click.echo(f"{name}, seed {seed}: {found['training']:.2f} s, {found['accuracy']:.2%}", err=True)
    results = {"machine": run.machine(), "epochs": EPOCHS, "rows": rows}
    click.echo(write.records(results))
    if not validation:
        files.write_json(Path(__file__).with_name("record.json"), results)
        write.document()


def _wait(where: torch.device) -> None:
    """Until the device has done what it was told."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


if __name__ == "__main__":
    main()
