"""What the trained networks of one variant answer on the test images: `predictions.npz`, read without torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenetlab import UserError, files


@dataclass(frozen=True)
class Predictions:
    """Seeds (S), labels (N), predicted (S, N), probability (S, N) of the predicted class; in the test index's order."""

    seeds: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """(S, N) bool."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> np.ndarray:
        """(S), fractions."""
        return self.correct.mean(axis=1)


def write(predictions: Predictions, path: Path) -> None:
    with files.writing(path) as stream:
        np.savez_compressed(stream, **vars(predictions))


def read(path: Path) -> Predictions:
    try:
        with np.load(path, allow_pickle=False) as content:
            return Predictions(**{name: content[name] for name in Predictions.__dataclass_fields__})
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remedy: dvc repro evaluate") from None


def confusion(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(10, 10) counts, a row per label and a column per predicted class; any shapes that broadcast."""
    labels, predicted = np.broadcast_arrays(labels, predicted)
    return np.bincount(labels.ravel().astype(int) * 10 + predicted.ravel(), minlength=100).reshape(10, 10)
