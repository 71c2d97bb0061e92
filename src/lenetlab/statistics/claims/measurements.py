"""Statements that measurements decide: accuracies, losses, costs, and relations between two variants.

A stated value is compared with what one more training would show, a stated relation with the declared comparison or
tested over the seeds. Each statement is judged alone, without a correction for their number; declared comparisons keep
Holm's correction.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from lenetlab.settings.claim_schema import (
    AccuraciesClaim,
    AccuracyClaim,
    AccuracyRelationClaim,
    FigureRelationClaim,
    LossClaim,
    MeasuredLossClaim,
)
from lenetlab.statistics import comparison, formatting, intervals, significance
from lenetlab.statistics.claims import claim_text, counts
from lenetlab.statistics.claims.evidence import (
    ClaimVerdict,
    Evidence,
    Finding,
    VariantResults,
    combine,
    not_finite,
    undecided,
)
from lenetlab.statistics.measures import MEASURES
from lenetlab.statistics.verdict import Verdict

TIE = 1e-12  # limits that are closer are equal: far less than one image, far more than a rounding error


def reached(claim: AccuracyClaim | AccuraciesClaim, evidence: Evidence) -> Finding:
    """Accuracies that a variant reaches."""
    if other := evidence.on_other_data(claim.data):
        return other
    stated = dict[str, float](claim.values.items())
    return stated_values(claim.variant, stated, evidence, claim.epoch, claim.within, claim.at_least)


def stated_values(
    variant: str,
    stated: Mapping[str, float],
    evidence: Evidence,
    epoch: int | None = None,
    within: float | None = None,
    at_least: bool = False,
) -> Finding:
    """Stated values by measure; all of them must hold."""
    if incomplete := evidence.incomplete(variant):
        return incomplete
    results = evidence.evaluations[variant]
    if epoch and epoch > results.epochs:
        return undecided(
            f"{variant} was trained for {results.epochs} epochs only, so there is no result of epoch {epoch}"
        )
    parts = []
    for measure, value in stated.items():
        values = results.curve_values(measure, epoch)
        part = not_finite(variant, measure, values)
        if part is None and at_least:
            part = _mean_in_range(measure, values, value, math.inf)
        elif part is None and within is not None:
            part = _mean_in_range(measure, values, value - within, value + within)
        elif part is None:
            part = _one_more_training(measure, value, values, evidence.resolution)
        name = claim_text.MEASURES[measure].name
        parts.append(replace(part, found=f"{name} {part.found}") if len(stated) > 1 else part)
    return combine(parts)


def _one_more_training(measure: str, stated: float, values: Sequence[float], resolution: float) -> Finding:
    """Whether one more training may reach a stated value; that it may is no evidence that this value is typical."""
    mean, prediction = claim_text.figure(measure, statistics.mean(values)), intervals.prediction_interval(values)
    if prediction is None:
        return Finding("undecided", f"{mean}, one training", intervals.ONE_SEED)
    low, high = prediction
    half = claim_text.distance(measure, (high - low) / 2)
    found = f"{mean}, one more training {claim_text.interval(measure, low, high)} (± {half})"
    name = claim_text.MEASURES[measure].name
    interval = f"the 95 % prediction interval for the {name} of one more training ({len(values)} seeds)"
    text = claim_text.stated(measure, stated)
    if low <= stated <= high:
        if measure.endswith("accuracy") and (high - low) / 2 > resolution + TIE:
            limit = claim_text.distance(measure, resolution)
            reason = f"{text} lies inside {interval}, but ± {half} is wider than the resolution of {limit}"
            return Finding("undecided", found, reason)
        return Finding("consistent", found, f"{text} lies inside {interval}, ± {half}: not contradicted")
    distance, side = (low - stated, "below") if stated < low else (stated - high, "above")
    return Finding("refuted", found, f"{text} lies {claim_text.distance(measure, distance)} {side} {interval}")


def _mean_in_range(measure: str, values: Sequence[float], least: float, most: float) -> Finding:
    """Whether the 95 % interval of the mean lies in a range."""
    mean, interval = claim_text.figure(measure, statistics.mean(values)), intervals.mean_interval(np.sort(values))
    if interval is None:
        return Finding("undecided", f"{mean}, one training", intervals.ONE_SEED)
    low, high = interval
    verdict: ClaimVerdict
    if least - TIE <= low and high <= most + TIE:
        verdict, place = "confirmed", "completely inside"
    elif high < least - TIE or most + TIE < low:
        verdict, place = "refuted", "completely outside"
    else:
        verdict, place = "undecided", "only partly inside"
    limits = (
        f"{claim_text.stated(measure, least)} or more"
        if math.isinf(most)
        else f"{claim_text.stated(measure, least)} to {claim_text.stated(measure, most)}"
    )
    found = f"{mean}, 95 % interval of the mean {claim_text.interval(measure, low, high)}"
    name = claim_text.MEASURES[measure].name
    reason = f"the 95 % interval of the mean {name} ({len(values)} seeds) lies {place} the range of {limits}"
    return Finding(verdict, found, reason)


def accuracy_relation(claim: AccuracyRelationClaim, evidence: Evidence) -> Finding:
    """Better, worse or equivalent, and perhaps fewer or more parameters."""
    parts = [evidence.on_other_data(claim.data) or _accuracy_comparison(claim, evidence)]
    if claim.parameters:
        parts.append(counts.relate_counts(claim, claim.parameters, evidence.study))
    return combine(parts)


def _accuracy_comparison(claim: AccuracyRelationClaim, evidence: Evidence) -> Finding:
    outcome = _declared(claim.candidate, claim.baseline, "test_accuracy", None, evidence.outcomes)
    if outcome is None:
        return evidence.not_evaluated(claim.candidate, claim.baseline) or undecided(
            f"{claim.candidate} and {claim.baseline} are not compared; declare the pair under `comparisons`"
        )
    finding = _equivalence(outcome) if claim.expected == "equivalent" else _direction(claim.expected, outcome)
    notes = [finding.reason]
    for name in claim.alone:
        alone = _declared(name, claim.baseline, "test_accuracy", None, evidence.outcomes)
        result = f"{alone.verdict} ({_difference(alone)})" if alone else "not compared"
        notes.append(f"{name} alone: {result}")
    return replace(finding, reason="; ".join(notes))


def _declared(
    candidate: str, baseline: str, measure: str, accuracy: float | None, outcomes: Sequence[comparison.Outcome]
) -> comparison.Outcome | None:
    """The declared comparison of two variants by a measure, seen from this candidate; None if they are not compared."""
    for outcome in outcomes:
        if (outcome.measure, outcome.accuracy) != (measure, accuracy):
            continue
        if (outcome.candidate, outcome.baseline) == (candidate, baseline):
            return outcome
        if (outcome.candidate, outcome.baseline) == (baseline, candidate):
            return _reversed(outcome)
    return None


def _reversed(outcome: comparison.Outcome) -> comparison.Outcome:
    """The same comparison with candidate and baseline exchanged, as far as statements use it."""
    opposite: dict[str, Verdict] = {"better": "worse", "worse": "better"}
    return replace(
        outcome,
        candidate=outcome.baseline,
        baseline=outcome.candidate,
        difference=None if outcome.difference is None else -outcome.difference,
        interval=None if outcome.interval is None else (-outcome.interval[1], -outcome.interval[0]),
        verdict=opposite.get(outcome.verdict, outcome.verdict),
        reason=f"in the declared order, {outcome.candidate} against {outcome.baseline}: {outcome.reason}",
    )


def _difference(outcome: comparison.Outcome) -> str:
    measure = MEASURES[outcome.measure]
    return formatting.NONE if outcome.difference is None else f"{measure.signed(outcome.difference)} {measure.unit}"


def _direction(expected: Literal["better", "worse"], outcome: comparison.Outcome) -> Finding:
    """Refuted by the opposite verdict alone: of two equivalent variants, one can be better by less than the margin."""
    found, opposite = _difference(outcome), "worse" if expected == "better" else "better"
    if outcome.verdict == "equivalent":
        return Finding("undecided", found, f"equivalent: {outcome.reason}")
    answers: dict[str, ClaimVerdict] = {expected: "confirmed", opposite: "refuted"}
    return Finding(answers.get(outcome.verdict, "undecided"), found, outcome.reason)


def _equivalence(outcome: comparison.Outcome) -> Finding:
    """Confirmed by its own test, whatever the verdict; refuted if the variants differ by more than the margin."""
    found, p = _difference(outcome), outcome.p_equivalence_sequential_holm
    margin = MEASURES[outcome.measure].amount(outcome.margin)
    test = f"the test of equivalence gives p {formatting.p_equals(p)} after Holm's correction"
    if p < intervals.LEVEL:
        return Finding("confirmed", found, f"{test}, so the difference is smaller than the margin of {margin}")
    low, high = outcome.interval or (0.0, 0.0)
    if outcome.verdict in ("better", "worse") and (low > outcome.margin or high < -outcome.margin):
        where = f"the whole 95 % interval lies outside the margin of ± {margin}"
        return Finding("refuted", found, f"{where}; {outcome.reason}")
    return Finding("undecided", found, f"{test}; {outcome.reason}")


def value_relation(claim: FigureRelationClaim, measure: str, evidence: Evidence) -> Finding:
    """Less or more by the declared comparison; without one, if both tests, over seeds or rounds, find a difference."""
    if other := evidence.on_other_data(claim.data):
        return other
    names = claim.candidate, claim.baseline
    accuracy = claim.accuracy if measure == "epochs_to" else None
    if outcome := _declared(*names, measure, accuracy, evidence.outcomes):
        finding = _direction("better" if claim.expected == "less" else "worse", outcome)  # better: lower
        return replace(finding, found=f"{_name(claim, measure)}: {finding.found}")
    cost = claim_text.MEASURES[measure].cost
    if missing := evidence.not_evaluated(*names) if cost else evidence.incomplete(*names):
        return missing
    note = ""
    if cost:
        for name in names:
            if name not in evidence.costs:
                return undecided(f"the cost of {name} has not been measured yet; run `dvc repro cost`")
        repeats, label = "rounds", claim_text.MEASURES[measure].name
        samples = [evidence.costs[name][cost] for name in names]
    else:
        repeats = "seeds"
        label, samples, note = _samples(claim, measure, [evidence.evaluations[name] for name in names])
    for name, values in zip(names, samples, strict=True):
        if lacking := not_finite(name, measure, values):
            return lacking
    means = [statistics.mean(values) for values in samples]
    found = f"{label}: {claim_text.pair(measure, *means)}"
    if min(map(len, samples)) < 2:
        return Finding("undecided", found, intervals.ONE_SEED)
    p_welch, p_permutation = significance.welch_p(*samples), significance.permutation_p(*map(np.array, samples))
    tests = (
        f"({len(samples[0])} {repeats} each; Welch's test p {formatting.p_equals(p_welch)},"
        f" permutation test p {formatting.p_equals(p_permutation)}){note}"
    )
    if max(p_welch, p_permutation) >= intervals.LEVEL:
        return Finding("undecided", found, f"the difference in {label} could be due to chance {tests}")
    order, text = ("less", "lower") if means[0] < means[1] else ("more", "higher")
    verdict: ClaimVerdict = "confirmed" if order == claim.expected else "refuted"
    return Finding(verdict, found, f"{label} is {text} for {names[0]} than for {names[1]} {tests}")


def _samples(
    claim: FigureRelationClaim, measure: str, variants: Sequence[VariantResults]
) -> tuple[str, list[list[float]], str]:
    """What is measured; a value per seed for candidate and baseline; and a note to add to the reason."""
    name = _name(claim, measure)
    if measure == "gap":
        pairs = [
            zip(variant.training_set_values("accuracy"), variant.curve_values("test_accuracy"), strict=True)
            for variant in variants
        ]
        return name, [[training - test for training, test in pair] for pair in pairs], ""
    if measure == "epochs_to" and claim.accuracy is not None:
        most = min(variant.epochs for variant in variants)  # the same number of epochs for both
        samples = [variant.epochs_to(claim.accuracy, most) for variant in variants]
        late = [f"{values.count(most + 1)} of {len(values)}" for values in samples]
        note = (
            f"; {late[0]} trainings of {claim.candidate} and {late[1]} of {claim.baseline} do not reach it and count as"
            f" {most + 1} epochs"
        )
        any_late = any(most + 1 in values for values in samples)
        return name, samples, note if any_late else ""
    if measure == "train_loss":
        samples = [variant.training_set_values("loss") for variant in variants]
        if all(math.isfinite(value) for values in samples for value in values):
            return f"{name} in evaluation mode", samples, ""
        name = f"{name} while training"
    return name, [variant.curve_values(measure) for variant in variants], ""


def _name(claim: FigureRelationClaim, measure: str) -> str:
    name = claim_text.MEASURES[measure].name
    if measure == "epochs_to" and claim.accuracy is not None:
        return f"{name} to {claim_text.stated('test_accuracy', claim.accuracy)}"
    return name


def is_impossible(claim: LossClaim) -> bool:
    """Whether no network can have this loss at this accuracy."""
    return claim.loss < _least_loss(claim.accuracy)


def _least_loss(accuracy: float) -> float:
    """A misread image gives its label at most half of the probability, so its loss is at least ln 2."""
    return (1 - accuracy) * math.log(2)


def stated_loss(claim: LossClaim, evidence: Evidence) -> Finding:
    """Refuted if it is impossible; otherwise compared with the results of the variant, if one is named."""
    misread = claim_text.stated("test_accuracy", 1 - claim.accuracy)
    bound = f"at least {_least_loss(claim.accuracy):.4f}"
    mean = f"{misread} misread images give a mean loss of {bound}"
    if is_impossible(claim):
        return Finding("refuted", bound, f"impossible: each misread image has a loss of at least ln 2, so {mean}")
    if not isinstance(claim, MeasuredLossClaim):
        return Finding("undecided", bound, f"possible, as {mean}; name a variant to compare it with measured losses")
    if other := evidence.on_other_data(claim.data):
        return other
    return stated_values(claim.variant, {"test_loss": claim.loss, "test_accuracy": claim.accuracy}, evidence)
