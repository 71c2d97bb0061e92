"""What claims.yaml may state, and in which words a wrong file is refused."""

import json
from functools import cache
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.networks import build, custom_layers, layer_table
from lenetlab.settings import claims, params
from lenetlab.statistics.claims import claim_text

ROOT = Path(__file__).parents[2]
STUDY = params.load(ROOT / "params.yaml")
OURS = claims.load(ROOT / "claims.yaml", STUDY)


# The reports' statements in their order; what counting decides has its verdict and the figure, the others have neither.
TRUTH = {
    "S0.1": ("refuted", "44,426"),
    "S0.2": ("refuted", "c3 2,416; c3 reads 6"),
    "S0.3": ("refuted", "42,166"),
    "S0.4": ("confirmed", "49,950"),
    "S0.5": ("refuted", "49,950 against 44,426 parameters"),
    **dict.fromkeys(("S0.6", "S0.7", "S0.8", "S0.9", "S0.10")),
    "S1.1": ("refuted", "61,706"),
    "S1.2": ("refuted", "hidden1 60,475"),
    "S1.3": ("refuted", "61,075"),
    **dict.fromkeys(("S1.4", "S1.5", "S1.6", "S1.7")),
    "S1.8": ("refuted", "at least 0.0185"),
    "S2.1": ("refuted", "61,706"),
    "S2.2": ("refuted", "c1 156; c3 2,416"),
    "S2.3": ("refuted", "44,426; c5 reads 256"),
    "S2.4": ("refuted", "61,706"),
    "S2.5": ("refuted", "Linear 3; Conv2d 2"),
    "S2.6": ("refuted", "2 BatchNorm2d (with weights), 2 Dropout (without weights)"),
    **dict.fromkeys(("S2.7a", "S2.7b", "S2.7c", "S2.7d", "S2.8", "S2.9", "S2.10", "S2.11")),
    "S2.12": ("refuted", "32 in both"),
    "S2.13": None,
    "S3.1a": ("confirmed", "61,706"),
    "S3.1b": ("confirmed", "61,075"),
    "S3.1c": ("confirmed", "61,706 against 61,075 parameters"),
    "S4.1a": ("confirmed", "44,426"),
    "S4.1b": ("confirmed", "469,160"),
    "S4.2": ("refuted", "469,160 against 44,426 parameters"),
    **dict.fromkeys(("S4.3", "S4.4", "S4.5a", "S4.5b", "S4.6", "S4.7")),
}


def entry(**keys: object) -> dict:
    return {"id": "X1", "statement": "Said somewhere"} | keys


def loaded(folder: Path, *entries: object) -> list[claims.Claim]:
    path = folder / "claims.yaml"
    path.write_text(json.dumps({"claims": entries}))  # JSON is YAML
    return claims.load(path, STUDY)


def accuracy(variant: str = "lenet5", **keys: object) -> dict:
    return entry(kind="accuracy", variant=variant, **keys)


def relation(**keys: object) -> dict:
    return entry(kind="relation", candidate="lenet5", baseline="mlp") | keys


@cache
def layers_of(name: str) -> list[dict]:
    definition = STUDY.variants[name]
    return layer_table.layer_table(build.build_network(definition, seed=0), definition.input.size)


def test_the_statements_of_the_reports_are_all_there_once():
    assert [claim.id for claim in OURS] == list(TRUTH)
    assert len(OURS) == 46


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            accuracy(value=99.01),
            ".value: 99.01 is not allowed; allowed: a fraction more than 0, at most 1 (0.9901 for 99",
        ),
        (accuracy(value="0.99"), ".value: '0.99' is not allowed; allowed: a fraction more than 0"),
        (accuracy(value=0), ".value: 0 is not allowed; allowed: a fraction more than 0"),
        (accuracy(value=True), ".value: True is not allowed; allowed: a fraction"),
        (accuracy(), ".value: missing; allowed: a fraction"),
        (accuracy(value=0.9, epoch=0), ".epoch: 0 is not allowed; allowed: a whole number from 1"),
        (accuracy(value=0.9, epoch=1.5), ".epoch: 1.5 is not allowed; allowed: a whole number from 1"),
        (
            accuracy(value=0.9, measure="loss"),
            ".measure: 'loss' is not allowed; allowed: test_accuracy, train_accuracy or",
        ),
        (accuracy(value=0.9, within=1), ".within: 1 is not allowed; allowed: a number more than 0, below 1"),
        (accuracy(value=0.9, within=0.1, at_least=True), ".at_least: True is not allowed; allowed: within or at_least"),
        (
            accuracy(values={"train_accuracy": 98.5}),
            ".values.train_accuracy: 98.5 is not allowed; allowed: test_accuracy,",
        ),
        (
            accuracy(values={"train": 0.98}),
            ".values: 'train' is not allowed; allowed: test_accuracy, train_accuracy or",
        ),
        (accuracy(values={}), ".values: {} is not allowed; allowed: test_accuracy, train_accuracy or"),
        (
            accuracy("lenet-5", value=0.9),
            ".variant: 'lenet-5' is not allowed; allowed: lenet5, mlp, lenet5-regularized,",
        ),
        (
            accuracy(value=0.9, valeu=0.9),
            ".valeu: unknown key; allowed: id, kind, statement and variant, epoch, within,",
        ),
        (
            entry(kind="parameters", variant="mlp", value=1.5),
            ".value: 1.5 is not allowed; allowed: a whole number from 1",
        ),
        (
            entry(kind="parameters", variant="mlp"),
            ": nothing is stated; allowed: value, layers or inputs, at least one",
        ),
        (
            entry(kind="parameters", variant="lenet5", layers={"c2": 1}),
            ".layers: 'c2' is not allowed; allowed: c1, c3, c5, f6, output, s2, s4",
        ),
        (
            entry(kind="parameters", variant="lenet5", inputs={"s2": 6}),
            ".inputs: 's2' is not allowed; allowed: c1, c3, c5, f6, output",
        ),
        (
            entry(kind="parameters", variant="mlp", layers={"c1": 156}),
            ".layers: 'c1' is not allowed; allowed: hidden1, output",
        ),
        (
            entry(kind="parameters", variant="lenet5", layers={"c1": "many"}),
            ".layers.c1: 'many' is not allowed; allowed: whole numbers from 0, by name of layer",
        ),
        (
            entry(kind="parameters", terms=[1, -2], value=3),
            ".terms[1]: -2 is not allowed; allowed: a list of one or more",
        ),
        (entry(kind="parameters", terms=[1, 2]), ".value: missing; allowed: a whole number from 1"),
        (
            entry(kind="parameters", terms=[1, 2], value=3, variant="mlp"),
            ".terms: unknown key; allowed: id, kind, statement and variant, value, layers, inputs; or terms, value",
        ),
        (
            relation(),
            ".expected: missing; allowed: test_accuracy (the default) with better, worse or",
        ),
        (relation(expected="less"), ".expected: 'less' is not allowed; allowed: test_accuracy (the default) with"),
        (
            relation(expected="better", measure="parameters"),
            ".expected: 'better' is not allowed; allowed: test_acc",
        ),
        (relation(expected="less", measure="speed"), ".measure: 'speed' is not allowed; allowed: test_accuracy (the"),
        (relation(expected="less", measure=["gap", "speed"]), ".measure[1]: 'speed' is not allowed; allowed: test_acc"),
        (relation(expected="less", measure=[]), ".measure: [] is not allowed; allowed: test_acc"),
        (relation(measure="parameters", difference=0), ".difference: 0 is not allowed; allowed: a whole number from 1"),
        (
            relation(expected="less", measure="epochs_to"),
            ".accuracy: missing; allowed: a fraction more than 0, at most 1",
        ),
        (relation(expected="less", measure="gap", accuracy=0.9), ".accuracy: 0.9 is not allowed; allowed: a fraction"),
        (relation(expected="better", alone=["mlpp"]), ".alone[0]: 'mlpp' is not allowed; allowed: lenet5, mlp, "),
        (
            relation(expected="better", baseline="lenet5"),
            ".baseline: 'lenet5' is compared with itself; allowed: another",
        ),
        (
            entry(kind="structure", variant="mlp", layers={"Conv3d": 1}),
            ".layers: 'Conv3d' is not allowed; allowed: whole",
        ),
        (
            entry(kind="structure", variant="mlp"),
            ".layers: missing; allowed: whole numbers from 0, by kind of layer: Conv2d",
        ),
        (
            entry(kind="structure", candidate="mlp", baseline="lenet5", differs="input"),
            ".differs: 'input' is not allowed; allowed: one of input.size, input.resize,",
        ),
        (
            entry(kind="loss", loss=-1, accuracy=0.5),
            ".loss: -1 is not allowed; allowed: a number from 0 (nats per image",
        ),
        (entry(kind="loss", loss=1), ".accuracy: missing; allowed: a fraction"),
        (
            entry(kind="opinion"),
            ".kind: 'opinion' is not allowed; allowed: parameters, accuracy, relation, structure, loss",
        ),
        (entry(kind=["loss"]), ".kind: ['loss'] is not allowed; allowed: parameters, accuracy"),
        (entry(), ".kind: missing; allowed: parameters, accuracy, relation, structure, loss"),
        (accuracy(value=0.9, id=1.1), ".id: 1.1 is not allowed; allowed: text of its own, such as S0.1"),
        (accuracy(value=0.9, id="a b"), ".id: 'a b' is not allowed; allowed: text of its own"),
        (
            accuracy(value=0.9, statement=""),
            ".statement: '' is not allowed; allowed: a sentence of 1 to 300 characters",
        ),
        ("LeNet-5 is good", ": 'LeNet-5 is good' is not allowed; allowed: a block with the keys id, kind, statement"),
    ],
)
def test_an_error_names_key_value_and_what_is_allowed(tmp_path, wrong, line):
    right = accuracy(id="right", value=0.9)
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, right, wrong)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'claims.yaml'}: claims[1]{line}")


def test_every_error_is_listed_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        loaded(
            tmp_path,
            accuracy(value=0.9),
            {"kind": "accuracy", "variant": "mlpp", "value": 98, "within": 2, "colour": "red"},
            accuracy(value=0.9),
            7,
            entry(kind="structure", variant="mlp", layers={"Conv3d": 1, "Linear": -1}),
        )
    keys = [
        problem.removeprefix(f"{tmp_path / 'claims.yaml'}: claims").split(": ")[0] for problem in caught.value.problems
    ]
    assert keys == [
        *("[1].id", "[1].statement", "[1].variant", "[1].within", "[1].value", "[1].colour"),
        *("[2].id", "[3]", "[4].layers", "[4].layers.Linear", "[4].id"),
    ]
    assert "claims[2].id: 'X1' is that of claims[0]; allowed: each once" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "empty or not a mapping; allowed: the key claims, with a list ([] for none)"),
        ("[1]", "empty or not a mapping; allowed: the key claims"),
        ("{}", "claims: missing; allowed: a list, [] for no statement"),
        ("claims:", "claims: None is not allowed; allowed: a list, [] for no statement"),
        ("claims: {a: 1}", "claims: {'a': 1} is not allowed; allowed: a list"),
        ("claims: []\nclaim: []", "claim: unknown key; allowed: claims"),
        (
            "claims: [{1: 2, kind: loss, id: a, statement: b, loss: 1, accuracy: 1}]",
            "claims[0][1]: unknown key; allowed",
        ),
        ("claims: [", "not a YAML file: "),
        ("claims: []\nclaims: []", "not a YAML file: the key 'claims' stands twice"),
    ],
)
def test_what_is_no_list_of_statements_is_refused_in_a_sentence(tmp_path, content, problem):
    path = tmp_path / "claims.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        claims.load(path, STUDY)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", STUDY.variants)
def test_the_layers_that_may_be_named_are_those_of_the_network(name):
    table, definition = layers_of(name), STUDY.variants[name]
    assert {layer["kind"] for layer in table} <= set(claims.KINDS_OF_LAYERS)
    nameable = claims._names_of_layers(definition, reading=False)
    assert set(nameable) <= {layer["name"] for layer in table}
    assert set(nameable) >= {layer["name"] for layer in table if layer["parameters"]}
    assert set(claims._names_of_layers(definition, reading=True)) <= set(nameable)


def test_every_kind_of_layer_that_models_can_build_may_be_named():
    kinds = {kind.__name__ for kind in (*custom_layers.ACTIVATIONS.values(), *custom_layers.POOLINGS.values())}
    assert kinds <= set(claims.KINDS_OF_LAYERS)


def test_every_key_is_explained_at_the_head_of_the_file():
    head = (ROOT / "claims.yaml").read_text().partition("\nclaims:")[0]
    keys = {key for forms in claims.FORMS.values() for form in forms for key in form.model_fields}
    measures = [*claim_text.MEASURES, "seconds", "memory", "parameters"]
    assert [word for word in (*keys, *claims.FORMS, *measures) if word not in head] == []
