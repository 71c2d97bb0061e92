"""The measures that statements are about: their names, units and digits in answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lenetlab.statistics import formatting


@dataclass(frozen=True)
class Measure:
    """A measure and how its values are written."""

    name: str
    number: Callable[[float], str]  # a rounded value without its unit
    unit: str = ""
    stated: Callable[[float], str] = "{:.6g}".format  # a stated value with all its digits and its unit
    highest: float = math.inf
    cost: str = ""  # its key in costs.json, if it is a cost


def _accuracy(name: str) -> Measure:
    return Measure(name, formatting.percent, " %", lambda value: f"{100 * value:.6g} %", highest=1.0)


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _megabytes(value: float) -> str:
    return formatting.whole(value / 1e6)


MEASURES = {
    "test_accuracy": _accuracy("test accuracy"),
    "train_accuracy": _accuracy("training accuracy"),
    "validation_accuracy": _accuracy("validation accuracy"),
    "train_loss": Measure("training loss", _loss),
    "test_loss": Measure("test loss", _loss),
    "gap": Measure("gap between training and test accuracy", formatting.percent, " percentage points"),
    "epochs_to": Measure("number of epochs", "{:.1f}".format),
    "seconds": Measure("time of an epoch", formatting.duration, cost="seconds_per_epoch"),
    "memory": Measure("peak memory of a training process", _megabytes, " MB", cost="process_memory_bytes"),
    "latency": Measure("time to read an image", formatting.duration, cost="latency_seconds"),
}


def figure(measure: str, value: float) -> str:
    """A measured value, rounded, with its unit."""
    return MEASURES[measure].number(value) + MEASURES[measure].unit


def interval(measure: str, low: float, high: float) -> str:
    """An interval with its unit, cut off at the lowest and highest possible value."""
    return f"{MEASURES[measure].number(max(low, 0.0))} to {figure(measure, min(high, MEASURES[measure].highest))}"


def pair(measure: str, candidate: float, baseline: float) -> str:
    """Two measured values with their unit."""
    return f"{MEASURES[measure].number(candidate)} against {figure(measure, baseline)}"


def distance(measure: str, value: float) -> str:
    """How far apart two values are; two accuracies in percentage points."""
    return figure("gap" if measure.endswith("accuracy") else measure, value)


def stated(measure: str, value: float) -> str:
    """A stated value with all its digits and its unit."""
    return MEASURES[measure].stated(value)
