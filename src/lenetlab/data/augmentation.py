"""Random changes of whole batches, for training data only: affine ones, and elastic ones as in Simard et al. 2003."""

import math
from functools import cache

import torch
from torch.nn import functional

ROTATION = 10.0  # degrees, either way
TRANSLATION = 2.0  # pixels, either way
SCALE = 0.1  # of the size, either way
SHEAR = 5.0  # degrees, either way
ELASTICITY = 34.0  # alpha there: noise from -1 to 1 for every pixel is smoothed, and moves it so many times as far
SMOOTHNESS = 4.0  # sigma there, of the Gaussian that smooths, in pixels
WAVES = 8  # along either side: finer ones keep less than 1 % of their height in that smoothing
AFFINE = 6  # numbers that describe an affine change


def draw(count: int, size: int, elastic: bool, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Numbers (count, D) that describe a change each, as `changed` takes them; on the CPU.

    The first six are a matrix (2, 3) from output to input coordinates in [-1, 1], as `affine_grid` takes it; the others
    heights of waves, down and across, in these coordinates. `strength` multiplies all ranges.
    """
    angle, shear, right, down, zoom = torch.rand(5, count, generator=generator).mul_(2).sub_(1) * strength
    angle, shear = angle * math.radians(ROTATION), torch.tan(shear * math.radians(SHEAR))
    scale = 1 / (1 + SCALE * zoom)
    right, down = (shift * (2 * TRANSLATION / size) for shift in (right, down))
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([cosine, sine + shear * cosine, -sine, cosine - shear * sine], dim=1).view(count, 2, 2)
    shift = -linear @ torch.stack([right, down], dim=1).unsqueeze(2)  # moved after it is turned
    matrices = torch.cat([linear, shift], dim=2).flatten(1)
    if not elastic:
        return matrices
    deviation = strength * ELASTICITY / math.sqrt(3)  # of the noise, whose smoothed sums are normal
    heights = torch.randn(count, 2 * WAVES**2, generator=generator).mul_(deviation * 2 / size)
    return torch.cat([matrices, heights], dim=1)


def changed(images: torch.Tensor, changes: torch.Tensor, black: float) -> torch.Tensor:
    """Images (N, 1, H, W) under changes (N, D), bilinear; what comes in from outside has the value `black`."""
    grid = functional.affine_grid(changes[:, :AFFINE].unflatten(1, (2, 3)), list(images.shape), align_corners=False)
    if changes.shape[1] > AFFINE:
        basis = waves(images.shape[-1]).to(images.device)
        heights = changes[:, AFFINE:].unflatten(1, (2, WAVES, WAVES))
        grid += (basis @ heights @ basis.T).permute(0, 2, 3, 1)
    return functional.grid_sample(images - black, grid, align_corners=False).add_(black)


@cache
def waves(size: int) -> torch.Tensor:
    """(size, WAVES): waves along a side as Gaussian smoothing, mirrored at the edges, leaves them of white noise.

    They are the cosine transform's, which such a smoothing only scales; so a few of them make the whole field.
    """
    frequency = torch.arange(WAVES, dtype=torch.float64) * (math.pi / size)
    cosines = torch.cos((torch.arange(size, dtype=torch.float64) + 0.5).unsqueeze(1) * frequency)
    cosines *= math.sqrt(2 / size)
    cosines[:, 0] /= math.sqrt(2)
    return (cosines * torch.exp(-(frequency**2) * SMOOTHNESS**2 / 2)).float()
