"""The study's answers to published statements: confirmed, refuted or undecided.

What paper and pencil can decide needs no training. A stated figure is held against what one more training would show, a
stated order against tests over the seeds. Each statement is judged alone: nothing is corrected for how many there are,
except what a declared comparison already corrects.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from lenetlab.settings.claims import AccuracyRelationClaim, FigureRelationClaim, LossClaim
from lenetlab.statistics import comparison, intervals, significance
from lenetlab.statistics.claims import claim_text, counts
from lenetlab.statistics.claims.evidence import Evidence, Finding, VariantResults, combine, missing_figures


def stated_figures(
    variant: str,
    stated: Mapping[str, float],
    evidence: Evidence,
    epoch: int | None = None,
    within: float | None = None,
    at_least: bool = False,
) -> Finding:
    """Stated figures by measure, all of which must hold."""
    if unknown := evidence.unknown(variant):
        return unknown
    evaluation = evidence.evaluations[variant]
    if epoch and epoch > evaluation.epochs:
        reason = f"{variant} was trained for {evaluation.epochs} epochs, so nothing is known of epoch {epoch}"
        return Finding("undecided", "–", reason)
    parts = []
    for measure, value in stated.items():
        values = evaluation.figures(measure, epoch)
        part = missing_figures(variant, measure, values) or _figure(measure, value, values, within, at_least)
        parts.append(replace(part, found=f"{claim_text.WORDS[measure]} {part.found}") if len(stated) > 1 else part)
    return combine(parts)


def _figure(measure: str, stated: float, values: list[float], within: float | None, at_least: bool) -> Finding:
    mean = claim_text.figure(measure, statistics.mean(values))
    over = f"{claim_text.WORDS[measure]} over {len(values)} seeds"
    if len(values) < 2:
        return Finding("undecided", f"{mean}, one training", claim_text.ONE_SEED)
    if within is None and not at_least:
        low, high = intervals.prediction_interval(values)
        found = f"{mean}, one more training {claim_text.interval(measure, low, high)}"
        interval = f"the 95 % prediction interval of {over}"
        if low <= stated <= high:
            return Finding("confirmed", found, f"{claim_text.stated(measure, stated)} lies inside {interval}")
        distance, side = (low - stated, "below") if stated < low else (stated - high, "above")
        away = claim_text.figure("gap" if measure != "test_loss" else measure, distance)
        return Finding("refuted", found, f"{claim_text.stated(measure, stated)} lies {away} {side} {interval}")
    low, high = intervals.mean_interval(np.sort(values))
    if at_least:
        least, most, target = stated, math.inf, f"the range from {claim_text.stated(measure, stated)}"
    else:
        least, most = stated - within, stated + within
        target = f"{claim_text.stated(measure, least)} to {claim_text.stated(measure, most)}"
    if least - claim_text.TIE <= low and high <= most + claim_text.TIE:
        verdict, place = "confirmed", "wholly inside"
    elif high < least - claim_text.TIE or most + claim_text.TIE < low:
        verdict, place = "refuted", "wholly outside"
    else:
        verdict, place = "undecided", "partly inside, partly outside"
    found = f"{mean}, 95 % interval of the mean {claim_text.interval(measure, low, high)}"
    return Finding(verdict, found, f"the 95 % interval of the mean {over} lies {place} {target}")


def accuracy_relation(claim: AccuracyRelationClaim, evidence: Evidence) -> Finding:
    parts = [_compared(claim, evidence)]
    if claim.parameters:
        parts.append(counts.relate_counts(claim, claim.parameters, evidence.study))
    return combine(parts)


def _compared(claim: AccuracyRelationClaim, evidence: Evidence) -> Finding:
    """As the declared comparison says, in whichever order it names the two."""
    verdict, points, reason = _outcome(claim.candidate, claim.baseline, evidence.outcomes)
    if verdict is None:
        undeclared = f"no comparison of {claim.candidate} with {claim.baseline} is made; declare it under `comparisons`"
        return evidence.missing(claim.candidate, claim.baseline) or Finding("undecided", "–", undeclared)
    for name in claim.alone:
        found, gain, _ = _outcome(name, claim.baseline, evidence.outcomes)
        told = f"{found} ({gain})" if found else "not compared"
        reason += f"; {name} alone is {told}"
    answer = {claim.expected: "confirmed", "inconclusive": "undecided"}.get(verdict, "refuted")
    return Finding(answer, points, reason)


def _outcome(candidate: str, baseline: str, outcomes: Sequence[comparison.Outcome]) -> tuple[str | None, str, str]:
    """Verdict, difference and reason, seen from the candidate; no verdict if the two are not compared."""
    for outcome in outcomes:
        if (outcome.candidate, outcome.baseline) == (candidate, baseline):
            return outcome.verdict, claim_text.gain(outcome.difference), outcome.reason
        if (outcome.candidate, outcome.baseline) == (baseline, candidate):
            verdict = {"better": "worse", "worse": "better"}.get(outcome.verdict, outcome.verdict)
            reason = f"as declared, {baseline} against {candidate}: {outcome.reason}"
            return verdict, claim_text.gain(outcome.difference, -1), reason
    return None, "–", ""


def figure_relation(claim: FigureRelationClaim, measure: str, evidence: Evidence) -> Finding:
    """Less or more only where both tests, over the seeds or rounds, agree that there is a difference."""
    names = claim.candidate, claim.baseline
    if unknown := evidence.missing(*names) if measure in claim_text.COSTS else evidence.unknown(*names):
        return unknown
    repeats = "seeds"
    if measure in claim_text.COSTS:
        for name in names:
            if name not in evidence.costs:
                return Finding("undecided", "–", f"what {name} costs is not measured yet; `dvc repro cost` does it")
        repeats, word, note = "rounds", claim_text.WORDS[measure], ""
        figures = [evidence.costs[name][claim_text.COSTS[measure]] for name in names]
    else:
        word, figures, note = _sides(claim, measure, [evidence.evaluations[name] for name in names])
    for name, values in zip(names, figures, strict=True):
        if lacking := missing_figures(name, measure, values):
            return lacking
    means = [statistics.mean(values) for values in figures]
    found = f"{word}: {claim_text.figure(measure, means[0], unit=False)} against {claim_text.figure(measure, means[1])}"
    if min(map(len, figures)) < 2:
        return Finding("undecided", found, claim_text.ONE_SEED)
    p_welch, p_permutation = _welch(*figures), significance.permutation_p(*map(np.array, figures))
    tests = (
        f"over {len(figures[0])} {repeats} each (Welch's test p {claim_text.p_equals(p_welch)}, permutation test p"
        f" {claim_text.p_equals(p_permutation)})"
    )
    if max(p_welch, p_permutation) >= intervals.LEVEL:
        return Finding("undecided", found, f"chance may have made the difference in {word} {tests}{note}")
    order = "less" if means[0] < means[1] else "more"
    verdict = "confirmed" if order == claim.expected else "refuted"
    return Finding(verdict, found, f"{word} is {order} for {names[0]} than for {names[1]} {tests}{note}")


def _sides(claim: FigureRelationClaim, measure: str, sides: list[VariantResults]) -> tuple[str, list[list[float]], str]:
    """What is measured, in words; a figure per seed for candidate and baseline; and what is to be said about them."""
    if measure == "gap":
        pairs = [zip(side.learnt("accuracy"), side.figures("test_accuracy"), strict=True) for side in sides]
        return claim_text.WORDS[measure], [[learnt - tested for learnt, tested in pair] for pair in pairs], ""
    if measure == "epochs_to":
        most = min(side.epochs for side in sides)  # neither side may have longer to arrive
        figures = [side.epochs_to(claim.accuracy, most) for side in sides]
        late = [f"{values.count(most + 1)} of {len(values)}" for values in figures]
        note = f"; {late[0]} and {late[1]} trainings do not reach it and count as {most + 1} epochs"
        never = any(most + 1 in values for values in figures)
        return f"number of epochs to {claim_text.stated('accuracy', claim.accuracy)}", figures, note if never else ""
    if measure == "train_loss":
        learnt = [side.learnt("loss") for side in sides]
        if all(math.isfinite(value) for values in learnt for value in values):
            return "training loss in evaluation mode", learnt, ""
        return "training loss while training", [side.figures(measure) for side in sides], ""
    return claim_text.WORDS[measure], [side.figures(measure) for side in sides], ""


def stated_loss(claim: LossClaim, evidence: Evidence) -> Finding:
    """A misread image gives its label at most half of the probability, so it costs at least ln 2."""
    least = (1 - claim.accuracy) * math.log(2)
    wrong, bound = claim_text.stated("accuracy", 1 - claim.accuracy), f"at least {least:.4f}"
    if claim.loss < least:
        reason = f"impossible: each misread image costs at least ln 2, and {wrong} of them make a mean of {bound}"
        return Finding("refuted", bound, reason)
    if claim.variant is None:
        return Finding(
            "undecided", bound, f"it is possible, for {wrong} misread images cost {bound}; name a variant to measure"
        )
    return stated_figures(claim.variant, {"test_loss": claim.loss, "test_accuracy": claim.accuracy}, evidence)


def _welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's p value, two-sided; also where no seed differs from another."""
    means = [statistics.mean(side) for side in (first, second)]
    spreads = [statistics.stdev(side) for side in (first, second)]
    if not any(spreads):
        return float(means[0] == means[1])
    sides = means[0], spreads[0], len(first), means[1], spreads[1], len(second)
    return float(stats.ttest_ind_from_stats(*sides, equal_var=False).pvalue)
