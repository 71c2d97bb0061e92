"""A group computes what its plain networks compute, and no bit of a member depends on the other members."""

import copy
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks import rounding
from lenetlab.data import dataset
from lenetlab.networks import build, custom_layers
from lenetlab.training import autograd_functions, group, loop, run_files
from tests.training.jobs import CATALOGUE, CPU, changed_training, changed_variant, load_digits

# Variants that together have every kind of layer, input size, width, regulariser and augmentation of the catalogue.
NAMES = (
    *("lenet5", "lenet5-28", "lenet5-average", "lenet5-tanh", "lenet5-1998", "lenet5-wide-regularized"),
    *("lenet5-regularized", "lenet5-28-light-dropout", "lenet5-28-regularized-affine", "lenet5-tuned"),
    *("mlp", "mlp-28-60-40", "mlp-28-500-150"),
)
VARIANTS = {
    **{name: CATALOGUE[name] for name in NAMES},
    "mlp with batch normalisation": changed_variant("mlp", batch_norm=True, dropout=0.3),
    "average pooling and batch normalisation": changed_variant("lenet5-average", batch_norm=True, dropout=0.3),
}
# Every activation with every pooling and output. The widths fill no vector register.
COMBINED = {
    f"{activation}, {pooling}, {output}": changed_variant(
        "lenet5-regularized",
        **{"activation": activation, "pooling": pooling, "output": output},
        **{"channels": (3, 5), "hidden": (7, 84), "batch_norm": pooling != "average"},
    )
    for activation, pooling, output in product(
        custom_layers.ACTIVATIONS, ("max", "average", "trained"), ("linear", "codes")
    )
}
COMBINED |= {
    f"mlp, {activation}": changed_variant("mlp", activation=activation, hidden=(9, 7), batch_norm=True, dropout=0.3)
    for activation in custom_layers.ACTIVATIONS
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class FixedDropout(nn.Module):
    """Dropout with a given mask."""

    def __init__(self, keep_mask: torch.Tensor, rate: float) -> None:
        super().__init__()
        self.keep_mask, self.rate = keep_mask, rate

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        keep = self.keep_mask.view(*self.keep_mask.shape, *[1] * (inputs.dim() - 2))
        return inputs * keep / (1 - self.rate)


@pytest.mark.parametrize("name", VARIANTS | COMBINED)
@pytest.mark.parametrize("count", [1, 9])
def test_a_group_computes_what_its_plain_networks_compute(name, count):
    """Logits in both modes, gradients, and the statistics of batch normalisation, in double precision."""
    variant = (VARIANTS | COMBINED)[name]
    if variant.model.name == "mlp" and variant.regularization.batch_norm and count == 1:
        pytest.skip("a single vector has no variance")
    networks = [build.build_network(variant, seed).double() for seed in (1, 2, 3)]
    together = group.NetworkGroup(networks)
    images = torch.randn(3, count, 1, variant.input.size, variant.input.size, dtype=torch.float64)
    labels = torch.randint(0, 10, (3, count))
    masks = {layer: torch.rand(3, count, width) >= rate for layer, (width, rate) in together.dropout_layers().items()}
    logits = together.training_logits(images, masks)
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(3, count).mean(1)
    gradients = torch.autograd.grad(losses.sum(), list(together.weights.values()))
    for member, network in enumerate(networks):
        for layer, module in list(network.layers.named_children()):
            if isinstance(module, nn.Dropout):
                setattr(network.layers, layer, FixedDropout(masks[layer][member], module.p))
        expected = network.train()(images[member])
        torch.testing.assert_close(logits[member], expected)
        functional.cross_entropy(expected, labels[member]).backward()
        for (weight, value), gradient in zip(network.named_parameters(), gradients, strict=True):
            assert weight in together.weights
            torch.testing.assert_close(gradient[member], value.grad, rtol=1e-6, atol=1e-9)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(together.member_state(member)[key], value.detach())
        for layer in masks:
            setattr(network.layers, layer, nn.Identity())
        evaluated = together.evaluation_logits(images[0], batch_size=4)[member]
        torch.testing.assert_close(evaluated, network.eval()(images[0]))


def network_of(*layers: nn.Module) -> nn.Module:
    """A network of lenetlab with other layers."""
    network = build.build_network(CATALOGUE["lenet5"], seed=0)
    network.layers = nn.Sequential(*layers)
    return network


def test_a_group_leaves_out_a_last_odd_row_of_pooling():
    layers = (nn.Conv2d(1, 2, 2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(98, 10))  # 15 pixels before pooling
    networks = [network_of(*copy.deepcopy(layers)).double() for _ in range(3)]
    together = group.NetworkGroup(networks)
    images = torch.randn(3, 4, 1, 16, 16, dtype=torch.float64)
    logits = together.training_logits(images, {})
    gradients = torch.autograd.grad(logits.square().sum(), list(together.weights.values()))
    for member, network in enumerate(networks):
        expected = network(images[member])
        torch.testing.assert_close(logits[member], expected)
        own = torch.autograd.grad(expected.square().sum(), list(network.parameters()))
        for found, gradient in zip(gradients, own, strict=True):
            torch.testing.assert_close(found[member], gradient)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 3, 3, stride=2),
        nn.Conv2d(1, 3, 3, padding=1),
        nn.Conv2d(1, 3, 3, dilation=2),
        nn.MaxPool2d(3, 2),
        nn.MaxPool2d(2, 1),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d(3),
        nn.AvgPool2d(2, 1),
        nn.Conv2d(1, 3, 3, bias=False),
        nn.Conv2d(1, 3, 3, padding="same"),
        nn.Conv2d(1, 3, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(1, affine=False),
        nn.BatchNorm2d(1, momentum=None),
        nn.BatchNorm2d(1, track_running_stats=False),
        nn.InstanceNorm2d(1),
        nn.GELU(),
        nn.ReLU(inplace=True),
        nn.Flatten(2),
        nn.Dropout(0.5),  # on maps
        nn.Dropout2d(0.5),
        nn.Linear(16, 3, bias=False),
        type("Renamed", (nn.ReLU,), {})(),
        nn.Sequential(nn.ReLU()),
    ],
    ids=str,
)
def test_a_group_refuses_what_it_cannot_compute(layer):
    with pytest.raises(group.UnsupportedLayerError, match=r"^0: .* is not among the layers"):
        group.NetworkGroup([network_of(layer, nn.Flatten(), nn.Linear(9, 10))])


def test_a_group_refuses_a_network_that_may_compute_anything():
    class Own(nn.Module):
        layers = nn.Sequential(nn.Flatten(), nn.Linear(9, 10))

    with pytest.raises(group.UnsupportedLayerError, match="Own is not a network of lenetlab"):
        group.NetworkGroup([Own()])


def train_with(jobs: list[run_files.TrainingJob], examples: dataset.Examples) -> list[torch.Tensor]:
    """Everything that one epoch leaves of the member with seed 7, and its logits after that."""
    state = loop.initial_state(jobs, CPU)
    losses, accuracies = loop.train_epoch(jobs[0], state, examples)
    member = state.seeds.index(7)
    logits = state.network.evaluation_logits(examples.images)[member]
    return [*state.member_tensors(member).values(), losses[member], accuracies[member], logits]


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS | COMBINED)
def test_no_bit_depends_on_the_other_members_of_the_group(name, prepared):
    """Alone, first or last, with one to five others; a full batch and a small one."""
    variant, more = (VARIANTS | COMBINED)[name], {"optimizer": "adamw", "weight_averaging": 0.9}
    settings = changed_training(**{"batch_size": 64, **(more if name in COMBINED else {})})
    jobs = {seed: run_files.TrainingJob(variant, settings, seed, {}, {}) for seed in (1, 2, 3, 4, 5, 7)}
    examples = load_digits(prepared, jobs[7], limit=70)
    alone = train_with([jobs[7]], examples)
    for seeds in ((7, 1), (1, 7), (1, 7, 2), (1, 2, 3, 7), (7, 1, 2, 3, 4), (1, 2, 3, 4, 5, 7)):
        together = train_with([jobs[seed] for seed in seeds], examples)
        for expected, found in zip(alone, together, strict=True):
            assert torch.equal(found, expected), seeds


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["AVX2", "plain"])
def test_no_bit_depends_on_the_other_members_with_fewer_instructions_either(instructions, large):
    """As older processors compute them."""
    if instructions == "plain" and not large:
        pytest.skip("make torture tries it: rare today")
    chosen = "no_bit and not fewer and (codes or mlp or lenet5-28)"
    done = subprocess.run(
        [*f"{sys.executable} -m pytest -q -p no:cacheprovider -k".split(), chosen, __file__],
        cwd=Path(__file__).parents[2],
        env=os.environ | rounding.INSTRUCTIONS[instructions],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("avx512", "three"), [(True, "abc"), (False, "abcc")])
def test_a_group_is_filled_with_copies_up_to_the_minimum_of_its_device(monkeypatch, avx512, three):
    monkeypatch.setattr("lenetlab.training.devices.uses_avx512", lambda: avx512)
    assert group.pad_with_copies("a", CPU) == ["a", "a"]
    assert group.pad_with_copies("abc", CPU) == list(three)
    assert group.pad_with_copies("ab", torch.device("cuda")) == ["a", *["b"] * 7]


def test_max_pooling_equals_torchs_bit_for_bit_also_for_equal_values():
    images = torch.randint(-2, 3, (5, 8, 6, 7)).float().requires_grad_()  # five values: most windows hold equal ones
    gradient = torch.randn(5, 4, 3, 7)
    found = autograd_functions.MaxPool.apply(images)
    expected = functional.max_pool2d(images.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(pooled, images, gradient)[0] for pooled in (found, expected)))


def test_batch_normalisation_has_the_gradients_of_its_values():
    images = torch.randn(3, 4, 2, 5, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(2, 5, dtype=torch.float64).unbind()
    inputs = images, weight.requires_grad_(), bias.requires_grad_(), 1e-5
    assert torch.autograd.gradcheck(lambda *values: autograd_functions.BatchNorm.apply(*values)[0], inputs)


def test_writing_to_the_tensors_of_a_member_changes_the_group():
    networks = [build.build_network(CATALOGUE["lenet5-regularized"], seed) for seed in (0, 1)]
    together = group.NetworkGroup(networks)
    for member, network in enumerate(networks):
        assert list(together.member_state(member)) != []
        for name, value in network.state_dict().items():
            assert torch.equal(together.member_state(member)[name], value)
    together.member_state(1)["layers.c1.bias"].fill_(3.0)
    assert together.weights["layers.c1.bias"][1].eq(3.0).all()
    assert not together.weights["layers.c1.bias"][0].eq(3.0).any()
