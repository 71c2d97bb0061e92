"""Files of images: converted as fetch converts them, and refused or warned about in words."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenetlab.data import conversion
from lenetlab.prediction import images
from tests.prediction import networks

GREY = images.Kind(networks.kind(), mean=0.13)
COLOUR = images.Kind(networks.kind(channels=3), mean=0.45)


def digit(size: int = 28) -> np.ndarray:
    """White on black."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[size // 4 : 3 * size // 4, size // 2 - 2 : size // 2 + 2] = 230
    return pixels


def save(folder: Path, pixels: np.ndarray, name: str = "a.png", mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(folder / name)
    return folder / name


def test_an_image_of_the_trained_kind_is_taken_as_it_is(tmp_path):
    found = images.read(save(tmp_path, digit()), GREY, invert=False)
    np.testing.assert_array_equal(found.pixels, digit())
    assert found.warnings == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_grey_stored_in_colour_is_no_loss(tmp_path, mode):
    found = images.read(save(tmp_path, digit(), mode=mode), GREY, invert=False)
    np.testing.assert_array_equal(found.pixels, digit())
    assert found.warnings == []


def test_grey_becomes_colour_for_networks_that_read_colour(tmp_path):
    found = images.read(save(tmp_path, digit()), COLOUR, invert=False)
    np.testing.assert_array_equal(found.pixels, np.stack([digit()] * 3, axis=2))


@pytest.mark.parametrize(
    ("shape", "warning"),
    [
        ((56, 56), "resized from 56×56 to 28×28 pixels"),
        ((40, 100), "resized from 100×40 to 28×28 pixels, with black beside it"),
    ],
)
def test_another_size_is_told(tmp_path, shape, warning):
    pixels = networks.random_pixels(1, shape)[0] // 3
    found = images.read(save(tmp_path, pixels), GREY, invert=False)
    assert found.pixels.shape == (28, 28)
    assert found.warnings == [warning]
    converted = conversion.convert(save(tmp_path, pixels).read_bytes(), GREY.images, ["resize"]).content
    np.testing.assert_array_equal(found.pixels, np.asarray(Image.open(io.BytesIO(converted))))


def test_every_loss_is_told_in_words(tmp_path):
    pixels = networks.random_pixels(1, (28, 28, 3))[0] // 3
    assert images.read(save(tmp_path, pixels, "a.jpg"), GREY, invert=False).warnings == [
        images.LOSSES["jpeg"],
        images.LOSSES["grey"],
    ]
    transparent = np.dstack([pixels, np.full((28, 28), 100, np.uint8)])
    assert images.LOSSES["alpha"] in images.read(save(tmp_path, transparent), GREY, invert=False).warnings


def test_an_inverted_image_is_noticed_and_put_right(tmp_path):
    path = save(tmp_path, 255 - digit(40))
    (_, warning) = images.read(path, GREY, invert=False).warnings
    assert warning == "it looks inverted: the training images are white on black; remedy: --invert"
    found = images.read(path, GREY, invert=True)
    assert found.warnings == ["resized from 40×40 to 28×28 pixels"]
    expected = images.read(save(tmp_path, digit(40), "b.png"), GREY, invert=False).pixels
    np.testing.assert_array_equal(found.pixels, expected)
    again = images.read(save(tmp_path, digit()), GREY, invert=True).warnings
    assert again == ["it looks inverted: the training images are white on black; remedy: leave out --invert"]


@pytest.mark.parametrize(
    ("pixels", "mean", "is_inverted"),
    [
        (digit(), 0.13, False),
        (255 - digit(), 0.13, True),
        (digit(), 0.9, True),
        (255 - digit(), 0.9, False),
        (255 - digit(), 0.45, False),  # the training images are neither
        (255 - digit(), None, False),
        (np.where(digit() > 0, 0, 255) // 1 * (np.indices((28, 28)).sum(0) > 54), 0.13, False),  # mostly dark
    ],
)
def test_what_looks_inverted(pixels, mean, is_inverted):
    kind = images.Kind(networks.kind(), mean)
    assert images.looks_inverted(pixels.astype(np.uint8), kind) is is_inverted


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_is_refused(tmp_path, value):
    with pytest.raises(conversion.Refused, match=f"blank: every pixel is {value};"):
        images.read(save(tmp_path, np.full((28, 28), value, np.uint8)), GREY, invert=False)


def test_black_ink_on_nothing_is_blank_and_the_reason_is_told(tmp_path):
    canvas = np.dstack([np.zeros((28, 28, 3), np.uint8), digit()])
    with pytest.raises(conversion.Refused, match=r"blank: every pixel is 0; its transparent pixels became black"):
        images.read(save(tmp_path, canvas), GREY, invert=False)


def test_what_is_no_image_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"hello")
    with pytest.raises(conversion.Refused, match="not images, or damaged; allowed: PNG"):
        images.read(tmp_path / "a.png", GREY, invert=False)
    monkeypatch.setattr(images, "MAX_BYTES", 3)
    with pytest.raises(conversion.Refused, match="a file of more than 0 MiB"):
        images.read(tmp_path / "a.png", GREY, invert=False)
    with pytest.raises(conversion.Refused, match="a file of more than 0 MiB"):  # its size is 0, and it has no end
        images.read(Path("/dev/zero"), GREY, invert=False)
    with pytest.raises(FileNotFoundError):
        images.read(tmp_path / "b.png", GREY, invert=False)


def test_a_folder_stands_for_its_files_in_natural_order(tmp_path):
    for name in ("10.png", "9.png", "more/1.png", ".hidden", ".git/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in images.find([tmp_path, tmp_path / "10.png"])]
    assert found == ["9.png", "10.png", "more/1.png", "10.png"]
