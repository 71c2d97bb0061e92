"""All declared comparisons of a study, with seeds that diverged."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenetlab.evaluation import divergence
from lenetlab.settings import schema, study_schema
from lenetlab.statistics import comparison, difference, intervals, power, significance
from tests.statistics.examples import VS_LENET5, VS_MLP, make_study, nested_pair, with_correct, with_seeds

STUDY = make_study(headline=[VS_MLP])


def compare_with_mlp(lenet5, mlp, diverged=None) -> comparison.Outcome:
    (outcome,) = comparison.compare(STUDY, {"lenet5": lenet5, "mlp": mlp}, diverged or {})
    return outcome


def test_an_outcome_holds_the_numbers_of_its_pair():
    candidate, baseline = with_correct([980, 982, 984, 985, 981, 983]), with_correct([975, 980, 971, 984, 972, 973])
    outcome = compare_with_mlp(candidate, baseline)
    components = difference.variance_components(candidate, baseline)
    assert (outcome.candidate, outcome.baseline, outcome.family) == ("lenet5", "mlp", "headline")
    assert outcome.difference == difference.mean_difference(candidate, baseline) == pytest.approx(40 / 6000)
    assert outcome.interval_seeds == difference.interval_seeds(candidate, baseline)
    assert outcome.interval == difference.interval_seeds_and_images(candidate, baseline, 0.95)
    assert outcome.interval_equivalence == difference.interval_seeds_and_images(candidate, baseline, 0.9)
    assert outcome.share_seeds == difference.seed_share(components, (6, 6))
    assert outcome.p_welch == outcome.p_welch_holm == significance.welch(candidate, baseline)
    assert outcome.p_permutation == outcome.p_permutation_holm == significance.permutation(candidate, baseline)
    assert outcome.seeds_needed == power.seeds_needed(components, 1000, 1, 0.002)
    assert (outcome.superiority, outcome.superiority_interval) == difference.superiority(candidate, baseline)
    assert outcome.mcnemar == significance.mcnemar(candidate, baseline)


def test_outcomes_are_in_the_order_of_the_study():
    variant = with_correct([980, 981])
    study = make_study(first=[VS_LENET5, VS_MLP], second=[VS_LENET5])
    outcomes = comparison.compare(study, dict.fromkeys(study.study, variant), {})
    assert [(outcome.family, outcome.candidate) for outcome in outcomes] == [
        ("first", "lenet5-regularized"),
        ("first", "lenet5"),
        ("second", "lenet5-regularized"),
    ]


def test_one_seed_is_inconclusive_and_has_no_interval():
    outcome = compare_with_mlp(with_correct([990]), with_correct([970]))
    assert (outcome.verdict, outcome.reason) == ("inconclusive", intervals.ONE_SEED)
    assert outcome.interval_seeds is outcome.interval is None
    assert outcome.p_welch == outcome.p_permutation == 1.0


def test_the_verdict_needs_both_tests_after_holm():
    """Five seeds can reach 2/252; in a family of seven Holm's correction makes 0.056 of that."""
    good, bad = with_correct([980, 981, 982, 983, 984]), with_correct([900, 901, 902, 903, 904])
    predictions = {"lenet5": good, "mlp": bad}
    for size, verdict in ((6, "better"), (7, "inconclusive")):
        outcomes = comparison.compare(make_study(many=[VS_MLP] * size), predictions, {})
        assert {outcome.verdict for outcome in outcomes} == {verdict}
    study = make_study(small=[VS_MLP], large=[VS_MLP] * 7)
    assert comparison.compare(study, predictions, {})[0].verdict == "better"  # other families do not count


def test_exchanging_the_variants_reverses_the_verdict():
    first, second = with_correct([980, 982, 984, 985, 981, 983]), with_correct([960, 965, 961, 964, 962, 963])
    outcome, exchanged = compare_with_mlp(first, second), compare_with_mlp(second, first)
    assert (outcome.verdict, exchanged.verdict) == ("better", "worse")
    assert outcome.difference == pytest.approx(-exchanged.difference)
    assert outcome.interval == pytest.approx([-limit for limit in reversed(exchanged.interval)])
    assert outcome.p_permutation_holm == exchanged.p_permutation_holm


def test_confounds_are_differences_besides_network_and_regularisation():
    def confounds(candidate: str, baseline: str) -> list[str]:
        return comparison.confounds(STUDY, study_schema.DeclaredComparison(candidate=candidate, baseline=baseline))

    assert confounds("lenet5", "mlp") == []  # 1.0 % more parameters
    assert confounds("lenet5-regularized", "lenet5") == []
    assert confounds("lenet5-28-regularized-affine", "lenet5-28") == []
    assert confounds("lenet5-28", "mlp-28-60-40") == ["parameters 44,426 against 49,950, a factor of 1.12"]
    assert confounds("lenet5-bilinear", "lenet5") == [
        "input.resize bilinear against pad",
        "input.normalize false against true",
    ]
    assert "input.size 28 against 32" in confounds("lenet5-28", "lenet5")
    override = schema.TrainingOverride(epochs=3, learning_rate=0.1)
    variant = STUDY.variants["mlp"].model_copy(update={"training": override})
    study = STUDY.model_copy(update={"variants": {**STUDY.variants, "other": variant}})
    pair = study_schema.DeclaredComparison(candidate="other", baseline="mlp")
    assert comparison.confounds(study, pair) == [
        "training.epochs 3 against 10",
        "training.learning_rate 0.1 against 0.01",
    ]


# Seeds that diverged.


def test_a_variant_with_a_diverged_seed_is_neither_better_nor_worse():
    """The other seeds alone would make it better."""
    good = with_seeds({seed: 980 + seed for seed in (0, 2, 3, 5, 6, 7)})
    bad = with_seeds({seed: 900 + seed for seed in range(6)})
    complete = compare_with_mlp(good, bad, {"lenet5": [], "mlp": []})
    assert complete.verdict == "better"
    incomplete = compare_with_mlp(good, bad, {"lenet5": [1, 4]})
    assert incomplete.verdict == "inconclusive"
    assert incomplete.reason == divergence.reason_undecided("lenet5", [1, 4], 8)
    for key in ("difference", "interval", "p_welch", "p_permutation_holm", "superiority", "share_seeds"):
        assert getattr(incomplete, key) == getattr(complete, key), key
    exchanged = compare_with_mlp(bad, good, {"mlp": [1, 4]})
    assert (exchanged.verdict, exchanged.reason) == ("inconclusive", divergence.reason_undecided("mlp", [1, 4], 8))


def test_no_number_of_seeds_is_enough_if_one_diverged():
    variants = nested_pair(9_900, 9_893, spread=8)
    assert compare_with_mlp(*variants).seeds_needed > 6
    assert compare_with_mlp(*variants, {"mlp": [6]}).seeds_needed is None


def test_the_reason_names_both_variants_if_both_diverged():
    outcome = compare_with_mlp(with_seeds({0: 980}), with_seeds({}), {"lenet5": [3], "mlp": [0, 3]})
    reasons = divergence.reason_undecided("lenet5", [3], 2), divergence.reason_undecided("mlp", [0, 3], 2)
    assert outcome.reason == "; ".join(reasons)


FINISHED = st.dictionaries(st.integers(0, 5), st.integers(900, 1000), max_size=6)


@given(FINISHED, FINISHED, FINISHED)
@settings(max_examples=40)
def test_any_seeds_may_diverge(first, second, third):
    """Outcomes are JSON, pairs with a diverged seed have no verdict, and no other correction becomes milder."""
    study = make_study(only=[VS_MLP, VS_LENET5])
    variants = {"lenet5": with_seeds(first), "mlp": with_seeds(second), "lenet5-regularized": with_seeds(third)}
    diverged = {name: sorted(set(range(6)) - set(variant.seeds.tolist())) for name, variant in variants.items()}
    outcomes = comparison.compare(study, variants, diverged)
    json.dumps([asdict(outcome) for outcome in outcomes], allow_nan=False)
    for outcome, pair in zip(outcomes, study.comparisons["only"], strict=True):
        names = pair.candidate, pair.baseline
        incomplete = [name for name in names if diverged[name]]
        assert all(f"seeds of {name} diverged" in outcome.reason for name in incomplete)
        assert not incomplete or outcome.verdict == "inconclusive"
        assert (outcome.difference is None) == (min(len(variants[name].seeds) for name in names) == 0)
        (single,) = comparison.compare(make_study(alone=[pair]), variants, diverged)
        assert outcome.p_welch_holm >= single.p_welch_holm
        assert outcome.p_permutation_holm >= single.p_permutation_holm
