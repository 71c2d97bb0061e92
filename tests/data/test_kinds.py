"""Images of other sizes, in colour and of other classes: PNG files, prepared data and tensors."""

import io
import json
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lenetlab.data import dataset, image_files, png
from lenetlab.errors import UserError
from lenetlab.settings import schema
from tests.data import kinds
from tests.data.formats import data_settings, pillow_pixels

NAMED = ["cat", "dog", "Großer Bär", "4", "tree frog"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz"]
CPU = torch.device("cpu")


def decoded(content: bytes, size: int, channels: int) -> np.ndarray:
    rows = np.frombuffer(png.filtered_rows(content, size, channels), dtype=np.uint8)
    return png.undo_filters(rows.reshape(1, size, 1 + channels * size), channels)[0]


def written_by_pillow(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


shapes = st.tuples(st.integers(1, 20), st.sampled_from([1, 3])).map(
    lambda pair: (pair[0], pair[0]) if pair[1] == 1 else (pair[0], pair[0], 3)
)


@given(shapes.flatmap(lambda shape: arrays.arrays(np.uint8, shape)))
def test_images_of_any_size_are_read_as_pillow_reads_them(pixels):
    size, channels = len(pixels), pixels[0, 0].size

    assert np.array_equal(pillow_pixels(png.encode(pixels)), pixels)
    for content in (png.encode(pixels), written_by_pillow(pixels)):
        assert np.array_equal(decoded(content, size, channels), pixels)


@given(
    rows=arrays.arrays(np.uint8, (3, 9, 28)),
    filters=arrays.arrays(np.uint8, (3, 9), elements=st.integers(0, 4)),
)
def test_any_mixture_of_filters_is_read_in_colour(rows, filters):
    rows[:, :, 0] = filters
    start = png.start(9, 3)
    contents = [start + png.chunk(b"IDAT", zlib.compress(image.tobytes(), 0)) + png.END for image in rows]

    assert np.array_equal(png.undo_filters(rows, 3), [pillow_pixels(content) for content in contents])


def test_an_image_of_several_stored_blocks_is_written():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)

    assert np.array_equal(pillow_pixels(png.encode(pixels)), pixels)
    assert np.array_equal(decoded(png.encode(pixels), 200, 3), pixels)


@pytest.mark.parametrize(("label", "classes", "valid"), [
    (25, 26, True), (26, 26, False), (999, 1000, True), (1, 2, True), (2, 2, False), (10, 11, True),
])  # fmt: skip
def test_labels_go_up_to_the_number_of_classes(label, classes, valid):
    if valid:
        assert image_files.parse_name(f"7_{label}.png", classes) == (7, label)
    else:
        with pytest.raises(ValueError, match=rf"{label} is none of the {classes} classes.*0 to {classes - 1}"):
            image_files.parse_name(f"7_{label}.png", classes)


@pytest.mark.parametrize(("size", "channels", "classes"), [(64, 3, NAMED), (20, 1, LETTERS), (16, 1, 300)])
def test_prepared_images_have_the_declared_kind(tmp_path, size, channels, classes):
    data = data_settings(size=size, channels=channels, classes=classes)
    names = list(data.classes)

    folder = kinds.prepared_folder(tmp_path, data, 2 * len(names), len(names))

    pixels = np.load(folder / "train/pixels.npy")
    assert np.array_equal(pixels, kinds.images(2 * len(names), size, channels, len(names)))
    profile = json.loads((folder / "train/profile.json").read_text())
    assert (profile["size"], profile["channels"], profile["classes"]) == (size, channels, names)
    training = profile["splits"]["training"]
    assert training["per_class"] == [2] * len(names)
    axes = (0, 1, 2) if channels == 3 else None
    assert training["mean"] == pytest.approx((pixels / 255).mean(axis=axes).tolist(), rel=1e-12)
    assert training["std"] == pytest.approx((pixels / 255).std(axis=axes).tolist(), rel=1e-12)
    prepared = dataset.load(folder / "train")
    assert prepared.labels.tolist() == [number % len(names) for number in range(2 * len(names))]
    images, labels = prepared.samples(per_class=1)
    assert images.shape == (len(names), channels, size, size)
    assert labels.tolist() == list(range(len(names)))


def test_colour_images_are_normalised_and_padded_channel_by_channel(tmp_path):
    data = data_settings(size=12, channels=3, classes=["a", "b"])
    prepared = dataset.load(kinds.prepared_folder(tmp_path, data, 30, 4) / "train")
    form = schema.InputSettings(size=16, resize="pad", normalize=True)

    images = prepared.examples("training", form, prepared.normalization(form), CPU)

    channels = torch.from_numpy(prepared.pixels).permute(0, 3, 1, 2).double() / 255
    mean, std = channels.mean(dim=(0, 2, 3)), channels.std(dim=(0, 2, 3), correction=0)
    expected = (channels - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(images.images[:, :, 2:14, 2:14].double(), expected, atol=1e-5, rtol=0)
    assert images.black.shape == (3, 1, 1)
    torch.testing.assert_close(images.images[:, :, :2], images.black.expand(len(images), 3, 2, 16))


def test_larger_images_are_made_smaller_with_antialiasing(tmp_path):
    data = data_settings(size=64, channels=3, classes=2)
    prepared = dataset.load(kinds.prepared_folder(tmp_path, data, 4, 2) / "train")
    form = schema.InputSettings(size=32, resize="bilinear", normalize=False)

    images = prepared.examples("training", form, prepared.normalization(form), CPU).images.numpy()

    halved = [Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR) for image in prepared.pixels]
    assert np.abs(images - np.array([*map(np.asarray, halved)]).transpose(0, 3, 1, 2) / 255).max() < 2 / 255


def test_a_channel_of_one_value_gives_finite_tensors(tmp_path):
    data = data_settings(size=8, channels=3, classes=2)
    prepared = dataset.load(kinds.prepared_folder(tmp_path, data, 4, 2) / "train")
    prepared.profile["splits"]["training"]["std"][1] = 0.0
    form = schema.InputSettings(size=8, resize="pad", normalize=True)

    assert prepared.examples("training", form, prepared.normalization(form), CPU).images.isfinite().all()


@pytest.mark.parametrize("missing", [[3], [1, 4]])
def test_classes_without_training_images_are_one_error_that_names_them(tmp_path, missing):
    data = data_settings(size=8, classes=NAMED)
    with pytest.raises(UserError) as caught:
        kinds.prepared_folder(tmp_path, data, 20, 20, {"train": missing})
    names = ", ".join(repr(NAMED[label]) for label in missing)
    assert caught.value.problems == (
        f"{tmp_path / 'raw/train.tar'}: no training images of class {names};"
        " needed: at least one of every class of data.classes",
    )
    assert not (tmp_path / "prepared").exists() or not list((tmp_path / "prepared").iterdir())


def test_a_class_without_test_images_is_told(tmp_path, capsys):
    folder = kinds.prepared_folder(tmp_path, data_settings(size=8, classes=NAMED), 20, 20, {"test": [1]})

    assert "warning: no test images of class 'dog'" in capsys.readouterr().err
    profile = json.loads((folder / "test/profile.json").read_text())
    assert profile["splits"]["test"]["per_class"][1] == 0
