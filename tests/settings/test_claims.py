"""claims.yaml: what is valid, what is rejected, and the error messages."""

import json
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.networks import custom_layers, layer_table
from lenetlab.settings import claim_schema, claims, params, schema, study_schema, yaml_file
from lenetlab.statistics.claims import claim_text
from tests.settings import example
from tests.settings.example import accuracy, relation, statement

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> study_schema.Study:
    return params.load(example.write_params(tmp_path_factory.mktemp("study")))


def load(folder: Path, study: study_schema.Study, *entries: object, **head: object) -> claims.Statements:
    path = folder / "claims.yaml"
    path.write_text(json.dumps({**head, "claims": entries}))  # JSON is YAML
    return claims.load(path, study)


def test_each_form_is_recognised_by_its_keys(tmp_path, study):
    forms = {
        "CountClaim": statement(
            kind="parameters", variant="mlp", value=61075, layers={"output": 600}, inputs={"output": 59}
        ),
        "SumClaim": statement(kind="parameters", terms=[1, 2], value=3),
        "AccuracyClaim": accuracy(value=0.99, measure="train_accuracy", epoch=10, within=0.01),
        "AccuraciesClaim": accuracy(values={"train_accuracy": 0.98, "test_accuracy": 0.97}, at_least=True),
        "AccuracyRelationClaim": relation(expected="better", alone=["mlp"], parameters="fewer"),
        "CountRelationClaim": relation(measure="parameters", expected="similar"),
        "CountDifferenceClaim": relation(measure="parameters", difference=600),
        "FigureRelationClaim": relation(measure=["gap", "epochs_to"], expected="less", accuracy=0.9),
        "LayerCountClaim": statement(kind="structure", variant="mlp", layers={"Linear": 2}),
        "AddedLayersClaim": statement(kind="structure", candidate="lenet5", baseline="mlp", added={"Conv2d": 2}),
        "DifferentSettingClaim": statement(kind="structure", candidate="lenet5", baseline="mlp", differs="input.size"),
        "LossClaim": statement(kind="loss", loss=0.1, accuracy=0.9),
        "MeasuredLossClaim": statement(kind="loss", loss=0.1, accuracy=0.9, variant="mlp", data="mnist"),
    }
    loaded = load(tmp_path, study, *(keys | {"id": name} for name, keys in forms.items())).claims
    assert [type(claim).__name__ for claim in loaded] == [claim.id for claim in loaded] == list(forms)
    assert {form for forms in claim_schema.FORMS.values() for form in forms} == {type(claim) for claim in loaded}


def test_one_measure_may_be_written_without_a_list(tmp_path, study):
    (claim,) = load(tmp_path, study, relation(measure="gap", expected="less")).claims
    assert claim.measure == ("gap",)


def test_a_statement_is_from_the_report_that_its_id_begins_with(tmp_path, study):
    ids = ("S0.1", "S0.1.2", "S0", "S00.1", "S1.1")
    entries = [accuracy(id=name, value=0.9) for name in ids]
    loaded = load(tmp_path, study, *entries, reports={"S0": "A report", "S00": "Another"})
    assert [loaded.report_of(claim) for claim in loaded.claims] == ["S0", "S0", None, "S00", None]
    assert loaded.reports == {"S0": "A report", "S00": "Another"}


def test_the_resolution_is_half_a_point_unless_the_file_says_otherwise(tmp_path, study):
    assert load(tmp_path, study).resolution == 0.005
    assert load(tmp_path, study, resolution=0.02).resolution == 0.02


COUNTED = {
    "parameters": statement(kind="parameters", variant="mlp", value=1),
    "sum": statement(kind="parameters", terms=[1], value=1),
    "similar": statement(kind="relation", candidate="lenet5", baseline="mlp", measure="parameters", expected="similar"),
    "structure": statement(kind="structure", variant="mlp", layers={"Linear": 2}),
    "loss": statement(kind="loss", loss=0.1, accuracy=0.9),
}


def test_a_statement_about_results_names_its_data(tmp_path, study):
    for entry in COUNTED.values():
        assert load(tmp_path, study, entry)
        assert load(tmp_path, study, entry | {"data": "mnist"})
    measured = (
        accuracy(value=0.9),
        accuracy(values={"test_accuracy": 0.9}),
        relation(expected="better"),
        relation(expected="less", measure="seconds"),
        statement(kind="loss", loss=0.1, accuracy=0.9, variant="mlp", data="mnist"),
    )
    for entry in measured:
        assert load(tmp_path, study, entry)
        without = {key: value for key, value in entry.items() if key != "data"}
        (line,) = errors_of(tmp_path, study, without)
        assert line.startswith(
            "claims[0] (X1).data: missing; allowed: the name of a data set: mnist for data/mnist.toml,"
        )
        for wrong in ("data/mnist.toml", "", 7, None, "a b"):
            (line,) = errors_of(tmp_path, study, entry | {"data": wrong})
            assert line.startswith("claims[0] (X1).data: ")
            assert "allowed: the name of a data set" in line


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ({"resolution": 0}, "resolution: 0 is not allowed; allowed: a fraction more than 0, below 1"),
        ({"resolution": 0.5, "rsolution": 0.5}, "rsolution: unknown key; allowed: resolution, reports, claims"),
        (
            {"reports": ["X"]},
            "reports: ['X'] is not allowed; allowed: names of reports (letters, digits, _ and -), each",
        ),
        ({"reports": {"X": ""}}, "reports.X: '' is not allowed; allowed: names of reports (letters, digits, _ and -)"),
        ({"reports": {"X.1": "a"}}, "reports: 'X.1' is not allowed; allowed: names of reports"),
        (
            {"reports": {"Y": "a"}},
            "reports.Y: no statement is from it; allowed: what an id has before its first dot, su",
        ),
    ],
)
def test_an_error_about_the_whole_file_names_the_key(tmp_path, study, head, line):
    (problem,) = errors_of(tmp_path, study, accuracy(id="X.1", value=0.9), **head)
    assert problem.startswith(line)


def test_errors_about_the_file_and_its_statements_are_listed_at_once(tmp_path, study):
    errors = errors_of(tmp_path, study, accuracy(id="X.1", value=9), resolution=9, reports={"Y": "a", "X": 1})
    assert [error.split(": ")[0] for error in errors] == [
        "resolution",
        "reports.X",
        "claims[0] (X.1).value",
        "reports.Y",
    ]


def errors_of(folder: Path, study: study_schema.Study, *entries: object, **head: object) -> list[str]:
    """The lines of the error, without the name of the file."""
    with pytest.raises(UserError) as caught:
        load(folder, study, *entries, **head)
    return [line.removeprefix(f"{folder / 'claims.yaml'}: ") for line in caught.value.problems]


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
            ".valeu: unknown key; allowed: id, kind, statement, data and variant, epoch, within,",
        ),
        (
            statement(kind="parameters", variant="mlp", value=1.5),
            ".value: 1.5 is not allowed; allowed: a whole number from 1",
        ),
        (
            statement(kind="parameters", variant="mlp"),
            ": nothing is stated; allowed: value, layers or inputs, at least one",
        ),
        (
            statement(kind="parameters", variant="lenet5", layers={"c2": 1}),
            ".layers: 'c2' is not allowed; allowed: c1, c3, c5, f6, output, s2, s4",
        ),
        (
            statement(kind="parameters", variant="lenet5", inputs={"s2": 6}),
            ".inputs: 's2' is not allowed; allowed: c1, c3, c5, f6, output",
        ),
        (
            statement(kind="parameters", variant="mlp", layers={"c1": 156}),
            ".layers: 'c1' is not allowed; allowed: hidden1, output",
        ),
        (
            statement(kind="parameters", variant="lenet5", layers={"c1": "many"}),
            ".layers.c1: 'many' is not allowed; allowed: whole numbers from 0, by name of layer",
        ),
        (
            statement(kind="parameters", terms=[1, -2], value=3),
            ".terms[1]: -2 is not allowed; allowed: a list of one or more",
        ),
        (statement(kind="parameters", terms=[1, 2]), ".value: missing; allowed: a whole number from 1"),
        (
            statement(kind="parameters", terms=[1, 2], value=3, variant="mlp"),
            ".terms: unknown key; allowed: id, kind, statement, data and variant, value, layers, inputs; or terms",
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
            statement(kind="structure", variant="mlp", layers={"Conv3d": 1}),
            ".layers: 'Conv3d' is not allowed; allowed: whole",
        ),
        (
            statement(kind="structure", variant="mlp"),
            ".layers: missing; allowed: whole numbers from 0, by kind of layer: Conv2d",
        ),
        (
            statement(kind="structure", candidate="mlp", baseline="lenet5", differs="input"),
            ".differs: 'input' is not allowed; allowed: one of input.size, input.resize,",
        ),
        (
            statement(kind="loss", loss=-1, accuracy=0.5),
            ".loss: -1 is not allowed; allowed: a number from 0 (nats per image",
        ),
        (statement(kind="loss", loss=1), ".accuracy: missing; allowed: a fraction"),
        (
            statement(kind="opinion"),
            ".kind: 'opinion' is not allowed; allowed: parameters, accuracy, relation, structure, loss",
        ),
        (statement(kind=["loss"]), ".kind: ['loss'] is not allowed; allowed: parameters, accuracy"),
        (statement(), ".kind: missing; allowed: parameters, accuracy, relation, structure, loss"),
        (accuracy(value=0.9, id=1.1), ".id: 1.1 is not allowed; allowed: a text that no other statement has"),
        (accuracy(value=0.9, id="a b"), ".id: 'a b' is not allowed; allowed: a text that no other"),
        (
            accuracy(value=0.9, statement=""),
            ".statement: '' is not allowed; allowed: a sentence of 1 to 300 characters",
        ),
        ("LeNet-5 is good", ": 'LeNet-5 is good' is not allowed; allowed: a block with the keys id, kind, statement"),
    ],
)
def test_an_error_names_key_value_and_what_is_allowed(tmp_path, study, wrong, line):
    (problem,) = errors_of(tmp_path, study, accuracy(id="right", value=0.9), wrong)
    has_valid_id = isinstance(wrong, dict) and wrong["id"] == "X1"
    assert problem.startswith(f"claims[1] (X1){line}" if has_valid_id else f"claims[1]{line}")


def test_all_errors_are_listed_at_once_and_equal_ones_in_one_line(tmp_path, study):
    errors = errors_of(
        tmp_path,
        study,
        accuracy(value=0.9),
        {"kind": "accuracy", "data": "mnist", "variant": "mlpp", "value": 98, "within": 2, "colour": "red"},
        accuracy(value=0.9),
        7,
        statement(kind="structure", variant="mlp", layers={"Conv3d": 1, "Linear": -1}),
    )
    keys = [error.removeprefix("claims").split(": ")[0] for error in errors]
    assert keys == [
        *("[1].id", "[1].statement", "[1].variant", "[1].within", "[1].value", "[1].colour"),
        *("[3]", "[4] (X1).layers", "[4] (X1).layers.Linear", "[2] (X1).id, claims[4] (X1).id"),
    ]
    assert "claims[2] (X1).id, claims[4] (X1).id: 'X1' is already used by claims[0]; allowed: each id once" in errors


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "empty or not a mapping; allowed: the key claims, with a list ([] for no statement)"),
        ("[1]", "empty or not a mapping; allowed: the key claims"),
        ("{}", "claims: missing; allowed: a list, [] for no statement"),
        ("claims:", "claims: None is not allowed; allowed: a list, [] for no statement"),
        ("claims: {a: 1}", "claims: {'a': 1} is not allowed; allowed: a list"),
        ("claims: []\nclaim: []", "claim: unknown key; allowed: resolution, reports, claims"),
        ("claims: [{1: 2, kind: loss}]", "not valid YAML: line 1, column 11: the key 1 is not text; allowed: names"),
        ("claims: [", "not valid YAML: line 1, column 10: "),
        ("claims: []\nclaims: []", "not valid YAML: line 2, column 1: the key 'claims' appears twice"),
    ],
)
def test_a_file_without_a_list_of_statements_is_rejected_in_one_line(tmp_path, study, content, problem):
    path = tmp_path / "claims.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        claims.load(path, study)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert len(caught.value.problems) == 1


def mlp_with_batch_norm(study: study_schema.Study) -> schema.Variant:
    mlp = study.variants["mlp"]
    return mlp.model_copy(update={"regularization": study.variants["lenet5-regularized"].regularization})


@pytest.mark.parametrize("name", ["lenet5", "lenet5-regularized", "lenet5-1998", "mlp-28-60-40", "mlp with batch_norm"])
def test_the_layers_that_a_statement_may_name_are_those_of_the_network(study, name):
    variant = study.variants.get(name) or mlp_with_batch_norm(study)
    table = layer_table.layer_table(variant)
    assert {layer["kind"] for layer in table} <= set(claim_schema.LAYER_KINDS)
    named = claim_schema.layers_with_counts(variant)
    assert set(named) <= {layer["name"] for layer in table}
    assert set(named) >= {layer["name"] for layer in table if layer["parameters"]}
    assert set(claim_schema.layers_with_inputs(variant)) <= set(named)


def test_a_statement_may_name_every_kind_of_layer_that_networks_can_have():
    kinds = {kind.__name__ for kind in (*custom_layers.ACTIVATIONS.values(), *custom_layers.POOLINGS.values())}
    assert kinds <= set(claim_schema.LAYER_KINDS)


# The files of the project; users add statements to claims.yaml.


def test_the_statements_of_the_five_reports_are_valid():
    loaded = claims.load(PROJECT / "docs" / "study" / "claims.yaml", params.load(PROJECT / "params.yaml"))
    reports = [f"S{report}" for report in range(5)]
    assert list(dict.fromkeys(map(loaded.report_of, loaded.claims))) == list(loaded.reports) == reports


def test_the_default_statements_are_about_the_default_study_and_its_data():
    """Only those of the five reports: users add others, and change the study."""
    default = yaml_file.read_yaml(PROJECT / "claims.yaml")["claims"]
    published = {entry["id"]: entry for entry in yaml_file.read_yaml(PROJECT / "docs/study/claims.yaml")["claims"]}
    for entry in default:
        if entry == published.get(entry["id"]):
            named = {entry.get(key, "mlp") for key in ("variant", "candidate", "baseline")}
            assert named <= {"lenet5", "mlp", "lenet5-regularized"}
            assert entry.get("data", "mnist") == "mnist"


def test_the_head_of_the_file_explains_every_key():
    head = (PROJECT / "claims.yaml").read_text().partition("\n\n")[0]
    keys = {key for forms in claim_schema.FORMS.values() for form in forms for key in form.model_fields}
    keys |= set(claim_schema.ClaimFile.model_fields)
    words = (*keys, *claim_schema.FORMS, *claim_text.MEASURES, "seconds", "memory", "parameters")
    assert [word for word in words if word not in head] == []
