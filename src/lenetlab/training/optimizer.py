"""Optimizers for the weights of a group of networks, their moving average, and the learning rate of each step.

The arithmetic is that of torch.optim. This calls the functions behind its classes, because the first instance of such a
class imports torch's compiler, which takes 5 seconds.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from lenetlab.settings import schema

UPDATES: dict[str, Callable[..., None]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
}
BUFFERS = {  # what each of them keeps for every weight, in the order of its parameters
    "sgd": ("momentum",),
    "adam": ("first_moment", "second_moment", "largest_second_moment"),
    "adamw": ("first_moment", "second_moment", "largest_second_moment"),
    "rmsprop": ("second_moment", "mean_gradient", "momentum"),
    "adagrad": ("sum_of_squares",),
}
OPTIONAL = {"largest_second_moment": "amsgrad", "mean_gradient": "centered"}  # kept only with this argument
WARM_UP = 0.3  # share of the steps in which the rate of one-cycle rises


class Optimizer:
    """Changes `weights` in place. `buffers` holds its state by name, such as `momentum.layers.c1.weight`."""

    def __init__(self, settings: schema.Training, weight_decay: float, weights: dict[str, torch.Tensor]) -> None:
        self.settings, self.weight_decay, self.weights = settings, weight_decay, weights
        self.name, self.arguments = settings.optimizer.name, settings.optimizer.arguments
        kinds = [kind for kind in BUFFERS[self.name] if kind not in OPTIONAL or self.arguments[OPTIONAL[kind]]]
        self.buffers = {
            f"{kind}.{name}": torch.zeros_like(value, requires_grad=False)
            for kind in kinds
            for name, value in weights.items()
        }
        if settings.weight_averaging:
            self.buffers |= {f"average.{name}": value.detach().clone() for name, value in weights.items()}

    def averaged_weights(self) -> dict[str, torch.Tensor]:
        """The exponential moving average of the weights; without `weight_averaging` the weights themselves."""
        return {name: self.buffers.get(f"average.{name}", value) for name, value in self.weights.items()}

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], learning_rate: float, steps_before: int) -> None:
        """Update the weights. `gradients` are in the order of the weights; `steps_before` counts earlier steps."""
        weights = [value.detach() for value in self.weights.values()]
        steps = [torch.tensor(float(steps_before)) for _ in weights]
        arguments: dict[str, Any] = {"lr": learning_rate, "weight_decay": self.weight_decay, **self.arguments}
        arguments |= {"foreach": False, "maximize": False}
        buffers = [self._buffers(kind) for kind in BUFFERS[self.name]]
        if self.name == "sgd":
            arguments |= {"momentum": self.settings.momentum, "fused": False}
            arguments["dampening"] *= steps_before > 0  # torch: not in the first step
        elif self.name == "rmsprop":
            arguments["momentum"] = self.settings.momentum
        elif self.name in ("adam", "adamw"):
            arguments |= {"beta1": self.settings.momentum, "fused": False}
        UPDATES[self.name](weights, list(gradients), *buffers, *([] if self.name == "sgd" else [steps]), **arguments)
        if self.settings.weight_averaging:
            # At the start the decay is smaller, so that the initial weights soon have no influence.
            decay = min(self.settings.weight_averaging, (1 + steps_before) / (10 + steps_before))
            for average, value in zip(self._buffers("average"), weights, strict=True):
                average.lerp_(value, 1 - decay)

    def _buffers(self, kind: str) -> list[torch.Tensor]:
        """Those of all weights; none if the optimizer does not need this kind."""
        return [self.buffers[f"{kind}.{name}"] for name in self.weights if f"{kind}.{name}" in self.buffers]


def learning_rate(settings: schema.Training, step: int, steps: int) -> float:
    """The rate of `step`, counted from 0, in a training of `steps` steps.

    `one-cycle` (Smith & Topin 2018) rises from 1/25 of the configured rate to that rate and then falls to 1/250000 of
    it, both along half a cosine, as torch's OneCycleLR does. `step`, `multi-step` and `exponential` change the rate
    after epochs; with `cosine` and `polynomial` it falls to 0 over all steps.
    """
    rate, schedule = settings.learning_rate, settings.schedule
    arguments, epoch = schedule.arguments, step * settings.epochs // steps  # finished epochs
    match schedule.name:
        case "cosine":
            return rate * (1 + math.cos(math.pi * step / steps)) / 2
        case "one-cycle":
            start, peak, end = rate / 25, rate, rate / 25e4
            peak_step = WARM_UP * steps - 1
            if step <= peak_step:
                return peak + (start - peak) * (1 + math.cos(math.pi * step / peak_step)) / 2
            return end + (peak - end) * (1 + math.cos(math.pi * (step - peak_step) / (steps - 1 - peak_step))) / 2
        case "step":
            return float(rate * arguments["gamma"] ** (epoch // arguments["step_size"]))
        case "multi-step":
            passed = sum(milestone <= epoch for milestone in arguments["milestones"])
            return float(rate * arguments["gamma"] ** passed)
        case "exponential":
            return float(rate * arguments["gamma"] ** epoch)
        case "polynomial":
            return float(rate * (1 - step / steps) ** arguments["power"])
    return rate
