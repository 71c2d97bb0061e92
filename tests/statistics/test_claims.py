"""Answers to statements: exact verdicts and figures, by paper and pencil and from small evaluations."""

import dataclasses
import json
import math
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from lenetlab.errors import UserError
from lenetlab.settings import claims, schema
from lenetlab.statistics import comparison, intervals, significance
from lenetlab.statistics.claims import answers, measurements
from lenetlab.storage import files
from tests.settings.test_claims import OURS, STUDY, TRUTH, accuracy, entry, layers_of, loaded, relation

ROOT = Path(__file__).parents[2]
EPOCHS = 3


def with_study(*names: str) -> schema.Study:
    return STUDY.model_copy(update={"study": names})


def write_evaluation(
    folder: Path, name: str, learnt: dict[str, list] | None = None, lost: tuple[int, ...] = (), **columns: list
) -> None:
    """The files that claims are held against. A column has an entry per seed: its last figure, or one for each epoch.

    `learnt`: loss and accuracy on the training images in evaluation mode, per seed; left out like an old evaluation if
    there are none.
    """
    table = {
        "train_loss": 0.5,
        "train_accuracy": 0.5,
        "validation_loss": 0.5,
        "validation_accuracy": 0.5,
        "test_loss": 0.5,
        "test_accuracy": 0.5,
    }
    (count,) = {len(values) for values in columns.values()}
    lines = [",".join(("seed", "epoch", *table))]
    for seed in range(count):
        for epoch in range(1, EPOCHS + 1):
            cells = {key: columns[key][seed] if key in columns else usual for key, usual in table.items()}
            row = [cell[epoch - 1] if isinstance(cell, list) else cell for cell in cells.values()]
            lines.append(",".join(map(str, (seed, epoch, *row))))
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "curves.csv").write_text("\n".join(lines) + "\n")
    record = {"variant": name, "layers": layers_of(name)}
    record["diverged"] = {str(seed): {"epoch": 1, "step": 12} for seed in lost}
    if learnt:
        seeds = {str(seed): {key: values[seed] for key, values in learnt.items()} for seed in range(count)}
        record["training_set"] = seeds
    (folder / name / "variant.json").write_text(json.dumps(record))


def answer(
    folder: Path, stated: dict, study: tuple[str, ...] = (), outcomes: tuple = (), costs: dict | None = None
) -> answers.Answer:
    (found,) = answers.decide(loaded(folder, stated), with_study(*study), outcomes, folder, costs or {})
    return found


def outcome(candidate: str, baseline: str, verdict: str, difference: float | None = 0.0) -> comparison.Outcome:
    """With what a claim looks at; the rest is left empty."""
    fields = dict.fromkeys(field.name for field in dataclasses.fields(comparison.Outcome))
    told = {"candidate": candidate, "baseline": baseline, "verdict": verdict, "difference": difference}
    return comparison.Outcome(**fields | told | {"reason": f"{verdict}, said the tests"})


def test_what_counting_decides_is_decided_without_any_training(tmp_path):
    found = answers.decide(OURS, with_study(), [], tmp_path, {})
    assert {a.id: (a.verdict, a.found) for a in found if a.verdict != "undecided"} == {
        key: truth for key, truth in TRUTH.items() if truth
    }
    for one in found:
        if TRUTH[one.id] is None:
            assert "`make study` trains the whole catalogue" in one.reason, one


def test_an_answer_repeats_its_statement(tmp_path):
    found = answer(tmp_path, entry(kind="parameters", variant="mlp", value=61075))
    assert (found.id, found.kind, found.statement) == ("X1", "parameters", "Said somewhere")


def test_the_same_truths_where_the_variants_are_trained(tmp_path):
    names = ("lenet5", "mlp", "lenet5-28")
    for name in names:
        write_evaluation(tmp_path, name, test_accuracy=[0.98, 0.99])
    found = answers.decide(OURS, with_study(*names), [], tmp_path, {})
    assert {a.id: (a.verdict, a.found) for a in found if TRUTH[a.id]} == {k: v for k, v in TRUTH.items() if v}


def test_torch_is_not_loaded_to_read_statements_nor_for_a_trained_variant(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])
    stated = [
        entry(kind="parameters", variant="lenet5", value=61706),
        relation(id="X2", measure="parameters", expected="more"),
    ]
    loaded(tmp_path, *stated)
    code = (
        "import sys; from pathlib import Path; from lenetlab.settings import claims, params;"
        "from lenetlab.statistics.claims import answers;"
        "study = params.load(Path(sys.argv[1])).model_copy(update={'study': ('lenet5',)});"
        "folder = Path(sys.argv[2]); stated = claims.load(folder / 'claims.yaml', study);"
        "found = answers.decide(stated, study, [], folder, {});"
        "print([one.verdict for one in found], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(ROOT / "params.yaml"), str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == "['confirmed', 'confirmed'] False\n"


@pytest.mark.parametrize(
    ("keys", "verdict", "found", "reason"),
    [
        ({"value": 61706}, "confirmed", "61,706", "156 + 2,416 + 48,120 + 10,164 + 850 add up to 61,706"),
        ({"value": 61700}, "refuted", "61,706", "add up to 61,706, 6 more than the stated 61,700"),
        ({"value": 61710}, "refuted", "61,706", "add up to 61,706, 4 fewer than the stated 61,710"),
        ({"value": 123412}, "refuted", "61,706", "and the stated 123,412 is exactly twice that"),
        ({"value": 185118}, "refuted", "61,706", "and the stated 185,118 is exactly 3 times that"),
        ({"value": 30853}, "refuted", "61,706", "add up to 61,706, twice the stated 30,853"),
        # 6 + 16 + 120 + 84 + 10 biases
        ({"value": 61470}, "refuted", "61,706", "236 of them biases, which are missing in the stated 61,470"),
        ({"layers": {"c3": 2416, "output": 850}}, "confirmed", "c3 2,416; output 850", "c3 has 2,416; output has 850"),
        (
            {"layers": {"c1": 156, "c3": 2400}},
            "refuted",
            "c1 156; c3 2,416",
            "c3 has 2,416, 16 of them biases, which are missing in the stated 2,400",
        ),
        ({"layers": {"s2": 0}}, "confirmed", "s2 0", "s2 has 0"),
        ({"layers": {"s2": 12}}, "refuted", "s2 0", "s2 has 0, 12 fewer than the stated 12"),
        (
            {"inputs": {"c1": 1, "c3": 6, "c5": 400, "f6": 120, "output": 84}},
            "confirmed",
            "c1 reads 1; c3 reads 6; c5 reads 400; f6 reads 120; output reads 84",
            "c1 reads 1; c3 reads 6; c5 reads 400; f6 reads 120; output reads 84",
        ),
        ({"inputs": {"c3": 1}}, "refuted", "c3 reads 6", "c3 reads 6, not 1"),
        (
            {"inputs": {"c5": 256}, "value": 61706},
            "refuted",
            "61,706; c5 reads 400",
            "c5 reads 400, not 256",
        ),
        (
            {"inputs": {"c5": 400}, "value": 44426},
            "refuted",
            "61,706; c5 reads 400",
            "both cannot hold: where c5 reads 400, 156 + 2,416 + 48,120 + 10,164 + 850 add up to 61,706,"
            " 17,280 more than the stated 44,426",
        ),
    ],
)
def test_parameters_are_counted(tmp_path, keys, verdict, found, reason):
    one = answer(tmp_path, entry(kind="parameters", variant="lenet5", **keys))
    assert (one.verdict, one.found) == (verdict, found)
    assert one.reason.endswith(reason)
    assert ("both cannot hold" in one.reason) == reason.startswith("both cannot hold")


def test_what_is_normalised_or_connected_in_part_is_counted_too(tmp_path):
    stated = {"c1_norm": 12, "c3_norm": 32}
    assert answer(tmp_path, entry(kind="parameters", variant="lenet5-batch-norm", layers=stated)).verdict == "confirmed"
    printed = entry(kind="parameters", variant="lenet5-1998", layers={"c3": 1500, "s4": 32}, inputs={"c3": 6})
    assert answer(tmp_path, printed).reason == (
        "both cannot hold: where c3 reads 6, c3 has 1,516, 16 of them biases, which are missing in the stated 1,500"
    )
    hidden = entry(kind="parameters", variant="mlp-28-60-40", layers={"hidden2": 2440}, inputs={"hidden1": 784})
    assert answer(tmp_path, hidden).found == "hidden2 2,440; hidden1 reads 784"


def test_terms_are_added_up(tmp_path):
    right = entry(kind="parameters", terms=[1, 2, 3], value=6)
    wrong = entry(kind="parameters", terms=[1, 2, 3], value=7)
    assert (answer(tmp_path, right).verdict, answer(tmp_path, right).found) == ("confirmed", "6")
    assert answer(tmp_path, wrong).verdict == "refuted"
    assert answer(tmp_path, wrong).reason == "the terms add up to 6, 1 fewer than the stated 7"


def test_a_trained_variant_is_counted_as_its_evaluation_tells(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])
    record = files.read_json(tmp_path / "lenet5" / "variant.json")
    record["layers"][0]["parameters"] += 1
    files.write_json(tmp_path / "lenet5" / "variant.json", record)
    stated = entry(kind="parameters", variant="lenet5", value=61707)
    assert answer(tmp_path, stated, ("lenet5",)).verdict == "confirmed"
    assert answer(tmp_path, stated).verdict == "refuted"


SIX = [0.985, 0.986, 0.987, 0.988, 0.989, 0.990]  # mean 0.9875, deviation 0.00187083


def test_a_figure_is_held_against_one_more_training(tmp_path):
    """By hand: t(0.975, 5) = 2.57058, so 0.9875 ± 2.57058 × 0.00187083 × √(7/6), which is 0.98231 to 0.99269."""
    write_evaluation(tmp_path, "lenet5", test_accuracy=SIX)
    for value, verdict in ((0.9823, "refuted"), (0.9824, "confirmed"), (0.9926, "confirmed"), (0.9927, "refuted")):
        one = answer(tmp_path, accuracy(value=value), ("lenet5",))
        assert (one.verdict, one.found) == (verdict, "98.75 %, one more training 98.23 to 99.27 %")
    interval = "the 95 % prediction interval of test accuracy over 6 seeds"
    assert answer(tmp_path, accuracy(value=0.99), ("lenet5",)).reason == f"99 % lies inside {interval}"
    assert answer(tmp_path, accuracy(value=0.9731), ("lenet5",)).reason == (
        f"97.31 % lies 0.92 percentage points below {interval}"
    )
    assert answer(tmp_path, accuracy(value=1), ("lenet5",)).reason == (
        f"100 % lies 0.73 percentage points above {interval}"
    )


def test_a_figure_without_any_spread_is_itself(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98] * 6)
    for keys in ({}, {"at_least": True}, {"within": 0.01}):
        assert answer(tmp_path, accuracy(value=0.98, **keys), ("lenet5",)).verdict == "confirmed"
    assert answer(tmp_path, accuracy(value=0.9801), ("lenet5",)).verdict == "refuted"
    assert answer(tmp_path, accuracy(value=0.9801, at_least=True), ("lenet5",)).verdict == "refuted"


@pytest.mark.parametrize(
    ("reached", "keys"), [(0.97, {"value": 0.97, "at_least": True}), (0.7, {"value": 0.8, "within": 0.1})]
)
def test_the_last_digits_of_a_sum_decide_nothing(tmp_path, reached, keys):
    """0.8 - 0.1 is 0.7000000000000001, and the mean of six times 0.97 is less than that."""
    assert 0.8 - 0.1 > 0.7
    assert np.mean([0.97] * 6) < 0.97
    write_evaluation(tmp_path, "lenet5", test_accuracy=[reached] * 6)
    assert answer(tmp_path, accuracy(**keys), ("lenet5",)).verdict == "confirmed"


def test_intervals_are_told_no_further_than_figures_go(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.99, 1.0], test_loss=[0.01, 0.02])
    one = answer(tmp_path, accuracy(value=0.99), ("lenet5",))
    assert one.found.endswith("to 100.00 %")
    loss = entry(kind="loss", loss=0.01, accuracy=0.995, variant="lenet5")
    assert answer(tmp_path, loss, ("lenet5",)).found.startswith("test loss 0.0150, one more training 0.0000 to 0.1")


@pytest.mark.parametrize(
    ("keys", "verdict", "place"),
    [
        # The interval of the mean: 0.9875 ± 2.57058 × 0.00187083 / √6, which is 0.98554 to 0.98946.
        ({"value": 0.9855, "at_least": True}, "confirmed", "wholly inside the range from 98.55 %"),
        ({"value": 0.9856, "at_least": True}, "undecided", "partly inside, partly outside the range from 98.56 %"),
        ({"value": 0.9894, "at_least": True}, "undecided", "partly inside, partly outside the range from 98.94 %"),
        ({"value": 0.9895, "at_least": True}, "refuted", "wholly outside the range from 98.95 %"),
        ({"value": 0.99, "within": 0.005}, "confirmed", "wholly inside 98.5 % to 99.5 %"),
        ({"value": 0.99, "within": 0.004}, "undecided", "partly inside, partly outside 98.6 % to 99.4 %"),
        ({"value": 0.99, "within": 0.0005}, "refuted", "wholly outside 98.95 % to 99.05 %"),
        ({"value": 0.985, "within": 0.0005}, "refuted", "wholly outside 98.45 % to 98.55 %"),
        ({"value": 0.98, "within": 0.009}, "undecided", "partly inside, partly outside 97.1 % to 98.9 %"),
        ({"value": 0.98, "within": 0.0095}, "confirmed", "wholly inside 97.05 % to 98.95 %"),
    ],
)
def test_close_to_and_at_least_go_by_the_mean(tmp_path, keys, verdict, place):
    write_evaluation(tmp_path, "lenet5", test_accuracy=SIX)
    one = answer(tmp_path, accuracy(**keys), ("lenet5",))
    assert (one.verdict, one.found) == (verdict, "98.75 %, 95 % interval of the mean 98.55 to 98.95 %")
    assert one.reason == f"the 95 % interval of the mean test accuracy over 6 seeds lies {place}"


def test_an_epoch_and_a_measure_may_be_named(tmp_path):
    rising, falling = [[0.90, 0.95, 0.97], [0.91, 0.96, 0.98]], [[0.80, 0.79, 0.70], [0.81, 0.80, 0.71]]
    write_evaluation(tmp_path, "lenet5", test_accuracy=rising, train_accuracy=falling, validation_accuracy=[0.6, 0.61])
    shown = {
        "97.50": accuracy(value=0.5),
        "90.50": accuracy(value=0.5, epoch=1),
        "95.50": accuracy(value=0.5, epoch=2),
        "70.50": accuracy(value=0.5, measure="train_accuracy"),
        "79.50": accuracy(value=0.5, measure="train_accuracy", epoch=2),
        "60.50": accuracy(value=0.5, measure="validation_accuracy"),
    }
    for mean, stated in shown.items():
        assert answer(tmp_path, stated, ("lenet5",)).found.startswith(f"{mean} %, ")
    beyond = answer(tmp_path, accuracy(value=0.5, epoch=4), ("lenet5",))
    assert (beyond.verdict, beyond.found) == ("undecided", "–")
    assert beyond.reason == "lenet5 was trained for 3 epochs, so nothing is known of epoch 4"


def test_of_several_figures_all_must_hold(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.97, 0.971], train_accuracy=[0.99, 0.991])
    for trained, tested, verdict in (
        (0.99, 0.97, "confirmed"),
        (0.90, 0.97, "refuted"),
        (0.99, 0.90, "refuted"),
    ):
        stated = accuracy(values={"train_accuracy": trained, "test_accuracy": tested})
        one = answer(tmp_path, stated, ("lenet5",))
        assert one.verdict == verdict
        assert one.found.startswith("training accuracy 99.05 %, one more training 97.95 to 100.00 %")
        assert "; test accuracy 97.05 %, one more" in one.found
        assert one.reason.count("lies ") == (2 if verdict == "confirmed" else 1)


def test_one_seed_decides_no_figure(tmp_path):
    for name in ("lenet5", "mlp"):
        write_evaluation(tmp_path, name, {"loss": [0.1], "accuracy": [0.99]}, test_accuracy=[0.98], test_loss=[0.1])
    for stated in (
        accuracy(value=0.98),
        accuracy(value=0.5, at_least=True),
        relation(measure=["gap", "test_loss"], expected="less"),
    ):
        one = answer(tmp_path, stated, ("lenet5", "mlp"))
        assert one.verdict == "undecided"
        assert one.reason == "one seed shows nothing of how much another training would differ"
    assert answer(tmp_path, accuracy(value=0.98), ("lenet5",)).found == "98.00 %, one training"


@pytest.mark.parametrize("missing", ["nan", "inf", ""])
def test_what_diverged_or_was_not_measured_decides_nothing(tmp_path, missing):
    write_evaluation(tmp_path, "mlp", test_loss=[0.1, 0.2, 0.3], train_loss=[0.1, 0.2, 0.3])
    gappy = [0.5, missing, 0.6]
    write_evaluation(tmp_path, "lenet5", test_loss=gappy, validation_accuracy=gappy, train_loss=gappy)
    stated = {
        "test loss": relation(measure="test_loss", expected="more"),
        "training loss": relation(measure="train_loss", expected="more"),
        "validation accuracy": accuracy(value=0.9, measure="validation_accuracy"),
    }
    for word, one in stated.items():
        found = answer(tmp_path, one, ("lenet5", "mlp"))
        assert (found.verdict, found.found) == ("undecided", "–")
        assert found.reason == f"1 of 3 trainings of lenet5 have no finite {word}"
    both = accuracy(values={"validation_accuracy": 0.9, "test_accuracy": 0.9})
    assert answer(tmp_path, both, ("lenet5",)).verdict == "refuted"  # by the test accuracy, which is 0.5


LOSSES = {"loss": [0.1, 0.1], "accuracy": [0.99, 0.99]}
WHY = "2 of 4 seeds of lenet5 diverged (seeds 2 and 3): the other seeds alone do not represent it"


@pytest.mark.parametrize(
    "stated",
    [
        accuracy(value=0.985),
        accuracy(value=0.5, at_least=True),
        accuracy(value=0.98, within=0.01, epoch=2),
        accuracy(values={"train_accuracy": 0.5, "test_accuracy": 0.985}),
        entry(kind="loss", variant="lenet5", loss=0.5, accuracy=0.98),
        *(relation(measure=measure, expected="less") for measure in ("train_loss", "test_loss", "gap")),
        relation(measure=["seconds", "test_loss"], expected="more"),
        relation(measure="epochs_to", accuracy=0.9, expected="less"),
    ],
)
def test_what_a_variant_reaches_is_undecided_where_a_seed_of_it_diverged(tmp_path, stated):
    write_evaluation(tmp_path, "lenet5", LOSSES, lost=(2, 3), test_accuracy=[0.98, 0.99])
    write_evaluation(tmp_path, "mlp", LOSSES, test_accuracy=[0.95, 0.96])
    costs = {name: {"seconds_per_epoch": rounds} for name, rounds in (("lenet5", [2.0, 2.1]), ("mlp", [1.0, 1.1]))}
    found = answer(tmp_path, stated, ("lenet5", "mlp"), costs=costs)
    assert found.verdict == "undecided"
    assert WHY in found.reason


def test_a_variant_that_reaches_nothing_leaves_every_figure_of_it_undecided(tmp_path):
    write_evaluation(tmp_path, "lenet5", lost=(0, 1), test_accuracy=[])
    found = answer(tmp_path, accuracy(value=0.985), ("lenet5",))
    assert (found.verdict, found.found) == ("undecided", "–")
    assert found.reason == "all 2 seeds of lenet5 diverged: it has no result"


def test_what_needs_no_accuracy_is_decided_all_the_same(tmp_path):
    write_evaluation(tmp_path, "lenet5", LOSSES, lost=(2, 3), test_accuracy=[0.98, 0.99])
    write_evaluation(tmp_path, "mlp", lost=(0, 1), test_accuracy=[])
    rounds = {"lenet5": [2.0, 2.1, 2.0, 2.2, 2.1, 2.0], "mlp": [1.0, 1.1, 1.0, 1.2, 1.1, 1.0]}
    costs = {name: {"seconds_per_epoch": values} for name, values in rounds.items()}
    for stated in (
        entry(kind="parameters", variant="lenet5", value=61706),
        relation(measure="parameters", expected="similar"),
        relation(measure="seconds", expected="more"),
    ):
        assert answer(tmp_path, stated, ("lenet5", "mlp"), costs=costs).verdict == "confirmed"


def test_a_comparison_without_a_difference_is_undecided_in_either_order(tmp_path):
    said = outcome("mlp", "lenet5", "inconclusive", None)
    found = answer(tmp_path, relation(expected="better"), ("lenet5", "mlp"), (said,))
    assert (found.verdict, found.found) == ("undecided", "–")
    assert "inconclusive, said the tests" in found.reason


def test_only_the_study_counts_and_what_is_not_evaluated_is_said_to_be_missing(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])  # left over: not in the study
    one = answer(tmp_path, accuracy(value=0.985), ("mlp",))
    assert (one.verdict, one.found) == ("undecided", "–")
    assert one.reason == "lenet5 is not in this study; `make study` trains the whole catalogue"
    assert answer(tmp_path, accuracy("mlp", value=0.985), ("mlp",)).reason == (
        "mlp is not evaluated yet; `make repro` does it"
    )
    two = answer(tmp_path, relation(measure="test_loss", expected="less"), ("lenet5",))
    assert two.reason.startswith("mlp is not in this study")


@pytest.mark.parametrize("name", ["curves.csv", "variant.json"])
def test_a_damaged_evaluation_is_the_users_to_mend(tmp_path, name):
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])
    for content in ("", "{}", None):
        (tmp_path / "lenet5" / name).write_text(content) if content is not None else (
            tmp_path / "lenet5" / name
        ).unlink()
        with pytest.raises(
            UserError, match=rf"lenet5/{name}: cannot be read .*; remedy: .*--single-item evaluate@lenet5"
        ):
            answer(tmp_path, accuracy(value=0.985), ("lenet5",))


def test_each_evaluation_is_read_once_and_only_if_a_statement_names_it(tmp_path, monkeypatch):
    for name in ("lenet5", "mlp", "lenet5-28"):
        write_evaluation(tmp_path, name, test_accuracy=[0.98, 0.99])
    read, plain = [], files.read_json
    monkeypatch.setattr(files, "read_json", lambda path: (read.append(path.parent.name), plain(path))[1])
    stated = [accuracy(value=0.985), accuracy(id="X2", value=0.9), relation(id="X3", measure="gap", expected="less")]
    answers.decide(loaded(tmp_path, *stated), with_study("lenet5", "mlp", "lenet5-28"), [], tmp_path, {})
    assert sorted(read) == ["lenet5", "mlp"]


@pytest.mark.parametrize("expected", ["better", "worse", "equivalent"])
@pytest.mark.parametrize("verdict", ["better", "worse", "equivalent", "inconclusive"])
def test_a_relation_of_accuracies_is_what_the_declared_comparison_says(tmp_path, expected, verdict):
    opposite = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    there, back = outcome("lenet5", "mlp", verdict, 0.0134), outcome("mlp", "lenet5", opposite, -0.0134)
    found = [answer(tmp_path, relation(expected=expected), ("lenet5", "mlp"), (one,)) for one in (there, back)]
    due = {expected: "confirmed", "inconclusive": "undecided"}.get(verdict, "refuted")
    assert [(one.verdict, one.found) for one in found] == [(due, "+1.34 percentage points")] * 2
    assert found[0].reason == f"{verdict}, said the tests"
    assert found[1].reason == f"as declared, mlp against lenet5: {opposite}, said the tests"


def test_a_comparison_that_is_not_declared_is_asked_for(tmp_path):
    other = (outcome("lenet5", "lenet5-regularized", "better"), outcome("mlp", "lenet5-tanh", "better"))
    one = answer(tmp_path, relation(expected="better"), ("lenet5", "mlp"), other)
    assert (one.verdict, one.found) == ("undecided", "–")
    write_evaluation(tmp_path, "lenet5", test_accuracy=[0.98, 0.99])
    write_evaluation(tmp_path, "mlp", test_accuracy=[0.98, 0.99])
    one = answer(tmp_path, relation(expected="better"), ("lenet5", "mlp"), other)
    assert one.verdict == "undecided"
    assert one.reason == "no comparison of lenet5 with mlp is made; declare it under `comparisons`"
    outside = answer(tmp_path, relation(expected="better"), ("lenet5",), other)
    assert outside.reason == "mlp is not in this study; `make study` trains the whole catalogue"


def test_each_alone_is_told_and_does_not_decide(tmp_path):
    stated = relation(expected="better", alone=["lenet5-batch-norm", "lenet5-dropout", "lenet5-tanh"])
    outcomes = (
        outcome("lenet5-batch-norm", "mlp", "worse", -0.002),
        outcome("lenet5", "mlp", "better", 0.01),
        outcome("mlp", "lenet5-dropout", "worse", -0.001),
    )
    one = answer(tmp_path, stated, ("lenet5", "mlp"), outcomes)
    assert one.verdict == "confirmed"
    assert one.reason == (
        "better, said the tests; lenet5-batch-norm alone is worse (−0.20 percentage points);"
        " lenet5-dropout alone is better (+0.10 percentage points); lenet5-tanh alone is not compared"
    )


def test_fewer_parameters_must_hold_as_well(tmp_path):
    outcomes = (outcome("lenet5", "mlp", "better", 0.01),)
    more, fewer = (
        answer(tmp_path, relation(expected="better", parameters=which), ("lenet5", "mlp"), outcomes)
        for which in ("more", "fewer")
    )
    assert (more.verdict, fewer.verdict) == ("confirmed", "refuted")
    assert more.found == fewer.found == "+1.00 percentage points; 61,706 against 61,075 parameters"
    assert more.reason == "better, said the tests; lenet5 has 631 more than mlp"
    assert fewer.reason == "lenet5 has 631 more than mlp"
    # Counting refutes it even where no training has been compared.
    untrained = [answer(tmp_path, relation(expected="better", parameters=which)) for which in ("more", "fewer")]
    assert [one.verdict for one in untrained] == ["undecided", "refuted"]


def hidden(units: int) -> schema.Variant:
    """An MLP with 1035 parameters a unit, and 10."""
    mlp = STUDY.variants["mlp"]
    return mlp.model_copy(update={"model": mlp.model.model_copy(update={"hidden": (units,)})})


@pytest.mark.parametrize(
    ("units", "keys", "verdict", "reason"),
    [
        ((21, 20), {"expected": "similar"}, "confirmed", "5.0 % above the smaller"),  # 1,035 to 20,710, so 4.998 %
        ((20, 21), {"expected": "similar"}, "confirmed", "5.0 % above the smaller"),
        ((20, 19), {"expected": "similar"}, "refuted", "5.3 % above the smaller"),
        ((19, 20), {"expected": "similar"}, "refuted", "5.3 % above the smaller"),
        ((60, 20), {"expected": "similar"}, "refuted", "is 3.0 times the smaller"),
        ((20, 21), {"expected": "fewer"}, "confirmed", "lenet5 has 1,035 fewer than mlp"),
        ((20, 21), {"expected": "more"}, "refuted", "lenet5 has 1,035 fewer than mlp"),
        ((21, 20), {"expected": "more"}, "confirmed", "lenet5 has 1,035 more than mlp"),
        ((20, 20), {"expected": "more"}, "refuted", "lenet5 has as many as mlp"),
        ((20, 20), {"expected": "fewer"}, "refuted", "lenet5 has as many as mlp"),
        ((21, 20), {"difference": 1150}, "confirmed", "they are 1,035 apart, within 10 % of 1,150"),
        ((21, 20), {"difference": 1151}, "refuted", "they are 1,035 apart, not within 10 % of 1,151"),
        ((20, 21), {"difference": 941}, "confirmed", "they are 1,035 apart, within 10 % of 941"),
        ((20, 21), {"difference": 940}, "refuted", "they are 1,035 apart, not within 10 % of 940"),
    ],
)
def test_numbers_of_parameters_are_related_by_counting(tmp_path, units, keys, verdict, reason):
    variants = STUDY.variants | {"lenet5": hidden(units[0]), "mlp": hidden(units[1])}
    study = STUDY.model_copy(update={"variants": variants, "study": ()})
    (one,) = answers.decide(loaded(tmp_path, relation(measure="parameters", **keys)), study, [], tmp_path, {})
    assert one.verdict == verdict
    assert one.found == f"{1035 * units[0] + 10:,} against {1035 * units[1] + 10:,} parameters"
    assert reason in one.reason


LOW, HIGH = [0.10, 0.11, 0.12, 0.13, 0.14, 0.15], [0.20, 0.21, 0.22, 0.23, 0.24, 0.25]


def test_losses_are_told_apart_by_both_tests(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_loss=LOW)
    write_evaluation(tmp_path, "mlp", test_loss=HIGH)
    less, more = (
        answer(tmp_path, relation(measure="test_loss", expected=which), ("lenet5", "mlp")) for which in ("less", "more")
    )
    assert (less.verdict, more.verdict) == ("confirmed", "refuted")
    assert less.found == more.found == "test loss: 0.1250 against 0.2250"
    assert (
        less.reason
        == more.reason
        == (
            "test loss is less for lenet5 than for mlp over 6 seeds each"
            " (Welch's test p < 0.0001, permutation test p = 0.0022)"
        )
    )
    back = relation(candidate="mlp", baseline="lenet5", measure="test_loss", expected="more")
    assert answer(tmp_path, back, ("lenet5", "mlp")).verdict == "confirmed"


def test_both_tests_must_agree(tmp_path):
    """Three against three seeds can reach p = 2/20 at best, however far apart they are."""
    write_evaluation(tmp_path, "lenet5", test_loss=LOW[:3])
    write_evaluation(tmp_path, "mlp", test_loss=HIGH[:3])
    one = answer(tmp_path, relation(measure="test_loss", expected="less"), ("lenet5", "mlp"))
    assert one.verdict == "undecided"
    assert one.reason == (
        "chance may have made the difference in test loss over 3 seeds each"
        " (Welch's test p = 0.00026, permutation test p = 0.10)"
    )
    # One seed far off: all other orders are as far, but Welch's test sees the spread.
    write_evaluation(tmp_path, "lenet5", test_loss=[0.1] * 5 + [0.11])
    write_evaluation(tmp_path, "mlp", test_loss=[0.12] * 5 + [9.0])
    one = answer(tmp_path, relation(measure="test_loss", expected="less"), ("lenet5", "mlp"))
    assert (one.verdict, "permutation test p = 0.0022" in one.reason) == ("undecided", True)


def test_of_several_measures_all_must_hold(tmp_path):
    stated = relation(measure=["train_loss", "test_loss"], expected="less")
    write_evaluation(tmp_path, "lenet5", test_loss=LOW, train_loss=LOW)
    for trained, tested, verdict in ((HIGH, HIGH, "confirmed"), (HIGH, LOW, "undecided"), (LOW, HIGH, "undecided")):
        write_evaluation(tmp_path, "mlp", test_loss=tested, train_loss=trained)
        assert answer(tmp_path, stated, ("lenet5", "mlp")).verdict == verdict
    write_evaluation(tmp_path, "mlp", test_loss=[0.01, 0.02, 0.03, 0.04, 0.05, 0.06], train_loss=LOW)
    one = answer(tmp_path, stated, ("lenet5", "mlp"))
    assert one.verdict == "refuted"
    assert one.found == "training loss while training: 0.1250 against 0.1250; test loss: 0.1250 against 0.0350"
    assert one.reason.startswith("test loss is more for lenet5 than for mlp")


def test_training_losses_are_those_of_evaluation_mode_where_both_sides_have_them(tmp_path):
    stated = relation(measure="train_loss", expected="less")
    write_evaluation(tmp_path, "lenet5", {"loss": LOW}, train_loss=HIGH)
    write_evaluation(tmp_path, "mlp", {"loss": HIGH}, train_loss=LOW)
    one = answer(tmp_path, stated, ("lenet5", "mlp"))
    assert (one.verdict, one.found) == ("confirmed", "training loss in evaluation mode: 0.1250 against 0.2250")
    write_evaluation(tmp_path, "mlp", train_loss=LOW)
    one = answer(tmp_path, stated, ("lenet5", "mlp"))
    assert (one.verdict, one.found) == ("refuted", "training loss while training: 0.2250 against 0.1250")


def test_overfitting_is_the_gap_in_evaluation_mode(tmp_path):
    tested = [0.97, 0.971, 0.972, 0.973, 0.974, 0.975]
    running = {"train_accuracy": [0.5] * 6}
    write_evaluation(tmp_path, "lenet5", {"accuracy": [a + 0.01 for a in tested]}, test_accuracy=tested, **running)
    write_evaluation(tmp_path, "mlp", {"accuracy": [a + 0.02 for a in tested]}, test_accuracy=tested, **running)
    one = answer(tmp_path, relation(measure="gap", expected="less"), ("lenet5", "mlp"))
    assert one.verdict == "confirmed"
    assert one.found == ("gap between training and test accuracy: 1.00 against 2.00 percentage points")
    write_evaluation(tmp_path, "mlp", {"accuracy": [a + 0.01 for a in reversed(tested)]}, test_accuracy=tested[::-1])
    equal = answer(tmp_path, relation(measure="gap", expected="less"), ("lenet5", "mlp"))
    assert (equal.verdict, "permutation test p = 1.0" in equal.reason) == ("undecided", True)
    write_evaluation(tmp_path, "mlp", test_accuracy=tested)
    absent = answer(tmp_path, relation(measure="gap", expected="less"), ("lenet5", "mlp"))
    assert absent.verdict == "undecided"
    assert absent.reason == "6 of 6 trainings of mlp have no finite gap between training and test accuracy"


def test_epochs_are_counted_to_the_first_that_reaches_an_accuracy(tmp_path):
    stated = relation(measure="epochs_to", accuracy=0.985, expected="less")
    write_evaluation(tmp_path, "lenet5", test_accuracy=[[0.985, 0.9, 0.9]] * 5 + [[0.98, 0.99, 0.99]])
    write_evaluation(tmp_path, "mlp", test_accuracy=[[0.9, 0.9849, 0.99]] * 6)
    one = answer(tmp_path, stated, ("lenet5", "mlp"))
    assert (one.verdict, one.found) == ("confirmed", "number of epochs to 98.5 %: 1.2 against 3.0")
    assert "do not reach it" not in one.reason
    write_evaluation(tmp_path, "mlp", test_accuracy=[[0.9, 0.9, 0.99]] * 4 + [[0.9, 0.9, 0.9]] * 2)
    one = answer(tmp_path, stated, ("lenet5", "mlp"))
    assert (one.verdict, one.found) == ("confirmed", "number of epochs to 98.5 %: 1.2 against 3.3")
    assert one.reason.endswith("; 0 of 6 and 2 of 6 trainings do not reach it and count as 4 epochs")


def test_neither_side_has_longer_to_arrive(tmp_path):
    """Trained for two epochs and for three, what arrives in the third counts as late as what never does."""
    for name in ("lenet5", "mlp"):
        write_evaluation(tmp_path, name, test_accuracy=[[0.9, 0.9, 0.99]] * 6)
    table = tmp_path / "mlp" / "curves.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(row for row in rows if row.split(",")[1] != "3"))
    stated = relation(measure="epochs_to", accuracy=0.985, expected="less")
    one = answer(tmp_path, stated, ("lenet5", "mlp"))
    assert (one.verdict, one.found) == ("undecided", "number of epochs to 98.5 %: 3.0 against 3.0")
    assert one.reason.endswith("; 6 of 6 and 6 of 6 trainings do not reach it and count as 3 epochs")


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
def test_a_statement_about_cost_is_held_against_the_rounds_of_its_measurement(
    tmp_path, measure, expected, verdict, found
):
    for name in ("lenet5", "mlp"):
        write_evaluation(tmp_path, name, test_accuracy=[0.98, 0.99])
    stated = relation(measure=measure, expected=expected)
    one = answer(tmp_path, stated, ("lenet5", "mlp"), costs=COSTS)
    assert (one.verdict, one.found) == (verdict, found)
    assert "over 5 rounds each (Welch's test p" in one.reason
    unmeasured = answer(tmp_path, stated, ("lenet5", "mlp"))
    assert (unmeasured.verdict, unmeasured.found) == ("undecided", "–")
    assert unmeasured.reason == "what lenet5 costs is not measured yet; `dvc repro cost` does it"


@pytest.mark.parametrize(
    ("keys", "verdict", "found", "reason"),
    [
        (
            {"variant": "lenet5", "layers": {"Linear": 3, "Conv2d": 2, "Dropout": 0}},
            "confirmed",
            "Linear 3; Conv2d 2; Dropout 0",
            "lenet5 has 3 Linear (c5, f6, output); lenet5 has 2 Conv2d (c1, c3); lenet5 has 0 Dropout",
        ),
        (
            {"variant": "mlp", "layers": {"Linear": 3}},
            "refuted",
            "Linear 2",
            "mlp has 2 Linear (hidden1, output), not 3",
        ),
        (
            {"candidate": "lenet5-regularized", "baseline": "lenet5", "added": {"BatchNorm2d": 2, "Conv2d": 0}},
            "confirmed",
            "2 BatchNorm2d (with weights), 2 Dropout (without weights)",
            "what lenet5-regularized adds to lenet5 is 2 BatchNorm2d (with weights), 2 Dropout (without weights)",
        ),
        (
            {"candidate": "lenet5-regularized", "baseline": "lenet5", "added": {"BatchNorm2d": 1, "Dropout": 2}},
            "refuted",
            "2 BatchNorm2d (with weights), 2 Dropout (without weights)",
            "what lenet5-regularized adds to lenet5 is 2 BatchNorm2d (with weights), 2 Dropout (without weights),"
            " not 1 BatchNorm2d and 2 Dropout",
        ),
        (
            {"candidate": "mlp-28-60-40", "baseline": "mlp", "added": {"Linear": 1, "Dropout": 0}},
            "confirmed",
            "1 Linear (with weights), 1 ReLU (without weights)",
            "what mlp-28-60-40 adds to mlp is 1 Linear (with weights), 1 ReLU (without weights)",
        ),
        (
            {"candidate": "lenet5", "baseline": "lenet5-regularized", "added": {"Dropout": 1}},
            "refuted",
            "nothing",
            "what lenet5 adds to lenet5-regularized is nothing, not 1 Dropout",
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
            "model.channels is 6, 16 in both",
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
            f"{STUDY.training.epochs} in both",
            f"training.epochs is {STUDY.training.epochs} in both",
        ),
    ],
)
def test_structure_is_compared_layer_by_layer_and_key_by_key(tmp_path, keys, verdict, found, reason):
    one = answer(tmp_path, entry(kind="structure", **keys))
    assert (one.verdict, one.found, one.reason) == (verdict, found, reason)


def test_a_setting_of_training_may_differ_by_a_block_of_its_own(tmp_path):
    override = STUDY.variants["mlp"].model_copy(update={"training": schema.TrainingOverride(epochs=77)})
    study = STUDY.model_copy(update={"variants": STUDY.variants | {"mlp": override}})
    stated = loaded(tmp_path, entry(kind="structure", candidate="mlp", baseline="lenet5", differs="training.epochs"))
    (one,) = answers.decide(stated, study, [], tmp_path, {})
    assert (one.verdict, one.found) == ("confirmed", f"77 against {STUDY.training.epochs}")


def test_a_misread_image_costs_at_least_ln_2(tmp_path):
    """At 50 % the mean is at least ln 2 / 2, which a double halves exactly."""
    bound = math.log(2) / 2
    below = answer(tmp_path, entry(kind="loss", loss=math.nextafter(bound, 0), accuracy=0.5))
    assert (below.verdict, below.found) == ("refuted", "at least 0.3466")
    assert below.reason == (
        "impossible: each misread image costs at least ln 2, and 50 % of them make a mean of at least 0.3466"
    )
    exactly = answer(tmp_path, entry(kind="loss", loss=bound, accuracy=0.5))
    assert (exactly.verdict, exactly.found) == ("undecided", "at least 0.3466")
    assert answer(tmp_path, entry(kind="loss", loss=0, accuracy=1)).verdict == "undecided"
    untrained = answer(tmp_path, entry(kind="loss", loss=0.3, accuracy=0.9, variant="lenet5"))
    assert untrained.reason.startswith("lenet5 is not in this study")


def test_a_softmax_that_errs_by_a_hair_pays_ln_2():
    """The rule itself: the wrong one of two classes that share the probability, and any other logits, cost more."""
    logits = np.random.default_rng(0).normal(size=(2000, 10))
    logits[0] = [5, 5, *[-50] * 8]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss, wrong = -np.log(probability[:, 0]), probability[:, 0] < probability.max(axis=1)
    wrong[0] = True
    assert loss[wrong].min() == pytest.approx(math.log(2))
    assert loss.mean() >= wrong.mean() * math.log(2)


def test_a_possible_loss_is_held_against_one_more_training_and_so_is_its_accuracy(tmp_path):
    write_evaluation(tmp_path, "lenet5", test_loss=[0.1, 0.11, 0.12], test_accuracy=[0.97, 0.971, 0.972])
    for loss, reached, verdict in ((0.1, 0.97, "confirmed"), (0.2, 0.97, "refuted"), (0.1, 0.96, "refuted")):
        stated = entry(kind="loss", loss=loss, accuracy=reached, variant="lenet5")
        one = answer(tmp_path, stated, ("lenet5",))
        assert one.verdict == verdict
        assert one.found == (
            "test loss 0.1100, one more training 0.0603 to 0.1597;"
            " test accuracy 97.10 %, one more training 96.60 to 97.60 %"
        )
    far = answer(tmp_path, entry(kind="loss", loss=0.2, accuracy=0.97, variant="lenet5"), ("lenet5",))
    assert far.reason == "0.2 lies 0.0403 above the 95 % prediction interval of test loss over 3 seeds"


def test_the_prediction_interval_by_hand():
    """9, 10, 11: mean 10, deviation 1, t(0.975, 2) = 4.30265, and √(4/3); one of 90 % has t(0.95, 2) = 2.91999."""
    assert intervals.prediction_interval([9, 10, 11]) == pytest.approx((5.03173, 14.96827), abs=1e-5)
    assert intervals.prediction_interval([9, 10, 11], level=0.9) == pytest.approx((6.62829, 13.37171), abs=1e-5)
    assert intervals.prediction_interval([10]) is intervals.prediction_interval([]) is None


@given(st.lists(st.integers(9000, 10_000), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_prediction_interval_is_that_of_statsmodels(counts, level):
    values = np.array(counts) / 10_000
    if np.ptp(values) == 0:
        assert intervals.prediction_interval(values.tolist(), level) == (values[0], values[0])
        return
    frame = OLS(values, np.ones(len(values))).fit().get_prediction([[1.0]]).summary_frame(alpha=1 - level)
    expected = (frame["obs_ci_lower"][0], frame["obs_ci_upper"][0])
    assert intervals.prediction_interval(values.tolist(), level) == pytest.approx(expected, abs=1e-9)


def test_the_prediction_interval_holds_one_more_of_a_hundred_as_often_as_it_says():
    """Simulated: seven trainings each, six of them known; 95 % of the seventh lie inside."""
    trainings = np.random.default_rng(0).normal(0.99, 0.001, (2000, 7))
    inside = [low <= last <= high for *known, last in trainings for low, high in [intervals.prediction_interval(known)]]
    assert 0.935 <= np.mean(inside) <= 0.965


FIGURES = st.lists(st.integers(0, 60), min_size=2, max_size=5)


@given(FIGURES, FIGURES)
@example([9_873, 9_891, 9_888, 9_880, 9_885], [9_879, 9_884, 9_890, 9_876, 9_883])  # where sums of fractions lose ties
@example([9_851, 9_826, 9_830, 9_804, 9_807], [9_801, 9_817, 9_881, 9_864])
@settings(max_examples=50)
def test_the_tests_are_scipys_and_every_division_counted(first, second):
    one, other = np.array(first) / 10_000, np.array(second) / 10_000
    everything, observed = [*first, *second], abs(sum(first) * len(second) - sum(second) * len(first))
    divisions = [sum(everything[at] for at in chosen) for chosen in combinations(range(len(everything)), len(first))]
    rest = sum(everything)
    as_far = [abs(part * len(second) - (rest - part) * len(first)) >= observed for part in divisions]
    assert significance.permutation_p(one, other) == pytest.approx(np.mean(as_far))
    if len(set(first)) > 1 and len(set(second)) > 1:  # scipy warns otherwise
        reference = stats.ttest_ind(one, other, equal_var=False).pvalue
        assert measurements._welch(one.tolist(), other.tolist()) == pytest.approx(reference, abs=1e-9)


def test_welchs_test_where_no_seed_differs():
    assert measurements._welch([0.1, 0.1], [0.1, 0.1, 0.1]) == 1
    assert measurements._welch([0.1, 0.1], [0.2, 0.2]) == 0


@given(st.data(), st.lists(st.integers(100, 160), min_size=4, max_size=6), st.sampled_from([1e-3, 0.1, 3.0, 7.7, 1e4]))
@settings(max_examples=25)
def test_neither_the_order_of_the_seeds_nor_a_unit_changes_a_verdict(tmp_path_factory, data, first, factor):
    folder = tmp_path_factory.mktemp("evaluations")
    second = data.draw(st.lists(st.integers(100, 160), min_size=len(first), max_size=len(first)))
    value = data.draw(st.integers(90, 170))
    stated = loaded(
        folder,
        relation(measure="test_loss", expected="less"),
        accuracy(id="X2", value=value / 1000),
        accuracy(id="X3", value=value / 1000, at_least=True),
        accuracy(id="X4", value=value / 1000, within=0.0171),
    )

    def verdicts(one: list[int], other: list[int], scale: float) -> list[str]:
        for name, counts in (("lenet5", one), ("mlp", other)):
            losses, accuracies = [scale * count / 1000 for count in counts], [count / 1000 for count in counts]
            write_evaluation(folder, name, test_loss=losses, test_accuracy=accuracies)
        return [a.verdict for a in answers.decide(stated, with_study("lenet5", "mlp"), [], folder, {})]

    before = verdicts(first, second, 1.0)
    assert verdicts(data.draw(st.permutations(first)), data.draw(st.permutations(second)), factor) == before
    turned = {"confirmed": "refuted", "refuted": "confirmed", "undecided": "undecided"}
    assert verdicts(second, first, 1.0)[0] == turned[before[0]]


def test_no_statements_have_no_answers(tmp_path):
    (tmp_path / "claims.yaml").write_text("claims: []\n")
    assert claims.load(tmp_path / "claims.yaml", STUDY) == []
    assert answers.decide([], STUDY, [], tmp_path, {}) == []
