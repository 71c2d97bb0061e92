"""Training and evaluation as in PyTorch's quickstart tutorial, and the timing of the peers."""

import json
import time
from collections.abc import Callable, Iterable, Sized
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

WARM_UP = 50  # batches before the clock starts: the first ones allocate memory and choose kernels

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> float:
    """Train one epoch; returns the sum of the losses, which such code usually prints."""
    model.train()
    running_loss = 0.0
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches) -> int:
    """The number of correct answers."""
    model.eval()
    return sum((model(images).argmax(1) == labels).sum().item() for images, labels in batches)


def measure(
    train_on: Callable[[Batches], Any], evaluate_on: Callable[[Batches], Any], loader: Any, test: Sized
) -> None:
    """Print the end of the start-up, and the seconds of one epoch and one evaluation after a warm-up."""
    ready = time.monotonic()  # benchmarks.run compares it with the same clock at the start of this process
    train_on(islice(loader, WARM_UP))
    began = time.perf_counter()
    train_on(loader)
    trained = time.perf_counter()
    evaluate_on(test)
    ended = time.perf_counter()
    print(json.dumps({"ready": ready, "seconds": ended - began, "train": trained - began, "evaluate": ended - trained}))
