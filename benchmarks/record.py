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
from lenetlab.data import dataset
from lenetlab.networks import build
from lenetlab.settings import params, schema
from lenetlab.storage import files
from lenetlab.training import devices, group, loop

VARIANT = "lenet5"
EPOCHS = 1
BATCH = 128  # computed as two halves, side by side as two seeds are: a third faster on a CPU
HALVES = 2
WARM_UP = 0.2  # part of the steps in which the rates rise in a straight line; then they fall so to 0
RATE, MOMENTUM, ITERATIONS = 0.02, 0.95, 3  # Muon's
ADAM_RATE, BETAS = 0.004, (0.9, 0.99)  # AdamW's
GAIN = 1.5  # times torch's initial weights, below the output layer
SMOOTHING = 0.1  # of the labels
AVERAGED = 0.1  # the last part of the steps, whose weights are averaged


class Descent:
    """Muon for the weights below the output layer, AdamW for the output layer and the biases.

    Muon (Jordan et al. 2024): what momentum has gathered is brought near an orthogonal matrix, and then followed.
    """

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.hidden = {
            name: value for name, value in weights.items() if name.endswith("weight") and "output" not in name
        }
        self.rest = {name: value for name, value in weights.items() if name not in self.hidden}
        self.momenta = {name: torch.zeros_like(value) for name, value in self.hidden.items()}
        self.moments = [[torch.zeros_like(value) for value in self.rest.values()] for _ in range(2)]

    def step(self, gradients: dict[str, torch.Tensor], share: float, earlier: int) -> None:
        """Change the weights, at this share of the highest rates; `earlier` counts the steps before this one."""
        for name, value in self.hidden.items():
            momentum = self.momenta[name].mul_(MOMENTUM).add_(gradients[name])
            ahead = gradients[name].add(momentum, alpha=MOMENTUM).flatten(1)
            rate = RATE * share * math.sqrt(max(1, ahead.shape[0] / ahead.shape[1]))
            value.sub_(near_orthogonal(ahead).view_as(value), alpha=rate)
        settings = {"amsgrad": False, "beta1": BETAS[0], "beta2": BETAS[1], "eps": 1e-8, "weight_decay": 0.0}
        counts = [torch.tensor(float(earlier)) for _ in self.rest]
        theirs = [gradients[name] for name in self.rest]
        settings |= {"foreach": False, "lr": ADAM_RATE * share, "maximize": False}
        adamw(list(self.rest.values()), theirs, *self.moments, [], counts, **settings)


def near_orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix with all singular values brought near 1, by Newton and Schulz's iteration with Jordan's polynomial."""
    flow = matrix / (matrix.norm() + 1e-7)
    if turned := flow.shape[0] > flow.shape[1]:
        flow = flow.T
    for _ in range(ITERATIONS):
        square = flow @ flow.T
        flow = 3.4445 * flow + (-4.7750 * square + 2.0315 * square @ square) @ flow
    return flow.T if turned else flow


def train(definition: schema.Variant, seed: int, digits: dataset.Digits) -> group.NetworkGroup:
    """The trained network, as a group whose members share their weights."""
    where = digits.labels.device
    network = build.build_network(definition, seed).to(where)
    weights = dict(network.named_parameters())
    values = {name: value.detach() for name, value in weights.items()}
    averages = {name: torch.zeros_like(value) for name, value in values.items()}
    descent = Descent(values)
    for value in descent.hidden.values():
        value.mul_(GAIN)
    together = group.NetworkGroup([network] * HALVES)
    together.weights = {name: value.expand(HALVES, *value.shape) for name, value in weights.items()}
    streams = [loop.random_generator(seed, epoch, "order") for epoch in range(math.ceil(EPOCHS))]
    order = torch.cat([torch.randperm(len(digits), generator=stream) for stream in streams]).to(where)
    batches = order.split(BATCH)[: int(EPOCHS * len(digits)) // BATCH]
    averaged = math.ceil(AVERAGED * len(batches))
    for step, batch in enumerate(batches, start=1):
        images = digits.images.index_select(0, batch).unflatten(0, (HALVES, -1))
        logits = together.training_logits(images, {}).flatten(0, 1)
        loss = functional.cross_entropy(logits, digits.labels.index_select(0, batch), label_smoothing=SMOOTHING)
        gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
        done = step / len(batches)
        descent.step(gradients, min(done / WARM_UP, (1 - done) / (1 - WARM_UP)), step - 1)
        if step > len(batches) - averaged:
            for name, value in values.items():
                averages[name].add_(value, alpha=1 / averaged)
    for name, value in values.items():
        value.copy_(averages[name])
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
    devices.make_deterministic()
    torch.set_num_threads(threads)
    where = devices.resolve(place)
    torch.zeros(1, device=where)  # a GPU's start takes seconds, and belongs to the imports
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
    answers = network.evaluation_logits(unseen.images)[0].argmax(1)
    accuracy = (answers == unseen.labels).double().mean().item()
    seconds = {"reading": read - ready, "training": ended - read, "seconds": ended - ready}
    click.echo(json.dumps({"ready": ready, "accuracy": accuracy, **seconds}))


@main.command(help="All trainings, in turn, on one core, on all of them, and on a GPU if there is one.")
@click.option("--seeds", type=click.IntRange(2), default=10, show_default=True)
@click.option("--validation", is_flag=True, help="train on 55,000 images and judge by the other 5,000; records nothing")
def measure(seeds: int, validation: bool) -> None:
    places = [("1 core", 1, "cpu"), (f"{devices.cores()} cores", devices.cores(), "cpu")]
    if torch.cuda.is_available():
        places.append((torch.cuda.get_device_name(), 1, "cuda"))
    judges, first = ("validation", 100) if validation else ("test", 0)
    rows: list[dict[str, Any]] = [{"name": name, "measurements": []} for name, _, _ in places]
    with tempfile.TemporaryDirectory(prefix="lenetlab-record-") as folder:
        work = Path(folder)
        data.prepare_folder(data.fetched(work), work / "prepared", validation=5000 if validation else 0)
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
