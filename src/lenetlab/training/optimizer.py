"""SGD and AdamW for the weights of a group of networks, their moving average, and the learning rate of each step.

The arithmetic is that of torch.optim. This calls the functions behind its classes, because the first instance of such a
class imports torch's compiler, which takes 5 seconds.
"""

import math
from collections.abc import Sequence

import torch
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from lenetlab.settings import schema

WARM_UP = 0.3  # share of the steps in which the rate of one-cycle rises


class Optimizer:
    """Changes `weights` in place. `buffers` holds its state by name, such as `momentum.layers.c1.weight`."""

    def __init__(self, settings: schema.Training, weight_decay: float, weights: dict[str, torch.Tensor]) -> None:
        self.settings, self.weight_decay, self.weights = settings, weight_decay, weights
        kinds = ("momentum",) if settings.optimizer == "sgd" else ("first_moment", "second_moment")
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
        if self.settings.optimizer == "sgd":
            sgd(
                weights,
                list(gradients),
                [*self._buffers("momentum")],
                foreach=False,
                fused=False,
                weight_decay=self.weight_decay,
                momentum=self.settings.momentum,
                lr=learning_rate,
                dampening=0,
                nesterov=False,
                maximize=False,
            )
        else:
            adamw(
                weights,
                list(gradients),
                self._buffers("first_moment"),
                self._buffers("second_moment"),
                [],
                [torch.tensor(float(steps_before)) for _ in weights],
                foreach=False,
                fused=False,
                amsgrad=False,
                beta1=self.settings.momentum,
                beta2=0.999,
                lr=learning_rate,
                weight_decay=self.weight_decay,
                eps=1e-8,
                maximize=False,
            )
        if self.settings.weight_averaging:
            # At the start the decay is smaller, so that the initial weights soon have no influence.
            decay = min(self.settings.weight_averaging, (1 + steps_before) / (10 + steps_before))
            for average, value in zip(self._buffers("average"), weights, strict=True):
                average.lerp_(value, 1 - decay)

    def _buffers(self, kind: str) -> list[torch.Tensor]:
        return [self.buffers[f"{kind}.{name}"] for name in self.weights]


def learning_rate(settings: schema.Training, step: int, steps: int) -> float:
    """The rate of `step`, counted from 0, in a training of `steps` steps.

    `one-cycle` (Smith & Topin 2018) rises from 1/25 of the configured rate to that rate and then falls to 1/250000 of
    it, both along half a cosine, as torch's OneCycleLR does.
    """
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
    if settings.schedule == "one-cycle":
        start, peak, end = settings.learning_rate / 25, settings.learning_rate, settings.learning_rate / 25e4
        peak_step = WARM_UP * steps - 1
        if step <= peak_step:
            return peak + (start - peak) * (1 + math.cos(math.pi * step / peak_step)) / 2
        return end + (peak - end) * (1 + math.cos(math.pi * (step - peak_step) / (steps - 1 - peak_step))) / 2
    return settings.learning_rate
