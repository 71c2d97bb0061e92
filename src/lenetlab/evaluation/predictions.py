"""What the trained networks of one variant answer on the test images: `predictions.npz`, read without torch."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenetlab.storage import files, stage_outputs

LARGEST_FILE = 2**28  # bytes, unpacked; a thousand seeds on 10,000 images take a fifth of it


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
    """UserError unless it is a whole file such as `write` makes. Nothing is unpickled."""
    with stage_outputs.reading(path, f"evaluate@{path.parent.name}"):
        with path.open("rb") as stream, zipfile.ZipFile(stream) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > LARGEST_FILE:
            raise ValueError(f"{unpacked} bytes unpacked; allowed: up to {LARGEST_FILE}")
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            if missing := set(Predictions.__dataclass_fields__) - set(content.files):
                raise ValueError(f"no {' and no '.join(sorted(missing))}")
            found = Predictions(**{name: content[name] for name in Predictions.__dataclass_fields__})
        if problem := _problem(found):
            raise ValueError(problem)
        return found


def _problem(found: Predictions) -> str:
    """What no evaluation writes; empty if there is none. Where every seed diverged, there are none."""
    seeds, images = found.seeds.size, found.labels.size
    for name, shape, kinds in (
        ("seeds", (seeds,), "iu"),
        ("labels", (images,), "u"),
        ("predicted", (seeds, images), "u"),
        ("probability", (seeds, images), "f"),
    ):
        values = getattr(found, name)
        if values.shape != shape or values.dtype.kind not in kinds:
            return f"{name}: {values.dtype} of shape {values.shape}, which does not agree with the rest"
    if not images:
        return "labels: none"
    if len(np.unique(found.seeds)) < seeds:
        return "seeds: one stands twice"
    if max(found.labels.max(), found.predicted.max(initial=0)) > 9:
        return "labels or predicted: a class above 9"
    if not ((found.probability >= 0) & (found.probability <= 1)).all():
        return "probability: one outside of 0 to 1"
    return ""


def confusion(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(10, 10) counts, a row per label and a column per predicted class; any shapes that broadcast."""
    labels, predicted = np.broadcast_arrays(labels, predicted)
    return np.bincount(labels.ravel().astype(int) * 10 + predicted.ravel(), minlength=100).reshape(10, 10)
