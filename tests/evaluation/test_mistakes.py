"""Which test images are misread: examples worked by hand, and what holds for any answers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.evaluation import mistakes, predictions
from lenetlab.evaluation.mistakes import Disagreement, Hard


def answers(labels: list[int], *predicted: list[int], probability: object = 0.5) -> predictions.Predictions:
    """One row of answers per seed."""
    rows = np.array(predicted, dtype=np.uint8)
    return predictions.Predictions(
        seeds=np.arange(len(rows)),
        labels=np.array(labels, dtype=np.uint8),
        predicted=rows,
        probability=np.broadcast_to(np.array(probability, dtype=np.float32), rows.shape),
    )


def pixels_of(count: int) -> np.ndarray:
    """Images (count, 28, 28), each filled with its place."""
    return np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((28, 28), dtype=np.uint8)


def test_the_most_confident_mistakes_by_hand():
    """Four images, two seeds. Image 1 is misread by both, image 3 by one with certainty, the others by none."""
    found = answers([5, 3, 8, 1], [5, 2, 8, 7], [5, 2, 8, 1], probability=[[0.9, 0.8, 0.7, 1.0], [0.9, 0.6, 0.99, 0.6]])
    misread = mistakes.misread(found, np.array([10, 11, 12, 13]), pixels_of(4))
    assert misread["place"].tolist() == [1, 3]
    assert misread["number"].tolist() == [11, 13]
    assert misread["confidence"] == pytest.approx([0.7, 0.5])  # (0.8 + 0.6) / 2, (1.0 + 0) / 2
    assert misread["votes"].tolist() == [2, 1]
    assert misread["predicted"].tolist() == [2, 7]
    assert misread["label"].tolist() == [3, 1]
    assert misread["pixels"].shape == (2, 28, 28)
    assert misread["pixels"][:, 0, 0].tolist() == [1, 3]


def test_confidence_and_not_the_number_of_votes_or_the_index_decides_the_order_of_mistakes():
    """Image 0: 0.2 from two seeds of three. Image 1: 0.9 from one. Image 2: 0.3 from all."""
    found = answers(
        [0, 0, 0],
        [1, 1, 1],
        [1, 0, 1],
        [0, 0, 1],
        probability=[[0.3, 1.0, 0.3], [0.3, 0.9, 0.3], [0.6, 0.9, 0.3]],
    )
    misread = mistakes.misread(found, np.arange(3), pixels_of(3))
    assert misread["place"].tolist() == [1, 2, 0]
    assert misread["confidence"] == pytest.approx([1 / 3, 0.3, 0.2])
    assert misread["votes"].tolist() == [1, 3, 2]


def test_mistakes_of_equal_confidence_stand_in_the_order_of_the_index():
    found = answers([0] * 200, [1] * 200, probability=[[(0.25, 0.5, 1.0)[at % 3] for at in range(200)]])
    shown = [*range(2, 200, 3), *range(1, 200, 3), *range(0, 200, 3)]
    assert mistakes.misread(found, np.arange(200), pixels_of(200))["place"].tolist() == shown


def test_a_mistake_without_any_confidence_is_a_mistake():
    found = answers([4, 4], [4, 6], probability=0.0)
    misread = mistakes.misread(found, np.arange(2), pixels_of(2))
    assert (misread["place"].tolist(), misread["predicted"].tolist()) == ([1], [6])


def test_the_answer_shown_is_the_commonest_wrong_one_and_never_the_label():
    """Three seeds of seven read image 0 right, which no wrong answer reaches; 9 is commoner than 2."""
    found = answers([0], *([0], [0], [0], [9], [2], [9], [1]))
    assert mistakes.misread(found, np.arange(1), pixels_of(1))["predicted"].tolist() == [9]


def test_a_sheet_shows_the_most_confident_mistakes_and_tells_of_each():
    """Thirty images, each misread with a little less confidence than the one before, by one or both of two seeds."""
    said = [[1 - place / 100 for place in range(30)]] * 2
    found = answers([3] * 30, [8] * 30, [3, 8] * 15, probability=said)
    misread = mistakes.misread(found, np.arange(30), pixels_of(30))
    shown, above, below = mistakes.sheet(misread, 2)
    assert shown[:, 0, 0].tolist() == [*range(1, 30, 2), *range(0, 17, 2)]  # both before one: 24 fit a page
    assert above == ["3 read as 8"] * 24
    assert (below[0], below[-1]) == ("99 %, 2 of 2", "42 %, 1 of 2")  # image 16: (0.84 + 0) / 2


def test_a_sheet_of_no_mistakes_is_empty():
    misread = mistakes.misread(answers([1], [1]), np.arange(1), pixels_of(1))
    shown, above, below = mistakes.sheet(misread, 1)
    assert (len(shown), above, below) == (0, [], [])


def test_where_no_image_is_misread_there_are_columns_without_rows():
    found = answers([1, 2], [1, 2], [1, 2])
    misread = mistakes.misread(found, np.arange(2), pixels_of(2))
    assert list(misread) == ["place", "number", "label", "predicted", "confidence", "votes", "pixels"]
    assert {len(column) for column in misread.values()} == {0}
    assert misread["pixels"].shape == (0, 28, 28)
    assert mistakes.hardest({"one": found}, 5) == []
    assert mistakes.disagreements(found, found, 5) == ([], [])


def test_where_no_seed_finished_nothing_is_misread():
    labels, none = np.array([5, 3], np.uint8), np.empty((0, 2), np.uint8)
    nobody = predictions.Predictions(np.arange(0), labels, none, none.astype(np.float32))
    misread = mistakes.misread(nobody, np.arange(2), pixels_of(2))
    assert {column: len(values) for column, values in misread.items()} == dict.fromkeys(mistakes.COLUMNS, 0)
    somebody = answers([5, 3], [5, 8], [6, 8])
    alone = mistakes.hardest({"a": somebody}, 5)
    assert alone == mistakes.hardest({"a": somebody, "b": nobody}, 5)
    assert [one.networks for one in alone] == [2, 2]
    assert mistakes.hardest({"b": nobody}, 5) == []
    for sides in ((somebody, nobody), (nobody, somebody), (nobody, nobody)):
        assert mistakes.disagreements(*sides, 5) == ([], [])


def test_wrong_answers_are_counted_by_answer_and_right_ones_not():
    counts = mistakes.wrong_answers(answers([1, 2, 0], [7, 2, 9], [7, 2, 0], [3, 2, 9]))
    assert counts.shape == (10, 3)
    assert {(int(answer), int(at)): int(counts[answer, at]) for answer, at in zip(*counts.nonzero(), strict=True)} == {
        (7, 0): 2,
        (3, 0): 1,
        (9, 2): 2,
    }


# By image, the networks that misread it, and the mean of the variants' shares:
#   0: a's only one      (1 + 0 + 0) / 3       = 1/3
#   1: both of b         (0 + 1 + 0) / 3       = 1/3
#   2: none
#   3: a's, 1 of b, 2 of c  (1 + 1/2 + 1/2) / 3 = 2/3
#   4: 3 of c            (0 + 0 + 3/4) / 3     = 1/4
# Were networks counted, and not variants, image 4 (3 of 7) would come before image 1 (2 of 7), and that before image 0.
HARD = {
    "a": answers([3, 5, 7, 1, 0], [8, 5, 7, 7, 0]),
    "b": answers([3, 5, 7, 1, 0], [3, 6, 7, 2, 0], [3, 6, 7, 1, 0]),
    "c": answers([3, 5, 7, 1, 0], [3, 5, 7, 2, 9], [3, 5, 7, 4, 9], [3, 5, 7, 1, 6], [3, 5, 7, 1, 0]),
}
HARDEST = [
    Hard(place=3, label=1, read_as=2, misread=4, networks=7, share=pytest.approx(2 / 3)),  # 7, 2, 2, 4: mostly 2
    Hard(place=0, label=3, read_as=8, misread=1, networks=7, share=pytest.approx(1 / 3)),
    Hard(place=1, label=5, read_as=6, misread=2, networks=7, share=pytest.approx(1 / 3)),
    Hard(place=4, label=0, read_as=9, misread=3, networks=7, share=pytest.approx(1 / 4)),
]


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 5, 100])
def test_the_hardest_images_by_hand(most):
    """Every variant counts alike; equals stand in the order of the index; image 2, which none misreads, nowhere."""
    assert mistakes.hardest(HARD, most) == HARDEST[:most]


def test_the_hardest_images_do_not_depend_on_the_order_of_variants():
    assert mistakes.hardest(dict(reversed(HARD.items())), 5) == HARDEST


def test_of_many_equally_hard_images_the_first_ones_are_shown():
    found = answers([0] * 200, *([int(at % 3 > seed) for at in range(200)] for seed in range(2)))
    shown = [*range(2, 200, 3), *range(1, 200, 3)][:100]  # both seeds misread those, and one these
    assert [hard.place for hard in mistakes.hardest({"one": found}, 100)] == shown


# Six seeds are the default, and sixths, which floating point does not hold, must tie all the same.
SIXTHS = [[int(number < wrong) for number in range(6)] for wrong in range(7)]  # rows by how many of six are wrong


def six_seeds(wrong: list[int]) -> predictions.Predictions:
    """Six seeds and images of class 0, of which so many seeds misread each."""
    return answers([0] * len(wrong), *zip(*(SIXTHS[count] for count in wrong), strict=True))


def test_images_equally_hard_stand_in_the_order_of_the_index_whichever_variant_misreads_them():
    """In doubles, (3 + 5 + 1) / 18 is another number than (1 + 3 + 5) / 18."""
    found = {"a": six_seeds([1, 3]), "b": six_seeds([3, 5]), "c": six_seeds([5, 1])}
    assert [hard.place for hard in mistakes.hardest(found, 2)] == [0, 1]


def test_images_of_equal_lead_stand_in_the_order_of_the_index_whatever_the_counts():
    """The candidate leads by one seed of six in each: 4 against 3, 1 against 0, 6 against 5."""
    first, _ = mistakes.disagreements(six_seeds([2, 5, 0]), six_seeds([3, 6, 1]), 3)
    assert [one.place for one in first] == [0, 1, 2]


# Seeds that are right, candidate of 2 and baseline of 4, and the lead of the candidate's share:
#   0: 2, 4   0        1: 1, 0  +1/2      2: 0, 1  -1/4      3: 2, 0  +1
#   4: 1, 2   0        5: 2, 2  +1/2      6: 0, 3  -3/4      7: 1, 3  -1/4
LEADS = ([2, 1, 0, 2, 1, 2, 0, 1], [4, 0, 1, 0, 2, 2, 3, 3])
LABELS = [0, 1, 2, 3, 4, 5, 6, 7]
FOR_CANDIDATE = [Disagreement(3, 3, 2, 0), Disagreement(1, 1, 1, 0), Disagreement(5, 5, 2, 2)]
FOR_BASELINE = [Disagreement(6, 6, 0, 3), Disagreement(2, 2, 0, 1), Disagreement(7, 7, 1, 3)]


def right_so_often(right: list[int], seeds: int) -> predictions.Predictions:
    """Images of classes 0 to 7, of which so many of the seeds read each correctly, and the others as 9."""
    return answers(LABELS, *([at if seed < right[at] else 9 for at in LABELS] for seed in range(seeds)))


@pytest.mark.parametrize("most", [0, 1, 2, 3, 100])
def test_the_disagreements_by_hand(most):
    """Shares of seeds are compared, not counts: image 7 has one right seed against three, image 5 two against two."""
    found = mistakes.disagreements(right_so_often(LEADS[0], 2), right_so_often(LEADS[1], 4), most)
    assert found == (FOR_CANDIDATE[:most], FOR_BASELINE[:most])


def test_of_many_equal_disagreements_the_first_ones_are_shown():
    """200 images, of which two seeds against none read every third right, another third half right, the last wrong."""
    some = answers([0] * 200, *([int(at % 3 <= seed) for at in range(200)] for seed in range(2)))
    none = answers([0] * 200, [1] * 200)
    shown = [*range(2, 200, 3), *range(1, 200, 3)][:100]
    assert [one.place for one in mistakes.disagreements(some, none, 100)[0]] == shown
    assert [one.place for one in mistakes.disagreements(none, some, 100)[1]] == shown


def test_two_variants_that_misread_an_image_differently_do_not_disagree():
    assert mistakes.disagreements(answers([0], [1]), answers([0], [2]), 5) == ([], [])


# Shares of 1, 2 or 4 seeds, and sums of them, are exact: what ties here ties in floating point.
@st.composite
def variants(draw: st.DrawFn, least: int = 1, most: int = 4) -> list[predictions.Predictions]:
    """Answers of several variants to the same images, from few classes, so that much ties."""
    images = draw(st.integers(1, 8))
    labels = draw(st.lists(st.integers(0, 3), min_size=images, max_size=images))
    answer = st.sampled_from([None, None, 0, 1, 2, 3])  # None: the right one
    chance = st.sampled_from([0.25, 0.5, 1.0])
    found = []
    for _ in range(draw(st.integers(least, most))):
        seeds = draw(st.sampled_from([1, 2, 4]))
        given = [draw(st.lists(answer, min_size=images, max_size=images)) for _ in range(seeds)]
        rows = [[label if one is None else one for label, one in zip(labels, row, strict=True)] for row in given]
        sure = [draw(st.lists(chance, min_size=images, max_size=images)) for _ in range(seeds)]
        found.append(answers(labels, *rows, probability=sure))
    return found


def tally(networks: list[predictions.Predictions], place: int) -> dict[int, int]:
    """How many networks give each wrong answer to an image, counted one by one."""
    counts: dict[int, int] = {}
    for one in networks:
        for answer in one.predicted[:, place].tolist():
            if answer != one.labels[place]:
                counts[answer] = counts.get(answer, 0) + 1
    return counts


def is_commonest(answer: int, counts: dict[int, int]) -> bool:
    return counts.get(answer) == max(counts.values())


@given(variants(), st.integers(0, 10))
def test_the_hardest_images_are_those_of_a_plain_count(found, most):
    expected = []
    for place in range(len(found[0].labels)):
        shares = [Fraction(int((~one.correct[:, place]).sum()), len(one.seeds)) for one in found]
        expected.append((-sum(shares) / len(found), place))
    expected = [(-share, place) for share, place in sorted(expected) if share][:most]
    hard = mistakes.hardest(dict(enumerate(found)), most)
    assert [one.place for one in hard] == [place for _, place in expected]
    assert [one.share for one in hard] == pytest.approx([float(share) for share, _ in expected])
    for one in hard:
        counts = tally(found, one.place)
        assert one.misread == sum(counts.values())
        assert one.networks == sum(len(variant.seeds) for variant in found)
        assert one.label == found[0].labels[one.place]
        assert is_commonest(one.read_as, counts)


@given(variants(1, 1))
def test_every_misread_image_is_found_once_the_most_confident_first(found):
    (one,) = found
    images = len(one.labels)
    misread = mistakes.misread(one, np.arange(images) + 100, pixels_of(images))
    assert sorted(misread["place"].tolist()) == [at for at in range(images) if tally(found, at)]
    confidence = [float((one.probability[:, at] * ~one.correct[:, at]).mean()) for at in misread["place"]]
    assert misread["confidence"].tolist() == pytest.approx(confidence)
    keys = [(-sure, at) for sure, at in zip(confidence, misread["place"].tolist(), strict=True)]
    assert keys == sorted(keys)
    for row, at in enumerate(misread["place"].tolist()):
        counts = tally(found, at)
        assert misread["votes"][row] == sum(counts.values())
        assert is_commonest(int(misread["predicted"][row]), counts)
        assert (misread["number"][row], misread["label"][row]) == (at + 100, one.labels[at])
        assert (misread["pixels"][row] == at).all()


def relabelled(found: predictions.Predictions, names: np.ndarray) -> predictions.Predictions:
    return predictions.Predictions(found.seeds, names[found.labels], names[found.predicted], found.probability)


PERMUTATIONS = st.permutations(range(10)).map(lambda order: np.array(order, dtype=np.uint8))


@given(variants(2), PERMUTATIONS)
def test_other_names_for_the_classes_change_labels_and_answers_and_nothing_else(found, names):
    """Of two wrong answers that are equally common either may be named, so those are left out."""
    renamed = [relabelled(one, names) for one in found]
    images = len(found[0].labels)

    before, after = (mistakes.hardest(dict(enumerate(networks)), images) for networks in (found, renamed))
    assert [(one.place, one.misread, one.networks, one.share) for one in before] == [
        (one.place, one.misread, one.networks, one.share) for one in after
    ]
    assert [names[one.label] for one in before] == [one.label for one in after]
    for old, new in zip(before, after, strict=True):
        if sum(is_commonest(answer, tally(found, old.place)) for answer in range(10)) == 1:
            assert names[old.read_as] == new.read_as

    before, after = (mistakes.misread(one[0], np.arange(images), pixels_of(images)) for one in (found, renamed))
    for key in ("place", "number", "confidence", "votes", "pixels"):
        assert np.array_equal(before[key], after[key])
    assert np.array_equal(names[before["label"]], after["label"])
    for row, place in enumerate(before["place"]):
        if sum(is_commonest(answer, tally(found[:1], place)) for answer in range(10)) == 1:
            assert names[before["predicted"][row]] == after["predicted"][row]

    before, after = (mistakes.disagreements(*networks[:2], images) for networks in (found, renamed))
    for old, new in zip(before, after, strict=True):
        assert [Disagreement(one.place, names[one.label], one.candidate, one.baseline) for one in old] == new


@given(variants(2, 2), st.integers(0, 10))
def test_the_lists_of_disagreements_are_swapped_with_the_sides(found, most):
    def turned(side: list[Disagreement]) -> list[Disagreement]:
        return [Disagreement(one.place, one.label, one.baseline, one.candidate) for one in side]

    first, second = mistakes.disagreements(*found, most)
    assert mistakes.disagreements(*found[::-1], most) == (turned(second), turned(first))


@given(variants(2, 2), st.integers(0, 10))
def test_the_disagreements_are_those_of_a_plain_count(found, most):
    right = [[int(side.correct[:, at].sum()) for side in found] for at in range(len(found[0].labels))]
    leads = [Fraction(one, len(found[0].seeds)) - Fraction(two, len(found[1].seeds)) for one, two in right]
    for sign, side in zip((1, -1), mistakes.disagreements(*found, most), strict=True):
        order = [at for _, at in sorted((-sign * lead, at) for at, lead in enumerate(leads) if sign * lead > 0)]
        assert side == [Disagreement(at, int(found[0].labels[at]), *right[at]) for at in order[:most]]
