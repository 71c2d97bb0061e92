"""Small sets of images in the forms that circulate, made in a test's folder."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from lenetlab.data import sources
from lenetlab.data.forms.packing import Target
from lenetlab.errors import UserError
from lenetlab.settings import schema
from tests.data.formats import pillow_pixels

RANDOM = np.random.default_rng(5)
CLASSES = ("cat", "dog", "new moon")
SIZE = 6
TARGET = Target(schema.ImageKind(size=SIZE, channels=1, classes=3), CLASSES)
# Pixels and class, by set; more than ten of a class, so that natural order differs from that of text.
IMAGES = {
    name: [(RANDOM.integers(0, 256, (SIZE, SIZE), np.uint8), CLASSES[number % 3]) for number in range(count)]
    for name, count in (("train", 36), ("test", 6))
}


def encoded(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def class_folder_files(train: str = "train", test: str = "test") -> dict[str, bytes]:
    """Path and content of every file, in the order of IMAGES within a class."""
    return {
        f"{folder}/{label}/{number}.png": encoded(pixels)
        for folder, images in ((train, IMAGES["train"]), (test, IMAGES["test"]))
        for number, (pixels, label) in enumerate(images)
    }


def write_all(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        write(folder / path, content)
    return folder


def tar_of(files: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as packed:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, content in files.items():
            packed.writestr(path, content)
    return stream.getvalue()


def idx_files(shift: int = 0, prefix: str = "") -> dict[str, bytes]:
    """The four IDX files of IMAGES; labels are the places of classes, plus `shift`."""
    files = {}
    for name, images in (("train", IMAGES["train"]), ("t10k", IMAGES["test"])):
        pixels = np.stack([image for image, _ in images])
        labels = bytes(CLASSES.index(label) + shift for _, label in images)
        files[f"{prefix}{name}-images-idx3-ubyte"] = struct.pack(">IIII", 2051, *pixels.shape) + pixels.tobytes()
        files[f"{prefix}{name}-labels-idx1-ubyte"] = struct.pack(">II", 2049, len(labels)) + labels
    return files


def gzipped(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{path}.gz": gzip.compress(content) for path, content in files.items()}


def pixel_csv(name: str, *, header: bool, label: bool = True) -> bytes:
    lines = (
        [",".join([*(["label"] if label else []), *(f"pixel{place}" for place in range(SIZE**2))])] if header else []
    )
    for pixels, kind in IMAGES[name]:
        lines.append(",".join([*([str(CLASSES.index(kind))] if label else []), *map(str, pixels.ravel())]))
    return ("\n".join(lines) + "\n").encode()


def fetched(source: Path, raw: Path, target: Target = TARGET) -> dict[str, list[tuple[bytes, str]]]:
    """Pixels and class of every image that fetch packs, by set; numbers are those of the order."""
    sources.fetch(source, raw, target)
    found = {}
    for name in ("train", "test"):
        with tarfile.open(raw / f"{name}.tar") as packed:
            members = [(info.name, packed.extractfile(info).read()) for info in packed]
        assert [int(member.partition("_")[0]) for member, _ in members] == list(range(len(members)))
        found[name] = [
            (pillow_pixels(content).tobytes(), target.classes[int(member.partition("_")[2][:-4])])
            for member, content in members
        ]
    return found


def expected(*, by_class: bool) -> dict[str, list[tuple[bytes, str]]]:
    """The images as `fetched` gives them; class folders put all of a class together."""
    return {
        name: [
            (pixels.tobytes(), label)
            for pixels, label in (sorted(images, key=lambda image: image[1]) if by_class else images)
        ]
        for name, images in IMAGES.items()
    }


def problems_of(source: Path, raw: Path, target: Target = TARGET) -> list[str]:
    """The lines of the error of fetch, which must leave nothing."""
    try:
        sources.fetch(source, raw, target)
    except UserError as error:
        assert not raw.exists() or not list(raw.iterdir())
        return str(error).splitlines()
    raise AssertionError("fetch took it")
