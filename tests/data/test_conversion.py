"""Images of any kind become the canonical one: without loss, or with a loss that was accepted, or not at all."""

import io
import struct
import zlib

import matplotlib.image
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from lenetlab.data import conversion, png, sources
from lenetlab.data.forms.packing import Target
from lenetlab.errors import UserError
from lenetlab.settings import schema
from tests.data.formats import pillow_pixels
from tests.data.sources_of_users import encoded, problems_of, write

GREY, COLOUR = schema.ImageKind(size=28, channels=1), schema.ImageKind(size=28, channels=3)
RANDOM = np.random.default_rng(3)
PIXELS = RANDOM.integers(0, 256, (28, 28), np.uint8)
PHOTO = RANDOM.integers(0, 256, (28, 28, 3), np.uint8)


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def by_torchvision() -> bytes:
    stream = io.BytesIO()
    torchvision.utils.save_image(torch.from_numpy(PIXELS / 255.0), stream, format="png")
    return stream.getvalue()


def by_matplotlib() -> bytes:
    stream = io.BytesIO()
    matplotlib.image.imsave(stream, PIXELS, cmap="gray", vmin=0, vmax=255, format="png")
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def interlaced() -> bytes:
    """Adam7: seven images, each of every so many pixels."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + line.tobytes() for y, x, step_y, step_x in passes for line in PIXELS[y::step_y, x::step_x])
    header = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 1)
    return png.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bits(depth: int) -> tuple[np.ndarray, bytes]:
    """Pixels of 2 or 4 bit, scaled to 8 bit, and their file."""
    values = RANDOM.integers(0, 2**depth, (28, 28), np.uint8)
    unpacked = np.unpackbits(values[:, :, None], axis=2)[:, :, 8 - depth :].reshape(28, -1)
    rows = b"".join(b"\0" + line.tobytes() for line in np.packbits(unpacked, axis=1))
    header = struct.pack(">IIBBBBB", 28, 28, depth, 0, 0, 0, 0)
    content = png.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return values * (255 // (2**depth - 1)), content


def sixteen_bits(colour_type: int, pixels: np.ndarray, kind: int = 0) -> bytes:
    """A PNG file of 16-bit values (H, W, C), all rows with a filter of this kind (0: none, 2: up)."""
    values = pixels.astype(">u2").view(np.uint8).reshape(len(pixels), -1)
    if kind == 2:
        values = np.diff(values, axis=0, prepend=np.zeros((1, values.shape[1]), np.uint8))
    rows = b"".join(bytes([kind]) + line.tobytes() for line in values)
    header = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), 16, colour_type, 0, 0, 0)
    return png.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", [0, 2])
@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_that_repeat_each_byte_lose_nothing(colour_type, channels, kind):
    """As ImageMagick writes them."""
    values = RANDOM.integers(0, 256, (28, 28, channels)).astype(np.uint16)
    if channels in (2, 4):
        values[:, :, -1] = 255
    content = sixteen_bits(colour_type, values * 257, kind)
    expected = np.repeat(values[:, :, :1], 3, axis=2) if channels < 3 else values[:, :, :3]
    assert np.array_equal(pillow_pixels(conversion.convert(content, COLOUR, ()).content), expected)
    values = values * 257
    values[5, 3, 0] ^= 1
    with pytest.raises(conversion.Refused, match="remedy: add 8-bit to"):
        conversion.convert(sixteen_bits(colour_type, values, kind), COLOUR, ())


def test_16_bits_of_other_formats_need_the_switch():
    values = RANDOM.integers(0, 65536, (28, 28, 3))
    tags = [(256, 28), (257, 28), (258, 0), (259, 1), (262, 2), (273, 8), (277, 3), (278, 28), (279, values.size * 2)]
    place = 8 + values.size * 2
    tags[2] = (258, place)
    entries = b"".join(struct.pack("<HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, x) for tag, x in tags)
    directory = struct.pack("<HHHH", 16, 16, 16, len(tags)) + entries + bytes(4)
    tiff = b"II*\0" + struct.pack("<I", place + 6) + values.astype("<u2").tobytes() + directory
    for content in (tiff, b"P6 28 28 65535\n" + values.astype(">u2").tobytes()):
        with pytest.raises(conversion.Refused, match="28×28 pixels, 16-bit RGB; remedy: add 8-bit to"):
            conversion.convert(content, COLOUR, ())
        found = pillow_pixels(conversion.convert(content, COLOUR, ("8-bit",)).content)
        assert np.abs(found.astype(int) - values / 257).max() <= 1


def test_webp_without_loss_needs_no_switch():
    content = saved(Image.fromarray(PIXELS).convert("RGB"), "WEBP", lossless=True)
    assert conversion.convert(content, GREY, ()).content == png.encode(PIXELS)
    with pytest.raises(conversion.Refused, match="add jpeg to"):
        conversion.convert(saved(Image.fromarray(PIXELS).convert("RGB"), "WEBP"), COLOUR, ())


IMAGE = Image.fromarray(PIXELS)
BLACK_AND_WHITE = IMAGE.point(lambda value: 255 * (value > 127)).convert("1")
LOSSLESS = {
    "grey": (saved(IMAGE), PIXELS, ""),
    "RGB": (saved(IMAGE.convert("RGB")), PIXELS, "grey stored as 8-bit RGB"),
    "RGBA": (saved(IMAGE.convert("RGBA")), PIXELS, "grey stored as 8-bit RGB with alpha"),
    "LA": (saved(IMAGE.convert("LA")), PIXELS, "grey stored as 8-bit grey with alpha"),
    "palette": (saved(IMAGE.convert("P")), PIXELS, "grey stored as 8-bit palette"),
    "1 bit": (
        saved(BLACK_AND_WHITE),
        np.asarray(BLACK_AND_WHITE.convert("L")),
        "grey stored as 1-bit grey",
    ),
    "2 bit": (bits(2)[1], None, "grey stored as 2-bit grey"),
    "16 bit": (saved(Image.fromarray(PIXELS.astype(np.uint16) * 257)), PIXELS, "grey stored as 16-bit grey"),
    "interlaced": (interlaced(), PIXELS, ""),
    "bmp": (saved(IMAGE, "BMP"), PIXELS, None),
    "tiff": (saved(IMAGE, "TIFF"), PIXELS, ""),
    "torchvision": (by_torchvision(), PIXELS, "grey stored as 8-bit RGB"),
    "matplotlib": (by_matplotlib(), pillow_pixels(by_matplotlib())[:, :, 0], "grey stored as 8-bit RGB with alpha"),
    "array": (PIXELS, PIXELS, ""),
    "array of colours": (np.repeat(PIXELS[:, :, None], 3, axis=2), PIXELS, "grey stored as 8-bit RGB"),
}


@pytest.mark.parametrize("case", LOSSLESS)
def test_conversion_without_loss(case):
    content, pixels, change = LOSSLESS[case]
    found = conversion.convert(content, GREY, ())

    assert found.content.startswith(png.start(GREY.size, GREY.channels))
    if pixels is not None:
        assert found.content == png.encode(pixels)
    if change is not None:
        assert found.change == change


@pytest.mark.parametrize("depth", [2, 4])
def test_few_bits_are_scaled_to_eight(depth):
    pixels, content = bits(depth)

    assert conversion.convert(content, GREY, ()).content == png.encode(pixels)


def test_colours_are_kept_and_grey_is_repeated():
    for form in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(pillow_pixels(conversion.convert(encoded(PHOTO, form), COLOUR, ()).content), PHOTO)
    found = conversion.convert(saved(IMAGE), COLOUR, ())
    assert found.change == "grey repeated as RGB"
    assert np.array_equal(pillow_pixels(found.content), np.repeat(PIXELS[:, :, None], 3, axis=2))


def test_large_images_are_several_stored_blocks():
    pixels = RANDOM.integers(0, 256, (200, 200, 3), np.uint8)

    assert np.array_equal(pillow_pixels(png.encode(pixels)), pixels)


TRANSPARENT = Image.fromarray(np.dstack([PIXELS] * 3 + [np.full_like(PIXELS, 128)]))
LOSSES = {
    "resize": (
        saved(IMAGE.resize((32, 32))),
        "32×32 pixels, 8-bit grey; remedy: data.size: 32, or add resize to data.accept",
    ),
    "resize, rectangular": (
        saved(IMAGE.resize((32, 24))),
        "32×24 pixels (rectangular), 8-bit grey; remedy: add resize to data.accept",
    ),
    "grey": (encoded(PHOTO), "28×28 pixels, 8-bit RGB; remedy: data.channels: 3, or add grey to data.accept"),
    "8-bit": (
        saved(Image.fromarray(PIXELS.astype(np.uint16) * 256 + 1)),
        "28×28 pixels, 16-bit grey; remedy: add 8-bit to data.accept",
    ),
    "jpeg": (saved(IMAGE, "JPEG"), "28×28 pixels, JPEG, 8-bit grey; remedy: add jpeg to data.accept"),
    "alpha": (
        saved(TRANSPARENT),
        "28×28 pixels, 8-bit RGB with alpha, transparent pixels; remedy: add alpha to data.accept",
    ),
    "jpeg, grey, resize": (
        saved(Image.fromarray(PHOTO).resize((64, 64)), "JPEG"),
        "64×64 pixels, JPEG, 8-bit RGB; remedy: data.size: 64 and data.channels: 3 (and jpeg in data.accept), or add"
        " jpeg, grey, resize to data.accept",
    ),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_needs_its_switch_and_is_told(case):
    content, problem = LOSSES[case]
    switches = case.removesuffix(", rectangular").split(", ")
    with pytest.raises(conversion.Refused) as caught:
        conversion.convert(content, GREY, ())
    assert str(caught.value) == problem
    for missing in switches:
        with pytest.raises(conversion.Refused):
            conversion.convert(content, GREY, [name for name in switches if name != missing])

    found = conversion.convert(content, GREY, switches)
    assert found.change.endswith(f"with loss: {', '.join(switches)}")
    assert pillow_pixels(found.content).shape == (28, 28)


def test_what_accepted_losses_do_to_pixels():
    white = Image.new("L", (40, 20), 255)
    fitted = pillow_pixels(conversion.convert(saved(white), schema.ImageKind(size=10), ["resize"]).content)
    assert fitted.sum() == 255 * 50  # scaled to 10×5
    assert not fitted[[0, 1, 8, 9]].any()
    halved = pillow_pixels(conversion.convert(saved(TRANSPARENT), GREY, ["alpha"]).content)
    assert np.abs(halved - PIXELS * (128 / 255)).max() <= 0.5
    upper = conversion.convert(saved(Image.fromarray(PIXELS.astype(np.uint16) * 256 + 1)), GREY, ["8-bit"])
    assert upper.content == png.encode(PIXELS)


HUGE = {
    side: png.SIGNATURE
    + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b""))
    for side in (5_000, 50_000)
}


@pytest.mark.parametrize(("content", "problem"), [
    (b"", "empty files"),
    (b"not an image", "not images, or damaged"),
    (saved(IMAGE)[:-30], "damaged"),
    (b"version https://git-lfs.github.com/spec/v1\n", "pointers of Git LFS"),
    (saved(IMAGE, "GIF", save_all=True, append_images=[IMAGE.transpose(Image.Transpose.ROTATE_90)]), "animated"),
    (HUGE[5_000], "of more than 4096×4096 pixels; allowed: fewer"),
    (HUGE[50_000], "of more than 4096×4096 pixels; allowed: fewer"),
    (saved(Image.new("F", (28, 28)), "TIFF"), "28×28 pixels of a rare kind (F)"),
])  # fmt: skip
def test_what_is_no_image_is_refused(content, problem):
    with pytest.raises(conversion.Refused) as caught:
        conversion.convert(content, GREY, ("resize", "grey", "8-bit", "jpeg", "alpha"))
    assert str(caught.value).startswith(problem)


def test_equal_problems_are_one_line_and_conversions_are_counted(tmp_path, capsys):
    other = np.repeat(RANDOM.integers(0, 256, (32, 32, 1), np.uint8), 3, axis=2)
    other[0, 0] = 1, 2, 3
    for number in range(12):
        write(tmp_path / f"mine/train/{number % 2}/{number}.png", encoded(other))
        write(tmp_path / f"mine/test/{number % 2}/{number}.png", encoded(np.repeat(other[:28, :28, :1], 3, axis=2)))
    assert problems_of(tmp_path / "mine", tmp_path / "raw", Target()) == [
        f"{tmp_path / 'mine'}: 12 images are 32×32 pixels, 8-bit RGB, the first is 'train/0/0.png'; remedy: data.size:"
        " 32 and data.channels: 3, or add grey, resize to data.accept"
    ]

    sources.fetch(tmp_path / "mine", tmp_path / "raw", Target(accept=("resize", "grey")))
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "12 images converted: grey stored as 8-bit RGB",
        "12 images converted: with loss: grey, resize",
    ]


def test_photos_of_all_sizes_are_one_line(tmp_path):
    for number in range(12):
        for name in ("train", "test"):
            write(tmp_path / f"mine/{name}/{number % 2}/{number}.png", encoded(PIXELS[: 10 + number]))

    assert problems_of(tmp_path / "mine", tmp_path / "raw", Target()) == [
        f"{tmp_path / 'mine'}: 24 images are of 12 kinds, such as 28×10 pixels (rectangular), 8-bit grey, the first is"
        " 'train/0/0.png'; remedy: add resize to data.accept"
    ]


def test_numbered_images_of_another_kind_are_converted_too(tmp_path):
    for name in ("train", "test"):
        write(tmp_path / f"mine/{name}/1_5.png", by_torchvision())
        write(tmp_path / f"mine/{name}/2_5.png", png.encode(PIXELS)[:-5])
    sources.fetch(tmp_path / "mine", tmp_path / "raw")

    packed = dict(sources.archive.members(tmp_path / "raw/train.tar"))
    assert packed == {"1_5.png": png.encode(PIXELS), "2_5.png": png.encode(PIXELS)[:-5]}  # prepare says what is damaged
    write(tmp_path / "mine/train/3_5.png", encoded(PHOTO))
    with pytest.raises(UserError, match=r"remedy: data\.channels: 3, or add grey to data\.accept"):
        sources.fetch(tmp_path / "mine", tmp_path / "raw")
