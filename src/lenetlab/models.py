"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

from collections import OrderedDict
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from lenetlab import params
from lenetlab.params import CLASSES

# Which maps of S2 each map of C3 reads: LeCun et al. 1998, table I.
PARTIAL = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
KERNELS = torch.tensor([6 * out + inputs for out, read in enumerate(PARTIAL) for inputs in read])  # places among all 96
# What F6 shall answer to each digit: stylised 7×12 pictures of it, drawn after fig. 3 there, which prints no numbers.
CODES = """
..###..  ...##..  .#####.  #######  ....##.  #######  ..####.  #######  .#####.  .#####.
.##.##.  ..###..  ##...##  .....##  ...###.  ##.....  .##....  .....##  ##...##  ##..###
##...##  .####..  ##...##  ....##.  ..####.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ...##..  .....##  ...##..  .##.##.  ##.....  ##.....  ....##.  ##...##  ##...##
##...##  ...##..  ....##.  ..####.  ##..##.  .#####.  ######.  ...##..  .#####.  ##..###
##...##  ...##..  ...##..  .....##  ##..##.  ....###  ###..##  ...##..  ##...##  .######
##...##  ...##..  ..##...  .....##  #######  .....##  ##...##  ..##...  ##...##  .....##
##...##  ...##..  .##....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
.##.##.  ...##..  ##.....  ##...##  ....##.  ##...##  ###..##  ..##...  ##...##  ....##.
..###..  .######  #######  .#####.  ....##.  .#####.  .#####.  ..##...  .#####.  .####..
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
.......  .......  .......  .......  .......  .......  .......  .......  .......  .......
"""


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which is 1 at 1 and bends most there: LeCun et al. 1998, appendix A."""

    def forward(self, flow: torch.Tensor) -> torch.Tensor:
        return 1.7159 * torch.tanh(2 / 3 * flow)


class Subsampling(nn.Module):
    """The sum of four neighbours times a coefficient, plus a bias, both trained: LeCun et al. 1998, section II.B."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(maps).uniform_(-0.5, 0.5))  # as torch draws: 1 / sqrt(4 inputs)
        self.bias = nn.Parameter(torch.empty(maps).uniform_(-0.5, 0.5))

    def forward(self, flow: torch.Tensor) -> torch.Tensor:
        sums = 4 * functional.avg_pool2d(flow, 2)
        return sums * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


class PartialConv2d(nn.Module):
    """5×5 convolution of 6 maps to 16, of which each reads those that PARTIAL names; weights (60, 25)."""

    def __init__(self) -> None:
        super().__init__()
        bounds = torch.tensor([(25 * len(read)) ** -0.5 for read in PARTIAL])  # as torch draws: 1 / sqrt(inputs)
        kernels = bounds.repeat_interleave(torch.tensor([len(read) for read in PARTIAL])).unsqueeze(1)
        self.weight = nn.Parameter((2 * torch.rand(params.PARTIAL_KERNELS, 25) - 1) * kernels)
        self.bias = nn.Parameter((2 * torch.rand(len(PARTIAL)) - 1) * bounds)

    def forward(self, flow: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(flow, self.full(self.weight), self.bias)

    @staticmethod
    def full(weight: torch.Tensor) -> torch.Tensor:
        """The kernels (..., 60, 25) at their places among all, (..., 16, 6, 5, 5); the others are 0."""
        everything = weight.new_zeros(*weight.shape[:-2], 6 * len(PARTIAL), 25)
        return everything.index_copy(-2, KERNELS.to(weight.device), weight).unflatten(-1, (5, 5)).unflatten(-3, (-1, 6))


class Codes(nn.Module):
    """How near 84 values are to each digit's fixed code of -1 and 1: minus the squared distance, as a logit.

    The radial basis functions of LeCun et al. 1998, section II.B; nothing is trained.
    """

    def __init__(self) -> None:
        super().__init__()
        rows = [line.split() for line in CODES.split("\n") if line]
        pictures = ["".join(row[digit] for row in rows) for digit in range(CLASSES)]
        codes = torch.tensor([[1.0 if bit == "#" else -1.0 for bit in picture] for picture in pictures])
        self.register_buffer("codes", codes, persistent=False)

    def forward(self, flow: torch.Tensor) -> torch.Tensor:
        distances = flow.square().sum(-1, keepdim=True) + self.codes.square().sum(1)
        return torch.matmul(flow, 2 * self.codes.T) - distances


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "scaled-tanh": ScaledTanh}
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


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
            layers[convolution] = PartialConv2d() if partial else nn.Conv2d(inputs, maps, kernel_size=5)
            if batch_norm:
                layers[f"{convolution}_norm"] = nn.BatchNorm2d(maps)
            layers[f"{convolution}_{activation}"] = ACTIVATIONS[activation]()
            if pooling == "trained":
                layers[subsampling] = Subsampling(maps)
                layers[f"{subsampling}_{activation}"] = ACTIVATIONS[activation]()
            else:
                layers[subsampling] = POOLINGS[pooling](2)
        layers["flatten"] = nn.Flatten()
        widths = (channels[1] * side * side, *hidden)
        layers.update(_hidden_layers(("c5", "f6"), widths, activation, False, dropout))
        layers["output"] = Codes() if output == "codes" else nn.Linear(hidden[-1], CLASSES)
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
        own = variant.model.model_dump(include={"channels", "pooling", "connections", "output"})
        return LeNet5(**own, **common)


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


def layer_table(model: LeNet5 | MLP, size: int) -> list[dict]:
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
        case PartialConv2d():
            return output[0, 0].numel() * layer.weight.numel()
        case Subsampling():
            return output.numel()
        case Codes():
            return layer.codes.numel()
    return 0


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
        case Subsampling():
            return f"2 × {len(layer.bias)}"
        case PartialConv2d():
            return f"{len(layer.weight)} × 5 × 5 + {len(layer.bias)}"
    return ""
