"""SGD and AdamW over the weights of a group, in torch.optim's own arithmetic, and the weights' moving average.

These are the functions behind its classes; a process's first instance of a class imports torch's compiler, for 5 s.
"""

from collections.abc import Sequence

import torch
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from lenetlab.settings import schema


class Optimizer:
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

    def averaged(self) -> dict[str, torch.Tensor]:
        """The weights that count: their exponential moving average, or where none is asked for, themselves."""
        return {name: self.buffers.get(f"average.{name}", value) for name, value in self.weights.items()}

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], rate: float, earlier: int) -> None:
        """Change the weights; `earlier` counts the steps before this one."""
        weights = [value.detach() for value in self.weights.values()]
        common = {"foreach": False, "fused": False, "lr": rate, "weight_decay": self.weight_decay, "maximize": False}
        if self.settings.optimizer == "sgd":
            momentum = self._buffers("momentum")
            sgd(weights, gradients, momentum, momentum=self.settings.momentum, dampening=0, nesterov=False, **common)
        else:
            steps = [torch.tensor(float(earlier)) for _ in weights]
            moments = self._buffers("first_moment"), self._buffers("second_moment")
            betas = {"beta1": self.settings.momentum, "beta2": 0.999}
            adamw(weights, gradients, *moments, [], steps, amsgrad=False, eps=1e-8, **betas, **common)
        if self.settings.weight_averaging:
            decay = min(self.settings.weight_averaging, (1 + earlier) / (10 + earlier))  # the first weights fade soon
            for average, value in zip(self._buffers("average"), weights, strict=True):
                average.lerp_(value, 1 - decay)

    def _buffers(self, kind: str) -> list[torch.Tensor]:
        return [self.buffers[f"{kind}.{name}"] for name in self.weights]
