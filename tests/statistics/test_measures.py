"""Values by seed and by image of each measure, and how they are written."""

from dataclasses import replace

import numpy as np
import pytest

from lenetlab.statistics import measures
from lenetlab.statistics.measures import MEASURES
from tests.answers import make_predictions

# Two seeds, four images, three epochs.
PREDICTIONS = make_predictions(
    np.zeros(4),
    np.array([[0, 0, 0, 1], [0, 1, 1, 0]]),
    loss=np.array([[0.5, 0.25, 0.25, 3.0], [1.0, 2.0, 4.0, 1.0]], np.float32),
    training_accuracy=np.array([1.0, 0.75]),
    epoch_accuracy=np.array([[0.5, 0.7, 0.75], [0.25, 0.8, 0.5]]),
)


def test_accuracy_and_loss_are_means_over_the_images():
    accuracy = measures.sample(PREDICTIONS, "test_accuracy")
    assert accuracy.values.tolist() == [0.75, 0.5]
    assert accuracy.by_image.astype(int).tolist() == [[1, 1, 1, 0], [1, 0, 0, 1]]
    loss = measures.sample(PREDICTIONS, "test_loss")
    assert loss.values.tolist() == [1.0, 2.0]
    assert loss.by_image.tolist() == PREDICTIONS.loss.tolist()


def test_losses_are_summed_with_double_precision():
    """A thousand times 0.1 and one large loss, which single precision would round."""
    losses = np.full((2, 1001), 0.1, np.float32)
    losses[:, 0] = 1e6
    many = make_predictions(np.zeros(1001), np.zeros((2, 1001)), loss=losses)
    assert measures.sample(many, "test_loss").values == pytest.approx(
        (1e6 + 1000 * float(np.float32(0.1))) / 1001, rel=1e-12
    )


def test_the_gap_is_training_minus_test_accuracy_for_each_image():
    gap = measures.sample(PREDICTIONS, "gap")
    assert gap.values.tolist() == [0.25, 0.25]
    assert gap.by_image.tolist() == [[0, 0, 0, 1], [-0.25, 0.75, 0.75, -0.25]]
    assert gap.by_image.mean(axis=1) == pytest.approx(gap.values)


@pytest.mark.parametrize(
    ("wanted", "epochs"), [(0.25, [1, 1]), (0.5, [1, 2]), (0.75, [3, 2]), (0.8, [4, 2]), (0.81, [4, 4]), (1.0, [4, 4])]
)
def test_epochs_to_an_accuracy_are_one_more_than_trained_if_it_is_never_reached(wanted, epochs):
    sample = measures.sample(PREDICTIONS, "epochs_to", wanted)
    assert sample.values.tolist() == epochs
    assert sample.by_image is None


def test_no_finished_seed_is_a_sample_without_values():
    none = replace(PREDICTIONS.first(0), epoch_accuracy=np.zeros((0, 3)))
    for measure in MEASURES:
        assert measures.sample(none, measure, 0.9 if measure == "epochs_to" else None).seeds == 0


def test_the_first_seeds_of_a_sample_are_those_of_its_first_rows():
    for measure in MEASURES:
        accuracy = 0.5 if measure == "epochs_to" else None
        first = measures.sample(PREDICTIONS, measure, accuracy).first(1)
        expected = measures.sample(PREDICTIONS.first(1), measure, accuracy)
        assert first.values.tolist() == expected.values.tolist()
        assert (first.by_image is None) == (expected.by_image is None)
        if first.by_image is not None:
            assert first.by_image.tolist() == expected.by_image.tolist()


def test_a_higher_value_is_better_for_accuracy_alone():
    assert [name for name, measure in MEASURES.items() if not measure.lower_is_better] == ["test_accuracy"]


def test_amounts_have_the_unit_of_their_measure():
    written = {name: (measure.amount(0.0123), measure.signed(-0.0123)) for name, measure in MEASURES.items()}
    assert written == {
        "test_accuracy": ("1.23 percentage points", "−1.23"),
        "test_loss": ("0.0123 nats", "−0.0123"),
        "gap": ("1.23 percentage points", "−1.23"),
        "epochs_to": ("0.01 epochs", "−0.01"),
    }
    assert MEASURES["test_loss"].span((-0.5, 0.00001)) == "−0.5000 to 0.0000"
    assert MEASURES["test_loss"].signed(0.25) == "+0.2500"
    assert MEASURES["gap"].span(None) == MEASURES["gap"].signed(None) == "–"


def test_the_name_of_a_measure_names_the_accuracy_to_reach():
    assert measures.name("test_loss") == "test loss"
    assert measures.name("epochs_to", 0.985) == "number of epochs to 98.5 % test accuracy"
