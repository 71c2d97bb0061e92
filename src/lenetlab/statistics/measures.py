"""What is compared: test accuracy, test loss, the gap to the training accuracy, or the epochs to an accuracy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import study_schema
from lenetlab.statistics import formatting


@dataclass(frozen=True)
class Measure:
    """A measure, and how its values and differences are written."""

    name: str
    unit: str  # of a difference
    lower_is_better: bool
    counts_answers: bool  # images count by right and wrong answers alone
    better: str  # how the value of a better variant compares with that of the other: higher, lower or smaller
    worse: str
    number: Callable[[float], str]  # a value or a difference without its unit

    @property
    def column(self) -> str:
        """As a table names it, with its unit."""
        return f"{self.name}, {self.unit.removeprefix('percentage ')}"

    def amount(self, value: float) -> str:
        """With its unit."""
        return f"{self.number(value)} {self.unit}"

    def signed(self, difference: float | None) -> str:
        """A difference with its sign and without its unit; zero after rounding has no sign."""
        if difference is None:
            return formatting.NONE
        size = self.number(abs(difference))
        sign = ("+" if difference > 0 else "−") if size.strip("0.,") else ""
        return sign + size

    def span(self, interval: tuple[float, float] | None) -> str:
        """An interval of differences without its unit."""
        return f"{self.signed(interval[0])} to {self.signed(interval[1])}" if interval else formatting.NONE


def _digits(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{count}f}".replace("-", "−")


_POINTS = "percentage points"
MEASURES: dict[str, Measure] = {
    "test_accuracy": Measure("test accuracy", _POINTS, False, True, "higher", "lower", formatting.percent),
    "test_loss": Measure("test loss", "nats", True, False, "lower", "higher", _digits(4)),
    "gap": Measure(
        "gap between training and test accuracy", _POINTS, True, True, "smaller", "larger", formatting.percent
    ),
    "epochs_to": Measure("number of epochs", "epochs", True, False, "smaller", "larger", _digits(2)),
}


@dataclass(frozen=True)
class Sample:
    """A measure of one variant: a value per seed, and per seed and image if it is a mean over the test images."""

    values: np.ndarray  # (S)
    by_image: np.ndarray | None  # (S, N); the mean of each row is its value

    @property
    def seeds(self) -> int:
        return len(self.values)

    def first(self, count: int) -> "Sample":
        """Its first seeds."""
        return Sample(self.values[:count], None if self.by_image is None else self.by_image[:count])


def sample(predictions: Predictions, measure: study_schema.Measure, accuracy: float | None = None) -> Sample:
    """The measure of one variant; `accuracy` is the one to reach, for `epochs_to`."""
    match measure:
        case "test_accuracy":
            return Sample(predictions.accuracy, predictions.correct)
        case "test_loss":
            losses = predictions.loss.astype(np.float64)
            return Sample(losses.mean(axis=1), losses)
        case "gap":
            training = predictions.training_accuracy
            return Sample(training - predictions.accuracy, training[:, None] - predictions.correct)
        case "epochs_to":
            return Sample(_epochs_to(predictions.epoch_accuracy, accuracy or 1.0), None)


def name(measure: study_schema.Measure, accuracy: float | None = None) -> str:
    """The name of a measure in a sentence."""
    end = f" to {100 * accuracy:.6g} % test accuracy" if accuracy is not None else ""
    return MEASURES[measure].name + end


def _epochs_to(accuracies: np.ndarray, wanted: float) -> np.ndarray:
    """The first epoch that reaches the accuracy, per seed (S); one more than there are epochs if none does."""
    reached = np.hstack([accuracies >= wanted, np.ones((len(accuracies), 1), dtype=bool)])
    epochs: np.ndarray = reached.argmax(axis=1) + 1.0
    return epochs
