"""Random affine and elastic changes, flips and crops of training images, for whole batches.

Elastic changes are those of Simard et al. 2003.
"""

import math
from functools import cache

import torch
from torch.nn import functional

from lenetlab.settings import training_schema

SMOOTHNESS = 4.0  # sigma in the paper: of the Gaussian filter, in pixels

AFFINE_PARAMETERS = 6
FREQUENCIES = 8  # along each side; the Gaussian filter leaves less than 1 % of the amplitude of higher ones


def draw(
    count: int, size: int, ranges: training_schema.AugmentationRanges, strength: float, generator: torch.Generator
) -> torch.Tensor:
    """Random parameters (count, D) for `apply`, one row per image of `size` × `size` pixels, on the CPU.

    The first six numbers are a matrix (2, 3) from output to input coordinates in [-1, 1], as `affine_grid` expects it.
    With an elasticity there follow the amplitudes of cosines for the displacements along x and y, in the same
    coordinates: smoothed noise from -1 to 1 times the elasticity. `strength` multiplies all ranges but flip and crop.
    """
    angle, shear, right, down, zoom = torch.rand(5, count, generator=generator).mul_(2).sub_(1) * strength
    angle, shear = angle * math.radians(ranges.rotation), torch.tan(shear * math.radians(ranges.shear))
    scale = 1 / (1 + ranges.scale * zoom)
    right, down = (shift * (2 * ranges.translation / size) for shift in (right, down))
    if ranges.crop:  # a crop of the size of the image from the image with a border is a move by whole pixels
        crops = torch.randint(-ranges.crop, ranges.crop + 1, (2, count), generator=generator)
        right, down = right + crops[0] * (2 / size), down + crops[1] * (2 / size)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([cosine, sine + shear * cosine, -sine, cosine - shear * sine], dim=1).view(count, 2, 2)
    shift = -linear @ torch.stack([right, down], dim=1).unsqueeze(2)  # the image is moved after the rotation
    matrices = torch.cat([linear, shift], dim=2)
    for row, name in enumerate(("horizontal", "vertical")):
        if ranges.flip in (name, "both"):
            matrices[:, row] *= torch.randint(0, 2, (count, 1), generator=generator) * 2 - 1
    matrices = matrices.flatten(1)
    if not ranges.elasticity:
        return matrices
    deviation = (
        strength * ranges.elasticity / math.sqrt(3)
    )  # 1 / sqrt(3) is that of noise from -1 to 1; its sums are normal
    amplitudes = torch.randn(count, 2 * FREQUENCIES**2, generator=generator).mul_(deviation * 2 / size)
    return torch.cat([matrices, amplitudes], dim=1)


def apply(images: torch.Tensor, parameters: torch.Tensor, black: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W), H = W, changed by `parameters` (N, D), with bilinear interpolation.

    `black` (C, 1, 1) is the value of pixels that come from outside the image.
    """
    matrices = torch.unflatten(parameters[:, :AFFINE_PARAMETERS], 1, (2, 3))
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    if parameters.shape[1] > AFFINE_PARAMETERS:
        basis = smoothed_cosines(images.shape[-1]).to(images.device)
        amplitudes = torch.unflatten(parameters[:, AFFINE_PARAMETERS:], 1, (2, FREQUENCIES, FREQUENCIES))
        grid += (basis @ amplitudes @ basis.T).permute(0, 2, 3, 1)
    return functional.grid_sample(images - black, grid, align_corners=False).add_(black)


@cache
def smoothed_cosines(size: int) -> torch.Tensor:
    """(size, FREQUENCIES): the first basis vectors of the cosine transform (DCT-II) after the Gaussian filter.

    The filter, with mirrored edges, only scales each of them. So smoothed white noise is a sum of these vectors with
    random amplitudes, and the filter itself is not needed.
    """
    frequency = torch.arange(FREQUENCIES, dtype=torch.float64) * (math.pi / size)
    cosines = torch.cos((torch.arange(size, dtype=torch.float64) + 0.5).unsqueeze(1) * frequency)
    cosines *= math.sqrt(2 / size)
    cosines[:, 0] /= math.sqrt(2)
    return (cosines * torch.exp(-(frequency**2) * SMOOTHNESS**2 / 2)).float()
