"""How well each class is read."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lenetlab.evaluation.predictions import Predictions


@dataclass(frozen=True)
class ClassAccuracy:
    """The test images of one class, and the share of them that each variant reads correctly."""

    label: int  # number of the class
    images: int
    accuracies: dict[str, float | None]  # by variant, mean over seeds; None without a finished seed or an image

    @property
    def mean(self) -> float:
        """Over the variants; 1 if none has an accuracy."""
        known = [accuracy for accuracy in self.accuracies.values() if accuracy is not None]
        return float(np.mean(known)) if known else 1.0


def accuracies(predictions: Mapping[str, Predictions], classes: int) -> list[ClassAccuracy]:
    """One for each class, in the order of the classes; `predictions` are those of all variants."""
    labels = next(iter(predictions.values())).labels
    images = np.bincount(labels, minlength=classes)
    shares = {
        name: np.bincount(labels, answers.correct.mean(axis=0), minlength=classes) / np.maximum(1, images)
        for name, answers in predictions.items()
        if len(answers.seeds)
    }
    return [
        ClassAccuracy(
            label,
            int(images[label]),
            {name: float(shares[name][label]) if name in shares and images[label] else None for name in predictions},
        )
        for label in range(classes)
    ]
