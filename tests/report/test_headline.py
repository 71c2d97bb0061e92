"""Sentences about comparisons."""

from dataclasses import replace

from lenetlab.report import headline

REGULARIZED = "lenet5-regularized"


def test_the_answer_says_what_is_better_by_how_much_and_on_which_measure(report):
    first = report.outcomes[0]
    low, high = first.interval
    answer = headline.headlines(report)[0]
    assert (answer.question, answer.answer) == ("Is lenet5 better than mlp?", "Yes")
    assert answer.sentences == [
        f"lenet5 has a higher test accuracy than mlp, by {100 * first.difference:.2f} percentage points"
        f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f}; 6 seeds each)."
    ]


def test_a_regularised_variant_answers_whether_regularisation_helps(report):
    accuracy, loss = report.outcomes[1:]
    better = [
        replace(accuracy, difference=0.0012, interval=(0.0005, 0.0019), verdict="better", seeds=12),
        replace(loss, difference=-0.0041, interval=(-0.0062, -0.002), verdict="better", seeds=9),
        replace(
            loss, measure="gap", difference=0.0035, interval=(0.003, 0.004), verdict="worse", margin=0.002, seeds=6
        ),
    ]
    (answer,) = headline.headlines(replace(report, outcomes=better))
    assert answer.text == (
        "Does regularisation help lenet5? Yes in test accuracy and test loss; no in gap between training and test"
        " accuracy. lenet5-regularized is lenet5 with batch normalisation and dropout 0.5."
        " lenet5-regularized has a higher test accuracy than lenet5, by 0.12 percentage points (95 % interval +0.05 to"
        " +0.19; 12 seeds each). lenet5-regularized has a lower test loss than lenet5, by 0.0041 nats (95 % interval"
        " −0.0062 to −0.0020; 9 seeds each). lenet5-regularized has a larger gap between training and test accuracy"
        " than lenet5, by 0.35 percentage points (95 % interval +0.30 to +0.40; 6 seeds each)."
    )


def test_one_verdict_has_a_short_answer(report):
    answers = {
        verdict: headline.headlines(replace(report, outcomes=[replace(report.outcomes[0], verdict=verdict)]))[0].answer
        for verdict in ("better", "worse", "equivalent", "inconclusive")
    }
    assert answers == {
        "better": "Yes",
        "worse": "No",
        "equivalent": "It makes no difference that matters",
        "inconclusive": "Not known yet",
    }


def test_only_the_first_family_makes_headlines(report):
    other = replace(report.outcomes[1], family="ablation")
    (answer,) = headline.headlines(replace(report, outcomes=[report.outcomes[0], other]))
    assert answer.question == "Is lenet5 better than mlp?"


def test_a_worse_candidate_is_described_with_a_positive_number(report):
    outcome = replace(report.outcomes[0], difference=-0.005, interval=(-0.006, -0.004), verdict="worse")
    sentence = headline.result_sentence(outcome, report)
    assert sentence.startswith(
        "lenet5 has a lower test accuracy than mlp, by 0.50 percentage points (95 % interval −0.60"
    )


def test_equivalence_is_described_by_its_margin(report):
    outcome = replace(report.outcomes[1], difference=-0.000001, verdict="equivalent")
    sentence = headline.result_sentence(outcome, report)
    assert sentence.startswith(
        "In test accuracy, lenet5-regularized and lenet5 differ by less than 0.25 percentage points (95 % interval "
    )


def test_an_open_question_has_a_sentence_with_the_difference(report):
    sentence = headline.result_sentence(report.outcomes[1], report)
    assert sentence.startswith(
        "Whether lenet5-regularized and lenet5 differ in test accuracy is open: the difference is "
    )


def test_a_sentence_names_confounds(report):
    outcome = replace(report.outcomes[0], confounds=["input.size 28 against 32", "parameters 1 against 2"])
    end = " The variants also differ in input.size 28 against 32; parameters 1 against 2."
    assert headline.result_sentence(outcome, report).endswith(end)
    (answer,) = headline.headlines(replace(report, outcomes=[outcome]))
    assert answer.text.endswith(end)


def test_open_comparisons_name_the_command_and_its_time(report):
    """Two open comparisons of one pair: 3 more seeds of both variants for the next look, 30 up to settle.most."""
    seconds = [report.variants[place].measured_costs["seconds_per_epoch"].mean for place in (0, 2)]
    assert report.settle_seconds == (3 * 3 * sum(seconds), 30 * 3 * sum(seconds))
    (sentence,) = headline.open_comparisons(replace(report, settle_seconds=(90.0, 1800.0)))
    assert sentence == (
        "lenet5-regularized vs lenet5 (test accuracy, test loss): more seeds may settle it: make settle"
        " (about 1.5 min of one processor core for the next look, at most 30 min in all)."
    )
    steps = [replace(report.outcomes[0], next_step=step) for step in ("most", "images", None, "training")]
    assert headline.open_comparisons(replace(report, outcomes=steps)) == [
        "lenet5 vs mlp (test accuracy): as many seeds as params.yaml allows are used (settle.most).",
        "lenet5 vs mlp (test accuracy): more test images are needed (data.extra_test).",
    ]


def test_a_comparison_with_diverged_seeds_has_no_number_in_its_sentence(diverged_report):
    sentences = [headline.result_sentence(outcome, diverged_report) for outcome in diverged_report.outcomes]
    reasons = [outcome.reason for outcome in diverged_report.outcomes]
    assert sentences == [
        f"Whether lenet5 and mlp differ in test accuracy is open: {reasons[0]}.",
        f"Whether lenet5-regularized and lenet5 differ in test accuracy is open: {reasons[1]}.",
        f"Whether lenet5-regularized and lenet5 differ in test loss is open: {reasons[2]}.",
    ]


def test_the_summary_has_a_line_per_comparison_and_per_variant_that_diverged(report, diverged_report):
    first = replace(report.outcomes[0], confounds=["input.size 28 against 32"], changes=["the margin was ..."])
    lines = headline.summary(replace(report, outcomes=[first]))
    assert lines == [
        f"lenet5 vs mlp, test accuracy: better; {first.reason}; confounded by input.size 28 against 32",
        "  the margin was ...",
    ]
    lines = headline.summary(diverged_report)
    assert [line.partition(":")[0] for line in lines] == [
        "mlp",
        "lenet5-regularized",
        "lenet5 vs mlp, test accuracy",
        "lenet5-regularized vs lenet5, test accuracy",
        "lenet5-regularized vs lenet5, test loss",
    ]
    assert lines[1] == "lenet5-regularized: diverged: 2 of 6 seeds (1 in epoch 1, 4 in epoch 3)"
