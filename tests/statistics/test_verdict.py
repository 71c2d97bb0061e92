"""The rule: looks at the first seeds, Holm's correction of sequential p values, and which verdict stands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenetlab.settings import study_schema
from lenetlab.statistics import significance, verdict
from lenetlab.statistics.measures import Sample
from lenetlab.statistics.sequential import Plan
from lenetlab.statistics.verdict import Decision, Evidence, Look
from tests.statistics.examples import accuracies, nested_pair, random_variants, sure_of_these_images

LOOKS = study_schema.LOOKS


def looked_at(p_values, p_equivalence=None, differences=None) -> Evidence:
    """These sequential p values by look."""
    p_equivalence, differences = p_equivalence or [1.0] * len(p_values), differences or [0.01] * len(p_values)
    looks = [Look(seeds, gain, 0.5, 0.5, 0.5, 0.5) for seeds, gain in zip(LOOKS, differences, strict=False)]
    return Evidence(tuple(looks), tuple(p_values), tuple(p_equivalence))


def decide(*family: Evidence, lower_is_better: bool = False) -> list[Decision]:
    return verdict.decide(family, [lower_is_better] * len(family))


def verdicts(*family: Evidence) -> list[str]:
    return [decision.verdict for decision in decide(*family)]


# Decisions.


def test_the_sign_of_the_difference_decides_between_better_and_worse():
    higher, lower = looked_at([0.01]), looked_at([0.01], differences=[-0.01])
    assert verdicts(higher) == ["better"]
    assert verdicts(lower) == ["worse"]
    assert [decide(one, lower_is_better=True)[0].verdict for one in (higher, lower)] == ["worse", "better"]


def test_p_must_be_below_the_level():
    assert verdicts(looked_at([0.049999])) == ["better"]
    assert verdicts(looked_at([0.05])) == ["inconclusive"]
    assert verdicts(looked_at([1.0], [0.049999])) == ["equivalent"]
    assert verdicts(looked_at([1.0], [0.05])) == ["inconclusive"]


def test_differences_are_corrected_for_their_family():
    assert verdicts(looked_at([0.03])) == ["better"]
    assert verdicts(looked_at([0.03]), looked_at([1.0])) == ["inconclusive", "inconclusive"]
    assert verdicts(looked_at([0.03]), looked_at([0.02])) == ["better", "better"]  # 2 × 0.02, then 0.03


def test_equivalence_is_corrected_for_the_family():
    close, far = looked_at([1.0], [0.03]), looked_at([1.0], [1.0])
    assert verdicts(close) == ["equivalent"]
    assert verdicts(close, far) == ["inconclusive", "inconclusive"]
    assert verdicts(close, looked_at([1.0], [0.02])) == ["equivalent", "equivalent"]


def test_each_kind_of_error_has_its_own_correction():
    """A difference that is found does not make equivalence easier to find for the other pair."""
    assert verdicts(looked_at([0.001]), looked_at([1.0], [0.03])) == ["better", "inconclusive"]


def test_better_comes_before_equivalent_at_the_same_look():
    assert verdicts(looked_at([0.01], [0.01])) == ["better"]


def test_the_first_verdict_stands():
    """More seeds change neither the verdict nor its numbers."""
    (first,) = decide(looked_at([0.2, 0.01, 0.001], [1.0, 0.2, 0.01]))
    assert (first.verdict, first.look.seeds, first.p_sequential, first.p_equivalence_sequential) == (
        "better", 9, 0.01, 0.2,
    )  # fmt: skip
    (equivalent,) = decide(looked_at([0.2, 0.01], [0.03, 0.03]))
    assert (equivalent.verdict, equivalent.look.seeds) == ("equivalent", 6)


def test_without_a_verdict_the_numbers_are_those_of_the_last_look():
    (decision,) = decide(looked_at([0.3, 0.2, 0.1], [0.9, 0.8, 0.7]))
    assert (decision.verdict, decision.look.seeds) == ("inconclusive", 12)
    assert (decision.p_sequential_holm, decision.p_equivalence_sequential_holm) == (0.1, 0.7)


def test_a_comparison_with_fewer_looks_counts_with_its_last():
    """The second pair has six seeds; the first waits for nine to get all of alpha from it."""
    decisions = decide(looked_at([0.03, 0.03, 0.03]), looked_at([0.04]))
    assert [decision.verdict for decision in decisions] == ["inconclusive", "inconclusive"]
    decisions = decide(looked_at([0.03, 0.03, 0.02]), looked_at([0.04]))
    assert [(decision.verdict, decision.look.seeds) for decision in decisions] == [("better", 12), ("better", 6)]


def test_the_numbers_are_those_of_the_look_with_the_smallest_p():
    """The second pair settles at nine seeds, so the first may use its look at six, and its sign."""
    first, second = looked_at([0.03, 0.03], differences=[0.01, -0.0001]), looked_at([0.9, 0.001])
    decisions = decide(first, second)
    assert [(one.verdict, one.look.seeds, one.look.difference) for one in decisions] == [
        ("better", 6, 0.01),
        ("better", 9, 0.01),
    ]
    equivalent = decide(looked_at([1.0, 1.0], [0.03, 0.03]), looked_at([1.0, 1.0], [0.9, 0.001]))
    assert [(one.verdict, one.look.seeds) for one in equivalent] == [("equivalent", 6), ("equivalent", 9)]


def test_a_comparison_without_a_look_counts_in_its_family():
    decisions = decide(looked_at([0.03]), Evidence())
    assert [decision.verdict for decision in decisions] == ["inconclusive", "inconclusive"]
    assert decisions[0].p_sequential_holm == pytest.approx(0.06)
    assert decisions[1] == Decision("inconclusive", None, 1.0, 1.0, 1.0, 1.0)
    assert decide(Evidence(), Evidence()) == [decisions[1]] * 2


FALLING = st.lists(st.sampled_from([0.001, 0.01, 0.02, 0.03, 0.06, 0.3, 1.0]), min_size=1, max_size=5).map(
    lambda p_values: np.minimum.accumulate(p_values).tolist()
)
EVIDENCE = st.tuples(FALLING, FALLING, st.integers(0, 5)).map(
    lambda drawn: looked_at(*(part[: min(map(len, drawn[:2]))][: drawn[2]] for part in drawn[:2]))
)


def without_the_last(evidence: Evidence, seeds: int) -> Evidence:
    """Looks with no more than these seeds."""
    count = evidence.looks_with(seeds)
    return Evidence(evidence.looks[:count], evidence.p_sequential[:count], evidence.p_equivalence_sequential[:count])


@given(st.lists(EVIDENCE, min_size=1, max_size=4), st.sampled_from(LOOKS[:5]))
@settings(max_examples=200)
def test_seeds_beyond_a_verdict_do_not_change_it(family, seeds):
    before = decide(*(without_the_last(one, seeds) for one in family))
    for early, late in zip(before, decide(*family), strict=True):
        assert early.verdict == "inconclusive" or early == late


@given(st.lists(EVIDENCE, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_a_family_does_not_matter(family, random):
    order = random.sample(range(len(family)), len(family))
    decisions, reordered = decide(*family), decide(*(family[place] for place in order))
    assert reordered == [decisions[place] for place in order]


@given(EVIDENCE, EVIDENCE)
def test_a_larger_family_never_gives_a_verdict_that_was_missing(one, other):
    if verdicts(one) == ["inconclusive"]:
        assert verdicts(one, other)[0] == "inconclusive"


# Evidence.


def collect(pair: tuple[Sample, Sample], comparisons: int = 1, most: int = 36, margin: float = 0.002) -> Evidence:
    seeds = min(sample.seeds for sample in pair)
    return verdict.collect_evidence(*pair, margin, comparisons, Plan.of(seeds, most), True)


def drawn(candidate: float, baseline: float, seeds: int = 20, generator: int = 0) -> tuple[Sample, Sample]:
    return accuracies(*random_variants(np.random.default_rng(generator), [candidate, baseline], seeds, images=3000))


def test_looks_are_at_fixed_numbers_of_the_first_seeds():
    """Eight seeds show what six show, and the order of further seeds does not matter."""
    pair = drawn(0.91, 0.90)
    assert [look.seeds for look in collect(pair).looks] == [6, 9, 12, 18]
    six = collect([sample.first(6) for sample in pair])
    assert collect([sample.first(8) for sample in pair]) == six
    assert six.looks == collect(pair).looks[:1]
    assert six.p_sequential == collect(pair).p_sequential[:1]


def test_a_look_has_the_p_values_and_levels_of_its_seeds():
    pair = drawn(0.91, 0.90)
    for comparisons in (1, 3):
        found = collect(pair, comparisons)
        for number, look in enumerate(found.looks, start=1):
            first = [sample.first(look.seeds) for sample in pair]
            assert look.difference == pytest.approx(first[0].values.mean() - first[1].values.mean())
            assert look.p == significance.of_difference(*first).largest
            assert look.p_equivalence == significance.of_equivalence(*first, 0.002)
            assert 0 < look.level < 0.05 / comparisons
            decides = significance.holm([found.p_sequential[number - 1]] + [1.0] * (comparisons - 1))[0] < 0.05
            assert decides == any(one.p < one.level for one in found.looks[:number])


def test_a_difference_at_any_look_is_found_at_the_level_of_this_look():
    """Welch's and the permutation test have p = 0.03 at six and at nine seeds. Each time, adding seeds until p is below
    0.05 would have found a difference."""
    first = np.array([0.9, 1.2, -0.3, 0.8, 1.4, 0.6, 0.3, 0.9, 0.8])
    second = np.array([0.1, -0.6, 0.5, -0.1, 0.3, -0.2, 0.4, 0.1, 0.6])
    pair = Sample(first, None), Sample(second, None)
    found = collect(pair, margin=0.1)
    assert all(0.01 < look.p < 0.05 for look in found.looks)
    assert verdicts(found) == ["inconclusive"]
    assert verdicts(collect([sample.first(6) for sample in pair], most=0, margin=0.1)) == ["better"]


def test_a_fixed_number_of_seeds_has_one_look_at_the_ordinary_level():
    pair = drawn(0.91, 0.90, seeds=8)
    (look,) = collect(pair, most=0).looks
    assert (look.seeds, look.level, look.level_equivalence) == (8, pytest.approx(0.05), pytest.approx(0.05))
    found = collect(pair, most=0)
    assert found.p_sequential == (pytest.approx(significance.of_difference(*pair).largest),)
    assert found.p_equivalence_sequential == (pytest.approx(look.p_equivalence),)


def test_too_few_seeds_have_no_look():
    pair = drawn(0.9, 0.5, seeds=5)
    assert collect(pair) == Evidence()
    assert collect([sample.first(1) for sample in pair], most=0) == Evidence()


def test_the_images_count_in_the_difference_and_in_the_family():
    """Tests over seeds alone are certain of a difference that the images may have caused."""
    pair = accuracies(*sure_of_these_images())
    found = collect(pair, most=0)
    assert found.looks[0].p == significance.of_difference(*pair).seeds_and_images > 0.05
    assert verdicts(found) == ["inconclusive"]


def test_variants_that_never_differ_are_not_equivalent():
    """Zero variance is not certainty: six seeds that read the same 50 images correctly."""
    values = np.ones((6, 50), dtype=bool)
    sample = Sample(values.mean(axis=1), values)
    for most in (0, 36):
        assert verdicts(collect((sample, sample), most=most, margin=0.5)) == ["inconclusive"]


def test_one_test_image_decides_nothing():
    values = np.ones((12, 1), dtype=bool)
    found = collect((Sample(values.mean(axis=1), values), Sample(1 - values.mean(axis=1), ~values)))
    assert [look.p for look in found.looks] == [1.0, 1.0, 1.0]
    assert verdicts(found) == ["inconclusive"]


def test_equal_variants_with_small_variance_are_equivalent_at_the_first_look():
    found = collect(accuracies(*nested_pair(9_900, 9_900)))
    (decision,) = decide(found)
    assert (decision.verdict, decision.look.seeds) == ("equivalent", 6)
