"""Seeds computed together: what the plain network computes, and the same bits in whatever company."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from lenetlab.data import dataset
from lenetlab.networks import build
from lenetlab.settings import params, schema
from lenetlab.training import autograd_functions, devices, group, loop, run_files

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
CPU = torch.device("cpu")
CATALOGUE = sorted(STUDY.variants)


@pytest.fixture(autouse=True)
def _pinned():
    devices.make_deterministic()
    torch.manual_seed(0)


def with_batch_norm(variant: str) -> schema.Variant:
    definition = STUDY.variants[variant]
    return definition.model_copy(
        update={"regularization": definition.regularization.model_copy(update={"batch_norm": True, "dropout": 0.3})}
    )


DEFINITIONS = {
    **STUDY.variants,
    "mlp-normalised": with_batch_norm("mlp"),
    "average-n": with_batch_norm("lenet5-average"),
}


class Kept(nn.Module):
    """Dropout with a mask from outside."""

    def __init__(self, mask: torch.Tensor, rate: float) -> None:
        super().__init__()
        self.mask, self.rate = mask, rate

    def forward(self, flow: torch.Tensor) -> torch.Tensor:
        return flow * self.mask / (1 - self.rate)


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
@pytest.mark.parametrize("count", [1, 9])
def test_a_group_computes_what_its_plain_networks_compute(name, count):
    """Logits in both modes, gradients, and the statistics of normalisation, in double precision."""
    definition = DEFINITIONS[name]
    if definition.regularization.batch_norm and count == 1 and name == "mlp-normalised":
        pytest.skip("nothing to normalise in a batch of one vector")
    networks = [build.build_network(definition, seed).double() for seed in (1, 2, 3)]
    together = group.NetworkGroup(networks)
    images = torch.randn(3, count, 1, definition.input.size, definition.input.size, dtype=torch.float64)
    labels = torch.randint(0, 10, (3, count))
    kept = {layer: torch.rand(3, count, width) >= rate for layer, (width, rate) in together.dropout_layers().items()}
    logits = together.training_logits(images, kept)
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(3, count).mean(1)
    gradients = torch.autograd.grad(losses.sum(), list(together.weights.values()))
    for place, network in enumerate(networks):
        for layer, module in list(network.layers.named_children()):
            if isinstance(module, nn.Dropout):
                setattr(network.layers, layer, Kept(kept[layer][place], module.p))
        expected = network.train()(images[place])
        torch.testing.assert_close(logits[place], expected)
        functional.cross_entropy(expected, labels[place]).backward()
        for (weight, value), gradient in zip(network.named_parameters(), gradients, strict=True):
            assert weight in together.weights
            torch.testing.assert_close(gradient[place], value.grad, rtol=1e-6, atol=1e-9)
        for statistic, value in network.state_dict().items():
            torch.testing.assert_close(together.member(place)[statistic], value.detach())
        for layer in kept:
            setattr(network.layers, layer, nn.Identity())
        shared = images[0]
        torch.testing.assert_close(together.evaluation_logits(shared, batch=4)[place], network.eval()(shared))


def bits(definition: schema.Variant, seeds: list[int], digits: dataset.Digits) -> list[torch.Tensor]:
    """All that two epochs of training leave of the member with seed 7, and what it then answers."""
    run = [run_files.TrainingJob(definition, STUDY.training, seed, {}, {}) for seed in seeds]
    state = loop.initial_state(run, CPU)
    for _ in range(2):
        losses, accuracies = loop.train_epoch(run[0], state, digits)
    place = seeds.index(7)
    answers = state.network.evaluation_logits(digits.images)[place]
    return [*state.member(place).values(), losses[place], accuracies[place], answers]


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_no_bit_depends_on_the_others_in_the_group(name, prepared):
    """Alone, first or last, with one to five others; 150 images, so that the last batch is a small one."""
    definition, content = DEFINITIONS[name], dataset.load(prepared / "train")
    form = definition.input
    whole = content.digits("training", form, content.normalization(form), CPU)
    digits = dataset.Digits(whole.images[:150], whole.labels[:150], whole.black)
    alone = bits(definition, [7], digits)
    for seeds in ([7, 1], [1, 7], [1, 7, 2], [1, 2, 3, 7], [7, 1, 2, 3, 4], [1, 2, 3, 4, 5, 7]):
        for expected, found in zip(alone, bits(definition, seeds, digits), strict=True):
            assert torch.equal(found, expected), seeds


def test_a_group_is_never_smaller_than_what_its_device_needs():
    assert group.pad_to_minimum(["a"], CPU) == ["a", "a"]
    assert group.pad_to_minimum(["a", "b", "c"], CPU) == ["a", "b", "c"]
    assert group.pad_to_minimum(["a", "b"], torch.device("cuda")) == ["a", *["b"] * 7]


def test_max_pooling_is_torchs_to_the_bit_and_where_values_are_equal():
    flow = (
        torch.randint(-2, 3, (5, 8, 6, 7)).float().requires_grad_()
    )  # of five values, so most windows hold equal ones
    gradient = torch.randn(5, 4, 3, 7)
    ours = autograd_functions.MaxPool.apply(flow)
    theirs = functional.max_pool2d(flow.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(pooled, flow, gradient)[0] for pooled in (ours, theirs)))


def test_batch_normalisation_has_the_gradients_of_its_values():
    flow = torch.randn(3, 4, 2, 5, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(2, 5, dtype=torch.float64).unbind()
    inputs = flow, weight.requires_grad_(), bias.requires_grad_(), 1e-5
    assert torch.autograd.gradcheck(lambda *values: autograd_functions.BatchNorm.apply(*values)[0], inputs)


def test_views_of_a_member_reach_into_the_group():
    networks = [build.build_network(STUDY.variants["lenet5-regularized"], seed) for seed in (0, 1)]
    together = group.NetworkGroup(networks)
    for place, network in enumerate(networks):
        assert list(together.member(place)) != []
        for name, value in network.state_dict().items():
            assert torch.equal(together.member(place)[name], value)
    together.member(1)["layers.c1.bias"].fill_(3.0)
    assert together.weights["layers.c1.bias"][1].eq(3.0).all()
    assert not together.weights["layers.c1.bias"][0].eq(3.0).any()
