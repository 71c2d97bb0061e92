"""The networks: their arithmetic, and that every argument of theirs does something."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lenetlab.networks import build, custom_layers, layer_table
from lenetlab.settings import params, schema
from tests.settings.test_params import CATALOGUE

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")


def changed(variant: str, block: str, **settings: object) -> schema.Variant:
    definition = STUDY.variants[variant]
    return definition.model_copy(update={block: getattr(definition, block).model_copy(update=settings)})


@pytest.mark.parametrize(("variant", "parameters"), CATALOGUE.items())
def test_the_catalogue_has_the_parameters_of_the_reports(variant, parameters):
    definition = STUDY.variants[variant]
    model = build.build_network(definition, seed=0)
    assert layer_table.parameter_count(model) == parameters == definition.parameters
    table = layer_table.layer_table(model, definition.input.size)
    assert sum(row["parameters"] for row in table) == parameters
    for row in table:
        arithmetic = row["arithmetic"].replace("×", "*") or "0"
        assert eval(arithmetic, {}) == row["parameters"]  # noqa: S307  our own words: 6 * (1 * 5 * 5 + 1)


@given(
    st.sampled_from(["lenet5", "mlp"]),
    st.sampled_from([28, 32]),
    st.booleans(),
    st.sampled_from(["max", "average", "trained"]),
    st.lists(st.integers(1, 30), min_size=2, max_size=2),
)
def test_parameters_counted_without_torch_are_those_of_the_network(kind, size, batch_norm, pooling, widths):
    definition = changed(kind, "input", size=size)
    own = {"channels": tuple(widths), "hidden": tuple(widths), "pooling": pooling} if kind == "lenet5" else {}
    model = definition.model.model_copy(update={"hidden": tuple(widths), **own})
    rules = definition.regularization.model_copy(update={"batch_norm": batch_norm, "dropout": 0.0})
    definition = definition.model_copy(update={"model": model, "regularization": rules})
    assert definition.parameters == layer_table.parameter_count(build.build_network(definition, seed=0))


def test_lenet5_layer_by_layer_as_in_lecun_1998():
    rows = {row["name"]: row for row in layer_table.layer_table(build.build_network(STUDY.variants["lenet5"], 0), 32)}
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


def test_the_printed_lenet5_has_60000_parameters_where_the_paper_has_them():
    """LeCun et al. 1998, section II.B: 156, 12, 1,516, 32, 48,120 and 10,164; the codes are fixed."""
    rows = layer_table.layer_table(build.build_network(STUDY.variants["lenet5-1998"], 0), 32)
    trained = {row["name"]: row["parameters"] for row in rows if row["parameters"]}
    assert trained == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    activated = [row["name"] for row in rows if row["kind"] == "ScaledTanh"]
    assert activated == [f"{layer}_scaled-tanh" for layer in ("c1", "s2", "c3", "s4", "c5", "f6")]


def test_each_map_of_c3_reads_those_of_table_1_and_no_other():
    """Rotations of three and four neighbours, three gaps of two and two, and all; each map of S2 is read ten times."""
    expected = [{(at + step) % 6 for step in range(3)} for at in range(6)]
    expected += [{(at + step) % 6 for step in range(4)} for at in range(6)]
    expected += [{0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, set(range(6))]
    assert [set(read) for read in custom_layers.PARTIAL_CONNECTIONS] == expected
    assert sum(len(read) for read in custom_layers.PARTIAL_CONNECTIONS) == schema.PARTIAL_KERNELS
    layer, images = custom_layers.PartialConv2d(), torch.randn(2, 6, 14, 14)
    before = layer(images)
    for source in range(6):
        altered = images.clone()
        altered[:, source] += 1
        differs = {at for at, moved in enumerate((layer(altered) != before).flatten(2).any(2)[0]) if moved}
        assert differs == {at for at, read in enumerate(custom_layers.PARTIAL_CONNECTIONS) if source in read}


def test_partial_connections_are_full_ones_with_the_others_at_zero():
    layer = custom_layers.PartialConv2d()
    plain = nn.Conv2d(6, 16, 5)
    with torch.no_grad():
        plain.weight.zero_()
        plain.bias.copy_(layer.bias)
        kernels = iter(layer.weight)
        for out, read in enumerate(custom_layers.PARTIAL_CONNECTIONS):
            for source in read:
                plain.weight[out, source] = next(kernels).view(5, 5)
    images = torch.randn(2, 6, 14, 14)
    torch.testing.assert_close(layer(images), plain(images))


def test_trained_subsampling_adds_four_pixels_scales_and_shifts():
    layer, images = custom_layers.Subsampling(2), torch.arange(32.0).view(1, 2, 4, 4)
    by_hand = [[[10.0, 18.0], [42.0, 50.0]], [[74.0, 82.0], [106.0, 114.0]]]
    expected = torch.tensor([by_hand]) * layer.weight.view(2, 1, 1) + layer.bias.view(2, 1, 1)
    torch.testing.assert_close(layer(images), expected)


def test_the_scaled_tanh_is_1_at_1_and_bends_most_there():
    """LeCun et al. 1998, appendix A: f(1) = 1, f(-1) = -1, and the second derivative is largest at 1."""
    places = torch.linspace(0, 3, 3001, dtype=torch.float64)
    values = custom_layers.ScaledTanh()(places)
    assert values[1000].item() == pytest.approx(1, abs=1e-4)
    assert places[1:-1][values.diff().diff().abs().argmax()].item() == pytest.approx(1, abs=0.02)


def test_a_code_is_the_logit_of_its_digit_by_distance():
    codes = custom_layers.Codes()
    assert codes.codes.shape == (10, 84)
    assert set(codes.codes.flatten().tolist()) == {-1.0, 1.0}
    answers = codes(codes.codes)
    assert answers.argmax(1).tolist() == list(range(10))
    torch.testing.assert_close(answers, -(torch.cdist(codes.codes, codes.codes) ** 2), atol=1e-2, rtol=1e-4)
    assert answers.diagonal().abs().max() < 1e-4
    assert answers.fill_diagonal_(-999).max() <= -4 * 8  # any two differ in eight bits or more


def test_batch_normalisation_stands_before_the_activation_and_dropout_after_the_hidden_layers():
    names = [name for name, _ in build.build_network(STUDY.variants["lenet5-regularized"], 0).layers.named_children()]
    assert names == [
        *("c1", "c1_norm", "c1_relu", "s2", "c3", "c3_norm", "c3_relu", "s4", "flatten"),
        *("c5", "c5_relu", "c5_dropout", "f6", "f6_relu", "f6_dropout", "output"),
    ]


def test_a_network_equals_the_usual_way_to_write_it():
    model = build.build_network(STUDY.variants["lenet5"], seed=1)
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
    first, again, other = (build.build_network(STUDY.variants["lenet5"], seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.layers.c1.weight, other.layers.c1.weight)


@pytest.mark.parametrize(
    ("variant", "block", "settings"),
    [
        ("lenet5", "model", {"pooling": "average"}),
        ("lenet5", "model", {"activation": "tanh"}),
        ("lenet5", "model", {"activation": "sigmoid"}),
        ("lenet5", "model", {"activation": "scaled-tanh"}),
        ("lenet5", "model", {"pooling": "trained"}),
        ("lenet5", "model", {"connections": "partial"}),
        ("lenet5", "model", {"output": "codes"}),
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
        model = build.build_network(definition, seed=0).train()
        torch.manual_seed(0)  # dropout's
        answers.append(model(images))
    assert not torch.equal(*answers)
