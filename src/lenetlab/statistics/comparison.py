"""Every comparison that params.yaml declares: its numbers and its verdict, as comparison.json holds them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lenetlab.errors import UserError
from lenetlab.evaluation import divergence
from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import messages, schema, study_schema
from lenetlab.statistics import difference, intervals, measures, power, reasons, significance
from lenetlab.statistics.measures import MEASURES, Sample
from lenetlab.statistics.sequential import Plan
from lenetlab.statistics.verdict import Decision, Evidence, Look, Verdict, collect_evidence, decide

SIMILAR = 5  # per cent: numbers of parameters that differ by no more are similar


@dataclass(frozen=True)
class Outcome:
    """One comparison, with the keys of comparison.json. Accuracies are fractions, losses nats per image.

    All numbers are about the first `seeds` seeds of each side that finished: those of the look that decided, or the
    last. If a seed of either variant diverged, the verdict ignores them.
    """

    candidate: str
    baseline: str
    family: str
    measure: study_schema.Measure
    accuracy: float | None  # to reach, for epochs_to
    margin: float  # of equivalence
    seeds: int
    difference: float | None  # candidate minus baseline; None if either has no finished seed
    interval_seeds: intervals.Interval  # 95 %, for other trainings on the same test images; None with one seed
    interval: intervals.Interval  # 95 %, for other trainings and other test images
    interval_equivalence: intervals.Interval  # the same at 90 %
    share_seeds: float | None  # part of the variance of the difference that seeds cause; images cause the rest
    looks: list[Look]
    p_welch: float
    p_permutation: float
    p_seeds_and_images: float
    p: float  # the largest of these
    p_sequential: float
    p_sequential_holm: float  # better or worse below 0.05
    p_equivalence_sequential: float
    p_equivalence_sequential_holm: float  # equivalent below 0.05
    verdict: Verdict
    reason: str
    next_step: reasons.NextStep | None  # what would help if the verdict is inconclusive
    next_seeds: int | None  # of each side, at the next look, if seeds would help
    confounds: list[str]  # what else differs between the variants, besides network and regularisation
    seeds_needed: int | None  # a look by which a verdict is likely on a difference of the margin or none; None: no look
    superiority: float | None  # probability that one training of the candidate beats one of the baseline; ties: half
    superiority_interval: intervals.Interval  # 95 %
    mcnemar: list[significance.McNemar]  # of test_accuracy only
    declared: dict[str, Any] = field(default_factory=dict)  # family, margin, most and seeds when results first existed
    changes: list[str] = field(default_factory=list)  # of these since, and what they cost


@dataclass(frozen=True)
class _Pair:
    """A declared comparison with the results of both sides."""

    declared: study_schema.DeclaredComparison
    predictions: tuple[Predictions, Predictions]  # candidate, baseline
    samples: tuple[Sample, Sample]
    diverged: tuple[str, ...]  # sentences about their diverged seeds

    @property
    def seeds(self) -> int:
        """Finished seeds of both sides."""
        return min(difference.seed_counts(*self.samples))


def compare(
    study: study_schema.Study, predictions: Mapping[str, Predictions], diverged: Mapping[str, Collection[int]]
) -> list[Outcome]:
    """The outcome of every declared comparison, in the order of the study.

    `predictions` of the seeds that finished, and the seeds that diverged, by variant. UserError if variants were
    evaluated on different images.
    """
    labels = [one.labels for one in predictions.values()]
    if any(not np.array_equal(one, labels[0]) for one in labels):
        raise UserError("evaluations: made on different test images; remedy: dvc repro")
    if gaps := _with_gaps(study, predictions):
        raise UserError(
            f"evaluations: epochs_to needs the test accuracy after every epoch, which is not known of"
            f" {messages.name_list(gaps)}; remedy: training.keep_weights: all, then dvc repro"
        )
    outcomes = []
    for family, declared in study.comparisons.items():
        pairs = [_pair(one, predictions, diverged) for one in declared]
        evidence = [_evidence(study, pair, len(pairs)) for pair in pairs]
        decisions = decide(evidence, [MEASURES[pair.declared.measure].lower_is_better for pair in pairs])
        outcomes += [_outcome(study, family, *one) for one in zip(pairs, evidence, decisions, strict=True)]
    return outcomes


def recommended(outcomes: Iterable[Outcome], accuracies: Mapping[str, float | None]) -> tuple[str, str]:
    """A variant and why: of those that a verdict on test accuracy calls better, and none worse, the most accurate.

    `accuracies` are the means of all variants. Without such a verdict it is the variant with the highest mean.
    """
    decided = [one for one in outcomes if one.measure == "test_accuracy" and one.verdict in ("better", "worse")]
    pairs = [
        (one.candidate, one.baseline) if one.verdict == "better" else (one.baseline, one.candidate) for one in decided
    ]
    undefeated = {winner for winner, _ in pairs} - {loser for _, loser in pairs}

    def most_accurate(names: Iterable[str]) -> str:
        return max(names, key=lambda name: -1.0 if (mean := accuracies[name]) is None else mean)

    if not undefeated:
        return most_accurate(accuracies), "it has the highest mean test accuracy; no verdict recommends a variant"
    best = most_accurate(name for name in accuracies if name in undefeated)
    beaten = " and ".join(dict.fromkeys(loser for winner, loser in pairs if winner == best))
    return best, f"its test accuracy is better than that of {beaten}, by a verdict, and worse than that of none"


def confounds(study: study_schema.Study, pair: study_schema.DeclaredComparison) -> list[str]:
    """Differences in input and training settings, and in parameters by more than 5 %."""
    names = pair.candidate, pair.baseline
    variants = [study.variants[name] for name in names]
    parameters = [variant.parameters for variant in variants if variant.parameters is not None]
    differences = []
    if len(parameters) == 2 and 100 * (max(parameters) - min(parameters)) > SIMILAR * min(parameters):
        ratio = f"{max(parameters) / min(parameters):.3g}"
        differences.append(f"parameters {parameters[0]:,} against {parameters[1]:,}, a factor of {ratio}")
    blocks = {
        "input": [variant.input.model_dump() for variant in variants],
        "training": [study.training_of(name).model_dump(exclude=schema.WITHOUT_EFFECT) for name in names],
    }
    for block, (first, second) in blocks.items():
        differences += [
            f"{block}.{key} {_yaml_value(first[key])} against {_yaml_value(second[key])}"
            for key in first
            if first[key] != second[key]
        ]
    return differences


def _with_gaps(study: study_schema.Study, predictions: Mapping[str, Predictions]) -> list[str]:
    """Variants that are compared by epochs_to, though the weights of some of their epochs were not kept."""
    declared = (pair for family in study.comparisons.values() for pair in family if pair.measure == "epochs_to")
    names = dict.fromkeys(name for pair in declared for name in (pair.candidate, pair.baseline))
    return [name for name in names if np.isnan(predictions[name].epoch_accuracy).any()]


def _pair(
    declared: study_schema.DeclaredComparison,
    predictions: Mapping[str, Predictions],
    diverged: Mapping[str, Collection[int]],
) -> _Pair:
    """With the reasons why there is no verdict: seeds that finished are a selection, not a sample of all trainings."""
    names = declared.candidate, declared.baseline
    candidate, baseline = (predictions[name] for name in names)
    return _Pair(
        declared=declared,
        predictions=(candidate, baseline),
        samples=(
            measures.sample(candidate, declared.measure, declared.accuracy),
            measures.sample(baseline, declared.measure, declared.accuracy),
        ),
        diverged=tuple(
            divergence.reason_undecided(name, diverged[name], len(diverged[name]) + len(predictions[name].seeds))
            for name in names
            if diverged.get(name)
        ),
    )


def _evidence(study: study_schema.Study, pair: _Pair, comparisons: int) -> Evidence:
    """No looks if a seed diverged: the pair then counts as p = 1 in its family."""
    if pair.diverged:
        return Evidence()
    measure = pair.declared.measure
    plan = Plan.of(pair.seeds, study.settle.most)
    counts_answers = MEASURES[measure].counts_answers
    return collect_evidence(*pair.samples, study.margin_of(measure), comparisons, plan, counts_answers)


def _outcome(study: study_schema.Study, family: str, pair: _Pair, evidence: Evidence, decision: Decision) -> Outcome:
    declared, measure = pair.declared, MEASURES[pair.declared.measure]
    seeds = decision.look.seeds if decision.look else pair.seeds
    candidate, baseline = (sample.first(seeds) for sample in pair.samples)
    components, counts = difference.variance_components(candidate, baseline), (seeds, seeds)
    p = significance.of_difference(candidate, baseline)
    comparisons, margin = len(study.comparisons[family]), study.margin_of(declared.measure)
    gain = difference.mean_difference(candidate, baseline)
    situation = reasons.Situation(
        decision, measure, gain, components, seeds, comparisons, margin, study.settle.most, pair.diverged
    )
    step = reasons.next_step(situation)
    needs = components if components and not pair.diverged else None
    superiority, superiority_interval = difference.superiority(candidate, baseline, measure.lower_is_better)
    return Outcome(
        candidate=declared.candidate,
        baseline=declared.baseline,
        family=family,
        measure=declared.measure,
        accuracy=declared.accuracy,
        margin=margin,
        seeds=seeds,
        difference=gain,
        interval_seeds=difference.interval_seeds(candidate, baseline),
        interval=difference.interval_seeds_and_images(candidate, baseline),
        interval_equivalence=difference.interval_seeds_and_images(candidate, baseline, 1 - 2 * intervals.LEVEL),
        share_seeds=difference.seed_share(components, counts) if components else None,
        looks=list(evidence.looks),
        p_welch=p.welch,
        p_permutation=p.permutation,
        p_seeds_and_images=p.seeds_and_images,
        p=p.largest,
        p_sequential=decision.p_sequential,
        p_sequential_holm=decision.p_sequential_holm,
        p_equivalence_sequential=decision.p_equivalence_sequential,
        p_equivalence_sequential_holm=decision.p_equivalence_sequential_holm,
        verdict=decision.verdict,
        reason=reasons.explain(situation),
        next_step=step,
        next_seeds=situation.following if step == "seeds" else None,
        confounds=confounds(study, declared),
        seeds_needed=power.seeds_needed(needs, comparisons, margin) if needs else None,
        superiority=superiority,
        superiority_interval=superiority_interval,
        mcnemar=_mcnemar(pair, seeds) if declared.measure == "test_accuracy" else [],
    )


def _mcnemar(pair: _Pair, seeds: int) -> list[significance.McNemar]:
    candidate, baseline = (predictions.first(seeds) for predictions in pair.predictions)
    return significance.mcnemar(candidate, baseline)


def _yaml_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
