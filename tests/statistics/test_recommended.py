"""Which variant the verdicts recommend."""

from dataclasses import replace

import pytest

from lenetlab.statistics import comparison
from tests.statistics.examples import VS_MLP, make_study, with_correct

ACCURACIES = {"a": 0.97, "b": 0.98, "c": 0.99}
NO_VERDICT = "it has the highest mean test accuracy; no verdict recommends a variant"


@pytest.fixture(scope="module")
def outcome() -> comparison.Outcome:
    """Any; the tests change what matters here."""
    counts = {name: with_correct([900] * 2) for name in ("lenet5", "mlp")}
    return comparison.compare(make_study(headline=[VS_MLP]), counts, {"lenet5": [], "mlp": []})[0]


@pytest.mark.parametrize(
    ("verdicts", "variant", "reason"),
    [
        ([], "c", NO_VERDICT),
        (["c inconclusive b", "c equivalent a"], "c", NO_VERDICT),
        (["b better a"], "b", "its test accuracy is better than that of a, by a verdict, and worse than that of none"),
        (["a worse b"], "b", "its test accuracy is better than that of a, by a verdict, and worse than that of none"),
        (["b better a", "c better b"], "c", "its test accuracy is better than that of b, by a verdict,"),
        (["b better a", "c better a"], "c", "its test accuracy is better than that of a, by a verdict,"),  # a tie
        (["a better b", "a better c"], "a", "its test accuracy is better than that of b and c, by a verdict,"),
        (["a better b", "b better a"], "c", NO_VERDICT),  # in two families, with other seeds
        (["b better a", "a better b gap", "c better b test_loss"], "b", "its test accuracy is better than that of a,"),
    ],
)
def test_a_verdict_decides_and_then_the_mean_accuracy(outcome, verdicts, variant, reason):
    outcomes = []
    for text in verdicts:
        candidate, verdict, baseline, measure = [*text.split(), "test_accuracy"][:4]
        outcomes.append(replace(outcome, candidate=candidate, baseline=baseline, verdict=verdict, measure=measure))
    found = comparison.recommended(outcomes, ACCURACIES)
    assert (found[0], found[1][: len(reason)]) == (variant, reason)


def test_a_variant_without_a_finished_seed_is_the_last_choice():
    assert comparison.recommended([], {"a": None, "b": 0.1})[0] == "b"
    assert comparison.recommended([], {"a": None})[0] == "a"
