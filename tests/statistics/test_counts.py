"""Statements that counting decides: parameters, layers and settings."""

import pytest

from lenetlab.settings import schema
from lenetlab.statistics.claims import answers
from lenetlab.storage import files
from tests.settings.example import relation, statement
from tests.statistics.statements import STUDY, answer, load_claims, write_evaluation

LENET5 = "the network has 156 + 2,416 + 48,120 + 10,164 + 850 = 61,706 parameters"


@pytest.mark.parametrize(
    ("keys", "verdict", "found", "reason"),
    [
        ({"value": 61706}, "confirmed", "61,706", LENET5),
        ({"value": 61700}, "refuted", "61,706", f"{LENET5}, 6 more than the stated 61,700"),
        ({"value": 61710}, "refuted", "61,706", f"{LENET5}, 4 fewer than the stated 61,710"),
        ({"value": 123412}, "refuted", "61,706", f"{LENET5}, and the stated 123,412 is exactly twice that"),
        ({"value": 185118}, "refuted", "61,706", f"{LENET5}, and the stated 185,118 is exactly 3 times that"),
        ({"value": 30853}, "refuted", "61,706", f"{LENET5}, twice the stated 30,853"),
        (
            {"value": 61470},  # without 6 + 16 + 120 + 84 + 10 biases
            "refuted",
            "61,706",
            f"{LENET5}, 236 of them biases, which are missing in the stated 61,470",
        ),
        (
            {"layers": {"c3": 2416, "output": 850}},
            "confirmed",
            "c3 2,416; output 850",
            "c3 has 2,416 parameters; output has 850 parameters",
        ),
        (
            {"layers": {"c1": 156, "c3": 2400}},
            "refuted",
            "c1 156; c3 2,416",
            "c3 has 2,416 parameters, 16 of them biases, which are missing in the stated 2,400",
        ),
        ({"layers": {"s2": 0}}, "confirmed", "s2 0", "s2 has 0 parameters"),
        ({"layers": {"s2": 12}}, "refuted", "s2 0", "s2 has 0 parameters, 12 fewer than the stated 12"),
        (
            {"inputs": {"c1": 1, "c3": 6, "c5": 400, "f6": 120, "output": 84}},
            "confirmed",
            "c1 reads 1; c3 reads 6; c5 reads 400; f6 reads 120; output reads 84",
            "c1 reads 1; c3 reads 6; c5 reads 400; f6 reads 120; output reads 84",
        ),
        ({"inputs": {"c3": 1}}, "refuted", "c3 reads 6", "c3 reads 6, not 1"),
        ({"inputs": {"c5": 256}, "value": 61706}, "refuted", "61,706; c5 reads 400", "c5 reads 400, not 256"),
        (
            {"inputs": {"c5": 400}, "value": 44426},
            "refuted",
            "61,706; c5 reads 400",
            f"both cannot be true: if c5 reads 400, {LENET5}, 17,280 more than the stated 44,426",
        ),
    ],
)
def test_parameters_and_inputs_are_counted(tmp_path, keys, verdict, found, reason):
    one = answer(tmp_path, statement(kind="parameters", variant="lenet5", **keys))
    assert (one.verdict, one.found, one.reason) == (verdict, found, reason)


def test_normalisation_and_partial_connections_are_counted(tmp_path):
    norms = {"c1_norm": 12, "c3_norm": 32}
    stated = statement(kind="parameters", variant="lenet5-batch-norm", layers=norms)
    assert answer(tmp_path, stated).verdict == "confirmed"
    as_printed = statement(kind="parameters", variant="lenet5-1998", layers={"c3": 1500, "s4": 32}, inputs={"c3": 6})
    assert answer(tmp_path, as_printed).reason == (
        "both cannot be true: if c3 reads 6, c3 has 1,516 parameters, 16 of them biases, which are missing in the"
        " stated 1,500"
    )
    hidden = statement(kind="parameters", variant="mlp-28-60-40", layers={"hidden2": 2440}, inputs={"hidden1": 784})
    assert answer(tmp_path, hidden).found == "hidden2 2,440; hidden1 reads 784"


def test_terms_are_added_up(tmp_path):
    right = answer(tmp_path, statement(kind="parameters", terms=[1, 2, 3], value=6))
    wrong = answer(tmp_path, statement(kind="parameters", terms=[1, 2, 3], value=7))
    assert (right.verdict, right.found, right.reason) == ("confirmed", "6", "the terms add up to 6")
    assert (wrong.verdict, wrong.reason) == ("refuted", "the terms add up to 6, 1 fewer than the stated 7")


def test_layers_of_a_trained_variant_are_those_of_its_evaluation(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])
    record = files.read_json(tmp_path / "lenet5" / "variant.json")
    record["layers"][0]["parameters"] += 1
    files.write_json(tmp_path / "lenet5" / "variant.json", record)
    stated = statement(kind="parameters", variant="lenet5", value=61707)
    assert answer(tmp_path, stated, ("lenet5",)).verdict == "confirmed"
    assert answer(tmp_path, stated).verdict == "refuted"


def mlp_with(units: int) -> schema.Variant:
    """An MLP with 1035 parameters per hidden unit, and 10."""
    mlp = STUDY.variants["mlp"]
    return mlp.model_copy(update={"model": mlp.model.model_copy(update={"hidden": (units,)})})


@pytest.mark.parametrize(
    ("units", "keys", "verdict", "reason"),
    [
        ((21, 20), {"expected": "similar"}, "confirmed", "5.0 % above the smaller"),  # 1,035 to 20,710, so 4.998 %
        ((20, 21), {"expected": "similar"}, "confirmed", "5.0 % above the smaller"),
        ((20, 19), {"expected": "similar"}, "refuted", "5.3 % above the smaller"),
        ((19, 20), {"expected": "similar"}, "refuted", "5.3 % above the smaller; similar means at most 5 % above"),
        ((60, 20), {"expected": "similar"}, "refuted", "the larger number is 3.0 times the smaller"),
        ((20, 21), {"expected": "fewer"}, "confirmed", "lenet5 has 1,035 fewer parameters than mlp"),
        ((20, 21), {"expected": "more"}, "refuted", "lenet5 has 1,035 fewer parameters than mlp"),
        ((21, 20), {"expected": "more"}, "confirmed", "lenet5 has 1,035 more parameters than mlp"),
        ((20, 20), {"expected": "more"}, "refuted", "lenet5 has as many parameters as mlp"),
        ((20, 20), {"expected": "fewer"}, "refuted", "lenet5 has as many parameters as mlp"),
        ((21, 20), {"difference": 1150}, "confirmed", "they differ by 1,035, which is within 10 % of 1,150"),
        ((21, 20), {"difference": 1151}, "refuted", "they differ by 1,035, which is not within 10 % of 1,151"),
        ((20, 21), {"difference": 941}, "confirmed", "they differ by 1,035, which is within 10 % of 941"),
        ((20, 21), {"difference": 940}, "refuted", "they differ by 1,035, which is not within 10 % of 940"),
    ],
)
def test_numbers_of_parameters_are_compared(tmp_path, units, keys, verdict, reason):
    variants = STUDY.variants | {"lenet5": mlp_with(units[0]), "mlp": mlp_with(units[1])}
    study = STUDY.model_copy(update={"variants": variants, "study": ()})
    (one,) = answers.decide(load_claims(tmp_path, relation(measure="parameters", **keys)), study, [], tmp_path, {})
    assert one.verdict == verdict
    assert one.found == f"{1035 * units[0] + 10:,} against {1035 * units[1] + 10:,} parameters"
    assert reason in one.reason


ADDED = "2 BatchNorm2d (with weights), 2 Dropout (without weights)"


@pytest.mark.parametrize(
    ("keys", "verdict", "found", "reason"),
    [
        (
            {"variant": "lenet5", "layers": {"Linear": 3, "Conv2d": 2, "Dropout": 0}},
            "confirmed",
            "Linear 3; Conv2d 2; Dropout 0",
            "lenet5 has 3 Linear layers (c5, f6, output); lenet5 has 2 Conv2d layers (c1, c3);"
            " lenet5 has 0 Dropout layers",
        ),
        (
            {"variant": "mlp", "layers": {"Linear": 3}},
            "refuted",
            "Linear 2",
            "mlp has 2 Linear layers (hidden1, output), not 3",
        ),
        ({"variant": "mlp", "layers": {"Flatten": 1}}, "confirmed", "Flatten 1", "mlp has 1 Flatten layer (flatten)"),
        (
            {"candidate": "lenet5-regularized", "baseline": "lenet5", "added": {"BatchNorm2d": 2, "Conv2d": 0}},
            "confirmed",
            ADDED,
            f"lenet5-regularized adds to lenet5: {ADDED}",
        ),
        (
            {"candidate": "lenet5-regularized", "baseline": "lenet5", "added": {"BatchNorm2d": 1, "Dropout": 2}},
            "refuted",
            ADDED,
            f"lenet5-regularized adds to lenet5: {ADDED}; not 1 BatchNorm2d and 2 Dropout",
        ),
        (
            {"candidate": "mlp-28-60-40", "baseline": "mlp", "added": {"Linear": 1, "Dropout": 0}},
            "confirmed",
            "1 Linear (with weights), 1 ReLU (without weights)",
            "mlp-28-60-40 adds to mlp: 1 Linear (with weights), 1 ReLU (without weights)",
        ),
        (
            {"candidate": "lenet5", "baseline": "lenet5-regularized", "added": {"Dropout": 1}},
            "refuted",
            "nothing",
            "lenet5 adds to lenet5-regularized: nothing; not 1 Dropout",
        ),
        (
            {"candidate": "lenet5-28", "baseline": "lenet5", "differs": "input.size"},
            "confirmed",
            "28 against 32",
            "input.size is 28 in lenet5-28 and 32 in lenet5",
        ),
        (
            {"candidate": "lenet5-tanh", "baseline": "lenet5", "differs": "model.channels"},
            "refuted",
            "6, 16 in both",
            "model.channels is 6, 16 in both variants",
        ),
        (
            {"candidate": "mlp", "baseline": "lenet5", "differs": "model.pooling"},
            "confirmed",
            "none against max",
            "model.pooling is none in mlp and max in lenet5",
        ),
        (
            {"candidate": "lenet5-regularized", "baseline": "lenet5", "differs": "regularization.batch_norm"},
            "confirmed",
            "true against false",
            "regularization.batch_norm is true in lenet5-regularized and false in lenet5",
        ),
        (
            {"candidate": "mlp", "baseline": "lenet5", "differs": "training.epochs"},
            "refuted",
            "10 in both",
            "training.epochs is 10 in both variants",
        ),
    ],
)
def test_layers_and_settings_are_compared(tmp_path, keys, verdict, found, reason):
    one = answer(tmp_path, statement(kind="structure", **keys))
    assert (one.verdict, one.found, one.reason) == (verdict, found, reason)


def test_a_variant_may_override_a_training_setting(tmp_path):
    override = STUDY.variants["mlp"].model_copy(update={"training": schema.TrainingOverride(epochs=77)})
    study = STUDY.model_copy(update={"variants": STUDY.variants | {"mlp": override}})
    stated = statement(kind="structure", candidate="mlp", baseline="lenet5", differs="training.epochs")
    (one,) = answers.decide(load_claims(tmp_path, stated), study, [], tmp_path, {})
    assert (one.verdict, one.found) == ("confirmed", "77 against 10")
