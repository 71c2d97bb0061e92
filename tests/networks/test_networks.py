"""The networks: parameters, arithmetic, and that every setting of them has an effect."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lenetlab.networks import build, custom_layers, layer_table
from lenetlab.settings import params, schema

VARIANTS = params.load(Path(__file__).parents[2] / "params.yaml").variants
PARAMETERS = {  # of the catalogue, as the reports print them or follow from them
    "lenet5-28": 44_426,
    "mlp-28-60-40": 49_950,
    "lenet5-28-light-dropout": 44_470,
    "lenet5": 61_706,
    "mlp": 61_075,
    "lenet5-decay-dropout-affine": 61_706,
    "lenet5-average": 61_706,
    "lenet5-tanh": 61_706,
    "lenet5-regularized": 61_750,
    "lenet5-wide-regularized": 115_510,
    "lenet5-bilinear": 61_706,
    "mlp-28-500-150": 469_160,
    "lenet5-28-regularized": 44_470,
    "lenet5-28-regularized-affine": 44_470,
    "lenet5-batch-norm": 61_750,
    "lenet5-dropout": 61_706,
    "lenet5-28-batch-norm": 44_470,
    "lenet5-28-dropout": 44_426,
    "lenet5-1998": 60_000,
    "lenet5-tuned": 61_750,
}


def changed(name: str, block: str, **settings: object) -> schema.Variant:
    """A variant of the catalogue with settings of one of its blocks changed."""
    variant = VARIANTS[name]
    return variant.model_copy(update={block: getattr(variant, block).model_copy(update=settings)})


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_the_variants_of_the_catalogue_have_the_parameters_of_the_reports(name, parameters):
    variant = VARIANTS[name]
    network = build.build_network(variant, seed=0)
    assert layer_table.parameter_count(network) == parameters == variant.parameters
    table = layer_table.layer_table(variant)
    assert sum(row["parameters"] for row in table) == parameters
    for row in table:
        arithmetic = row["arithmetic"].replace("×", "*") or "0"
        assert eval(arithmetic, {}) == row["parameters"]  # noqa: S307  from our own code, such as 6 * (1 * 5 * 5 + 1)


@given(
    st.sampled_from(["lenet5", "mlp"]),
    st.sampled_from([28, 32]),
    st.booleans(),
    st.sampled_from(["max", "average", "trained"]),
    st.lists(st.integers(1, 30), min_size=2, max_size=2),
)
def test_parameters_computed_from_the_settings_are_those_of_the_network(kind, size, batch_norm, pooling, widths):
    variant = changed(kind, "input", size=size)
    own = {"channels": tuple(widths), "pooling": pooling} if kind == "lenet5" else {}
    model = variant.model.model_copy(update={"hidden": tuple(widths), **own})
    rules = variant.regularization.model_copy(update={"batch_norm": batch_norm, "dropout": 0.0})
    variant = variant.model_copy(update={"model": model, "regularization": rules})
    assert variant.parameters == layer_table.parameter_count(build.build_network(variant, seed=0))


@given(
    st.sampled_from(["lenet5", "mlp", "lenet5-average", "lenet5-tanh", "lenet5-regularized"]),
    st.integers(16, 40),
    st.sampled_from([1, 3]),
    st.integers(2, 40),
)
def test_every_kind_of_images_has_the_parameters_of_its_network(name, size, channels, classes):
    images = schema.ImageKind(size=size, channels=channels, classes=classes)
    variant = changed(name, "input", size=size).model_copy(update={"images": images})
    network = build.build_network(variant, seed=0)

    assert network.eval()(torch.zeros(2, channels, size, size)).shape == (2, classes)
    assert layer_table.parameter_count(network) == variant.parameters
    table = layer_table.layer_table(variant)
    assert sum(row["parameters"] for row in table) == variant.parameters
    assert table[-1]["output"] == str(classes)


def test_lenet5_in_colour_by_hand():
    """64×64 pixels: maps of 60, 30, 26 and 13 pixels per side; five classes."""
    images = schema.ImageKind(size=64, channels=3, classes=5)
    variant = changed("lenet5", "input", size=64).model_copy(update={"images": images})
    rows = {row["name"]: row for row in layer_table.layer_table(variant)}

    assert [rows[name]["output"] for name in ("c1", "s4", "output")] == ["6×60×60", "16×13×13", "5"]
    assert rows["c1"]["arithmetic"] == "6 × (3 × 5 × 5 + 1)"
    assert rows["c1"]["multiply_accumulates"] == 6 * 60 * 60 * 75
    assert [rows[name]["parameters"] for name in ("c1", "c3", "c5", "f6", "output")] == [
        6 * 76, 16 * 151, 120 * (16 * 169 + 1), 84 * 121, 5 * 85,
    ]  # fmt: skip


def test_lenet5_has_the_layers_of_the_paper():
    """LeCun et al. 1998, figure 2 and section II.B; C3 has all connections, which the paper's has not."""
    rows = {row["name"]: row for row in layer_table.layer_table(VARIANTS["lenet5"])}
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
    assert rows["c3"]["parameters"] == 2_416  # the paper's has 1,516


def test_lenet5_of_1998_has_60000_parameters_in_the_layers_of_the_paper():
    """LeCun et al. 1998, section II.B: 156, 12, 1,516, 32, 48,120 and 10,164; the output codes are fixed."""
    rows = layer_table.layer_table(VARIANTS["lenet5-1998"])
    parameters = {row["name"]: row["parameters"] for row in rows if row["parameters"]}
    assert parameters == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    activations = [row["name"] for row in rows if row["kind"] == "ScaledTanh"]
    assert activations == [f"{layer}_scaled-tanh" for layer in ("c1", "s2", "c3", "s4", "c5", "f6")]


def test_each_map_of_c3_reads_exactly_the_maps_of_table_1():
    """Three or four neighbours, two pairs of neighbours, or all; each map of S2 is read ten times."""
    expected = [{(first + step) % 6 for step in range(3)} for first in range(6)]
    expected += [{(first + step) % 6 for step in range(4)} for first in range(6)]
    expected += [{0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}, set(range(6))]
    assert [set(read) for read in custom_layers.PARTIAL_CONNECTIONS] == expected
    assert sum(len(read) for read in custom_layers.PARTIAL_CONNECTIONS) == schema.PARTIAL_KERNELS
    layer, images = custom_layers.PartialConv2d(), torch.randn(2, 6, 14, 14)
    before = layer(images)
    for source in range(6):
        altered = images.clone()
        altered[:, source] += 1
        changed_maps = {at for at, changed in enumerate((layer(altered) != before).flatten(2).any(2)[0]) if changed}
        assert changed_maps == {at for at, read in enumerate(custom_layers.PARTIAL_CONNECTIONS) if source in read}


def test_a_partial_convolution_is_a_full_one_with_missing_kernels_at_zero():
    layer = custom_layers.PartialConv2d()
    full = nn.Conv2d(6, 16, 5)
    with torch.no_grad():
        full.weight.zero_()
        full.bias.copy_(layer.bias)
        kernels = iter(layer.weight)
        for out, read in enumerate(custom_layers.PARTIAL_CONNECTIONS):
            for source in read:
                full.weight[out, source] = next(kernels).view(5, 5)
    images = torch.randn(2, 6, 14, 14)
    torch.testing.assert_close(layer(images), full(images))


def test_trained_subsampling_adds_four_pixels_scales_and_shifts():
    layer, images = custom_layers.Subsampling(2), torch.arange(32.0).view(1, 2, 4, 4)
    sums = torch.tensor([[[[10.0, 18.0], [42.0, 50.0]], [[74.0, 82.0], [106.0, 114.0]]]])
    expected = sums * layer.weight.view(2, 1, 1) + layer.bias.view(2, 1, 1)
    torch.testing.assert_close(layer(images), expected)


def test_the_scaled_tanh_is_1_at_1_and_has_its_largest_second_derivative_there():
    """LeCun et al. 1998, appendix A: f(1) = 1, f(-1) = -1."""
    places = torch.linspace(0, 3, 3001, dtype=torch.float64)
    values = custom_layers.ScaledTanh()(places)
    assert values[1000].item() == pytest.approx(1, abs=1e-4)
    assert places[1:-1][values.diff().diff().abs().argmax()].item() == pytest.approx(1, abs=0.02)


def test_the_logits_of_a_code_are_largest_for_its_digit():
    layer = custom_layers.Codes()
    assert layer.codes.shape == (10, 84)
    assert set(layer.codes.flatten().tolist()) == {-1.0, 1.0}
    logits = layer(layer.codes)
    assert logits.argmax(1).tolist() == list(range(10))
    torch.testing.assert_close(logits, -(torch.cdist(layer.codes, layer.codes) ** 2), atol=1e-2, rtol=1e-4)
    assert logits.diagonal().abs().max() < 1e-4
    assert logits.fill_diagonal_(-999).max() <= -4 * 8  # two codes differ in eight or more values


def test_batch_normalisation_comes_before_the_activation_and_dropout_after_hidden_layers():
    layers = build.build_network(VARIANTS["lenet5-regularized"], 0).layers
    assert [name for name, _ in layers.named_children()] == [
        *("c1", "c1_norm", "c1_relu", "s2", "c3", "c3_norm", "c3_relu", "s4", "flatten"),
        *("c5", "c5_relu", "c5_dropout", "f6", "f6_relu", "f6_dropout", "output"),
    ]


def test_lenet5_equals_the_usual_sequence_of_torchs_layers():
    network = build.build_network(VARIANTS["lenet5"], seed=1)
    usual = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    usual.load_state_dict(dict(zip(usual.state_dict(), network.state_dict().values(), strict=True)))
    images = torch.randn(7, 1, 32, 32)
    torch.testing.assert_close(network(images), usual(images))


def test_initial_weights_depend_on_the_seed_and_leave_the_global_random_state_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (build.build_network(VARIANTS["lenet5"], seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.layers.c1.weight, other.layers.c1.weight)


@pytest.mark.parametrize(
    ("name", "block", "settings"),
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
def test_each_setting_changes_the_logits(name, block, settings):
    images = torch.randn(16, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = []
    for variant in (VARIANTS[name], changed(name, block, **settings)):
        network = build.build_network(variant, seed=0).train()
        torch.manual_seed(0)  # for dropout
        logits.append(network(images))
    assert not torch.equal(*logits)
