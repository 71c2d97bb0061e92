"""Several seeds of one network, computed together; each keeps weights, images and bits of its own.

What is computed is read off the layers of the plain network in `models`, the one definition of it. Together costs about
half of one after the other on a CPU, whose libraries like many channels (docs/performance.md), and less on a GPU.
"""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from lenetlab import models

T = TypeVar("T")

# Members, by type of device. A CPU's kernels round for one member otherwise than for several, and a GPU's may do so for
# every number: so that no bit depends on it, a group is filled to the least with copies that nobody reads.
LEAST = {"cpu": 2, "cuda": 8, "mps": 8}
MOST = {"cpu": 6, "cuda": 8, "mps": 8}


def filled(members: Sequence[T], device: torch.device) -> list[T]:
    """The members, and as many copies of the last as a group on this device needs."""
    return [*members, *[members[-1]] * (LEAST[device.type] - len(members))]


class Group:
    """Networks of one shape as one: images (members, N, 1, size, size) to logits (members, N, 10)."""

    def __init__(self, networks: Sequence[models.LeNet5 | models.MLP]) -> None:
        self.size = len(networks)
        self.layers = _activated_late(list(networks[0].layers.named_children()))
        states = [network.state_dict() for network in networks]
        trained = {name for name, _ in networks[0].named_parameters()}
        stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        self.weights = {name: value.requires_grad_() for name, value in stacked.items() if name in trained}
        self.statistics = {name: value for name, value in stacked.items() if name not in trained}  # of normalisation

    def with_weights(self, weights: dict[str, torch.Tensor]) -> "Group":
        """The same networks, and the same statistics, with other weights."""
        twin = copy.copy(self)
        twin.weights = weights
        return twin

    def member(self, index: int) -> dict[str, torch.Tensor]:
        """The `state_dict` of one network; its tensors are views, so what is copied into them changes the group."""
        return {name: value.detach()[index] for name, value in (self.weights | self.statistics).items()}

    def dropout(self) -> dict[str, tuple[int, float]]:
        """Width and rate of every dropout layer, by name."""
        found, width = {}, 0
        for name, layer in self.layers:
            width = layer.out_features if isinstance(layer, nn.Linear) else width
            if isinstance(layer, nn.Dropout):
                found[name] = (width, layer.p)
        return found

    def train(self, images: torch.Tensor, kept: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits in training mode. `kept`: by dropout layer, bool (members, N, width), what is not set to zero."""
        return self._forward(images, kept)

    @torch.inference_mode()
    def evaluate(self, images: torch.Tensor, batch: int = 250) -> torch.Tensor:
        """Logits (members, N, 10) in evaluation mode of images (N, 1, size, size) that all members share."""
        parts = images.split(batch)
        return torch.cat([self._forward(part.expand(self.size, *part.shape), None) for part in parts], dim=1)

    def _forward(self, flow: torch.Tensor, kept: dict[str, torch.Tensor] | None) -> torch.Tensor:
        """Maps are held as (N, members × channels, H, W) in channels-last layout, vectors as (members, N, width)."""
        if isinstance(self.layers[0][1], nn.Conv2d):
            flow = flow.squeeze(2).permute(1, 2, 3, 0).contiguous().permute(0, 3, 1, 2)
        for name, layer in self.layers:
            match layer:
                case nn.Conv2d() | models.PartialConv2d():
                    weight, bias = (self.weights[f"layers.{name}.{part}"] for part in ("weight", "bias"))
                    kernels = weight if isinstance(layer, nn.Conv2d) else layer.full(weight)
                    flow = functional.conv2d(flow, kernels.flatten(0, 1), bias.flatten(), groups=self.size)
                case nn.BatchNorm2d() | nn.BatchNorm1d():
                    flow = self._normalised(name, layer, flow, training=kept is not None)
                case models.Subsampling():
                    sums = 4 * functional.avg_pool2d(flow, 2).permute(0, 2, 3, 1)
                    weight, bias = (self.weights[f"layers.{name}.{part}"].flatten() for part in ("weight", "bias"))
                    flow = Scale.apply(sums, weight, bias).permute(0, 3, 1, 2)
                case nn.MaxPool2d():
                    flow = MaxPool.apply(flow.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
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
            values, batch_mean, batch_variance = BatchNorm.apply(
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


class Scale(torch.autograd.Function):
    """(N, H, W, C) times a weight (C) plus a bias (C); the gradients of both are sums in a fixed order."""

    @staticmethod
    def forward(context: Any, flow: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(flow, weight)
        width = flow.shape[2]
        return torch.addcmul(bias.repeat(width), flow.flatten(2), weight.repeat(width)).view_as(flow)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        flow, weight = context.saved_tensors
        gradient = gradient.contiguous()
        return gradient * weight, _channel_sums(gradient * flow), _channel_sums(gradient)


class BatchNorm(torch.autograd.Function):
    """Batch normalisation of (N, H, W, C) as in training, and mean and variance (C) of the batch.

    torch's own is a little faster, and rounds a channel otherwise when it stands where its vector registers end.
    """

    @staticmethod
    def forward(
        context: Any, flow: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        count, width = flow.numel() // flow.shape[-1], flow.shape[2]
        mean = _channel_sums(flow) / count
        centred = flow.flatten(2) - mean.repeat(width)
        variance = _channel_sums(centred.square().view_as(flow)) / count
        deviation = (variance + eps).sqrt()
        context.save_for_backward(centred, weight, deviation)
        context.mark_non_differentiable(mean, variance)
        values = torch.addcmul(bias.repeat(width), centred, (weight / deviation).repeat(width))
        return values.view_as(flow), mean, variance

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor, *_: None) -> tuple[torch.Tensor | None, ...]:
        """As Ioffe & Szegedy 2015, section 3, with the terms gathered."""
        centred, weight, deviation = context.saved_tensors
        gradient = gradient.contiguous()
        count, width = gradient.numel() // gradient.shape[-1], gradient.shape[2]
        of_bias = _channel_sums(gradient)
        of_weight = _channel_sums((gradient.flatten(2) * centred).view_as(gradient)) / deviation
        scale = weight / deviation
        flow = torch.addcmul((-scale * of_bias / count).repeat(width), gradient.flatten(2), scale.repeat(width))
        flow.addcmul_(centred, (-scale * of_weight / deviation / count).repeat(width))
        return flow.view_as(gradient), of_weight, of_bias, None


def _channel_sums(flow: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) to (C). Images are added by halves: the order of additions is the same wherever a channel stands."""
    rest = flow.flatten(1)
    total = torch.zeros_like(rest[0])
    while len(rest) > 1:
        half = len(rest) // 2
        if len(rest) % 2:
            total += rest[-1]
        rest = rest[:half] + rest[half : 2 * half]
    return (total + rest[0]).view(-1, flow.shape[-1]).T.contiguous().sum(1)


class MaxPool(torch.autograd.Function):
    """(N, H, W, C) to (N, H/2, W/2, C): the larger of two across, then down; values and gradients are MaxPool2d's.

    torch's own is not vectorised where the channels do not fill its registers, and takes several times as long.
    """

    @staticmethod
    def forward(context: Any, flow: torch.Tensor) -> torch.Tensor:
        left, right = flow[:, :, 0::2], flow[:, :, 1::2]
        across = torch.maximum(left, right)
        top, bottom = across[:, 0::2], across[:, 1::2]
        # 1.0 where the second of two is larger; of equals the first is taken, as in MaxPool2d
        context.save_for_backward((right - left).gt_(0), (bottom - top).gt_(0))
        return torch.maximum(top, bottom)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        right, bottom = context.saved_tensors
        gradient = gradient.contiguous()
        count, height, width, channels = bottom.shape
        across = gradient.new_empty(count, 2 * height, width, channels)
        torch.mul(gradient, bottom, out=across[:, 1::2])
        torch.sub(gradient, across[:, 1::2], out=across[:, 0::2])
        flow = gradient.new_empty(count, 2 * height, 2 * width, channels)
        torch.mul(across, right, out=flow[:, :, 1::2])
        torch.sub(across, flow[:, :, 1::2], out=flow[:, :, 0::2])
        return flow


def _activated_late(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Activations never fall, so the largest of four is activated, not all four: the same value for less work."""
    order = list(layers)
    for place in range(len(order) - 1):
        (_, layer), (_, following) = order[place : place + 2]
        if type(layer) in models.ACTIVATIONS.values() and isinstance(following, nn.MaxPool2d | nn.Flatten):
            order[place : place + 2] = reversed(order[place : place + 2])
    return order
