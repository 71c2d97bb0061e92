"""Images of an archive: numbers and labels from file names, and all errors in one list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.data import image_files, png
from lenetlab.settings import schema
from lenetlab.storage import files
from lenetlab.storage.digests import sha256
from tests.data.formats import pillow_png, tar

DIGITS = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)


@given(st.integers(0, 10**9 - 1), st.integers(0, 9), st.integers(0, 4))
def test_a_file_name_gives_number_and_label(number, label, zeros):
    digits = "0" * min(zeros, 9 - len(str(number))) + str(number)

    assert image_files.parse_name(f"{digits}_{label}.png", 10) == (number, label)


INVALID_NAMES = [
    "5.png", "_5.png", "1_.png", "1-5.png", "1_5_6.png", "a_5.png", "1_a.png", "-1_5.png", "+1_5.png", " 1_5.png",
    "1_5.png ", "1_5.PNG", "1_5.png\n", "1_5xpng", "1.0_5.png", "1_-5.png", "1_5.jpg", "1_5.png.png", "x1_5.png",
    "1_10.png.png", "0000000001_5.png", "1 _5.png", "1_٥.png", "²_5.png", "\uff11_5.png",
]  # fmt: skip


@pytest.mark.parametrize("name", INVALID_NAMES)
def test_other_file_names_are_rejected(name):
    with pytest.raises(ValueError, match=r"invalid file name; allowed: \{number\}_\{label\}\.png"):
        image_files.parse_name(name, 10)


@pytest.mark.parametrize("label", ["10", "55", "05", "00", "1000"])
def test_labels_of_no_class_are_rejected(label):
    allowed = "none of the 10 classes of data.classes; allowed: 0 to 9, without leading zeros"
    with pytest.raises(ValueError, match=f"the label {label} is {allowed}"):
        image_files.parse_name(f"00001_{label}.png", 10)


def test_the_images_of_an_archive_are_ordered_by_number(tmp_path):
    path, problems = tmp_path / "train.tar", []
    names = ["10_3.png", "00009_0.png", "2_9.png"]
    files.write_bytes(path, tar((name, png.encode(DIGITS[place])) for place, name in enumerate(names)))

    found = image_files.read_archive(path, schema.ImageKind(), problems)

    assert problems == []
    assert found.names.tolist() == names[::-1]
    assert found.numbers.tolist() == [2, 9, 10]
    assert found.labels.tolist() == [9, 0, 3]
    assert np.array_equal(found.pixels, DIGITS[[2, 1, 0]])
    assert found.digests.tolist() == [sha256(DIGITS[place].tobytes()) for place in (2, 1, 0)]


def test_all_errors_are_listed_and_valid_images_are_read(tmp_path):
    path, problems = tmp_path / "train.tar", ["an earlier problem"]
    contents = {
        "00001_5.png": png.encode(DIGITS[0]),
        "1_7.png": png.encode(DIGITS[1]),
        "2_10.png": png.encode(DIGITS[2]),
        "two_1.png": b"not a digit",
        "3_3.png": pillow_png(DIGITS[4], "RGB"),
        "4_4.png": png.encode(DIGITS[5]),
    }
    files.write_bytes(path, tar(contents.items()))

    found = image_files.read_archive(path, schema.ImageKind(), problems)

    assert [line.split("; ")[0] for line in problems] == [
        "an earlier problem",
        f"{path}: '1_7.png': the number 1 appears twice, also in '00001_5.png'",
        f"{path}: '2_10.png': the label 10 is none of the 10 classes of data.classes",
        f"{path}: '3_3.png': 28×28 pixels, 8-bit RGB",
        f"{path}: 'two_1.png': invalid file name",
        f"{path}: 'two_1.png': not a PNG file: it starts with the bytes 6e 6f 74 20 61 20 64 69",
    ]
    assert found.names.tolist() == ["00001_5.png", "1_7.png", "2_10.png", "4_4.png"]
    assert np.array_equal(found.pixels, DIGITS[[0, 1, 2, 5]])


@pytest.mark.parametrize(("content", "problem"), [
    (tar([]), "contains no images; needed: PNG files named {number}_{label}.png"),
    (b"damaged" * 200, "damaged, or not a tar: wrong checksum in the header at byte 0"),
])  # fmt: skip
def test_an_archive_without_images(tmp_path, content, problem):
    path, problems = tmp_path / "train.tar", []
    files.write_bytes(path, content)

    assert len(image_files.read_archive(path, schema.ImageKind(), problems).names) == 0
    assert problems == [f"{path}: {problem}"]
