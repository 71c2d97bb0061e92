"""From archives of PNG files to index, packed pixels and profile: every image is checked, all that is wrong is told.

The label of an image comes from its name, `{number}_{label}.png`, and from nowhere else.
"""

import io
import math
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenetlab import UserError, archive, files

SIDE = 28  # pixels
PACKED = SIDE * (1 + SIDE)  # bytes of an image within a PNG file: before every row stands the type of its filter
CLASSES = 10
PARTS = ("training", "validation", "test")
MOST_PROBLEMS = 50  # listed by one message
NAME = re.compile(r"([0-9]{1,9})_([0-9])\.png")
OTHER_LABEL = re.compile(r"[0-9]{1,9}_([0-9]{2,})\.png")

CHUNK = struct.Struct(">I4s")  # length and kind; content and a CRC-32 follow
HEADER = struct.Struct(">8sI4sIIBBBBBI")
COLOURS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
REFUSED = {b"acTL": "animated", b"fcTL": "animated", b"fdAT": "animated", b"tRNS": "transparent", b"PLTE": "palette"}
ALLOWED = "allowed: 28×28 pixels, 8-bit greyscale, not interlaced"
BATCH = 4096  # images whose filters are undone together: what fits a processor's cache


@dataclass(frozen=True)
class Images:
    """The images of one archive, ordered by number."""

    names: np.ndarray  # (N) str
    numbers: np.ndarray  # (N) int64
    labels: np.ndarray  # (N) uint8
    pixels: np.ndarray  # (N, 28, 28) uint8
    digests: np.ndarray  # (N) str: SHA-256 of the 784 pixel bytes

    def where(self, chosen: np.ndarray) -> "Images":
        return Images(**{name: values[chosen] for name, values in vars(self).items()})


def prepare(
    raw: Path, out_train: Path, out_test: Path, *, validation: int, validation_seed: int, duplicates: str
) -> None:
    """Write the folders `out_train` and `out_test` from `train.tar` and `test.tar` in `raw`.

    An image that is in both is an error, or left out of training where `duplicates` is drop. UserError lists everything
    that is wrong with either archive, and then neither folder is written.
    """
    problems: list[str] = []
    train, test = (read(raw / name, problems) for name in ("train.tar", "test.tar"))
    places = {digest: name for name, digest in zip(test.names, test.digests, strict=True)}
    shared = np.array([digest in places for digest in train.digests], dtype=bool)
    if duplicates == "error":
        problems += [
            f"{raw / 'train.tar'}: {name!r} shows the same image as {places[digest]!r} in test.tar;"
            " data.duplicates: drop leaves it out of training"
            for name, digest in zip(train.names[shared], train.digests[shared], strict=True)
        ]
    if problems:
        number = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise UserError(f"{number} with the images, nothing was prepared:", *archive.first(problems, MOST_PROBLEMS))
    kept = train.where(~shared)
    if not len(kept.names):
        raise UserError("data.duplicates: drop leaves no training image, all are in the test set too")
    splits = split(kept, validation, validation_seed)
    with files.folder(out_train) as first, files.folder(out_test) as second:
        _write(kept, splits, int(shared.sum()), first)
        _write(test, np.full(len(test.names), "test"), 0, second)


def read(path: Path, problems: list[str]) -> Images:
    """The images of an archive; a line for each thing that is wrong with it is added to `problems`."""
    names, numbers, labels, rows = [], [], [], []
    taken: dict[int, str] = {}
    known = len(problems)
    try:
        for name, content in archive.members(path):
            number, label = -1, 0
            try:
                number, label = parse(name)
                if taken.setdefault(number, name) != name:
                    raise ValueError(f"the number {number} stands twice, in {taken[number]!r} too")
            except ValueError as problem:
                problems.append(f"{path}: {name!r}: {problem}")
            try:
                rows.append(packed_rows(content))
            except ValueError as problem:
                problems.append(f"{path}: {name!r}: {problem}")
                continue
            names.append(name)
            numbers.append(number)
            labels.append(label)
    except UserError as error:
        problems += error.problems
    if not names and len(problems) == known:
        problems.append(f"{path}: no images in it; needed: PNG files named {{number}}_{{label}}.png")
    pixels = unfiltered(np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, SIDE, 1 + SIDE))
    digests = [files.sha256(image) for image in pixels.reshape(-1, SIDE * SIDE)]
    return Images(
        names=np.array(names, dtype=object),
        numbers=np.array(numbers, dtype=np.int64),
        labels=np.array(labels, dtype=np.uint8),
        pixels=pixels,
        digests=np.array(digests, dtype=object),
    )


def parse(name: str) -> tuple[int, int]:
    """Number and label; ValueError for any other name."""
    if match := NAME.fullmatch(name):
        return int(match[1]), int(match[2])
    if match := OTHER_LABEL.fullmatch(name):
        raise ValueError(f"the label {match[1]} is not one digit; allowed: 0 to 9")
    raise ValueError("not the name of an image; allowed: {number}_{label}.png, number of 1 to 9 digits, label 0 to 9")


def packed_rows(content: bytes) -> bytes:
    """The 28 rows of a PNG file, inflated, each with the type of its filter before it; ValueError tells what is wrong.

    Only one kind of PNG file is taken, and all of it is checked: the checksum of every chunk, their order, the end.
    """
    if not content.startswith(archive.PNG_START):
        raise ValueError(_other_start(content))
    packed, at, kind, length = [], len(archive.PNG_START), b"IHDR", 0
    while kind != b"IEND":
        start, before = at, kind
        if len(content) < start + 12:
            raise ValueError(f"truncated: ends at byte {len(content)}, before the chunk that closes a PNG file")
        length, kind = CHUNK.unpack_from(content, start)
        at = start + 12 + length
        if not kind.isalpha():
            raise ValueError(f"damaged: no chunk at byte {start}, where one has to be")
        if at > len(content):
            needed, there = at - start, len(content) - start
            raise ValueError(f"truncated: the chunk {kind.decode()} at byte {start} has {there} of {needed} bytes")
        if zlib.crc32(content[start + 4 : at - 4]) != int.from_bytes(content[at - 4 : at], "big"):
            raise ValueError(f"damaged: the chunk {kind.decode()} at byte {start} does not agree with its checksum")
        if kind == b"IDAT":
            if packed and before != b"IDAT":
                raise ValueError(f"damaged: {before.decode()} stands in the middle of the image's data")
            packed.append(content[start + 8 : at - 4])
        elif kind in REFUSED:
            raise ValueError(f"{REFUSED[kind]} ({kind.decode()}); {ALLOWED}")
        elif kind[:1].isupper() and kind != b"IEND":
            raise ValueError(f"the chunk {kind.decode()} at byte {start} is unknown, and critical by its name")
    if length:
        raise ValueError("damaged: the chunk IEND, which closes a PNG file, is not empty")
    if at < len(content):
        raise ValueError(f"damaged: {len(content) - at} bytes follow the end of the image")
    return _inflated(b"".join(packed))


def _inflated(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(packed, PACKED + 1)  # never more, however much a bomb would make of it
    except zlib.error as error:
        raise ValueError(f"damaged: the image's data cannot be inflated ({error})") from None
    if len(rows) > PACKED:
        raise ValueError(f"damaged: the image's data are more than the {PACKED} bytes of 28×28 pixels")
    if len(rows) < PACKED or not stream.eof:
        raise ValueError(f"truncated: the image's data end after {len(rows)} of {PACKED} bytes")
    if stream.unused_data:
        raise ValueError(f"damaged: {len(stream.unused_data)} bytes follow the image's data")
    if rows[:: 1 + SIDE].translate(None, bytes(range(5))):
        raise ValueError("damaged: a row has a filter that PNG does not know")
    return rows


def _other_start(content: bytes) -> str:
    """What a file is whose first bytes are not those of the allowed kind."""
    if not content.startswith(archive.PNG_SIGNATURE[: max(1, len(content))]):
        return f"not a PNG file; it starts with {content[:8].hex(' ')}" if content else "an empty file"
    if len(content) < HEADER.size:
        return f"truncated: ends at byte {len(content)}, within the header"
    _, length, kind, width, height, depth, colour, compression, filters, interlaced, checksum = HEADER.unpack_from(
        content
    )
    if (length, kind) != (13, b"IHDR") or zlib.crc32(content[12:29]) != checksum:
        return "damaged: the header (IHDR) does not agree with its checksum"
    found = f"{width}×{height} pixels, {depth}-bit {COLOURS.get(colour, f'colour type {colour}')}"
    if compression or filters or interlaced:
        found += f", compression {compression}, filters {filters}, {'interlaced' if interlaced else 'not interlaced'}"
    return f"{found}; {ALLOWED}"


def unfiltered(rows: np.ndarray) -> np.ndarray:
    """(N, 28, 28) pixels from (N, 28, 29) packed rows: PNG stores differences from the neighbours left and above."""
    pixels = np.empty((len(rows), SIDE, SIDE), dtype=np.uint8)
    for start in range(0, len(rows), BATCH):
        pixels[start : start + BATCH] = _unfiltered(rows[start : start + BATCH])
    return pixels


def _unfiltered(rows: np.ndarray) -> np.ndarray:
    filters, pixels = rows[:, :, 0], rows[:, :, 1:].copy()
    above = np.zeros_like(pixels[:, 0])
    for line, kinds in zip(pixels.swapaxes(0, 1), filters.T, strict=True):  # one line of all images at a time
        for kind, undo in UNDO.items():
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                line[chosen] = undo(line[chosen], above[chosen])
        above = line
    return pixels


def _sub(line: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.cumsum(line, axis=1, dtype=np.uint8)


def _up(line: np.ndarray, above: np.ndarray) -> np.ndarray:
    return line + above


def _average(line: np.ndarray, above: np.ndarray) -> np.ndarray:
    left = np.zeros_like(line[:, 0])
    for value, up in zip(line.T, above.T.astype(np.uint16), strict=True):
        value += ((left + up) // 2).astype(np.uint8)
        left = value
    return line


def _paeth(line: np.ndarray, above: np.ndarray) -> np.ndarray:
    """The neighbour that is nearest to left + up - corner; in doubt left, then up."""
    left = corner = np.zeros(len(line), dtype=np.int16)
    for value, up in zip(line.T, above.T.astype(np.int16), strict=True):
        from_left, from_up, from_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
        nearest = np.where(from_up <= from_corner, up, corner)
        nearest = np.where((from_left <= from_up) & (from_left <= from_corner), left, nearest)
        value += nearest.astype(np.uint8)
        left, corner = value.astype(np.int16), up
    return line


UNDO: dict[int, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {1: _sub, 2: _up, 3: _average, 4: _paeth}


def split(images: Images, validation: int, seed: int) -> np.ndarray:
    """(N) str: training or validation, each class in proportion (largest remainder).

    An image's rank is the SHA-256 of the seed and its pixels, so neither names nor order matter. Images that repeat
    stay on one side, and where they do not fit there are fewer than `validation`; one that repeats under several labels
    counts as the lowest. UserError if a class is left without training images.
    """
    labels = images.labels.tolist()
    splits = np.full(len(labels), "training", dtype=object)
    if not validation:
        return splits
    if validation >= len(labels):
        raise UserError(f"data.validation: {validation} is not allowed; allowed: less than the {len(labels)} images")
    copies: dict[str, list[int]] = defaultdict(list)
    for place, digest in enumerate(images.digests):
        copies[digest].append(place)
    ranked: list[list[tuple[str, list[int]]]] = [[] for _ in range(CLASSES)]
    for places in copies.values():
        rank = files.sha256(b"%d:%b" % (seed, images.pixels[places[0]].tobytes()))
        ranked[min(labels[place] for place in places)].append((rank, places))
    shares = proportional([sum(len(places) for _, places in contents) for contents in ranked], validation)
    for contents, share in zip(ranked, shares, strict=True):
        for _, places in sorted(contents):
            if len(places) <= share:
                splits[places] = "validation"
                share -= len(places)
    if bare := sorted(set(labels) - set(images.labels[splits == "training"].tolist())):
        raise UserError(
            f"data.validation: {validation} is not allowed; it leaves no training image of {', '.join(map(str, bare))};"
            f" allowed: fewer of the {len(labels)} images"
        )
    return splits


def proportional(counts: Sequence[int], total: int) -> list[int]:
    """`total` divided in proportion to `counts`, by the method of the largest remainder; in doubt the earlier gains."""
    shares = [total * count // sum(counts) for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda at: -(total * counts[at] % sum(counts)))
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return shares


def _write(images: Images, splits: np.ndarray, across: int, folder: Path) -> None:
    columns = (values.tolist() for values in (images.numbers, images.labels, splits, images.digests))
    rows = [f"{number},{label},{part},{digest}" for number, label, part, digest in zip(*columns, strict=True)]
    index = "\n".join(["number,label,split,sha256", *rows, ""]).encode()
    packed = io.BytesIO()
    np.save(packed, images.pixels)
    files.write_bytes(folder / "index.csv", index)
    files.write_bytes(folder / "pixels.npy", packed.getvalue())
    profile = {
        "digest": files.sha256(index, packed.getbuffer()),
        "images": len(images.names),
        "splits": {part: _statistics(images.where(splits == part)) for part in PARTS if part in splits},
        "duplicates": {"within": len(images.names) - len(set(images.digests)), "across": across},
    }
    files.write_json(folder / "profile.json", profile)


def _statistics(images: Images) -> dict[str, int | float | list[int]]:
    """Counts; mean and standard deviation of the pixels in [0, 1], from sums of whole numbers, so exact everywhere."""
    total = int(images.pixels.sum(dtype=np.int64))
    squares = int(np.square(images.pixels, dtype=np.uint16).sum(dtype=np.int64))
    size = images.pixels.size
    return {
        "images": len(images.names),
        "per_class": np.bincount(images.labels, minlength=CLASSES).tolist(),
        "mean": total / (255 * size),
        "std": math.sqrt((size * squares - total**2) / (255 * size) ** 2),
    }
