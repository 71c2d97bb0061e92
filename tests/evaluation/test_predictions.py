"""Predictions on the test images."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lenetlab.evaluation import predictions
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
    before, after = predictions.confusion(labels, predicted), predictions.confusion(renamed[labels], renamed[predicted])
    assert before.sum() == 150
    assert np.array_equal(after[np.ix_(renamed, renamed)], before)
