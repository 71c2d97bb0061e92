"""Images that people hand in: archives, PNG files, names. Taken as Python's tarfile and Pillow read them, or refused.

A refusal names the archive and leaves nothing behind; there is no other exception, no waiting, and no large memory.
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
from PIL import Image

from lenetlab.data import archive, images, png, prepare, sources
from lenetlab.storage import files
from tests.storage.fuzzing import all_files, apply_changes, byte_changes, check_peak_memory, error_lines, few_examples

pytestmark = [pytest.mark.slow, pytest.mark.torture]

DIGITS = (np.random.default_rng(0).random((24, 28, 28)) ** 8 * 256).astype(np.uint8)
CONTENTS = {f"{number:05d}_{number % 3}.png": png.encode(image) for number, image in enumerate(DIGITS)}
TEST = {name: content for name, content in CONTENTS.items() if name > "00011"}
TRAIN = {name: content for name, content in CONTENTS.items() if name not in TEST}
INDEX = {"validation": 3, "validation_seed": 0, "duplicates": "error"}


def own(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    archive.write(stream, contents.items())
    return stream.getvalue()


def foreign(contents: dict[str, bytes], form: int, folder: str = "train/") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(folder + name)
            info.size, info.mtime = len(content), 1.5
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


THREE = dict(list(CONTENTS.items())[:3])
DEEP = "a folder of more than one hundred bytes/" * 3
ARCHIVES = [
    own(THREE),
    foreign(THREE, tarfile.USTAR_FORMAT),
    foreign(THREE, tarfile.GNU_FORMAT, DEEP),
    foreign(THREE, tarfile.PAX_FORMAT, DEEP),
]


def with_checksums(content: bytes) -> bytes:
    """All blocks that can be headers with the checksum that they should have."""
    blocks = [content[at : at + 512] for at in range(0, len(content), 512)]
    for at, block in enumerate(blocks):
        if len(block) == 512 and (b"ustar" in block[257:263] or b".png" in block[:100]):
            blank = block[:148] + b" " * 8 + block[156:]
            blocks[at] = block[:148] + b"%06o\0 " % sum(blank) + block[156:]
    return b"".join(blocks)


def read(folder: Path, content: bytes) -> tuple[list[str], list[tuple[str, bytes]]]:
    """The lines of a refusal, or what is in an archive."""
    path, found = folder / "train.tar", []
    path.write_bytes(content)
    lines = error_lines(lambda: found.extend(archive.members(path)))
    assert all(line.startswith(f"{path}: ") or re.match(r"and \d+ more$", line) for line in lines), lines
    assert bool(lines) <= (not found)
    return lines, found


def by_tarfile(content: bytes) -> dict[str, bytes] | None:
    """The same by Python's own library; None where it reads less strictly, or not at all."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), errorlevel=2) as tar:
            entries = [entry for entry in tar.getmembers() if entry.isreg()]
            contents = {entry.name: tar.extractfile(entry).read() for entry in entries}
    except (tarfile.TarError, ValueError, OSError, OverflowError):
        return None
    return {name.rpartition("/")[2]: part for name, part in contents.items() if not re.search(r"(^|/)\.[^/]", name)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("handed-in")


@given(content=st.sampled_from(ARCHIVES), changes=byte_changes, repaired=st.booleans())
def test_what_is_taken_of_a_changed_archive_is_what_tarfile_reads(folder, count, content, changes, repaired):
    content = apply_changes(content, changes)
    content = with_checksums(content) if repaired else content
    lines, found = read(folder, content)
    expected = by_tarfile(content)
    if not lines and expected is not None:
        assert dict(found) == expected
    count("archives")


@pytest.mark.parametrize("whole", ARCHIVES[:1] + ARCHIVES[3:], ids=["own", "PAX"])
def test_an_archive_cut_anywhere_is_refused(folder, count, large, whole):
    end = len(whole.rstrip(b"\0")) + 1024 + -len(whole.rstrip(b"\0")) % 512  # what follows is filled up with zeros
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
attributes = st.lists(
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


@example(name=b"1_1.png", size=b"", kind=b"L", magic=archive.MAGIC, prefix=b"", content=b"", true=True)
@example(name=b"", size=b"", kind=b"\0", magic=archive.MAGIC, prefix=b"a", content=b"", true=True)
@example(name=b"1_1.png", size=b"", kind=b"g", magic=archive.MAGIC, prefix=b"", content=b"12 path=..\n", true=True)
@given(
    name=names,
    size=sizes,
    kind=st.sampled_from([b"0", b"\0", b"x", b"L", b"g", b"K", b"5", b"2", b"S"]) | st.binary(min_size=1, max_size=1),
    magic=st.sampled_from([b"ustar\x0000", b"ustar  \0", b""]),
    prefix=st.sampled_from([b"", b"a", b"..", b"/"]) | st.binary(max_size=155),
    content=st.just(CONTENTS["00001_1.png"]) | attributes,
    true=st.booleans(),
)
def test_any_header_with_a_right_checksum(folder, count, name, size, kind, magic, prefix, content, true):
    if true:
        size = b"%011o" % len(content)
    fields = [name, b"", b"", b"", size, b"", b" " * 8, kind, b"", magic, b"", b"", b"", prefix]
    fields[6] = b"%06o\0 " % sum(archive.HEADER.pack(*fields))
    packed = archive.HEADER.pack(*fields) + content + bytes(-len(content) % 512) + own({"2_2.png": b""})
    lines, found = read(folder, packed)
    # GNU's old form keeps times where the prefix is, which GNU tar knows and tarfile does not.
    expected = by_tarfile(packed) if magic == archive.MAGIC or not prefix else None
    if not lines and expected is not None:
        assert dict(found) == expected
    count("archives")


@given(st.binary(max_size=2000) | st.binary(max_size=20).map(lambda start: start + ARCHIVES[0][len(start) :]))
@example(b"")
@example(bytes(512))
@example(bytes(1_000_000) + b"\1")
def test_any_other_bytes_are_no_archive(folder, count, content):
    if content[:20] != ARCHIVES[0][:20]:
        assert read(folder, content)[0]
    count("archives")


def test_only_empty_blocks_are_an_archive_without_images(folder, count):
    assert read(folder, bytes(10_240)) == ([], [])
    count("archives")


@given(changes=byte_changes, repaired=st.booleans(), of_train=st.booleans(), packed_before=st.booleans())
@few_examples
def test_after_a_refusal_nothing_is_left(tmp_path_factory, count, changes, repaired, of_train, packed_before):
    """Through both programs that read archives: of the packing, and of the judging."""
    place = tmp_path_factory.mktemp("whole")
    archives = {"train.tar": own(TRAIN), "test.tar": own(TEST)}
    name = "train.tar" if of_train else "test.tar"
    broken = apply_changes(archives[name], changes)
    archives[name] = with_checksums(broken) if repaired else broken
    given_folder, raw, prepared = place / "given", place / "raw", place / "prepared"
    for file, content in archives.items():
        files.write_bytes((raw if packed_before else given_folder) / file, content)
    lines = [] if packed_before else error_lines(lambda: sources.fetch(given_folder, raw))
    assert len(all_files(raw)) == (0 if lines else 2)
    if not lines:
        lines = error_lines(lambda: prepare.prepare(raw, prepared / "train", prepared / "test", **INDEX))
        assert len(all_files(prepared)) == (0 if lines else 6)
        assert not lines or not list(prepared.glob("*"))
    count("archives")


BOMBS = """
import io, struct, sys, tarfile, zlib
from pathlib import Path
from lenetlab import UserError, archive, index, sources

path, scale = Path(sys.argv[1]), int(sys.argv[2])


def header(name, size, kind=b"0"):
    fields = [name, b"", b"", b"", b"%011o" % size, b"", b" " * 8, kind, b"", archive.MAGIC, b"", b"", b"", b""]
    fields[6] = b"%06o\\0 " % sum(archive.HEADER.pack(*fields))
    return archive.HEADER.pack(*fields)


def padded(content):
    return content + bytes(-len(content) % 512)


def png(data, *chunks):
    return archive.PNG_START + archive.png_chunk(b"IDAT", data) + b"".join(chunks) + archive.PNG_END


def repeated(times, *parts):
    for number in range(times):
        yield from parts


def named(times):
    for number in range(times):
        yield header(b"%07d_1.png" % number, 0)


def deflated(size):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(10**6)) for _ in range(size // 10**6)) + packer.flush()


names = header(b"x", 65_000, b"L") + padded(b"\\xff" * 65_000)
keys = padded(b"".join(b"8 %03x=\\n" % (number % 4096) for number in range(8000)))
keys = header(b"x", 64_000, b"x") + keys[:64_000]
bomb = png(deflated(60_000_000))
deep = io.BytesIO()
with tarfile.open(fileobj=deep, mode="w") as tar:
    tar.addfile(tarfile.TarInfo("/".join("a" * 20_000) + "/1_1.png"))

bombs = {
    "many members": named(300_000 // scale),
    "too many members": repeated(archive.MOST_MEMBERS + 1, header(b".a", 0)) if scale == 1 else [],
    "many folders": repeated(300_000 // scale, header(b"a/", 0, b"5")),
    "long names": repeated(1000 // scale, names, header(b"1_1.png", 0)),
    "long names without members": repeated(1000 // scale, names),
    "attributes without members": repeated(1000 // scale, keys),
    "links": repeated(200_000 // scale, header(b"1_1.png", 0, b"2")),
    "a huge size": [header(b"1_1.png", 8**11 - 1)],
    "images that grow": repeated(1, *(header(b"%d_1.png" % n, len(bomb)) + padded(bomb) for n in range(50))),
    "a deep path": [deep.getvalue()],
    "endless text chunks": [
        header(b"1_1.png", 65_004) + padded(png(b"", archive.png_chunk(b"tEXt", b"") * 5412)[:65_004])
    ],
}
for name, parts in bombs.items():
    with path.open("wb") as stream:
        for part in parts:
            stream.write(part)
        stream.write(bytes(1024))
    problems = []
    found = index.read(path, problems)
    assert problems, name
    assert all(len(problem) < 2000 for problem in problems[:100]), name

with path.open("wb") as stream:  # mostly holes: takes no room on the disk
    stream.write(header(b"1_1.png", 8**11 - 1))
    stream.truncate(2**40)
problems = []
index.read(path, problems)
assert problems
with path.open("wb") as stream:
    stream.truncate(2**40)
problems = []
index.read(path, problems)
assert problems
path.unlink()
"""


def test_no_archive_fills_the_memory_or_takes_for_ever(tmp_path, count, large):
    check_peak_memory(BOMBS, tmp_path / "bomb.tar", 1 if large else 20)
    for _ in range(13):
        count("archives")


def by_pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def decoded(content: bytes) -> np.ndarray | None:
    """The pixels, None if the file is refused."""
    try:
        rows = np.frombuffer(png.filtered_rows(content), dtype=np.uint8)
    except ValueError:
        return None
    return png.unfiltered(rows.reshape(1, 28, 29))[0]


def written(mode: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(DIGITS[0]).convert(mode).save(stream, "PNG", **options)
    return stream.getvalue()


SMALL = written("L", optimize=True)


def test_each_bit_of_an_image_counts_and_each_byte(count, large):
    """Exhaustively: no flipped bit and no cut goes unnoticed, of files by Pillow and by this package."""
    for whole in (SMALL, CONTENTS["00001_1.png"]):
        assert decoded(whole) is not None
        for at in range(0, len(whole), 1 if large else 3):
            assert decoded(whole[:at]) is None
            for bit in range(8):
                assert decoded(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]) is None
                count("PNG files")
            count("PNG files")


chunks = st.lists(
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
    kinds=st.lists(st.integers(0, 4), min_size=28, max_size=28),
    level=st.integers(0, 9),
    window=st.integers(9, 15),
    cuts=st.lists(st.integers(0, 900), max_size=4),
    between=chunks,
    after=st.binary(max_size=3),
)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_is_taken_is_what_pillow_reads(count, kinds, level, window, cuts, between, after):
    """Chunks in any order and number, all with right checksums."""
    rows = DIGITS[sum(kinds) % len(DIGITS)]
    packed = np.concatenate([np.array(kinds, dtype=np.uint8)[:, None], rows], axis=1).tobytes()
    packer = zlib.compressobj(level, wbits=window)
    data = packer.compress(packed) + packer.flush() + after[:1] * (len(between) > 3)
    ends = sorted({*(cut % len(data) for cut in cuts), len(data)})
    parts = [png.chunk(b"IDAT", data[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    for place, (kind, content, at_end) in enumerate(between):
        chunk = png.chunk(kind, content or b"")
        parts.insert(len(parts) if at_end else place % (len(parts) + 1), chunk)
    whole = png.START + b"".join(parts) + png.END + after[1:]
    found = decoded(whole)
    if found is not None:
        assert np.array_equal(found, by_pillow(whole))
    if not between and len(after) < 2:
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
def test_one_kind_of_header_is_taken(count, fields):
    whole = png.SIGNATURE + png.chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + SMALL[33:]
    assert (decoded(whole) is not None) == (fields == (28, 28, 8, 0, 0, 0, 0))
    count("PNG files")


@given(
    content=st.sampled_from([
        SMALL, written("L"), written("1"), written("P"), written("RGB"), written("LA"), written("RGBA"),
        written("I;16"), written("L", dpi=(72, 72)), written("L", transparency=3), CONTENTS["00002_2.png"],
    ]),
    changes=byte_changes,
    repaired=st.booleans(),
)  # fmt: skip
def test_a_changed_image_is_refused_or_read_as_by_pillow(count, content, changes, repaired):
    content = apply_changes(content, changes)
    if repaired:  # the checksums of all chunks that can be found
        at = 8
        while at + 12 <= len(content):
            end = at + 8 + int.from_bytes(content[at : at + 4], "big")
            checksum = struct.pack(">I", zlib.crc32(content[at + 4 : end]))
            content = content[:end] + checksum + content[end + 4 :] if end + 4 <= len(content) else content
            at = end + 4
    found = decoded(content)
    if found is not None:
        assert np.array_equal(found, by_pillow(content))
    count("PNG files")


digits_or_odd = st.text("0123456789", max_size=12) | st.text("01 -+_.٣²\uff11éx", max_size=4) | st.text(max_size=3)
spelled = st.builds("".join, st.tuples(digits_or_odd, st.sampled_from("_-. "), digits_or_odd, st.sampled_from([
    ".png", ".PNG", ".Png", ".png ", ".png\n", ".png\0", ".jpg", "", ".png.png", "\u202epng"])))  # fmt: skip
odd_names = (
    spelled | st.text(max_size=30) | st.sampled_from(["x" * 300 + ".png", "1" * 99 + "_1.png", ".1_1.png", "._"])
)


def number_and_label(name: str) -> tuple[int, int] | None:
    """Letter by letter, and so another way than `index.parse` takes."""
    digits, _, rest = name.partition("_")
    plain = set("0123456789")
    right = 1 <= len(digits) <= 9 and set(digits) <= plain and rest[:1] in plain and rest[1:] == ".png" and rest[:1]
    return (int(digits), int(rest[0])) if right else None


@given(st.lists(odd_names, min_size=1, max_size=4))
@example(["1_1.png", "01_1.png"])
@example(["1_1.png", "1_2.png"])
@example(["1_1.png\n"])
def test_any_names_in_an_archive(folder, count, names):
    raw = [name.encode("utf-8", "surrogateescape" if "\udc80" <= max(name, default="") <= "\udcff" else "replace")
           for name in names]  # fmt: skip
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for place, name in enumerate(raw):
            content = png.encode(DIGITS[place])
            info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path, problems = folder / "train.tar", []
    path.write_bytes(stream.getvalue())
    found = images.read_archive(path, problems)
    for line in problems:
        assert line.startswith(f"{path}: ")
        assert line.isprintable()
        assert len(line) < 3000
    seen = [name.decode("utf-8", "surrogateescape").partition("\0")[0] for name in raw]
    parsed = [number_and_label(name.rpartition("/")[2]) for name in seen]
    visible = [place for name, place in zip(seen, parsed, strict=True) if not re.search(r"(^|/)\.[^/]", name)]
    numbers = Counter(place and place[0] for place in visible)
    if not problems:
        assert sorted(visible) == sorted(zip(found.numbers.tolist(), found.labels.tolist(), strict=True))
        assert max(numbers.values()) == 1
    count("file names")


@given(st.lists(odd_names.map(os.fsencode) | st.binary(min_size=1, max_size=40), min_size=1, max_size=3))
@few_examples
def test_any_names_in_a_folder(tmp_path_factory, count, names):
    place = tmp_path_factory.mktemp("own")
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
    assert len(all_files(place / "raw")) == (0 if lines else 2)
    if not lines:
        packed = [name for name, _ in archive.members(place / "raw" / "train.tar")]
        assert sorted(packed) == sorted(name for name in made if not name.startswith("."))
        assert all(name.endswith(".png") for name in packed)
        error_lines(lambda: prepare.prepare(place / "raw", place / "out/train", place / "out/test", **INDEX))
    count("file names")
