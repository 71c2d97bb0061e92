"""Affine augmentation, held to torchvision's image by image."""

import math

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from lenetlab import augmentation


def matrices_of(monkeypatch: pytest.MonkeyPatch, draws: list[float], size: int) -> torch.Tensor:
    """The matrix that `draw` makes of five given numbers in [-1, 1]."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: (torch.tensor(draws).view(5, 1) + 1) / 2)
    return augmentation.draw(1, size, torch.Generator())


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
    found = augmentation.affine(image, matrices_of(monkeypatch, [float(draw) for draw in draws], size), black=0.0)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_shear_slants_and_keeps_the_area(monkeypatch):
    matrix = matrices_of(monkeypatch, [0.0, 1.0, 0.0, 0.0, 0.0], 28)[0, :, :2]
    assert matrix[0, 1].item() == pytest.approx(math.tan(math.radians(augmentation.SHEAR)), rel=1e-6)
    assert torch.linalg.det(matrix).item() == pytest.approx(1.0, rel=1e-6)


def test_draws_stay_within_the_limits_and_use_them():
    matrices = augmentation.draw(20_000, 28, torch.Generator().manual_seed(0))
    area = 1 / torch.linalg.det(matrices[:, :, :2])
    assert (1 - augmentation.SCALE) ** 2 <= area.min() < 0.83
    assert 1.18 < area.max() <= (1 + augmentation.SCALE) ** 2 + 1e-5
    assert matrices[:, :, 2].mean().abs() < 0.01


def test_what_comes_in_from_outside_is_black_whatever_black_is():
    images = torch.full((50, 1, 28, 28), -0.42)
    matrices = augmentation.draw(50, 28, torch.Generator().manual_seed(0))
    torch.testing.assert_close(augmentation.affine(images, matrices, black=-0.42), images)


def test_the_same_generator_state_draws_the_same():
    first, again, other = (augmentation.draw(9, 28, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
