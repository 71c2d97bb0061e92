"""A network of the layers that params.yaml lists."""

from collections import OrderedDict

import torch
from torch import nn

from lenetlab.networks import custom_layers
from lenetlab.settings import layer_schema, schema


class CNN(nn.Module):
    """The layers in their order, and a linear layer to the classes: images (N, C, size, size) to logits (N, classes).

    Maps are flattened before the first linear layer. Dropout before that leaves out whole maps, after it single units.
    """

    def __init__(self, images: schema.ImageKind, size: int, settings: tuple[layer_schema.Layer, ...]) -> None:
        super().__init__()
        layers = OrderedDict[str, nn.Module]()
        *shapes, last = layer_schema.output_shapes(settings, images.channels, size)
        names = layer_schema.layer_names(settings)
        for name, layer, (count, side) in zip(names, settings, shapes, strict=True):
            match layer:
                case layer_schema.Convolution():
                    layers[name] = nn.Conv2d(count, layer.conv, layer.kernel, layer.stride, layer.padding)
                case layer_schema.Norm():
                    layers[name] = nn.BatchNorm2d(count) if side else nn.BatchNorm1d(count)
                case layer_schema.ActivationLayer():
                    layers[name] = custom_layers.ACTIVATIONS[layer.activation]()
                case layer_schema.Pool():
                    layers[name] = custom_layers.POOLINGS[layer.pool](layer.size, layer.stride)
                case layer_schema.Dropout():
                    layers[name] = nn.Dropout2d(layer.dropout) if side else nn.Dropout(layer.dropout)
                case layer_schema.Linear():
                    if side:
                        layers["flatten"] = nn.Flatten()
                    layers[name] = nn.Linear(layer_schema.units((count, side)), layer.linear)
        if last[1]:
            layers["flatten"] = nn.Flatten()
        layers["output"] = nn.Linear(layer_schema.units(last), images.classes)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits
