"""Read and write the one allowed kind of PNG file: 28×28 pixels, 8-bit greyscale, not interlaced (PNG, RFC 2083).

All images have the same format, so the first 33 bytes of all files are the same, and the last 12. Reading is strict
and in two steps: `filtered_rows` checks and decompresses one file, `undo_filters` turns the rows of all files into
pixels.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

SIDE = 28  # pixels
FILTERED_SIZE = SIDE * (1 + SIDE)  # bytes of an image in a PNG file: each row starts with its filter type
BATCH = 4096  # images whose filters are undone together; they fit into the cache of a processor

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">8sI4sIIBBBBBI")
CHUNK = struct.Struct(">I4s")  # length and type; content and CRC-32 follow

COLOURS = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale with alpha", 6: "RGB with alpha"}
REJECTED_CHUNKS = {
    b"acTL": "animated",
    b"fcTL": "animated",
    b"fdAT": "animated",
    b"tRNS": "transparent",
    b"PLTE": "palette",
}
ALLOWED = "allowed: 28×28 pixels, 8-bit greyscale, not interlaced"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


START = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0))
END = chunk(b"IEND", b"")


def encode(pixels: Bytes) -> bytes:
    """(28, 28) uint8 as an 8-bit greyscale PNG file.

    The rows are stored, not compressed: zlib's implementations compress differently, so only this way does an archive
    of MNIST have the same digest on every machine. It costs one more tar block per image, and makes reading faster.
    """
    rows = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # filter type 0 before each row
    stored = struct.pack("<BHH", 1, len(rows), len(rows) ^ 0xFFFF) + rows + struct.pack(">I", zlib.adler32(rows))
    return START + chunk(b"IDAT", b"\x78\x01" + stored) + END


def filtered_rows(content: bytes) -> bytes:
    """The 28 rows of a PNG file, decompressed, each with its filter type before it: 28 × 29 bytes.

    ValueError for any other kind of PNG file, for a wrong checksum, a wrong order of chunks, missing or additional
    bytes.
    """
    if not content.startswith(START):
        raise ValueError(_describe_other_start(content))
    packed: list[bytes] = []
    offset, kind, length = len(START), b"IHDR", 0
    while kind != b"IEND":
        start, previous = offset, kind
        if len(content) < start + 12:
            raise ValueError(f"truncated: ends at byte {len(content)} without the final chunk IEND")
        length, kind = CHUNK.unpack_from(content, start)
        offset = start + 12 + length
        if not kind.isalpha():
            raise ValueError(f"damaged: no valid chunk at byte {start}")
        if offset > len(content):
            raise ValueError(
                f"truncated: chunk {kind.decode()} at byte {start} has {len(content) - start} of {offset - start} bytes"
            )
        if zlib.crc32(content[start + 4 : offset - 4]) != int.from_bytes(content[offset - 4 : offset], "big"):
            raise ValueError(f"damaged: wrong checksum (CRC-32) in chunk {kind.decode()} at byte {start}")
        if kind == b"IDAT":
            if packed and previous != b"IDAT":
                raise ValueError(f"damaged: chunk {previous.decode()} is between chunks IDAT, which must be adjacent")
            packed.append(content[start + 8 : offset - 4])
        elif kind in REJECTED_CHUNKS:
            raise ValueError(f"{REJECTED_CHUNKS[kind]} (chunk {kind.decode()}); {ALLOWED}")
        elif kind[:1].isupper() and kind != b"IEND":
            raise ValueError(f"unexpected critical chunk {kind.decode()} at byte {start}; allowed: IHDR, IDAT, IEND")
    if length:
        raise ValueError("damaged: the final chunk IEND is not empty")
    if offset < len(content):
        raise ValueError(f"damaged: {len(content) - offset} unexpected bytes after the final chunk IEND")
    return _decompress(b"".join(packed))


def _decompress(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(packed, FILTERED_SIZE + 1)  # never more, so a decompression bomb does no harm
    except zlib.error as error:
        raise ValueError(f"damaged: the image data cannot be decompressed ({error})") from None
    if len(rows) > FILTERED_SIZE:
        raise ValueError(f"damaged: more image data than the {FILTERED_SIZE} bytes of 28×28 pixels")
    if len(rows) < FILTERED_SIZE:
        raise ValueError(f"truncated: {len(rows)} of {FILTERED_SIZE} bytes of image data")
    if not stream.eof:
        raise ValueError("truncated: the end of the compressed image data is missing")
    if stream.unused_data:
        raise ValueError(f"damaged: {len(stream.unused_data)} unexpected bytes after the compressed image data")
    if rows[:: 1 + SIDE].translate(None, bytes(range(5))):
        raise ValueError("damaged: a row has an unknown filter type; allowed: 0 to 4")
    return rows


def _describe_other_start(content: bytes) -> str:
    """What is wrong with a file that does not start like the allowed kind."""
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
    return f"{found}; {ALLOWED}"


def undo_filters(rows: Bytes) -> Bytes:
    """Pixels (N, 28, 28) from filtered rows (N, 28, 29): PNG stores differences from the neighbours left and above."""
    pixels = np.empty((len(rows), SIDE, SIDE), dtype=np.uint8)
    for start in range(0, len(rows), BATCH):
        pixels[start : start + BATCH] = _undo_batch(rows[start : start + BATCH])
    return pixels


def _undo_batch(rows: Bytes) -> Bytes:
    filters, pixels = rows[:, :, 0], rows[:, :, 1:].copy()
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
    for value, up in zip(line.T, above.T.astype(np.uint16), strict=True):
        value += ((left + up) // 2).astype(np.uint8)
        left = value
    return line


def _undo_paeth(line: Bytes, above: Bytes) -> Bytes:
    """The predictor is the neighbour nearest to left + up - corner; of equally near ones left, then up."""
    left = corner = np.zeros(len(line), dtype=np.int16)
    for value, up in zip(line.T, above.T.astype(np.int16), strict=True):
        from_left, from_up, from_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
        nearest = np.where(from_up <= from_corner, up, corner)
        nearest = np.where((from_left <= from_up) & (from_left <= from_corner), left, nearest)
        value += nearest.astype(np.uint8)
        left, corner = value.astype(np.int16), up
    return line


UNDO: dict[int, Callable[[Bytes, Bytes], Bytes]] = {1: _undo_sub, 2: _undo_up, 3: _undo_average, 4: _undo_paeth}
