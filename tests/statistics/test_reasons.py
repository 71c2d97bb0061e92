"""Why a comparison has its verdict, and what would help: seeds, images, a larger settle.most, or another training."""

import numpy as np
import pytest

from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import study_schema
from lenetlab.statistics import comparison, difference, formatting, power, sequential
from lenetlab.statistics.comparison import Outcome
from tests.answers import make_predictions
from tests.statistics.examples import (
    VS_MLP,
    accuracies,
    from_wrong,
    make_study,
    nested_pair,
    random_variants,
    sure_of_these_images,
    with_correct,
)


def compare(
    variants: tuple[Predictions, Predictions], most: int = 36, comparisons: int = 1, margin: float = 0.002
) -> Outcome:
    study = make_study(only=[VS_MLP] * comparisons).model_copy(
        update={"settle": study_schema.SettleSettings(most=most), "equivalence_margin": margin}
    )
    return comparison.compare(study, dict(zip(("lenet5", "mlp"), variants, strict=True)), {})[0]


def next_step(outcome: Outcome) -> tuple[str | None, int | None]:
    return outcome.next_step, outcome.next_seeds


# Verdicts.


def test_better_and_worse_say_by_how_much_and_with_how_many_seeds():
    variants = nested_pair(9_900, 9_800)
    for pair, word in ((variants, "higher"), (variants[::-1], "lower")):
        outcome = compare(pair)
        p = formatting.p_equals(2 / 924 / sequential.spent(6))  # that of the permutation test is the largest
        assert outcome.reason == f"{word} by 1.00 percentage points (p {p}, 6 seeds each)"
        assert next_step(outcome) == (None, None)


def test_a_difference_below_the_margin_is_reported_as_such():
    variants = nested_pair(9_930, 9_900)
    outcome = compare(variants, margin=0.004)
    assert outcome.verdict == "better"
    assert outcome.reason.startswith(
        "higher by 0.30 percentage points, less than the margin of 0.40 percentage points (p "
    )
    assert "margin" not in compare(variants, margin=0.002).reason


def test_equivalent_names_the_margin():
    outcome = compare(nested_pair(9_900, 9_900))
    assert outcome.verdict == "equivalent"
    start = "the difference, if there is one, is less than 0.20 percentage points (the margin; p "
    assert outcome.reason.startswith(start)
    assert outcome.reason.endswith(", 6 seeds each)")
    assert next_step(outcome) == (None, None)


# Too few seeds.


def test_an_open_comparison_names_the_next_look_and_the_number_that_is_likely_to_be_enough():
    variants = nested_pair(9_900, 9_893, spread=8)
    outcome = compare(variants)
    needed = power.seeds_needed(difference.variance_components(*accuracies(*variants)), 1, 0.002)
    assert needed > 6
    assert next_step(outcome) == ("seeds", 9)
    assert outcome.reason.startswith("a difference of 0.07 percentage points could be due to chance (p ")
    assert outcome.reason.endswith(
        f" for less than 0.20 percentage points, 6 seeds each); too few seeds: the next look is at 9 each, and about"
        f" {needed} each are likely to be enough"
    )


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_with_fewer_seeds_than_the_first_look_needs_seeds_are_what_is_missing(seeds):
    """Two seeds can never reach 0.05, whatever the images."""
    variants = [variant.first(seeds) for variant in random_variants(np.random.default_rng(0), [0.9, 0.88], images=100)]
    outcome = compare(variants)
    assert next_step(outcome) == ("seeds", 6)
    assert "too few seeds: the next look is at 6 each" in outcome.reason
    assert "too few test images" not in outcome.reason


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_a_fixed_number_that_can_decide_nothing_is_what_the_reason_names(seeds):
    variants = [variant.first(seeds) for variant in random_variants(np.random.default_rng(0), [0.9, 0.88], images=100)]
    outcome = compare(variants, most=0)
    assert next_step(outcome) == ("most", None)
    number = f"{seeds} seeds each" if seeds > 1 else "one seed each"
    assert outcome.reason.endswith(
        f"the number of seeds is fixed, as settle.most is 0 ({number}); with so few, the permutation test cannot give"
        " p below 0.05 in a family of 1 comparison"
    )


def test_a_fixed_number_that_could_have_decided_is_fixed_all_the_same():
    outcome = compare(nested_pair(9_900, 9_893, spread=8), most=0)
    assert next_step(outcome) == ("most", None)
    assert outcome.reason.endswith("; the number of seeds is fixed, as settle.most is 0 (6 seeds each)")
    large = compare(nested_pair(9_900, 9_893, spread=8), most=0, comparisons=24)
    assert large.reason.endswith(" the permutation test cannot give p below 0.05 in a family of 24 comparisons")


def test_the_last_look_of_settle_is_named():
    outcome = compare(nested_pair(9_900, 9_893, spread=8), most=6)
    assert next_step(outcome) == ("most", None)
    assert outcome.reason.endswith("; settle.most is reached (6 seeds each); a larger one allows more seeds at no cost")


def test_a_stuck_seed_is_no_lack_of_images():
    """One of six seeds stays at chance, with a tenth of the images correct."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 10_000)
    wrong = generator.random((2, 6, 10_000)) < 0.011
    predicted = np.where(wrong, (labels + 1) % 10, labels)
    predicted[0, 2] = 1
    outcome = compare(tuple(make_predictions(labels, one) for one in predicted))
    assert outcome.verdict == "inconclusive"
    assert next_step(outcome) == ("seeds", 9)
    deviation = f"{100 * np.std((predicted[0] == labels).mean(axis=1), ddof=1):.2f}"
    assert outcome.reason.endswith(
        "; too few seeds: the next look is at 9 each, but not even 96 each are likely to be enough for a difference of"
        f" 0.20 percentage points (the margin), as the trainings of one variant differ by {deviation} percentage points"
        " (standard deviation)"
    )


# Too few images.


def test_the_reason_names_the_images_that_would_be_enough_with_unlimited_seeds():
    """By hand: no seed differs, so I is the variance of 100 differences of which 10 are -1 and 9 are 1, divided by 100;
    the margin must be 1.960 + 0.842 standard errors, to find a difference, and 1.645 + 1.282, to find equivalence."""
    wrong = np.zeros((2, 6, 100))
    wrong[0, :, :10], wrong[1, :, 10:19] = 1, 1
    outcome = compare((from_wrong(wrong[0]), from_wrong(wrong[1])))
    images = (0.19 - 0.01**2) * 100 / 99 * ((1.64485 + 1.28155) / 0.002) ** 2
    assert next_step(outcome) == ("images", None)
    assert outcome.reason.endswith(
        f"; too few test images: with unlimited seeds, about {round(images, -4):,.0f} images would be enough for a"
        " verdict on a difference of 0.20 percentage points (the margin) or on none"
    )


def test_seeds_that_agree_on_too_few_images_need_more_images():
    outcome = compare(sure_of_these_images())
    assert outcome.verdict == "inconclusive"
    assert next_step(outcome) == ("images", None)


def test_variants_that_never_differed_need_images_and_not_seeds():
    """With no effect of 50 images seen, one of 3/50 remains possible; 3/0.002 images would exclude the margin."""
    every = with_correct([50] * 6, 50)
    outcome = compare((every, every))
    assert (outcome.verdict, outcome.p_sequential, outcome.p_equivalence_sequential) == ("inconclusive", 1.0, 1.0)
    assert next_step(outcome) == ("images", None)
    assert "about 1,500 images would be enough" in outcome.reason


def test_one_test_image_is_named():
    outcome = compare((with_correct([1] * 6, 1), with_correct([0] * 6, 1)))
    assert next_step(outcome) == ("images", None)
    assert outcome.reason == (
        "one test image does not show how results vary between images; more test images are needed"
    )
    one_seed = compare((with_correct([1], 1), with_correct([0], 1)))
    assert next_step(one_seed) == ("seeds", 6)


# Seeds that diverged.


def test_no_seeds_and_no_images_help_a_variant_that_diverges():
    variants = nested_pair(9_900, 9_893, spread=8)
    predictions = dict(zip(("lenet5", "mlp"), variants, strict=True))
    (outcome,) = comparison.compare(make_study(only=[VS_MLP]), predictions, {"mlp": [6]})
    assert next_step(outcome) == ("training", None)


# Losses.


def test_losses_are_not_counts_so_images_without_an_effect_need_not_be_many():
    """The seeds differ too much for a verdict. 300 images are fewer than 3/0.005, but a loss is no count of answers."""
    losses = np.random.default_rng(0).normal(1.0, 0.02, (2, 6, 1)) * np.ones(300)
    pair = [make_predictions(np.zeros(300), np.zeros((6, 300)), loss=one.astype(np.float32)) for one in losses]
    study = make_study(only=[VS_MLP.model_copy(update={"measure": "test_loss"})])
    (outcome,) = comparison.compare(study, dict(zip(("lenet5", "mlp"), pair, strict=True)), {})
    assert (outcome.verdict, outcome.share_seeds) == ("inconclusive", 1.0)
    assert next_step(outcome) == ("seeds", 9)
