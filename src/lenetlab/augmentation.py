"""Random affine changes of whole batches, for training data only."""

import math

import torch
from torch.nn import functional

ROTATION = 10.0  # degrees, either way
TRANSLATION = 2.0  # pixels, either way
SCALE = 0.1  # of the size, either way
SHEAR = 5.0  # degrees, either way


def draw(count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Matrices (count, 2, 3) from output to input coordinates in [-1, 1], as `affine_grid` takes them, on the CPU."""
    angle, shear, right, down, zoom = torch.rand(5, count, generator=generator).mul_(2).sub_(1)
    angle, shear = angle * math.radians(ROTATION), torch.tan(shear * math.radians(SHEAR))
    scale = 1 / (1 + SCALE * zoom)
    right, down = (shift * (2 * TRANSLATION / size) for shift in (right, down))
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([cosine, sine + shear * cosine, -sine, cosine - shear * sine], dim=1).view(count, 2, 2)
    shift = -linear @ torch.stack([right, down], dim=1).unsqueeze(2)  # moved after it is turned
    return torch.cat([linear, shift], dim=2)


def affine(images: torch.Tensor, matrices: torch.Tensor, black: float) -> torch.Tensor:
    """Images (N, 1, H, W) moved by matrices (N, 2, 3), bilinear; what comes in from outside has the value `black`."""
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images - black, grid, align_corners=False).add_(black)
