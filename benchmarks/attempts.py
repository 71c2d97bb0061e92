"""Time alternative ways to compute a training step beside the way that lenetlab uses, in turn, in one process.

`make bench-attempts` measures and records them and writes their tables in docs/performance.md.
"""

import ctypes
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import click
import torch
from torch.nn import functional
from torch.optim.sgd import sgd

from benchmarks import ours, run, write
from lenetlab.networks import build
from lenetlab.settings import params, schema
from lenetlab.storage import files
from lenetlab.training import autograd_functions, devices, group

BATCH, STEPS, SEEDS = 64, 20, 3

Step = Callable[[], Any]


@dataclass(frozen=True)
class Attempt:
    """A way to compute a step: how to make it, how many seeds it trains, and what is changed while it runs."""

    name: str
    make: Callable[[], Step]
    seeds: int = SEEDS
    changed: Callable[[], AbstractContextManager[Any]] = nullcontext


def random_batch(seeds: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images (seeds, BATCH, 1, 32, 32) and random labels (seeds, BATCH)."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(seeds, BATCH, 1, 32, 32, generator=generator)
    return pixels, torch.randint(0, 10, (seeds, BATCH), generator=generator)


def definition(variant: str = "lenet5") -> schema.Variant:
    return params.load(ours.PARAMETERS).variants[variant]


def grouped(seeds: int = SEEDS, variant: str = "lenet5") -> Step:
    """Several seeds as one group, as in `lenetlab.training`."""
    together = group.NetworkGroup([build.build_network(definition(variant), seed) for seed in range(seeds)])
    pixels, labels = random_batch(seeds)
    kept = {name: torch.rand(seeds, BATCH, width) >= rate for name, (width, rate) in together.dropout_layers().items()}

    def loss() -> torch.Tensor:
        logits = together.training_logits(pixels, kept).flatten(0, 1)
        return functional.cross_entropy(logits, labels.flatten(), reduction="sum") / BATCH

    return _sgd_step(loss, list(together.weights.values()))


def plain(layout: torch.memory_format = torch.contiguous_format, compiled: bool = False, halved: bool = False) -> Step:
    """One seed with the ordinary module."""
    network = build.build_network(definition(), seed=0).to(memory_format=layout)
    (pixels,), (labels,) = random_batch(1)
    pixels = pixels.contiguous(memory_format=layout)

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=halved):
            return functional.cross_entropy(network(pixels), labels)

    return _sgd_step(torch.compile(loss) if compiled else loss, list(network.parameters()))


def with_vmap() -> Step:
    """Several seeds with torch.func.vmap over their stacked weights."""
    networks = [build.build_network(definition(), seed) for seed in range(SEEDS)]
    stacked, _ = torch.func.stack_module_state(networks)
    pixels, labels = random_batch(SEEDS)

    def loss_of_one(weights: dict[str, torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(torch.func.functional_call(networks[0], weights, (inputs,)), targets)

    return _sgd_step(lambda: torch.func.vmap(loss_of_one)(stacked, pixels, labels).sum(), list(stacked.values()))


def _sgd_step(loss: Callable[[], torch.Tensor], weights: list[torch.Tensor]) -> Step:
    values = [value.detach() for value in weights]
    momenta = [torch.zeros_like(value) for value in values]
    settings = {"weight_decay": 0.0, "momentum": 0.9, "lr": 0.001, "dampening": 0.0}

    def step() -> None:
        gradients = list(torch.autograd.grad(loss(), weights))
        sgd(values, gradients, momenta, foreach=False, nesterov=False, maximize=False, **settings)

    return step


def first_layers(convolve: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> Step:
    """Forward and backward pass of C1 and S2 alone; `convolve` returns the pooled maps (BATCH, 14, 14, channels)."""
    pixels, _ = random_batch(SEEDS)
    weight = torch.randn(SEEDS * 6, 1, 5, 5, requires_grad=True)
    bias = torch.randn(SEEDS * 6, requires_grad=True)

    def step() -> None:
        pooled = convolve(pixels, weight, bias)
        torch.autograd.grad(pooled, [weight, bias], torch.ones_like(pooled))

    return step


def as_group(pixels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return autograd_functions.MaxPool.apply(
        functional.conv2d(_side_by_side(pixels), weight, bias, groups=SEEDS).permute(0, 2, 3, 1)
    )


def strided(pixels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Shift each kernel to the four positions of a pooling window: a 6×6 convolution of stride 2, then a maximum."""
    moved = [functional.pad(weight, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
    wide = torch.stack([kernel.unflatten(0, (SEEDS, 6)) for kernel in moved], 1).flatten(0, 2)
    maps = functional.conv2d(_side_by_side(pixels), wide, stride=2, groups=SEEDS)
    return maps.permute(0, 2, 3, 1).unflatten(3, (SEEDS, 4, 6)).amax(4).flatten(3) + bias


def unfolded(pixels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Every 5×5 window as a row of a matrix, which is multiplied by the kernels of the seed."""
    rows = functional.unfold(pixels.flatten(0, 1), 5).view(SEEDS, BATCH, 25, 784).transpose(2, 3)
    maps = torch.bmm(rows.reshape(SEEDS, BATCH * 784, 25), weight.view(SEEDS, 6, 25).transpose(1, 2))
    flow = maps.view(SEEDS, BATCH, 28, 28, 6).permute(1, 2, 3, 0, 4).flatten(3) + bias
    return autograd_functions.MaxPool.apply(flow)


def _side_by_side(pixels: torch.Tensor) -> torch.Tensor:
    """Change the shape from (seeds, N, 1, H, W) to (N, seeds, H, W) in channels-last layout."""
    return pixels.squeeze(2).permute(1, 2, 3, 0).contiguous().permute(0, 3, 1, 2)


class TorchPool:
    """torch's max-pooling instead of that of the group."""

    @staticmethod
    def apply(flow: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(flow.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


class TorchNorm:
    """torch's batch normalisation instead of that of the group; running statistics are not updated."""

    @staticmethod
    def apply(flow: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> tuple[torch.Tensor, ...]:
        maps = flow.permute(0, 3, 1, 2)
        values = functional.batch_norm(maps, None, None, weight, bias, training=True, eps=eps)
        return values.permute(0, 2, 3, 1), torch.zeros_like(weight), torch.ones_like(weight)


@contextmanager
def memory_returned() -> Iterator[None]:
    """The defaults of glibc: large blocks are requested from the system, and returned to it when freed."""
    DEFAULT = 128 * 1024
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(threshold, DEFAULT)
    yield
    devices.make_deterministic()


@contextmanager
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def replacing(name: str, other: Any) -> Callable[[], AbstractContextManager[Any]]:
    module = group if hasattr(group, name) else autograd_functions
    return lambda: mock.patch.object(module, name, other)


PLAIN = Attempt("one seed, the plain module", plain, 1)
IN_PARALLEL = [Attempt("three seeds as one group: what is used", grouped), PLAIN]
IN_ONE_PROCESS = [
    *IN_PARALLEL,
    Attempt("two seeds as one group", lambda: grouped(2), 2),
    Attempt("six seeds as one group", lambda: grouped(6), 6),
    Attempt("one seed and its silent copy", lambda: grouped(2), 1),
    Attempt("group, freed memory given back to the system", grouped, changed=memory_returned),
    Attempt("group, max-pooling of torch", grouped, changed=replacing("MaxPool", TorchPool)),
    Attempt("group, activation before pooling", grouped, changed=replacing("_activate_after_pooling", list)),
    Attempt("three seeds, torch.func.vmap", with_vmap),
    Attempt("plain, freed memory given back", plain, 1, memory_returned),
    Attempt("plain, channels-last", lambda: plain(torch.channels_last), 1),
    Attempt("plain, torch.compile", lambda: plain(compiled=True), 1),
    Attempt("plain, channels-last, torch.compile", lambda: plain(torch.channels_last, compiled=True), 1),
    Attempt("plain, channels-last, bfloat16", lambda: plain(torch.channels_last, halved=True), 1),
    Attempt("group, two threads", grouped, changed=two_threads),
    Attempt("plain, two threads", plain, 1, two_threads),
]
NORMALISED = [
    Attempt("lenet5-regularized as one group: what is used", lambda: grouped(variant="lenet5-regularized")),
    Attempt(
        "group, batch normalisation of torch",
        lambda: grouped(variant="lenet5-regularized"),
        changed=replacing("BatchNorm", TorchNorm),
    ),
]
FIRST_LAYERS = [
    Attempt("C1 and S2 in three groups of six maps: what is used", lambda: first_layers(as_group)),
    Attempt("one 6×6 convolution of stride 2, the largest of four", lambda: first_layers(strided)),
    Attempt("windows unfolded, times the kernels", lambda: first_layers(unfolded)),
]


def mean_seconds(step: Step) -> float:
    """Mean seconds of STEPS steps."""
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - began) / STEPS


def mean_seconds_in_parallel(step: Step) -> float:
    """Mean seconds of a step in one process per core, all of which compute the same."""
    context, cores = multiprocessing.get_context("fork"), devices.cores()
    barrier, results = context.Barrier(cores), context.SimpleQueue()

    def work() -> None:
        step()  # warm-up: allocates memory
        barrier.wait()
        results.put(mean_seconds(step))

    children = [context.Process(target=work) for _ in range(cores)]
    for child in children:
        child.start()
    total = sum(results.get() for _ in children)
    for child in children:
        child.join()
    return total / cores


def measure(attempts: list[Attempt], rounds: int, how: Callable[[Step], float] = mean_seconds) -> list[dict[str, Any]]:
    """For each attempt, milliseconds per step and seed, and the median ratio to the first attempt of the same round.

    Every round times each attempt once.
    """
    steps = []
    for attempt in attempts:
        with attempt.changed():
            steps.append(attempt.make())
            steps[-1]()  # warm-up: compiles, allocates memory
    times: list[list[float]] = [[] for _ in attempts]
    for _ in range(rounds):
        for step, attempt, seconds in zip(steps, attempts, times, strict=True):
            with attempt.changed():
                step()
                seconds.append(how(step) / attempt.seeds)
    return [
        {
            "name": attempt.name,
            "milliseconds": write.median_and_range([1000 * value for value in seconds]),
            "times_used": median(own / first for own, first in zip(seconds, times[0], strict=True)),
        }
        for attempt, seconds in zip(attempts, times, strict=True)
    ]


@click.command(help=__doc__.partition("\n")[0])
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
def main(rounds: int) -> None:
    devices.make_deterministic()
    cores = devices.cores()
    tables = {  # forks first: the state of torch after using two threads does not survive a fork
        f"a step, in {cores} processes at once": measure(
            IN_PARALLEL, rounds, lambda step: mean_seconds_in_parallel(step) / cores
        ),
        "a step, in one process": measure(IN_ONE_PROCESS, rounds),
        "a step with batch normalisation": measure(NORMALISED, rounds),
        "the first two layers": measure(FIRST_LAYERS, rounds),
    }
    results = {"machine": run.machine(), "batch": BATCH, "steps": STEPS, "rounds": rounds, "tables": tables}
    files.write_json(Path(__file__).with_name("attempts.json"), results)
    write.update_document()


if __name__ == "__main__":
    main()
