"""From archives of PNG files to index, packed pixels and profile: every image is checked, all that is wrong is told.

The label of an image comes from its name, `{number}_{label}.png`, and from nowhere else.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


# All images are of one kind, so their first 33 bytes are the same, and their last 12.
START = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0))

END = chunk(b"IEND", b"")


def encode(pixels: np.ndarray) -> bytes:
    """(28, 28) uint8 as an 8-bit greyscale PNG file.

    The rows are stored, not compressed: zlib's implementations compress differently, and so an archive of MNIST has the
    same digest on every machine. It costs one more block of the tar per image, and makes reading faster.
    """
    rows = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # filter type 0 before each row
    stored = struct.pack("<BHH", 1, len(rows), len(rows) ^ 0xFFFF) + rows + struct.pack(">I", zlib.adler32(rows))
    return START + chunk(b"IDAT", b"\x78\x01" + stored) + END


SIDE = 28  # pixels

PACKED = SIDE * (1 + SIDE)  # bytes of an image within a PNG file: before every row stands the type of its filter

CHUNK = struct.Struct(">I4s")  # length and kind; content and a CRC-32 follow

HEADER = struct.Struct(">8sI4sIIBBBBBI")

COLOURS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}

REFUSED = {b"acTL": "animated", b"fcTL": "animated", b"fdAT": "animated", b"tRNS": "transparent", b"PLTE": "palette"}

ALLOWED = "allowed: 28×28 pixels, 8-bit greyscale, not interlaced"

BATCH = 4096  # images whose filters are undone together: what fits a processor's cache


def filtered_rows(content: bytes) -> bytes:
    """The 28 rows of a PNG file, inflated, each with the type of its filter before it; ValueError tells what is wrong.

    Only one kind of PNG file is taken, and all of it is checked: the checksum of every chunk, their order, the end.
    """
    if not content.startswith(START):
        raise ValueError(_other_start(content))
    packed, at, kind, length = [], len(START), b"IHDR", 0
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
    if not content.startswith(SIGNATURE[: max(1, len(content))]):
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
