"""The study's answers to published statements: confirmed, refuted or undecided.

What paper and pencil can decide needs no training. A stated figure is held against what one more training would show, a
stated order against tests over the seeds. Each statement is judged alone: nothing is corrected for how many there are,
except what a declared comparison already corrects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from lenetlab.settings import schema
from lenetlab.settings.claims import (
    AccuraciesClaim,
    AccuracyClaim,
    AccuracyRelationClaim,
    AddedLayersClaim,
    Claim,
    CountClaim,
    CountDifferenceClaim,
    CountRelationClaim,
    DifferentSettingClaim,
    FigureRelationClaim,
    LayerCountClaim,
    LossClaim,
    SumClaim,
)
from lenetlab.statistics import comparison
from lenetlab.statistics.claims import counts, measurements
from lenetlab.statistics.claims.evidence import ClaimVerdict, Evidence, Finding, combine, read_results


@dataclass(frozen=True)
class Answer:
    """One statement and what the study says to it."""

    id: str
    kind: str
    statement: str
    verdict: ClaimVerdict
    found: str  # the figure, short; "–" where there is none
    reason: str  # a sentence without its full stop


def decide(
    stated: Sequence[Claim],
    study: schema.Study,
    outcomes: Sequence[comparison.Outcome],
    evaluations: Path,
    costs: Mapping[str, Mapping[str, Any]],
) -> list[Answer]:
    """The answer to every statement, in their order, from the evaluations of the study's variants and no others.

    `costs`: the variants of `costs.json`.
    """
    named = {getattr(claim, key, None) for claim in stated for key in ("variant", "candidate", "baseline")}
    read = {
        name: read_results(evaluations / name)
        for name in study.study
        if name in named and (evaluations / name).is_dir()
    }
    evidence = Evidence(study, outcomes, read, costs)
    return [Answer(claim.id, claim.kind, claim.statement, *astuple(_finding(claim, evidence))) for claim in stated]


def _finding(claim: Claim, evidence: Evidence) -> Finding:
    match claim:
        case CountClaim():
            return counts.parameter_count(claim, evidence.layers(claim.variant))
        case SumClaim():
            return counts.compare_count("the terms add up to", claim.value, sum(claim.terms))
        case AccuracyClaim() | AccuraciesClaim():
            return measurements.stated_figures(
                claim.variant, claim.values, evidence, claim.epoch, claim.within, claim.at_least
            )
        case AccuracyRelationClaim():
            return measurements.accuracy_relation(claim, evidence)
        case CountRelationClaim():
            return counts.relate_counts(claim, claim.expected, evidence.study)
        case CountDifferenceClaim():
            return counts.relate_counts(claim, claim.difference, evidence.study)
        case FigureRelationClaim():
            return combine(measurements.figure_relation(claim, measure, evidence) for measure in claim.measure)
        case LayerCountClaim():
            return counts.layer_counts(claim, evidence.layers(claim.variant))
        case AddedLayersClaim():
            return counts.added_layers(claim, evidence.layers(claim.candidate), evidence.layers(claim.baseline))
        case DifferentSettingClaim():
            return counts.different_setting(claim, evidence.study)
        case LossClaim():
            return measurements.stated_loss(claim, evidence)
