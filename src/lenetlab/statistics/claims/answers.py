"""The answer to every statement, as claims.json holds them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

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
    MeasuredClaim,
    SumClaim,
)
from lenetlab.settings.claims import Statements
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
    exact: bool  # decided by counting; otherwise tested at 5 %
    report: str | None  # the name of the report that the statement is from
    report_note: str | None  # what kind of report it is and how it trained


def decide(
    statements: Statements,
    study: study_schema.Study,
    outcomes: Sequence[comparison.Outcome],
    evaluations: Path,
    costs: Mapping[str, Mapping[str, Any]],
) -> list[Answer]:
    """The answers in the order of the statements.

    Reads the evaluations of the study's variants that a statement names. `costs`: the variants of costs.json.
    """
    named = {getattr(claim, key, None) for claim in statements.claims for key in ("variant", "candidate", "baseline")}
    results = {
        name: read_results(evaluations / name)
        for name in study.study
        if name in named and (evaluations / name).is_dir()
    }
    evidence = Evidence(study, outcomes, results, costs, statements.resolution)
    found = []
    for claim in statements.claims:
        finding, report = _finding(claim, evidence), statements.report_of(claim)
        answer = Answer(
            id=claim.id,
            kind=claim.kind,
            statement=claim.statement,
            verdict=finding.verdict,
            found=finding.found,
            reason=finding.reason,
            exact=_is_exact(claim),
            report=report,
            report_note=statements.reports[report] if report else None,
        )
        found.append(answer)
    return found


def totals(answers: Sequence[Answer]) -> str:
    """How many statements have each verdict, how many are exact, and how many are tested."""
    counts = Counter(answer.verdict for answer in answers)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(ClaimVerdict) if counts[verdict])
    exact = sum(answer.exact for answer in answers)
    tested = sum(not answer.exact and answer.verdict != "not applicable" for answer in answers)
    return (
        f"{len(answers)} {'statement' if len(answers) == 1 else 'statements'}: {verdicts};"
        f" {exact} {'is' if exact == 1 else 'are'} exact, {tested} {'is' if tested == 1 else 'are'} tested at 5 % each"
    )


def _is_exact(claim: Claim) -> bool:
    """Whether counting decides. That a loss is impossible needs no result either."""
    impossible = isinstance(claim, LossClaim) and measurements.is_impossible(claim)
    return impossible or not isinstance(claim, MeasuredClaim)


def _finding(claim: Claim, evidence: Evidence) -> Finding:
    match claim:
        case CountClaim():
            return counts.parameter_count(claim, evidence.layers(claim.variant))
        case SumClaim():
            total = sum(claim.terms)
            return counts.compare_count(f"the terms add up to {total:,}", claim.value, total)
        case AccuracyClaim() | AccuraciesClaim():
            return measurements.reached(claim, evidence)
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
