"""Predictions on the test images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenetlab.evaluation import predictions
from tests.answers import make_predictions
from tests.statistics.examples import with_correct


def test_predictions_are_read_as_they_were_written(tmp_path):
    written = with_correct([900, 950])
    predictions.write(written, tmp_path / "predictions.npz")
    read = predictions.read(tmp_path / "predictions.npz")
    for name, value in vars(written).items():
        assert np.array_equal(getattr(read, name), value), name
    assert read.accuracy.tolist() == [0.9, 0.95]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_renaming_the_classes_permutes_the_confusion(seed):
    generator = np.random.default_rng(seed)
    labels, predicted = generator.integers(0, 10, 50), generator.integers(0, 10, (3, 50))
    renamed = generator.permutation(10)
    before = predictions.confusion(labels, predicted, 10)
    after = predictions.confusion(renamed[labels], renamed[predicted], 10)
    assert before.sum() == 150
    assert np.array_equal(after[np.ix_(renamed, renamed)], before)


def test_a_confusion_has_a_row_for_every_class_and_refuses_others():
    labels, predicted = np.array([0, 299], np.uint16), np.array([[299, 299]], np.uint16)
    counts = predictions.confusion(labels, predicted, 300)
    assert counts.shape == (300, 300)
    assert (counts[0, 299], counts[299, 299], counts.sum()) == (1, 1, 2)
    with pytest.raises(ValueError, match="a class above 298"):
        predictions.confusion(labels, predicted, 299)


def test_more_than_256_classes_are_read_back(tmp_path):
    answers = make_predictions(np.array([999, 3], np.uint16), np.array([[999, 998]], np.uint16))
    assert answers.predicted.tolist() == [[999, 998]]
    predictions.write(answers, tmp_path / "predictions.npz")
    assert predictions.read(tmp_path / "predictions.npz").labels.tolist() == [999, 3]
