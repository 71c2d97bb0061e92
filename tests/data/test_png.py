"""The PNG reader and writer: Pillow is the reference, and a collection of broken files shows the error messages."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lenetlab.data import png
from lenetlab.storage.digests import sha256
from tests.data.formats import flip_bit, pillow_pixels, pillow_png, png_file, with_filter

DIGITS = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
pixel_arrays = arrays.arrays(np.uint8, (28, 28))


def read(content: bytes) -> np.ndarray:
    rows = np.frombuffer(png.filtered_rows(content, 28, 1), dtype=np.uint8)
    return png.undo_filters(rows.reshape(1, 28, 29), 1)[0]


@given(pixel_arrays)
def test_files_written_here_and_by_pillow_are_read_here_and_by_pillow(pixels):
    assert np.array_equal(pillow_pixels(png.encode(pixels)), pixels)
    for content in (png.encode(pixels), pillow_png(pixels), pillow_png(pixels, optimize=True)):
        assert np.array_equal(read(content), pixels)


def test_the_bytes_of_a_png_file_never_change():
    # The digest of the first version; a stored block (RFC 1951, 3.2.4) leaves an encoder no choice.
    digest = sha256(png.encode(np.arange(784).reshape(28, 28).astype(np.uint8)))
    assert digest == "ca77f8f0a4e21520f3c676566d0b34afe9cdc2ad5131a0c577eece2f17030d6e"


@given(
    rows=arrays.arrays(np.uint8, (5, 28, 29)),
    filters=arrays.arrays(np.uint8, (5, 28), elements=st.integers(0, 4)),
    level=st.integers(0, 9),
    cuts=st.lists(st.integers(0, 1000), max_size=4).map(tuple),
)
def test_any_mixture_of_filters_is_read_as_pillow_reads_it(rows, filters, level, cuts):
    rows[:, :, 0] = filters
    contents = [png_file(image.tobytes(), level=level, cuts=cuts) for image in rows]

    filtered = b"".join(png.filtered_rows(content, 28, 1) for content in contents)
    pixels = png.undo_filters(np.frombuffer(filtered, dtype=np.uint8).reshape(-1, 28, 29), 1)

    assert np.array_equal(pixels, [pillow_pixels(content) for content in contents])


@pytest.mark.parametrize("kind", range(5))
def test_each_filter_alone_is_read_as_pillow_reads_it(kind):
    rows = with_filter(DIGITS, kind)

    assert np.array_equal(png.undo_filters(rows, 1), [pillow_pixels(png_file(image.tobytes())) for image in rows])


def test_images_of_several_batches_are_read_like_those_of_one(monkeypatch):
    rows = with_filter(DIGITS, 4)
    whole = png.undo_filters(rows, 1)
    monkeypatch.setattr(png, "SMALLEST_BATCH", 7)
    monkeypatch.setattr(png, "BATCH_BYTES", 1)

    assert np.array_equal(png.undo_filters(rows, 1), whole)


def start(width: int = 28, height: int = 28, depth: int = 8, colour: int = 0, *methods: int) -> bytes:
    """Signature and header; `methods` are those of compression, filters and interlacing."""
    fields = struct.pack(">IIBBBBB", width, height, depth, colour, *(methods or (0, 0, 0)))
    return png.SIGNATURE + png.chunk(b"IHDR", fields)


PIXELS = DIGITS[0]
ROWS = with_filter(DIGITS[:1], 0).tobytes()
DATA = zlib.compress(ROWS)
GOOD = png_file(ROWS)
START, END, chunk = png.start(28, 1), png.END, png.chunk
IDAT, TEXT = chunk(b"IDAT", DATA), chunk(b"tEXt", b"Comment\0a digit")
LAST = len(GOOD) - 12  # byte where the chunk IEND starts
WRONG_HEADER = "damaged: invalid header (IHDR), or wrong checksum (CRC-32) in it"
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file; allowed: a PNG file"),
    "text": (b"a digit", "not a PNG file: it starts with the bytes 61 20 64 69 67 69 74"),
    "JPEG": (b"\xff\xd8\xff\xe0" + GOOD, "not a PNG file: it starts with the bytes ff d8 ff e0"),
    "line ends changed": (GOOD.replace(b"\r\n", b"\n"), "not a PNG file"),
    "cut in the signature": (GOOD[:5], "truncated: ends at byte 5, within the header"),
    "cut in the header": (GOOD[:32], "truncated: ends at byte 32, within the header"),
    "cut after the header": (GOOD[:33], "truncated: ends at byte 33 without the final chunk IEND"),
    "cut in a chunk": (GOOD[:100], f"truncated: chunk IDAT at byte 33 has 67 of {len(IDAT)} bytes"),
    "cut before the end": (GOOD[:-12], f"truncated: ends at byte {LAST} without the final chunk IEND"),
    "cut in the end": (GOOD[:-1], f"truncated: ends at byte {len(GOOD) - 1} without the final chunk IEND"),
    "header changed": (flip_bit(GOOD, 19), WRONG_HEADER),
    "length of the header changed": (flip_bit(GOOD, 11), WRONG_HEADER),
    "checksum of the header changed": (flip_bit(GOOD, 30), WRONG_HEADER),
    "type of the header changed": (flip_bit(GOOD, 12), WRONG_HEADER),
    "data changed": (flip_bit(GOOD, 200), "damaged: wrong checksum (CRC-32) in chunk IDAT at byte 33"),
    "checksum of the data changed": (flip_bit(GOOD, LAST - 1), "wrong checksum (CRC-32) in chunk IDAT at byte 33"),
    "checksum of the end changed": (flip_bit(GOOD, len(GOOD) - 1), f"(CRC-32) in chunk IEND at byte {LAST}"),
    "no chunk": (START + bytes(20) + END, "damaged: no valid chunk at byte 33"),
    "27×28": (pillow_png(PIXELS[:, 1:]), "27×28 pixels, 8-bit greyscale; allowed: 28×28 pixels, 8-bit greyscale"),
    "28×29": (start(28, 29) + IDAT + END, "28×29 pixels, 8-bit greyscale; allowed"),
    "huge": (start(2**31 - 1, 2**31 - 1) + IDAT + END, "2147483647×2147483647 pixels"),
    "1 bit": (pillow_png(PIXELS, "1"), "1-bit greyscale; allowed"),
    "4 bits": (start(depth=4) + IDAT + END, "4-bit greyscale; allowed"),
    "16 bits": (pillow_png(PIXELS.astype(np.uint16), "I;16"), "16-bit greyscale; allowed"),
    "palette": (pillow_png(PIXELS, "P"), "8-bit palette; allowed"),
    "RGB": (pillow_png(PIXELS, "RGB"), "8-bit RGB; allowed"),
    "RGBA": (pillow_png(PIXELS, "RGBA"), "8-bit RGB with alpha; allowed"),
    "alpha": (pillow_png(PIXELS, "LA"), "8-bit greyscale with alpha; allowed"),
    "unknown colours": (start(28, 28, 8, 7) + IDAT + END, "8-bit colour type 7; allowed"),
    "interlaced": (start(28, 28, 8, 0, 0, 0, 1) + IDAT + END, "interlaced; allowed: 28×28 pixels"),
    "unknown compression": (start(28, 28, 8, 0, 3, 0, 0) + IDAT + END, "compression 3"),
    "unknown filter method": (start(28, 28, 8, 0, 0, 64, 0) + IDAT + END, "filters 64"),
    "animated": (
        pillow_png(PIXELS, save_all=True, append_images=[Image.fromarray(DIGITS[1])]),
        "animated (chunk acTL); allowed: 28×28 pixels",
    ),
    "transparent": (pillow_png(PIXELS, transparency=0), "transparent (chunk tRNS); allowed"),
    "additional palette": (START + chunk(b"PLTE", b"123") + IDAT + END, "palette (chunk PLTE); allowed"),
    "unknown critical chunk": (START + chunk(b"ABCD", b"") + IDAT + END, "unexpected critical chunk ABCD at byte 33"),
    "second header": (START + START[8:] + IDAT + END, "unexpected critical chunk IHDR at byte 33"),
    "data in two places": (
        START + chunk(b"IDAT", DATA[:50]) + TEXT + chunk(b"IDAT", DATA[50:]) + END,
        "damaged: chunk tEXt is between chunks IDAT, which must be adjacent",
    ),
    "no data": (START + END, "truncated: 0 of 812 bytes of image data"),
    "data cut": (START + chunk(b"IDAT", DATA[:-4]) + END, "truncated: the end of the compressed image data is missing"),
    "data cut early": (START + chunk(b"IDAT", zlib.compress(ROWS, 0)[:407]) + END, "400 of 812 bytes of image data"),
    "one row missing": (png_file(ROWS[:-29]), "truncated: 783 of 812 bytes of image data"),
    "one byte missing": (png_file(ROWS[:-1]), "truncated: 811 of 812 bytes of image data"),
    "one byte added": (png_file(ROWS + b"\0"), "damaged: more image data than the 812 bytes of 28×28 pixels"),
    "decompression bomb": (png_file(bytes(10_000_000)), "more image data than the 812 bytes"),
    "bytes after the data": (START + chunk(b"IDAT", DATA + b"x") + END, "1 unexpected bytes after the compressed"),
    "Adler-32 changed": (
        START + chunk(b"IDAT", flip_bit(DATA, len(DATA) - 1)) + END,
        "damaged: the image data cannot be decompressed",
    ),
    "not compressed": (START + chunk(b"IDAT", ROWS) + END, "damaged: the image data cannot be decompressed"),
    "unknown filter": (png_file(b"\5" + ROWS[1:]), "damaged: a row has an unknown filter type; allowed: 0 to 4"),
    "unknown filter below": (png_file(ROWS[:-29] + b"\xff" + ROWS[-28:]), "a row has an unknown filter type"),
    "bytes at the end": (GOOD + b"\0", "damaged: 1 unexpected bytes after the final chunk IEND"),
    "two images": (GOOD + GOOD, f"damaged: {len(GOOD)} unexpected bytes after the final chunk IEND"),
    "end with content": (START + IDAT + chunk(b"IEND", b"x"), "damaged: the final chunk IEND is not empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_image_is_rejected_with_the_reason(case):
    content, problem = BROKEN[case]

    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is compared below
        png.filtered_rows(content, 28, 1)

    assert problem in str(caught.value)


def test_chunks_that_do_not_change_the_pixels_are_skipped():
    assert np.array_equal(read(START + TEXT + IDAT + chunk(b"tIME", bytes(7)) + END), PIXELS)


@given(place=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(place, bit):
    with pytest.raises(ValueError):  # noqa: PT011
        png.filtered_rows(flip_bit(GOOD, place, bit), 28, 1)


@given(st.integers(0, len(GOOD) - 1))
def test_every_truncation_is_noticed(length):
    with pytest.raises(ValueError):  # noqa: PT011
        png.filtered_rows(GOOD[:length], 28, 1)


@given(st.binary(max_size=300).map(lambda end: START + end) | st.binary(max_size=50))
def test_other_bytes_raise_value_error_and_nothing_else(content):
    with pytest.raises(ValueError):  # noqa: PT011
        png.filtered_rows(content, 28, 1)
