"""Read and write the canonical PNG files: square, 8-bit greyscale or RGB, not interlaced (PNG, RFC 2083).

All images of a data set have the same format, so the first 33 bytes of all files are the same, and the last 12. Reading
is strict and in two steps: `filtered_rows` checks and decompresses one file, `undo_filters` turns the rows of all files
into pixels.
"""

import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

BATCH_BYTES = 3 * 2**20  # of images whose filters are undone together; they fit into the cache of a processor
SMALLEST_BATCH = 256  # images; with fewer, calls of numpy take longer than their work
LARGEST_BLOCK = 65_535  # bytes in a stored block: RFC 1951, 3.2.4

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">8sI4sIIBBBBBI")
CHUNK = struct.Struct(">I4s")  # length and type; content and CRC-32 follow

COLOUR_TYPES = {1: 0, 3: 2}  # by the number of channels
COLOURS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
REJECTED_CHUNKS = {
    b"acTL": "animated",
    b"fcTL": "animated",
    b"fdAT": "animated",
    b"tRNS": "transparent",
    b"PLTE": "palette",
}


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


END = chunk(b"IEND", b"")


@cache
def start(size: int, channels: int) -> bytes:
    """What a canonical PNG file of size × size pixels with 1 or 3 channels starts with."""
    fields = struct.pack(">IIBBBBB", size, size, 8, COLOUR_TYPES[channels], 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", fields)


def allowed(size: int, channels: int) -> str:
    """The canonical kind of PNG file in words, as errors say it."""
    return f"allowed: {size}×{size} pixels, 8-bit {COLOURS[COLOUR_TYPES[channels]]}, not interlaced"


def encode(pixels: Bytes) -> bytes:
    """(size, size) or (size, size, 3) uint8 as an 8-bit greyscale or RGB PNG file.

    The rows are stored, not compressed: zlib's implementations compress differently, so only this way does an archive
    have the same digest on every machine. It costs one more tar block per image of MNIST, and makes reading faster.
    """
    size = len(pixels)
    rows = np.pad(pixels.reshape(size, -1), ((0, 0), (1, 0))).tobytes()  # filter type 0 before each row
    blocks = [rows[place : place + LARGEST_BLOCK] for place in range(0, len(rows), LARGEST_BLOCK)]
    stored = b"".join(
        struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks, start=1)
    )
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))
    return start(size, pixels[0, 0].size) + chunk(b"IDAT", data) + END


def filtered_rows(content: bytes, size: int, channels: int) -> bytes:
    """The rows of a canonical PNG file, decompressed, each with its filter type before it.

    These are size × (1 + channels × size) bytes. ValueError for any other kind of PNG file, for a wrong checksum, a
    wrong order of chunks, missing or additional bytes.
    """
    if not content.startswith(start(size, channels)):
        raise ValueError(_describe_other_start(content, allowed(size, channels)))
    packed: list[bytes] = []
    offset, kind, length = HEADER.size, b"IHDR", 0
    while kind != b"IEND":
        first, previous = offset, kind
        if len(content) < first + 12:
            raise ValueError(f"truncated: ends at byte {len(content)} without the final chunk IEND")
        length, kind = CHUNK.unpack_from(content, first)
        offset = first + 12 + length
        if not kind.isalpha():
            raise ValueError(f"damaged: no valid chunk at byte {first}")
        if offset > len(content):
            raise ValueError(
                f"truncated: chunk {kind.decode()} at byte {first} has {len(content) - first} of {offset - first} bytes"
            )
        if zlib.crc32(content[first + 4 : offset - 4]) != int.from_bytes(content[offset - 4 : offset], "big"):
            raise ValueError(f"damaged: wrong checksum (CRC-32) in chunk {kind.decode()} at byte {first}")
        if kind == b"IDAT":
            if packed and previous != b"IDAT":
                raise ValueError(f"damaged: chunk {previous.decode()} is between chunks IDAT, which must be adjacent")
            packed.append(content[first + 8 : offset - 4])
        elif kind in REJECTED_CHUNKS:
            raise ValueError(f"{REJECTED_CHUNKS[kind]} (chunk {kind.decode()}); {allowed(size, channels)}")
        elif kind[:1].isupper() and kind != b"IEND":
            raise ValueError(f"unexpected critical chunk {kind.decode()} at byte {first}; allowed: IHDR, IDAT, IEND")
    if length:
        raise ValueError("damaged: the final chunk IEND is not empty")
    if offset < len(content):
        raise ValueError(f"damaged: {len(content) - offset} unexpected bytes after the final chunk IEND")
    return _decompress(b"".join(packed), size, 1 + channels * size)


def _decompress(packed: bytes, size: int, width: int) -> bytes:
    """`size` rows of `width` bytes, of which the first is a filter type."""
    expected = size * width
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(packed, expected + 1)  # never more, so a decompression bomb does no harm
    except zlib.error as error:
        raise ValueError(f"damaged: the image data cannot be decompressed ({error})") from None
    if len(rows) > expected:
        raise ValueError(f"damaged: more image data than the {expected} bytes of {size}×{size} pixels")
    if len(rows) < expected:
        raise ValueError(f"truncated: {len(rows)} of {expected} bytes of image data")
    if not stream.eof:
        raise ValueError("truncated: the end of the compressed image data is missing")
    if stream.unused_data:
        raise ValueError(f"damaged: {len(stream.unused_data)} unexpected bytes after the compressed image data")
    if rows[::width].translate(None, bytes(range(5))):
        raise ValueError("damaged: a row has an unknown filter type; allowed: 0 to 4")
    return rows


def _describe_other_start(content: bytes, allowed: str) -> str:
    """What is wrong with a file that does not start like the allowed kind, which is described by `allowed`."""
    if not content:
        return "an empty file; allowed: a PNG file"
    if not content.startswith(SIGNATURE[: len(content)]):
        return f"not a PNG file: it starts with the bytes {content[:8].hex(' ')}"
    if len(content) < HEADER.size:
        return f"truncated: ends at byte {len(content)}, within the header"
    _, length, kind, width, height, depth, colour, compression, filters, interlaced, checksum = HEADER.unpack_from(
        content
    )
    if (length, kind) != (13, b"IHDR") or zlib.crc32(content[12:29]) != checksum:
        return "damaged: invalid header (IHDR), or wrong checksum (CRC-32) in it"
    found = f"{width}×{height} pixels, {depth}-bit {COLOURS.get(colour, f'colour type {colour}')}"
    if compression or filters or interlaced:
        found += f", compression {compression}, filters {filters}, {'interlaced' if interlaced else 'not interlaced'}"
    if (width, depth, interlaced) == (height, 8, 0) and colour in COLOUR_TYPES.values():
        channels = 3 if colour else 1
        allowed += f"; remedy: if all images are like this, set data.size to {width} and data.channels to {channels}"
    return f"{found}; {allowed}"


def undo_filters(rows: Bytes, channels: int) -> Bytes:
    """Pixels (N, size, size), or (N, size, size, 3), from filtered rows (N, size, 1 + channels × size).

    PNG stores differences from the neighbours left and above.
    """
    count, size, width = rows.shape
    pixels = np.empty((count, size, size) if channels == 1 else (count, size, size, channels), dtype=np.uint8)
    batch = max(SMALLEST_BATCH, BATCH_BYTES // (size * width))
    for place in range(0, count, batch):
        part = rows[place : place + batch]
        filtered = part[:, :, 1:].copy().reshape(len(part), *pixels.shape[1:])
        pixels[place : place + batch] = _undo_batch(part[:, :, 0], filtered)
    return pixels


def undo_any_filters(rows: Bytes, channels: int) -> Bytes:
    """Bytes (H, W, channels) of one image of any shape from its filtered rows (H, 1 + channels × W)."""
    filtered = rows[:, 1:].reshape(1, len(rows), -1, channels).copy()
    pixels: Bytes = _undo_batch(rows[None, :, 0], filtered)[0]
    return pixels


def _undo_batch(filters: Bytes, pixels: Bytes) -> Bytes:
    """The pixels (N, size, size, ...) in place of the filtered ones, with the filters (N, size) of their rows."""
    above = np.zeros_like(pixels[:, 0])
    for line, kinds in zip(pixels.swapaxes(0, 1), filters.T, strict=True):  # one line of all images at a time
        for kind, undo in UNDO.items():
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                line[chosen] = undo(line[chosen], above[chosen])
        above = line
    return pixels


def _undo_sub(line: Bytes, _: Bytes) -> Bytes:
    return np.cumsum(line, axis=1, dtype=np.uint8)


def _undo_up(line: Bytes, above: Bytes) -> Bytes:
    return line + above


def _undo_average(line: Bytes, above: Bytes) -> Bytes:
    left = np.zeros_like(line[:, 0])
    for value, up in zip(line.swapaxes(0, 1), above.swapaxes(0, 1).astype(np.uint16), strict=True):
        value += ((left + up) // 2).astype(np.uint8)
        left = value
    return line


def _undo_paeth(line: Bytes, above: Bytes) -> Bytes:
    """The predictor is the neighbour nearest to left + up - corner; of equally near ones left, then up."""
    left = corner = np.zeros(line[:, 0].shape, dtype=np.int16)
    for value, up in zip(line.swapaxes(0, 1), above.swapaxes(0, 1).astype(np.int16), strict=True):
        from_left, from_up, from_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
        nearest = np.where(from_up <= from_corner, up, corner)
        nearest = np.where((from_left <= from_up) & (from_left <= from_corner), left, nearest)
        value += nearest.astype(np.uint8)
        left, corner = value.astype(np.int16), up
    return line


UNDO: dict[int, Callable[[Bytes, Bytes], Bytes]] = {1: _undo_sub, 2: _undo_up, 3: _undo_average, 4: _undo_paeth}
