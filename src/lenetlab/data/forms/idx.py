"""IDX files, as of MNIST, Fashion-MNIST and EMNIST, plain or compressed with gzip."""

import re
import zlib
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lenetlab.data.forms import entries, found
from lenetlab.data.forms.entries import Entry, Listing
from lenetlab.data.forms.found import Found, Picture
from lenetlab.errors import UserError

NAME = re.compile(r"(.*?)(train|t10k|test|val|valid|validation)-(images|labels)[-.]idx[13]-ubyte(\.gz)?", re.IGNORECASE)
MAX_BYTES = 2**32  # of all pixels
TRANSPOSED = "EMNIST stores every image transposed: rows and columns are exchanged, alike in all sets"


class _Files(NamedTuple):
    images: Entry
    labels: Entry


def find(listing: Listing) -> Found | None:
    """The images of IDX files; None if there are none. UserError says what is wrong with them."""
    by_name: dict[str, Entry] = {}
    for entry in listing.entries:
        name = entry.path.rpartition("/")[2]
        if NAME.fullmatch(name):
            plain = re.sub(r"\.gz$", "", name, flags=re.IGNORECASE)
            if plain in by_name:
                listing.ignored["IDX files that are there twice"] += 1
            if plain not in by_name or plain == name:  # reading a plain file is faster
                by_name[plain] = entry
    if not by_name:
        return None
    listing.ignored["other files"] += (
        len(listing.entries) - len(by_name) - listing.ignored["IDX files that are there twice"]
    )
    prefixes = sorted({NAME.fullmatch(name)[1] for name in by_name})  # type: ignore[index]
    if len(prefixes) > 1:
        raise UserError(f"several sets of IDX files: {', '.join(prefixes)}; remedy: a folder with the files of one")
    sets: dict[str, dict[str, Entry]] = {}
    for name, entry in by_name.items():
        _, kind, content, _ = NAME.fullmatch(name).groups()  # type: ignore[union-attr]
        sets.setdefault(entries.set_of(kind), {})[content.lower()] = entry
    problems = [
        f"{next(iter(parts.values())).path}: {kind} has {'images' if 'images' in parts else 'labels'} alone;"
        " needed: a file of images and one of labels"
        for kind, parts in sets.items()
        if len(parts) < 2
    ]
    if problems:
        raise UserError(*problems)
    read = {kind: _pictures(_Files(**parts)) for kind, parts in sets.items()}
    notes = (TRANSPOSED,) if prefixes[0].lower().startswith("emnist") else ()
    return Found(found.IDX, dict(read), dict(+listing.ignored), notes)


def _pictures(files: _Files) -> list[Picture]:
    labels = parse(read_unpacked(files.labels), files.labels.path, dimensions=1)
    images = parse(read_unpacked(files.images), files.images.path, dimensions=3)
    if len(images) != len(labels):
        raise UserError(f"{files.images.path}: {len(images)} images, but {len(labels)} labels in {files.labels.path}")
    return pictures(images, labels, files.images.path)


def pictures(images: NDArray[np.uint8], labels: NDArray[np.uint8], place: str) -> list[Picture]:
    """A picture per image (N, H, W), with its label (N) as text."""
    return [
        Picture(f"{place} image {number}", str(label), partial(_image, images, number))
        for number, label in enumerate(labels.tolist())
    ]


def _image(images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(images[number])


def parse(content: bytes, place: str, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file as an array of so many dimensions; UserError if it is another file, or damaged."""
    what = "images" if dimensions == 3 else "labels"
    shape = announced(content, place, dimensions)
    start = 4 + 4 * dimensions
    if len(content) - start != prod(shape):
        raise UserError(
            f"{place}: damaged: {len(content) - start} bytes of {what}, {prod(shape)} announced; remedy: get it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def announced(start: bytes, place: str, dimensions: int) -> tuple[int, ...]:
    """The shape in the header of an IDX file; UserError if it is not of unsigned bytes or too large."""
    header = 4 + 4 * dimensions
    what = "images" if dimensions == 3 else "labels"
    if len(start) < header or start[:4] != bytes((0, 0, 8, dimensions)):
        raise UserError(f"{place}: not an IDX file of {what} (unsigned bytes, {dimensions} dimensions)")
    shape = tuple(int.from_bytes(start[byte : byte + 4], "big") for byte in range(4, header, 4))
    if not 0 < prod(shape) <= MAX_BYTES:
        raise UserError(f"{place}: {'×'.join(map(str, shape))} {what}; allowed: 1 to {MAX_BYTES} bytes")
    return shape


def read_unpacked(entry: Entry) -> bytes:
    """The content of an IDX file, unpacked if it is compressed: at most one byte more than its header announces."""
    content = entry.read()
    entries.check_no_pointer(content, entry.path, "IDX file")
    if not content.startswith(b"\x1f\x8b"):
        return content
    dimensions = 3 if "-images" in entry.path.lower() else 1
    try:
        start = zlib.decompressobj(wbits=31).decompress(content, 4 + 4 * dimensions)
        size = 4 + 4 * dimensions + prod(announced(start, entry.path, dimensions))
        stream = zlib.decompressobj(wbits=31)
        unpacked = stream.decompress(content, size + 1)
    except zlib.error as error:
        raise UserError(f"{entry.path}: a damaged gzip file ({error}); remedy: get it again") from None
    if not stream.eof:
        what = "more data than announced" if len(unpacked) > size else "truncated"
        raise UserError(f"{entry.path}: a damaged gzip file ({what}); remedy: get it again")
    return unpacked
