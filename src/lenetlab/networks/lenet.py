"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

from lenetlab.networks import activations, layer_types
from lenetlab.settings.schema import CLASSES


class LeNet5(nn.Module):
    """LeCun et al. 1998, fig. 2, as taught today: full C3, plain pooling, linear output; or as printed there.

    Images (N, 1, size, size) to logits (N, 10). Batch normalisation stands before the activation of a convolution,
    dropout after the activation of a hidden linear layer, an activation after trained pooling.
    """

    def __init__(
        self,
        size: int,
        channels: tuple[int, int],
        hidden: tuple[int, int],
        pooling: str,
        activation: str,
        connections: str,
        output: str,
        batch_norm: bool,
        dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2  # each 5×5 convolution takes 4 pixels, each pooling every other one
        layers = OrderedDict[str, nn.Module]()
        for (inputs, maps), convolution, subsampling in zip(
            pairwise((1, *channels)), ("c1", "c3"), ("s2", "s4"), strict=True
        ):
            partial = connections == "partial" and convolution == "c3"
            layers[convolution] = layer_types.PartialConv2d() if partial else nn.Conv2d(inputs, maps, kernel_size=5)
            if batch_norm:
                layers[f"{convolution}_norm"] = nn.BatchNorm2d(maps)
            layers[f"{convolution}_{activation}"] = activations.ACTIVATIONS[activation]()
            if pooling == "trained":
                layers[subsampling] = layer_types.Subsampling(maps)
                layers[f"{subsampling}_{activation}"] = activations.ACTIVATIONS[activation]()
            else:
                layers[subsampling] = layer_types.POOLINGS[pooling](2)
        layers["flatten"] = nn.Flatten()
        widths = (channels[1] * side * side, *hidden)
        layers.update(layer_types.hidden_layers(("c5", "f6"), widths, activation, False, dropout))
        layers["output"] = layer_types.Codes() if output == "codes" else nn.Linear(hidden[-1], CLASSES)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)
