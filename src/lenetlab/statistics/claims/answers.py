"""The answer to every statement of claims.yaml, as claims.json holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from lenetlab.settings import study_schema
from lenetlab.settings.claim_schema import (
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
    """A statement and the study's answer, with the keys of claims.json."""

    id: str
    kind: str
    statement: str
    verdict: ClaimVerdict
    found: str  # the measured or counted value, short; "–" if there is none
    reason: str  # a sentence without its full stop


def decide(
    claims: Sequence[Claim],
    study: study_schema.Study,
    outcomes: Sequence[comparison.Outcome],
    evaluations: Path,
    costs: Mapping[str, Mapping[str, Any]],
) -> list[Answer]:
    """The answers in the order of the statements.

    Reads the evaluations of the study's variants that a statement names. `costs`: the variants of costs.json.
    """
    named = {getattr(claim, key, None) for claim in claims for key in ("variant", "candidate", "baseline")}
    results = {
        name: read_results(evaluations / name)
        for name in study.study
        if name in named and (evaluations / name).is_dir()
    }
    evidence = Evidence(study, outcomes, results, costs)
    return [Answer(claim.id, claim.kind, claim.statement, *astuple(_finding(claim, evidence))) for claim in claims]


def _finding(claim: Claim, evidence: Evidence) -> Finding:
    match claim:
        case CountClaim():
            return counts.parameter_count(claim, evidence.layers(claim.variant))
        case SumClaim():
            total = sum(claim.terms)
            return counts.compare_count(f"the terms add up to {total:,}", claim.value, total)
        case AccuracyClaim() | AccuraciesClaim():
            stated = dict[str, float](claim.values.items())
            return measurements.stated_values(
                claim.variant, stated, evidence, claim.epoch, claim.within, claim.at_least
            )
        case AccuracyRelationClaim():
            return measurements.accuracy_relation(claim, evidence)
        case CountRelationClaim():
            return counts.relate_counts(claim, claim.expected, evidence.study)
        case CountDifferenceClaim():
            return counts.relate_counts(claim, claim.difference, evidence.study)
        case FigureRelationClaim():
            return combine(measurements.value_relation(claim, measure, evidence) for measure in claim.measure)
        case LayerCountClaim():
            return counts.layer_counts(claim, evidence.layers(claim.variant))
        case AddedLayersClaim():
            return counts.added_layers(claim, evidence.layers(claim.candidate), evidence.layers(claim.baseline))
        case DifferentSettingClaim():
            return counts.different_setting(claim, evidence.study)
        case LossClaim():
            return measurements.stated_loss(claim, evidence)
