"""The optimizer: torch.optim's classes, step by step."""

from pathlib import Path

import pytest
import torch

from lenetlab.settings import params
from lenetlab.training import optimizer

SETTINGS = params.load(Path(__file__).parents[2] / "params.yaml").training


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_steps_are_those_of_torchs_classes_to_the_bit(kind, decay, momentum):
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(3, 4, generator=generator) for name in "ab"}
    theirs = [value.clone().requires_grad_() for value in weights.values()]
    if kind == "sgd":
        reference = torch.optim.SGD(theirs, 0.1, momentum, weight_decay=decay, foreach=False)
    else:
        reference = torch.optim.AdamW(theirs, 0.1, (momentum, 0.999), weight_decay=decay, foreach=False)
    ours = optimizer.Optimizer(SETTINGS.model_copy(update={"optimizer": kind, "momentum": momentum}), decay, weights)
    for step in range(5):
        gradients = [torch.randn(3, 4, generator=generator) for _ in weights]
        rate = 0.1 / (step + 1)
        for value, gradient in zip(theirs, gradients, strict=True):
            value.grad = gradient.clone()
        reference.param_groups[0]["lr"] = rate
        reference.step()
        ours.step(gradients, rate, earlier=step)
        for name, value in zip("ab", theirs, strict=True):
            assert torch.equal(weights[name], value)


def test_the_average_is_that_of_torchs_averaged_model_with_a_decay_that_grows():
    """torch.optim.swa_utils; the decay of an early step is (1 + steps) / (10 + steps), as TensorFlow's is."""
    weights = {"a": torch.randn(3, 4, generator=torch.Generator().manual_seed(0))}
    settings = SETTINGS.model_copy(update={"weight_averaging": 0.3})
    ours = optimizer.Optimizer(settings, 0.0, weights)
    assert torch.equal(ours.averaged()["a"], weights["a"])
    theirs = weights["a"].clone()
    for step in range(5):
        ours.step([torch.ones(3, 4)], 0.1, earlier=step)
        decay = min(0.3, (1 + step) / (10 + step))
        torch.optim.swa_utils.get_ema_multi_avg_fn(decay)([theirs], [weights["a"]], None)
        torch.testing.assert_close(ours.averaged()["a"], theirs)


def test_without_averaging_the_weights_themselves_count():
    weights = {"a": torch.ones(3)}
    assert optimizer.Optimizer(SETTINGS, 0.0, weights).averaged()["a"] is weights["a"]
