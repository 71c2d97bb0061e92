"""Arithmetic of each network, and how fast this machine multiplies matrices: python -m benchmarks.floor"""

import json
import multiprocessing
import time

import torch
from torch import nn

from benchmarks.ours import study
from lenetlab.networks import build
from lenetlab.training import devices

VARIANTS = ("lenet5", "mlp", "lenet5-regularized", "lenet5-decay-dropout-affine")
SIDE = 1536  # of the matrices: large enough for full speed, small enough for the caches
SECONDS = 1.0  # for one measurement


def flops(variant: str) -> dict[str, int]:
    """Operations per image in matrix products and convolutions; a multiplication and an addition are two operations.

    The backward pass of a layer takes as many operations for its weights and as many for its input. The gradient of
    the images is not computed, so the first layer takes fewer.
    """
    definition = study(variant, seeds=1, epochs=1).variants[variant]
    size = definition.input.size
    flow, forward = torch.zeros(1, 1, size, size), []
    for layer in build.build_network(definition, seed=0).eval().layers:
        flow = layer(flow)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            forward.append(2 * layer.weight.numel() * (flow[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1))
    return {"train": 3 * sum(forward) - forward[0], "evaluate": sum(forward)}


def sgemm(threads: int) -> float:
    """GFLOP/s of products of float32 matrices."""
    torch.set_num_threads(threads)
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    product = left @ right
    began, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < SECONDS:
        torch.mm(left, right, out=product)
        count += 1
    return 2 * SIDE**3 * count / spent / 1e9


def main() -> None:
    cores = devices.cores()
    ready, began = time.monotonic(), time.perf_counter()
    with multiprocessing.get_context("fork").Pool(
        cores
    ) as pool:  # before torch starts threads, which do not survive a fork
        side_by_side = sum(pool.map(sgemm, [1] * cores, chunksize=1))
    speeds = {"thread": sgemm(1), "threads": sgemm(cores), "processes": side_by_side}
    found = {"gflops": speeds, "flops": {variant: flops(variant) for variant in VARIANTS}}
    print(json.dumps({"ready": ready, "seconds": time.perf_counter() - began, **found}))


if __name__ == "__main__":
    main()
