"""The network of a list of layers: shapes, parameters, and lists that are refused."""

from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from lenetlab.errors import UserError
from lenetlab.networks import build, layer_table
from lenetlab.report import diagrams
from lenetlab.settings import layer_schema, params, schema
from tests.training.jobs import cnn_variant

PARAMS = (Path(__file__).parents[2] / "params.yaml").read_text()
RULES = "batch_norm: false, dropout: 0.0"
LAYERS = st.one_of(
    st.fixed_dictionaries(
        {"conv": st.integers(1, 9)},
        optional={"kernel": st.integers(1, 5), "stride": st.integers(1, 3), "padding": st.integers(0, 2)},
    ),
    st.just({"norm": "batch"}),
    st.fixed_dictionaries({"activation": st.sampled_from(("relu", "tanh", "sigmoid", "scaled-tanh"))}),
    st.fixed_dictionaries(
        {"pool": st.sampled_from(("max", "average"))},
        optional={"size": st.integers(1, 4), "stride": st.integers(1, 3)},
    ),
    st.fixed_dictionaries({"dropout": st.sampled_from((0.0, 0.25))}),
    st.fixed_dictionaries({"linear": st.integers(1, 9)}),
)


@settings(max_examples=30)
@given(st.lists(LAYERS, min_size=1, max_size=6), st.integers(1, 20), st.sampled_from((1, 3)), st.integers(2, 5))
def test_parameters_and_shapes_are_those_of_torch(layers, size, channels, classes):
    kind = schema.ImageKind(size=size, channels=channels, classes=classes)
    variant = cnn_variant(*layers, size=size).model_copy(update={"images": kind})
    assume(not layer_schema.unsuitable(variant.model.layers, channels, size))
    network = build.build_network(variant, seed=0)
    assert layer_table.parameter_count(network) == variant.parameters
    table = layer_table.layer_table(variant)
    assert sum(layer["parameters"] for layer in table) == variant.parameters
    assert network(torch.randn(2, channels, size, size)).shape == (2, classes)
    *_, last = layer_schema.output_shapes(variant.model.layers, channels, size)
    assert network.layers.output.in_features == layer_schema.units(last)
    assert diagrams.network(table, size, "black").axes


def test_the_layers_are_those_of_the_list():
    variant = cnn_variant(
        {"conv": 4, "kernel": 5, "stride": 2, "padding": 1}, {"norm": "batch"}, {"activation": "relu"},
        {"pool": "average", "size": 3, "stride": 2}, {"dropout": 0.25}, {"linear": 8}, {"norm": "batch"},
        {"activation": "relu"}, {"dropout": 0.5},
    )  # fmt: skip
    expected = nn.Sequential(
        *(
            nn.Conv2d(1, 4, 5, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AvgPool2d(3, 2),
            nn.Dropout2d(0.25),
        ),
        *(nn.Flatten(), nn.Linear(4 * 6 * 6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10)),
    )
    layers = build.build_network(variant, seed=0).layers
    assert list(map(str, layers)) == list(map(str, expected))
    names = "conv1 norm1 relu1 pool1 dropout1 flatten linear1 norm2 relu2 dropout2 output"
    assert [name for name, _ in layers.named_children()] == names.split()


def with_cnn(layers: str, rules: str = RULES) -> str:
    """params.yaml with one more variant."""
    return f"""{PARAMS}
  own:
    input: {{size: 28, resize: pad, normalize: true}}
    model: {{name: cnn, layers: {layers}}}
    regularization: {{{rules}, weight_decay: 0.0, label_smoothing: 0.0, augmentation: none}}
"""


@pytest.mark.parametrize(
    ("layers", "key", "text"),
    [
        ("[]", "layers", "[] is not allowed; allowed: a list of up to 100 blocks: one of the keys conv, norm,"),
        ("[{conv: 0}]", "layers[0].conv", "0 is not allowed; allowed: a whole number from 1 to 10000 (maps)"),
        ("[{conv: 1}, {pool: mean}]", "layers[1].pool", "'mean' is not allowed; allowed: max or average"),
        ("[{conv: 1, size: 2}]", "layers[0].size", "unknown key; allowed: conv, kernel, stride, padding"),
        ("[{drop: 1}]", "layers[0]", "{'drop': 1} is not allowed; allowed: a block with one of the keys conv, norm,"),
        (
            "[{conv: 4, kernel: 20}, {pool: max, size: 10}]",
            "layers",
            "layer 2 (pool) makes images of 9×9 pixels smaller",
        ),
        ("[{conv: 4, kernel: 29}]", "layers", "layer 1 (conv) makes images of 28×28 pixels smaller than one pixel"),
        ("[{linear: 4}, {conv: 4}]", "layers", "layer 2 (conv) comes after a linear layer; allowed: before the first"),
        ("[{linear: 4}, {pool: max}]", "layers", "layer 2 (pool) comes after a linear layer"),
        ("[{dropout: 0.5}, {conv: 4}]", "layers", "layer 1 (dropout) has no conv or linear before it"),
    ],
)
def test_a_list_that_cannot_be_a_network_is_refused_by_the_number_of_the_layer(layers, key, text):
    with pytest.raises(UserError) as error:
        params.parse(Path("params.yaml"), with_cnn(layers))
    (problem,) = error.value.problems
    assert problem.startswith(f"params.yaml: variants.own.model.{key}: {text}")


def test_dropout_and_normalisation_of_a_cnn_are_in_its_layers_only():
    with pytest.raises(UserError) as error:
        params.parse(Path("params.yaml"), with_cnn("[{conv: 4}]", "batch_norm: true, dropout: 0.5"))
    norm, dropout = error.value.problems
    assert "regularization.batch_norm: true is not allowed for a cnn; allowed: false, and {norm: batch}" in norm
    assert "regularization.dropout: 0.5 is not allowed for a cnn; allowed: 0.0, and {dropout: RATE}" in dropout


def test_a_cnn_can_be_matched_by_an_mlp_and_scaled():
    text = with_cnn("[{conv: 16}, {pool: max}, {linear: 20}]").replace("hidden:\n      - 59", "match_parameters: own")
    variants = params.parse(Path("params.yaml"), text).variants
    assert variants["mlp"].parameters <= variants["own"].parameters < variants["mlp"].scaled(1.1).parameters
    conv, _, linear = variants["own"].scaled(0.5).model.layers
    assert (conv.conv, linear.linear) == (8, 10)


def test_a_list_that_cannot_be_a_network_cannot_be_matched_either():
    text = with_cnn("[{conv: 16, kernel: 30}]").replace("hidden:\n      - 59", "match_parameters: own")
    with pytest.raises(UserError, match="'own' is not a variant with a width of its own"):
        params.parse(Path("params.yaml"), text)
