"""Sentences about seeds that diverged."""

import pytest

from lenetlab.evaluation import divergence

DIVERGED = {"1": {"epoch": 1, "step": 12}, "4": {"epoch": 3, "step": 2}}


@pytest.mark.parametrize(
    ("seeds", "text"),
    [([3], "seed 3"), ([4, 1], "seeds 1 and 4"), ([0, 11, 2], "seeds 0, 2 and 11")],
)
def test_seed_list(seeds, text):
    assert divergence.seed_list(seeds) == text


def test_reason_says_how_many_and_which_seeds_diverged():
    assert divergence.reason_undecided("lenet5-hot", [1, 4], 6) == (
        "2 of 6 seeds of lenet5-hot diverged (seeds 1 and 4): the other seeds alone do not represent it"
    )
    assert divergence.reason_undecided("mlp", range(6), 6) == "all 6 seeds of mlp diverged: it has no result"
    assert divergence.reason_undecided("mlp", [3], 1) == "the only seed of mlp diverged: it has no result"


def test_warning_names_seeds_epochs_and_a_remedy():
    assert divergence.summary(DIVERGED, 6) == "2 of 6 seeds (1 in epoch 1, 4 in epoch 3)"
    assert divergence.warning("lenet5-hot", DIVERGED, 6) == (
        "lenet5-hot: diverged: 2 of 6 seeds (1 in epoch 1, 4 in epoch 3); these seeds have no result, and every"
        " comparison with lenet5-hot is inconclusive; remedy: a lower learning_rate"
    )
