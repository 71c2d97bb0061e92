"""Statements that measurements decide: accuracies, losses, costs, and relations between two variants."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenetlab.evaluation import divergence
from lenetlab.statistics import intervals
from lenetlab.statistics.claims import answers
from tests.settings.example import accuracy, relation, statement
from tests.statistics.statements import answer, load_claims, outcome, with_study, write_evaluation

SIX = [0.985, 0.986, 0.987, 0.988, 0.989, 0.990]  # mean 0.9875, deviation 0.00187083
LOW, HIGH = [0.10, 0.11, 0.12, 0.13, 0.14, 0.15], [0.20, 0.21, 0.22, 0.23, 0.24, 0.25]
BOTH = ("lenet5", "mlp")


def write_both(folder, lenet5, mlp):
    for name, columns in (("lenet5", lenet5), ("mlp", mlp)):
        write_evaluation(folder, name, **columns)


# Stated values.


def test_a_value_is_compared_with_one_more_training(tmp_path):
    """By hand: t(0.975, 5) = 2.57058, so 0.9875 ± 2.57058 × 0.00187083 × √(7/6), which is 0.98231 to 0.99269."""
    write_evaluation(tmp_path, "lenet5", test_accuracy=SIX)
    for value, verdict in ((0.9823, "refuted"), (0.9824, "consistent"), (0.9926, "consistent"), (0.9927, "refuted")):
        one = answer(tmp_path, accuracy(value=value), ("lenet5",))
        found = "98.75 %, one more training 98.23 to 99.27 % (± 0.52 percentage points)"
        assert (one.verdict, one.found) == (verdict, found)
    interval = "the 95 % prediction interval for the test accuracy of one more training (6 seeds)"
    for value, position, end in (
        (0.99, "99 % lies inside", ", ± 0.52 percentage points: not contradicted"),
        (0.9731, "97.31 % lies 0.92 percentage points below", ""),
        (1, "100 % lies 0.73 percentage points above", ""),
    ):
        assert answer(tmp_path, accuracy(value=value), ("lenet5",)).reason == f"{position} {interval}{end}"


@pytest.mark.parametrize(
    ("resolution", "inside", "outside"), [(0.0051, "undecided", "refuted"), (0.0052, "consistent", "refuted")]
)
def test_an_interval_wider_than_the_resolution_agrees_with_nothing(tmp_path, resolution, inside, outside):
    """Its half-width is 0.00519; a value outside is refuted all the same."""
    write_evaluation(tmp_path, "lenet5", test_accuracy=SIX)
    for value, verdict in ((0.9875, inside), (0.9924, inside), (0.9823, outside)):
        one = answer(tmp_path, accuracy(value=value), ("lenet5",), resolution=resolution)
        assert one.verdict == verdict
        assert ("but ± 0.52 percentage points is wider than the resolution of 0.51" in one.reason) == (
            verdict == "undecided"
        )


def test_the_default_resolution_is_half_a_point(tmp_path):
    """Two seeds with a deviation of 0.2 points leave a value undecided that is a whole point too high."""
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.9886, 0.9914])
    stated = load_claims(tmp_path, accuracy(value=0.98))
    (one,) = answers.decide(stated, with_study("lenet5"), [], tmp_path, {})
    assert (one.verdict, "than the resolution of 0.50 percentage points" in one.reason) == ("undecided", True)


def test_without_variance_only_the_value_itself_agrees(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98] * 6)
    assert answer(tmp_path, accuracy(value=0.98), ("lenet5",)).verdict == "consistent"
    for keys in ({"at_least": True}, {"within": 0.01}):
        assert answer(tmp_path, accuracy(value=0.98, **keys), ("lenet5",)).verdict == "confirmed"
    assert answer(tmp_path, accuracy(value=0.9801), ("lenet5",)).verdict == "refuted"
    assert answer(tmp_path, accuracy(value=0.9801, at_least=True), ("lenet5",)).verdict == "refuted"


@pytest.mark.parametrize(
    ("reached", "keys"), [(0.97, {"value": 0.97, "at_least": True}), (0.7, {"value": 0.8, "within": 0.1})]
)
def test_rounding_errors_decide_nothing(tmp_path, reached, keys):
    """0.8 - 0.1 is 0.7000000000000001, and the mean of six times 0.97 is less than 0.97."""
    assert 0.8 - 0.1 > 0.7
    assert np.mean([0.97] * 6) < 0.97
    write_evaluation(tmp_path, "lenet5", test_accuracy=[reached] * 6)
    assert answer(tmp_path, accuracy(**keys), ("lenet5",)).verdict == "confirmed"


def test_intervals_end_at_possible_values(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.99, 1.0], test_loss=[0.01, 0.02])
    one = answer(tmp_path, accuracy(value=0.99), ("lenet5",), resolution=0.9)
    assert one.found == "99.50 %, one more training 88.50 to 100.00 % (± 11.00 percentage points)"
    loss = statement(kind="loss", loss=0.01, accuracy=0.995, variant="lenet5", data="mnist")
    assert answer(tmp_path, loss, ("lenet5",)).found.startswith("test loss 0.0150, one more training 0.0000 to 0.1")


@pytest.mark.parametrize(
    ("keys", "verdict", "place"),
    [
        # The interval of the mean: 0.9875 ± 2.57058 × 0.00187083 / √6, which is 0.98554 to 0.98946.
        ({"value": 0.9855, "at_least": True}, "confirmed", "completely inside the range of 98.55 % or more"),
        ({"value": 0.9856, "at_least": True}, "undecided", "only partly inside the range of 98.56 % or more"),
        ({"value": 0.9894, "at_least": True}, "undecided", "only partly inside the range of 98.94 % or more"),
        ({"value": 0.9895, "at_least": True}, "refuted", "completely outside the range of 98.95 % or more"),
        ({"value": 0.99, "within": 0.005}, "confirmed", "completely inside the range of 98.5 % to 99.5 %"),
        ({"value": 0.99, "within": 0.004}, "undecided", "only partly inside the range of 98.6 % to 99.4 %"),
        ({"value": 0.99, "within": 0.0005}, "refuted", "completely outside the range of 98.95 % to 99.05 %"),
        ({"value": 0.985, "within": 0.0005}, "refuted", "completely outside the range of 98.45 % to 98.55 %"),
        ({"value": 0.98, "within": 0.009}, "undecided", "only partly inside the range of 97.1 % to 98.9 %"),
        ({"value": 0.98, "within": 0.0095}, "confirmed", "completely inside the range of 97.05 % to 98.95 %"),
    ],
)
def test_within_and_at_least_use_the_interval_of_the_mean(tmp_path, keys, verdict, place):
    write_evaluation(tmp_path, "lenet5", test_accuracy=SIX)
    one = answer(tmp_path, accuracy(**keys), ("lenet5",))
    assert (one.verdict, one.found) == (verdict, "98.75 %, 95 % interval of the mean 98.55 to 98.95 %")
    assert one.reason == f"the 95 % interval of the mean test accuracy (6 seeds) lies {place}"


def test_a_statement_may_name_an_epoch_and_a_measure(tmp_path):
    rising, falling = [[0.90, 0.95, 0.97], [0.91, 0.96, 0.98]], [[0.80, 0.79, 0.70], [0.81, 0.80, 0.71]]
    write_evaluation(tmp_path, "lenet5", test_accuracy=rising, train_accuracy=falling, validation_accuracy=[0.6, 0.61])
    means = {
        "97.50": accuracy(value=0.5),
        "90.50": accuracy(value=0.5, epoch=1),
        "95.50": accuracy(value=0.5, epoch=2),
        "70.50": accuracy(value=0.5, measure="train_accuracy"),
        "79.50": accuracy(value=0.5, measure="train_accuracy", epoch=2),
        "60.50": accuracy(value=0.5, measure="validation_accuracy"),
    }
    for mean, stated in means.items():
        assert answer(tmp_path, stated, ("lenet5",)).found.startswith(f"{mean} %, ")
    beyond = answer(tmp_path, accuracy(value=0.5, epoch=4), ("lenet5",))
    assert (beyond.verdict, beyond.found) == ("undecided", "–")
    assert beyond.reason == "lenet5 was trained for 3 epochs only, so there is no result of epoch 4"


def test_all_of_several_values_must_hold(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.97, 0.971], train_accuracy=[0.99, 0.991])
    for training, test, verdict in ((0.99, 0.97, "consistent"), (0.90, 0.97, "refuted"), (0.99, 0.90, "refuted")):
        stated = accuracy(values={"train_accuracy": training, "test_accuracy": test})
        one = answer(tmp_path, stated, ("lenet5",))
        assert one.verdict == verdict
        assert one.found.startswith("training accuracy 99.05 %, one more training 97.95 to 100.00 %")
        assert "; test accuracy 97.05 %, one more" in one.found
        assert one.reason.count("lies ") == (2 if verdict == "consistent" else 1)


def test_of_several_values_one_that_is_undecided_leaves_the_statement_undecided(tmp_path):
    """The half-widths are 0.92 points and 0.05."""
    columns = {"test_accuracy": [0.97, 0.972, 0.974, 0.976], "train_accuracy": [0.99, 0.9901, 0.9902, 0.9903]}
    write_evaluation(tmp_path, "lenet5", **columns)
    for test, verdict in ((0.972, "undecided"), (0.9, "refuted")):
        stated = accuracy(values={"train_accuracy": 0.99, "test_accuracy": test})
        assert answer(tmp_path, stated, ("lenet5",), resolution=0.005).verdict == verdict


def test_one_seed_decides_no_value(tmp_path):
    for name in BOTH:
        write_evaluation(tmp_path, name, {"loss": [0.1], "accuracy": [0.99]}, test_accuracy=[0.98], test_loss=[0.1])
    for stated in (
        accuracy(value=0.98),
        accuracy(value=0.5, at_least=True),
        accuracy(value=0.5, within=0.1),
        relation(measure=["gap", "test_loss"], expected="less"),
    ):
        one = answer(tmp_path, stated, BOTH)
        assert (one.verdict, one.reason) == ("undecided", intervals.ONE_SEED)
    assert answer(tmp_path, accuracy(value=0.98), ("lenet5",)).found == "98.00 %, one training"


@pytest.mark.parametrize("missing", ["nan", "inf", ""])
def test_missing_and_infinite_values_decide_nothing(tmp_path, missing):
    incomplete = [0.5, missing, 0.6]
    write_both(
        tmp_path,
        {"test_loss": incomplete, "validation_accuracy": incomplete, "train_loss": incomplete},
        {"test_loss": [0.1, 0.2, 0.3], "train_loss": [0.1, 0.2, 0.3]},
    )
    stated = {
        "test loss": relation(measure="test_loss", expected="more"),
        "training loss": relation(measure="train_loss", expected="more"),
        "validation accuracy": accuracy(value=0.9, measure="validation_accuracy"),
    }
    for name, one in stated.items():
        found = answer(tmp_path, one, BOTH)
        assert (found.verdict, found.found) == ("undecided", "–")
        assert found.reason == f"no finite {name} in 1 of 3 trainings of lenet5"
    both = accuracy(values={"validation_accuracy": 0.9, "test_accuracy": 0.9})
    assert answer(tmp_path, both, ("lenet5",)).verdict == "refuted"  # by the test accuracy, which is 0.5


# Seeds that diverged.

LOSSES = {"loss": [0.1, 0.1], "accuracy": [0.99, 0.99]}


@pytest.mark.parametrize(
    "stated",
    [
        accuracy(value=0.985),
        accuracy(value=0.5, at_least=True),
        accuracy(value=0.98, within=0.01, epoch=2),
        accuracy(values={"train_accuracy": 0.5, "test_accuracy": 0.985}),
        statement(kind="loss", variant="lenet5", loss=0.5, accuracy=0.98, data="mnist"),
        *(relation(measure=measure, expected="less") for measure in ("train_loss", "test_loss", "gap")),
        relation(measure=["seconds", "test_loss"], expected="more"),
        relation(measure="epochs_to", accuracy=0.9, expected="less"),
    ],
)
def test_results_of_a_variant_with_a_diverged_seed_decide_nothing(tmp_path, stated):
    write_evaluation(tmp_path, "lenet5", LOSSES, diverged=(2, 3), test_accuracy=[0.98, 0.99])
    write_evaluation(tmp_path, "mlp", LOSSES, test_accuracy=[0.95, 0.96])
    costs = {name: {"seconds_per_epoch": rounds} for name, rounds in (("lenet5", [2.0, 2.1]), ("mlp", [1.0, 1.1]))}
    found = answer(tmp_path, stated, BOTH, costs=costs)
    assert found.verdict == "undecided"
    assert divergence.reason_undecided("lenet5", (2, 3), 4) in found.reason


def test_a_variant_without_a_finished_seed_decides_nothing(tmp_path):
    write_evaluation(tmp_path, "lenet5", diverged=(0, 1), test_accuracy=[])
    found = answer(tmp_path, accuracy(value=0.985), ("lenet5",))
    assert (found.verdict, found.found) == ("undecided", "–")
    assert found.reason == divergence.reason_undecided("lenet5", (0, 1), 2)


def test_counts_and_costs_are_decided_although_seeds_diverged(tmp_path):
    write_evaluation(tmp_path, "lenet5", LOSSES, diverged=(2, 3), test_accuracy=[0.98, 0.99])
    write_evaluation(tmp_path, "mlp", diverged=(0, 1), test_accuracy=[])
    rounds = {"lenet5": [2.0, 2.1, 2.0, 2.2, 2.1, 2.0], "mlp": [1.0, 1.1, 1.0, 1.2, 1.1, 1.0]}
    costs = {name: {"seconds_per_epoch": values} for name, values in rounds.items()}
    for stated in (
        statement(kind="parameters", variant="lenet5", value=61706),
        relation(measure="parameters", expected="similar"),
        relation(measure="seconds", expected="more"),
    ):
        assert answer(tmp_path, stated, BOTH, costs=costs).verdict == "confirmed"


# Better, worse or equivalent.


OPPOSITE = {"better": "worse", "worse": "better"}


@pytest.mark.parametrize("expected", ["better", "worse"])
@pytest.mark.parametrize("verdict", ["better", "worse", "equivalent", "inconclusive"])
def test_the_declared_comparison_decides_in_either_order(tmp_path, expected, verdict):
    """Only the opposite verdict refutes: of two equivalent variants, one can be better by less than the margin."""
    opposite = OPPOSITE.get(verdict, verdict)
    outcomes = outcome("lenet5", "mlp", verdict, 0.0134), outcome("mlp", "lenet5", opposite, -0.0134)
    found = [answer(tmp_path, relation(expected=expected), BOTH, (one,)) for one in outcomes]
    due = {expected: "confirmed", OPPOSITE[expected]: "refuted"}.get(verdict, "undecided")
    assert [(one.verdict, one.found) for one in found] == [(due, "+1.34 percentage points")] * 2
    what = "equivalent: " if verdict == "equivalent" else ""
    assert found[0].reason == f"{what}{verdict}, as tested"
    assert found[1].reason == f"{what}in the declared order, mlp against lenet5: {opposite}, as tested"


@pytest.mark.parametrize("verdict", ["better", "worse", "equivalent", "inconclusive"])
@pytest.mark.parametrize(("p", "due"), [(0.049, "confirmed"), (0.05, "undecided")])
def test_equivalence_is_confirmed_by_its_own_test_alone(tmp_path, verdict, p, due):
    """A variant can be better by less than the margin: then both statements hold."""
    fields = {"p_equivalence_sequential_holm": p, "interval": (0.0003, 0.0019)}
    one = answer(
        tmp_path, relation(expected="equivalent"), BOTH, (outcome("lenet5", "mlp", verdict, 0.0011, **fields),)
    )
    assert (one.verdict, one.found) == (due, "+0.11 percentage points")
    assert f"the test of equivalence gives p = {p:#.2g} after Holm's correction" in one.reason
    if verdict == "better":
        better = outcome("lenet5", "mlp", verdict, 0.0011, **fields)
        assert answer(tmp_path, relation(expected="better"), BOTH, (better,)).verdict == "confirmed"


@pytest.mark.parametrize(
    ("verdict", "interval", "due"),
    [
        ("better", (0.0021, 0.0061), "refuted"),
        ("better", (0.0019, 0.0059), "undecided"),
        ("worse", (-0.0061, -0.0021), "refuted"),
        ("worse", (-0.0059, -0.0019), "undecided"),
        ("inconclusive", (0.0021, 0.0061), "undecided"),
        ("better", None, "undecided"),
    ],
)
def test_equivalence_is_refuted_if_the_whole_interval_is_outside_the_margin(tmp_path, verdict, interval, due):
    backwards = None if interval is None else (-interval[1], -interval[0])
    outcomes = (
        outcome("lenet5", "mlp", verdict, interval=interval),
        outcome("mlp", "lenet5", OPPOSITE.get(verdict, verdict), interval=backwards),
    )
    for one in outcomes:
        found = answer(tmp_path, relation(expected="equivalent"), BOTH, (one,))
        assert found.verdict == due
        where = "the whole 95 % interval lies outside the margin of ± 0.20 percentage points; "
        assert found.reason.startswith(where) == (due == "refuted")


def test_comparisons_by_another_measure_do_not_answer_a_statement_about_accuracy(tmp_path):
    write_both(tmp_path, {"test_accuracy": [0.98, 0.99]}, {"test_accuracy": [0.98, 0.99]})
    loss = outcome("lenet5", "mlp", "better", -0.01, measure="test_loss")
    stated = relation(expected="better", alone=["lenet5-tanh"])
    assert "are not compared" in answer(tmp_path, stated, BOTH, (loss,)).reason
    accuracies = outcome("lenet5", "mlp", "worse", -0.01)
    alone = outcome("lenet5-tanh", "mlp", "better", -0.01, measure="test_loss")
    one = answer(tmp_path, stated, BOTH, (loss, alone, accuracies))
    assert (one.verdict, "lenet5-tanh alone: not compared" in one.reason) == ("refuted", True)


def test_a_comparison_without_a_difference_is_undecided(tmp_path):
    found = answer(
        tmp_path, relation(expected="better"), BOTH, (outcome("mlp", "lenet5", "inconclusive", difference=None),)
    )
    assert (found.verdict, found.found) == ("undecided", "–")
    assert "inconclusive, as tested" in found.reason


def test_the_reason_asks_to_declare_a_missing_comparison(tmp_path):
    others = (outcome("lenet5", "lenet5-regularized", "better"), outcome("mlp", "lenet5-tanh", "better"))
    one = answer(tmp_path, relation(expected="better"), BOTH, others)
    assert (one.verdict, one.found) == ("undecided", "–")
    write_both(tmp_path, {"test_accuracy": [0.98, 0.99]}, {"test_accuracy": [0.98, 0.99]})
    one = answer(tmp_path, relation(expected="better"), BOTH, others)
    assert one.verdict == "undecided"
    assert one.reason == "lenet5 and mlp are not compared; declare the pair under `comparisons`"
    outside = answer(tmp_path, relation(expected="better"), ("lenet5",), others)
    assert outside.reason == "mlp is not in this study; `make study` trains the whole catalogue"


def test_results_of_each_part_alone_are_reported_and_decide_nothing(tmp_path):
    stated = relation(expected="better", alone=["lenet5-batch-norm", "lenet5-dropout", "lenet5-tanh"])
    outcomes = (
        outcome("lenet5-batch-norm", "mlp", "worse", -0.002),
        outcome("lenet5", "mlp", "better", 0.01),
        outcome("mlp", "lenet5-dropout", "worse", -0.001),
    )
    one = answer(tmp_path, stated, BOTH, outcomes)
    assert one.verdict == "confirmed"
    assert one.reason == (
        "better, as tested; lenet5-batch-norm alone: worse (−0.20 percentage points);"
        " lenet5-dropout alone: better (+0.10 percentage points); lenet5-tanh alone: not compared"
    )


def test_stated_fewer_parameters_must_hold_too(tmp_path):
    outcomes = (outcome("lenet5", "mlp", "better", 0.01),)
    more, fewer = (
        answer(tmp_path, relation(expected="better", parameters=which), BOTH, outcomes) for which in ("more", "fewer")
    )
    assert (more.verdict, fewer.verdict) == ("confirmed", "refuted")
    assert more.found == fewer.found == "+1.00 percentage points; 61,706 against 61,075 parameters"
    assert more.reason == "better, as tested; lenet5 has 631 more parameters than mlp"
    assert fewer.reason == "lenet5 has 631 more parameters than mlp"
    # Counting refutes it even without a comparison.
    untrained = [answer(tmp_path, relation(expected="better", parameters=which)) for which in ("more", "fewer")]
    assert [one.verdict for one in untrained] == ["undecided", "refuted"]


# Less or more.


def test_losses_are_compared_by_both_tests(tmp_path):
    write_both(tmp_path, {"test_loss": LOW}, {"test_loss": HIGH})
    less, more = (answer(tmp_path, relation(measure="test_loss", expected=which), BOTH) for which in ("less", "more"))
    assert (less.verdict, more.verdict) == ("confirmed", "refuted")
    assert less.found == more.found == "test loss: 0.1250 against 0.2250"
    tests = "(6 seeds each; Welch's test p < 0.0001, permutation test p = 0.0022)"
    assert less.reason == more.reason == f"test loss is lower for lenet5 than for mlp {tests}"
    back = answer(tmp_path, relation(candidate="mlp", baseline="lenet5", measure="test_loss", expected="more"), BOTH)
    assert (back.verdict, back.reason) == ("confirmed", f"test loss is higher for mlp than for lenet5 {tests}")


def test_both_tests_must_find_a_difference(tmp_path):
    """Three seeds can reach p = 2/20 at best, however large the difference."""
    stated = relation(measure="test_loss", expected="less")
    write_both(tmp_path, {"test_loss": LOW[:3]}, {"test_loss": HIGH[:3]})
    one = answer(tmp_path, stated, BOTH)
    assert one.verdict == "undecided"
    assert one.reason == (
        "the difference in test loss could be due to chance"
        " (3 seeds each; Welch's test p = 0.00026, permutation test p = 0.10)"
    )
    # One seed far off: Welch's test sees the variance, the permutation test only the order.
    write_both(tmp_path, {"test_loss": [0.1] * 5 + [0.11]}, {"test_loss": [0.12] * 5 + [9.0]})
    one = answer(tmp_path, stated, BOTH)
    assert (one.verdict, "permutation test p = 0.0022" in one.reason) == ("undecided", True)


def test_all_of_several_measures_must_hold(tmp_path):
    stated = relation(measure=["train_loss", "test_loss"], expected="less")
    write_evaluation(tmp_path, "lenet5", test_loss=LOW, train_loss=LOW)
    for training, test, verdict in ((HIGH, HIGH, "confirmed"), (HIGH, LOW, "undecided"), (LOW, HIGH, "undecided")):
        write_evaluation(tmp_path, "mlp", test_loss=test, train_loss=training)
        assert answer(tmp_path, stated, BOTH).verdict == verdict
    write_evaluation(tmp_path, "mlp", test_loss=[0.01, 0.02, 0.03, 0.04, 0.05, 0.06], train_loss=LOW)
    one = answer(tmp_path, stated, BOTH)
    assert one.verdict == "refuted"
    assert one.found == "training loss while training: 0.1250 against 0.1250; test loss: 0.1250 against 0.0350"
    assert one.reason.startswith("test loss is higher for lenet5 than for mlp")


def test_training_losses_are_those_of_evaluation_mode_if_both_variants_have_them(tmp_path):
    stated = relation(measure="train_loss", expected="less")
    write_evaluation(tmp_path, "lenet5", {"loss": LOW}, train_loss=HIGH)
    write_evaluation(tmp_path, "mlp", {"loss": HIGH}, train_loss=LOW)
    one = answer(tmp_path, stated, BOTH)
    assert (one.verdict, one.found) == ("confirmed", "training loss in evaluation mode: 0.1250 against 0.2250")
    write_evaluation(tmp_path, "mlp", train_loss=LOW)
    one = answer(tmp_path, stated, BOTH)
    assert (one.verdict, one.found) == ("refuted", "training loss while training: 0.2250 against 0.1250")


def test_the_gap_is_that_of_evaluation_mode(tmp_path):
    test = [0.97, 0.971, 0.972, 0.973, 0.974, 0.975]
    stated, while_training = relation(measure="gap", expected="less"), {"train_accuracy": [0.5] * 6}
    write_evaluation(tmp_path, "lenet5", {"accuracy": [a + 0.01 for a in test]}, test_accuracy=test, **while_training)
    write_evaluation(tmp_path, "mlp", {"accuracy": [a + 0.02 for a in test]}, test_accuracy=test, **while_training)
    one = answer(tmp_path, stated, BOTH)
    assert one.verdict == "confirmed"
    assert one.found == "gap between training and test accuracy: 1.00 against 2.00 percentage points"
    write_evaluation(tmp_path, "mlp", {"accuracy": [a + 0.01 for a in reversed(test)]}, test_accuracy=test[::-1])
    equal = answer(tmp_path, stated, BOTH)
    assert (equal.verdict, "permutation test p = 1.0" in equal.reason) == ("undecided", True)
    write_evaluation(tmp_path, "mlp", test_accuracy=test)
    absent = answer(tmp_path, stated, BOTH)
    assert absent.verdict == "undecided"
    assert absent.reason == "no finite gap between training and test accuracy in 6 of 6 trainings of mlp"


def test_epochs_are_counted_to_the_first_that_reaches_an_accuracy(tmp_path):
    stated = relation(measure="epochs_to", accuracy=0.985, expected="less")
    write_evaluation(tmp_path, "lenet5", test_accuracy=[[0.985, 0.9, 0.9]] * 5 + [[0.98, 0.99, 0.99]])
    write_evaluation(tmp_path, "mlp", test_accuracy=[[0.9, 0.9849, 0.99]] * 6)
    one = answer(tmp_path, stated, BOTH)
    assert (one.verdict, one.found) == ("confirmed", "number of epochs to 98.5 %: 1.2 against 3.0")
    assert "do not reach it" not in one.reason
    write_evaluation(tmp_path, "mlp", test_accuracy=[[0.9, 0.9, 0.99]] * 4 + [[0.9, 0.9, 0.9]] * 2)
    one = answer(tmp_path, stated, BOTH)
    assert (one.verdict, one.found) == ("confirmed", "number of epochs to 98.5 %: 1.2 against 3.3")
    assert one.reason.endswith("; 0 of 6 trainings of lenet5 and 2 of 6 of mlp do not reach it and count as 4 epochs")


def test_both_variants_have_the_same_number_of_epochs_to_reach_an_accuracy(tmp_path):
    """One was trained for two epochs, the other for three: the third epoch does not count."""
    values = [[0.9, 0.9, 0.99]] * 6
    write_both(tmp_path, {"test_accuracy": values}, {"test_accuracy": values})
    table = tmp_path / "mlp" / "curves.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(row for row in rows if row.split(",")[1] != "3"))
    one = answer(tmp_path, relation(measure="epochs_to", accuracy=0.985, expected="less"), BOTH)
    assert (one.verdict, one.found) == ("undecided", "number of epochs to 98.5 %: 3.0 against 3.0")
    assert one.reason.endswith("; 6 of 6 trainings of lenet5 and 6 of 6 of mlp do not reach it and count as 3 epochs")


MEASURED = {  # a difference, and how it is shown
    "test_loss": (-0.0123, "test loss: −0.0123 nats"),
    "gap": (-0.0034, "gap between training and test accuracy: −0.34 percentage points"),
    "epochs_to": (-1.5, "number of epochs to 98.5 %: −1.50 epochs"),
}


@pytest.mark.parametrize("measure", MEASURED)
@pytest.mark.parametrize("verdict", ["better", "worse", "equivalent", "inconclusive"])
def test_a_declared_comparison_by_this_measure_decides_in_place_of_the_tests(tmp_path, measure, verdict):
    """Better means lower. The results say the opposite of every verdict here, and do not count."""
    write_both(
        tmp_path,
        {"training_set": {"accuracy": [0.6] * 6}, "test_loss": HIGH, "test_accuracy": [0.5] * 6},
        {"training_set": {"accuracy": [0.6] * 6}, "test_loss": LOW, "test_accuracy": [0.5] * 6},
    )
    accuracies = {"accuracy": 0.985} if measure == "epochs_to" else {}
    difference, found = MEASURED[measure]
    forwards = outcome("lenet5", "mlp", verdict, difference, measure=measure, margin=0.5, **accuracies)
    backwards = replace(
        forwards, candidate="mlp", baseline="lenet5", verdict=OPPOSITE.get(verdict, verdict), difference=-difference
    )
    confirmed, refuted = {("less", "better"), ("more", "worse")}, {("less", "worse"), ("more", "better")}
    for expected in ("less", "more"):
        stated, case = relation(measure=measure, expected=expected, **accuracies), (expected, verdict)
        due = "confirmed" if case in confirmed else "refuted" if case in refuted else "undecided"
        for one in (forwards, backwards):
            given = answer(tmp_path, stated, BOTH, (outcome("lenet5", "mlp", "inconclusive"), one))
            assert (given.verdict, given.found) == (due, found)


def test_epochs_to_another_accuracy_are_another_comparison(tmp_path):
    write_both(tmp_path, {"test_accuracy": [[0.9, 0.99, 0.99]] * 6}, {"test_accuracy": [[0.9, 0.9, 0.99]] * 6})
    other = outcome("lenet5", "mlp", "worse", 2.0, measure="epochs_to", accuracy=0.98)
    one = answer(tmp_path, relation(measure="epochs_to", accuracy=0.985, expected="less"), BOTH, (other,))
    assert (one.verdict, one.found) == ("confirmed", "number of epochs to 98.5 %: 2.0 against 3.0")


COSTS = {
    "lenet5": {
        "seconds_per_epoch": [2.0, 2.1, 2.2, 2.0, 2.1],
        "process_memory_bytes": [700_000_000] * 5,
        "latency_seconds": [1.5e-4, 1.4e-4, 1.6e-4, 1.5e-4, 1.5e-4],
    },
    "mlp": {
        "seconds_per_epoch": [0.4, 0.5, 0.4, 0.5, 0.4],
        "process_memory_bytes": [690_000_000] * 5,
        "latency_seconds": [1.5e-4, 1.6e-4, 1.4e-4, 1.5e-4, 1.4e-4],
    },
}


@pytest.mark.parametrize(
    ("measure", "expected", "verdict", "found"),
    [
        ("seconds", "more", "confirmed", "time of an epoch: 2.08 s against 440 ms"),
        ("seconds", "less", "refuted", "time of an epoch: 2.08 s against 440 ms"),
        ("memory", "more", "confirmed", "peak memory of a training process: 700 against 690 MB"),
        ("latency", "more", "undecided", "time to read an image: 150 µs against 148 µs"),
    ],
)
def test_costs_are_compared_over_the_rounds_of_their_measurement(tmp_path, measure, expected, verdict, found):
    write_both(tmp_path, {"test_accuracy": [0.98, 0.99]}, {"test_accuracy": [0.98, 0.99]})
    stated = relation(measure=measure, expected=expected)
    one = answer(tmp_path, stated, BOTH, costs=COSTS)
    assert (one.verdict, one.found) == (verdict, found)
    assert "(5 rounds each; Welch's test p" in one.reason
    unmeasured = answer(tmp_path, stated, BOTH)
    assert (unmeasured.verdict, unmeasured.found) == ("undecided", "–")
    assert unmeasured.reason == "the cost of lenet5 has not been measured yet; run `dvc repro cost`"


# Losses.


def test_a_misread_image_has_a_loss_of_at_least_ln_2(tmp_path):
    """At 50 % the mean is at least ln 2 / 2, which a double halves exactly."""
    bound = math.log(2) / 2
    below = answer(tmp_path, statement(kind="loss", loss=math.nextafter(bound, 0), accuracy=0.5))
    assert (below.verdict, below.found) == ("refuted", "at least 0.3466")
    mean = "50 % misread images give a mean loss of at least 0.3466"
    assert below.reason == f"impossible: each misread image has a loss of at least ln 2, so {mean}"
    exactly = answer(tmp_path, statement(kind="loss", loss=bound, accuracy=0.5))
    assert (exactly.verdict, exactly.found) == ("undecided", "at least 0.3466")
    assert exactly.reason == f"possible, as {mean}; name a variant to compare it with measured losses"
    assert answer(tmp_path, statement(kind="loss", loss=0, accuracy=1)).verdict == "undecided"
    untrained = answer(tmp_path, statement(kind="loss", loss=0.3, accuracy=0.9, variant="lenet5", data="mnist"))
    assert untrained.reason.startswith("lenet5 is not in this study")


def test_the_bound_of_the_loss_holds_for_any_logits():
    """It is reached if two classes share the probability and the wrong one wins."""
    logits = np.random.default_rng(0).normal(size=(2000, 10))
    logits[0] = [5, 5, *[-50] * 8]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss, wrong = -np.log(probability[:, 0]), probability[:, 0] < probability.max(axis=1)
    wrong[0] = True
    assert loss[wrong].min() == pytest.approx(math.log(2))
    assert loss.mean() >= wrong.mean() * math.log(2)


def test_a_possible_loss_and_its_accuracy_are_compared_with_one_more_training(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_loss=[0.1, 0.11, 0.12], test_accuracy=[0.97, 0.971, 0.972])
    stated = statement(kind="loss", variant="lenet5", data="mnist")
    for loss, reached, verdict in ((0.1, 0.97, "consistent"), (0.2, 0.97, "refuted"), (0.1, 0.96, "refuted")):
        one = answer(tmp_path, stated | {"loss": loss, "accuracy": reached}, ("lenet5",))
        assert one.verdict == verdict
        assert one.found == (
            "test loss 0.1100, one more training 0.0603 to 0.1597 (± 0.0497);"
            " test accuracy 97.10 %, one more training 96.60 to 97.60 % (± 0.50 percentage points)"
        )
    far = answer(tmp_path, stated | {"loss": 0.2, "accuracy": 0.97}, ("lenet5",))
    assert far.reason == (
        "0.2 lies 0.0403 above the 95 % prediction interval for the test loss of one more training (3 seeds)"
    )


# Invariance.


@given(st.data(), st.lists(st.integers(100, 160), min_size=4, max_size=6), st.sampled_from([1e-3, 0.1, 3.0, 7.7, 1e4]))
@settings(max_examples=25)
def test_verdicts_depend_neither_on_the_order_of_the_seeds_nor_on_the_unit(tmp_path_factory, data, first, factor):
    folder = tmp_path_factory.mktemp("evaluations")
    second = data.draw(st.lists(st.integers(100, 160), min_size=len(first), max_size=len(first)))
    value = data.draw(st.integers(90, 170))
    stated = load_claims(
        folder,
        relation(measure="test_loss", expected="less"),
        accuracy(id="X2", value=value / 1000),
        accuracy(id="X3", value=value / 1000, at_least=True),
        accuracy(id="X4", value=value / 1000, within=0.0171),
    )

    def verdicts(lenet5: list[int], mlp: list[int], scale: float) -> list[str]:
        for name, counts in (("lenet5", lenet5), ("mlp", mlp)):
            losses, accuracies = [scale * count / 1000 for count in counts], [count / 1000 for count in counts]
            write_evaluation(folder, name, test_loss=losses, test_accuracy=accuracies)
        return [one.verdict for one in answers.decide(stated, with_study(*BOTH), [], folder, {})]

    before = verdicts(first, second, 1.0)
    assert verdicts(data.draw(st.permutations(first)), data.draw(st.permutations(second)), factor) == before
    opposite = {"confirmed": "refuted", "refuted": "confirmed", "undecided": "undecided"}
    assert verdicts(second, first, 1.0)[0] == opposite[before[0]]
