"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

import torch
from torch import nn


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which is 1 at 1 and bends most there: LeCun et al. 1998, appendix A."""

    def forward(self, flow: torch.Tensor) -> torch.Tensor:
        return 1.7159 * torch.tanh(2 / 3 * flow)


ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "scaled-tanh": ScaledTanh}
