"""What an ensemble says about images: label, probability, and how many seeds agree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    label: str  # the class with the highest mean probability
    probability: float  # its mean over the seeds
    agree: int  # seeds that give this class the highest probability
    seeds: int
    probabilities: dict[str, float]  # means over the seeds, by class


def answers(by_seed: NDArray[np.float64], classes: tuple[str, ...]) -> list[Answer]:
    """An answer per image, from probabilities (S, N, classes) of S seeds."""
    means = by_seed.mean(axis=0)
    chosen = means.argmax(axis=1)
    votes = (by_seed.argmax(axis=2) == chosen).sum(axis=0)
    return [
        Answer(
            label=classes[place],
            probability=float(row[place]),
            agree=int(agree),
            seeds=len(by_seed),
            probabilities=dict(zip(classes, row.tolist(), strict=True)),
        )
        for row, place, agree in zip(means, chosen.tolist(), votes, strict=True)
    ]
