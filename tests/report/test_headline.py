"""Sentences about comparisons."""

from dataclasses import replace

from lenetlab.report import headline


def test_a_sentence_states_difference_interval_seeds_and_images(report):
    first, second = report.outcomes
    low, high = first.interval
    assert headline.headline_sentence(first, report) == (
        f"lenet5 is better than mlp by {100 * first.difference:.2f} percentage points of test accuracy"
        f" (95 % interval over seeds and images {100 * low:.2f} to {100 * high:.2f}; 5 seeds each; 400 test images)."
    )
    assert headline.headline_sentence(second, report).startswith(
        "The comparison of lenet5-regularized with lenet5 is inconclusive: the difference is "
    )


def test_only_the_first_family_makes_headlines(report):
    other = replace(report.outcomes[1], family="ablation")
    changed = replace(report, outcomes=[report.outcomes[0], other])
    assert headline.headline_outcomes(changed) == report.outcomes[:1]


def test_a_worse_candidate_is_described_with_positive_numbers(report):
    outcome = replace(report.outcomes[0], difference=-0.005, interval=(-0.006, -0.004), verdict="worse")
    sentence = headline.headline_sentence(outcome, report)
    assert sentence.startswith("lenet5 is worse than mlp by 0.50 percentage points")
    assert "over seeds and images 0.40 to 0.60;" in sentence


def test_equivalence_has_a_sentence(report):
    outcome = replace(report.outcomes[1], difference=-0.000001, verdict="equivalent")
    assert headline.headline_sentence(outcome, report).startswith(
        "lenet5-regularized and lenet5 are equivalent: the difference is 0.00 percentage points"
    )


def test_a_sentence_names_confounds(report):
    outcome = replace(report.outcomes[0], confounds=["input.size 28 against 32", "parameters 1 against 2"])
    end = " The variants also differ in input.size 28 against 32; parameters 1 against 2."
    assert headline.headline_sentence(outcome, report).endswith(end)


def test_a_comparison_with_diverged_seeds_has_no_number_in_its_sentence(diverged_report):
    sentences = [headline.headline_sentence(outcome, diverged_report) for outcome in diverged_report.outcomes]
    reasons = [outcome.reason for outcome in diverged_report.outcomes]
    assert sentences == [
        f"The comparison of lenet5 with mlp is inconclusive: {reasons[0]}.",
        f"The comparison of lenet5-regularized with lenet5 is inconclusive: {reasons[1]}.",
    ]


def test_the_summary_has_a_line_per_comparison_and_per_variant_that_diverged(report, diverged_report):
    first = replace(report.outcomes[0], confounds=["input.size 28 against 32"])
    lines = headline.summary(replace(report, outcomes=[first]))
    assert lines == [f"lenet5 vs mlp: better; {first.reason}; confounded by input.size 28 against 32"]
    lines = headline.summary(diverged_report)
    assert [line.partition(":")[0] for line in lines] == [
        "mlp",
        "lenet5-regularized",
        "lenet5 vs mlp",
        "lenet5-regularized vs lenet5",
    ]
    assert lines[1] == "lenet5-regularized: diverged: 2 of 5 seeds (1 in epoch 1, 4 in epoch 3)"
