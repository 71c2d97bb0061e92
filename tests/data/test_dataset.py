"""Prepared examples as tensors: pixels, sizes, normalisation, and errors about damaged files."""

import numpy as np
import pytest
import torch

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.settings import schema
from tests.data.formats import flip_bit

CPU = torch.device("cpu")


def form(**settings: object) -> schema.InputSettings:
    return schema.InputSettings(**{"size": 32, "resize": "pad", "normalize": True, **settings})


def test_images_are_the_prepared_pixels_between_0_and_1(prepared):
    content = dataset.load(prepared / "train")
    plain = form(size=28, normalize=False)
    examples = content.examples("training", plain, content.normalization(plain), CPU)
    expected = content.pixels[content.splits == "training"]
    assert examples.images.shape == (len(expected), 1, 28, 28)
    assert np.array_equal((examples.images.numpy() * 255).round().astype(np.uint8)[:, 0], expected)
    assert examples.labels.tolist() == content.labels[content.splits == "training"].tolist()


def test_all_splits_are_normalised_by_the_training_split(prepared):
    content, shape = dataset.load(prepared / "train"), form(size=28)
    normalization = content.normalization(shape)
    training, validation = (content.examples(split, shape, normalization, CPU) for split in ("training", "validation"))
    assert training.images.double().mean().item() == pytest.approx(0, abs=1e-4)
    assert training.images.double().std().item() == pytest.approx(1, abs=1e-4)
    assert abs(validation.images.double().mean().item()) > 1e-5
    assert normalization != dataset.Normalization(0.1307, 0.3081)


def test_padding_adds_black_around_the_digit(prepared):
    content = dataset.load(prepared / "train")
    small, large = (content.examples("training", form(size=s), content.normalization(form()), CPU) for s in (28, 32))
    assert torch.equal(large.images[:, :, 2:30, 2:30], small.images)
    margin = torch.ones(32, 32, dtype=torch.bool)
    margin[2:30, 2:30] = False
    torch.testing.assert_close(large.images[:, 0][:, margin], torch.full((len(large), 240), large.black.item()))


def test_bilinear_interpolation_is_that_of_torchvision(prepared):
    from torchvision.transforms.v2 import functional as reference  # imported here: it takes seconds

    content, plain = dataset.load(prepared / "train"), form(resize="bilinear", normalize=False)
    examples = content.examples("training", plain, content.normalization(plain), CPU)
    pixels = torch.from_numpy(content.pixels[content.splits == "training"]).unsqueeze(1).float() / 255
    torch.testing.assert_close(examples.images, reference.resize(pixels, [32, 32], antialias=True), atol=1e-6, rtol=0)


def test_no_image_is_in_two_splits(prepared):
    train, test = dataset.load(prepared / "train"), dataset.load(prepared / "test")
    contents = [
        {pixels.tobytes() for pixels in part}
        for part in (train.pixels[train.splits == "training"], train.pixels[train.splits == "validation"], test.pixels)
    ]
    assert all(contents)
    assert not contents[0] & contents[1]
    assert not contents[0] & contents[2]
    assert not contents[1] & contents[2]


@pytest.mark.parametrize(("name", "damage"), [
    *((name, damage) for name in ("index.csv", "pixels.npy") for damage in ("missing", "truncated", "changed")),
    ("profile.json", "missing"), ("profile.json", "truncated"),  # a change of its numbers is found by DVC alone
])  # fmt: skip
def test_missing_and_damaged_files_are_errors_with_the_folder(prepared, tmp_path, name, damage):
    for path in (prepared / "train").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = (tmp_path / name).read_bytes()
    if damage == "missing":
        (tmp_path / name).unlink()
    elif damage == "truncated":
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    else:
        (tmp_path / name).write_bytes(flip_bit(content, len(content) - 1))
    with pytest.raises(UserError, match=str(tmp_path)):
        dataset.load(tmp_path)


def test_a_smaller_selection_is_part_of_a_larger_one(prepared):
    content, plain = dataset.load(prepared / "train"), form(size=28, normalize=False)
    whole, *selections = (
        content.examples("training", plain, content.normalization(plain), CPU, limit) for limit in (0, 100, 400, 10**6)
    )
    found = [{image.numpy().tobytes() for image in examples.images} for examples in (*selections, whole)]
    assert [len(examples) for examples in selections] == [100, 400, len(whole)]
    assert found[0] != {image.numpy().tobytes() for image in whole.images[:100]}  # shuffled
    assert found[0] < found[1] < found[2] == found[3]
    assert sorted(selections[2].labels.tolist()) == sorted(whole.labels.tolist())
