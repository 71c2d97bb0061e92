"""Statements that measurements decide: accuracies, losses, costs, and relations between two variants.

A stated value is compared with what one more training would show, a stated relation with tests over the seeds. Each
statement is judged alone, without a correction for their number; declared comparisons keep Holm's correction.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lenetlab.settings.claim_schema import AccuracyRelationClaim, FigureRelationClaim, LossClaim
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

TIE = 1e-12  # limits that are closer are equal: far less than one image, far more than a rounding error


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
        part = not_finite(variant, measure, values) or _stated_value(measure, value, values, within, at_least)
        name = claim_text.MEASURES[measure].name
        parts.append(replace(part, found=f"{name} {part.found}") if len(stated) > 1 else part)
    return combine(parts)


def _stated_value(
    measure: str, stated: float, values: Sequence[float], within: float | None, at_least: bool
) -> Finding:
    if at_least:
        return _mean_in_range(measure, values, stated, math.inf)
    if within is not None:
        return _mean_in_range(measure, values, stated - within, stated + within)
    mean, prediction = claim_text.figure(measure, statistics.mean(values)), intervals.prediction_interval(values)
    if prediction is None:
        return Finding("undecided", f"{mean}, one training", intervals.ONE_SEED)
    low, high = prediction
    found = f"{mean}, one more training {claim_text.interval(measure, low, high)}"
    name = claim_text.MEASURES[measure].name
    interval = f"the 95 % prediction interval for the {name} of one more training ({len(values)} seeds)"
    text = claim_text.stated(measure, stated)
    if low <= stated <= high:
        return Finding("confirmed", found, f"{text} lies inside {interval}")
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
    parts = [_declared_comparison(claim, evidence)]
    if claim.parameters:
        parts.append(counts.relate_counts(claim, claim.parameters, evidence.study))
    return combine(parts)


def _declared_comparison(claim: AccuracyRelationClaim, evidence: Evidence) -> Finding:
    """The verdict of the declared comparison, whichever of the two is its candidate."""
    verdict, points, reason = _outcome(claim.candidate, claim.baseline, evidence.outcomes)
    if verdict is None:
        return evidence.not_evaluated(claim.candidate, claim.baseline) or undecided(
            f"{claim.candidate} and {claim.baseline} are not compared; declare the pair under `comparisons`"
        )
    for name in claim.alone:
        alone, gain, _ = _outcome(name, claim.baseline, evidence.outcomes)
        reason += f"; {name} alone: {f'{alone} ({gain})' if alone else 'not compared'}"
    answers: dict[str, ClaimVerdict] = {claim.expected: "confirmed", "inconclusive": "undecided"}
    return Finding(answers.get(verdict, "refuted"), points, reason)


def _outcome(candidate: str, baseline: str, outcomes: Sequence[comparison.Outcome]) -> tuple[str | None, str, str]:
    """Verdict, difference and reason, seen from the candidate; no verdict if the two are not compared."""
    for outcome in outcomes:
        if (outcome.candidate, outcome.baseline) == (candidate, baseline):
            return outcome.verdict, claim_text.gain(outcome.difference), outcome.reason
        if (outcome.candidate, outcome.baseline) == (baseline, candidate):
            verdict = {"better": "worse", "worse": "better"}.get(outcome.verdict, outcome.verdict)
            reason = f"in the declared order, {baseline} against {candidate}: {outcome.reason}"
            return verdict, claim_text.gain(outcome.difference, -1), reason
    return None, formatting.NONE, ""


def value_relation(claim: FigureRelationClaim, measure: str, evidence: Evidence) -> Finding:
    """Less or more only if both tests, over the seeds or the rounds of stage cost, find a difference."""
    names = claim.candidate, claim.baseline
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
    name = claim_text.MEASURES[measure].name
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
        return f"{name} to {claim_text.stated('test_accuracy', claim.accuracy)}", samples, note if any_late else ""
    if measure == "train_loss":
        samples = [variant.training_set_values("loss") for variant in variants]
        if all(math.isfinite(value) for values in samples for value in values):
            return f"{name} in evaluation mode", samples, ""
        name = f"{name} while training"
    return name, [variant.curve_values(measure) for variant in variants], ""


def stated_loss(claim: LossClaim, evidence: Evidence) -> Finding:
    """A misread image gives its label at most half of the probability, so its loss is at least ln 2."""
    least = (1 - claim.accuracy) * math.log(2)
    misread, bound = claim_text.stated("test_accuracy", 1 - claim.accuracy), f"at least {least:.4f}"
    mean = f"{misread} misread images give a mean loss of {bound}"
    if claim.loss < least:
        return Finding("refuted", bound, f"impossible: each misread image has a loss of at least ln 2, so {mean}")
    if claim.variant is None:
        return Finding("undecided", bound, f"possible, as {mean}; name a variant to compare it with measured losses")
    return stated_values(claim.variant, {"test_loss": claim.loss, "test_accuracy": claim.accuracy}, evidence)
