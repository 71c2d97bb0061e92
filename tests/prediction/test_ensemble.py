"""Probabilities of trained networks from raw pixels, compared with what training and evaluation compute."""

import numpy as np
import pytest
import torch

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.networks import build
from lenetlab.prediction import answers, ensemble, trained
from lenetlab.training import checkpoint
from tests.prediction import networks
from tests.training.jobs import changed_variant


def load(folder) -> ensemble.Ensemble:
    return ensemble.Ensemble(trained.of_folder(folder))


@pytest.mark.parametrize("name", ["lenet5", "lenet5-28-regularized", "lenet5-bilinear", "mlp"])
def test_it_answers_as_the_evaluated_network(tmp_path, prepared, name):
    """The reference: the prepared test images, as evaluate reads them, through the network in evaluation mode."""
    folder = networks.make_folder(tmp_path / "model", name)
    content, definition = dataset.load(prepared / "test"), changed_variant(name)
    normalization = dataset.Normalization(networks.MEAN, networks.STD)
    examples = content.examples("test", definition.input, normalization, torch.device("cpu"))
    found = load(folder).probabilities(content.pixels)
    for seed in (0, 1):
        network = build.build_network(definition, seed=0)
        checkpoint.load_weights(network, folder / f"weights-{seed}.safetensors")
        with torch.inference_mode():
            expected = torch.softmax(network.eval()(examples.images).double(), dim=1)
        np.testing.assert_allclose(found[seed], expected.numpy(), atol=1e-6)


def test_probabilities_add_up_to_one_and_repeat(tmp_path):
    """Dropout would change them from call to call."""
    model = load(networks.make_folder(tmp_path / "model", "lenet5-regularized"))
    pixels = networks.random_pixels(600)
    found = model.probabilities(pixels)
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-12)
    np.testing.assert_array_equal(model.probabilities(pixels), found)
    np.testing.assert_allclose(model.probabilities(pixels[:1]), found[:, :1], atol=1e-6)


def test_colour_images_have_their_channels_last(tmp_path):
    folder = networks.make_folder(tmp_path / "model", "lenet5", images=networks.kind(channels=3, classes=4))
    assert load(folder).probabilities(networks.random_pixels(3, (28, 28, 3))).shape == (2, 3, 4)


@pytest.mark.parametrize("pixels", [np.zeros((1, 28, 29), np.uint8), np.zeros((1, 28, 28), np.float32)])
def test_other_images_are_refused(tmp_path, pixels):
    with pytest.raises(UserError, match=r"are not allowed; allowed: uint8 of shape \(N, 28, 28\)"):
        load(networks.make_folder(tmp_path / "model")).probabilities(pixels)


def test_seeds_vote_and_their_probabilities_are_averaged():
    """Worked out by hand: three seeds, two of which prefer a; the mean prefers b."""
    by_seed = np.array([[[0.5, 0.4, 0.1]], [[0.5, 0.4, 0.1]], [[0.0, 0.9, 0.1]]])
    (answer,) = answers.answers(by_seed, ("a", "b", "c"))
    assert (answer.label, answer.agree, answer.seeds) == ("b", 1, 3)
    assert answer.probability == pytest.approx(1.7 / 3)
    assert answer.probabilities == pytest.approx({"a": 1 / 3, "b": 1.7 / 3, "c": 0.1})
