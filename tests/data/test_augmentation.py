"""Augmentation: affine changes are compared with torchvision, elastic ones with the Gaussian filter of SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import fft, ndimage

from lenetlab.data import augmentation
from lenetlab.settings import training_schema

AFFINE, ELASTIC = training_schema.AUGMENTATIONS["affine"], training_schema.AUGMENTATIONS["elastic"]


def affine_parameters(monkeypatch: pytest.MonkeyPatch, draws: list[float], size: int) -> torch.Tensor:
    """What `draw` makes of these random numbers in [-1, 1]: angle, shear, right, down, zoom."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: (torch.tensor(draws).view(5, 1) + 1) / 2)
    return augmentation.draw(1, size, AFFINE, strength=1.0, generator=torch.Generator())


def random_parameters(
    count: int, elastic: bool = False, strength: float = 1.0, seed: int = 0, size: int = 28
) -> torch.Tensor:
    return augmentation.draw(count, size, ELASTIC if elastic else AFFINE, strength, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("draws", [
    [0, 0, 0, 0, 0],
    [1, 0, 0, 0, 0],
    [0, 0, 0.5, -1, 0],
    [0, 0, 0, 0, 1],
    [-0.7, 0, 0.3, 0.9, -0.5],
    [0, 0, 0, 0, -1],
])  # fmt: skip
def test_affine_changes_are_those_of_torchvision(monkeypatch, draws, size):
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(1))
    from torchvision.transforms.v2 import InterpolationMode  # imported here: it takes seconds, in every worker
    from torchvision.transforms.v2 import functional as reference

    angle, _, right, down, zoom = draws
    expected = reference.affine(
        image,
        angle=angle * AFFINE.rotation,
        translate=[right * AFFINE.translation, down * AFFINE.translation],
        scale=1 + zoom * AFFINE.scale,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    parameters = affine_parameters(monkeypatch, [float(draw) for draw in draws], size)
    torch.testing.assert_close(augmentation.apply(image, parameters, black=0.0), expected, atol=2e-4, rtol=0)


def test_shear_keeps_the_area(monkeypatch):
    matrix = affine_parameters(monkeypatch, [0.0, 1.0, 0.0, 0.0, 0.0], 28).view(2, 3)[:, :2]
    assert matrix[0, 1].item() == pytest.approx(math.tan(math.radians(AFFINE.shear)), rel=1e-6)
    assert torch.linalg.det(matrix).item() == pytest.approx(1.0, rel=1e-6)


def test_random_affine_changes_use_the_whole_range_and_no_more():
    matrices = random_parameters(20_000).view(-1, 2, 3)
    area = 1 / torch.linalg.det(matrices[:, :, :2])
    assert (1 - AFFINE.scale) ** 2 <= area.min() < 0.83
    assert 1.18 < area.max() <= (1 + AFFINE.scale) ** 2 + 1e-5
    assert matrices[:, :, 2].mean().abs() < 0.01


def test_pixels_from_outside_the_image_have_the_value_of_black():
    images = torch.full((50, 1, 28, 28), -0.42)
    parameters = random_parameters(50, elastic=True)
    torch.testing.assert_close(augmentation.apply(images, parameters, black=-0.42), images)


def test_parameters_depend_on_the_generator_alone():
    first, again, other = (random_parameters(9, elastic=True, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [28, 32])
def test_smoothed_cosines_are_what_the_gaussian_filter_leaves_of_noise(size):
    """The lowest frequencies of noise, scaled as here, are close to the filtered noise of SciPy."""
    noise = np.random.default_rng(0).normal(size=(size, size))
    smoothed = ndimage.gaussian_filter(noise, augmentation.SMOOTHNESS, mode="reflect", truncate=8.0)
    amplitudes = fft.dctn(noise, norm="ortho")[: augmentation.FREQUENCIES, : augmentation.FREQUENCIES]
    basis = augmentation.smoothed_cosines(size).double().numpy()
    assert np.abs(basis @ amplitudes @ basis.T - smoothed).max() < 0.03 * smoothed.std()


def test_elastic_displacements_have_the_size_of_simard_2003():
    """Their deviation is alpha, times that of noise from -1 to 1, times the filter's norm 1 / (2 sigma sqrt(pi))."""
    size = 32
    parameters = random_parameters(400, elastic=True, size=size)[:, augmentation.AFFINE_PARAMETERS :]
    amplitudes = parameters.view(-1, 2, augmentation.FREQUENCIES, augmentation.FREQUENCIES)
    basis = augmentation.smoothed_cosines(size)
    pixels = (basis @ amplitudes @ basis.T)[:, :, 12:20, 12:20] * size / 2  # away from the mirrored edges
    expected = ELASTIC.elasticity / math.sqrt(3) / (2 * augmentation.SMOOTHNESS * math.sqrt(math.pi))
    assert pixels.std().item() == pytest.approx(expected, rel=0.1)
    assert pixels.mean().abs() < 0.1


def test_an_elastic_change_without_displacements_is_the_affine_one():
    image = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    affine, elastic = random_parameters(1), random_parameters(1, elastic=True)
    assert torch.equal(elastic[:, : augmentation.AFFINE_PARAMETERS], affine)
    assert not torch.allclose(*(augmentation.apply(image, parameters, 0.0) for parameters in (affine, elastic)))
    elastic[:, augmentation.AFFINE_PARAMETERS :] = 0
    torch.testing.assert_close(*(augmentation.apply(image, parameters, 0.0) for parameters in (affine, elastic)))


def test_strength_multiplies_all_changes():
    weak, strong = (random_parameters(5000, elastic=True, strength=strength).std(0) for strength in (0.5, 1.0))
    assert (weak[2] / strong[2]).item() == pytest.approx(0.5, rel=0.05)  # translation
    elastic = slice(augmentation.AFFINE_PARAMETERS, None)
    torch.testing.assert_close(weak[elastic] * 2, strong[elastic])


def pixels_of_images(channels: int = 1) -> torch.Tensor:
    return torch.rand(200, channels, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("flip", "dimensions"), [("horizontal", [3]), ("vertical", [2])])
def test_half_of_the_images_are_flipped(flip, dimensions):
    images = pixels_of_images(channels=3)
    ranges = training_schema.AugmentationRanges(flip=flip)
    parameters = augmentation.draw(200, 16, ranges, 1.0, torch.Generator().manual_seed(0))
    changed = augmentation.apply(images, parameters, torch.zeros(3, 1, 1))
    flipped = (changed - images.flip(dimensions)).abs().amax((1, 2, 3)) < 1e-4
    same = (changed - images).abs().amax((1, 2, 3)) < 1e-4
    assert (flipped ^ same).all()
    assert 70 < flipped.sum() < 130


def test_flips_in_both_directions_are_independent():
    ranges = training_schema.AugmentationRanges(flip="both")
    matrices = augmentation.draw(400, 16, ranges, 1.0, torch.Generator().manual_seed(0)).view(-1, 2, 3)
    kinds = (matrices[:, 0, 0] < 0) * 2 + (matrices[:, 1, 1] < 0)
    assert (torch.bincount(kinds, minlength=4) > 60).all()


def test_crops_are_those_of_the_image_with_a_border_of_black():
    images, black = pixels_of_images(), torch.full((1, 1, 1), -0.5)
    parameters = augmentation.draw(
        200, 16, training_schema.AugmentationRanges(crop=2), 1.0, torch.Generator().manual_seed(0)
    )
    changed = augmentation.apply(images, parameters, black)
    bordered = torch.nn.functional.pad(images, (2, 2, 2, 2), value=-0.5)
    crops = torch.stack([bordered[:, :, y : y + 16, x : x + 16] for y in range(5) for x in range(5)])
    distances = (changed - crops).abs().amax((2, 3, 4))  # (25, 200)
    assert (distances.min(0).values < 1e-4).all()
    assert len(distances.argmin(0).unique()) == 25


def test_pixels_from_outside_a_colour_image_have_the_value_of_black_of_their_channel():
    black = torch.tensor([-0.1, -0.2, -0.3]).view(3, 1, 1)
    images = black.expand(50, 3, 16, 16)
    torch.testing.assert_close(augmentation.apply(images, random_parameters(50, size=16), black), images.contiguous())
