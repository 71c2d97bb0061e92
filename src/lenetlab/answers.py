"""The study's answers to published statements: confirmed, refuted or undecided.

What paper and pencil can decide needs no training. A stated figure is held against what one more training would show, a
stated order against tests over the seeds. Each statement is judged alone: nothing is corrected for how many there are,
except what a declared comparison already corrects.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from lenetlab import comparison, curves, params, reading, wording
from lenetlab.claims import (
    Accuracies,
    Accuracy,
    AccuracyRelation,
    AddedLayers,
    Claim,
    Count,
    CountDifference,
    CountRelation,
    DifferentSetting,
    FigureRelation,
    LayersOfKinds,
    Loss,
    Pair,
    Sum,
)

ABOUT = 10  # per cent: how far a difference may be from the stated one
TIE = 1e-12  # limits that are closer are equal: far less than one image, far more than a double's last digits
BIASED = ("Conv2d", "PartialConv2d", "Linear")  # kinds of layers with a bias for each output
ONE_SEED = "one seed shows nothing of how much another training would differ"
WORDS = {
    "test_accuracy": "test accuracy",
    "train_accuracy": "training accuracy",
    "validation_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "gap": "gap between training and test accuracy",
    "epochs_to": "number of epochs",
    "seconds": "time of an epoch",
    "memory": "peak memory of a training process",
    "latency": "time to read an image",
}
COSTS = {  # measures of costs.json
    "seconds": "seconds_per_epoch",
    "memory": "process_memory_bytes",
    "latency": "latency_seconds",
}
Verdict = Literal["confirmed", "refuted", "undecided"]


@dataclass(frozen=True)
class Answer:
    """One statement and what the study says to it."""

    id: str
    kind: str
    statement: str
    verdict: Verdict
    found: str  # the figure, short; "–" where there is none
    reason: str  # a sentence without its full stop


@dataclass(frozen=True)
class Finding:
    """The answer to one part of a statement."""

    verdict: Verdict
    found: str
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """What the trainings of one variant reached that finished."""

    layers: list[dict[str, Any]]
    curves: dict[int, dict[int, dict[str, str]]]  # rows of curves.csv by seed and epoch
    training_set: dict[int, dict[str, float]]  # by seed: loss and accuracy at the end, in evaluation mode
    diverged: list[int]  # the seeds that did not finish

    @property
    def epochs(self) -> int:
        return min(max(rows) for rows in self.curves.values())

    def figures(self, measure: str, epoch: int | None = None) -> list[float]:
        """One per seed, after that epoch or the last; not a number where there is none."""
        return [_number(rows[epoch or self.epochs].get(measure)) for rows in self.curves.values()]

    def learnt(self, measure: str) -> list[float]:
        """One per seed, on the training images in evaluation mode; not a number where there is none."""
        return [_number(self.training_set.get(seed, {}).get(measure)) for seed in self.curves]

    def epochs_to(self, accuracy: float, most: int) -> list[int]:
        """The first epoch, per seed, whose test accuracy reaches that; `most` + 1 where none up to `most` does."""
        return [
            next((epoch for epoch in range(1, most + 1) if _number(rows[epoch]["test_accuracy"]) >= accuracy), most + 1)
            for rows in self.curves.values()
        ]


@dataclass(frozen=True)
class Evidence:
    """All that a statement may be held against."""

    study: params.Study
    outcomes: Sequence[comparison.Outcome]
    evaluations: Mapping[str, Evaluation]
    costs: Mapping[str, Mapping[str, Any]]  # costs.json, by variant: a figure per round for each measure

    def layers(self, name: str) -> list[dict[str, Any]]:
        """The layer table of any variant of the catalogue, trained or not."""
        if name in self.evaluations:
            return self.evaluations[name].layers
        from lenetlab import models  # torch takes seconds, and a study of the whole catalogue does not need it here

        definition = self.study.variants[name]
        return models.layer_table(models.build(definition, seed=0), definition.input.size)

    def missing(self, *names: str) -> Finding | None:
        """That a variant is not evaluated, if so."""
        for name in names:
            if name not in self.study.study:
                reason = f"{name} is not in this study; `make study` trains the whole catalogue"
                return Finding("undecided", "–", reason)
            if name not in self.evaluations:
                return Finding("undecided", "–", f"{name} is not evaluated yet; `make repro` does it")
        return None

    def unknown(self, *names: str) -> Finding | None:
        """That a variant is not evaluated, or that what it reaches is not known since seeds of it diverged."""
        if missing := self.missing(*names):
            return missing
        sides = {name: self.evaluations[name] for name in names if self.evaluations[name].diverged}
        reasons = [
            wording.diverged(name, one.diverged, len(one.curves) + len(one.diverged)) for name, one in sides.items()
        ]
        return Finding("undecided", "–", "; ".join(reasons)) if reasons else None


def decide(
    stated: Sequence[Claim],
    study: params.Study,
    outcomes: Sequence[comparison.Outcome],
    evaluations: Path,
    costs: Mapping[str, Mapping[str, Any]],
) -> list[Answer]:
    """The answer to every statement, in their order, from the evaluations of the study's variants and no others.

    `costs`: the variants of `costs.json`.
    """
    named = {getattr(claim, key, None) for claim in stated for key in ("variant", "candidate", "baseline")}
    read = {
        name: _evaluation(evaluations / name) for name in study.study if name in named and (evaluations / name).is_dir()
    }
    evidence = Evidence(study, outcomes, read, costs)
    return [Answer(claim.id, claim.kind, claim.statement, *astuple(_finding(claim, evidence))) for claim in stated]


def prediction_interval(values: Sequence[float], level: float = 0.95) -> comparison.Interval:
    """Where the result of one more training lies, if results are normally distributed; None with fewer than two.

    Mean ± t·sd·√(1 + 1/n): Hahn and Meeker 1991, Statistical Intervals, chapter 4.
    """
    if len(values) < 2:
        return None
    spread = statistics.stdev(values) * math.sqrt(1 + 1 / len(values))
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * spread
    mean = statistics.mean(values)  # exact, so that the order of the seeds is of no account
    return mean - half, mean + half


def _finding(claim: Claim, evidence: Evidence) -> Finding:
    match claim:
        case Count():
            return _count(claim, evidence.layers(claim.variant))
        case Sum():
            return _sized("the terms add up to", claim.value, sum(claim.terms))
        case Accuracy() | Accuracies():
            return _figures(claim.variant, claim.values, evidence, claim.epoch, claim.within, claim.at_least)
        case AccuracyRelation():
            return _accuracy_relation(claim, evidence)
        case CountRelation():
            return _counts_related(claim, claim.expected, evidence.study)
        case CountDifference():
            return _counts_related(claim, claim.difference, evidence.study)
        case FigureRelation():
            return _together(_figure_relation(claim, measure, evidence) for measure in claim.measure)
        case LayersOfKinds():
            return _layers_of_kinds(claim, evidence.layers(claim.variant))
        case AddedLayers():
            return _added_layers(claim, evidence.layers(claim.candidate), evidence.layers(claim.baseline))
        case DifferentSetting():
            return _different_setting(claim, evidence.study)
        case Loss():
            return _loss(claim, evidence)


def _count(claim: Count, layers: list[dict[str, Any]]) -> Finding:
    """Paper and pencil: whole numbers that are right or wrong."""
    by_name = {layer["name"]: layer for layer in layers}
    counts = []
    if claim.value is not None:
        own = [layer["parameters"] for layer in layers if layer["parameters"]]
        total, terms = sum(own), " + ".join(f"{count:,}" for count in own)
        counts.append(_sized(f"{terms} add up to", claim.value, total, sum(map(_biases, layers))))
    for name, value in (claim.layers or {}).items():
        part = _sized(f"{name} has", value, by_name[name]["parameters"], _biases(by_name[name]))
        counts.append(replace(part, found=f"{name} {part.found}"))
    inputs = []
    for name, value in (claim.inputs or {}).items():
        reads = _reads(layers, name)
        verdict, but = ("confirmed", "") if reads == value else ("refuted", f", not {value:,}")
        inputs.append(Finding(verdict, f"{name} reads {reads:,}", f"{name} reads {reads:,}{but}"))
    found = _together([*counts, *inputs])
    # The statement is about one network: where its inputs are right, its counts are those of that very network.
    if inputs and found.verdict == "refuted" and all(part.verdict == "confirmed" for part in inputs):
        holds = " and ".join(part.reason for part in inputs)
        return replace(found, reason=f"both cannot hold: where {holds}, {found.reason}")
    return found


def _sized(subject: str, stated: int, found: int, biases: int = 0) -> Finding:
    """A stated whole number against the true one, and by what rule it may have come about."""
    if stated == found:
        return Finding("confirmed", f"{found:,}", f"{subject} {found:,}")
    if biases and stated == found - biases:
        how = f"{biases:,} of them biases, which are missing in the stated {stated:,}"
    elif stated and found and max(stated, found) % min(stated, found) == 0:
        factor = max(stated, found) // min(stated, found)
        times = "twice" if factor == 2 else f"{factor:,} times"
        how = (
            f"{times} the stated {stated:,}" if found > stated else f"and the stated {stated:,} is exactly {times} that"
        )
    else:
        how = f"{abs(found - stated):,} {'more' if found > stated else 'fewer'} than the stated {stated:,}"
    return Finding("refuted", f"{found:,}", f"{subject} {found:,}, {how}")


def _biases(layer: Mapping[str, Any]) -> int:
    return int(layer["output"].split("×")[0]) if layer["kind"] in BIASED else 0


def _reads(layers: list[dict[str, Any]], name: str) -> int:
    """Maps or values that a layer is given: what the one before it yields, and one map of pixels at first."""
    at = [layer["name"] for layer in layers].index(name)
    return int(layers[at - 1]["output"].split("×")[0]) if at else 1


def _figures(
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
        part = _not_finite(variant, measure, values) or _figure(measure, value, values, within, at_least)
        parts.append(replace(part, found=f"{WORDS[measure]} {part.found}") if len(stated) > 1 else part)
    return _together(parts)


def _figure(measure: str, stated: float, values: list[float], within: float | None, at_least: bool) -> Finding:
    mean = _shown_as(measure, statistics.mean(values))
    over = f"{WORDS[measure]} over {len(values)} seeds"
    if len(values) < 2:
        return Finding("undecided", f"{mean}, one training", ONE_SEED)
    if within is None and not at_least:
        low, high = prediction_interval(values)
        found = f"{mean}, one more training {_span(measure, low, high)}"
        interval = f"the 95 % prediction interval of {over}"
        if low <= stated <= high:
            return Finding("confirmed", found, f"{_as_stated(measure, stated)} lies inside {interval}")
        distance, side = (low - stated, "below") if stated < low else (stated - high, "above")
        away = _shown_as("gap" if measure != "test_loss" else measure, distance)
        return Finding("refuted", found, f"{_as_stated(measure, stated)} lies {away} {side} {interval}")
    low, high = comparison.mean_interval(np.sort(values))
    if at_least:
        least, most, target = stated, math.inf, f"the range from {_as_stated(measure, stated)}"
    else:
        least, most = stated - within, stated + within
        target = f"{_as_stated(measure, least)} to {_as_stated(measure, most)}"
    if least - TIE <= low and high <= most + TIE:
        verdict, place = "confirmed", "wholly inside"
    elif high < least - TIE or most + TIE < low:
        verdict, place = "refuted", "wholly outside"
    else:
        verdict, place = "undecided", "partly inside, partly outside"
    found = f"{mean}, 95 % interval of the mean {_span(measure, low, high)}"
    return Finding(verdict, found, f"the 95 % interval of the mean {over} lies {place} {target}")


def _accuracy_relation(claim: AccuracyRelation, evidence: Evidence) -> Finding:
    parts = [_compared(claim, evidence)]
    if claim.parameters:
        parts.append(_counts_related(claim, claim.parameters, evidence.study))
    return _together(parts)


def _compared(claim: AccuracyRelation, evidence: Evidence) -> Finding:
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
            return outcome.verdict, _gain(outcome.difference), outcome.reason
        if (outcome.candidate, outcome.baseline) == (baseline, candidate):
            verdict = {"better": "worse", "worse": "better"}.get(outcome.verdict, outcome.verdict)
            reason = f"as declared, {baseline} against {candidate}: {outcome.reason}"
            return verdict, _gain(outcome.difference, -1), reason
    return None, "–", ""


def _counts_related(claim: Pair, stated: str | int, study: params.Study) -> Finding:
    """Two numbers of parameters: similar, fewer, more, or about so many apart."""
    candidate, baseline = (study.variants[name].parameters for name in (claim.candidate, claim.baseline))
    apart, smaller = abs(candidate - baseline), min(candidate, baseline)
    if isinstance(stated, int):
        holds = 100 * abs(apart - stated) <= ABOUT * stated
        reason = f"they are {apart:,} apart, {'' if holds else 'not '}within {ABOUT} % of {stated:,}"
    elif stated == "similar":
        holds, ratio = 100 * apart <= comparison.SIMILAR * smaller, 1 + apart / smaller
        larger = f"{100 * (ratio - 1):.1f} % above" if ratio < 2 else f"{ratio:.1f} times"
        reason = f"the larger number is {larger} the smaller, and similar means at most {comparison.SIMILAR} %"
    else:
        holds = candidate < baseline if stated == "fewer" else candidate > baseline
        order = f"{apart:,} {'fewer' if candidate < baseline else 'more'} than" if apart else "as many as"
        reason = f"{claim.candidate} has {order} {claim.baseline}"
    found = f"{candidate:,} against {baseline:,} parameters"
    return Finding("confirmed" if holds else "refuted", found, reason)


def _figure_relation(claim: FigureRelation, measure: str, evidence: Evidence) -> Finding:
    """Less or more only where both tests, over the seeds or rounds, agree that there is a difference."""
    names = claim.candidate, claim.baseline
    if unknown := evidence.missing(*names) if measure in COSTS else evidence.unknown(*names):
        return unknown
    repeats = "seeds"
    if measure in COSTS:
        for name in names:
            if name not in evidence.costs:
                return Finding("undecided", "–", f"what {name} costs is not measured yet; `dvc repro cost` does it")
        repeats, word, note = "rounds", WORDS[measure], ""
        figures = [evidence.costs[name][COSTS[measure]] for name in names]
    else:
        word, figures, note = _sides(claim, measure, [evidence.evaluations[name] for name in names])
    for name, values in zip(names, figures, strict=True):
        if lacking := _not_finite(name, measure, values):
            return lacking
    means = [statistics.mean(values) for values in figures]
    found = f"{word}: {_shown_as(measure, means[0], unit=False)} against {_shown_as(measure, means[1])}"
    if min(map(len, figures)) < 2:
        return Finding("undecided", found, ONE_SEED)
    p_welch, p_permutation = _welch(*figures), comparison.divisions(*map(np.array, figures))
    tests = (
        f"over {len(figures[0])} {repeats} each (Welch's test p {_p(p_welch)}, permutation test p {_p(p_permutation)})"
    )
    if max(p_welch, p_permutation) >= comparison.LEVEL:
        return Finding("undecided", found, f"chance may have made the difference in {word} {tests}{note}")
    order = "less" if means[0] < means[1] else "more"
    verdict = "confirmed" if order == claim.expected else "refuted"
    return Finding(verdict, found, f"{word} is {order} for {names[0]} than for {names[1]} {tests}{note}")


def _sides(claim: FigureRelation, measure: str, sides: list[Evaluation]) -> tuple[str, list[list[float]], str]:
    """What is measured, in words; a figure per seed for candidate and baseline; and what is to be said about them."""
    if measure == "gap":
        pairs = [zip(side.learnt("accuracy"), side.figures("test_accuracy"), strict=True) for side in sides]
        return WORDS[measure], [[learnt - tested for learnt, tested in pair] for pair in pairs], ""
    if measure == "epochs_to":
        most = min(side.epochs for side in sides)  # neither side may have longer to arrive
        figures = [side.epochs_to(claim.accuracy, most) for side in sides]
        late = [f"{values.count(most + 1)} of {len(values)}" for values in figures]
        note = f"; {late[0]} and {late[1]} trainings do not reach it and count as {most + 1} epochs"
        never = any(most + 1 in values for values in figures)
        return f"number of epochs to {_as_stated('accuracy', claim.accuracy)}", figures, note if never else ""
    if measure == "train_loss":
        learnt = [side.learnt("loss") for side in sides]
        if all(math.isfinite(value) for values in learnt for value in values):
            return "training loss in evaluation mode", learnt, ""
        return "training loss while training", [side.figures(measure) for side in sides], ""
    return WORDS[measure], [side.figures(measure) for side in sides], ""


def _layers_of_kinds(claim: LayersOfKinds, layers: list[dict[str, Any]]) -> Finding:
    parts = []
    for kind, stated in claim.layers.items():
        names = [layer["name"] for layer in layers if layer["kind"] == kind]
        which = f" ({', '.join(names)})" if names else ""
        verdict, but = ("confirmed", "") if len(names) == stated else ("refuted", f", not {stated}")
        parts.append(Finding(verdict, f"{kind} {len(names)}", f"{claim.variant} has {len(names)} {kind}{which}{but}"))
    return _together(parts)


def _added_layers(claim: AddedLayers, candidate: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> Finding:
    added, more = {}, []
    for kind in dict.fromkeys([*claim.added, *(layer["kind"] for layer in candidate)]):
        ours, theirs = ([layer for layer in side if layer["kind"] == kind] for side in (candidate, baseline))
        added[kind] = len(ours) - len(theirs)
        if added[kind] > 0:
            weights = "with weights" if any(layer["parameters"] for layer in ours) else "without weights"
            more.append(f"{added[kind]} {kind} ({weights})")
    found = ", ".join(more) or "nothing"
    reason = f"what {claim.candidate} adds to {claim.baseline} is {found}"
    if all(added[kind] == count for kind, count in claim.added.items()):
        return Finding("confirmed", found, reason)
    stated = " and ".join(f"{count} {kind}" for kind, count in claim.added.items())
    return Finding("refuted", found, f"{reason}, not {stated}")


def _different_setting(claim: DifferentSetting, study: params.Study) -> Finding:
    block, key = claim.differs.split(".")
    shown = []
    for name in (claim.candidate, claim.baseline):
        settings = study.training_of(name) if block == "training" else getattr(study.variants[name], block)
        value = getattr(settings, key, "none")
        shown.append(", ".join(map(str, value)) if isinstance(value, tuple) else str(value).lower())
    first, second = shown
    if first == second:
        return Finding("refuted", f"{first} in both", f"{claim.differs} is {first} in both")
    reason = f"{claim.differs} is {first} in {claim.candidate} and {second} in {claim.baseline}"
    return Finding("confirmed", f"{first} against {second}", reason)


def _loss(claim: Loss, evidence: Evidence) -> Finding:
    """A misread image gives its label at most half of the probability, so it costs at least ln 2."""
    least = (1 - claim.accuracy) * math.log(2)
    wrong, bound = _as_stated("accuracy", 1 - claim.accuracy), f"at least {least:.4f}"
    if claim.loss < least:
        reason = f"impossible: each misread image costs at least ln 2, and {wrong} of them make a mean of {bound}"
        return Finding("refuted", bound, reason)
    if claim.variant is None:
        return Finding(
            "undecided", bound, f"it is possible, for {wrong} misread images cost {bound}; name a variant to measure"
        )
    return _figures(claim.variant, {"test_loss": claim.loss, "test_accuracy": claim.accuracy}, evidence)


def _together(parts: Iterable[Finding]) -> Finding:
    """One finding of several parts: refuted if one is, else undecided if one is; the reasons are those that decide."""
    parts = list(parts)
    verdict = next(v for v in ("refuted", "undecided", "confirmed") if v in {part.verdict for part in parts})
    found = dict.fromkeys(part.found for part in parts if part.found != "–")
    reasons = dict.fromkeys(part.reason for part in parts if part.verdict == verdict)
    return Finding(verdict, "; ".join(found) or "–", "; ".join(reasons))


def _not_finite(name: str, measure: str, values: Sequence[float]) -> Finding | None:
    """That a figure is missing, or its training has diverged."""
    lacking = [value for value in values if not math.isfinite(value)]
    if not lacking:
        return None
    return Finding(
        "undecided", "–", f"{len(lacking)} of {len(values)} trainings of {name} have no finite {WORDS[measure]}"
    )


def _welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's p value, two-sided; also where no seed differs from another."""
    means = [statistics.mean(side) for side in (first, second)]
    spreads = [statistics.stdev(side) for side in (first, second)]
    if not any(spreads):
        return float(means[0] == means[1])
    sides = means[0], spreads[0], len(first), means[1], spreads[1], len(second)
    return float(stats.ttest_ind_from_stats(*sides, equal_var=False).pvalue)


def _evaluation(folder: Path) -> Evaluation:
    stage = f"evaluate@{folder.name}"
    record = reading.record(folder / "variant.json", stage, "layers", "diverged")
    rows: dict[int, dict[int, dict[str, str]]] = {}
    with reading.named(folder / "curves.csv", stage):
        for row in reading.rows(folder / "curves.csv", stage, "seed", "epoch", *curves.MEASURES):
            rows.setdefault(int(row["seed"]), {})[int(row["epoch"])] = row
        if not rows and not record["diverged"]:
            raise ValueError("it has no rows")
    with reading.named(folder / "variant.json", stage):
        learnt = {int(seed): figures for seed, figures in record.get("training_set", {}).items()}
        return Evaluation(record["layers"], rows, learnt, [int(seed) for seed in record["diverged"]])


def _number(value: str | float | None) -> float:
    return math.nan if value in ("", None) else float(value)


def _shown_as(measure: str, value: float, unit: bool = True) -> str:
    """A measured figure, rounded for the eye."""
    if measure.endswith("accuracy"):
        text, of = f"{100 * value:.2f}", " %"
    elif measure == "gap":
        text, of = f"{100 * value:.2f}", " percentage points"
    elif measure == "epochs_to":
        text, of = f"{value:.1f}", ""
    elif measure == "memory":
        text, of = f"{value / 1e6:,.0f}", " MB"
    elif measure in COSTS:
        text, of = wording.duration(value), ""
    else:
        text, of = f"{value:.4f}", ""
    return text.replace("-", "−") + of * unit


def _span(measure: str, low: float, high: float) -> str:
    """An interval, no further than the figure can go."""
    most = 1.0 if measure.endswith("accuracy") else math.inf
    return f"{_shown_as(measure, max(low, 0.0), unit=False)} to {_shown_as(measure, min(high, most))}"


def _as_stated(measure: str, value: float) -> str:
    """A stated figure with the digits that it has."""
    return f"{100 * value:.6g} %" if measure.endswith("accuracy") else f"{value:.6g}"


def _gain(difference: float | None, sign: int = 1) -> str:
    """A difference of accuracies; a dash where no seed of a side finished."""
    return wording.NONE if difference is None else f"{wording.points(sign * difference)} percentage points"


def _p(value: float) -> str:
    return wording.p_value(value) if value < 0.0001 else f"= {wording.p_value(value)}"
