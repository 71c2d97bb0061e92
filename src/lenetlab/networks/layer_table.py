"""The layers of a network with their output shapes, parameters and operations."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from lenetlab.networks import build, custom_layers
from lenetlab.settings import schema


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str  # its class
    output: str  # shape without the batch, such as 6×28×28
    parameters: int
    arithmetic: str  # how `parameters` is computed, such as 6 × (1 × 5 × 5 + 1); empty if there are none
    multiply_accumulates: int  # for one image
    field: int  # side of what a unit reads of each map before, in pixels; 0 if it reads everything
    stride: int  # pixels between the fields of neighbouring units


def layer_table(variant: schema.Variant) -> list[dict[str, Any]]:
    """A record per layer, with the fields of Layer, in the order of computation."""
    size = variant.input.size
    table, outputs = [], torch.zeros(1, variant.images.channels, size, size)
    network = build.build_network(variant, seed=0).eval()
    for name, layer in network.layers.named_children():
        with torch.inference_mode():
            outputs = layer(outputs)
        field, stride = _field_and_stride(layer)
        row = Layer(
            name,
            kind=type(layer).__name__,
            output="×".join(map(str, outputs.shape[1:])),
            parameters=parameter_count(layer),
            arithmetic=_parameter_arithmetic(layer),
            multiply_accumulates=multiply_accumulates(layer, outputs),
            field=field,
            stride=stride,
        )
        table.append(asdict(row))
    return table


def parameter_count(module: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def multiply_accumulates(layer: nn.Module, output: torch.Tensor) -> int:
    """Multiply-accumulate operations that compute the layer's `output` of one image: convolutions and linear layers.

    Activations, max and average pooling count as 0. So does normalisation, which can be folded into the convolution
    before it.
    """
    match layer:
        case nn.Conv2d() | nn.Linear():
            return output.numel() * layer.weight[0].numel()
        case custom_layers.PartialConv2d():
            return output[0, 0].numel() * layer.weight.numel()
        case custom_layers.Subsampling():
            return output.numel()
        case custom_layers.Codes():
            return layer.codes.numel()
    return 0


def _field_and_stride(layer: nn.Module) -> tuple[int, int]:
    """In pixels; (0, 1) for a layer whose units read everything, or only the value at their place."""
    match layer:
        case nn.Conv2d() | nn.MaxPool2d() | nn.AvgPool2d():
            field, stride = (size if isinstance(size, int) else max(size) for size in (layer.kernel_size, layer.stride))
            return field, stride
        case custom_layers.PartialConv2d():
            return 5, 1
        case custom_layers.Subsampling():
            return 2, 2
        case nn.Flatten():
            return 1, 1
    return 0, 1


def _parameter_arithmetic(layer: nn.Module) -> str:
    match layer:
        case nn.Conv2d(in_channels=inputs, out_channels=maps, kernel_size=(height, width)):
            return f"{maps} × ({inputs} × {height} × {width} + 1)"
        case nn.Linear(in_features=inputs, out_features=outputs):
            return f"{outputs} × ({inputs} + 1)"
        case nn.BatchNorm1d(num_features=maps) | nn.BatchNorm2d(num_features=maps):
            return f"2 × {maps}"
        case custom_layers.Subsampling():
            return f"2 × {len(layer.bias)}"
        case custom_layers.PartialConv2d():
            return f"{len(layer.weight)} × 5 × 5 + {len(layer.bias)}"
    return ""
