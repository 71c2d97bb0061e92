"""What the trained networks of one variant answer on the test images: `predictions.npz`. Works without torch.

Every comparison is computed from these files and params.yaml alone.
"""

import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from lenetlab.settings import schema
from lenetlab.storage import files, stage_outputs

LARGEST_FILE = 2**28  # bytes, uncompressed; a thousand seeds on 10,000 images take a third of it


@dataclass(frozen=True)
class Predictions:
    """The answers of S seeds to N test images, in the order of the test index."""

    seeds: np.ndarray  # (S) integers
    labels: np.ndarray  # (N) unsigned integers
    predicted: np.ndarray  # (S, N) unsigned integers, the most probable class
    probability: np.ndarray  # (S, N) float32, of the predicted class
    loss: np.ndarray  # (S, N) float32, cross-entropy in nats
    training_accuracy: np.ndarray  # (S) on the training images in evaluation mode, after the last epoch
    epoch_accuracy: np.ndarray  # (S, E) on the test images after each of E epochs; NaN if its weights were not kept

    @property
    def correct(self) -> np.ndarray:
        """(S, N) bool."""
        correct: np.ndarray = self.predicted == self.labels
        return correct

    @property
    def accuracy(self) -> np.ndarray:
        """(S) fractions."""
        accuracy: np.ndarray = self.correct.mean(axis=1)
        return accuracy

    def first(self, count: int) -> "Predictions":
        """The answers of the first seeds."""
        rows = {field.name: getattr(self, field.name)[:count] for field in fields(self) if field.name != "labels"}
        return replace(self, **rows)


def write(predictions: Predictions, path: Path) -> None:
    with files.writing(path) as stream:
        np.savez_compressed(stream, **vars(predictions))


def read(path: Path, classes: int = schema.MAX_CLASSES) -> Predictions:
    """Read a file that `write` made. Raises UserError if it is damaged or too large. Unpickles nothing."""
    with stage_outputs.reporting_damage(path, f"evaluate@{path.parent.name}"):
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_FILE:
            raise ValueError(f"{size} bytes uncompressed; allowed: up to {LARGEST_FILE}")
        names = [field.name for field in fields(Predictions)]
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            if missing := set(names) - set(arrays.files):
                raise ValueError(f"no {' and no '.join(sorted(missing))}")
            predictions = Predictions(**{name: arrays[name] for name in names})
        if inconsistency := _inconsistency(predictions, classes):
            raise ValueError(inconsistency)
        return predictions


def _inconsistency(predictions: Predictions, classes: int) -> str:
    """What is wrong with arrays that no evaluation writes; empty if nothing is. No seeds is right: all diverged."""
    seeds, images = predictions.seeds.size, predictions.labels.size
    for name, shape, kinds in (
        ("seeds", (seeds,), "iu"),
        ("labels", (images,), "u"),
        ("predicted", (seeds, images), "u"),
        ("probability", (seeds, images), "f"),
        ("loss", (seeds, images), "f"),
        ("training_accuracy", (seeds,), "f"),
        ("epoch_accuracy", (seeds, predictions.epoch_accuracy.shape[-1]), "f"),
    ):
        values = getattr(predictions, name)
        if values.shape != shape or values.dtype.kind not in kinds:
            return f"{name}: {values.dtype} of shape {values.shape} does not fit the other arrays"
    if not images:
        return "labels: none"
    if len(np.unique(predictions.seeds)) < seeds:
        return "seeds: one appears twice"
    if max(predictions.labels.max(), predictions.predicted.max(initial=0)) >= classes:
        return f"labels or predicted: a class above {classes - 1}"
    for name in ("probability", "training_accuracy", "epoch_accuracy"):
        values = getattr(predictions, name)
        if name == "epoch_accuracy":  # gaps are allowed, but the weights of the last epoch are always kept
            values = np.hstack([np.nan_to_num(values[:, :-1]), values[:, -1:]])
        if not ((values >= 0) & (values <= 1)).all():
            return f"{name}: a value outside of 0 to 1"
    if not (predictions.loss >= 0).all():
        return "loss: a value below 0, or NaN"
    return ""


def class_type(classes: int) -> type[np.unsignedinteger]:
    """The smallest type of integers that holds the numbers of this many classes."""
    return np.uint8 if classes <= 256 else np.uint16


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts, a row per label and a column per predicted class. Any shapes that broadcast.

    ValueError if there is a class that is none of these.
    """
    labels, predicted = np.broadcast_arrays(labels, predicted)
    if max(labels.max(initial=0), predicted.max(initial=0)) >= classes:
        raise ValueError(f"labels or predicted: a class above {classes - 1}")
    pairs = labels.ravel().astype(int) * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
