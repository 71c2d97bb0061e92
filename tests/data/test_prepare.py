"""Prepared data: index, pixels, profile, the validation split, and errors that leave nothing behind."""

import csv
import hashlib
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.data import image_files, png, prepare, sources
from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.storage.digests import sha256
from tests.data.formats import data_settings, flip_bit, pillow_pixels, pillow_png, tar

Contents = dict[str, bytes]
DIGITS = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
FURTHER = np.random.default_rng(1).integers(0, 256, (10, 28, 28), dtype=np.uint8)
ALL_FILES = ("train/index.csv", "train/pixels.npy", "train/profile.json", "test/index.csv", "test/pixels.npy")


def contents(pixels: np.ndarray) -> Contents:
    return {f"{number:05d}_{number % 3}.png": png.encode(image) for number, image in enumerate(pixels)}


TRAIN, TEST, EXTRA = contents(DIGITS[:40]), contents(DIGITS[40:]), contents(FURTHER)


def prepared_folder(
    folder: Path, train: Contents = TRAIN, test: Contents = TEST, extra: Contents | None = None, **options: object
) -> Path:
    """The folder with train/ and test/ that `prepare` writes."""
    for name, content in (("train", train), ("test", test), ("extra", extra or {})):
        files.write_bytes(folder / "raw" / f"{name}.tar", tar(content.items()))
    settings = data_settings(**{"classes": 3} | options)
    prepare.prepare(folder / "raw", folder / "prepared/train", folder / "prepared/test", settings)
    return folder / "prepared"


def index_rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "index.csv").read_text())))


def profile(folder: Path) -> dict:
    return json.loads((folder / "profile.json").read_text())


def error_lines(folder: Path, *args: object, **options: object) -> list[str]:
    """The lines of the error; no output is left."""
    with pytest.raises(UserError) as caught:
        prepared_folder(folder, *args, **options)
    assert not list((folder / "prepared").glob("*"))
    assert not list((folder / "prepared").glob(".*"))
    return list(caught.value.problems)


def test_the_outputs_have_the_documented_form(tmp_path):
    train = {
        "7_2.png": pillow_png(DIGITS[0]),
        **{f"0000{number}_{number}.png": pillow_png(DIGITS[10 + number]) for number in range(5)},
    }
    test = {"4_4.png": pillow_png(DIGITS[3]), "3_1.png": png.encode(DIGITS[0])}
    classes = ["zero", "one", "two", "three", "four"]
    folder = prepared_folder(tmp_path, train, test, duplicates="drop", classes=classes)

    assert (folder / "train/index.csv").read_text() == "number,label,split,sha256\n" + "".join(
        f"{number},{number},training,{hashlib.sha256(DIGITS[10 + number].tobytes()).hexdigest()}\n"
        for number in range(5)
    )
    index, packed = (folder / "test/index.csv").read_bytes(), (folder / "test/pixels.npy").read_bytes()
    assert index.decode() == (
        "number,label,split,sha256\n"
        f"3,1,test,{hashlib.sha256(DIGITS[0].tobytes()).hexdigest()}\n"
        f"4,4,test,{hashlib.sha256(DIGITS[3].tobytes()).hexdigest()}\n"
    )
    pixels = np.load(folder / "test/pixels.npy")
    assert (pixels.dtype, pixels.shape) == (np.uint8, (2, 28, 28))
    assert np.array_equal(pixels, DIGITS[[0, 3]])
    assert profile(folder / "test") == {
        "digest": hashlib.sha256(index + packed).hexdigest(),
        "images": 2,
        "size": 28,
        "channels": 1,
        "classes": ["zero", "one", "two", "three", "four"],
        "splits": {
            "test": {
                "images": 2,
                "per_class": [0, 1, 0, 0, 1],
                "mean": pytest.approx(np.mean(pixels / 255), rel=1e-12),
                "std": pytest.approx(np.std(pixels / 255), rel=1e-12),
            }
        },
        "duplicates": {"within": 0, "across": 0},
        "conversions": {},
    }
    assert profile(folder / "train")["duplicates"] == {"within": 0, "across": 1}


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_mean_and_deviation_of_extreme_pixels(tmp_path, value):
    pixels = np.full((9, 28, 28), value, dtype=np.uint8)
    pixels[0, 0, 0] ^= 1

    statistics = profile(prepared_folder(tmp_path, contents(pixels)) / "train")["splits"]["training"]

    assert statistics["mean"] == pytest.approx(np.mean(pixels / 255), rel=1e-12)
    assert statistics["std"] == pytest.approx(np.std(pixels / 255), rel=1e-9)


def test_the_same_images_give_the_same_bytes_in_any_order_and_compression(tmp_path):
    first = prepared_folder(tmp_path / "first", validation=6)
    compressed = {name: pillow_png(pillow_pixels(content)) for name, content in reversed(TRAIN.items())}
    second = prepared_folder(tmp_path / "second", compressed, validation=6)

    for name in ALL_FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_equal_errors_are_one_line_and_the_first_fifty_are_listed(tmp_path):
    broken = {f"{number}_1.png": png.encode(DIGITS[0])[:number] for number in range(100, 130)}
    empty = {f"{number}_1.png": b"" for number in range(200, 230)}

    count, *lines = error_lines(tmp_path, TRAIN | broken | empty, TEST | broken)

    assert count == "61 problems with the images, nothing was prepared:"
    assert len(lines) == 51
    train_tar, test_tar = tmp_path / "raw/train.tar", tmp_path / "raw/test.tar"
    assert lines[0] == f"{train_tar}: '100_1.png': truncated: chunk IDAT at byte 33 has 67 of 835 bytes"
    assert lines[30] == f"{train_tar}: 30 images, the first is '200_1.png': an empty file; allowed: a PNG file"
    assert lines[49] == f"{test_tar}: '118_1.png': truncated: chunk IDAT at byte 33 has 85 of 835 bytes"
    assert lines[50] == "and 11 more"


def test_images_of_another_kind_are_one_line_with_the_settings_that_would_accept_them(tmp_path):
    other = np.random.default_rng(2).integers(0, 256, (45, 32, 32, 3), dtype=np.uint8)
    train = {f"{number}_{number % 3}.png": png.encode(image) for number, image in enumerate(other)}

    assert error_lines(tmp_path, train)[1:] == [
        f"{tmp_path / 'raw/train.tar'}: 45 images, the first is '0_0.png': 32×32 pixels, 8-bit RGB;"
        " allowed: 28×28 pixels, 8-bit greyscale, not interlaced;"
        " remedy: if all images are like this, set data.size to 32 and data.channels to 3"
    ]


def test_all_kinds_of_errors_are_in_one_message(tmp_path):
    train = {
        "00001_5.png": png.encode(DIGITS[0]),
        "1_7.png": png.encode(DIGITS[1]),
        "2_10.png": png.encode(DIGITS[2]),
        "two_1.png": png.encode(DIGITS[3]),
        "3_3.png": png.encode(DIGITS[0])[:100],
        "4_4.png": pillow_png(DIGITS[4], "RGB"),
    }
    damaged = flip_bit(png.encode(DIGITS[0]), 200)
    test = {"9_9.png": png.encode(DIGITS[1]), "10_9.png": damaged, "11_9.png": png.encode(DIGITS[3])}

    count, *lines = error_lines(tmp_path, train, test, classes=10)

    train_tar, test_tar = tmp_path / "raw/train.tar", tmp_path / "raw/test.tar"
    assert count == "8 problems with the images, nothing was prepared:"
    assert [line.split("; ")[0] for line in lines] == [
        f"{train_tar}: '1_7.png': the number 1 appears twice, also in '00001_5.png'",
        f"{train_tar}: '2_10.png': the label 10 is none of the 10 classes of data.classes",
        f"{train_tar}: '3_3.png': truncated: chunk IDAT at byte 33 has 67 of 835 bytes",
        f"{train_tar}: '4_4.png': 28×28 pixels, 8-bit RGB",
        f"{train_tar}: 'two_1.png': invalid file name",
        f"{test_tar}: '10_9.png': damaged: wrong checksum (CRC-32) in chunk IDAT at byte 33",
        f"{train_tar}: '1_7.png' is the same image as '9_9.png' in test.tar",
        f"{train_tar}: 'two_1.png' is the same image as '11_9.png' in test.tar",
    ]


def test_a_single_problem_is_counted_as_one(tmp_path):
    assert error_lines(tmp_path, {}, TEST) == [
        "1 problem with the images, nothing was prepared:",
        f"{tmp_path / 'raw/train.tar'}: contains no images; needed: PNG files named {{number}}_{{label}}.png",
    ]


def test_both_sets_are_written_or_neither(tmp_path, monkeypatch):
    written = []

    def full_disk(path: Path, _: object) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepared_folder(tmp_path)

    assert len(written) == 2
    assert not list((tmp_path / "prepared").iterdir())


def test_an_error_leaves_earlier_outputs_unchanged(tmp_path):
    folder = prepared_folder(tmp_path)
    before = (folder / "train/index.csv").read_bytes()

    with pytest.raises(UserError):
        prepared_folder(tmp_path, TRAIN | {"x.png": b""})

    assert (folder / "train/index.csv").read_bytes() == before


def test_an_image_in_both_sets_is_an_error_or_left_out_of_training(tmp_path):
    test = TEST | {"99_2.png": TRAIN["00007_1.png"]}

    assert error_lines(tmp_path, TRAIN, test)[1] == (
        f"{tmp_path / 'raw/train.tar'}: '00007_1.png' is the same image as '99_2.png' in test.tar;"
        " remedy: remove one of them, or set data.duplicates to drop, which leaves it out of training"
    )

    folder = prepared_folder(tmp_path, TRAIN, test, duplicates="drop")
    assert [row["number"] for row in index_rows(folder / "train")] == [str(n) for n in range(40) if n != 7]
    assert np.array_equal(np.load(folder / "train/pixels.npy"), np.delete(DIGITS[:40], 7, axis=0))
    assert profile(folder / "train")["duplicates"] == {"within": 0, "across": 1}
    assert len(index_rows(folder / "test")) == 21


def test_drop_must_leave_training_images(tmp_path):
    assert "drop leaves no training images" in error_lines(tmp_path, TRAIN, TRAIN, duplicates="drop")[0]


def test_extra_images_follow_the_test_images_and_are_a_split_of_their_own(tmp_path):
    without, folder = prepared_folder(tmp_path / "without"), prepared_folder(tmp_path / "with", extra=EXTRA)

    rows = index_rows(folder / "test")
    assert rows[:20] == index_rows(without / "test")
    assert [(row["split"], row["number"], row["label"]) for row in rows[20:]] == [
        ("extra", str(number), str(number % 3))
        for number in range(10)  # numbers that test images have too
    ]
    assert [row["sha256"] for row in rows[20:]] == [sha256(image.tobytes()) for image in FURTHER]
    assert np.array_equal(np.load(folder / "test/pixels.npy"), np.concatenate([DIGITS[40:], FURTHER]))
    found = profile(folder / "test")
    assert found["images"] == 30
    assert list(found["splits"]) == ["test", "extra"]
    assert found["splits"]["test"] == profile(without / "test")["splits"]["test"]
    assert found["splits"]["extra"]["images"] == 10
    assert found["splits"]["extra"]["mean"] == pytest.approx(np.mean(FURTHER / 255), rel=1e-12)
    assert found["digest"] != profile(without / "test")["digest"]


@pytest.mark.parametrize("duplicates", ["error", "drop"])
def test_what_is_trained_does_not_depend_on_extra_images(tmp_path, duplicates):
    """Even if they repeat training and validation images, which `drop` then leaves out of the extra ones."""
    repeated = {f"9{name}": content for name, content in TRAIN.items()} if duplicates == "drop" else {}
    without = prepared_folder(tmp_path / "without", validation=6, duplicates=duplicates)
    folder = prepared_folder(tmp_path / "with", extra=EXTRA | repeated, validation=6, duplicates=duplicates)

    for name in ("index.csv", "pixels.npy", "profile.json"):
        assert (folder / "train" / name).read_bytes() == (without / "train" / name).read_bytes()


def test_without_extra_images_the_digests_are_those_of_earlier_versions(prepared):
    """Those of the commit before there were any. The fingerprint of a training contains that of the training data."""
    assert profile(prepared / "train")["digest"] == "e6d460bc2689e1c233e18ef5c706cd9c28746665feaa32dadf4d49abd840a590"
    assert profile(prepared / "test")["digest"] == "ab96dd49257c81dba22f759c6d8529435ca998e2029a2466073eeb62821fa7c8"


def test_an_extra_image_in_another_set_is_an_error_or_left_out_of_the_extra_ones(tmp_path):
    extra = EXTRA | {"50_0.png": TRAIN["00007_1.png"], "51_1.png": TEST["00002_2.png"]}

    archive, remedy = tmp_path / "raw/extra.tar", "remedy: remove one of them, or set data.duplicates to drop"
    assert error_lines(tmp_path, extra=extra)[1:] == [
        f"{archive}: '50_0.png' is the same image as '00007_1.png' in train.tar; {remedy}, which leaves it out of the"
        " extra images",
        f"{archive}: '51_1.png' is the same image as '00002_2.png' in test.tar; {remedy}, which leaves it out of the"
        " extra images",
    ]

    folder = prepared_folder(tmp_path, extra=extra, duplicates="drop")
    assert [row["number"] for row in index_rows(folder / "test") if row["split"] == "extra"] == [*map(str, range(10))]
    assert profile(folder / "test")["duplicates"] == {"within": 0, "across": 2}
    assert len(index_rows(folder / "train")) == 40


def test_extra_images_are_checked_like_the_others(tmp_path):
    extra = {"00001_5.png": png.encode(DIGITS[0]), "1_7.png": pillow_png(FURTHER[0], "RGB"), "two_1.png": b""}

    archive = tmp_path / "raw/extra.tar"
    assert [line.split("; ")[0] for line in error_lines(tmp_path, extra=extra, classes=10)[1:]] == [
        f"{archive}: '1_7.png': the number 1 appears twice, also in '00001_5.png'",
        f"{archive}: '1_7.png': 28×28 pixels, 8-bit RGB",
        f"{archive}: 'two_1.png': invalid file name",
        f"{archive}: 'two_1.png': an empty file",
        f"{archive}: '00001_5.png' is the same image as '00000_0.png' in train.tar",
    ]


def test_drop_must_leave_extra_images(tmp_path):
    test = TEST | {f"9{name}": content for name, content in TRAIN.items()}

    assert error_lines(tmp_path, TRAIN, test, TEST, duplicates="drop") == [
        "data.duplicates: drop leaves no training images, because all are in the test set too",
        "data.duplicates: drop leaves no extra images, because all are in the training or test set too",
    ]


def test_repeated_images_are_counted(tmp_path):
    train = TRAIN | {"50_1.png": TRAIN["00001_1.png"], "51_2.png": TRAIN["00001_1.png"]}

    assert profile(prepared_folder(tmp_path, train) / "train")["duplicates"] == {"within": 2, "across": 0}


@pytest.mark.parametrize(("validation", "problem"), [
    (40, "data.validation: 40 is not allowed; allowed: less than the 40 images"),
    (1000, "data.validation: 1000 is not allowed; allowed: less than the 40 images"),
    (39, "data.validation: 39 is not allowed; it leaves no training images of class '1', '2';"),
])  # fmt: skip
def test_validation_must_leave_training_images_of_every_class(tmp_path, validation, problem):
    assert error_lines(tmp_path, validation=validation)[0].startswith(problem)


def test_zero_validation_images(tmp_path):
    folder = prepared_folder(tmp_path)

    assert {row["split"] for row in index_rows(folder / "train")} == {"training"}
    assert list(profile(folder / "train")["splits"]) == ["training"]


def split(labels: list[int] | np.ndarray, pixels: np.ndarray, validation: int, seed: int = 0) -> np.ndarray:
    digests = np.array([sha256(image.tobytes()) for image in pixels], dtype=object)
    numbers = np.arange(len(labels))
    whole = image_files.Images(names=numbers, numbers=numbers, labels=np.array(labels), pixels=pixels, digests=digests)
    return prepare.split(whole, [*"0123456789"], validation, seed)


def distinct_images(count: int) -> np.ndarray:
    pixels = np.zeros((count, 28, 28), dtype=np.uint8)
    pixels[:, 0, :4] = np.arange(count, dtype=">u4").view(np.uint8).reshape(-1, 4)
    return pixels


@given(
    labels=st.lists(st.integers(0, 9), min_size=30, max_size=80),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_validation_split_is_stratified_and_complete(labels, share, seed):
    validation = max(1, int(len(labels) * share))
    counts = Counter(labels)
    exact = {label: validation * count / len(labels) for label, count in counts.items()}
    if any(np.ceil(exact[label]) >= count for label, count in counts.items()):
        return

    splits = split(labels, distinct_images(len(labels)), validation, seed)

    chosen = Counter(np.array(labels)[splits == "validation"].tolist())
    assert sum(chosen.values()) == validation
    assert all(np.floor(exact[label]) <= chosen[label] <= np.ceil(exact[label]) for label in counts)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10).filter(any), st.data())
def test_proportional_shares_are_those_of_the_largest_remainder(counts, data):
    total = data.draw(st.integers(0, sum(counts)))

    shares = prepare.proportional_shares(counts, total)

    exact = [total * count / sum(counts) for count in counts]
    assert sum(shares) == total
    assert all(abs(share - ideal) < 1 for share, ideal in zip(shares, exact, strict=True))
    rounded_up = [ideal % 1 for share, ideal in zip(shares, exact, strict=True) if share > ideal]
    rounded_down = [ideal % 1 for share, ideal in zip(shares, exact, strict=True) if share < ideal]
    assert not rounded_up or not rounded_down or min(rounded_up) >= max(rounded_down) - 1e-9


@pytest.mark.parametrize(("counts", "total", "shares"), [
    ([5, 3, 2], 5, [3, 1, 1]),  # 2.5, 1.5, 1.0: one is left, and the first of equal remainders gets it
    ([60, 30, 10], 7, [4, 2, 1]),  # 4.2, 2.1, 0.7
])  # fmt: skip
def test_proportional_shares_by_hand(counts, total, shares):
    assert prepare.proportional_shares(counts, total) == shares


@given(st.permutations(range(30)))
def test_the_validation_split_depends_on_pixels_and_not_on_order(order):
    labels, pixels = np.arange(30) % 3, distinct_images(30)

    assert np.array_equal(split(labels[order], pixels[order], 9), split(labels, pixels, 9)[order])


def test_another_seed_gives_another_split():
    labels, pixels = np.arange(30) % 3, distinct_images(30)

    assert len({tuple(split(labels, pixels, 9, seed)) for seed in range(5)}) == 5


def test_the_validation_split_never_changes():
    # Computed independently: per class the three images with the smallest sha256(b"7:" + pixels).
    labels, pixels = [number % 3 for number in range(30)], distinct_images(30)
    ranks = [hashlib.sha256(b"7:" + image.tobytes()).hexdigest() for image in pixels]
    expected = {number for label in range(3) for number in sorted(range(label, 30, 3), key=ranks.__getitem__)[:3]}

    assert set(np.flatnonzero(split(labels, pixels, 9, seed=7) == "validation")) == expected


@given(copies=st.lists(st.integers(0, 14), min_size=40, max_size=40), seed=st.integers(0, 99))
def test_identical_images_are_in_the_same_split(copies, seed):
    labels = [number % 2 for number in range(40)]  # so some identical images have different labels
    try:
        splits = split(labels, distinct_images(15)[copies], 10, seed)
    except UserError:
        return

    splits_of = {copy: {splits[place] for place in range(40) if copies[place] == copy} for copy in copies}
    assert all(len(names) == 1 for names in splits_of.values())
    assert (splits == "validation").sum() <= 10


def test_an_image_with_several_labels_counts_as_the_lowest():
    pixels = distinct_images(12)[[*range(12), 0, 0]]  # the first image three times
    labels = np.array([1] + [0] * 4 + [1] * 7 + [2, 0])
    reverse = np.arange(14)[::-1]

    for seed in range(5):
        splits = split(labels, pixels, 6, seed)
        assert np.array_equal(split(labels[reverse], pixels[reverse], 6, seed), splits[reverse])


def test_the_digits_of_scikit_learn(prepared, digits_folder):
    rows, train = index_rows(prepared / "train"), profile(prepared / "train")
    pixels = np.load(prepared / "train/pixels.npy")

    assert Counter(row["split"] for row in rows) == {"training": 1237, "validation": 200}
    assert [int(row["number"]) for row in rows] == list(range(1437))
    for row, image in zip(rows, pixels, strict=True):
        path = digits_folder / "train" / f"{int(row['number']):05d}_{row['label']}.png"
        assert np.array_equal(pillow_pixels(path.read_bytes()), image)
    chosen = pixels[[row["split"] == "training" for row in rows]] / 255
    assert train["splits"]["training"]["mean"] == pytest.approx(chosen.mean(), rel=1e-12)
    assert train["splits"]["training"]["std"] == pytest.approx(chosen.std(), rel=1e-12)
    assert np.add(train["splits"]["training"]["per_class"], train["splits"]["validation"]["per_class"]).sum() == 1437


def test_files_rewritten_by_pillow_give_the_same_prepared_data(tmp_path, digits_folder, prepared):
    for path in sorted(digits_folder.glob("*/*.png"), reverse=True):
        copy = tmp_path / "mine" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(pillow_png(pillow_pixels(path.read_bytes())))
    sources.fetch(tmp_path / "mine", tmp_path / "raw")
    sources.pack_extra(sources.NO_EXTRA_TEST, tmp_path / "raw")
    out = tmp_path / "prepared"
    prepare.prepare(tmp_path / "raw", out / "train", out / "test", data_settings(validation=200))

    for path in prepared.glob("*/*"):
        assert (out / path.relative_to(prepared)).read_bytes() == path.read_bytes(), path


def test_the_profile_counts_converted_images(tmp_path, digits_folder):
    digits = tmp_path / "mine"
    for name in ("train", "test"):
        shutil.copytree(digits_folder / name, digits / name)
    first, second = sorted((digits / "train").iterdir())[:2]
    for path in (first, second):
        path.write_bytes(pillow_png(pillow_pixels(path.read_bytes()), "RGB"))
    raw, out = tmp_path / "raw", tmp_path / "out"
    sources.fetch(digits, raw)
    sources.pack_extra(sources.NO_EXTRA_TEST, raw)
    prepare.prepare(raw, out / "train", out / "test", data_settings())
    changed = {"train": {"grey stored as 8-bit RGB": 2}}
    assert json.loads((raw / "conversions.json").read_text()) == changed
    assert json.loads((raw / "extra-conversions.json").read_text()) == {}
    assert [profile(out / name)["conversions"] for name in ("train", "test")] == [changed, changed]
    (raw / "conversions.json").write_text("{")
    with pytest.raises(UserError, match=r"conversions.json: cannot be read .* dvc repro --force --single-item fetch"):
        prepare.prepare(raw, out / "train", out / "test", data_settings())


def test_training_does_not_see_conversions_of_the_test_set(tmp_path, raw):
    (tmp_path / "raw").mkdir()
    for path in raw.iterdir():
        shutil.copy(path, tmp_path / "raw")
    (tmp_path / "raw/conversions.json").write_text('{"test": {"grey stored as 8-bit RGB": 1}}')
    prepare.prepare(tmp_path / "raw", tmp_path / "train", tmp_path / "test", data_settings())
    assert profile(tmp_path / "train")["conversions"] == {}
    assert profile(tmp_path / "test")["conversions"] == {"test": {"grey stored as 8-bit RGB": 1}}
