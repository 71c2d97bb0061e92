"""The names and units of metrics. MLflow sorts names, and what stands before a slash becomes a section of its charts.

Charts show three figures, in which 0.9893 and 0.9903 look alike; so accuracies are in per cent, and errors stand beside
them. A value of a whole training has step 0: MLflow draws a bar for each run. The others have the step of their epoch.
"""

from collections.abc import Mapping

TEST_ACCURACY = "1 result/test accuracy per cent"
TEST_ERROR = "1 result/test error per cent"
TEST_LOSS = "1 result/test loss"
DEVIATION = "2 over seeds/test accuracy standard deviation points"
LOW = "2 over seeds/test accuracy 95 interval low per cent"
HIGH = "2 over seeds/test accuracy 95 interval high per cent"
TRAIN_ACCURACY = "3 curves/train accuracy per cent"
TRAIN_LOSS = "3 curves/train loss"
TEST_CURVES = {  # of curves.csv -> in MLflow
    "test_accuracy": "3 curves/test accuracy per cent",
    "test_loss": "3 curves/test loss",
}
JOURNAL = {  # of the journal -> in MLflow; what is below `system/` has a page of its own in MLflow
    "train_accuracy": TRAIN_ACCURACY,
    "train_loss": TRAIN_LOSS,
    "validation_accuracy": "3 curves/validation accuracy per cent",
    "validation_loss": "3 curves/validation loss",
    "seconds": "system/seconds_per_epoch",
    "peak_memory_bytes": "system/process_peak_memory_megabytes",
}
COSTS = {  # of costs.json -> in MLflow, and how many of its units one of the file's is
    "seconds_per_epoch": ("cost/seconds per epoch", 1),
    "process_memory_bytes": ("cost/memory megabytes", 1e-6),
    "device_memory_bytes": ("cost/device memory megabytes", 1e-6),
    "latency_seconds": ("cost/latency microseconds", 1e6),
    "images_per_second": ("cost/images per second", 1),
    "multiply_accumulates": ("cost/multiply-accumulates", 1),
}
# MLflow's own names and meanings: of the whole machine.
CPU, MEMORY = "system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"

# Beginnings of the names that this program gives, and that its earlier versions gave.
OURS = ("1 result/", "2 over seeds/", "3 curves/", "cost/", "train_", "validation_", "test_", "cost_")
EARLIER_TRAIN_ACCURACY, EARLIER_TRAIN_LOSS, EARLIER_TEST_ACCURACY = "train_accuracy", "train_loss", "test_accuracy"
DIGITS = {"per cent": 4, "megabytes": 1, "percentage": 1, "seconds": 4}  # after the point, by unit


def per_cent(fraction: float) -> float:
    """With four decimals, since MLflow shows all of them: a tenth of an image in a hundred thousand."""
    return round(100 * fraction, 4)


def in_unit(name: str, value: float) -> float:
    """A value of a file in the unit that its name in MLflow says."""
    factor = 100 if name.endswith("per cent") else 1e-6 if name.endswith("megabytes") else 1
    return rounded(name, factor * value)


def rounded(name: str, value: float) -> float:
    """For the eye; losses keep all decimals."""
    digits = [digits for unit, digits in DIGITS.items() if unit in name]
    return round(value, digits[0]) if digits else value


def result(accuracy: float, loss: float) -> dict[str, float]:
    """The metrics of a test result."""
    return {TEST_ACCURACY: per_cent(accuracy), TEST_ERROR: per_cent(1 - accuracy), TEST_LOSS: loss}


def cost(measure: str, value: float) -> dict[str, float]:
    """The metric of a cost, with four figures if it was measured; none for a measure that MLflow has elsewhere."""
    if measure not in COSTS:
        return {}
    name, factor = COSTS[measure]
    return {name: float(f"{value * factor:.4g}") if measure != "multiply_accumulates" else value}


def accuracy_of(metrics: Mapping[str, float]) -> float | None:
    """The test accuracy in per cent of a run in MLflow, which an earlier version may have recorded."""
    earlier = metrics.get(EARLIER_TEST_ACCURACY)
    return metrics.get(TEST_ACCURACY, None if earlier is None else 100 * earlier)
