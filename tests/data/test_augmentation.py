"""Affine augmentation, held to torchvision's image by image; elastic, to SciPy's Gaussian filter."""

import math

import numpy as np
import pytest
import torch
from scipy import fft, ndimage
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from lenetlab.data import augmentation


def matrices_of(monkeypatch: pytest.MonkeyPatch, draws: list[float], size: int) -> torch.Tensor:
    """The matrix that `draw` makes of five given numbers in [-1, 1]."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: (torch.tensor(draws).view(5, 1) + 1) / 2)
    return augmentation.draw(1, size, elastic=False, strength=1.0, generator=torch.Generator())


def drawn(count: int, elastic: bool = False, strength: float = 1.0, seed: int = 0, size: int = 28) -> torch.Tensor:
    return augmentation.draw(count, size, elastic, strength, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize(
    "draws",  # angle, shear, right, down, zoom
    [
        [0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0.5, -1, 0],
        [0, 0, 0, 0, 1],
        [-0.7, 0, 0.3, 0.9, -0.5],
        [0, 0, 0, 0, -1],
    ],
)
def test_a_drawn_change_is_torchvisions_affine(monkeypatch, draws, size):
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(1))
    angle, _, right, down, zoom = draws
    expected = reference.affine(
        image,
        angle=angle * augmentation.ROTATION,
        translate=[right * augmentation.TRANSLATION, down * augmentation.TRANSLATION],
        scale=1 + zoom * augmentation.SCALE,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    found = augmentation.changed(image, matrices_of(monkeypatch, [float(draw) for draw in draws], size), black=0.0)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_shear_slants_and_keeps_the_area(monkeypatch):
    matrix = matrices_of(monkeypatch, [0.0, 1.0, 0.0, 0.0, 0.0], 28).view(2, 3)[:, :2]
    assert matrix[0, 1].item() == pytest.approx(math.tan(math.radians(augmentation.SHEAR)), rel=1e-6)
    assert torch.linalg.det(matrix).item() == pytest.approx(1.0, rel=1e-6)


def test_draws_stay_within_the_limits_and_use_them():
    matrices = drawn(20_000).view(-1, 2, 3)
    area = 1 / torch.linalg.det(matrices[:, :, :2])
    assert (1 - augmentation.SCALE) ** 2 <= area.min() < 0.83
    assert 1.18 < area.max() <= (1 + augmentation.SCALE) ** 2 + 1e-5
    assert matrices[:, :, 2].mean().abs() < 0.01


def test_what_comes_in_from_outside_is_black_whatever_black_is():
    images = torch.full((50, 1, 28, 28), -0.42)
    changes = drawn(50, elastic=True)
    torch.testing.assert_close(augmentation.changed(images, changes, black=-0.42), images)


def test_the_same_generator_state_draws_the_same():
    first, again, other = (drawn(9, elastic=True, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [28, 32])
def test_waves_are_what_gaussian_smoothing_leaves_of_noise(size):
    """The first waves of a noise, scaled as ours, make the field that SciPy's filter makes of all of it."""
    noise = np.random.default_rng(0).normal(size=(size, size))
    smoothed = ndimage.gaussian_filter(noise, augmentation.SMOOTHNESS, mode="reflect", truncate=8.0)
    heights = fft.dctn(noise, norm="ortho")[: augmentation.WAVES, : augmentation.WAVES]
    basis = augmentation.waves(size).double().numpy()
    assert np.abs(basis @ heights @ basis.T - smoothed).max() < 0.03 * smoothed.std()


def test_an_elastic_change_moves_pixels_as_far_as_simard_2003_says():
    """Deviation: alpha, times that of noise from -1 to 1, times the Gaussian's norm 1 / (2 sigma sqrt(pi))."""
    size = 32
    heights = drawn(400, elastic=True, size=size)[:, augmentation.AFFINE :].view(-1, 2, *[augmentation.WAVES] * 2)
    basis = augmentation.waves(size)
    pixels = (basis @ heights @ basis.T)[:, :, 12:20, 12:20] * size / 2  # away from the edges, which mirror
    expected = augmentation.ELASTICITY / math.sqrt(3) / (2 * augmentation.SMOOTHNESS * math.sqrt(math.pi))
    assert pixels.std().item() == pytest.approx(expected, rel=0.1)
    assert pixels.mean().abs() < 0.1


def test_an_elastic_change_is_an_affine_one_that_also_bends():
    image = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    straight, bent = drawn(1), drawn(1, elastic=True)
    assert torch.equal(bent[:, : augmentation.AFFINE], straight)
    assert not torch.allclose(*(augmentation.changed(image, change, 0.0) for change in (straight, bent)))
    bent[:, augmentation.AFFINE :] = 0
    torch.testing.assert_close(*(augmentation.changed(image, change, 0.0) for change in (straight, bent)))


def test_strength_multiplies_what_an_image_goes_through():
    weak, strong = (drawn(5000, elastic=True, strength=strength).std(0) for strength in (0.5, 1.0))
    assert (weak[2] / strong[2]).item() == pytest.approx(0.5, rel=0.05)  # shift
    torch.testing.assert_close(weak[augmentation.AFFINE :] * 2, strong[augmentation.AFFINE :])
