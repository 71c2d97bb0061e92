"""Every comparison that params.yaml declares: its numbers and its verdict, as comparison.json holds them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lenetlab.evaluation import divergence
from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import study_schema
from lenetlab.statistics import difference, intervals, power, significance
from lenetlab.statistics.verdict import RuleInputs, Verdict, judge

SIMILAR = 5  # per cent: numbers of parameters that differ by no more are similar


@dataclass(frozen=True)
class Outcome:
    """One comparison, with the keys of comparison.json. Differences of test accuracy are fractions.

    All numbers are about the seeds that finished. If a seed of either variant diverged, the verdict ignores them.
    """

    candidate: str
    baseline: str
    family: str
    difference: float | None  # candidate minus baseline; None if either has no finished seed
    interval_seeds: intervals.Interval  # 95 %, for other trainings on the same test images; None with one seed
    interval: intervals.Interval  # 95 %, for other trainings and other test images
    interval_equivalence: intervals.Interval  # the same at 90 %; equivalent if it lies within the margin
    share_seeds: float | None  # part of the variance of the difference that seeds cause; images cause the rest
    p_welch: float
    p_permutation: float
    p_welch_holm: float
    p_permutation_holm: float
    verdict: Verdict
    reason: str
    confounds: list[str]  # what else differs between the variants, besides network and regularisation
    seeds_needed: int | None  # per variant, for a verdict on a difference of the margin or none; None: no number does
    superiority: float | None  # probability that one training of the candidate beats one of the baseline; ties: half
    superiority_interval: intervals.Interval  # 95 %
    mcnemar: list[significance.McNemar]


def compare(
    study: study_schema.Study, predictions: Mapping[str, Predictions], diverged: Mapping[str, Collection[int]]
) -> list[Outcome]:
    """The outcome of every declared comparison, in the order of the study.

    `predictions` of the seeds that finished, and the seeds that diverged, by variant.
    """
    outcomes = []
    for family, pairs in study.comparisons.items():
        p_values = significance.family([(predictions[pair.candidate], predictions[pair.baseline]) for pair in pairs])
        outcomes += [
            _outcome(study, family, pair, p, predictions, diverged) for pair, p in zip(pairs, p_values, strict=True)
        ]
    return outcomes


def rule_inputs(
    candidate: Predictions, baseline: Predictions, p: significance.PValues, comparisons: int, margin: float
) -> RuleInputs:
    """What the rule needs to know of a comparison, from its p values and the size of its family."""
    return RuleInputs(
        difference=difference.mean_difference(candidate, baseline),
        interval=difference.interval_seeds_and_images(candidate, baseline),
        interval_equivalence=difference.interval_seeds_and_images(candidate, baseline, 1 - 2 * intervals.LEVEL),
        components=difference.variance_components(candidate, baseline),
        p_welch=p.welch_holm,
        p_permutation=p.permutation_holm,
        seeds=min(difference.seed_counts(candidate, baseline)),
        images=len(candidate.labels),
        comparisons=comparisons,
        margin=margin,
    )


def confounds(study: study_schema.Study, pair: study_schema.DeclaredComparison) -> list[str]:
    """Differences in input and training settings, and in parameters by more than 5 %."""
    names = pair.candidate, pair.baseline
    variants = [study.variants[name] for name in names]
    parameters = [variant.parameters for variant in variants]
    differences = []
    if 100 * (max(parameters) - min(parameters)) > SIMILAR * min(parameters):
        ratio = f"{max(parameters) / min(parameters):.3g}"
        differences.append(f"parameters {parameters[0]:,} against {parameters[1]:,}, a factor of {ratio}")
    blocks = {
        "input": [variant.input.model_dump() for variant in variants],
        "training": [study.training_of(name).model_dump() for name in names],
    }
    for block, (first, second) in blocks.items():
        differences += [
            f"{block}.{key} {_yaml_value(first[key])} against {_yaml_value(second[key])}"
            for key in first
            if first[key] != second[key]
        ]
    return differences


def _outcome(
    study: study_schema.Study,
    family: str,
    pair: study_schema.DeclaredComparison,
    p: significance.PValues,
    predictions: Mapping[str, Predictions],
    diverged: Mapping[str, Collection[int]],
) -> Outcome:
    candidate, baseline = predictions[pair.candidate], predictions[pair.baseline]
    comparisons, margin = len(study.comparisons[family]), study.equivalence_margin
    inputs = rule_inputs(candidate, baseline, p, comparisons, margin)
    components, incomplete = inputs.components, _divergence_reasons(pair, predictions, diverged)
    verdict: Verdict = "inconclusive"
    reason, share, needed = "; ".join(incomplete), None, None
    if not incomplete:
        verdict, reason = judge(inputs)
    if components:
        share = difference.seed_share(components, difference.seed_counts(candidate, baseline))
    if components and not incomplete:
        needed = power.seeds_needed(components, inputs.images, comparisons, margin)
    superiority, superiority_interval = difference.superiority(candidate, baseline)
    return Outcome(
        candidate=pair.candidate,
        baseline=pair.baseline,
        family=family,
        difference=inputs.difference,
        interval_seeds=difference.interval_seeds(candidate, baseline),
        interval=inputs.interval,
        interval_equivalence=inputs.interval_equivalence,
        share_seeds=share,
        p_welch=p.welch,
        p_permutation=p.permutation,
        p_welch_holm=p.welch_holm,
        p_permutation_holm=p.permutation_holm,
        verdict=verdict,
        reason=reason,
        confounds=confounds(study, pair),
        seeds_needed=needed,
        superiority=superiority,
        superiority_interval=superiority_interval,
        mcnemar=significance.mcnemar(candidate, baseline),
    )


def _divergence_reasons(
    pair: study_schema.DeclaredComparison,
    predictions: Mapping[str, Predictions],
    diverged: Mapping[str, Collection[int]],
) -> list[str]:
    """Why there is no verdict: the seeds that finished are a selection, not a sample of what training gives."""
    return [
        divergence.reason_undecided(name, diverged[name], len(diverged[name]) + len(predictions[name].seeds))
        for name in (pair.candidate, pair.baseline)
        if diverged.get(name)
    ]


def _yaml_value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
