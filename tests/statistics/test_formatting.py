"""How seeds that diverged are told."""

import pytest

from lenetlab.evaluation import divergence
from lenetlab.statistics import formatting


@pytest.mark.parametrize(
    ("seeds", "told"),
    [([3], "seed 3"), ([4, 1], "seeds 1 and 4"), ([0, 11, 2], "seeds 0, 2 and 11")],
)
def test_seeds_are_named_by_their_numbers(seeds, told):
    assert divergence.seed_list(seeds) == told


def test_a_reason_says_how_many_and_which():
    some = "2 of 6 seeds of lenet5-hot diverged (seeds 1 and 4): what the others reach is not what it reaches"
    assert divergence.reason("lenet5-hot", [1, 4], 6) == some
    assert divergence.reason("mlp", range(6), 6) == "all 6 seeds of mlp diverged: it reaches nothing"
    assert divergence.reason("mlp", [3], 1) == "the only seed of mlp diverged: it reaches nothing"


def test_a_warning_names_the_seeds_their_epochs_and_what_helps():
    lost = {"1": {"epoch": 1, "step": 12}, "4": {"epoch": 3, "step": 2}}
    assert divergence.summary(lost, 6) == "2 of 6 seeds (1 in epoch 1, 4 in epoch 3)"
    assert divergence.warning("lenet5-hot", lost, 6) == (
        "lenet5-hot: diverged: 2 of 6 seeds (1 in epoch 1, 4 in epoch 3); they have no result, and no comparison with"
        " lenet5-hot is decided; remedy: a lower learning_rate"
    )


def test_what_is_not_there_is_a_dash():
    assert [formatting.percent(None), formatting.points(None), formatting.span(None)] == ["–"] * 3
