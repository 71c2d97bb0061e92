"""Seconds to 99 %: how long LeNet-5 (61,706 parameters) must train to reach a mean test accuracy of 99 %.

`make bench-record` measures and records it. Each training is a separate process, which starts with nothing in memory:
python -m benchmarks.record train SEED THREADS DEVICE PREPARED SPLIT. The recipe was chosen on 5,000 images kept out of
training: python -m benchmarks.record measure --validation shows its accuracy there, and records nothing.
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
from lenetlab.training import devices, group, randomness

VARIANT = "lenet5"
EPOCHS = 1
BATCH = 128  # computed as two halves side by side, like two seeds: a third faster on a CPU
HALVES = 2
WARM_UP = 0.2  # share of the steps in which the learning rates rise linearly; then they fall linearly to 0
RATE, MOMENTUM, ITERATIONS = 0.02, 0.95, 3  # Muon's
ADAM_RATE, BETAS = 0.004, (0.9, 0.99)  # AdamW's
GAIN = 1.5  # factor of torch's initial weights below the output layer
SMOOTHING = 0.1  # label smoothing
AVERAGED = 0.1  # share of the steps, the last ones, whose weights are averaged


class MuonWithAdamW:
    """Muon for the weights below the output layer, AdamW for the output layer and the biases.

    Muon (Jordan et al. 2024) steps along the nearly orthogonalized momentum.
    """

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.hidden = {
            name: value for name, value in weights.items() if name.endswith("weight") and "output" not in name
        }
        self.rest = {name: value for name, value in weights.items() if name not in self.hidden}
        self.momenta = {name: torch.zeros_like(value) for name, value in self.hidden.items()}
        self.moments = [[torch.zeros_like(value) for value in self.rest.values()] for _ in range(2)]

    def step(self, gradients: dict[str, torch.Tensor], share: float, steps_before: int) -> None:
        """Change the weights in place, with this share of the highest learning rates."""
        for name, value in self.hidden.items():
            momentum = self.momenta[name].mul_(MOMENTUM).add_(gradients[name])
            nesterov = gradients[name].add(momentum, alpha=MOMENTUM).flatten(1)
            rate = RATE * share * math.sqrt(max(1, nesterov.shape[0] / nesterov.shape[1]))
            value.sub_(near_orthogonal(nesterov).view_as(value), alpha=rate)
        settings = {"amsgrad": False, "beta1": BETAS[0], "beta2": BETAS[1], "eps": 1e-8, "weight_decay": 0.0}
        counts = [torch.tensor(float(steps_before)) for _ in self.rest]
        rest_gradients = [gradients[name] for name in self.rest]
        settings |= {"foreach": False, "lr": ADAM_RATE * share, "maximize": False}
        adamw(list(self.rest.values()), rest_gradients, *self.moments, [], counts, **settings)


def near_orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Bring all singular values near 1, by a Newton-Schulz iteration with the polynomial of Jordan et al. 2024."""
    flow = matrix / (matrix.norm() + 1e-7)
    if transposed := flow.shape[0] > flow.shape[1]:
        flow = flow.T
    for _ in range(ITERATIONS):
        square = flow @ flow.T
        flow = 3.4445 * flow + (-4.7750 * square + 2.0315 * square @ square) @ flow
    return flow.T if transposed else flow


def train(definition: schema.Variant, seed: int, examples: dataset.Examples) -> group.NetworkGroup:
    """Train LeNet-5; returns it as a group whose members share their weights."""
    where = examples.labels.device
    network = build.build_network(definition, seed).to(where)
    weights = dict(network.named_parameters())
    values = {name: value.detach() for name, value in weights.items()}
    averages = {name: torch.zeros_like(value) for name, value in values.items()}
    optimizer = MuonWithAdamW(values)
    for value in optimizer.hidden.values():
        value.mul_(GAIN)
    together = group.NetworkGroup([network] * HALVES)
    together.weights = {name: value.expand(HALVES, *value.shape) for name, value in weights.items()}
    streams = [randomness.generator(seed, epoch, "order") for epoch in range(math.ceil(EPOCHS))]
    order = torch.cat([torch.randperm(len(examples), generator=stream) for stream in streams]).to(where)
    batches = order.split(BATCH)[: int(EPOCHS * len(examples)) // BATCH]
    averaged = math.ceil(AVERAGED * len(batches))
    for step, batch in enumerate(batches, start=1):
        images = examples.images.index_select(0, batch).unflatten(0, (HALVES, -1))
        logits = together.training_logits(images, {}).flatten(0, 1)
        loss = functional.cross_entropy(logits, examples.labels.index_select(0, batch), label_smoothing=SMOOTHING)
        gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))
        done = step / len(batches)
        optimizer.step(gradients, min(done / WARM_UP, (1 - done) / (1 - WARM_UP)), step - 1)
        if step > len(batches) - averaged:
            for name, value in values.items():
                averages[name].add_(value, alpha=1 / averaged)
    for name, value in values.items():
        value.copy_(averages[name])
    return together


@click.group(help=__doc__.partition("\n")[0])
def main() -> None:
    pass


@main.command("train", help="Train once, and print seconds and the accuracy on the split SPLIT.")
@click.argument("seed", type=int)
@click.argument("threads", type=int)
@click.argument("place")
@click.argument("prepared", type=Path)
@click.argument("split", type=click.Choice(["test", "validation"]))
def train_once(seed: int, threads: int, place: str, prepared: Path, split: str) -> None:
    definition = params.load(ours.PARAMETERS).variants[VARIANT]
    devices.make_deterministic()
    torch.set_num_threads(threads)
    where = devices.resolve(place)
    torch.zeros(1, device=where)  # starting a GPU takes seconds, and is counted as part of the imports
    ready = time.monotonic()
    content = dataset.load(prepared / "train")
    scale = content.normalization(definition.input)
    examples = content.examples("training", definition.input, scale, where)
    _synchronize(where)
    read = time.monotonic()
    network = train(definition, seed, examples)
    _synchronize(where)
    ended = time.monotonic()
    judging = content if split == "validation" else dataset.load(prepared / "test")
    unseen = judging.examples(split, definition.input, scale, where)
    answers = network.evaluation_logits(unseen.images)[0].argmax(1)
    accuracy = (answers == unseen.labels).double().mean().item()
    seconds = {"reading": read - ready, "training": ended - read, "seconds": ended - ready}
    click.echo(json.dumps({"ready": ready, "accuracy": accuracy, **seconds}))


@main.command(help="Train all seeds in turn: on one core, on all cores, and on a GPU if there is one.")
@click.option("--seeds", type=click.IntRange(2), default=10, show_default=True)
@click.option(
    "--validation", is_flag=True, help="train on 55,000 images and evaluate on the other 5,000; records nothing"
)
def measure(seeds: int, validation: bool) -> None:
    places = [("1 core", 1, "cpu"), (f"{devices.cores()} cores", devices.cores(), "cpu")]
    if torch.cuda.is_available():
        places.append((torch.cuda.get_device_name(), 1, "cuda"))
    split, first = ("validation", 100) if validation else ("test", 0)
    rows: list[dict[str, Any]] = [{"name": name, "measurements": []} for name, _, _ in places]
    with tempfile.TemporaryDirectory(prefix="lenetlab-record-") as folder:
        work = Path(folder)
        data.prepare_folder(data.fetched(work), work / "prepared", validation=5000 if validation else 0)
        for seed in range(first, first + seeds):
            for row, (name, threads, place) in zip(rows, places, strict=True):
                words = (str(seed), str(threads), place, str(work / "prepared"), split)
                case = run.Case("record", name, (sys.executable, "-m", "benchmarks.record", "train", *words))
                row["measurements"].append({"seed": seed, **run.measure(case)})
                latest = row["measurements"][-1]
                click.echo(f"{name}, seed {seed}: {latest['training']:.2f} s, {latest['accuracy']:.2%}", err=True)
    results = {"machine": run.machine(), "epochs": EPOCHS, "rows": rows}
    click.echo(write.record_table(results))
    if not validation:
        files.write_json(Path(__file__).with_name("record.json"), results)
        write.update_document()


def _synchronize(where: torch.device) -> None:
    """Wait until the device has finished all work."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


if __name__ == "__main__":
    main()
