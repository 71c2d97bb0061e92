"""The rule: from the p values of a family of comparisons to better, worse, equivalent or inconclusive.

docs/statistics.md states it. A verdict is a function of the results and the declarations alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lenetlab.statistics import difference, intervals, significance
from lenetlab.statistics.measures import Sample
from lenetlab.statistics.sequential import Plan

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class Look:
    """One comparison with the first seeds of each side."""

    seeds: int
    difference: float
    p: float  # the largest of three tests
    level: float  # at which p decides, if the comparison gets the strictest share of its family
    p_equivalence: float
    level_equivalence: float


@dataclass(frozen=True)
class Evidence:
    """All looks at one comparison, with the smallest family error at which a look so far decides."""

    looks: tuple[Look, ...] = ()
    p_sequential: tuple[float, ...] = ()
    p_equivalence_sequential: tuple[float, ...] = ()

    def looks_with(self, seeds: int) -> int:
        """How many looks need no more than this number of seeds."""
        return sum(look.seeds <= seeds for look in self.looks)


@dataclass(frozen=True)
class Decision:
    """The verdict on one comparison, and the p values of the look that decided or the last."""

    verdict: Verdict
    look: Look | None  # None if there are too few seeds for one
    p_sequential: float
    p_sequential_holm: float
    p_equivalence_sequential: float
    p_equivalence_sequential_holm: float


def collect_evidence(
    candidate: Sample, baseline: Sample, margin: float, comparisons: int, plan: Plan, answers_are_counts: bool
) -> Evidence:
    """The looks at one comparison of a family of this size; those that need more seeds than there are are left out."""
    alpha = intervals.LEVEL / comparisons
    looks, ratios = list[Look](), list[float]()
    for number, seeds in enumerate(plan.looks, start=1):
        pair = candidate.first(seeds), baseline.first(seeds)
        components, gain = difference.variance_components(*pair), difference.mean_difference(*pair)
        if gain is None:
            break
        ratios.append(components.ratio if components else 0.0)
        so_far = replace(plan, looks=plan.looks[:number])
        looks.append(
            Look(
                seeds=seeds,
                difference=gain,
                p=significance.of_difference(*pair).largest,
                level=so_far.levels(ratios[-1], alpha)[-1],
                p_equivalence=significance.of_equivalence(*pair, margin, answers_are_counts),
                level_equivalence=so_far.levels(ratios[-1], alpha, sides=1)[-1],
            )
        )
    return Evidence(
        looks=tuple(looks),
        p_sequential=tuple(plan.sequential_p(ratios, [look.p for look in looks])),
        p_equivalence_sequential=tuple(plan.sequential_p(ratios, [look.p_equivalence for look in looks], sides=1)),
    )


def decide(family: Sequence[Evidence], lower_is_better: Sequence[bool]) -> list[Decision]:
    """The verdicts on a family, look by look: the first verdict stands, and better or worse comes before equivalent.

    Holm's correction over sequential p values: Maurer & Bretz 2013; docs/statistics.md.
    """
    decisions: list[Decision | None] = [None] * len(family)
    for seeds in sorted({look.seeds for one in family for look in one.looks}) or [0]:
        counts = [one.looks_with(seeds) for one in family]
        p_values = [one.p_sequential[count - 1] if count else 1.0 for one, count in zip(family, counts, strict=True)]
        p_equivalence = [
            one.p_equivalence_sequential[count - 1] if count else 1.0 for one, count in zip(family, counts, strict=True)
        ]
        corrected, corrected_equivalence = significance.holm(p_values), significance.holm(p_equivalence)
        for place, (one, count) in enumerate(zip(family, counts, strict=True)):
            known = decisions[place]
            if known and known.verdict != "inconclusive":
                continue
            verdict: Verdict = "inconclusive"
            look = one.looks[count - 1] if count else None
            if corrected[place] < intervals.LEVEL:
                look = _decisive(one, one.p_sequential[:count])
                verdict = "better" if (look.difference < 0) == lower_is_better[place] else "worse"
            elif corrected_equivalence[place] < intervals.LEVEL:
                look = _decisive(one, one.p_equivalence_sequential[:count])
                verdict = "equivalent"
            decisions[place] = Decision(
                verdict=verdict,
                look=look,
                p_sequential=p_values[place],
                p_sequential_holm=corrected[place],
                p_equivalence_sequential=p_equivalence[place],
                p_equivalence_sequential_holm=corrected_equivalence[place],
            )
    return [decision for decision in decisions if decision]


def _decisive(evidence: Evidence, so_far: Sequence[float]) -> Look:
    """The look with the smallest sequential p value; an earlier one if other verdicts passed alpha on."""
    return evidence.looks[so_far.index(so_far[-1])]
