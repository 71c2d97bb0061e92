"""The results of the comparisons as sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lenetlab.report.model import RegularizationEffect, Report
from lenetlab.statistics import intervals, measures
from lenetlab.statistics.comparison import Outcome
from lenetlab.statistics.formatting import duration
from lenetlab.statistics.measures import MEASURES

ANSWERS = {  # to the question whether the candidate is better, by verdict
    "better": "Yes",
    "worse": "No",
    "equivalent": "It makes no difference that matters",
    "inconclusive": "Not known yet",
}


@dataclass(frozen=True)
class Headline:
    """The answer about one pair of variants, as the page opens with it."""

    question: str
    answer: str
    verdict: str  # on the first measure
    sentences: list[str]  # one per measure

    @property
    def text(self) -> str:
        return " ".join([self.question, f"{self.answer}.", *self.sentences])


def headlines(report: Report) -> list[Headline]:
    """The pairs of the first family, each with all its measures."""
    first = [outcome for outcome in report.outcomes if outcome.family == report.outcomes[0].family]
    pairs: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in first:
        pairs.setdefault((outcome.candidate, outcome.baseline), []).append(outcome)
    return [_headline(outcomes, report) for outcomes in pairs.values()]


def result_sentence(outcome: Outcome, report: Report) -> str:
    """The result of one comparison, with interval, seeds and confounds."""
    confounds = f" The variants also differ in {'; '.join(outcome.confounds)}." if outcome.confounds else ""
    return f"{_result(outcome, report)}.{confounds}"


def open_comparisons(report: Report) -> list[str]:
    """What is open, and what would settle it: a sentence per kind of remedy."""
    steps = {step: [one for one in report.outcomes if one.next_step == step] for step in ("seeds", "most", "images")}
    sentences = []
    if steps["seeds"]:
        first, most = report.settle_seconds
        time = f" (about {duration(first)} of one processor core for the next look, at most {duration(most)} in all)"
        sentences.append(f"{_names(steps['seeds'])}: more seeds may settle it: make settle{time}.")
    if steps["most"]:
        sentences.append(f"{_names(steps['most'])}: as many seeds as params.yaml allows are used (settle.most).")
    if steps["images"]:
        sentences.append(f"{_names(steps['images'])}: more test images are needed (data.extra_test).")
    return sentences


def summary(report: Report) -> list[str]:
    """Lines to print: one for each variant with diverged seeds, one for each comparison, and what is open."""
    lines = [f"{variant.name}: diverged: {variant.diverged}" for variant in report.variants if variant.diverged]
    for outcome in report.outcomes:
        confounds = f"; confounded by {', '.join(outcome.confounds)}" if outcome.confounds else ""
        name = measures.name(outcome.measure, outcome.accuracy)
        lines.append(
            f"{outcome.candidate} vs {outcome.baseline}, {name}: {outcome.verdict}; {outcome.reason}{confounds}"
        )
        lines += [f"  {change}" for change in outcome.changes]
    return lines + [f"open: {sentence}" for sentence in open_comparisons(report)]


def _headline(outcomes: Sequence[Outcome], report: Report) -> Headline:
    candidate, baseline = outcomes[0].candidate, outcomes[0].baseline
    effect = _effect(candidate, baseline, report)
    question = f"Does regularisation help {baseline}?" if effect else f"Is {candidate} better than {baseline}?"
    sentences = [_result(outcome, report) + "." for outcome in outcomes]
    if effect:
        sentences.insert(0, f"{candidate} is {baseline} with {' and '.join(effect.regularizers)}.")
    if outcomes[0].confounds:
        sentences.append(f"The variants also differ in {'; '.join(outcomes[0].confounds)}.")
    return Headline(question, _answer(outcomes), outcomes[0].verdict, sentences)


def _answer(outcomes: Sequence[Outcome]) -> str:
    """One of ANSWERS, or several that name their measures: `Yes in test loss; not known yet in test accuracy`."""
    by_verdict: dict[str, list[str]] = {}
    for outcome in outcomes:
        by_verdict.setdefault(outcome.verdict, []).append(measures.name(outcome.measure, outcome.accuracy))
    if len(by_verdict) == 1:
        return ANSWERS[outcomes[0].verdict]
    parts = [f"{ANSWERS[verdict].lower()} in {_and(names)}" for verdict, names in by_verdict.items()]
    text = "; ".join(parts)
    return text[0].upper() + text[1:]


def _and(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if names[1:] else names[0]


def _effect(candidate: str, baseline: str, report: Report) -> RegularizationEffect | None:
    """If the two variants differ in nothing but regularisation."""
    effects = (one for one in report.effects if (one.variant, one.unregularized) == (candidate, baseline))
    return next(effects, None)


def _result(outcome: Outcome, report: Report) -> str:
    candidate, baseline, measure = outcome.candidate, outcome.baseline, MEASURES[outcome.measure]
    name = measures.name(outcome.measure, outcome.accuracy)
    variants = {variant.name: variant for variant in report.variants}
    open_question = f"Whether {candidate} and {baseline} differ in {name} is open"
    if outcome.difference is None or variants[candidate].diverged or variants[baseline].diverged:
        return f"{open_question}: {outcome.reason}"
    low, high = outcome.interval or (None, None)
    seeds = f"{outcome.seeds} seeds each" if outcome.seeds > 1 else intervals.ONE_SEED
    limits = f"95 % interval {measure.span((low, high))}; " if low is not None and high is not None else ""
    size, basis = measure.amount(abs(outcome.difference)), f"({limits}{seeds})"
    if outcome.verdict == "equivalent":
        margin = measure.amount(outcome.margin)
        return f"In {name}, {candidate} and {baseline} differ by less than {margin} {basis}"
    if outcome.verdict == "inconclusive":
        return f"{open_question}: the difference is {measure.signed(outcome.difference)} {measure.unit} {basis}"
    word = measure.better if outcome.verdict == "better" else measure.worse
    return f"{candidate} has a {word} {name} than {baseline}, by {size} {basis}"


def _names(outcomes: Sequence[Outcome]) -> str:
    """The pairs with their measures: `a vs b (test accuracy, test loss)`."""
    pairs = groupby(outcomes, key=lambda one: (one.candidate, one.baseline))
    return ", ".join(
        f"{candidate} vs {baseline} ({', '.join(measures.name(one.measure, one.accuracy) for one in group)})"
        for (candidate, baseline), group in pairs
    )
