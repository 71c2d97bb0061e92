"""Whole studies, with an answer of every seed to every image, from populations or from real variants.

The program's own code judges them; only the levels come from a table.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize

from benchmarks import ours
from benchmarks.normal_studies import plan_up_to
from benchmarks.outcomes import Outcomes, share
from benchmarks.populations import IMAGES, Population
from lenetlab.evaluation import predictions
from lenetlab.settings import params
from lenetlab.statistics import difference, intervals, measures, power
from lenetlab.statistics.measures import Sample
from lenetlab.statistics.verdict import collect_evidence, decide

Row = dict[str, Any]
Pair = tuple[Sample, Sample]  # candidate, baseline
Generator = np.random.Generator


@dataclass(frozen=True)
class Scenario:
    """Studies of one kind. Each study has one family, with a comparison for each true difference."""

    group: str
    name: str
    seeds: int  # per variant
    truths: tuple[float, ...]
    studies: Callable[[Generator], Iterator[list[Pair]]]  # unlimited
    components: difference.VarianceComponents | None = None  # of the first comparison, if known
    images: int = IMAGES


def simulate(scenario: Scenario, margin: float, studies: int, seed: Sequence[int]) -> Row:
    """Shares of studies with errors and verdicts, and with intervals that contain the truths."""
    decisions, contained, contained_seeds = [], [], []
    plan = plan_up_to(scenario.seeds)
    for pairs in islice(scenario.studies(np.random.default_rng(seed)), studies):
        evidence = [collect_evidence(*pair, margin, len(pairs), plan, True) for pair in pairs]
        decisions.append(decide(evidence, [False] * len(pairs)))
        contained.append(_contain([difference.interval_seeds_and_images(*pair) for pair in pairs], scenario.truths))
        contained_seeds.append(_contain([difference.interval_seeds(*pair) for pair in pairs], scenario.truths))
    row = {"group": scenario.group, "name": scenario.name, "seeds": scenario.seeds, "test_images": scenario.images}
    row |= Outcomes.of(decisions, scenario.truths, margin).row(scenario.seeds)
    row |= {"interval": share(contained), "interval_seeds": share(contained_seeds)}
    if scenario.components:
        chances = power.chances(scenario.truths[0], scenario.components, len(scenario.truths), margin, plan)
        row["predicted"] = {"better": chances.higher[-1], "equivalent": chances.equivalent[-1]}
    return row


def _contain(limits: Sequence[intervals.Interval], truths: Sequence[float]) -> bool:
    return all(pair and pair[0] <= truth <= pair[1] for pair, truth in zip(limits, truths, strict=True))


def population_scenario(
    group: str, name: str, population: Population, seeds: int = 12, images: int = IMAGES
) -> Scenario:
    """All other systems against the last one."""
    last = len(population.accuracies) - 1
    truths = tuple(accuracy - population.accuracies[last] for accuracy in population.accuracies[:last])

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        while True:
            *candidates, baseline = population.draw(generator, seeds, images)
            yield [(candidate, baseline) for candidate in candidates]

    components = population.components(0, last) if images == IMAGES else None
    return Scenario(group, name, seeds, truths, studies, components, images)


def split_scenario(name: str, real: Sample) -> Scenario:
    """The seeds of one variant divided into two halves at random."""
    half = real.seeds // 2

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        while True:
            order = generator.permutation(real.seeds)
            yield [(_select(real, order[:half]), _select(real, order[half : 2 * half]))]

    return Scenario("split", name, half, (0.0,), studies)


def resampled_scenario(name: str, candidate: Sample, baseline: Sample, seeds: int) -> Scenario:
    """Seeds and images of real variants, drawn with replacement.

    Images have weights that make both variants equal: an exponential tilt, which is 0 for a variant and itself.
    """
    gain = answers(candidate).mean(axis=0) - answers(baseline).mean(axis=0)

    def weights(tilt: float) -> np.ndarray:
        tilted = np.exp(tilt * gain)
        return tilted / tilted.sum()

    chances = weights(optimize.brentq(lambda tilt: weights(tilt) @ gain, -20.0, 20.0) if gain.any() else 0.0)

    def studies(generator: Generator) -> Iterator[list[Pair]]:
        while True:
            images = generator.choice(len(gain), len(gain), p=chances)
            chosen = [generator.choice(variant.seeds, seeds) for variant in (candidate, baseline)]
            yield [(_select(candidate, chosen[0], images), _select(baseline, chosen[1], images))]

    return Scenario("resampled", name, seeds, (0.0,), studies)


def answers(variant: Sample) -> np.ndarray:
    """Whether each seed reads each image correctly."""
    return np.asarray(variant.by_image)


def _select(variant: Sample, seeds: np.ndarray, images: np.ndarray | None = None) -> Sample:
    chosen = answers(variant)[seeds] if images is None else answers(variant)[seeds[:, None], images]
    return Sample(chosen.mean(axis=1), chosen)


def evaluations(folder: Path) -> dict[str, Sample]:
    """Accuracies by name, of the study's variants that have an evaluation in this folder with six seeds or more."""
    paths = {name: folder / name / "predictions.npz" for name in params.load(ours.PARAMETERS).study}
    evaluated = {
        name: measures.sample(predictions.read(path), "test_accuracy") for name, path in paths.items() if path.exists()
    }
    return {name: variant for name, variant in evaluated.items() if variant.seeds >= 6}
