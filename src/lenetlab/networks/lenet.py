"""LeNet-5, as it is taught today and as LeCun et al. 1998 print it."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

from lenetlab.networks import custom_layers, mlp
from lenetlab.settings import schema


class LeNet5(nn.Module):
    """LeNet-5: images (N, C, size, size) to logits (N, classes). LeCun et al. 1998, figure 2.

    With `connections` "full", `pooling` "max" or "average" and `output` "linear" it is the network of today's
    textbooks; with "partial", "trained" and "codes" that of the paper. Batch normalisation comes between a convolution
    and its activation, dropout after the activation of a hidden linear layer, another activation after trained pooling.
    """

    def __init__(
        self,
        images: schema.ImageKind,
        size: int,
        channels: tuple[int, ...],
        hidden: tuple[int, ...],
        pooling: str,
        activation: str,
        connections: str,
        output: str,
        batch_norm: bool,
        dropout: tuple[float, ...],
    ) -> None:
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2  # a 5×5 convolution without padding takes 4 pixels, pooling halves the rest
        layers = OrderedDict[str, nn.Module]()
        for (inputs, maps), convolution, subsampling in zip(
            pairwise((images.channels, *channels)), ("c1", "c3"), ("s2", "s4"), strict=True
        ):
            partial = connections == "partial" and convolution == "c3"
            layers[convolution] = custom_layers.PartialConv2d() if partial else nn.Conv2d(inputs, maps, kernel_size=5)
            if batch_norm:
                layers[f"{convolution}_norm"] = nn.BatchNorm2d(maps)
            layers[f"{convolution}_{activation}"] = custom_layers.ACTIVATIONS[activation]()
            if pooling == "trained":
                layers[subsampling] = custom_layers.Subsampling(maps)
                layers[f"{subsampling}_{activation}"] = custom_layers.ACTIVATIONS[activation]()
            else:
                layers[subsampling] = custom_layers.POOLINGS[pooling](2)
        layers["flatten"] = nn.Flatten()
        widths = (channels[1] * side * side, *hidden)
        layers.update(mlp.hidden_layers(("c5", "f6"), widths, activation, batch_norm=False, dropout=dropout))
        layers["output"] = custom_layers.Codes() if output == "codes" else nn.Linear(hidden[-1], images.classes)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits
