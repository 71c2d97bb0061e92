"""Which test images are misread: how confidently, by how many networks, and by which of two variants."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenetlab.evaluation.predictions import Predictions
from lenetlab.storage import files, stage_outputs

COLUMNS = ("place", "number", "label", "predicted", "confidence", "votes", "pixels")  # of `mistakes.npz`

SHOWN = 24  # the most confident ones, as many as fit a page
DIGITS = 12  # of a share, so that equal ones are equal, and stand in the order of the index


@dataclass(frozen=True)
class Hard:
    """An image that many networks misread."""

    place: int  # in the test index
    label: int
    read_as: int  # the commonest wrong answer
    misread: int  # networks that misread it
    networks: int  # of all variants and seeds
    share: float  # that misread it, mean over variants


@dataclass(frozen=True)
class Disagreement:
    """An image that the seeds of one variant read better than those of the other."""

    place: int
    label: int
    candidate: int  # seeds that read it correctly
    baseline: int


def misread(found: Predictions, numbers: np.ndarray, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """All K images that a seed misreads, those with the most confidence first.

    By column: place in the test index, number, label, predicted (the commonest wrong answer), confidence (the
    probability given to wrong answers, mean over all seeds), votes (seeds that misread it), pixels (K, 28, 28).
    """
    total = np.where(found.correct, 0.0, found.probability).sum(axis=0)
    confidence = total / max(1, len(found.seeds))  # where every seed diverged there is none
    votes = (~found.correct).sum(axis=0)
    worst = np.argsort(-confidence, kind="stable")
    worst = worst[votes[worst] > 0]
    return {
        "place": worst,
        "number": numbers[worst],
        "label": found.labels[worst],
        "predicted": _commonest(wrong_answers(found)[:, worst]),
        "confidence": confidence[worst],
        "votes": votes[worst],
        "pixels": pixels[worst],
    }


def write(found: Mapping[str, np.ndarray], path: Path) -> None:
    with files.writing(path) as stream:
        np.savez_compressed(stream, **found)


def read(path: Path, stage: str) -> dict[str, np.ndarray]:
    """What `misread` found, as it was written by that stage. UserError if that cannot be read."""
    with (
        stage_outputs.reading(path, stage),
        path.open("rb") as stream,  # numpy leaves open what it opens and cannot read
        np.load(stream, allow_pickle=False) as content,
    ):
        found = {column: content[column] for column in COLUMNS}
        if len({len(values) for values in found.values()}) > 1:
            raise ValueError("its columns differ in length")
        return found


def caption(label: int, predicted: int, confidence: float, votes: int, seeds: int) -> tuple[str, str]:
    """What is written above and below such an image."""
    return f"{label} read as {predicted}", f"{100 * confidence:.0f} %, {votes} of {seeds}"


def sheet(found: Mapping[str, np.ndarray], seeds: int) -> tuple[np.ndarray, list[str], list[str]]:
    """The images with the most confidence, of what `misread` found, and what is written above and below each."""
    columns = [found[key][:SHOWN].tolist() for key in ("label", "predicted", "confidence", "votes")]
    texts = [caption(*row, seeds) for row in zip(*columns, strict=True)]
    return found["pixels"][:SHOWN], [above for above, _ in texts], [below for _, below in texts]


def wrong_answers(found: Predictions) -> np.ndarray:
    """(10, N): how many seeds give each wrong answer."""
    wrong = np.where(found.correct, 10, found.predicted)  # 10 stands for: not misread
    return np.stack([(wrong == answer).sum(axis=0) for answer in range(10)])


def hardest(found: Mapping[str, Predictions], most: int) -> list[Hard]:
    """The images that the largest share of networks misread; every variant counts alike, whatever its seeds.

    A variant of which no seed finished does not count.
    """
    found = {name: one for name, one in found.items() if len(one.seeds)}
    if not found:
        return []
    shares = np.mean([(~one.correct).mean(axis=0) for one in found.values()], axis=0).round(DIGITS)
    counts = np.sum([wrong_answers(one) for one in found.values()], axis=0)
    networks, labels = sum(len(one.seeds) for one in found.values()), next(iter(found.values())).labels
    worst = np.argsort(-shares, kind="stable")[:most]
    read_as = _commonest(counts[:, worst])
    return [
        Hard(int(at), int(labels[at]), int(answer), int(counts[:, at].sum()), networks, float(shares[at]))
        for at, answer in zip(worst, read_as, strict=True)
        if shares[at]
    ]


def disagreements(
    candidate: Predictions, baseline: Predictions, most: int
) -> tuple[list[Disagreement], list[Disagreement]]:
    """Images that the candidate's seeds read better, and those that the baseline's do; the largest difference first.

    None where no seed of a side finished.
    """
    if not min(len(candidate.seeds), len(baseline.seeds)):
        return [], []
    right = [side.correct.sum(axis=0) for side in (candidate, baseline)]
    lead = (right[0] / len(candidate.seeds) - right[1] / len(baseline.seeds)).round(DIGITS)
    found = []
    for sign in (1, -1):
        order = np.argsort(-sign * lead, kind="stable")[:most]
        found.append(
            [
                Disagreement(int(at), int(candidate.labels[at]), int(right[0][at]), int(right[1][at]))
                for at in order
                if sign * lead[at] > 0
            ]
        )
    return found[0], found[1]


def _commonest(counts: np.ndarray) -> np.ndarray:
    return counts.argmax(axis=0).astype(np.uint8)
