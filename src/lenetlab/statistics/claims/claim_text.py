"""The study's answers to published statements: confirmed, refuted or undecided.

What paper and pencil can decide needs no training. A stated figure is held against what one more training would show, a
stated order against tests over the seeds. Each statement is judged alone: nothing is corrected for how many there are,
except what a declared comparison already corrects.
"""

import math

from lenetlab.statistics import formatting

TIE = 1e-12  # limits that are closer are equal: far less than one image, far more than a double's last digits

ONE_SEED = "one seed shows nothing of how much another training would differ"

WORDS = {
    "test_accuracy": "test accuracy",
    "train_accuracy": "training accuracy",
    "validation_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "test_loss": "test loss",
    "gap": "gap between training and test accuracy",
    "epochs_to": "number of epochs",
    "seconds": "time of an epoch",
    "memory": "peak memory of a training process",
    "latency": "time to read an image",
}

COSTS = {  # measures of costs.json
    "seconds": "seconds_per_epoch",
    "memory": "process_memory_bytes",
    "latency": "latency_seconds",
}


def figure(measure: str, value: float, unit: bool = True) -> str:
    """A measured figure, rounded for the eye."""
    if measure.endswith("accuracy"):
        text, of = f"{100 * value:.2f}", " %"
    elif measure == "gap":
        text, of = f"{100 * value:.2f}", " percentage points"
    elif measure == "epochs_to":
        text, of = f"{value:.1f}", ""
    elif measure == "memory":
        text, of = f"{value / 1e6:,.0f}", " MB"
    elif measure in COSTS:
        text, of = formatting.duration(value), ""
    else:
        text, of = f"{value:.4f}", ""
    return text.replace("-", "−") + of * unit


def interval(measure: str, low: float, high: float) -> str:
    """An interval, no further than the figure can go."""
    most = 1.0 if measure.endswith("accuracy") else math.inf
    return f"{figure(measure, max(low, 0.0), unit=False)} to {figure(measure, min(high, most))}"


def stated(measure: str, value: float) -> str:
    """A stated figure with the digits that it has."""
    return f"{100 * value:.6g} %" if measure.endswith("accuracy") else f"{value:.6g}"


def gain(difference: float | None, sign: int = 1) -> str:
    """A difference of accuracies; a dash where no seed of a side finished."""
    return formatting.NONE if difference is None else f"{formatting.points(sign * difference)} percentage points"


def p_equals(value: float) -> str:
    return formatting.p_value(value) if value < 0.0001 else f"= {formatting.p_value(value)}"
