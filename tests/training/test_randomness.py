"""Order of the images, augmentation and dropout."""

import pytest
import torch

from lenetlab.settings import layer_schema
from lenetlab.training import loop, randomness
from tests.training.jobs import CPU, make_job, train_one


def test_the_order_of_the_images_is_a_function_of_seed_epoch_and_purpose():
    def draw_order(*key):
        return torch.randperm(10, generator=randomness.generator(*key))

    order = draw_order(0, 1, "order")
    torch.rand(3)
    assert torch.equal(order, draw_order(0, 1, "order"))
    for other in ((1, 1, "order"), (0, 2, "order"), (0, 1, "augmentation")):
        assert not torch.equal(order, draw_order(*other))


def test_random_numbers_are_drawn_on_the_cpu_from_a_fixed_state():
    """Golden, taken on 2026-11-21: another state would change all results. So every device sees the same batches."""
    assert randomness.generator(0, 1, "order").device == CPU
    assert randomness.generator(0, 1, "order").initial_seed() == 3424886208302205649


def test_dropout_keeps_each_unit_with_the_right_probability_and_independently():
    job = make_job("lenet5-regularized", dropout=(0.25, 0.5))
    state = loop.initial_state([job, make_job(seed=4)], CPU)
    masks = randomness.draw(job.variant, state, 20_000, CPU).keep_masks
    for name, width, rate in (("c5_dropout", 120, 0.25), ("f6_dropout", 84, 0.5)):
        assert masks[name].shape == (2, 20_000, width)
        deviation = (rate * (1 - rate) / 20_000) ** 0.5
        assert (masks[name].double().mean(1) - (1 - rate)).abs().max() < 5 * deviation  # of each of 240 units
        independent = rate**2 + (1 - rate) ** 2  # probability that two independent draws agree
        assert (masks[name][0] == masks[name][1]).double().mean() == pytest.approx(independent, abs=0.005)
        neighbours = masks[name][0, :, 1:] == masks[name][0, :, :-1]
        assert neighbours.double().mean() == pytest.approx(independent, abs=0.005)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.9, layer_schema.MAX_DROPOUT])
def test_dropout_of_any_allowed_rate_keeps_the_mean_of_the_outputs(rate):
    job = make_job("lenet5", dropout=(rate, 0.0))
    state = loop.initial_state([job, make_job(seed=4)], CPU)
    kept = randomness.draw(job.variant, state, 50_000, CPU).keep_masks["c5_dropout"].double().mean()
    deviation = (rate / (1 - rate) / (2 * 50_000 * 120)) ** 0.5
    assert kept / (1 - rate) == pytest.approx(1, abs=5 * deviation)


def test_sixteen_bit_draws_are_uniform():
    draws = randomness.uniform_int16(1000, 999, randomness.generator(0, 1, "dropout")).double()
    assert draws.shape == (1000, 999)
    counts = torch.histc(draws, bins=64, min=-(2**15), max=2**15)
    expected = draws.numel() / 64
    assert ((counts - expected) ** 2 / expected).sum() < 120  # chi-squared with 63 degrees of freedom: p < 0.00002


def test_every_epoch_draws_order_dropout_and_augmentation_of_its_own(prepared, tmp_path, monkeypatch):
    keys, original = [], randomness.generator

    def recording(*key: object) -> torch.Generator:
        keys.append(key)
        return original(*key)

    monkeypatch.setattr(randomness, "generator", recording)
    train_one(prepared, make_job(augmentation="affine", seed=3, epochs=2), tmp_path)
    assert set(keys) == {(3, epoch, purpose) for epoch in (1, 2) for purpose in ("order", "augmentation", "dropout")}
