"""Layers that torch does not have, most of them from LeCun et al. 1998; and the choices of activation and pooling.

LeCun, Bottou, Bengio & Haffner 1998: Gradient-based learning applied to document recognition.
"""

import torch
from torch import nn
from torch.nn import functional

from lenetlab.settings import schema

# The maps of S2 that each map of C3 reads: LeCun et al. 1998, table I.
PARTIAL_CONNECTIONS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)

# Positions of these 60 kernels among all 16 × 6 kernels of a full convolution.
KERNEL_POSITIONS = torch.tensor([6 * out + inputs for out, read in enumerate(PARTIAL_CONNECTIONS) for inputs in read])

# Target outputs of F6 for the digits 0 to 9: 7×12 bitmaps, drawn after figure 3 of the paper, which prints no numbers.
DIGIT_BITMAPS = """
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
    """1.7159 tanh(2x/3): f(±1) = ±1, and the second derivative is largest at 1. LeCun et al. 1998, appendix A."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 1.7159 * torch.tanh(2 / 3 * inputs)


class Subsampling(nn.Module):
    """Sum of 2×2 pixels × trained coefficient + trained bias, one pair per map. LeCun et al. 1998, section II.B.

    Maps (N, maps, H, W) to (N, maps, H/2, W/2).
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(maps).uniform_(-0.5, 0.5))  # torch's rule, with 4 inputs: 1 / sqrt(4)
        self.bias = nn.Parameter(torch.empty(maps).uniform_(-0.5, 0.5))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        sums = 4 * functional.avg_pool2d(inputs, 2)
        return sums * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


class PartialConv2d(nn.Module):
    """C3 of the 1998 network: a 5×5 convolution from 6 maps to 16, each of which reads only some of the 6.

    PARTIAL_CONNECTIONS says which. `weight` (60, 25) holds the kernels that exist. Images (N, 6, H, W) to
    (N, 16, H - 4, W - 4).
    """

    def __init__(self) -> None:
        super().__init__()
        bounds = torch.tensor(
            [(25 * len(read)) ** -0.5 for read in PARTIAL_CONNECTIONS]
        )  # torch's rule: 1/sqrt(inputs)
        kernels = bounds.repeat_interleave(torch.tensor([len(read) for read in PARTIAL_CONNECTIONS])).unsqueeze(1)
        self.weight = nn.Parameter((2 * torch.rand(schema.PARTIAL_KERNELS, 25) - 1) * kernels)
        self.bias = nn.Parameter((2 * torch.rand(len(PARTIAL_CONNECTIONS)) - 1) * bounds)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(inputs, self.full_weight(self.weight), self.bias)

    @staticmethod
    def full_weight(weight: torch.Tensor) -> torch.Tensor:
        """The weight (..., 16, 6, 5, 5) of a full convolution: `weight` (..., 60, 25) in its positions, else 0."""
        maps = len(PARTIAL_CONNECTIONS)
        full = weight.new_zeros(*weight.shape[:-2], 6 * maps, 25)
        full = full.index_copy(-2, KERNEL_POSITIONS.to(weight.device), weight)
        return full.view(*full.shape[:-2], maps, 6, 5, 5)


class Codes(nn.Module):
    """Logits (N, 10): minus the squared distance of F6's output (N, 84) to the fixed code of each digit.

    A code has 84 values, each -1 or 1. Nothing is trained. These are the radial basis functions of LeCun et al. 1998,
    section II.B.
    """

    codes: torch.Tensor  # (10, 84)

    def __init__(self) -> None:
        super().__init__()
        rows = [line.split() for line in DIGIT_BITMAPS.split("\n") if line]
        bitmaps = ["".join(row[digit] for row in rows) for digit in range(schema.CODES)]
        codes = torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in bitmap] for bitmap in bitmaps])
        self.register_buffer("codes", codes, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        squares = inputs.square().sum(-1, keepdim=True) + self.codes.square().sum(1)
        return torch.matmul(inputs, 2 * self.codes.T) - squares


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "scaled-tanh": ScaledTanh}
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
