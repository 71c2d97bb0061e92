"""Any image as the one canonical kind of PNG file: without loss, or with a loss that `data.accept` names.

Pillow decodes. Rows are written without compression, so equal pixels give equal bytes on every machine.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from lenetlab.data import png
from lenetlab.settings import layer_schema, schema

Pixels = NDArray[np.uint8]  # (H, W) grey, or (H, W, 3)

MAX_SIDE = 4096  # pixels; read from the header before anything is decoded
LFS_POINTER = b"version https://git-lfs"
LOSSLESS = ("PNG", "BMP", "GIF", "PPM", "TIFF")  # formats that keep every pixel
FORMATS = (*LOSSLESS, "JPEG", "WEBP")
VALUES = {0: 1, 2: 3, 4: 2, 6: 4}  # of a pixel, by the colour type of a PNG file
MODES = {  # of Pillow
    "1": "1-bit grey",
    "L": "8-bit grey",
    "LA": "8-bit grey with alpha",
    "I;16": "16-bit grey",
    "P": "8-bit palette",
    "RGB": "8-bit RGB",
    "RGBA": "8-bit RGB with alpha",
    "CMYK": "8-bit CMYK",
}


class Refused(ValueError):
    """An image that is not taken. Equal problems have equal texts, so that they can be grouped."""

    noun = "image"

    def __init__(self, what: str, remedy: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what  # what the image is, such as "32×32 pixels, 8-bit RGB"
        self.remedy = remedy
        self.missing = missing  # the switches of data.accept that would take it


class Damaged(Refused):
    """Not an image, or one that cannot be decoded."""

    noun = "file"


class Decoded(NamedTuple):
    pixels: Pixels  # (H, W) if every pixel is grey, else (H, W, 3)
    stored: str  # such as "8-bit RGB"
    changed: bool  # stored in another way than as 8-bit grey, or 8-bit RGB with colours
    losses: tuple[str, ...]  # what decoding lost: "8-bit", "jpeg", "alpha"


class Converted(NamedTuple):
    content: bytes  # a canonical PNG file
    change: str  # what was changed, such as "grey stored as 8-bit RGB"; empty if nothing was


def convert(content: bytes | Pixels, kind: schema.ImageKind, accept: Collection[str]) -> Converted:
    """An image as a PNG file of size x size pixels, 8 bit, grey or RGB.

    Refused if it is of another kind and would lose something that `accept` does not name; Damaged if it is no image.
    """
    decoded = decode(content)
    pixels = decoded.pixels
    losses = decoded.losses
    if pixels.ndim == 3 and kind.channels == 1:
        losses += ("grey",)
    if pixels.shape[:2] != (kind.size, kind.size):
        losses += ("resize",)
    if missing := [loss for loss in losses if loss not in accept]:
        raise _refused(decoded, missing)
    changes = [f"{'grey' if pixels.ndim == 2 else 'colour'} stored as {decoded.stored}"] if decoded.changed else []
    if pixels.ndim == 2 and kind.channels == 3:
        if decoded.stored == "8-bit RGB":
            changes = []
        elif not decoded.changed:
            changes = ["grey repeated as RGB"]
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if losses:
        changes.append(f"with loss: {', '.join(losses)}")
        pixels = _fitted(pixels, kind)
    return Converted(png.encode(pixels), ", ".join(changes))


def _refused(decoded: Decoded, missing: Sequence[str]) -> Refused:
    """The error about an image that needs other declarations, or the switches `missing`."""
    height, width = decoded.pixels.shape[:2]
    declare = []
    if "resize" in missing and width == height <= layer_schema.MAX_SIDE:
        declare.append(f"data.size: {width}")
    if "grey" in missing:
        declare.append("data.channels: 3")
    others = [loss for loss in missing if loss != "grey" and not (loss == "resize" and width == height)]
    remedy = f"add {', '.join(missing)} to data.accept"
    if declare:
        declared = " and ".join(declare)
        remedy = f"{declared}{f' (and {chr(44).join(others)} in data.accept)' if others else ''}, or {remedy}"
    rectangular = "" if width == height else " (rectangular)"
    transparent = ", transparent pixels" if "alpha" in decoded.losses else ""
    return Refused(
        f"{width}×{height} pixels{rectangular}, {decoded.stored}{transparent}", f"remedy: {remedy}", tuple(missing)
    )


def _fitted(pixels: Pixels, kind: schema.ImageKind) -> Pixels:
    """The pixels in the channels of `kind`, scaled to fit into its square and padded with black."""
    image = Image.fromarray(pixels)
    if kind.channels == 1 and pixels.ndim == 3:
        image = image.convert("L")
    if image.size != (kind.size, kind.size):
        image = ImageOps.pad(image, (kind.size, kind.size), Image.Resampling.BILINEAR, color=0)
    return np.asarray(image)


def decode(content: bytes | Pixels) -> Decoded:
    """The pixels of an image of any kind, without its transparency; Damaged or Refused if there are none."""
    if isinstance(content, np.ndarray):
        grey = content.ndim == 2
        return _reduced(content, "8-bit grey" if grey else "8-bit RGB", changed=False, losses=())
    if content.startswith(LFS_POINTER):
        raise Refused("pointers of Git LFS in place of the images", "remedy: git lfs pull")
    if not content:
        raise Damaged("empty files", "allowed: PNG and other images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of is either refused below or harmless
            return _decode_file(content)
    except (Refused, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise Refused(f"of more than {MAX_SIDE}×{MAX_SIDE} pixels", "allowed: fewer") from None
    except UnidentifiedImageError:
        raise Damaged("not images, or damaged", f"allowed: {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow does not say which errors its decoders raise
        what = str(error).partition("\n")[0][:100]
        raise Damaged(f"damaged ({what if what.isprintable() else type(error).__name__})", "remedy: replace") from None


def _decode_file(content: bytes) -> Decoded:
    image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_SIDE**2:
        raise Refused(f"of more than {MAX_SIDE}×{MAX_SIDE} pixels", "allowed: fewer")
    if getattr(image, "n_frames", 1) > 1:
        raise Refused("animated, or several images in a file", "allowed: one image per file")
    losses: tuple[str, ...] = () if image.format in LOSSLESS or content[12:16] == b"VP8L" else ("jpeg",)
    if image.mode not in MODES:
        raise Refused(f"{width}×{height} pixels of a rare kind ({image.mode})", "allowed: grey, RGB, palette")
    stored = MODES[image.mode]
    if image.format == "PNG" and content[24] != 8 and image.mode in ("L", "P", "LA", "RGB", "RGBA"):
        stored = stored.replace("8-bit", f"{content[24]}-bit")
        if content[24] == 16 and not _repeats_bytes(content):  # Pillow drops the lower bytes
            losses += ("8-bit",)
    elif image.format in ("PPM", "TIFF") and image.mode == "RGB" and _has_16_bits(image):
        stored = stored.replace("8-bit", "16-bit")
        losses += ("8-bit",)
    if losses[:1] == ("jpeg",):
        stored = f"{image.format}, {stored}"
    image = ImageOps.exif_transpose(image)
    if image.mode == "I;16":
        values = np.asarray(image).astype(np.uint16)
        pixels = (values >> 8).astype(np.uint8)
        repeated = bool(np.all(values == pixels.astype(np.uint16) * 257))
        return _reduced(pixels, stored, changed=True, losses=losses if repeated else (*losses, "8-bit"))
    if "A" in image.mode or "transparency" in image.info:
        pixels, opaque = _on_black(np.asarray(image.convert("RGBA")))
        return _reduced(pixels, stored, changed=True, losses=losses if opaque else (*losses, "alpha"))
    plain = image.mode in ("L", "RGB") and stored in ("8-bit grey", "8-bit RGB")
    pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB"))
    return _reduced(pixels, stored, changed=not plain, losses=losses)


def _has_16_bits(image: Image.Image) -> bool:
    """Whether the file of an image in colour has two bytes per value, of which Pillow drops one without a word."""
    if not isinstance(image, ImageFile.ImageFile):
        return False
    arguments = image.tile[0].args
    mode, *_, last = arguments if isinstance(arguments, tuple) else (arguments, None)
    return ";16" in str(mode) or (image.format == "PPM" and isinstance(last, int) and last > 255)


def _repeats_bytes(content: bytes) -> bool:
    """Whether every 16-bit value of a PNG file has two equal bytes, so that one of them says all.

    False if that cannot be told: of interlaced files, and those that are not as Pillow reads them.
    """
    width, height, _, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, len(png.SIGNATURE) + 8)
    packed: list[bytes] = []
    place = len(png.SIGNATURE)
    while not interlaced and place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        packed += [content[place + 8 : place + 8 + length]] if kind == b"IDAT" else []
        place += length + 12
    width *= 2 * VALUES[colour]
    rows = zlib.decompressobj().decompress(b"".join(packed), height * (1 + width))
    if len(rows) != height * (1 + width):
        return False
    values = png.undo_any_filters(np.frombuffer(rows, np.uint8).reshape(height, 1 + width), 2 * VALUES[colour])
    return bool(np.array_equal(values[..., ::2], values[..., 1::2]))


def _on_black(pixels: Pixels) -> tuple[Pixels, bool]:
    """RGB from RGBA (H, W, 4), and whether every pixel is opaque."""
    alpha = pixels[:, :, 3:]
    if alpha.min() == 255:
        return pixels[:, :, :3], True
    return ((pixels[:, :, :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8), False


def _reduced(pixels: Pixels, stored: str, *, changed: bool, losses: tuple[str, ...]) -> Decoded:
    """The pixels with one channel if all three are equal."""
    if pixels.ndim == 3 and all(np.array_equal(pixels[:, :, 0], pixels[:, :, other]) for other in (1, 2)):
        return Decoded(pixels[:, :, 0], stored, True, losses)
    return Decoded(pixels, stored, changed, losses)
