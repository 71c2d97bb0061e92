"""Misread test images: examples computed by hand, and properties that hold for all answers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.evaluation import mistakes
from lenetlab.evaluation.mistakes import Disagreement, HardImage, MisreadImages
from lenetlab.evaluation.predictions import Predictions
from tests.answers import make_predictions

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def answers(labels: list[int], *predicted: list[int], probability: object = 0.5) -> Predictions:
    """One row of answers per seed."""
    rows = np.array(predicted, dtype=np.uint8).reshape(len(predicted), len(labels))
    confidence = np.broadcast_to(np.array(probability, dtype=np.float32), rows.shape)
    return make_predictions(np.array(labels), rows, probability=confidence)


def find(predictions: Predictions) -> MisreadImages:
    """Image i has the number 100 + i, and every pixel has the value i."""
    places = np.arange(len(predictions.labels))
    pixels = places.astype(np.uint8)[:, None, None] * np.ones((28, 28), dtype=np.uint8)
    return mistakes.find(predictions, places + 100, pixels)


# All misread images of one variant.


def test_misread_images_by_hand():
    """Four images, two seeds. Both misread image 1, one misreads image 3 with certainty."""
    misread = find(
        answers([5, 3, 8, 1], [5, 2, 8, 7], [5, 2, 8, 1], probability=[[0.9, 0.8, 0.7, 1.0], [0.9, 0.6, 0.99, 0.6]])
    )
    assert misread.place.tolist() == [1, 3]
    assert misread.number.tolist() == [101, 103]
    assert misread.label.tolist() == [3, 1]
    assert misread.predicted.tolist() == [2, 7]
    assert misread.confidence == pytest.approx([0.7, 0.5])  # (0.8 + 0.6) / 2, (1.0 + 0) / 2
    assert misread.votes.tolist() == [2, 1]
    assert misread.pixels.shape == (2, 28, 28)
    assert misread.pixels[:, 0, 0].tolist() == [1, 3]


def test_confidence_decides_the_order_not_the_number_of_votes():
    """Image 0: 0.2 from two seeds of three. Image 1: 0.9 from one. Image 2: 0.3 from all."""
    probability = [[0.3, 1.0, 0.3], [0.3, 0.9, 0.3], [0.6, 0.9, 0.3]]
    misread = find(answers([0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 0, 1], probability=probability))
    assert misread.place.tolist() == [1, 2, 0]
    assert misread.confidence == pytest.approx([1 / 3, 0.3, 0.2])
    assert misread.votes.tolist() == [1, 3, 2]


def test_images_of_equal_confidence_keep_the_order_of_the_index():
    misread = find(answers([0] * 200, [1] * 200, probability=[[(0.25, 0.5, 1.0)[place % 3] for place in range(200)]]))
    assert misread.place.tolist() == [*range(2, 200, 3), *range(1, 200, 3), *range(0, 200, 3)]


def test_an_image_misread_with_a_confidence_of_zero_is_included():
    misread = find(answers([4, 4], [4, 6], probability=0.0))
    assert (misread.place.tolist(), misread.predicted.tolist()) == ([1], [6])


def test_the_predicted_class_is_the_most_frequent_wrong_answer():
    """Three of seven seeds are right, which is more than any wrong answer has; 9 is more frequent than 2."""
    assert find(answers([0], [0], [0], [0], [9], [2], [9], [1])).predicted.tolist() == [9]


def test_pixels_are_kept_of_the_most_confident_and_the_most_often_misread_images():
    """Of 2000 images, one seed misreads every image with falling confidence, the second the images from 1000 on."""
    count, half = 2000, 1000
    probability = [[1 - place / (2 * count) for place in range(count)], [0.0] * count]
    second = [0] * half + [1] * half
    misread = find(answers([0] * count, [1] * count, second, probability=probability))
    assert misread.place.tolist() == [*range(count)]
    assert misread.pictured.tolist() == [*range(24), *range(half, half + mistakes.PICTURED)]
    assert misread.pixels[:, 0, 0].tolist() == [place % 256 for place in misread.pictured]
    pixels, _, _ = mistakes.sheet(misread, 2, NAMES)
    assert pixels[:, 0, 0].tolist() == [*range(24)]


def test_images_are_chosen_among_those_with_pixels():
    one, other = answers([0] * 6, [1] * 6, [1, 1, 1, 0, 0, 0]), answers([0] * 6, [1, 0, 0, 0, 0, 0])
    assert [image.place for image in mistakes.hardest({"a": one, "b": other}, 3)] == [0, 1, 2]
    assert [image.place for image in mistakes.hardest({"a": one, "b": other}, 3, [1, 3, 5])] == [1, 3, 5]
    assert [image.place for image in mistakes.disagreements(other, one, 2)[0]] == [1, 2]
    assert [image.place for image in mistakes.disagreements(other, one, 2, [2, 5])[0]] == [2, 5]
    assert mistakes.hardest({"a": one}, 3, []) == []


def test_without_misread_images_all_results_are_empty():
    correct = answers([1, 2], [1, 2], [1, 2])
    misread = find(correct)
    assert [len(column) for column in vars(misread).values()] == [0] * 8
    assert misread.pixels.shape == (0, 28, 28)
    pixels, above, below = mistakes.sheet(misread, 2, NAMES)
    assert (len(pixels), above, below) == (0, [], [])
    assert mistakes.hardest({"a": correct}, 5) == []
    assert mistakes.disagreements(correct, correct, 5) == ([], [])


def test_variants_without_a_finished_seed_do_not_count():
    finished, unfinished = answers([5, 3], [5, 8], [6, 8]), answers([5, 3])
    assert len(find(unfinished)) == 0
    hardest = mistakes.hardest({"a": finished, "b": unfinished}, 5)
    assert hardest == mistakes.hardest({"a": finished}, 5)
    assert [image.networks for image in hardest] == [2, 2]
    assert mistakes.hardest({"b": unfinished}, 5) == []
    for pair in ((finished, unfinished), (unfinished, finished), (unfinished, unfinished)):
        assert mistakes.disagreements(*pair, 5) == ([], [])


def test_a_sheet_shows_the_24_most_confident_mistakes():
    """Thirty images; the confidence falls from image to image, and one or both of two seeds misread each."""
    probability = [[1 - place / 100 for place in range(30)]] * 2
    misread = find(answers([3] * 30, [8] * 30, [3, 8] * 15, probability=probability))
    pixels, above, below = mistakes.sheet(misread, 2, NAMES)
    assert pixels[:, 0, 0].tolist() == [*range(1, 30, 2), *range(0, 17, 2)]  # first those that both misread
    assert above == ["three read as eight"] * 24
    assert (below[0], below[-1]) == ("99 %, 2 of 2", "42 %, 1 of 2")  # image 16: (0.84 + 0) / 2


# The images that most networks misread. By image, who misreads it, and the mean of the variants' shares:
#   0: a's only seed              (1 + 0 + 0) / 3     = 1/3
#   1: both seeds of b            (0 + 1 + 0) / 3     = 1/3
#   2: none
#   3: a's, 1 of 2 of b, 2 of 4 of c  (1 + 1/2 + 1/2) / 3 = 2/3
#   4: 3 of 4 of c                (0 + 0 + 3/4) / 3   = 1/4
# If networks had the same weight, image 4 (3 of 7) would come before image 1 (2 of 7), and that before image 0.
VARIANTS = {
    "a": answers([3, 5, 7, 1, 0], [8, 5, 7, 7, 0]),
    "b": answers([3, 5, 7, 1, 0], [3, 6, 7, 2, 0], [3, 6, 7, 1, 0]),
    "c": answers([3, 5, 7, 1, 0], [3, 5, 7, 2, 9], [3, 5, 7, 4, 9], [3, 5, 7, 1, 6], [3, 5, 7, 1, 0]),
}
HARDEST = [
    HardImage(place=3, label=1, predicted=2, misread=4, networks=7, share=pytest.approx(2 / 3)),  # as 7, 2, 2 and 4
    HardImage(place=0, label=3, predicted=8, misread=1, networks=7, share=pytest.approx(1 / 3)),
    HardImage(place=1, label=5, predicted=6, misread=2, networks=7, share=pytest.approx(1 / 3)),
    HardImage(place=4, label=0, predicted=9, misread=3, networks=7, share=pytest.approx(1 / 4)),
]


@pytest.mark.parametrize("limit", [0, 1, 3, 4, 5, 100])
def test_hardest_images_by_hand(limit):
    """Every variant has the same weight, ties keep the order of the index, image 2 is left out."""
    assert mistakes.hardest(VARIANTS, limit) == HARDEST[:limit]


def test_hardest_images_do_not_depend_on_the_order_of_variants():
    assert mistakes.hardest(dict(reversed(VARIANTS.items())), 5) == HARDEST


def test_of_many_equally_hard_images_the_first_are_returned():
    predictions = answers([0] * 200, *([int(place % 3 > seed) for place in range(200)] for seed in range(2)))
    both, one = range(2, 200, 3), range(1, 200, 3)  # places that both seeds misread, and that one misreads
    assert [image.place for image in mistakes.hardest({"a": predictions}, 100)] == [*both, *one][:100]


def six_seeds(wrong: list[int]) -> Predictions:
    """Six seeds and images of class 0; `wrong` says how many seeds misread each. Sixths are not exact in binary."""
    return answers([0] * len(wrong), *([int(seed < count) for count in wrong] for seed in range(6)))


def test_equally_hard_images_tie_although_their_shares_differ_by_rounding():
    """In binary floating point, (3 + 5 + 1) / 18 differs from (1 + 3 + 5) / 18."""
    variants = {"a": six_seeds([1, 3]), "b": six_seeds([3, 5]), "c": six_seeds([5, 1])}
    assert [image.place for image in mistakes.hardest(variants, 2)] == [0, 1]


# Images that one of two variants reads better.


def test_equal_leads_tie_although_they_differ_by_rounding():
    """The candidate leads by one of six seeds on each image: 4 against 3, 1 against 0, 6 against 5."""
    for_candidate, _ = mistakes.disagreements(six_seeds([2, 5, 0]), six_seeds([3, 6, 1]), 3)
    assert [image.place for image in for_candidate] == [0, 1, 2]


# How many seeds are right, 2 of the candidate and 4 of the baseline, and the candidate's lead:
#   0: 2, 4   0        1: 1, 0  +1/2      2: 0, 1  -1/4      3: 2, 0  +1
#   4: 1, 2   0        5: 2, 2  +1/2      6: 0, 3  -3/4      7: 1, 3  -1/4
CANDIDATE_RIGHT, BASELINE_RIGHT = [2, 1, 0, 2, 1, 2, 0, 1], [4, 0, 1, 0, 2, 2, 3, 3]
FOR_CANDIDATE = [Disagreement(3, 3, 2, 0), Disagreement(1, 1, 1, 0), Disagreement(5, 5, 2, 2)]
FOR_BASELINE = [Disagreement(6, 6, 0, 3), Disagreement(2, 2, 0, 1), Disagreement(7, 7, 1, 3)]


def with_right_counts(right: list[int], seeds: int) -> Predictions:
    """Images of classes 0 to 7; `right` says how many seeds read each correctly. The others answer 9."""
    return answers([*range(8)], *([label if seed < right[label] else 9 for label in range(8)] for seed in range(seeds)))


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
def test_disagreements_by_hand(limit):
    """Shares of seeds are compared, not counts: image 5 has two right seeds of two against two of four."""
    candidate, baseline = with_right_counts(CANDIDATE_RIGHT, 2), with_right_counts(BASELINE_RIGHT, 4)
    assert mistakes.disagreements(candidate, baseline, limit) == (FOR_CANDIDATE[:limit], FOR_BASELINE[:limit])


def test_of_many_equal_disagreements_the_first_are_returned():
    """Of 200 images, two seeds read a third right, one seed reads another third right; the baseline none."""
    some = answers([0] * 200, *([int(place % 3 <= seed) for place in range(200)] for seed in range(2)))
    none = answers([0] * 200, [1] * 200)
    expected = [*range(2, 200, 3), *range(1, 200, 3)][:100]
    assert [image.place for image in mistakes.disagreements(some, none, 100)[0]] == expected
    assert [image.place for image in mistakes.disagreements(none, some, 100)[1]] == expected


def test_different_wrong_answers_are_no_disagreement():
    assert mistakes.disagreements(answers([0], [1]), answers([0], [2]), 5) == ([], [])


# Properties. Shares of 1, 2 or 4 seeds and their sums are exact in floating point, so ties are exact.


@st.composite
def variants(draw: st.DrawFn, least: int = 1, most: int = 4) -> list[Predictions]:
    """Answers of several variants to the same images; few classes, so that there are many ties."""
    images = draw(st.integers(1, 8))
    labels = draw(st.lists(st.integers(0, 3), min_size=images, max_size=images))
    answer = st.sampled_from([None, None, 0, 1, 2, 3])  # None: the right one
    drawn = []
    for _ in range(draw(st.integers(least, most))):
        seeds = draw(st.sampled_from([1, 2, 4]))
        given = [draw(st.lists(answer, min_size=images, max_size=images)) for _ in range(seeds)]
        rows = [
            [label if choice is None else choice for label, choice in zip(labels, row, strict=True)] for row in given
        ]
        chances = st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=images, max_size=images)
        drawn.append(answers(labels, *rows, probability=[draw(chances) for _ in range(seeds)]))
    return drawn


def wrong_answers(predictions: list[Predictions], place: int) -> dict[int, int]:
    """How many networks give each wrong answer to an image, counted one by one."""
    counts: dict[int, int] = {}
    for variant in predictions:
        for answer in variant.predicted[:, place].tolist():
            if answer != variant.labels[place]:
                counts[answer] = counts.get(answer, 0) + 1
    return counts


def is_most_frequent(answer: int, counts: dict[int, int]) -> bool:
    return counts.get(answer) == max(counts.values())


@given(variants(), st.integers(0, 10))
def test_hardest_images_agree_with_a_simple_count(predictions, limit):
    shares = []
    for place in range(len(predictions[0].labels)):
        wrong = [Fraction(int((~one.correct[:, place]).sum()), len(one.seeds)) for one in predictions]
        shares.append((-sum(wrong) / len(predictions), place))
    expected = [(-share, place) for share, place in sorted(shares) if share][:limit]
    hardest = mistakes.hardest(dict(enumerate(predictions)), limit)
    assert [image.place for image in hardest] == [place for _, place in expected]
    assert [image.share for image in hardest] == pytest.approx([float(share) for share, _ in expected])
    for image in hardest:
        counts = wrong_answers(predictions, image.place)
        assert image.misread == sum(counts.values())
        assert image.networks == sum(len(variant.seeds) for variant in predictions)
        assert image.label == predictions[0].labels[image.place]
        assert is_most_frequent(image.predicted, counts)


@given(variants(1, 1))
def test_misread_images_agree_with_a_simple_count(predictions):
    (variant,) = predictions
    misread = find(variant)
    places = misread.place.tolist()
    assert sorted(places) == [place for place in range(len(variant.labels)) if wrong_answers(predictions, place)]
    confidence = [float((variant.probability[:, place] * ~variant.correct[:, place]).mean()) for place in places]
    assert misread.confidence.tolist() == pytest.approx(confidence)
    order = [(-value, place) for value, place in zip(confidence, places, strict=True)]
    assert order == sorted(order)
    for row, place in enumerate(places):
        counts = wrong_answers(predictions, place)
        assert misread.votes[row] == sum(counts.values())
        assert is_most_frequent(int(misread.predicted[row]), counts)
        assert (misread.number[row], misread.label[row]) == (place + 100, variant.labels[place])
        assert (misread.pixels[row] == place).all()
    assert misread.pictured.tolist() == [*range(len(places))]


@given(variants(2, 2), st.integers(0, 10))
def test_disagreements_agree_with_a_simple_count(predictions, limit):
    candidate, baseline = predictions
    right = [[int(side.correct[:, place].sum()) for side in predictions] for place in range(len(candidate.labels))]
    leads = [Fraction(one, len(candidate.seeds)) - Fraction(other, len(baseline.seeds)) for one, other in right]
    for sign, images in zip((1, -1), mistakes.disagreements(candidate, baseline, limit), strict=True):
        order = [
            place
            for _, place in sorted((-sign * lead, place) for place, lead in enumerate(leads))
            if sign * leads[place] > 0
        ]
        assert images == [Disagreement(place, int(candidate.labels[place]), *right[place]) for place in order[:limit]]
