"""Every form in which images circulate becomes the same archives, or is refused in a line with a remedy."""

import tarfile
from dataclasses import replace

import numpy as np
import pytest

from lenetlab.data import sources
from lenetlab.data.forms import entries, search
from lenetlab.data.forms.packing import Target
from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage import files
from tests.data.sources_of_users import (
    CLASSES,
    IMAGES,
    SIZE,
    TARGET,
    class_folder_files,
    encoded,
    expected,
    fetched,
    gzipped,
    idx_files,
    pixel_csv,
    problems_of,
    tar_of,
    write,
    write_all,
    zip_of,
)

NUMBERS = Target(schema.ImageKind(size=SIZE, channels=1, classes=3), ("0", "1", "2"))


def named(found: dict) -> dict:
    """The images with numbers in place of names of classes."""
    return {name: [(pixels, str(CLASSES.index(label))) for pixels, label in images] for name, images in found.items()}


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Training", "Testing"), ("TRAIN", "t10k"), ("my/data/train", "my/data/Test")],
)
def test_class_folders_by_every_name_of_sets(tmp_path, train, test):
    write_all(tmp_path / "mine", class_folder_files(train, test))

    assert fetched(tmp_path / "mine", tmp_path / "raw") == expected(by_class=True)


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz", "all.tgz", "all.zip"])
@pytest.mark.parametrize("outer", ["", "photos-master/"])
def test_one_archive_of_class_folders(tmp_path, name, outer):
    contents = {f"{outer}{path}": content for path, content in class_folder_files().items()}
    packed = zip_of(contents) if name == "all.zip" else tar_of(contents, "w" if name == "all.tar" else "w:gz")
    write(tmp_path / "mine" / name, packed)

    assert fetched(tmp_path / "mine" / name, tmp_path / "raw") == expected(by_class=True)
    assert fetched(tmp_path / "mine", tmp_path / "raw") == expected(by_class=True)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("outer", ["", "train/"])
def test_an_archive_per_set(tmp_path, suffix, outer):
    for kind in ("train", "test"):
        chosen = {
            path.replace(f"{kind}/", outer.replace("train", kind), 1): content
            for path, content in class_folder_files().items()
            if path.startswith(kind)
        }
        packed = zip_of(chosen) if suffix == "zip" else tar_of(chosen, "w:gz" if suffix == "tar.gz" else "w")
        write(tmp_path / "mine" / f"{kind}.{suffix}", packed)

    assert fetched(tmp_path / "mine", tmp_path / "raw") == expected(by_class=True)


def test_validation_images_join_the_training_images(tmp_path, capsys):
    contents = class_folder_files()
    moved = {path.replace("train/dog", "valid/dog"): content for path, content in contents.items()}
    write_all(tmp_path / "mine", moved)
    found = fetched(tmp_path / "mine", tmp_path / "raw")

    assert sorted(found["train"]) == sorted(expected(by_class=True)["train"])
    assert "12 validation images join the training images: data.validation splits them" in capsys.readouterr().err


def test_images_named_by_number_in_other_archives_stay_as_they_are(tmp_path, raw, digits_folder):
    contents = {
        str(path.relative_to(digits_folder)): path.read_bytes() for path in sorted(digits_folder.glob("*/*.png"))
    }
    write(tmp_path / "digits.zip", zip_of(contents))
    sources.fetch(tmp_path / "digits.zip", tmp_path / "raw")

    for name in ("train.tar", "test.tar"):
        assert (tmp_path / "raw" / name).read_bytes() == (raw / name).read_bytes()


def test_links_to_files_as_dvc_makes_them_are_followed(tmp_path, raw, digits_folder):
    for path in digits_folder.glob("*/*.png"):
        link = tmp_path / "mine" / path.relative_to(digits_folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    sources.fetch(tmp_path / "mine", tmp_path / "raw")

    for name in ("train.tar", "test.tar"):
        assert (tmp_path / "raw" / name).read_bytes() == (raw / name).read_bytes()


def test_other_links_are_refused(tmp_path):
    mine = write_all(tmp_path / "mine", class_folder_files())
    (mine / "train/cat/lost.png").symlink_to(tmp_path / "nowhere")
    (mine / "train/bird").symlink_to(mine / "train/cat")

    assert [line.partition(": ")[2] for line in problems_of(mine, tmp_path / "raw")] == [
        "'train/bird': links to folders; allowed: links to files; remedy: the folder itself",
        "'train/cat/lost.png': broken links; remedy: dvc checkout, git annex get, or the files themselves",
    ]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("folder", ["", "MNIST/raw/"])
def test_idx_files(tmp_path, packed, folder):
    contents = gzipped(idx_files()) if packed else idx_files()
    write_all(tmp_path / "mine", {folder + path: content for path, content in contents.items()})

    assert fetched(tmp_path / "mine", tmp_path / "raw", NUMBERS) == named(expected(by_class=False))
    assert fetched(tmp_path / "mine", tmp_path / "raw") == expected(by_class=False)  # names in the order of numbers


def test_idx_files_both_plain_and_packed_are_read_once(tmp_path):
    mine = write_all(tmp_path / "mine", {**idx_files(), **gzipped(idx_files())})

    assert fetched(mine, tmp_path / "raw", NUMBERS) == named(expected(by_class=False))


def test_letters_of_emnist_start_at_one_and_are_transposed(tmp_path):
    mine = write_all(tmp_path / "mine", gzipped(idx_files(1, "emnist-letters-")))
    assert "transposed" in search.find(mine).notes[0]
    assert "found: '1', '2', '3'; remedy: lenetlab import" in problems_of(mine, tmp_path / "raw")[0]

    letters = replace(NUMBERS, classes=("1", "2", "3"))
    assert [label for _, label in fetched(mine, tmp_path / "raw", letters)["test"]] == ["1", "2", "3"] * 2


@pytest.mark.parametrize("header", [True, False])
def test_csv_of_pixels(tmp_path, header):
    for name in ("train", "test"):
        write(tmp_path / f"mine/mnist_{name}.csv", pixel_csv(name, header=header))

    assert fetched(tmp_path / "mine", tmp_path / "raw", NUMBERS) == named(expected(by_class=False))


def test_a_cell_that_is_no_pixel_is_named_with_its_source(tmp_path):
    for name in ("train", "test"):
        write(tmp_path / f"mine/{name}.csv", pixel_csv(name, header=True))
    lines = (tmp_path / "mine/train.csv").read_text().splitlines()
    cells = lines[4].split(",")
    write(tmp_path / "mine/train.csv", "\n".join([*lines[:4], ",".join([*cells[:7], "340", *cells[8:]])]).encode())

    assert problems_of(tmp_path / "mine", tmp_path / "raw", NUMBERS) == [
        f"{tmp_path / 'mine'}: train.csv line 5: '340' in column 8; allowed: whole numbers from 0 to 255"
    ]


def test_colours_in_a_csv_whose_label_is_last(tmp_path):
    pixels = np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3)
    rows = [",".join([*map(str, image.ravel()), str(number % 2)]) for number, image in enumerate(pixels)]
    header = ",".join([*(f"pixel{place:04d}" for place in range(12)), "label"])
    write(tmp_path / "mine/train.csv", "\r\n".join([header, *rows[:2]]).encode())
    write(tmp_path / "mine/test.csv", "\ufeff".encode() + "\n".join([header, *rows[2:]]).encode())
    found = search.find(tmp_path / "mine")

    assert [(picture.label, picture.place) for picture in found.sets["test"]] == [
        ("0", "test.csv line 2"),
        ("1", "test.csv line 3"),
    ]
    assert np.array_equal([picture.content() for picture in found.sets["train"]], pixels[:2])


def test_kaggles_test_set_without_labels_is_no_test_set(tmp_path):
    write(tmp_path / "mine/train.csv", pixel_csv("train", header=True))
    write(tmp_path / "mine/test.csv", pixel_csv("test", header=True, label=False))
    write(tmp_path / "mine/sample_submission.csv", b"ImageId,Label\n1,0\n2,0\n")
    lines = problems_of(tmp_path / "mine", tmp_path / "raw", NUMBERS)

    assert len(lines) == 1
    assert "test.csv has no labels" in lines[0]
    assert "remedy: lenetlab import" in lines[0]
    assert {name: len(pictures) for name, pictures in search.find(tmp_path / "mine").sets.items()} == {"all": 36}
    (line,) = problems_of(tmp_path / "mine/test.csv", tmp_path / "raw", NUMBERS)
    assert line.endswith("needed: a CSV with a column of labels, such as train.csv")


@pytest.mark.parametrize("columns", ["file,class", "label,Image_Path", "id,filename,split,label"])
def test_a_csv_of_file_names_beside_the_images(tmp_path, columns):
    lines: dict[str, list[str]] = {"train": [columns], "test": [columns]}
    for kind, images in IMAGES.items():
        for number, (pixels, label) in enumerate(images):
            name = f"images/{kind} {number}.png"
            write(tmp_path / "mine" / name, encoded(pixels))
            row = {"file": name, "filename": name, "image_path": name, "class": label, "label": label, "split": kind}
            lines[kind].append(",".join(row.get(column.lower(), "x") for column in columns.split(",")))
    if "split" in columns:
        write(tmp_path / "mine/labels.csv", "\n".join(lines["train"] + lines["test"][1:]).encode())
    else:
        for kind, rows in lines.items():
            write(tmp_path / f"mine/{kind}.csv", "\n".join(rows).encode())

    assert fetched(tmp_path / "mine", tmp_path / "raw") == expected(by_class=False)


def test_what_a_csv_of_file_names_gets_wrong_is_grouped(tmp_path):
    write_all(tmp_path / "mine", class_folder_files())
    rows = [f"train/cat/{number}.png,cat" for number in (0, 0, 900, 901)]
    write(tmp_path / "mine/train.csv", "\n".join(["file,label", *rows, "train/cat/3.png,"]).encode())

    assert [line.partition(": ")[2] for line in problems_of(tmp_path / "mine", tmp_path / "raw")] == [
        "2 files are named in train.csv but missing, the first is 'train/cat/900.png'; remedy: add, or delete these"
        " lines",
        "'train/cat/0.png': named twice; remedy: one line per file",
        "'train.csv line 6': without a label; needed: a label for each file",
    ]


def test_files_of_windows_and_macos_are_skipped_and_counted(tmp_path, capsys):
    contents = class_folder_files()
    extra = {
        "train/cat/Thumbs.db": b"x",
        "test/desktop.ini": b"x",
        ".DS_Store": b"x",
        "train/cat/._1.png": b"x",
        "__MACOSX/train/cat/._1.png": b"x",
        "train/README.txt": b"x",
    }
    write(tmp_path / "mine.zip", zip_of({**contents, **extra}))
    found = search.find(tmp_path / "mine.zip")

    assert found.ignored == {
        "Thumbs.db": 1, "desktop.ini": 1, "hidden files": 2, "__MACOSX": 1, "other files": 1
    }  # fmt: skip
    assert fetched(tmp_path / "mine.zip", tmp_path / "raw") == expected(by_class=True)
    assert "1 desktop.ini" in capsys.readouterr().err


def test_a_folder_without_sets_is_told_about_import(tmp_path):
    mine = write_all(tmp_path / "mine", {f"{label}/1.png": encoded(IMAGES["train"][0][0]) for label in CLASSES})

    assert set(search.find(mine).sets) == {"all"}
    assert problems_of(mine, tmp_path / "raw") == [
        f"data.source: {mine}: class folders without train and test images; remedy: lenetlab import {mine} --write,"
        " which splits off a test set, or folders train/ and test/"
    ]


def test_unknown_classes_are_one_error(tmp_path):
    mine = write_all(tmp_path / "mine", {**class_folder_files(), "train/07/1.png": encoded(IMAGES["train"][0][0])})
    lines = problems_of(mine, tmp_path / "raw", replace(TARGET, classes=("7", "cat", "dog")))

    assert lines == [
        f"{mine}: 15 images have labels that are not in data.classes; found: '07', 'cat', 'dog', 'new moon'; remedy:"
        f" lenetlab import {mine} --write, or these names as data.classes"
    ]
    assert sources.find_problems(mine, sources.NO_EXTRA_TEST, replace(TARGET, classes=("7", "cat", "dog"))) == lines


@pytest.mark.parametrize(("path", "problem"), [
    ("train/cat/young/1.png", "'train/cat/young/1.png': in folders within class folders"),
    ("train/1.png", "'train/1.png': in no class folder"),
    ("cat/1.png", "'cat/1.png': outside of train/ and test/"),
])  # fmt: skip
def test_images_whose_class_is_unclear_are_refused(tmp_path, path, problem):
    mine = write_all(tmp_path / "mine", {**class_folder_files(), path: encoded(IMAGES["train"][0][0])})

    assert problems_of(mine, tmp_path / "raw")[0].startswith(f"{mine}: {problem}; needed: train/CLASS/NAME.png")


def test_two_folders_of_one_set_are_refused(tmp_path):
    mine = write_all(tmp_path / "mine", {**class_folder_files(), "Training/cat/1.png": b""})

    assert problems_of(mine, tmp_path / "raw") == [f"{mine}: Training and train are both train; needed: one of them"]


def test_extra_images_in_class_folders(tmp_path):
    contents = {path.removeprefix("test/"): content for path, content in class_folder_files().items() if "test" in path}
    write_all(tmp_path / "more", contents)
    write(tmp_path / "more.zip", zip_of(contents))
    for number, name in enumerate(("more", "more.zip")):
        sources.pack_extra(tmp_path / name, tmp_path / f"raw{number}", TARGET)

    assert (tmp_path / "raw0/extra.tar").read_bytes() == (tmp_path / "raw1/extra.tar").read_bytes()
    with tarfile.open(tmp_path / "raw0/extra.tar") as packed:
        assert packed.getnames() == [f"{number:05d}_{number // 2}.png" for number in range(6)]
    write_all(tmp_path / "both", class_folder_files())
    with pytest.raises(UserError, match="has the sets test, train; allowed: images without sets"):
        sources.pack_extra(tmp_path / "both", tmp_path / "raw2", TARGET)


@pytest.mark.parametrize(("source", "problem"), [
    (".", "this folder holds data/raw, which the pipeline writes; remedy: a folder of its own"),
    ("data", "this folder holds data/raw"),
    ("~/digits", "DVC does not know ~; remedy: '/"),
])  # fmt: skip
def test_paths_that_dvc_cannot_follow(tmp_path, monkeypatch, source, problem):
    (tmp_path / "data/raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert problem in sources.find_problems(tmp_path.__class__(source), sources.NO_EXTRA_TEST, TARGET)[0]


def test_pointers_of_git_lfs_have_a_remedy(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    for name in ("train/1_5.png", "test/2_7.png"):
        files.write_bytes(tmp_path / "numbered" / name, pointer)
    write_all(tmp_path / "folders", dict.fromkeys(class_folder_files(), pointer))
    write(tmp_path / "all.zip", pointer)
    write(tmp_path / "table/train.csv", pointer)
    write_all(tmp_path / "idx", dict.fromkeys(idx_files(), pointer))

    for name in ("numbered", "folders", "all.zip", "table", "idx"):
        lines = problems_of(tmp_path / name, tmp_path / "raw")
        assert len(lines) == 1
        assert lines[0].endswith("remedy: git lfs pull")


@pytest.mark.parametrize("packed", [tar_of, zip_of, lambda files: tar_of(files, "w:gz")])
@pytest.mark.parametrize("path", ["../train/cat/1.png", "/train/cat/1.png", "C:/1.png", "train/cat/\x1b[2J.png"])
def test_paths_that_lead_out_are_refused(tmp_path, packed, path):
    write(tmp_path / "all.zip", packed({**class_folder_files(), path: b"x"}))

    assert "unsafe paths; allowed: relative" in problems_of(tmp_path / "all.zip", tmp_path / "raw")[0]


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "MAX_TOTAL_BYTES", 1_000_000)
    monkeypatch.setattr(entries, "MAX_FILE_BYTES", 100_000)
    zeros = {"train/cat/1.png": bytes(2_000_000)}
    write(tmp_path / "a.zip", zip_of(zeros))
    write(tmp_path / "b.tgz", tar_of(zeros, "w:gz"))
    write(tmp_path / "c.zip", zip_of({"train/cat/1.png": bytes(200_000)}))
    bomb = idx_files()
    bomb["train-images-idx3-ubyte"] += bytes(1_000_000)
    write_all(tmp_path / "d", gzipped(bomb))

    assert "more than 1000000 bytes when unpacked" in problems_of(tmp_path / "a.zip", tmp_path / "raw")[0]
    assert "more than 1000000 bytes when unpacked" in problems_of(tmp_path / "b.tgz", tmp_path / "raw")[0]
    assert "too large; allowed: up to 100000 bytes" in problems_of(tmp_path / "c.zip", tmp_path / "raw")[0]
    assert "more data than announced" in problems_of(tmp_path / "d", tmp_path / "raw")[0]


def test_labels_in_natural_order_may_differ_in_length():
    assert sorted(["b", "cat10", "cat", "cat2", "a1", "a"], key=entries.natural) == [
        "a",
        "a1",
        "b",
        "cat",
        "cat2",
        "cat10",
    ]
