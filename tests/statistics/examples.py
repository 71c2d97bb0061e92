"""Predictions with chosen results, and a study that does not depend on the one in params.yaml."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lenetlab.evaluation.predictions import Predictions
from lenetlab.settings import params, study_schema
from lenetlab.statistics import measures
from lenetlab.statistics.measures import Sample
from tests.answers import make_predictions

CATALOGUE = params.load(Path(__file__).parents[2] / "params.yaml")
VS_MLP = study_schema.DeclaredComparison(candidate="lenet5", baseline="mlp")
VS_LENET5 = study_schema.DeclaredComparison(candidate="lenet5-regularized", baseline="lenet5")


def make_study(**families: Sequence[study_schema.DeclaredComparison]) -> study_schema.Study:
    """The catalogue of params.yaml with these families of comparisons, and all else fixed."""
    training = CATALOGUE.training.model_copy(update={"epochs": 10, "learning_rate": 0.01})
    return CATALOGUE.model_copy(
        update={
            "seeds": (0, 1, 2, 3, 4, 5),
            "study": ("lenet5", "mlp", "lenet5-regularized"),
            "comparisons": {family: tuple(pairs) for family, pairs in families.items()},
            "settle": study_schema.SettleSettings(most=36),
            "equivalence_margin": 0.002,
            "other_margins": study_schema.OtherMargins(test_loss=0.005, gap=0.002, epochs_to=0.5),
            "training": training,
        }
    )


def from_wrong(wrong: np.ndarray) -> Predictions:
    """From a matrix (seeds, images) that is true where a seed misreads an image."""
    return make_predictions(np.zeros(wrong.shape[1]), wrong)


def with_correct(counts: Sequence[int], images: int = 1000) -> Predictions:
    """Each seed reads the first images correctly, as many as its count."""
    return from_wrong(np.arange(images) >= np.array(counts, dtype=int)[:, None])


def with_seeds(counts: Mapping[int, int], images: int = 1000) -> Predictions:
    """The same, with counts by seed; empty if no seed finished."""
    return replace(with_correct(list(counts.values()), images), seeds=np.array(list(counts), dtype=np.int64))


def accuracies(*variants: Predictions) -> tuple[Sample, ...]:
    """What comparisons of test accuracy are computed from."""
    return tuple(measures.sample(variant, "test_accuracy") for variant in variants)


def random_variants(
    generator: np.random.Generator, accuracies: Sequence[float], seeds: int = 6, images: int = 2000
) -> list[Predictions]:
    """Variants of known accuracy whose answers are all independent."""
    return [from_wrong(generator.random((seeds, images)) >= accuracy) for accuracy in accuracies]


def nested_pair(
    candidate: int, baseline: int, spread: int = 1, images: int = 10_000, seeds: int = 6
) -> tuple[Predictions, Predictions]:
    """Two variants with these correct images for seed 0, and `spread` more for each further seed.

    The images that the worse variant reads are among those that the better one reads.
    """
    first, second = ([count + spread * seed for seed in range(seeds)] for count in (candidate, baseline))
    return with_correct(first, images), with_correct(second, images)


def sure_of_these_images() -> tuple[Predictions, Predictions]:
    """Seeds agree on all but one image each. Of 100 images on which the variants differ, 59 favour the candidate.

    The tests over seeds are certain of this difference; an exact sign test over the images is not (p = 0.09).
    """
    wrong = np.zeros((2, 6, 1000), dtype=bool)
    wrong[0, :, :41] = True
    wrong[1, :, 41:100] = True
    for seed in range(6):
        wrong[:, seed, 200 + seed] = True
    return from_wrong(wrong[0]), from_wrong(wrong[1])
