"""The layers of a network with their output shapes, parameters and operations."""

from collections import Counter
from collections.abc import Callable
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
    """A record per layer, with the fields of Layer, in the order of computation.

    Of a class of the user, the layers are the modules without parts, and those with parameters of their own.
    """
    size = variant.input.size
    network = build.build_network(variant, seed=0).eval()
    outputs: dict[str, torch.Tensor | None] = {}
    operations: Counter[str] = Counter()  # a layer may be used several times
    layers = {
        name or type(network).__name__: module
        for name, module in network.named_modules()
        if not list(module.children()) or list(module.parameters(recurse=False))
    }

    def recorder(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(layer: nn.Module, _: Any, output: Any) -> None:
            outputs[name] = tensor = _first_tensor(output)
            operations[name] += 0 if tensor is None else multiply_accumulates(layer, tensor)

        return record

    for name, layer in layers.items():
        layer.register_forward_hook(recorder(name))
    with torch.inference_mode():
        network(torch.zeros(1, variant.images.channels, size, size))
    order = [*outputs, *(name for name in layers if name not in outputs)]  # some may be used without being called
    return [asdict(_layer(name, layers[name], outputs.get(name), operations[name])) for name in order]


def _first_tensor(output: Any) -> torch.Tensor | None:
    values = output if isinstance(output, tuple | list) else (output,)
    return next((value for value in values if isinstance(value, torch.Tensor)), None)


def _layer(name: str, layer: nn.Module, output: torch.Tensor | None, operations: int) -> Layer:
    own = [parameter for parameter in layer.parameters(recurse=False) if parameter.requires_grad]
    field, stride = _field_and_stride(layer)
    return Layer(
        name.removeprefix("layers."),
        kind=type(layer).__name__,
        output="" if output is None else "×".join(map(str, output.shape[1:])),
        parameters=sum(parameter.numel() for parameter in own),
        arithmetic=_parameter_arithmetic(layer) if own else "",
        multiply_accumulates=operations,
        field=field,
        stride=stride,
    )


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
            bias = "" if layer.bias is None else " + 1"
            return f"{maps} × ({inputs // layer.groups} × {height} × {width}{bias})"
        case nn.Linear(in_features=inputs, out_features=outputs):
            return f"{outputs} × {inputs}" if layer.bias is None else f"{outputs} × ({inputs} + 1)"
        case nn.BatchNorm1d(num_features=maps) | nn.BatchNorm2d(num_features=maps):
            return f"2 × {maps}"
        case custom_layers.Subsampling():
            return f"2 × {len(layer.bias)}"
        case custom_layers.PartialConv2d():
            return f"{len(layer.weight)} × 5 × 5 + {len(layer.bias)}"
    return ""
