"""Archives, PNG files and file names of users: they are read as tarfile and Pillow read them, or rejected.

An error names the archive and leaves no output; there is no other exception, no long wait, and no large memory.
"""

import io
import os
import re
import struct
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lenetlab.data import archive, image_files, png, prepare, sources
from lenetlab.settings import schema
from lenetlab.storage import files
from tests.data.formats import data_settings, divided, flip_bit, pillow_pixels, pillow_png, tar, with_header_checksum
from tests.storage.fuzzing import all_files, apply_changes, byte_changes, check_peak_memory, error_lines, few_examples

pytestmark = pytest.mark.slow

DIGITS = (np.random.default_rng(0).random((24, 28, 28)) ** 8 * 256).astype(np.uint8)
CONTENTS = {f"{number:05d}_{number % 3}.png": png.encode(image) for number, image in enumerate(DIGITS)}
TEST = {name: content for name, content in CONTENTS.items() if name > "00011"}
EXTRA = {f"{number}_5.png": png.encode(255 - image) for number, image in enumerate(DIGITS[:3])}
TRAIN = {name: content for name, content in CONTENTS.items() if name not in TEST}
KIND = schema.ImageKind()
SETTINGS = data_settings(validation=3, classes=3)


def python_tar(contents: dict[str, bytes], form: int, folder: str = "train/") -> bytes:
    """A tar written by Python's tarfile."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as content:
        for name, data in contents.items():
            info = tarfile.TarInfo(folder + name)
            info.size, info.mtime = len(data), 1.5
            content.addfile(info, io.BytesIO(data))
    return stream.getvalue()


THREE = dict(list(CONTENTS.items())[:3])
DEEP = "a folder of more than one hundred bytes/" * 3
ARCHIVES = [
    tar(THREE.items()),
    python_tar(THREE, tarfile.USTAR_FORMAT),
    python_tar(THREE, tarfile.GNU_FORMAT, DEEP),
    python_tar(THREE, tarfile.PAX_FORMAT, DEEP),
]


def with_checksums(content: bytes) -> bytes:
    """The same archive with the right checksums in all blocks that can be headers."""
    blocks = [content[start : start + 512] for start in range(0, len(content), 512)]
    return b"".join(
        with_header_checksum(block)
        if len(block) == 512 and (b"ustar" in block[257:263] or b".png" in block[:100])
        else block
        for block in blocks
    )


def read(folder: Path, content: bytes) -> tuple[list[str], list[tuple[str, bytes]]]:
    """The lines of the error about an archive, and its members."""
    path, found = folder / "train.tar", []
    path.write_bytes(content)
    lines = error_lines(lambda: found.extend(archive.members(path)))
    assert all(line.startswith(f"{path}: ") or re.match(r"and \d+ more$", line) for line in lines), lines
    assert bool(lines) <= (not found)
    return lines, found


def read_by_tarfile(content: bytes) -> dict[str, bytes] | None:
    """The members as Python's tarfile reads them; None if it cannot read the archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), errorlevel=2) as stream:
            entries = [entry for entry in stream.getmembers() if entry.isreg()]
            contents = {entry.name: stream.extractfile(entry).read() for entry in entries}
    except (tarfile.TarError, ValueError, OSError, OverflowError):
        return None
    return {name.rpartition("/")[2]: part for name, part in contents.items() if not re.search(r"(^|/)\.[^/]", name)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("user")


@given(content=st.sampled_from(ARCHIVES), changes=byte_changes, repair=st.booleans())
def test_a_changed_archive_is_rejected_or_read_as_tarfile_reads_it(folder, count, content, changes, repair):
    content = apply_changes(content, changes)
    content = with_checksums(content) if repair else content
    lines, found = read(folder, content)
    expected = read_by_tarfile(content)
    if not lines and expected is not None:
        assert dict(found) == expected
    count("archives")


@pytest.mark.parametrize("whole", ARCHIVES[:1] + ARCHIVES[3:], ids=["ours", "PAX"])
def test_an_archive_truncated_anywhere_is_rejected(folder, count, large, whole):
    end = len(whole.rstrip(b"\0")) + 1024 + -len(whole.rstrip(b"\0")) % 512  # the rest is padding
    for length in range(0, end, 1 if large else 61):
        assert read(folder, whole[:length])[0]
        count("archives")


octal = st.integers(0, 8**11 - 1).map(lambda value: b"%011o" % value)
sizes = (
    octal
    | st.sampled_from(
        [b"", b"0", b"-1", b"-00000000001", b" 0 ", b"08", b"0x10", b"\0" * 12, b" " * 12, b"1e3", b"7" * 12]
    )
    | st.integers(0, 2**88 - 1).map(lambda value: b"\x80" + value.to_bytes(11))
    | st.integers(1, 2**87).map(lambda value: (2**96 - value).to_bytes(12))
    | st.binary(max_size=12)
)
extended_headers = st.lists(
    st.sampled_from([
        b"12 path=..\n", b"16 path=1_1.png\n", b"19 path=../1_1.png\n", b"20 GNU.sparse.a=1.0\n", b"8 size=9\n",
        b"0 a=b\n", b"-5 a=b\n", b"99999999999999 a=b\n", b"6 a=b\n", b"5 a=b\n", b"7 a=b\n", b"6 =bc\n", b" a=b\n",
        b"6  a=b\n", b"\n", b"15 path=\xff\xfe\xfd\n\n", b"9 path=\0\n", b"18 linkpath=/etc\n",
    ]) | st.binary(max_size=12),
    max_size=4,
).map(b"".join)  # fmt: skip
names = st.sampled_from(
    [b"1_1.png", b"a/1_1.png", b"../1_1.png", b"/1_1.png", b".1_1.png", b"./1_1.png", b"a/", b"", b"1_1.PNG"]
) | st.binary(max_size=100)


@example(name=b"1_1.png", size=b"", kind=b"L", magic=archive.MAGIC, prefix=b"", content=b"", right_size=True)
@example(name=b"", size=b"", kind=b"\0", magic=archive.MAGIC, prefix=b"a", content=b"", right_size=True)
@example(
    name=b"1_1.png", size=b"", kind=b"g", magic=archive.MAGIC, prefix=b"", content=b"12 path=..\n", right_size=True
)
@given(
    name=names,
    size=sizes,
    kind=st.sampled_from([b"0", b"\0", b"x", b"L", b"g", b"K", b"5", b"2", b"S"]) | st.binary(min_size=1, max_size=1),
    magic=st.sampled_from([b"ustar\x0000", b"ustar  \0", b""]),
    prefix=st.sampled_from([b"", b"a", b"..", b"/"]) | st.binary(max_size=155),
    content=st.just(CONTENTS["00001_1.png"]) | extended_headers,
    right_size=st.booleans(),
)
def test_any_header_with_the_right_checksum(folder, count, name, size, kind, magic, prefix, content, right_size):
    if right_size:
        size = b"%011o" % len(content)
    fields = [name, b"", b"", b"", size, b"", b"", kind, b"", magic, b"", b"", b"", prefix]
    header = with_header_checksum(archive.HEADER.pack(*fields))
    packed = header + content + bytes(-len(content) % 512) + tar([("2_2.png", b"")])
    lines, found = read(folder, packed)
    # The old format of GNU has times in place of the prefix; GNU tar knows that, tarfile does not.
    expected = read_by_tarfile(packed) if magic == archive.MAGIC or not prefix else None
    if not lines and expected is not None:
        assert dict(found) == expected
    count("archives")


@given(st.binary(max_size=2000) | st.binary(max_size=20).map(lambda start: start + ARCHIVES[0][len(start) :]))
@example(b"")
@example(bytes(512))
@example(bytes(1_000_000) + b"\1")
def test_other_bytes_are_rejected(folder, count, content):
    if content[:20] != ARCHIVES[0][:20]:
        assert read(folder, content)[0]
    count("archives")


def test_an_archive_of_empty_blocks_has_no_members(folder, count):
    assert read(folder, bytes(10_240)) == ([], [])
    count("archives")


@given(
    changes=byte_changes,
    repair=st.booleans(),
    name=st.sampled_from(["train.tar", "test.tar", "extra.tar"]),
    packed_before=st.booleans(),
)
@few_examples
def test_an_error_of_fetch_or_prepare_leaves_no_output(tmp_path_factory, count, changes, repair, name, packed_before):
    place = tmp_path_factory.mktemp("whole")
    archives = {"train.tar": tar(TRAIN.items()), "test.tar": tar(TEST.items()), "extra.tar": tar(EXTRA.items())}
    broken = apply_changes(archives[name], changes)
    archives[name] = with_checksums(broken) if repair else broken
    source, raw, prepared = place / "source", place / "raw", place / "prepared"
    for file, content in archives.items():
        files.write_bytes((raw if packed_before else source) / file, content)
    if not packed_before:
        lines = error_lines(lambda: sources.fetch(source, raw))
        assert len(all_files(raw)) == (0 if lines else 3)
        lines += error_lines(lambda: sources.pack_extra(source / "extra.tar", raw))
    else:
        lines = []
    assert lines or len(list(raw.glob("*.tar"))) == 3
    if not lines:
        lines = error_lines(lambda: prepare.prepare(raw, prepared / "train", prepared / "test", SETTINGS))
        assert len(all_files(prepared)) == (0 if lines else 6)
        assert not lines or not list(prepared.glob("*"))
    count("archives")


# Writes archives that could fill the memory, and reads each: python -c ... FILE SCALE (1 is the full size).
BOMBS = """
import io, sys, tarfile, zlib
from pathlib import Path
from lenetlab.data import archive, image_files, png
from lenetlab.settings import schema
from tests.data.formats import with_header_checksum

path, scale = Path(sys.argv[1]), int(sys.argv[2])


def header(name, size, kind=b"0"):
    fields = [name, b"", b"", b"", b"%011o" % size, b"", b"", kind, b"", archive.MAGIC, b"", b"", b"", b""]
    return with_header_checksum(archive.HEADER.pack(*fields))


def padded(content):
    return content + bytes(-len(content) % 512)


def png_file(data, *chunks):
    return png.start(28, 1) + png.chunk(b"IDAT", data) + b"".join(chunks) + png.END


def repeated(times, *parts):
    for _ in range(times):
        yield from parts


def empty_members(count):
    for number in range(count):
        yield header(b"%07d_1.png" % number, 0)


def compressed_zeros(size):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(10**6)) for _ in range(size // 10**6)) + packer.flush()


def problems_of(path):
    problems = []
    image_files.read_archive(path, KIND, problems)
    return problems


KIND = schema.ImageKind()
long_name = header(b"x", 65_000, b"L") + padded(b"\\xff" * 65_000)
attributes = padded(b"".join(b"8 %03x=\\n" % (number % 4096) for number in range(8000)))
attributes = header(b"x", 64_000, b"x") + attributes[:64_000]
bomb = png_file(compressed_zeros(60_000_000))
deep = io.BytesIO()
with tarfile.open(fileobj=deep, mode="w") as stream:
    stream.addfile(tarfile.TarInfo("/".join("a" * 20_000) + "/1_1.png"))

bombs = {
    "many members": empty_members(300_000 // scale),
    "too many members": repeated(archive.MAX_MEMBERS + 1, header(b".a", 0)) if scale == 1 else [],
    "many folders": repeated(300_000 // scale, header(b"a/", 0, b"5")),
    "long names": repeated(1000 // scale, long_name, header(b"1_1.png", 0)),
    "long names without members": repeated(1000 // scale, long_name),
    "attributes without members": repeated(1000 // scale, attributes),
    "links": repeated(200_000 // scale, header(b"1_1.png", 0, b"2")),
    "huge size": [header(b"1_1.png", 8**11 - 1)],
    "decompression bombs": [header(b"%d_1.png" % n, len(bomb)) + padded(bomb) for n in range(50)],
    "deep path": [deep.getvalue()],
    "thousands of text chunks": [
        header(b"1_1.png", 65_004) + padded(png_file(b"", png.chunk(b"tEXt", b"") * 5412)[:65_004])
    ],
}
for name, parts in bombs.items():
    with path.open("wb") as stream:
        for part in parts:
            stream.write(part)
        stream.write(bytes(1024))
    problems = problems_of(path)
    assert problems, name
    assert all(len(problem) < 2000 for problem in problems[:100]), name

for start in (header(b"1_1.png", 8**11 - 1), b""):
    with path.open("wb") as stream:  # a sparse file of 1 TiB, which needs no space on the disk
        stream.write(start)
        stream.truncate(2**40)
    assert problems_of(path)
path.unlink()
"""


def test_no_archive_fills_the_memory_or_takes_long(tmp_path, count, large):
    check_peak_memory(BOMBS, tmp_path / "bomb.tar", 1 if large else 20)
    for _ in range(13):
        count("archives")


def decoded(content: bytes) -> np.ndarray | None:
    """The pixels, None if the file is rejected."""
    try:
        rows = np.frombuffer(png.filtered_rows(content, 28, 1), dtype=np.uint8)
    except ValueError:
        return None
    return png.undo_filters(rows.reshape(1, 28, 29), 1)[0]


SMALL = pillow_png(DIGITS[0], optimize=True)


def test_every_flipped_bit_and_every_truncation_of_an_image_is_noticed(count, large):
    """Of files by Pillow and by this package; with --torture at every byte."""
    for whole in (SMALL, CONTENTS["00001_1.png"]):
        assert decoded(whole) is not None
        for place in range(0, len(whole), 1 if large else 3):
            assert decoded(whole[:place]) is None
            for bit in range(8):
                assert decoded(flip_bit(whole, place, bit)) is None
                count("PNG files")
            count("PNG files")


other_chunks = st.lists(
    st.tuples(
        st.sampled_from(
            [b"IDAT", b"IDAT", b"IDAT", b"tEXt", b"tIME", b"IHDR", b"PLTE", b"acTL", b"IEND", b"zzZz", b"ABCD"]
        ),
        st.none() | st.binary(max_size=14),
        st.booleans(),
    ),
    max_size=5,
)


@given(
    filters=st.lists(st.integers(0, 4), min_size=28, max_size=28),
    level=st.integers(0, 9),
    window=st.integers(9, 15),
    cuts=st.lists(st.integers(0, 900), max_size=4),
    others=other_chunks,
    after=st.binary(max_size=3),
)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_valid_chunks_are_rejected_or_read_as_pillow_reads_them(count, filters, level, window, cuts, others, after):
    """Chunks in any order and number, all with the right checksums."""
    rows = DIGITS[sum(filters) % len(DIGITS)]
    filtered = np.concatenate([np.array(filters, dtype=np.uint8)[:, None], rows], axis=1).tobytes()
    packer = zlib.compressobj(level, wbits=window)
    data = packer.compress(filtered) + packer.flush() + after[:1] * (len(others) > 3)
    parts = [png.chunk(b"IDAT", part) for part in divided(data, cuts)]
    for place, (kind, content, at_end) in enumerate(others):
        parts.insert(len(parts) if at_end else place % (len(parts) + 1), png.chunk(kind, content or b""))
    whole = png.start(28, 1) + b"".join(parts) + png.END + after[1:]
    found = decoded(whole)
    if found is not None:
        assert np.array_equal(found, pillow_pixels(whole))
    if not others and len(after) < 2:
        assert found is not None
    count("PNG files")


@given(
    fields=st.tuples(
        st.sampled_from([28, 0, 1, 27, 2**31 - 1, 2**31, 2**32 - 1]),
        st.sampled_from([28, 0, 29, 2**31 - 1]),
        st.sampled_from([8, 1, 2, 4, 16, 0, 255]),
        st.sampled_from([0, 2, 3, 4, 6, 1, 255]),
        *[st.sampled_from([0, 0, 1, 255])] * 3,
    )
)
def test_only_one_header_is_allowed(count, fields):
    whole = png.SIGNATURE + png.chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + SMALL[33:]
    assert (decoded(whole) is not None) == (fields == (28, 28, 8, 0, 0, 0, 0))
    count("PNG files")


def with_chunk_checksums(content: bytes) -> bytes:
    """The same PNG file with the right checksums in all chunks that can be found."""
    start = 8
    while start + 12 <= len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4], "big")
        if end + 4 <= len(content):
            content = content[:end] + struct.pack(">I", zlib.crc32(content[start + 4 : end])) + content[end + 4 :]
        start = end + 4
    return content


@given(
    content=st.sampled_from([
        SMALL, CONTENTS["00002_2.png"], pillow_png(DIGITS[0], dpi=(72, 72)), pillow_png(DIGITS[0], transparency=3),
        *(pillow_png(DIGITS[0], mode) for mode in ("L", "1", "P", "RGB", "LA", "RGBA", "I;16")),
    ]),
    changes=byte_changes,
    repair=st.booleans(),
)  # fmt: skip
def test_a_changed_image_is_rejected_or_read_as_pillow_reads_it(count, content, changes, repair):
    content = apply_changes(content, changes)
    content = with_chunk_checksums(content) if repair else content
    found = decoded(content)
    if found is not None:
        assert np.array_equal(found, pillow_pixels(content))
    count("PNG files")


digits_or_other = st.text("0123456789", max_size=12) | st.text("01 -+_.٣²\uff11éx", max_size=4) | st.text(max_size=3)
nearly_valid_names = st.builds("".join, st.tuples(
    digits_or_other, st.sampled_from("_-. "), digits_or_other,
    st.sampled_from([".png", ".PNG", ".Png", ".png ", ".png\n", ".png\0", ".jpg", "", ".png.png", "\u202epng"]),
))  # fmt: skip
unusual_names = (
    nearly_valid_names
    | st.text(max_size=30)
    | st.sampled_from(["x" * 300 + ".png", "1" * 99 + "_1.png", ".1_1.png", "._"])
)


def number_and_label(name: str) -> tuple[int, int] | None:
    """As `image_files.parse_name`, but without regular expressions; None for an invalid name."""
    digits, _, rest = name.partition("_")
    plain = set("0123456789")
    valid = 1 <= len(digits) <= 9 and set(digits) <= plain and rest[:1] in plain and rest[1:] == ".png" and rest[:1]
    return (int(digits), int(rest[0])) if valid else None


@given(st.lists(unusual_names, min_size=1, max_size=4))
@example(["1_1.png", "01_1.png"])
@example(["1_1.png", "1_2.png"])
@example(["1_1.png\n"])
def test_any_names_in_an_archive(folder, count, names):
    encoded = [
        name.encode("utf-8", "surrogateescape" if "\udc80" <= max(name, default="") <= "\udcff" else "replace")
        for name in names
    ]
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as packed:
        for place, name in enumerate(encoded):
            content = png.encode(DIGITS[place])
            info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    path, problems = folder / "train.tar", []
    path.write_bytes(stream.getvalue())
    found = image_files.read_archive(path, KIND, problems)
    for line in problems:
        assert line.startswith(f"{path}: ")
        assert line.isprintable()
        assert len(line) < 3000
    paths = [name.decode("utf-8", "surrogateescape").partition("\0")[0] for name in encoded]
    visible = [number_and_label(path.rpartition("/")[2]) for path in paths if not re.search(r"(^|/)\.[^/]", path)]
    numbers = Counter(pair and pair[0] for pair in visible)
    if not problems:
        assert sorted(visible) == sorted(zip(found.numbers.tolist(), found.labels.tolist(), strict=True))
        assert max(numbers.values()) == 1
    count("file names")


@given(st.lists(unusual_names.map(os.fsencode) | st.binary(min_size=1, max_size=40), min_size=1, max_size=3))
@few_examples
def test_any_names_in_a_folder(tmp_path_factory, count, names):
    place = tmp_path_factory.mktemp("source")
    made = []
    for number, name in enumerate({*names} - {b".", b".."}):
        if name and not set(name) & {0, ord("/")} and len(name) < 256:
            target = os.path.join(os.fsencode(place / "train"), name)  # noqa: PTH118  bytes
            (place / "train").mkdir(exist_ok=True)
            with open(target, "wb") as stream:  # noqa: PTH123
                stream.write(png.encode(DIGITS[number]))
            made.append(os.fsdecode(name))
    (place / "test").mkdir()
    (place / "test" / "9_9.png").write_bytes(png.encode(DIGITS[9]))
    lines = error_lines(lambda: sources.fetch(place, place / "raw"))
    assert all(line.startswith((str(place), "data.source: ")) for line in lines), lines
    assert len(all_files(place / "raw")) == (0 if lines else 3)
    if not lines:
        sources.pack_extra(sources.NO_EXTRA_TEST, place / "raw")
        packed = [name for name, _ in archive.members(place / "raw" / "train.tar")]
        assert sorted(packed) == sorted(name for name in made if not name.startswith("."))
        assert all(name.endswith(".png") for name in packed)
        error_lines(lambda: prepare.prepare(place / "raw", place / "out/train", place / "out/test", SETTINGS))
    count("file names")
