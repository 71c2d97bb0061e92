"""What a study found, as plain records read from the outputs: every number of the report, and nothing of its layout."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lenetlab.evaluation import divergence
from lenetlab.evaluation.curves import Curve
from lenetlab.statistics import comparison, intervals
from lenetlab.statistics.calibration import Calibration
from lenetlab.statistics.claims.answers import Answer

COSTS = ("seconds_per_epoch", "process_memory_bytes", "device_memory_bytes", "latency_seconds", "images_per_second")


@dataclass(frozen=True)
class Measured:
    """A figure of every round, and what they say together."""

    mean: float
    interval: intervals.Interval  # 95 %, of the mean over rounds


@dataclass(frozen=True)
class Digit:
    """A test image and what is told of it."""

    number: int  # of its file
    label: int
    pixels: np.ndarray  # (28, 28)


@dataclass(frozen=True)
class Mistake(Digit):
    predicted: int  # the commonest wrong answer
    confidence: float  # given to wrong answers, mean over all seeds
    votes: int  # seeds that misread it


@dataclass(frozen=True)
class HardDigit(Digit):
    predicted: int
    misread: int  # networks of all variants
    networks: int


@dataclass(frozen=True)
class DisputedDigit(Digit):
    candidate: int  # seeds that read it correctly
    baseline: int


@dataclass(frozen=True)
class Dispute:
    """Where the two sides of a comparison disagree."""

    candidate: str
    baseline: str
    seeds: tuple[int, int]
    for_candidate: list[DisputedDigit]
    for_baseline: list[DisputedDigit]


@dataclass(frozen=True)
class VariantSummary:
    """What the study found of one variant; accuracies are fractions."""

    name: str
    place: int  # in the study, from 0
    parameters: int
    multiply_accumulates: int  # to read one image
    seeds: list[int]  # all that were trained
    accuracies: dict[int, float]  # test, last epoch, by seed, of those that finished
    metrics: dict[str, Any]  # metrics.json
    interval: intervals.Interval  # 95 %, of the mean over seeds
    deviation: float | None  # between trainings, freed of what few test images add
    curves: dict[str, Curve]  # by measure; none if no seed finished
    confusion: np.ndarray  # (10, 10), summed over seeds
    commonest: tuple[int, int, int] | None  # of the mistakes: label, answer, how often
    mistakes: list[Mistake]
    calibration: Calibration | None
    cost: dict[str, Measured | None]  # by measure of COSTS
    layers: list[dict[str, Any]]
    settings: dict[str, str]  # flat: input.size, model.name, …
    record: dict[str, Any]  # variant.json

    @property
    def mean(self) -> float | None:
        """Of the seeds that finished; None if none did."""
        return self.metrics["test_accuracy"]

    @property
    def diverged(self) -> str:
        """How many seeds, and in which epoch; nothing if all finished."""
        lost = self.record["diverged"]
        return divergence.summary(lost, len(self.seeds)) if lost else ""

    @property
    def sd(self) -> float | None:
        """Over seeds; None with one."""
        return self.metrics["test_accuracy_sd"]

    @property
    def final(self) -> dict[str, float]:
        """Means over seeds after the last epoch, by measure."""
        return {measure: curve.mean[-1] for measure, curve in self.curves.items()}


@dataclass(frozen=True)
class Effect:
    """What regularisers do to a network that is otherwise the same."""

    variant: str
    plain: str
    added: list[str]  # in words
    mean: float | None
    difference: float | None
    interval_seeds: intervals.Interval
    interval: intervals.Interval  # 95 %, over seeds and images
    verdict: str | None  # of the declared comparison of the two, if there is one
    diverged: list[str]  # of the two, those of which a seed diverged


@dataclass(frozen=True)
class SettingPoint:
    position: float  # on the axis
    text: str  # of the value
    parameters: int
    mean: float | None  # validation accuracy, of the seeds that finished; None if none did
    interval: intervals.Interval  # 95 %, of the mean over seeds
    gap: float | None  # mean accuracy on the training images less that
    diverged: int  # seeds


@dataclass(frozen=True)
class SensitivityResults:
    """How the result of one variant changes with its settings."""

    variant: str
    current: bool  # whether it was measured with the present data and settings of the variant
    seeds: int
    validation_images: int
    device: str
    centre: SettingPoint  # nothing changed
    floor: float  # what lies below is not drawn to scale
    settings: dict[str, list[SettingPoint]]


@dataclass(frozen=True)
class Compute:
    """What all trainings of the study took."""

    trainings: int
    epochs: int
    seconds: float  # of one processor
    devices: list[str]


@dataclass(frozen=True)
class Report:
    variants: list[VariantSummary]
    outcomes: list[comparison.Outcome]
    effects: list[Effect]
    answers: list[Answer]
    hardest: list[HardDigit]
    disputes: list[Dispute]
    fronts: dict[str, list[str]]  # by cost: the variants that no other beats in accuracy and cost, cheapest first
    conditions: dict[str, Any]  # under which costs were measured
    undisturbed: float  # the least share of its time in which a measured process had a processor
    sensitivity: SensitivityResults | None
    compute: Compute
    margin: float  # of equivalence
    test_images: int
    origin: dict[str, Any]  # commit, versions


def cost_of(variant: VariantSummary, measure: str) -> Measured | None:
    """A measured cost, or one that follows from the definition and has no interval."""
    if measure in COSTS:
        return variant.cost[measure]
    return Measured(getattr(variant, measure), None)
