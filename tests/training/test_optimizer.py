"""Optimizer and learning rate give the same numbers as the classes of torch.optim."""

import math

import pytest
import torch

from lenetlab.training import optimizer
from tests.training.jobs import TRAINING


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_steps_equal_those_of_torchs_classes_bit_for_bit(kind, weight_decay, momentum):
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(3, 4, generator=generator) for name in "ab"}
    expected = [value.clone().requires_grad_() for value in weights.values()]
    if kind == "sgd":
        reference = torch.optim.SGD(expected, 0.1, momentum, weight_decay=weight_decay, foreach=False)
    else:
        reference = torch.optim.AdamW(expected, 0.1, (momentum, 0.999), weight_decay=weight_decay, foreach=False)
    settings = TRAINING.model_copy(update={"optimizer": kind, "momentum": momentum})
    tested = optimizer.Optimizer(settings, weight_decay, weights)
    for step in range(5):
        gradients = [torch.randn(3, 4, generator=generator) for _ in weights]
        learning_rate = 0.1 / (step + 1)
        for value, gradient in zip(expected, gradients, strict=True):
            value.grad = gradient.clone()
        reference.param_groups[0]["lr"] = learning_rate
        reference.step()
        tested.step(gradients, learning_rate, steps_before=step)
        for name, value in zip("ab", expected, strict=True):
            assert torch.equal(weights[name], value)


def test_the_average_equals_torchs_with_a_decay_that_grows():
    """torch.optim.swa_utils; the decay of an early step is (1 + steps) / (10 + steps), as TensorFlow's is."""
    weights = {"a": torch.randn(3, 4, generator=torch.Generator().manual_seed(0))}
    tested = optimizer.Optimizer(TRAINING.model_copy(update={"weight_averaging": 0.3}), 0.0, weights)
    assert torch.equal(tested.averaged_weights()["a"], weights["a"])
    expected = weights["a"].clone()
    for step in range(5):
        tested.step([torch.ones(3, 4)], 0.1, steps_before=step)
        decay = min(0.3, (1 + step) / (10 + step))
        torch.optim.swa_utils.get_ema_multi_avg_fn(decay)([expected], [weights["a"]], None)
        torch.testing.assert_close(tested.averaged_weights()["a"], expected)


def test_without_averaging_the_averaged_weights_are_the_weights():
    weights = {"a": torch.ones(3)}
    assert optimizer.Optimizer(TRAINING, 0.0, weights).averaged_weights()["a"] is weights["a"]


def test_one_cycle_equals_torchs_one_cycle():
    settings = TRAINING.model_copy(update={"schedule": "one-cycle", "learning_rate": 0.1})
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(sgd, max_lr=0.1, total_steps=50, cycle_momentum=False)
    for step in range(50):
        assert optimizer.learning_rate(settings, step, 50) == pytest.approx(sgd.param_groups[0]["lr"], rel=1e-9)
        sgd.step()
        if step < 49:
            reference.step()


def test_constant_and_cosine_rates_equal_those_computed_by_hand():
    cosine = TRAINING.model_copy(update={"schedule": "cosine"})
    assert [optimizer.learning_rate(TRAINING, step, 4) for step in range(4)] == [0.01] * 4
    factors = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    expected = [0.01 * factor for factor in factors]
    assert [optimizer.learning_rate(cosine, step, 4) for step in range(4)] == pytest.approx(expected)
