"""Accuracy by class: an example computed by hand."""

import numpy as np

from lenetlab.evaluation import by_class
from tests.answers import make_predictions


def test_accuracies_by_hand():
    """Of two images of class 2, one seed of `a` reads both, the other one; class 1 has no image, `b` no seed."""
    labels = np.array([0, 2, 2])
    answers = {
        "a": make_predictions(labels, np.array([[0, 2, 2], [2, 2, 0]])),
        "b": make_predictions(labels, np.empty((0, 3), int)),
    }
    found = by_class.accuracies(answers, 4)
    assert [(row.label, row.images) for row in found] == [(0, 1), (1, 0), (2, 2), (3, 0)]
    assert [row.accuracies["a"] for row in found] == [0.5, None, 0.75, None]
    assert {row.accuracies["b"] for row in found} == {None}
    assert [row.mean for row in found] == [0.5, 1.0, 0.75, 1.0]
