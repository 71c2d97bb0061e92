"""Trained networks that answer from raw pixels; kept in memory, one image takes milliseconds."""

from contextlib import chdir

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.networks import build
from lenetlab.prediction.trained import TrainedModel
from lenetlab.settings import schema
from lenetlab.training import checkpoint

BATCH = 500  # images that are computed at a time


class FromPixels(nn.Module):
    """A network with its normalisation and padding: uint8 (N, size, size) or (N, size, size, 3) to logits."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, definition: schema.Variant, model: TrainedModel) -> None:
        super().__init__()
        self.network, self.form, self.is_grey = network, definition.input, definition.images.channels == 1
        normalization = model.normalization or {"mean": 0.0, "std": 1.0}
        for name in ("mean", "std"):
            value = torch.tensor(normalization[name], dtype=torch.float64).view(-1, 1, 1)
            self.register_buffer(name, value.float(), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        images = pixels.unsqueeze(1) if self.is_grey else pixels.permute(0, 3, 1, 2)
        images = dataset.resized(images.float() / 255, self.form)
        logits: torch.Tensor = self.network((images - self.mean) / self.std)
        return logits


class Ensemble:
    """The networks of one or more seeds, in evaluation mode."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        definition = model.definition()
        self.networks = []
        weights = [path.absolute() for path in model.weights]
        with chdir(model.root):  # a class of the user is found from there
            for path in weights:
                network = build.build_network(definition, seed=0)
                checkpoint.load_weights(network, path)
                self.networks.append(FromPixels(network, definition, model).eval())

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(S, N, classes), by seed: of images uint8 (N, size, size), in colour (N, size, size, 3)."""
        side, shape = self.model.size, pixels.shape[1:]
        needed = (side, side) if self.model.channels == 1 else (side, side, 3)
        if shape != needed or pixels.dtype != np.uint8:
            allowed = f"uint8 of shape (N, {', '.join(map(str, needed))})"
            raise UserError(f"images: {pixels.dtype} of shape {pixels.shape} are not allowed; allowed: {allowed}")
        with torch.inference_mode():
            parts = torch.split(torch.from_numpy(np.ascontiguousarray(pixels)), BATCH)
            answers = [
                torch.cat([torch.softmax(network(part).double(), dim=1) for part in parts]) for network in self.networks
            ]
        result: NDArray[np.float64] = torch.stack(answers).numpy()
        return result
