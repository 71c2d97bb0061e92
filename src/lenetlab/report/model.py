"""The contents of the report as dataclasses: every number and text that pictures and templates show."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lenetlab.evaluation import divergence
from lenetlab.evaluation.by_class import ClassAccuracy
from lenetlab.evaluation.curves import Curve
from lenetlab.statistics.calibration import Calibration
from lenetlab.statistics.claims.answers import Answer
from lenetlab.statistics.comparison import Outcome
from lenetlab.statistics.intervals import Interval
from lenetlab.statistics.verdict import Verdict

# Measured costs: keys of costs.json.
COST_MEASURES = (
    *("seconds_per_epoch", "process_memory_bytes", "device_memory_bytes"),
    *("latency_seconds", "images_per_second"),
)


@dataclass(frozen=True)
class Estimate:
    """The mean of repeated measurements."""

    mean: float
    interval: Interval  # 95 %, of the mean; None with one measurement


@dataclass(frozen=True)
class DataSummary:
    """What the images of the study have in common."""

    name: str
    size: int  # pixels per side
    channels: int  # 1 or 3
    classes: tuple[str, ...]  # names, in the order of their numbers

    @property
    def kind(self) -> str:
        """Such as `28×28 grey`."""
        return f"{self.size}×{self.size} {'grey' if self.channels == 1 else 'colour'}"


@dataclass(frozen=True)
class LabelledImage:
    """One test image."""

    number: int  # in its file name
    label: int  # number of its class
    pixels: np.ndarray  # (H, W) uint8, or (H, W, 3) in colour


@dataclass(frozen=True)
class ConfidentMistake(LabelledImage):
    """A test image that seeds of one variant misclassify."""

    predicted: int  # number of the most frequent wrong class
    confidence: float  # probability given to wrong classes, mean over all finished seeds
    votes: int  # seeds that misclassify it


@dataclass(frozen=True)
class HardestImage(LabelledImage):
    """A test image that networks of several variants misclassify."""

    predicted: int  # number of the most frequent wrong class
    misread: int  # networks that misclassify it
    networks: int  # finished seeds of all variants


@dataclass(frozen=True)
class DisagreementImage(LabelledImage):
    """A test image that more seeds of one variant than of the other classify correctly."""

    candidate_correct: int  # seeds
    baseline_correct: int


@dataclass(frozen=True)
class PairDisagreements:
    """The test images on which the two variants of a comparison differ most."""

    candidate: str
    baseline: str
    seeds: tuple[int, int]  # finished seeds of candidate and baseline
    candidate_better: list[DisagreementImage]
    baseline_better: list[DisagreementImage]


@dataclass(frozen=True)
class VariantSummary:
    """The results of one variant. Accuracies are fractions, of the test images after the last epoch."""

    name: str
    index: int  # in the study, from 0; it decides colour and marker
    parameters: int
    multiply_accumulates: int  # of the forward pass of one image
    seeds: list[int]  # all trained seeds
    accuracies: dict[int, float]  # by finished seed
    metrics: dict[str, Any]  # metrics.json
    accuracy_interval: Interval  # 95 %, of the mean over seeds
    training_deviation: float | None  # standard deviation between trainings with unlimited test images
    curves: dict[str, Curve]  # by measure; empty if no seed finished
    confusion: np.ndarray  # (K, K) for K classes, summed over seeds; rows are labels, columns predictions
    commonest_mistake: tuple[int, int, int] | None  # label, prediction, count
    mistakes: list[ConfidentMistake]  # most confident first
    calibration: Calibration | None
    measured_costs: dict[str, Estimate | None]  # by measure of COST_MEASURES
    layers: list[dict[str, Any]]
    settings: dict[str, str]  # flat: input.size, model.name, …
    record: dict[str, Any]  # variant.json

    @property
    def mean_accuracy(self) -> float | None:
        """Over the finished seeds; None if there are none."""
        mean: float | None = self.metrics["test_accuracy"]
        return mean

    @property
    def accuracy_sd(self) -> float | None:
        """Standard deviation over the finished seeds; None with fewer than two."""
        deviation: float | None = self.metrics["test_accuracy_sd"]
        return deviation

    @property
    def diverged(self) -> str:
        """How many seeds diverged, and in which epoch; empty if every seed finished."""
        diverged = self.record["diverged"]
        return divergence.summary(diverged, len(self.seeds)) if diverged else ""

    @property
    def diverged_count(self) -> int:
        return len(self.seeds) - len(self.accuracies)

    @property
    def last_epoch(self) -> dict[str, float]:
        """Means over seeds after the last epoch, by measure."""
        return {measure: curve.mean[-1] for measure, curve in self.curves.items()}

    def cost(self, measure: str) -> Estimate | None:
        """A measured cost, or one that follows from the definition and has no interval; None if not measured."""
        if measure in COST_MEASURES:
            return self.measured_costs[measure]
        return Estimate(getattr(self, measure), None)


@dataclass(frozen=True)
class RegularizationEffect:
    """A regularised variant compared with the variant that differs from it in nothing but regularisation."""

    variant: str
    unregularized: str  # the other variant
    regularizers: list[str]  # as text, with their strength
    mean_accuracy: float | None  # of the regularised variant
    difference: float | None  # its accuracy minus that of the other
    interval_seeds: Interval  # 95 %, over seeds
    interval: Interval  # 95 %, over seeds and images
    verdict: Verdict | None  # None unless this comparison is declared
    diverged: list[str]  # which of the two variants have diverged seeds


@dataclass(frozen=True)
class SettingValue:
    """Results of the variant with one setting changed to this value."""

    position: float  # on the axis
    label: str  # the value as text
    parameters: int
    mean_accuracy: float | None  # on the validation images, over the finished seeds; None if there are none
    interval: Interval  # 95 %, of that mean over seeds
    gap: float | None  # mean accuracy on the training images minus the mean validation accuracy
    diverged: int  # number of seeds


@dataclass(frozen=True)
class SensitivityResults:
    """How the validation accuracy of one variant changes with its settings."""

    variant: str
    up_to_date: bool  # measured with the present data and settings of the variant
    seeds: int
    validation_images: int
    device: str
    unchanged_mean: float | None  # accuracy of the variant itself
    unchanged_interval: Interval
    axis_floor: float  # accuracies below are not drawn to scale
    values: dict[str, list[SettingValue]]  # by setting


@dataclass(frozen=True)
class ComputeTotals:
    """What all trainings of the study took."""

    trainings: int
    epochs: int
    seconds: float  # of one processor core
    devices: list[str]


@dataclass(frozen=True)
class Report:
    variants: list[VariantSummary]
    outcomes: list[Outcome]
    effects: list[RegularizationEffect]
    answers: list[Answer]
    data: DataSummary
    by_class: list[ClassAccuracy]  # in the order of the classes
    hardest: list[HardestImage]
    disagreements: list[PairDisagreements]
    pareto_fronts: dict[str, list[str]]  # by cost: variants that no other beats in accuracy and cost, cheapest first
    cost_conditions: dict[str, Any]  # `conditions` of costs.json
    processor_share: float  # smallest share of its time that a measured process had a processor
    sensitivity: SensitivityResults | None
    compute: ComputeTotals
    settle_seconds: tuple[float, float]  # of one core, to train the seeds of open comparisons: next look, and all
    margin: float  # of equivalence of test accuracy
    test_images: int
    origin: dict[str, Any]  # commit and versions
