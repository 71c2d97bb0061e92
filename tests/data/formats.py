"""PNG files and archives for tests, with Pillow as the reference for PNG files."""

import io
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from lenetlab.data import archive, png
from lenetlab.settings import study_schema


def pillow_png(pixels: np.ndarray, mode: str = "L", **options: object) -> bytes:
    """A PNG file written by Pillow."""
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "PNG", **options)
    return stream.getvalue()


def pillow_pixels(content: bytes) -> np.ndarray:
    """The pixels of a PNG file as Pillow reads them."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def png_file(rows: bytes, *, level: int = 9, cuts: tuple[int, ...] = ()) -> bytes:
    """A PNG file with these filtered rows; `cuts` divide the compressed data into several chunks."""
    data = zlib.compress(rows, level)
    return png.start(28, 1) + b"".join(png.chunk(b"IDAT", part) for part in divided(data, cuts)) + png.END


def divided(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    ends = sorted({*(cut % len(data) for cut in cuts), len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def with_filter(pixels: np.ndarray, kind: int) -> np.ndarray:
    """Rows (N, 28, 29) that have the filter type `kind` and hold `pixels` (N, 28, 28) as filtered values."""
    return np.concatenate([np.full((len(pixels), 28, 1), kind, dtype=np.uint8), pixels], axis=2)


def flip_bit(content: bytes, place: int, bit: int = 0) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def tar(contents: Iterable[tuple[str, bytes]]) -> bytes:
    """The bytes that `archive.write` writes."""
    stream = io.BytesIO()
    archive.write(stream, contents)
    return stream.getvalue()


def with_header_checksum(header: bytes) -> bytes:
    """A tar header with the right checksum."""
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def data_settings(**changes: object) -> study_schema.DataSettings:
    """The block `data` of params.yaml: 28×28 grey images of ten classes without validation images, with `changes`."""
    needed = {"source": "data/mnist.toml", "extra_test": study_schema.NO_EXTRA_TEST}
    return study_schema.DataSettings(
        **needed | {"validation": 0, "validation_seed": 0, "duplicates": "error"} | changes
    )
