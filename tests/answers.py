"""Predictions from a few arrays."""

import numpy as np

from lenetlab.evaluation.predictions import Predictions, class_type


def make_predictions(labels: np.ndarray, predicted: np.ndarray, **others: np.ndarray) -> Predictions:
    """From labels (N) and predicted classes (S, N).

    Other arrays are plausible unless they are given: of networks that were trained for one epoch and are always sure.
    """
    correct = predicted == labels
    accuracy = correct.mean(axis=1)
    arrays = {
        "seeds": np.arange(len(predicted)),
        "probability": np.ones(predicted.shape, np.float32),
        "loss": np.where(correct, 0.01, 3.0).astype(np.float32),
        "training_accuracy": np.ones(len(predicted)),
        "epoch_accuracy": accuracy[:, None],
    }
    kind = class_type(int(max(labels.max(initial=0), predicted.max(initial=0))) + 1)
    return Predictions(labels=labels.astype(kind), predicted=predicted.astype(kind), **{**arrays, **others})
