"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from lenetlab.networks import activations
from lenetlab.settings import schema
from lenetlab.settings.schema import CLASSES

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
        self.weight = nn.Parameter((2 * torch.rand(schema.PARTIAL_KERNELS, 25) - 1) * kernels)
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


POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def hidden_layers(
    names: tuple[str, ...], widths: tuple[int, ...], activation: str, batch_norm: bool, dropout: tuple[float, ...]
) -> OrderedDict[str, nn.Module]:
    layers = OrderedDict[str, nn.Module]()
    for name, (inputs, outputs), rate in zip(names, pairwise(widths), dropout, strict=True):
        layers[name] = nn.Linear(inputs, outputs)
        if batch_norm:
            layers[f"{name}_norm"] = nn.BatchNorm1d(outputs)
        layers[f"{name}_{activation}"] = activations.ACTIVATIONS[activation]()
        if rate:
            layers[f"{name}_dropout"] = nn.Dropout(rate)
    return layers
