"""The multilayer perceptron, and the hidden linear layers that LeNet-5 has too."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

from lenetlab.networks import custom_layers
from lenetlab.settings import schema


class MLP(nn.Module):
    """Hidden linear layers and a linear output layer: images (N, C, size, size) to logits (N, classes).

    Every hidden layer is followed by batch normalisation (if `batch_norm`), the activation, and dropout (if its rate is
    above 0). `hidden` and `dropout` have one entry per hidden layer.
    """

    def __init__(
        self,
        images: schema.ImageKind,
        size: int,
        hidden: tuple[int, ...],
        activation: str,
        batch_norm: bool,
        dropout: tuple[float, ...],
    ) -> None:
        super().__init__()
        names = tuple(f"hidden{number}" for number in range(1, len(hidden) + 1))
        layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
        widths = (images.channels * size * size, *hidden)
        layers.update(hidden_layers(names, widths, activation, batch_norm, dropout))
        layers["output"] = nn.Linear(hidden[-1], images.classes)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits


def hidden_layers(
    names: tuple[str, ...], widths: tuple[int, ...], activation: str, batch_norm: bool, dropout: tuple[float, ...]
) -> OrderedDict[str, nn.Module]:
    """Linear layers with what follows each of them, by name. `widths` begins with the number of inputs."""
    layers = OrderedDict[str, nn.Module]()
    for name, (inputs, outputs), rate in zip(names, pairwise(widths), dropout, strict=True):
        layers[name] = nn.Linear(inputs, outputs)
        if batch_norm:
            layers[f"{name}_norm"] = nn.BatchNorm1d(outputs)
        layers[f"{name}_{activation}"] = custom_layers.ACTIVATIONS[activation]()
        if rate:
            layers[f"{name}_dropout"] = nn.Dropout(rate)
    return layers
