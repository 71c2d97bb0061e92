"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

from collections import OrderedDict
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import nn

from lenetlab import params

CLASSES = 10
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


class LeNet5(nn.Module):
    """LeCun et al. 1998, fig. 2, in the form taught today: dense C3, plain pooling, linear output, any activation.

    Images (N, 1, size, size) to logits (N, 10). Batch normalisation stands before the activation of a convolution,
    dropout after the activation of a hidden linear layer.
    """

    def __init__(
        self,
        size: int,
        channels: tuple[int, int],
        hidden: tuple[int, int],
        pooling: str,
        activation: str,
        batch_norm: bool,
        dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2  # each 5×5 convolution takes 4 pixels, each pooling every other one
        layers = OrderedDict[str, nn.Module]()
        for (inputs, maps), convolution, subsampling in zip(
            pairwise((1, *channels)), ("c1", "c3"), ("s2", "s4"), strict=True
        ):
            layers[convolution] = nn.Conv2d(inputs, maps, kernel_size=5)
            if batch_norm:
                layers[f"{convolution}_norm"] = nn.BatchNorm2d(maps)
            layers[f"{convolution}_{activation}"] = ACTIVATIONS[activation]()
            layers[subsampling] = POOLINGS[pooling](2)
        layers["flatten"] = nn.Flatten()
        widths = (channels[1] * side * side, *hidden)
        layers.update(_hidden_layers(("c5", "f6"), widths, activation, False, dropout))
        layers["output"] = nn.Linear(hidden[-1], CLASSES)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class MLP(nn.Module):
    """Pixels, hidden layers, ten classes: images (N, 1, size, size) to logits (N, 10)."""

    def __init__(
        self, size: int, hidden: tuple[int, ...], activation: str, batch_norm: bool, dropout: tuple[float, ...]
    ) -> None:
        super().__init__()
        names = tuple(f"hidden{number}" for number in range(1, len(hidden) + 1))
        layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
        layers.update(_hidden_layers(names, (size * size, *hidden), activation, batch_norm, dropout))
        layers["output"] = nn.Linear(hidden[-1], CLASSES)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def build(variant: params.Variant, seed: int) -> LeNet5 | MLP:
    """The network of a variant on the CPU, with PyTorch's initial weights as this seed draws them."""
    rates = variant.regularization.dropout
    common = {
        "size": variant.input.size,
        "hidden": variant.model.hidden,
        "activation": variant.model.activation,
        "batch_norm": variant.regularization.batch_norm,
        "dropout": rates if isinstance(rates, tuple) else (rates,) * len(variant.model.hidden),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(variant.model, params.MLP):
            return MLP(**common)
        return LeNet5(channels=variant.model.channels, pooling=variant.model.pooling, **common)


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


def layer_table(model: LeNet5 | MLP, size: int) -> list[dict]:
    """One record per layer, in the order of computation, for images of size × size."""
    table, flow = [], torch.zeros(1, 1, size, size)
    model.eval()
    for name, layer in model.layers.named_children():
        with torch.inference_mode():
            flow = layer(flow)
        shape = "×".join(map(str, flow.shape[1:]))
        table.append(asdict(Layer(name, type(layer).__name__, shape, parameter_count(layer), _arithmetic(layer))))
    return table


def _hidden_layers(
    names: tuple[str, ...], widths: tuple[int, ...], activation: str, batch_norm: bool, dropout: tuple[float, ...]
) -> OrderedDict[str, nn.Module]:
    layers = OrderedDict[str, nn.Module]()
    for name, (inputs, outputs), rate in zip(names, pairwise(widths), dropout, strict=True):
        layers[name] = nn.Linear(inputs, outputs)
        if batch_norm:
            layers[f"{name}_norm"] = nn.BatchNorm1d(outputs)
        layers[f"{name}_{activation}"] = ACTIVATIONS[activation]()
        if rate:
            layers[f"{name}_dropout"] = nn.Dropout(rate)
    return layers


def _arithmetic(layer: nn.Module) -> str:
    match layer:
        case nn.Conv2d(in_channels=inputs, out_channels=maps, kernel_size=(height, width)):
            return f"{maps} × ({inputs} × {height} × {width} + 1)"
        case nn.Linear(in_features=inputs, out_features=outputs):
            return f"{outputs} × ({inputs} + 1)"
        case nn.BatchNorm1d(num_features=maps) | nn.BatchNorm2d(num_features=maps):
            return f"2 × {maps}"
    return ""
