"""LeNet-5 and the multilayer perceptron, with arguments enough for every variant, and their arithmetic."""

from collections import OrderedDict

import torch
from torch import nn

from lenetlab.networks import layer_types
from lenetlab.settings.schema import CLASSES


class MLP(nn.Module):
    """Pixels, hidden layers, ten classes: images (N, 1, size, size) to logits (N, 10)."""

    def __init__(
        self, size: int, hidden: tuple[int, ...], activation: str, batch_norm: bool, dropout: tuple[float, ...]
    ) -> None:
        super().__init__()
        names = tuple(f"hidden{number}" for number in range(1, len(hidden) + 1))
        layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
        layers.update(layer_types.hidden_layers(names, (size * size, *hidden), activation, batch_norm, dropout))
        layers["output"] = nn.Linear(hidden[-1], CLASSES)
        self.layers = nn.Sequential(layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)
