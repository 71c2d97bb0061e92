"""Answers to statements in general: what is read for them, and what is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.settings import claims, study_schema
from lenetlab.statistics.claims import answers
from lenetlab.storage import files
from tests.settings.example import accuracy, relation, statement
from tests.statistics.statements import STUDY, answer, load_claims, outcome, with_study, write_evaluation

ROOT = Path(__file__).parents[2]

# The statements of the five reports that counting decides, with verdict and number.
COUNTED = {
    "S0.1": ("refuted", "44,426"),
    "S0.2": ("refuted", "c3 2,416; c3 reads 6"),
    "S0.3": ("refuted", "42,166"),
    "S0.4": ("confirmed", "49,950"),
    "S0.5": ("refuted", "49,950 against 44,426 parameters"),
    "S1.1": ("refuted", "61,706"),
    "S1.2": ("refuted", "hidden1 60,475"),
    "S1.3": ("refuted", "61,075"),
    "S1.8": ("refuted", "at least 0.0185"),
    "S2.1": ("refuted", "61,706"),
    "S2.2": ("refuted", "c1 156; c3 2,416"),
    "S2.3": ("refuted", "44,426; c5 reads 256"),
    "S2.4": ("refuted", "61,706"),
    "S2.5": ("refuted", "Linear 3; Conv2d 2"),
    "S2.6": ("refuted", "2 BatchNorm2d (with weights), 2 Dropout (without weights)"),
    "S2.12": ("refuted", "32 in both"),
    "S3.1a": ("confirmed", "61,706"),
    "S3.1b": ("confirmed", "61,075"),
    "S3.1c": ("confirmed", "61,706 against 61,075 parameters"),
    "S4.1a": ("confirmed", "44,426"),
    "S4.1b": ("confirmed", "469,160"),
    "S4.2": ("refuted", "469,160 against 44,426 parameters"),
}


STATEMENTS = ROOT / "docs" / "study" / "claims.yaml"


def on_other_data(*names: str) -> study_schema.Study:
    return with_study(*names).model_copy(update={"data": STUDY.data.model_copy(update={"source": "my/digits"})})


def test_these_statements_are_exact_and_all_others_are_tested(tmp_path):
    found = answers.decide(claims.load(STATEMENTS, STUDY), with_study(), [], tmp_path, {})
    assert {one.id for one in found if one.exact} == set(COUNTED)


@pytest.mark.parametrize("trained", [(), ("lenet5", "mlp", "lenet5-28")])
def test_counting_decides_the_same_with_and_without_training(tmp_path, trained):
    for name in trained:
        write_evaluation(tmp_path, name, test_accuracy=[0.98, 0.99])
    stated = claims.load(STATEMENTS, STUDY)
    found = {one.id: one for one in answers.decide(stated, with_study(*trained), [], tmp_path, {})}
    counted = {key: (found[key].verdict, found[key].found) for key in COUNTED if key in found}
    assert counted == {key: value for key, value in COUNTED.items() if key in found}
    for one in found.values():
        if not trained and one.id not in COUNTED and re.match(r"S[0-4]\.", one.id):  # not a statement of the user
            assert one.verdict == "undecided"
            assert "`make study` trains the whole catalogue" in one.reason


def test_an_answer_repeats_its_statement(tmp_path):
    found = answer(tmp_path, statement(kind="parameters", variant="mlp", value=61075))
    assert (found.id, found.kind, found.statement) == ("X1", "parameters", "Stated somewhere")


def test_results_on_other_data_are_not_applicable_and_counts_are(tmp_path):
    for name in ("lenet5", "mlp", "lenet5-28"):
        write_evaluation(tmp_path, name, test_accuracy=[0.98, 0.99])
    study, stated = on_other_data("lenet5", "mlp", "lenet5-28"), claims.load(STATEMENTS, STUDY)
    compared = outcome("lenet5", "mlp", "better")
    for one in answers.decide(stated, study, [compared], tmp_path, {}):
        if one.id in COUNTED:
            assert (one.verdict, one.found) == COUNTED[one.id]
        else:
            assert one.verdict == "not applicable", one.id
            assert one.reason.startswith("it is about results on mnist; this study has digits (my/digits)")


def test_results_with_extra_test_images_are_on_other_data(tmp_path):
    data = STUDY.data.model_copy(update={"extra_test": "my/extra"})
    study = with_study("lenet5", "mlp").model_copy(update={"data": data})
    stated = load_claims(tmp_path, relation(expected="better"))
    (found,) = answers.decide(stated, study, [outcome("lenet5", "mlp", "better")], tmp_path, {})
    assert found.verdict == "not applicable"
    assert "this study has mnist with extra test images" in found.reason


def test_a_count_refutes_a_statement_on_any_data(tmp_path):
    """lenet5 has more parameters than the MLP, so "better with fewer parameters" is wrong; "with more" is open."""
    stated = load_claims(
        tmp_path,
        relation(expected="better", parameters="fewer"),
        relation(id="X2", expected="better", parameters="more"),
    )
    found = answers.decide(stated, on_other_data("lenet5", "mlp"), [], tmp_path, {})
    assert [one.verdict for one in found] == ["refuted", "not applicable"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/mnist.toml", "mnist"),
        ("/else/mnist.toml", "mnist"),
        ("data/kmnist.toml", "kmnist"),
        ("my/digits", "digits"),
        ("my/digits/", "digits"),
        ("my/v1.2", "v1.2"),
    ],
)
def test_data_are_known_by_the_name_of_their_declaration_or_folder(source, name):
    assert STUDY.data.model_copy(update={"source": source}).name == name


def test_an_answer_names_the_report_and_what_kind_it_is(tmp_path):
    counted = statement(kind="parameters", variant="mlp", value=61075)
    stated = load_claims(tmp_path, counted | {"id": "S0.1"}, counted, reports={"S0": "Coursework; SGD"})
    found = answers.decide(stated, with_study(), [], tmp_path, {})
    assert [(one.report, one.report_note) for one in found] == [("S0", "Coursework; SGD"), (None, None)]


def test_totals_count_verdicts_and_what_they_rest_on():
    def made(verdict: str, exact: bool) -> answers.Answer:
        return answers.Answer("X1", "accuracy", "Stated", verdict, "–", "so", exact, None, None)

    some = [made("refuted", True), made("confirmed", True), made("consistent", False), made("refuted", False)]
    assert answers.totals([*some, made("not applicable", False)]) == (
        "5 statements: 1 confirmed, 1 consistent, 2 refuted, 1 not applicable; 2 are exact, 2 are tested at 5 % each"
    )
    assert answers.totals(some[:1]) == "1 statement: 1 refuted; 1 is exact, 0 are tested at 5 % each"


def test_no_statements_have_no_answers(tmp_path):
    assert answers.decide(load_claims(tmp_path), STUDY, [], tmp_path, {}) == []


def test_torch_is_not_loaded_for_trained_variants(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])
    counted = statement(kind="parameters", variant="lenet5", value=61706)
    load_claims(tmp_path, counted, relation(id="X2", measure="parameters", expected="more"))
    code = (
        "import sys; from pathlib import Path; from lenetlab.settings import claims, params;"
        "from lenetlab.statistics.claims import answers;"
        "study = params.load(Path(sys.argv[1])).model_copy(update={'study': ('lenet5',)});"
        "folder = Path(sys.argv[2]); stated = claims.load(folder / 'claims.yaml', study);"
        "found = answers.decide(stated, study, [], folder, {});"
        "print([one.verdict for one in found], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(ROOT / "params.yaml"), str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed == "['confirmed', 'confirmed'] False\n"


def test_variants_outside_the_study_and_without_evaluation_are_named(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])  # of another study
    outside = answer(tmp_path, accuracy(value=0.985), ("mlp",))
    assert (outside.verdict, outside.found) == ("undecided", "–")
    assert outside.reason == "lenet5 is not in this study; `make study` trains the whole catalogue"
    unevaluated = answer(tmp_path, accuracy("mlp", value=0.985), ("mlp",))
    assert (unevaluated.verdict, unevaluated.found) == ("undecided", "–")
    assert unevaluated.reason == "mlp has not been evaluated yet; run `make repro`"
    baseline = answer(tmp_path, relation(measure="test_loss", expected="less"), ("lenet5",))
    assert baseline.reason.startswith("mlp is not in this study")


@pytest.mark.parametrize("content", ["", "{}", None])
@pytest.mark.parametrize("name", ["curves.csv", "variant.json"])
def test_a_damaged_or_missing_file_is_an_error_with_a_remedy(tmp_path, name, content):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])
    (tmp_path / "lenet5" / name).unlink()
    if content is not None:
        (tmp_path / "lenet5" / name).write_text(content)
    with pytest.raises(UserError, match=rf"lenet5/{name}: cannot be read .*; remedy: .*--single-item evaluate@lenet5"):
        answer(tmp_path, accuracy(value=0.985), ("lenet5",))


def test_each_evaluation_is_read_once_and_only_if_a_statement_names_it(tmp_path, monkeypatch):
    for name in ("lenet5", "mlp", "lenet5-28"):
        write_evaluation(tmp_path, name, test_accuracy=[0.98, 0.99])
    read, read_json = [], files.read_json
    monkeypatch.setattr(files, "read_json", lambda path: (read.append(path.parent.name), read_json(path))[1])
    stated = [accuracy(value=0.985), accuracy(id="X2", value=0.9), relation(id="X3", measure="gap", expected="less")]
    answers.decide(load_claims(tmp_path, *stated), with_study("lenet5", "mlp", "lenet5-28"), [], tmp_path, {})
    assert sorted(read) == ["lenet5", "mlp"]
