"""Networks of several seeds computed together; each member keeps its own weights, images and bits.

A group reads the layers of the plain networks in lenetlab.networks, so these stay the only definition. On a CPU,
computing members together takes about half the time of one after another, because its libraries are faster with many
channels (docs/performance.md); a GPU gains more.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import torch
from torch import nn
from torch.nn import functional

from lenetlab.networks import cnn, custom_layers, lenet, mlp
from lenetlab.training import autograd_functions, devices

T = TypeVar("T")

# Members of a group, by device type. The minimum makes bits independent of the size of the group: a CPU's kernels round
# differently for one member than for two to six, and a GPU's may do so for every number.
MIN_MEMBERS = {"cpu": 2, "cuda": 8}
MAX_MEMBERS = {"cpu": 6, "cuda": 8}

# Activations, by class: a value of their output depends on one of their input. And layers of lenetlab.
PLAIN_LAYERS = (nn.ReLU, nn.Tanh, nn.Sigmoid)
OWN_LAYERS = (custom_layers.ScaledTanh, custom_layers.Subsampling, custom_layers.PartialConv2d, custom_layers.Codes)


def pad_with_copies(members: Sequence[T], device: torch.device) -> list[T]:
    """The members followed by copies of the last one, up to MIN_MEMBERS. The results of the copies are unused.

    Without AVX-512, three members get a copy too: oneDNN then takes another kernel for three input maps, because that
    is the number of colours of a photograph, and this kernel adds in another order.
    """
    minimum = MIN_MEMBERS[device.type]
    if len(members) == 3 and device.type == "cpu" and not devices.uses_avx512():
        minimum = 4
    return [*members, *[members[-1]] * (minimum - len(members))]


class UnsupportedLayerError(Exception):
    """A network has a layer, or a layer has an argument, that a group cannot compute."""


def unsupported(network: nn.Module) -> str:
    """Why a group cannot compute this network, such as its first unknown layer; empty if it can."""
    if isinstance(network, cnn.CNN):
        return "a cnn may have convolutions that round differently with other seeds beside them"
    if not isinstance(network, lenet.LeNet5 | mlp.MLP):
        return f"{type(network).__name__} is not a network of lenetlab"
    after_linear = False  # on maps, dropout would leave out single pixels
    for name, layer in network.layers.named_children():
        if not _is_known(layer) or (isinstance(layer, nn.Dropout) and not after_linear):
            return f"{name}: {' '.join(str(layer).split())} is not among the layers that a group of seeds computes"
        after_linear |= isinstance(layer, nn.Linear)
    return ""


def _is_known(layer: nn.Module) -> bool:
    """Whether a group can compute this layer with its arguments. Subclasses of a layer may compute anything."""
    kind = type(layer)
    match layer:
        case nn.Conv2d():
            moves = (layer.stride, layer.padding, layer.dilation, layer.groups)
            return kind is nn.Conv2d and moves == ((1, 1), (0, 0), (1, 1), 1) and layer.bias is not None
        case nn.Linear():
            return kind is nn.Linear and layer.bias is not None
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            usual = layer.affine and layer.track_running_stats and layer.momentum is not None
            return kind in (nn.BatchNorm1d, nn.BatchNorm2d) and usual
        case nn.MaxPool2d():
            square = (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == (2, 2, 0, 1)
            return kind is nn.MaxPool2d and square and not layer.return_indices and not layer.ceil_mode
        case nn.AvgPool2d():
            square = (layer.kernel_size, layer.stride, layer.padding) == (2, 2, 0)
            return kind is nn.AvgPool2d and square and not layer.ceil_mode and layer.divisor_override is None
        case nn.Dropout():
            return kind is nn.Dropout and layer.p < 1
        case nn.Flatten():
            return kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)
    return kind in (*PLAIN_LAYERS, *OWN_LAYERS) and not getattr(layer, "inplace", False)


class StackedNetworks:
    """The weights and statistics of networks of the same class, each stacked along a first dimension for the members.

    `weights` holds the parameters that are trained, `statistics` all else, by their names in a network's state_dict.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.size = len(networks)
        states = [network.state_dict() for network in networks]
        trained = {name for name, value in networks[0].named_parameters() if value.requires_grad}
        stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        self.weights = {name: value.requires_grad_() for name, value in stacked.items() if name in trained}
        self.statistics = {name: value for name, value in stacked.items() if name not in trained}

    def with_weights(self, weights: dict[str, torch.Tensor]) -> Self:
        """The same group with other weights; it shares everything else with this one."""
        twin = copy.copy(self)
        twin.weights = weights
        return twin

    def member_state(self, index: int) -> dict[str, torch.Tensor]:
        """The state_dict of one member. Its tensors are views: writing to them changes the group."""
        return {name: value.detach()[index] for name, value in (self.weights | self.statistics).items()}


class NetworkGroup(StackedNetworks):
    """Networks computed as one. Their only statistics are those of batch normalisation.

    Raises UnsupportedLayerError for networks that it cannot compute.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        if reason := unsupported(networks[0]):
            raise UnsupportedLayerError(reason)
        super().__init__(networks)
        self.layers = _activate_after_pooling(list(networks[0].get_submodule("layers").named_children()))

    def dropout_layers(self) -> dict[str, tuple[int, float]]:
        """Width and dropout rate of every dropout layer, by its name."""
        found, width = {}, 0
        for name, layer in self.layers:
            if isinstance(layer, nn.Linear):
                width = layer.out_features
            elif isinstance(layer, nn.Dropout):
                found[name] = (width, layer.p)
        return found

    def training_logits(
        self,
        images: torch.Tensor,
        keep_masks: dict[str, torch.Tensor],
        seeds: Callable[[], Sequence[int]] = tuple,  # noqa: ARG002  for networks that draw random numbers themselves
    ) -> torch.Tensor:
        """Logits (members, N, classes) in training mode of images (members, N, C, size, size).

        `keep_masks` has a bool tensor (members, N, width) by name of the dropout layer: which units are kept.
        """
        return self._forward(images, keep_masks)

    @torch.inference_mode()
    def evaluation_logits(self, images: torch.Tensor, batch_size: int = 250) -> torch.Tensor:
        """Logits (members, N, classes) in evaluation mode of images (N, C, size, size), the same for all members."""
        batches = torch.split(images, batch_size)
        logits = [self._forward(batch.expand(self.size, *batch.shape), None) for batch in batches]
        return torch.cat(logits, dim=1)

    def _forward(self, values: torch.Tensor, keep_masks: dict[str, torch.Tensor] | None) -> torch.Tensor:
        """Logits in training mode, or in evaluation mode if `keep_masks` is None.

        Between layers, maps are (N, members × channels, H, W) in channels-last layout and vectors (members, N, width).
        """
        if not isinstance(self.layers[0][1], nn.Flatten):
            values = values.permute(1, 3, 4, 0, 2).flatten(3).contiguous().permute(0, 3, 1, 2)
        for name, layer in self.layers:
            match layer:
                case nn.Conv2d() | custom_layers.PartialConv2d():
                    weight, bias = self._weight_and_bias(name)
                    kernels = weight if isinstance(layer, nn.Conv2d) else layer.full_weight(weight)
                    values = functional.conv2d(values, kernels.flatten(0, 1), bias.flatten(), groups=self.size)
                case nn.BatchNorm2d() | nn.BatchNorm1d():
                    values = self._batch_norm(name, layer, values, training=keep_masks is not None)
                case custom_layers.Subsampling():
                    sums = 4 * functional.avg_pool2d(values, 2).permute(0, 2, 3, 1)
                    weight, bias = self._weight_and_bias(name)
                    scaled = autograd_functions.Scale.apply(sums, weight.flatten(), bias.flatten())
                    values = scaled.permute(0, 3, 1, 2)
                case nn.MaxPool2d():
                    height, width = (side // 2 * 2 for side in values.shape[2:])
                    pixels = values[:, :, :height, :width].permute(0, 2, 3, 1)
                    values = autograd_functions.MaxPool.apply(pixels).permute(0, 3, 1, 2)
                case nn.Flatten() if values.dim() == 4:
                    values = torch.unflatten(values, 1, (self.size, -1)).transpose(0, 1).flatten(2)
                case nn.Flatten():
                    values = values.flatten(2)
                case nn.Linear():
                    weight, bias = self._weight_and_bias(name)
                    values = torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2))
                case nn.Sigmoid():
                    values = autograd_functions.Sigmoid.apply(values)
                case nn.Dropout():
                    values = values if keep_masks is None else values * keep_masks[name] / (1 - layer.p)
                case _:  # activations, average pooling and digit codes act on each value or map by itself
                    values = layer(values)
        return values

    def _batch_norm(
        self, name: str, layer: nn.BatchNorm1d | nn.BatchNorm2d, values: torch.Tensor, training: bool
    ) -> torch.Tensor:
        weight, bias = self._weight_and_bias(name)
        mean, variance = (self.statistics[f"layers.{name}.running_{key}"] for key in ("mean", "var"))
        maps = isinstance(layer, nn.BatchNorm2d)
        if training and maps:
            outputs, batch_mean, batch_variance = autograd_functions.BatchNorm.apply(
                values.permute(0, 2, 3, 1), weight.flatten(), bias.flatten(), layer.eps
            )
            count = outputs[..., 0].numel()
            self._update_statistics(name, layer, batch_mean.view_as(mean), batch_variance.view_as(mean), count)
            normalized: torch.Tensor = outputs.permute(0, 3, 1, 2)
            return normalized
        if training:
            mean, variance = values.mean(1), values.var(1, correction=0)
            self._update_statistics(name, layer, mean.detach(), variance.detach(), values.shape[1])
        scale = weight / (variance + layer.eps).sqrt()
        shift = bias - mean * scale
        if maps:
            return values * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
        return values * scale.unsqueeze(1) + shift.unsqueeze(1)

    def _update_statistics(
        self,
        name: str,
        layer: nn.BatchNorm1d | nn.BatchNorm2d,
        mean: torch.Tensor,
        variance: torch.Tensor,
        count: int,
    ) -> None:
        """Move the running statistics towards those of a batch of `count` values; its `variance` is the biased one."""
        assert layer.momentum is not None  # noqa: S101  None would mean a cumulative average, which no network asks for
        for key, value in (("mean", mean), ("var", variance * (count / max(count - 1, 1)))):
            self.statistics[f"layers.{name}.running_{key}"].mul_(1 - layer.momentum).add_(value * layer.momentum)
        self.statistics[f"layers.{name}.num_batches_tracked"] += 1

    def _weight_and_bias(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Those of a layer, with the members as the first dimension."""
        return self.weights[f"layers.{name}.weight"], self.weights[f"layers.{name}.bias"]


def _activate_after_pooling(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Swap an activation with the max-pooling or flattening that follows it.

    Activations are monotonic, so the activated maximum is the maximum of the activated values; there are fewer of them.
    """
    order = list(layers)
    for place in range(len(order) - 1):
        (_, layer), (_, following) = order[place : place + 2]
        if type(layer) in custom_layers.ACTIVATIONS.values() and isinstance(following, nn.MaxPool2d | nn.Flatten):
            order[place : place + 2] = reversed(order[place : place + 2])
    return order
