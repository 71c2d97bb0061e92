"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

from dataclasses import asdict, dataclass

import torch
from torch import nn

from lenetlab.networks import layer_types, lenet, mlp


def parameter_count(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str
    output: str  # shape without the batch, such as 6×28×28
    parameters: int
    arithmetic: str  # how the parameters add up; empty where there are none
    multiply_accumulates: int  # for one image


def layer_table(model: lenet.LeNet5 | mlp.MLP, size: int) -> list[dict]:
    """One record per layer, in the order of computation, for images of size × size."""
    table, flow = [], torch.zeros(1, 1, size, size)
    model.eval()
    for name, layer in model.layers.named_children():
        with torch.inference_mode():
            flow = layer(flow)
        shape = "×".join(map(str, flow.shape[1:]))
        own = parameter_count(layer), _arithmetic(layer), multiply_accumulates(layer, flow)
        table.append(asdict(Layer(name, type(layer).__name__, shape, *own)))
    return table


def multiply_accumulates(layer: nn.Module, output: torch.Tensor) -> int:
    """Products that are added up to make this output of one image: those of convolutions and linear layers.

    Activations, pooling by rule, and normalisation, which can be folded into the convolution before it, count nothing.
    """
    match layer:
        case nn.Conv2d() | nn.Linear():
            return output.numel() * layer.weight[0].numel()
        case layer_types.PartialConv2d():
            return output[0, 0].numel() * layer.weight.numel()
        case layer_types.Subsampling():
            return output.numel()
        case layer_types.Codes():
            return layer.codes.numel()
    return 0


def _arithmetic(layer: nn.Module) -> str:
    match layer:
        case nn.Conv2d(in_channels=inputs, out_channels=maps, kernel_size=(height, width)):
            return f"{maps} × ({inputs} × {height} × {width} + 1)"
        case nn.Linear(in_features=inputs, out_features=outputs):
            return f"{outputs} × ({inputs} + 1)"
        case nn.BatchNorm1d(num_features=maps) | nn.BatchNorm2d(num_features=maps):
            return f"2 × {maps}"
        case layer_types.Subsampling():
            return f"2 × {len(layer.bias)}"
        case layer_types.PartialConv2d():
            return f"{len(layer.weight)} × 5 × 5 + {len(layer.bias)}"
    return ""
