"""Damaged images, archives and tables of users in any form: packed, or an error that leaves no output."""

import io
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lenetlab.data import conversion, sources
from lenetlab.data.forms import patterns
from lenetlab.data.forms.packing import Target
from lenetlab.settings import schema, study_schema
from tests.data.sources_of_users import (
    SIZE,
    TARGET,
    class_folder_files,
    encoded,
    gzipped,
    idx_files,
    pixel_csv,
    tar_of,
    write,
    write_all,
    zip_of,
)
from tests.storage.fuzzing import apply_changes, byte_changes, error_lines, few_examples, fewer_examples

pytestmark = pytest.mark.slow

NUMBERS = Target(schema.ImageKind(size=SIZE, channels=1, classes=3), ("0", "1", "2"))
ALL = ("resize", "grey", "8-bit", "jpeg", "alpha")
FOLDERS = class_folder_files()
IDX, PACKED = idx_files(), gzipped(idx_files())
TABLE = "\n".join(["file,label", *(f'"{path}",{path.split("/")[1]}' for path in FOLDERS)]).encode()
# For each form its files, which of them is damaged, and what is declared.
FORMS: dict[str, tuple[dict[str, bytes], str, Target]] = {
    "tar": ({"all.tar": tar_of(FOLDERS)}, "all.tar", TARGET),
    "tar.gz": ({"all.tgz": tar_of(FOLDERS, "w:gz")}, "all.tgz", TARGET),
    "zip": ({"all.zip": zip_of(FOLDERS)}, "all.zip", TARGET),
    "image": (FOLDERS, "train/cat/3.png", TARGET),
    "IDX images": (IDX, "train-images-idx3-ubyte", NUMBERS),
    "IDX labels": (IDX, "t10k-labels-idx1-ubyte", NUMBERS),
    "IDX images, gzip": (PACKED, "train-images-idx3-ubyte.gz", NUMBERS),
    "IDX labels, gzip": (PACKED, "t10k-labels-idx1-ubyte.gz", NUMBERS),
    "CSV": (
        {f"{name}.csv": pixel_csv(name, header=name == "train") for name in ("train", "test")},
        "train.csv",
        NUMBERS,
    ),
    "pattern": (
        {"names.zip": zip_of({path.replace("/", "-"): content for path, content in FOLDERS.items()})},
        "names.zip",
        replace(TARGET, pattern="{set}-{label}-{number}.png"),
    ),
    "CSV of file names": ({**FOLDERS, "labels.csv": TABLE}, "labels.csv", TARGET),
}


def check(folder: Path, files: dict[str, bytes], target: Target) -> None:
    """Fetch packs both sets, or names what is wrong and leaves nothing."""
    source, raw = folder / "mine", folder / "raw"
    write_all(source, files)
    raw.mkdir()
    lines = error_lines(lambda: sources.fetch(source, raw, target))
    assert all(line.startswith((str(source), "data.source: ", "and ")) for line in lines), lines
    assert len(list(raw.iterdir())) == (0 if lines else 3)


@pytest.mark.torture
@pytest.mark.parametrize("form", FORMS)
@fewer_examples
@given(changes=byte_changes)
def test_a_damaged_file_is_packed_or_named(tmp_path_factory, count, form, changes):
    files, name, target = FORMS[form]
    damaged = {**files, name: apply_changes(files[name], changes)}
    check(tmp_path_factory.mktemp("fuzz"), damaged, target)
    count("forms of images")


@pytest.mark.torture
@few_examples
@given(seed=st.integers(0, 2**32), damages=st.integers(1, 6))
def test_a_zip_with_any_bytes_in_its_directory(tmp_path_factory, count, seed, damages):
    """The directory is at the end, and says how large everything is."""
    chosen = random.Random(seed)  # noqa: S311
    content = bytearray(zip_of(dict(list(FOLDERS.items())[:4])))
    start = content.index(b"PK\1\2")
    for _ in range(damages):
        content[chosen.randrange(start, len(content))] = chosen.choice([0, 1, 255, chosen.randrange(256)])
    check(tmp_path_factory.mktemp("zip"), {"all.zip": bytes(content)}, TARGET)
    count("forms of images")


@pytest.mark.torture
@few_examples
@given(
    pattern=st.lists(st.sampled_from(["{label}", "{number}", "{set}", "{any}", "-", "_", "/", ".png", "t"])).map(
        "".join
    ),
    names=st.lists(st.text("train/estcdo-_1.png{}", min_size=1, max_size=30), min_size=1, max_size=5),
)
def test_any_pattern_and_any_names_are_packed_or_named(tmp_path_factory, count, pattern, names):
    if not list(study_schema.pattern_problems(pattern)):
        packed = zip_of({f"{name}.png": FOLDERS["train/cat/3.png"] for name in names})
        check(tmp_path_factory.mktemp("names"), {"all.zip": packed}, replace(TARGET, pattern=pattern))
    assert patterns.guess([f"{name}.png" for name in names]).isprintable()
    count("forms of images")


PHOTO = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
GREY = PHOTO[:, :, 0]
PICTURES = {
    "PNG": encoded(PHOTO),
    "PNG, 16 bit": encoded(GREY.astype(np.uint16) * 257),
    "PNG, palette": encoded(GREY // 64, bits=2),
    "JPEG": encoded(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "GIF": encoded(GREY, "GIF"),
    "BMP": encoded(PHOTO, "BMP"),
    "TIFF": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "PPM": encoded(PHOTO, "PPM"),
    "WEBP": encoded(PHOTO, "WEBP", lossless=True),
}


@pytest.mark.torture
@pytest.mark.parametrize("form", PICTURES)
@given(changes=byte_changes, channels=st.sampled_from([1, 3]))
def test_a_damaged_image_is_converted_or_refused(count, form, changes, channels):
    kind = schema.ImageKind(size=5, channels=channels)
    found, refused = None, ""
    try:
        found = conversion.convert(apply_changes(PICTURES[form], changes), kind, ALL)
    except conversion.Refused as error:
        refused = str(error)
    assert refused.isprintable()
    if found:
        image = Image.open(io.BytesIO(found.content))
        image.load()
        assert (image.size, image.mode) == ((5, 5), {1: "L", 3: "RGB"}[channels])
    count("forms of images")


@pytest.mark.parametrize("size", [0, 2**20, 2**32 - 2, 2**33])
def test_a_zip_whose_directory_lies_about_sizes(tmp_path, size):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, content in FOLDERS.items():
            packed.writestr(path, content)
        packed.infolist()[0].file_size = size
    write(tmp_path / "all.zip", stream.getvalue())

    assert error_lines(lambda: sources.fetch(tmp_path / "all.zip", tmp_path / "raw", TARGET))
