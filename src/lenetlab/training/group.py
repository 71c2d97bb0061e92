"""Several seeds of one network, computed together; each keeps weights, images and bits of its own.

What is computed is read off the layers of the plain network in `models`, the one definition of it. Together costs about
half of one after the other on a CPU, whose libraries like many channels (docs/performance.md), and less on a GPU.
"""

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from lenetlab.networks import custom_layers, lenet, mlp
from lenetlab.training import autograd_functions

T = TypeVar("T")

# Members, by type of device. A CPU's kernels round for one member otherwise than for several, and a GPU's may do so for
# every number: so that no bit depends on it, a group is filled to the least with copies that nobody reads.
MIN_MEMBERS = {"cpu": 2, "cuda": 8, "mps": 8}

MAX_MEMBERS = {"cpu": 6, "cuda": 8, "mps": 8}


def pad_to_minimum(members: Sequence[T], device: torch.device) -> list[T]:
    """The members, and as many copies of the last as a group on this device needs."""
    return [*members, *[members[-1]] * (MIN_MEMBERS[device.type] - len(members))]


class NetworkGroup:
    """Networks of one shape as one: images (members, N, 1, size, size) to logits (members, N, 10)."""

    def __init__(self, networks: Sequence[lenet.LeNet5 | mlp.MLP]) -> None:
        self.size = len(networks)
        self.layers = _activated_late(list(networks[0].layers.named_children()))
        states = [network.state_dict() for network in networks]
        trained = {name for name, _ in networks[0].named_parameters()}
        stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        self.weights = {name: value.requires_grad_() for name, value in stacked.items() if name in trained}
        self.statistics = {name: value for name, value in stacked.items() if name not in trained}  # of normalisation

    def with_weights(self, weights: dict[str, torch.Tensor]) -> "NetworkGroup":
        """The same networks, and the same statistics, with other weights."""
        twin = copy.copy(self)
        twin.weights = weights
        return twin

    def member(self, index: int) -> dict[str, torch.Tensor]:
        """The `state_dict` of one network; its tensors are views, so what is copied into them changes the group."""
        return {name: value.detach()[index] for name, value in (self.weights | self.statistics).items()}

    def dropout_layers(self) -> dict[str, tuple[int, float]]:
        """Width and rate of every dropout layer, by name."""
        found, width = {}, 0
        for name, layer in self.layers:
            width = layer.out_features if isinstance(layer, nn.Linear) else width
            if isinstance(layer, nn.Dropout):
                found[name] = (width, layer.p)
        return found

    def training_logits(self, images: torch.Tensor, kept: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits in training mode. `kept`: by dropout layer, bool (members, N, width), what is not set to zero."""
        return self._forward(images, kept)

    @torch.inference_mode()
    def evaluation_logits(self, images: torch.Tensor, batch: int = 250) -> torch.Tensor:
        """Logits (members, N, 10) in evaluation mode of images (N, 1, size, size) that all members share."""
        parts = images.split(batch)
        return torch.cat([self._forward(part.expand(self.size, *part.shape), None) for part in parts], dim=1)

    def _forward(self, flow: torch.Tensor, kept: dict[str, torch.Tensor] | None) -> torch.Tensor:
        """Maps are held as (N, members × channels, H, W) in channels-last layout, vectors as (members, N, width)."""
        if isinstance(self.layers[0][1], nn.Conv2d):
            flow = flow.squeeze(2).permute(1, 2, 3, 0).contiguous().permute(0, 3, 1, 2)
        for name, layer in self.layers:
            match layer:
                case nn.Conv2d() | custom_layers.PartialConv2d():
                    weight, bias = (self.weights[f"layers.{name}.{part}"] for part in ("weight", "bias"))
                    kernels = weight if isinstance(layer, nn.Conv2d) else layer.full_weight(weight)
                    flow = functional.conv2d(flow, kernels.flatten(0, 1), bias.flatten(), groups=self.size)
                case nn.BatchNorm2d() | nn.BatchNorm1d():
                    flow = self._normalised(name, layer, flow, training=kept is not None)
                case custom_layers.Subsampling():
                    sums = 4 * functional.avg_pool2d(flow, 2).permute(0, 2, 3, 1)
                    weight, bias = (self.weights[f"layers.{name}.{part}"].flatten() for part in ("weight", "bias"))
                    flow = autograd_functions.Scale.apply(sums, weight, bias).permute(0, 3, 1, 2)
                case nn.MaxPool2d():
                    flow = autograd_functions.MaxPool.apply(flow.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                case nn.Flatten() if flow.dim() == 4:
                    flow = flow.unflatten(1, (self.size, -1)).transpose(0, 1).flatten(2)
                case nn.Flatten():
                    flow = flow.flatten(2)
                case nn.Linear():
                    weight, bias = (self.weights[f"layers.{name}.{part}"] for part in ("weight", "bias"))
                    flow = torch.baddbmm(bias.unsqueeze(1), flow, weight.transpose(1, 2))
                case nn.Dropout():
                    flow = flow if kept is None else flow * kept[name] / (1 - layer.p)
                case _:  # activations, average pooling and fixed codes know nothing of members
                    flow = layer(flow)
        return flow

    def _normalised(self, name: str, layer: nn.Module, flow: torch.Tensor, training: bool) -> torch.Tensor:
        weight, bias = (self.weights[f"layers.{name}.{part}"] for part in ("weight", "bias"))
        mean, variance = (self.statistics[f"layers.{name}.running_{which}"] for which in ("mean", "var"))
        maps = isinstance(layer, nn.BatchNorm2d)
        if training and maps:
            values, batch_mean, batch_variance = autograd_functions.BatchNorm.apply(
                flow.permute(0, 2, 3, 1), weight.flatten(), bias.flatten(), layer.eps
            )
            self._follow(name, layer, batch_mean.view_as(mean), batch_variance.view_as(mean), values[..., 0].numel())
            return values.permute(0, 3, 1, 2)
        if training:
            mean, variance = flow.mean(1), flow.var(1, correction=0)
            self._follow(name, layer, mean.detach(), variance.detach(), flow.shape[1])
        scale = weight / (variance + layer.eps).sqrt()
        shift = bias - mean * scale
        if maps:
            return flow * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
        return flow * scale.unsqueeze(1) + shift.unsqueeze(1)

    def _follow(self, name: str, layer: nn.Module, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        """The running statistics, from those of a batch of so many values; the variance is the unbiased one."""
        for which, value in (("mean", mean), ("var", variance * (count / max(count - 1, 1)))):
            self.statistics[f"layers.{name}.running_{which}"].mul_(1 - layer.momentum).add_(value * layer.momentum)
        self.statistics[f"layers.{name}.num_batches_tracked"] += 1


def _activated_late(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Activations never fall, so the largest of four is activated, not all four: the same value for less work."""
    order = list(layers)
    for place in range(len(order) - 1):
        (_, layer), (_, following) = order[place : place + 2]
        if type(layer) in custom_layers.ACTIVATIONS.values() and isinstance(following, nn.MaxPool2d | nn.Flatten):
            order[place : place + 2] = reversed(order[place : place + 2])
    return order
