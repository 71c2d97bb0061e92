"""Runs to verdicts: is the difference between two variants more than chance?

Two sources of doubt: another training (seeds), and another sample of test digits (images, which all seeds share). Each
is measured for itself, and both together; docs/statistics.md says why, with references and an example.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from lenetlab.evaluation import divergence
from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import schema
from lenetlab.statistics import difference, intervals, power, significance
from lenetlab.statistics.verdict import judge

SIMILAR = 5  # per cent: how far two numbers of parameters may be apart and be called similar


@dataclass(frozen=True)
class Outcome:
    """One declared comparison, as `comparison.json` holds it. Differences of test accuracy are fractions.

    All figures are of the seeds that finished. Where one of either side diverged, they decide nothing.
    """

    candidate: str
    baseline: str
    family: str
    difference: float | None  # candidate minus baseline; None where no seed of a side finished
    interval_seeds: intervals.Interval  # 95 %, for other trainings on the same test images; None with one seed
    interval: intervals.Interval  # 95 %, for other trainings and other test images
    interval_equivalence: intervals.Interval  # the same at 90 %, which is to lie within the margin
    share_seeds: float | None  # of the variance of the difference, what is due to seeds; the rest is due to images
    p_welch: float
    p_permutation: float
    p_welch_holm: float
    p_permutation_holm: float
    verdict: Literal["better", "worse", "equivalent", "inconclusive"]
    reason: str
    confounds: list[str]  # differences between the sides that are no regularisation
    seeds_needed: int | None  # of each side, to settle a difference as large as the margin, or none; None: no number
    superiority: float | None  # probability that one training of the candidate beats one of the baseline; ties: half
    superiority_interval: intervals.Interval  # 95 %
    mcnemar: list[significance.McNemar]


def compare(
    study: schema.Study, predictions: Mapping[str, Predictions], diverged: Mapping[str, Collection[int]]
) -> list[Outcome]:
    """The outcome of every comparison that the study declares, in its order.

    `predictions` are of the seeds that finished; `diverged` are the others, by variant.
    """
    outcomes = []
    for family, pairs in study.comparisons.items():
        sides = [(predictions[pair.candidate], predictions[pair.baseline]) for pair in pairs]
        interval_seeds, p_welch = zip(*(significance.welch(*sides_of_pair) for sides_of_pair in sides), strict=True)
        p_permutation = [significance.permutation(*sides_of_pair) for sides_of_pair in sides]
        corrected = zip(significance.holm(p_welch), significance.holm(p_permutation), strict=True)
        for pair, (candidate, baseline), interval, raw_welch, raw_permutation, (holm_welch, holm_permutation) in zip(
            pairs, sides, interval_seeds, p_welch, p_permutation, corrected, strict=True
        ):
            lost = _lost(pair, candidate, baseline, diverged)
            verdict, reason = (
                ("inconclusive", "; ".join(lost))
                if lost
                else judge(candidate, baseline, holm_welch, holm_permutation, len(pairs), study.equivalence_margin)
            )
            spread, counts = (
                difference.variance_components(candidate, baseline),
                (len(candidate.seeds), len(baseline.seeds)),
            )
            superior, superiority_interval = significance.superiority(candidate, baseline)
            settled = (len(candidate.labels), len(pairs), study.equivalence_margin)
            needed = power.seeds_needed(spread, *settled) if spread and not lost else None
            outcomes.append(
                Outcome(
                    candidate=pair.candidate,
                    baseline=pair.baseline,
                    family=family,
                    difference=difference.mean_difference(candidate, baseline),
                    interval_seeds=interval,
                    interval=difference.interval_seeds_and_images(candidate, baseline),
                    interval_equivalence=difference.interval_seeds_and_images(
                        candidate, baseline, 1 - 2 * intervals.LEVEL
                    ),
                    share_seeds=spread and difference.seed_share(spread, counts),
                    p_welch=raw_welch,
                    p_permutation=raw_permutation,
                    p_welch_holm=holm_welch,
                    p_permutation_holm=holm_permutation,
                    verdict=verdict,
                    reason=reason,
                    confounds=confounds(study, pair),
                    seeds_needed=needed,
                    superiority=superior,
                    superiority_interval=superiority_interval,
                    mcnemar=significance.mcnemar(candidate, baseline),
                )
            )
    return outcomes


def confounds(study: schema.Study, pair: schema.DeclaredComparison) -> list[str]:
    """In what the sides differ besides network and regularisation, and in parameters by more than 5 %."""
    sides = [study.variants[name] for name in (pair.candidate, pair.baseline)]
    parameters = [side.parameters for side in sides]
    found = []
    if 100 * (max(parameters) - min(parameters)) > SIMILAR * min(parameters):
        found.append(f"parameters {parameters[0]:,} against {parameters[1]:,}, a factor of {_ratio(parameters)}")
    blocks = {
        "input": [side.input.model_dump() for side in sides],
        "training": [study.training_of(name).model_dump() for name in (pair.candidate, pair.baseline)],
    }
    for block, (first, second) in blocks.items():
        found += [
            f"{block}.{key} {_plain(first[key])} against {_plain(second[key])}"
            for key in first
            if first[key] != second[key]
        ]
    return found


def _lost(
    pair: schema.DeclaredComparison,
    candidate: Predictions,
    baseline: Predictions,
    diverged: Mapping[str, Collection[int]],
) -> list[str]:
    """What there is to say of the sides whose seeds did not all finish.

    Whether a training finishes is no matter of chance that the tests know of: those that did are a selection.
    """
    return [
        divergence.reason(name, diverged[name], len(diverged[name]) + len(side.seeds))
        for name, side in ((pair.candidate, candidate), (pair.baseline, baseline))
        if diverged.get(name)
    ]


def _ratio(parameters: list[int]) -> str:
    return f"{max(parameters) / min(parameters):.3g}"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
