"""Networks that are computed one after another: the bits of a seed alone, beside others and resumed."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from lenetlab.data import dataset
from lenetlab.networks import build
from lenetlab.settings import schema
from lenetlab.training import checkpoint, group, loop, randomness, run_files
from tests.training.jobs import CATALOGUE, CPU, changed_training, changed_variant, cnn_variant, repeatable_files

OWN = '''
import torch
from torch import nn


class Small(nn.Module):
    """With random layers, batch normalisation, a buffer of its own and a parameter that is not trained."""

    def __init__(self, channels, classes, width):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(channels, width, 5, stride=3), nn.BatchNorm2d(width), nn.GELU())
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(width, classes)
        self.fixed = nn.Parameter(torch.ones(width), requires_grad=False)
        self.register_buffer("average", torch.zeros(width))

    def forward(self, images):
        values = self.maps(images).mean((2, 3)) * self.fixed
        if self.training:
            self.average = 0.9 * self.average + 0.1 * values.detach().mean(0)
            values = values + 0.1 * torch.randn_like(values)
        return self.output(self.dropout(values - self.average))
'''
CNN = cnn_variant(
    *({"conv": 5, "kernel": 7, "padding": 2, "stride": 2}, {"norm": "batch"}, {"activation": "relu"}, {"dropout": 0.3}),
    *({"pool": "max"}, {"linear": 7}, {"activation": "tanh"}, {"dropout": 0.3}),
)


@pytest.fixture(params=["own", "cnn"])
def variant(request, tmp_path, monkeypatch) -> schema.Variant:
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    if request.param == "cnn":
        return CNN
    model = schema.ModuleSettings.model_validate({"file": "networks/mine.py", "name": "Small", "width": 6})
    return changed_variant("lenet5-28").model_copy(update={"model": model})


def random_examples() -> dataset.Examples:
    source = torch.Generator().manual_seed(0)
    images, labels = torch.randn(70, 1, 28, 28, generator=source), torch.randint(0, 10, (70,), generator=source)
    return dataset.Examples(images, labels, torch.zeros(1, 1, 1))


def make_jobs(variant: schema.Variant, seeds: tuple[int, ...]) -> list[run_files.TrainingJob]:
    more = {"epochs": 3, "optimizer": "adamw", "weight_averaging": 0.9}
    settings = changed_training(**more)
    return [run_files.TrainingJob(variant, settings, seed, {"seed": seed}, {}) for seed in seeds]


def train(variant: schema.Variant, seeds: tuple[int, ...], folder: Path, events: int | None = None) -> dict[str, str]:
    """The files of seed 7 after its training with others, or after so many events."""
    examples = random_examples()
    running = loop.train_jobs(make_jobs(variant, seeds), examples, examples, [folder / str(seed) for seed in seeds])
    for _ in zip(range(events), running, strict=False) if events else running:
        pass
    running.close()
    return repeatable_files(folder / "7") if events is None else {}


def test_the_bits_are_the_same_alone_beside_others_and_resumed(variant, tmp_path):
    build.check(variant)
    alone = train(variant, (7,), tmp_path / "alone")
    assert len(alone) == 5
    for seeds in ((7, 1), (1, 2, 7), (5, 4, 7, 3, 2, 1)):
        assert train(variant, seeds, tmp_path / f"beside{len(seeds)}") == alone
    train(variant, (7,), tmp_path / "resumed", events=1)
    assert train(variant, (7,), tmp_path / "resumed") == alone
    assert train(variant, (8, 7), tmp_path / "other")["epoch-03.safetensors"] == alone["epoch-03.safetensors"]
    assert checkpoint.last_intact_epoch(tmp_path / "resumed" / "7") == 3


def test_the_seeds_of_random_layers_are_different_in_every_step_and_epoch():
    draws = [randomness.EpochRandomness(torch.empty(0), None, {}, (7, 8), epoch) for epoch in (1, 2)]
    seeds = [seed for draw in draws for step in range(3) for seed in draw.step_seeds(step)]
    assert len(set(seeds)) == 12


def test_random_layers_depend_on_their_seed_alone(variant):
    state = loop.initial_state(make_jobs(variant, (7, 8)), CPU)
    images = random_examples().images[:8].expand(2, 8, 1, 28, 28)
    before = {name: value.clone() for name, value in state.network.statistics.items()}

    def logits(*seeds: int) -> torch.Tensor:
        for name, value in before.items():
            state.network.statistics[name].copy_(value)
        return state.network.training_logits(images, {}, lambda: seeds)

    global_state = torch.random.get_rng_state()
    assert torch.equal(logits(1, 2), logits(1, 2))
    assert torch.equal(logits(1, 2)[0], logits(1, 3)[0])
    assert not torch.equal(logits(1, 2)[1], logits(1, 3)[1])
    assert torch.equal(torch.random.get_rng_state(), global_state)


def test_a_member_computes_what_its_network_computes(variant):
    """Logits, gradients and buffers of one step, with the same random numbers."""
    state = loop.initial_state(make_jobs(variant, (7, 8)), CPU)
    images, labels = random_examples().images[:8], random_examples().labels[:8]
    logits = state.network.training_logits(images.expand(2, 8, 1, 28, 28), {}, lambda: (11, 12))
    loss = functional.cross_entropy(logits[0], labels) + functional.cross_entropy(logits[1], labels)
    gradients = dict(
        zip(state.network.weights, torch.autograd.grad(loss, list(state.network.weights.values())), strict=True)
    )
    for member, seed in enumerate((7, 8)):
        network = build.build_network(variant, seed).train()
        torch.manual_seed(11 + member)
        expected = network(images)
        assert torch.equal(logits[member], expected)
        functional.cross_entropy(expected, labels).backward()
        for name, value in network.named_parameters():
            if value.requires_grad:
                torch.testing.assert_close(gradients[name][member], value.grad)
        for name, value in network.state_dict().items():
            assert torch.equal(state.network.member_state(member)[name], value), name
        assert torch.equal(state.network.evaluation_logits(images)[member], network.eval()(images))


def test_which_networks_are_computed_together():
    for name, definition in CATALOGUE.items():
        assert group.unsupported(build.build_network(definition, 0)) == "", name
    assert "round differently" in group.unsupported(build.build_network(CNN, 0))
    assert group.unsupported(nn.Linear(1, 1)) == "Linear is not a network of lenetlab"
