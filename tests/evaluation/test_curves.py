"""Learning curves from rows of a seed and an epoch each."""

import pytest

from lenetlab.evaluation import curves


def row(seed: int, epoch: int, test_loss: float) -> dict:
    """As csv.DictReader yields it, without validation data."""
    return {**dict.fromkeys(curves.MEASURES, ""), "seed": str(seed), "epoch": str(epoch), "test_loss": str(test_loss)}


def test_a_curve_has_every_seed_and_their_mean():
    rows = [row(0, 1, 0.5), row(0, 2, 0.25), row(1, 1, 0.51), row(1, 2, 0.26), row(2, 1, 0.52), row(2, 2, 0.27)]
    found = curves.from_rows(rows)
    assert set(found) == {"test_loss"}  # measures without values have no curve
    curve = found["test_loss"]
    assert curve.epochs == [1, 2]
    assert curve.seeds == {0: [0.5, 0.25], 1: [0.51, 0.26], 2: [0.52, 0.27]}
    assert curve.mean == pytest.approx([0.51, 0.26])


def test_without_rows_there_are_no_curves():
    assert curves.from_rows([]) == {}
