"""All declared comparisons of a study: fixed looks, families, four measures, and seeds that diverged."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenetlab.errors import UserError
from lenetlab.evaluation import divergence
from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import schema, study_schema
from lenetlab.statistics import comparison, difference, intervals, power, sequential, significance
from lenetlab.statistics.comparison import Outcome
from tests.answers import make_predictions
from tests.statistics.examples import (
    VS_LENET5,
    VS_MLP,
    accuracies,
    from_wrong,
    make_study,
    nested_pair,
    random_variants,
    with_correct,
    with_seeds,
)

STUDY = make_study(headline=[VS_MLP])


def compare_with_mlp(lenet5, mlp, diverged=None, study=STUDY) -> Outcome:
    (outcome,) = comparison.compare(study, {"lenet5": lenet5, "mlp": mlp}, diverged or {})
    return outcome


def with_fixed_seeds(study: study_schema.Study) -> study_schema.Study:
    return study.model_copy(update={"settle": study_schema.SettleSettings(most=0)})


def declared(measure: study_schema.Measure, accuracy: float | None = None) -> study_schema.Study:
    """A study of lenet5 against mlp on this measure."""
    return make_study(headline=[VS_MLP.model_copy(update={"measure": measure, "accuracy": accuracy})])


def test_an_outcome_holds_the_numbers_of_its_pair():
    variants = with_correct([980, 982, 984, 985, 981, 983]), with_correct([975, 980, 971, 984, 972, 973])
    outcome = compare_with_mlp(*variants)
    pair = accuracies(*variants)
    components, p = difference.variance_components(*pair), significance.of_difference(*pair)
    assert (outcome.candidate, outcome.baseline, outcome.family) == ("lenet5", "mlp", "headline")
    assert (outcome.measure, outcome.accuracy, outcome.margin) == ("test_accuracy", None, 0.002)
    assert outcome.difference == difference.mean_difference(*pair) == pytest.approx(40 / 6000)
    assert outcome.interval_seeds == difference.interval_seeds(*pair)
    assert outcome.interval == difference.interval_seeds_and_images(*pair, 0.95)
    assert outcome.interval_equivalence == difference.interval_seeds_and_images(*pair, 0.9)
    assert outcome.share_seeds == difference.seed_share(components, (6, 6))
    assert (outcome.p_welch, outcome.p_permutation, outcome.p_seeds_and_images, outcome.p) == (
        p.welch, p.permutation, p.seeds_and_images, p.largest,
    )  # fmt: skip
    assert outcome.p_sequential == outcome.p_sequential_holm == pytest.approx(p.largest / sequential.spent(6))
    assert [(look.seeds, look.p) for look in outcome.looks] == [(6, p.largest)]
    assert outcome.seeds_needed == power.seeds_needed(components, 1, 0.002)
    assert (outcome.superiority, outcome.superiority_interval) == difference.superiority(*pair)
    assert outcome.mcnemar == significance.mcnemar(*variants)


def test_outcomes_are_in_the_order_of_the_study():
    variant = with_correct([980, 981])
    study = make_study(first=[VS_LENET5, VS_MLP], second=[VS_LENET5])
    outcomes = comparison.compare(study, dict.fromkeys(study.study, variant), {})
    assert [(outcome.family, outcome.candidate) for outcome in outcomes] == [
        ("first", "lenet5-regularized"),
        ("first", "lenet5"),
        ("second", "lenet5-regularized"),
    ]


def test_different_test_images_are_an_error():
    made = with_correct([990, 990])
    for other in (replace(made, labels=made.labels + 1), with_correct([90, 90], images=100)):
        with pytest.raises(UserError, match="different test images"):
            compare_with_mlp(made, other)


def test_one_seed_is_inconclusive_and_has_no_interval():
    outcome = compare_with_mlp(with_correct([990]), with_correct([970]))
    assert outcome.verdict == "inconclusive"
    assert outcome.reason.startswith(f"{intervals.ONE_SEED}; ")
    assert outcome.interval_seeds is outcome.interval is None
    assert outcome.p_welch == outcome.p_permutation == outcome.p_sequential_holm == 1.0
    assert (outcome.looks, outcome.seeds, outcome.difference) == ([], 1, pytest.approx(0.02))


GOOD, BAD = with_correct(range(980, 986)), with_correct(range(900, 906))


def test_six_seeds_can_decide_families_of_up_to_seven():
    """The permutation test can reach 2/924, which is below the level of the first look up to seven comparisons."""
    predictions = {"lenet5": GOOD, "mlp": BAD}
    for size, verdict in ((7, "better"), (8, "inconclusive")):
        outcomes = comparison.compare(make_study(many=[VS_MLP] * size), predictions, {})
        assert {outcome.verdict for outcome in outcomes} == {verdict}
    study = make_study(small=[VS_MLP], large=[VS_MLP] * 8)
    assert comparison.compare(study, predictions, {})[0].verdict == "better"  # other families do not count


def test_a_fixed_number_of_seeds_has_the_ordinary_level():
    """Five seeds can reach 2/252, which is below 0.05 after Holm's correction in a family of six, not of seven."""
    five = {"lenet5": GOOD.first(5), "mlp": BAD.first(5)}
    for size, verdict in ((6, "better"), (7, "inconclusive")):
        outcomes = comparison.compare(with_fixed_seeds(make_study(many=[VS_MLP] * size)), five, {})
        assert {outcome.verdict for outcome in outcomes} == {verdict}
    (outcome,) = comparison.compare(with_fixed_seeds(STUDY), five, {})
    assert [look.seeds for look in outcome.looks] == [5]
    assert outcome.p_sequential == pytest.approx(outcome.p)


def test_the_effect_of_images_is_corrected_for_the_family():
    """The seeds are certain; of 100 images on which the variants differ, 62 favour the candidate."""
    wrong = np.zeros((2, 6, 1000), dtype=bool)
    wrong[0, :, :38], wrong[1, :, 38:100] = True, True
    for seed in range(6):
        wrong[:, seed, 200 + seed] = True
    candidate, baseline = map(from_wrong, wrong)
    alone = compare_with_mlp(candidate, baseline, study=with_fixed_seeds(STUDY))
    assert (alone.verdict, alone.p) == ("better", alone.p_seeds_and_images)
    assert 0.01 < alone.p < 0.025 > alone.p_permutation
    predictions = {"lenet5": candidate, "mlp": baseline, "lenet5-regularized": candidate}
    family = make_study(only=[VS_MLP, *[VS_LENET5] * 4])
    assert comparison.compare(with_fixed_seeds(family), predictions, {})[0].verdict == "inconclusive"


def test_equivalence_is_corrected_for_the_family():
    """The margin is a little wider than the 90 % interval, so p is a little below 0.05."""
    close = nested_pair(9_900, 9_899, spread=3)
    margin = 1.02 * max(map(abs, difference.interval_seeds_and_images(*accuracies(*close), 0.9)))
    predictions = {"lenet5": close[0], "mlp": close[1], "lenet5-regularized": with_correct([9_000] * 6, 10_000)}
    for family, verdict in (([VS_MLP], "equivalent"), ([VS_MLP, VS_LENET5], "inconclusive")):
        study = with_fixed_seeds(make_study(only=family)).model_copy(update={"equivalence_margin": margin})
        assert comparison.compare(study, predictions, {})[0].verdict == verdict


def test_exchanging_the_variants_reverses_the_verdict():
    first, second = with_correct([980, 982, 984, 985, 981, 983]), with_correct([960, 965, 961, 964, 962, 963])
    outcome, exchanged = compare_with_mlp(first, second), compare_with_mlp(second, first)
    assert (outcome.verdict, exchanged.verdict) == ("better", "worse")
    assert outcome.difference == pytest.approx(-exchanged.difference)
    assert outcome.interval == pytest.approx([-limit for limit in reversed(exchanged.interval)])
    assert outcome.p_sequential_holm == pytest.approx(exchanged.p_sequential_holm)


# Numbers of seeds.


def test_both_sides_have_their_first_seeds():
    """Nine seeds against seven: both have six at the look."""
    more = (
        with_correct([980, 981, 982, 983, 984, 985, 100, 100, 100]),
        with_correct([900, 901, 902, 903, 904, 905, 999]),
    )
    outcome, six = compare_with_mlp(*more), compare_with_mlp(GOOD, BAD)
    assert asdict(outcome) == asdict(six)
    assert outcome.seeds == len(outcome.mcnemar) == 6


def test_seeds_beyond_the_deciding_look_change_no_number():
    """Only the list of looks grows."""
    generator = np.random.default_rng(0)
    more = [replace(variant, seeds=np.arange(24)) for variant in random_variants(generator, [0.5, 0.6], 24, 1000)]
    rows = [np.vstack([early.predicted, late.predicted[6:]]) for early, late in zip((GOOD, BAD), more, strict=True)]
    grown = [make_predictions(GOOD.labels, predicted) for predicted in rows]
    outcome, six = compare_with_mlp(*grown), compare_with_mlp(GOOD, BAD)
    assert [look.seeds for look in outcome.looks] == [6, 9, 12, 18, 24]
    assert asdict(replace(outcome, looks=[])) == asdict(replace(six, looks=[]))
    assert outcome.looks[:1] == six.looks


def test_a_seed_more_than_a_look_needs_does_not_count():
    """Adding seeds one at a time until p is small is no way to a verdict."""
    generator = np.random.default_rng(1)
    variants = random_variants(generator, [0.9, 0.9], 8, 1000)
    six = compare_with_mlp(*(variant.first(6) for variant in variants))
    for seeds in (7, 8):
        assert asdict(compare_with_mlp(*(variant.first(seeds) for variant in variants))) == asdict(six)


# Other measures.


def with_losses(*means: float) -> Predictions:
    """Seeds with these losses on every image, and a little more on every other image."""
    losses = np.array(means)[:, None] + np.tile([0.0, 0.01], 500)
    return make_predictions(np.zeros(1000), np.zeros((len(means), 1000)), loss=losses.astype(np.float32))


def test_a_lower_loss_is_better():
    low, high = with_losses(*np.linspace(0.03, 0.04, 6)), with_losses(*np.linspace(0.06, 0.07, 6))
    better, worse = (compare_with_mlp(*pair, study=declared("test_loss")) for pair in ((low, high), (high, low)))
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert (better.difference, worse.difference) == (pytest.approx(-0.03), pytest.approx(0.03))
    assert (better.superiority, worse.superiority) == (1.0, 0.0)
    assert (better.margin, better.mcnemar) == (0.005, [])
    assert better.reason.startswith("lower by 0.0300 nats (p ")


def test_a_smaller_gap_is_better():
    small = with_correct(range(980, 986))
    large = replace(small, training_accuracy=np.ones(6))
    small = replace(small, training_accuracy=small.accuracy + 0.001)
    assert compare_with_mlp(small, large, study=declared("gap")).verdict == "better"
    assert compare_with_mlp(large, small, study=declared("gap")).verdict == "worse"


def after_epochs(*epochs: int) -> Predictions:
    """Seeds that reach 0.9 after this many of five epochs; 6: never."""
    curves = np.where(np.arange(1, 6) >= np.array(epochs)[:, None], 0.95, 0.5)
    return replace(with_correct([950] * len(epochs)), epoch_accuracy=curves)


def test_fewer_epochs_to_an_accuracy_are_better_and_images_do_not_count():
    fast, slow = after_epochs(1, 2, 1, 2, 1, 2), after_epochs(5, 6, 6, 6, 5, 6)
    study = declared("epochs_to", 0.9)
    better, worse = compare_with_mlp(fast, slow, study=study), compare_with_mlp(slow, fast, study=study)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.difference == pytest.approx(1.5 - 34 / 6)
    assert (better.accuracy, better.margin, better.share_seeds, better.mcnemar) == (0.9, 0.5, 1.0, [])
    assert better.interval == better.interval_seeds


def test_an_accuracy_that_no_seed_reaches_decides_nothing():
    never = after_epochs(6, 6, 6, 6, 6, 6)
    outcome = compare_with_mlp(never, never, study=declared("epochs_to", 0.9))
    assert (outcome.verdict, outcome.difference, outcome.interval) == ("inconclusive", 0.0, (0.0, 0.0))
    json.dumps(asdict(outcome), allow_nan=False)


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
    override = schema.TrainingOverride(epochs=3, learning_rate=0.1, keep_weights=2)  # the last one changes no result
    variant = STUDY.variants["mlp"].model_copy(update={"training": override})
    study = STUDY.model_copy(update={"variants": {**STUDY.variants, "other": variant}})
    pair = study_schema.DeclaredComparison(candidate="other", baseline="mlp")
    assert comparison.confounds(study, pair) == [
        "training.epochs 3 against 10",
        "training.learning_rate 0.1 against 0.01",
    ]


# Seeds that diverged.

REGULARIZED_DIVERGED = {"lenet5-regularized": [6]}


def test_a_variant_with_a_diverged_seed_is_neither_better_nor_worse():
    """The other seeds alone would make it better."""
    good = with_seeds({seed: 980 + seed for seed in (0, 2, 3, 5, 6, 7)})
    bad = with_seeds({seed: 900 + seed for seed in range(6)})
    complete = compare_with_mlp(good, bad, {"lenet5": [], "mlp": []})
    assert complete.verdict == "better"
    incomplete = compare_with_mlp(good, bad, {"lenet5": [1, 4]})
    assert incomplete.verdict == "inconclusive"
    assert incomplete.reason == divergence.reason_undecided("lenet5", [1, 4], 8)
    for key in ("difference", "interval", "p_welch", "p_permutation", "superiority", "share_seeds"):
        assert getattr(incomplete, key) == getattr(complete, key), key
    exchanged = compare_with_mlp(bad, good, {"mlp": [1, 4]})
    assert (exchanged.verdict, exchanged.reason) == ("inconclusive", divergence.reason_undecided("mlp", [1, 4], 8))


def test_no_number_of_seeds_is_enough_if_one_diverged():
    variants = nested_pair(9_900, 9_893, spread=8)
    assert compare_with_mlp(*variants).seeds_needed > 6
    diverged = compare_with_mlp(*variants, {"mlp": [6]})
    assert (diverged.seeds_needed, diverged.next_step, diverged.next_seeds) == (None, "training", None)


def test_a_pair_with_a_diverged_seed_stays_in_its_family():
    """Its p counts as 1, so the other pair's is corrected as before."""
    predictions = {"lenet5": GOOD, "mlp": BAD, "lenet5-regularized": with_correct(range(940, 946))}
    study = make_study(only=[VS_LENET5, VS_MLP])
    complete, incomplete = (
        comparison.compare(study, predictions, diverged)[1] for diverged in ({}, REGULARIZED_DIVERGED)
    )
    (alone,) = comparison.compare(make_study(only=[VS_MLP]), predictions, {})
    assert incomplete.p_sequential_holm == pytest.approx(2 * alone.p_sequential_holm)
    assert incomplete.p_sequential_holm >= complete.p_sequential_holm
    other = comparison.compare(study, predictions, REGULARIZED_DIVERGED)[0]
    assert (other.verdict, other.p_sequential, other.looks) == ("inconclusive", 1.0, [])


def test_the_reason_names_both_variants_if_both_diverged():
    outcome = compare_with_mlp(with_seeds({0: 980}), with_seeds({}), {"lenet5": [3], "mlp": [0, 3]})
    reasons = divergence.reason_undecided("lenet5", [3], 2), divergence.reason_undecided("mlp", [0, 3], 2)
    assert outcome.reason == "; ".join(reasons)


FINISHED = st.dictionaries(st.integers(0, 5), st.integers(900, 1000), max_size=6)


@given(FINISHED, FINISHED, FINISHED)
@settings(max_examples=20)
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
        assert outcome.p_sequential_holm >= single.p_sequential_holm
        assert outcome.p_equivalence_sequential_holm >= single.p_equivalence_sequential_holm
