"""Which test images are misread: with what confidence, by how many networks, and by which of two variants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from lenetlab.evaluation.predictions import Predictions, class_type
from lenetlab.storage import files, stage_outputs

SHEET_SIZE = 24  # images in a picture of mistakes, as many as fit a page
PICTURED = 256  # images whose pixels are kept besides, so that the report can show those that several variants misread
SHARE_DECIMALS = 12  # shares are rounded, so that equal ones compare as equal and keep the order of the test index


@dataclass(frozen=True)
class MisreadImages:
    """The K test images that at least one seed misreads, the most confident mistakes first: `mistakes.npz`."""

    place: np.ndarray  # (K) in the test index
    number: np.ndarray  # (K) in the file name
    label: np.ndarray  # (K)
    predicted: np.ndarray  # (K) the most frequent wrong answer
    confidence: np.ndarray  # (K) probability given to wrong answers, mean over all seeds
    votes: np.ndarray  # (K) how many seeds misread it
    pictured: np.ndarray  # (P) rows, ascending, whose pixels are kept: the first ones, and those with most votes
    pixels: np.ndarray  # (P, H, W) uint8, or (P, H, W, 3) in colour

    def __len__(self) -> int:
        return len(self.place)


@dataclass(frozen=True)
class HardImage:
    """An image that many networks misread; a network is one seed of one variant."""

    place: int  # in the test index
    label: int
    predicted: int  # the most frequent wrong answer
    misread: int  # how many networks misread it
    networks: int  # how many there are
    share: float  # of the networks of a variant that misread it, mean over variants


@dataclass(frozen=True)
class Disagreement:
    """An image that the seeds of one variant read better than those of the other."""

    place: int  # in the test index
    label: int
    candidate: int  # seeds of the candidate that read it correctly
    baseline: int  # seeds of the baseline that read it correctly


def find(predictions: Predictions, numbers: np.ndarray, pixels: np.ndarray) -> MisreadImages:
    """All misread images, from the answers to N images with their numbers (N) and pixels (N, H, W) or (N, H, W, 3)."""
    total = np.where(predictions.correct, 0.0, predictions.probability).sum(axis=0)
    confidence = total / max(1, len(predictions.seeds))  # if every seed diverged, there are none
    votes = (~predictions.correct).sum(axis=0)
    worst = np.argsort(-confidence, kind="stable")
    worst = worst[votes[worst] > 0]
    most_votes = np.lexsort((worst, -votes[worst]))[:PICTURED]
    pictured = np.union1d(np.arange(min(SHEET_SIZE, len(worst))), most_votes)
    return MisreadImages(
        place=worst,
        number=numbers[worst],
        label=predictions.labels[worst],
        predicted=_most_frequent(_wrong_answer_counts(predictions, _class_count(predictions))[:, worst]),
        confidence=confidence[worst],
        votes=votes[worst],
        pictured=pictured,
        pixels=pixels[worst[pictured]],
    )


def write(misread: MisreadImages, path: Path) -> None:
    with files.writing(path) as stream:
        np.savez_compressed(stream, **vars(misread))


def read(path: Path, stage: str) -> MisreadImages:
    """Read a file that `write` made. Raises UserError if it is damaged; it names `stage`, which writes the file."""
    with (
        stage_outputs.reporting_damage(path, stage),
        path.open("rb") as stream,  # numpy does not close a file that it opens and cannot read
        np.load(stream, allow_pickle=False) as arrays,
    ):
        columns = {field.name: arrays[field.name] for field in fields(MisreadImages)}
        misread = MisreadImages(**columns)
        pictured, rows = columns.pop("pictured"), len(misread)
        if len(columns.pop("pixels")) != len(pictured) or {len(column) for column in columns.values()} != {rows}:
            raise ValueError("its columns differ in length")
        shown = min(SHEET_SIZE, rows)
        if not (np.array_equal(pictured[:shown], np.arange(shown)) and (pictured < rows).all()):
            raise ValueError("not the rows whose pixels the report shows")
        return misread


def caption(label: str, predicted: str, confidence: float, votes: int, seeds: int) -> tuple[str, str]:
    """The text above a misread image, with the names of its classes, and the text below it."""
    return f"{label} read as {predicted}", f"{100 * confidence:.0f} %, {votes} of {seeds}"


def sheet(misread: MisreadImages, seeds: int, names: Sequence[str]) -> tuple[np.ndarray, list[str], list[str]]:
    """Pixels of the most confident mistakes, and the text above and below each, with the `names` of classes."""
    columns = misread.label, misread.predicted, misread.confidence, misread.votes
    rows = zip(*(column[:SHEET_SIZE].tolist() for column in columns), strict=True)
    texts = [
        caption(names[label], names[predicted], confidence, votes, seeds)
        for label, predicted, confidence, votes in rows
    ]
    return misread.pixels[:SHEET_SIZE], [above for above, _ in texts], [below for _, below in texts]


def hardest(predictions: Mapping[str, Predictions], limit: int, among: Sequence[int] | None = None) -> list[HardImage]:
    """The images that the largest share of networks misread, at most `limit`, of all or of the places `among`.

    Every variant has the same weight, whatever its number of seeds. One without a finished seed does not count.
    """
    variants = [answers for answers in predictions.values() if len(answers.seeds)]
    if not variants:
        return []
    shares = np.mean([(~answers.correct).mean(axis=0) for answers in variants], axis=0).round(SHARE_DECIMALS)
    classes = _class_count(*variants)
    counts = np.sum([_wrong_answer_counts(answers, classes) for answers in variants], axis=0)
    networks, labels = sum(len(answers.seeds) for answers in variants), variants[0].labels
    worst = _among(np.argsort(-shares, kind="stable"), among)[:limit]
    return [
        HardImage(int(place), int(labels[place]), int(answer), int(counts[:, place].sum()), networks, float(share))
        for place, answer, share in zip(worst, _most_frequent(counts[:, worst]), shares[worst], strict=True)
        if share
    ]


def disagreements(
    candidate: Predictions, baseline: Predictions, limit: int, among: Sequence[int] | None = None
) -> tuple[list[Disagreement], list[Disagreement]]:
    """Images that the candidate reads better, and those that the baseline reads better, at most `limit` of each.

    They are chosen of all images or of the places `among`. The largest difference between the shares of seeds that read
    an image correctly comes first. Both lists are empty if a variant has no finished seed.
    """
    if not (len(candidate.seeds) and len(baseline.seeds)):
        return [], []
    correct = candidate.correct.sum(axis=0), baseline.correct.sum(axis=0)
    lead = (correct[0] / len(candidate.seeds) - correct[1] / len(baseline.seeds)).round(SHARE_DECIMALS)

    def largest(lead: np.ndarray) -> list[Disagreement]:
        places = _among(np.argsort(-lead, kind="stable"), among)[:limit]
        return [
            Disagreement(int(place), int(candidate.labels[place]), int(correct[0][place]), int(correct[1][place]))
            for place in places
            if lead[place] > 0
        ]

    return largest(lead), largest(-lead)


def _among(places: np.ndarray, among: Sequence[int] | None) -> np.ndarray:
    return places if among is None else places[np.isin(places, among)]


def _wrong_answer_counts(predictions: Predictions, classes: int) -> np.ndarray:
    """(classes, N): how many seeds give each wrong answer."""
    counts = np.zeros((classes, len(predictions.labels)), dtype=np.int64)
    seeds, places = np.nonzero(~predictions.correct)
    np.add.at(counts, (predictions.predicted[seeds, places], places), 1)
    return counts


def _class_count(*variants: Predictions) -> int:
    """At least as many as occur in labels and answers."""
    occurring = [array.max(initial=0) for answers in variants for array in (answers.labels, answers.predicted)]
    return int(max(occurring)) + 1


def _most_frequent(counts: np.ndarray) -> np.ndarray:
    """(N): the answer with the largest count, from counts (classes, N)."""
    most_frequent: np.ndarray = counts.argmax(axis=0).astype(class_type(len(counts)))
    return most_frequent
