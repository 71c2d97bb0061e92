"""The networks: their arithmetic, and that every argument of theirs does something."""

from pathlib import Path

import pytest
import torch
from test_params import CATALOGUE
from torch import nn

from lenetlab import models, params

STUDY = params.load(Path(__file__).parents[1] / "params.yaml")


def changed(variant: str, block: str, **settings: object) -> params.Variant:
    definition = STUDY.variants[variant]
    return definition.model_copy(update={block: getattr(definition, block).model_copy(update=settings)})


@pytest.mark.parametrize(("variant", "parameters"), CATALOGUE.items())
def test_the_catalogue_has_the_parameters_of_the_reports(variant, parameters):
    definition = STUDY.variants[variant]
    model = models.build(definition, seed=0)
    assert models.parameter_count(model) == parameters
    table = models.layer_table(model, definition.input.size)
    assert sum(row["parameters"] for row in table) == parameters
    for row in table:
        arithmetic = row["arithmetic"].replace("×", "*") or "0"
        assert eval(arithmetic, {}) == row["parameters"]  # noqa: S307  our own words: 6 * (1 * 5 * 5 + 1)


def test_lenet5_layer_by_layer_as_in_lecun_1998():
    rows = {row["name"]: row for row in models.layer_table(models.build(STUDY.variants["lenet5"], 0), 32)}
    assert {name: rows[name]["output"] for name in ("c1", "s2", "c3", "s4", "c5", "f6", "output")} == {
        "c1": "6×28×28",
        "s2": "6×14×14",
        "c3": "16×10×10",
        "s4": "16×5×5",
        "c5": "120",
        "f6": "84",
        "output": "10",
    }
    assert [rows[name]["parameters"] for name in ("c1", "c5", "f6", "output")] == [156, 48_120, 10_164, 850]
    assert rows["c3"]["parameters"] == 2_416  # all 6 maps read by all 16; the paper's sparse table has 1,516


def test_batch_normalisation_stands_before_the_activation_and_dropout_after_the_hidden_layers():
    names = [name for name, _ in models.build(STUDY.variants["lenet5-regularized"], 0).layers.named_children()]
    assert names == [
        *("c1", "c1_norm", "c1_relu", "s2", "c3", "c3_norm", "c3_relu", "s4", "flatten"),
        *("c5", "c5_relu", "c5_dropout", "f6", "f6_relu", "f6_dropout", "output"),
    ]


def test_a_network_equals_the_usual_way_to_write_it():
    model = models.build(STUDY.variants["lenet5"], seed=1)
    usual = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    usual.load_state_dict(dict(zip(usual.state_dict(), model.state_dict().values(), strict=True)))
    images = torch.randn(7, 1, 32, 32)
    torch.testing.assert_close(model(images), usual(images))


def test_the_initial_weights_are_a_function_of_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (models.build(STUDY.variants["lenet5"], seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.layers.c1.weight, other.layers.c1.weight)


@pytest.mark.parametrize(
    ("variant", "block", "settings"),
    [
        ("lenet5", "model", {"pooling": "average"}),
        ("lenet5", "model", {"activation": "tanh"}),
        ("lenet5", "model", {"activation": "sigmoid"}),
        ("lenet5", "model", {"channels": (7, 16)}),
        ("lenet5", "model", {"hidden": (120, 85)}),
        ("lenet5", "regularization", {"batch_norm": True}),
        ("lenet5", "regularization", {"dropout": 0.5}),
        ("mlp", "model", {"hidden": (60,)}),
        ("mlp", "model", {"activation": "tanh"}),
        ("mlp", "regularization", {"batch_norm": True}),
        ("mlp", "regularization", {"dropout": (0.5,)}),
    ],
)
def test_each_argument_changes_what_the_network_answers(variant, block, settings):
    images = torch.randn(16, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    answers = []
    for definition in (STUDY.variants[variant], changed(variant, block, **settings)):
        model = models.build(definition, seed=0).train()
        torch.manual_seed(0)  # dropout's
        answers.append(model(images))
    assert not torch.equal(*answers)
