"""Optimizer and learning rate give the same numbers as the classes of torch.optim."""

import math
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from lenetlab.training import optimizer
from tests.training.jobs import TRAINING, changed_training


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
    settings = changed_training(optimizer=kind, momentum=momentum)
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


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"name": "sgd", "nesterov": True}, partial(torch.optim.SGD, momentum=0.9, nesterov=True)),
        ({"name": "sgd", "dampening": 0.3}, partial(torch.optim.SGD, momentum=0.9, dampening=0.3)),
        ({"name": "adam"}, partial(torch.optim.Adam, betas=(0.9, 0.999))),
        (
            {"name": "adam", "amsgrad": True, "beta2": 0.9, "eps": 1e-3},
            partial(torch.optim.Adam, betas=(0.9, 0.9), amsgrad=True, eps=1e-3),
        ),
        ({"name": "adamw", "amsgrad": True}, partial(torch.optim.AdamW, betas=(0.9, 0.999), amsgrad=True)),
        ({"name": "rmsprop"}, partial(torch.optim.RMSprop, momentum=0.9)),
        (
            {"name": "rmsprop", "centered": True, "alpha": 0.9},
            partial(torch.optim.RMSprop, momentum=0.9, centered=True, alpha=0.9),
        ),
        ({"name": "adagrad", "lr_decay": 0.1}, partial(torch.optim.Adagrad, lr_decay=0.1)),
    ],
)
def test_every_argument_has_the_meaning_that_it_has_in_torch(settings, reference):
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(3, 4, generator=generator) for name in "ab"}
    expected = [value.clone().requires_grad_() for value in weights.values()]
    classes = reference(expected, lr=0.1, weight_decay=0.01, foreach=False)
    chosen = changed_training(optimizer=settings, momentum=0.9)
    tested = optimizer.Optimizer(chosen, 0.01, weights)
    for step in range(5):
        gradients = [torch.randn(3, 4, generator=generator) for _ in weights]
        for value, gradient in zip(expected, gradients, strict=True):
            value.grad = gradient.clone()
        classes.step()
        tested.step(gradients, 0.1, steps_before=step)
        for name, value in zip("ab", expected, strict=True):
            assert torch.equal(weights[name], value)


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"name": "step", "step_size": 2, "gamma": 0.5}, partial(lr_scheduler.StepLR, step_size=2, gamma=0.5)),
        (
            {"name": "multi-step", "milestones": (1, 4), "gamma": 0.5},
            partial(lr_scheduler.MultiStepLR, milestones=[1, 4], gamma=0.5),
        ),
        ({"name": "exponential", "gamma": 0.8}, partial(lr_scheduler.ExponentialLR, gamma=0.8)),
    ],
)
def test_a_schedule_of_epochs_is_that_of_torch(settings, reference):
    epochs, batches = 6, 3
    chosen = changed_training(schedule=settings, epochs=epochs)
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=chosen.learning_rate)
    scheduler = reference(sgd)
    for step in range(epochs * batches):
        expected = sgd.param_groups[0]["lr"]
        assert optimizer.learning_rate(chosen, step, epochs * batches) == pytest.approx(expected, rel=1e-9)
        sgd.step()
        if step % batches == batches - 1:
            scheduler.step()


def test_a_polynomial_schedule_is_that_of_torch():
    chosen = changed_training(schedule={"name": "polynomial", "power": 2.0})
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=chosen.learning_rate)
    scheduler = lr_scheduler.PolynomialLR(sgd, total_iters=20, power=2.0)
    for step in range(20):
        expected = sgd.param_groups[0]["lr"]
        assert optimizer.learning_rate(chosen, step, 20) == pytest.approx(expected, rel=1e-9)
        sgd.step()
        scheduler.step()


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
    settings = changed_training(schedule="one-cycle", learning_rate=0.1)
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(sgd, max_lr=0.1, total_steps=50, cycle_momentum=False)
    for step in range(50):
        assert optimizer.learning_rate(settings, step, 50) == pytest.approx(sgd.param_groups[0]["lr"], rel=1e-9)
        sgd.step()
        if step < 49:
            reference.step()


def test_constant_and_cosine_rates_equal_those_computed_by_hand():
    cosine = changed_training(schedule="cosine")
    assert [optimizer.learning_rate(TRAINING, step, 4) for step in range(4)] == [0.01] * 4
    factors = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    expected = [0.01 * factor for factor in factors]
    assert [optimizer.learning_rate(cosine, step, 4) for step in range(4)] == pytest.approx(expected)
