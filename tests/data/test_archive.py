"""Archives: written with the same bytes every time, and read without trusting them."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from lenetlab.data import archive, png
from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256

ONE, TWO = ("00001_5.png", b"one"), ("2_7.png", b"two" * 200)


def tar(*contents: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    archive.write(stream, contents)
    return stream.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def foreign(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar that Python's own library wrote."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as content:
        for info, data in entries:
            info.size = len(data)
            content.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def members(folder: Path, content: bytes) -> list[tuple[str, bytes]]:
    path = folder / "train.tar"
    path.write_bytes(content)
    return list(archive.members(path))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        archive.members(path)
    return str(caught.value)


def changed(content: bytes, at: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + len(by) :]


def with_checksum(content: bytes, at: int = 0) -> bytes:
    """The header at `at` with the checksum that it should have."""
    header = changed(content[at : at + 512], 148, b" " * 8)
    return changed(content, at, changed(header, 148, b"%06o\0 " % sum(header)))


def test_the_bytes_of_an_archive_are_always_these():
    # Made once by GNU tar 1.34: tar -c -b 1 --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0644
    assert sha256(tar(ONE, TWO)) == "f21f703eab412573c2f8ddbfdb9921037cc7a4cd60c16f96783dff6593847b26"


def test_python_and_gnu_tar_read_what_is_written(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(tar(ONE, TWO))

    with tarfile.open(path) as content:
        infos = content.getmembers()
        assert [(info.name, content.extractfile(info).read()) for info in infos] == [ONE, TWO]
    assert {(info.mode, info.uid, info.gid, info.uname, info.gname, info.mtime) for info in infos} == {
        (0o644, 0, 0, "", "", 0)
    }
    listed = subprocess.run(["tar", "tf", path], check=True, capture_output=True, text=True)
    assert (listed.stdout, listed.stderr) == ("00001_5.png\n2_7.png\n", "")


@given(
    st.dictionaries(
        st.from_regex(r"[0-9]{1,9}_[0-9]\.png|[a-zé]{1,30}\.png", fullmatch=True), st.binary(max_size=1200), max_size=8
    )
)
def test_what_is_written_is_read_back_by_number(tmp_path_factory, contents):
    read = members(tmp_path_factory.getbasetemp(), tar(*contents.items()))

    assert dict(read) == contents
    assert [name for name, _ in read] == sorted(contents, key=archive.by_number)


def test_members_are_ordered_by_number_and_not_by_text(tmp_path):
    names = ["10_0.png", "9_0.png", "x_1.png", "00002_3.png", "b.png", "²_1.png"]

    assert [name for name, _ in members(tmp_path, tar(*((name, b"") for name in names)))] == [
        "00002_3.png",
        "9_0.png",
        "10_0.png",
        "b.png",
        "x_1.png",
        "²_1.png",
    ]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_other_programs_are_read(tmp_path, form):
    deep = "/".join(["a folder of more than one hundred bytes"] * 4)
    content = foreign(
        (entry("train/", tarfile.DIRTYPE), b""),
        (entry("train/00001_5.png", mtime=1.5, uid=1000, uname="somebody"), ONE[1]),
        (entry("train/._00001_5.png"), b"what macOS adds" * 10_000),
        (entry(".hidden/3_3.png"), b""),
        (entry("./.DS_Store"), b""),
        (entry(f"{deep}/2_7.png"), TWO[1]),
        (entry("./4_4.png"), b"four"),
        form=form,
    )

    assert members(tmp_path, content) == [ONE, TWO, ("4_4.png", b"four")]


def test_an_archive_of_the_tar_program_is_read(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for name, content in (ONE, TWO):
        (folder / name).write_bytes(content)
    for form in ("ustar", "gnu", "posix", "v7"):
        path = tmp_path / f"{form}.tar"
        subprocess.run(["tar", "-c", f"--format={form}", "-f", path, "-C", tmp_path, "train"], check=True)

        assert list(archive.members(path)) == [ONE, TWO], form


REFUSED = {
    "hard link": ((entry("5_5.png", tarfile.LNKTYPE, linkname="00001_5.png"), b""), "a hard link"),
    "symbolic link": ((entry("5_5.png", tarfile.SYMTYPE, linkname="/etc/passwd"), b""), "a symbolic link"),
    "hidden link": ((entry(".5_5.png", tarfile.SYMTYPE, linkname="/etc/passwd"), b""), "a symbolic link"),
    "character device": ((entry("5_5.png", tarfile.CHRTYPE), b""), "a device"),
    "block device": ((entry("5_5.png", tarfile.BLKTYPE), b""), "a device"),
    "pipe": ((entry("5_5.png", tarfile.FIFOTYPE), b""), "a pipe"),
    "sparse, GNU": ((entry("5_5.png", tarfile.GNUTYPE_SPARSE), b"12"), "a sparse file"),
    "sparse, POSIX": ((entry("5_5.png", pax_headers={"GNU.sparse.major": "1"}), b"12"), "a sparse file"),
    "unknown kind": ((entry("5_5.png", b"Z"), b"12"), "of the unknown kind b'Z'"),
    "absolute path": ((entry("/5_5.png"), b""), "leads out of the folder"),
    "parent path": ((entry("train/../../5_5.png"), b""), "leads out of the folder"),
    "parent path in a long name": ((entry("../" * 50 + "5_5.png"), b""), "leads out of the folder"),
    "drive": ((entry("C:5_5.png"), b""), "leads out of the folder"),
    "backslash": ((entry("..\\5_5.png"), b""), "leads out of the folder"),
    "large": ((entry("5_5.png"), bytes(65_537)), "65537 bytes; allowed: up to 65536"),
    "long number": ((entry("5" * 97 + "_5.png"), b""), "more than 100 bytes"),
    "long name": ((entry("5" * 97 + ".png"), b""), "more than 100 bytes"),
    "control characters": ((entry("5_5\x1b[31m.png"), b""), "some that are not text"),
    "not UTF-8": ((entry("5_\udcff.png"), b""), "some that are not text"),
    "another file": ((entry("train/README"), b""), "not a PNG file by its name"),
    "a nested archive": ((entry("more.tar"), tar(TWO)), "not a PNG file by its name"),
    "twice": ((entry("other/00001_5.png"), b""), "the name stands twice, as 'train/00001_5.png' too"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_packed_safely_is_named(tmp_path, case):
    (info, content), problem = REFUSED[case]
    path = tmp_path / "train.tar"
    path.write_bytes(foreign((entry("train/00001_5.png"), b"1"), (info, content), (entry("6_6.png"), b"6")))

    message = refusal(path)

    assert len(message.splitlines()) == 1  # neither of the good ones
    assert message.startswith(f"{path}: {info.name!r}: ")
    assert problem in message


def test_a_path_is_safe_in_all_of_its_parts(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(foreign((entry("../" + "a" * 95 + "/5_5.png"), b""), form=tarfile.USTAR_FORMAT))
    assert "leads out of the folder" in refusal(path)  # the first part stands in the header's last field

    old = changed(tar(ONE), 257, b"ustar  \0")  # where GNU's old form keeps times instead
    assert members(tmp_path, with_checksum(changed(old, 345, b"../"))) == [ONE]


def test_folders_of_old_archives_are_passed_over(tmp_path):
    folder = tar(("train/", b""))[:512]
    unmarked = with_checksum(changed(folder, 156, b"\0"))
    with_size = with_checksum(changed(changed(folder, 156, b"5"), 124, b"00000010000\0"))  # a size, and no content

    assert members(tmp_path, unmarked + with_size + tar(ONE)) == [ONE]


def test_all_problems_are_listed_up_to_twenty(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(foreign(*((entry(f"{number}_1.png", tarfile.SYMTYPE), b"") for number in range(20))))
    assert len(refusal(path).splitlines()) == 20

    path.write_bytes(foreign(*((entry(f"{number}_1.png", tarfile.SYMTYPE), b"") for number in range(23))))
    assert len(refusal(path).splitlines()) == 21
    assert refusal(path).endswith("and 3 more")


WHOLE = tar(ONE, TWO)  # headers at 0 and 1024, content at 512 and 1536 (two blocks), end at 2560
DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "text": (b"These are no digits.\n" * 50, "damaged, or not a tar: the header at byte 0"),
    "gzip": (b"\x1f\x8b\x08" + WHOLE, "compressed with gzip"),
    "bzip2": (b"BZh9" + WHOLE, "compressed with bzip2"),
    "xz": (b"\xfd7zXZ\0" + WHOLE, "compressed with xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + WHOLE, "compressed with zstd"),
    "zip": (b"PK\3\4" + WHOLE, "compressed with zip"),
    "cut in a header": (WHOLE[:1100], "truncated: ends at byte 1100"),
    "cut after a header": (WHOLE[:1536], "truncated: '2_7.png' needs 1024 bytes from byte 1536, there are 0"),
    "cut in a content": (WHOLE[:1700], "truncated: '2_7.png' needs 1024 bytes from byte 1536, there are 164"),
    "cut between members": (WHOLE[:1024], "truncated: ends at byte 1024 without the two empty blocks"),
    "cut in the end": (WHOLE[:-512], "truncated: ends at byte 3072 without the second empty block"),
    "name changed": (changed(WHOLE, 1024, b"3"), "the header at byte 1024 does not agree with its checksum"),
    "size changed": (changed(WHOLE, 1024 + 134, b"7"), "the header at byte 1024 does not agree with its checksum"),
    "checksum changed": (changed(WHOLE, 1024 + 150, b"9"), "the header at byte 1024 does not agree with its checksum"),
    "header wiped": (changed(WHOLE, 1024, bytes(512)), "damaged: something stands at byte 1536"),
    "no size": (with_checksum(changed(WHOLE, 124, bytes(12))), "the header at byte 0 tells no size"),
    "negative size": (with_checksum(changed(WHOLE, 124, b"-0000001000\0")), "the header at byte 0 tells no size"),
    "size in base 256": (with_checksum(changed(WHOLE, 124, b"\xff" * 12)), "the header at byte 0 tells no size"),
    "huge size": (
        with_checksum(changed(WHOLE, 124, b"77777777777\0")),
        "truncated: '00001_5.png' needs 8589934592 bytes",
    ),
    "two archives": (WHOLE + WHOLE, "damaged: something stands at byte 3584"),
    "huge attributes": (foreign((entry("1_1.png", pax_headers={"comment": "x" * 70_000}), b"")), "bytes of attributes"),
    "size as attribute": (foreign((entry("1_1.png", pax_headers={"size": "9"}), b"")), "make no sense for a PNG file"),
    "attributes without end": (
        foreign((entry("1_1.png", pax_headers={"comment": "x"}), b"")).replace(b"comment=x\n", b"comment=xy"),
        "make no sense for a PNG file",
    ),
    "attributes changed": (
        foreign((entry("1_1.png", pax_headers={"comment": "x"}), b"")).replace(b"comment=x", b"comment:x"),
        "make no sense for a PNG file",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_archive_is_named_and_the_place_told(tmp_path, case):
    content, problem = DAMAGED[case]
    path = tmp_path / "train.tar"
    path.write_bytes(content)

    assert problem in refusal(path)
    assert str(path) in refusal(path)


@given(at=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_never_goes_unnoticed_outside_of_contents(tmp_path_factory, at, bit):
    path = tmp_path_factory.getbasetemp() / "flipped.tar"
    path.write_bytes(changed(WHOLE, at, bytes([WHOLE[at] ^ 1 << bit])))

    if 512 <= at < 1024 or 1536 <= at < 2560:  # contents: their PNG checksums are looked at later
        assert [name for name, _ in archive.members(path)] == [ONE[0], TWO[0]]
    else:
        refusal(path)


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 1)
    path = tmp_path / "train.tar"
    path.write_bytes(WHOLE)
    assert refusal(path) == f"{path}: more than 1 files"

    path.write_bytes(tar(ONE))
    assert list(archive.members(path)) == [ONE]


def test_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")

    assert "there is no such file or folder" in refusal(tmp_path / "none.tar")
    assert "there is no such file or folder" in refusal(tmp_path / "pipe.tar")


def test_a_folder_is_read_by_number_and_hidden_files_are_passed_over(tmp_path):
    for name, content in (TWO, ONE, (".DS_Store", b""), ("._2_7.png", b"")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".git").mkdir()

    assert list(archive.members(tmp_path)) == [ONE, TWO]


IN_FOLDERS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "link": ("3_3.png", lambda path: path.symlink_to(path.parent / "00001_5.png"), "a symbolic link"),
    "link to a folder": ("3", lambda path: path.symlink_to(path.parent.parent), "a symbolic link"),
    "broken link": ("3_3.png", lambda path: path.symlink_to("nowhere"), "a symbolic link"),
    "folder": ("3", lambda path: path.mkdir(), "a folder"),
    "pipe": ("3_3.png", lambda path: os.mkfifo(path), "not a regular file"),
    "other name": ("read me", lambda path: path.write_text(""), "not a PNG file by its name"),
    "large": ("3_3.png", lambda path: path.write_bytes(bytes(65_537)), "65537 bytes"),
}


@pytest.mark.parametrize("case", IN_FOLDERS)
def test_what_does_not_belong_in_a_folder_is_named(tmp_path, case):
    name, make, problem = IN_FOLDERS[case]
    (tmp_path / ONE[0]).write_bytes(ONE[1])
    make(tmp_path / name)

    assert refusal(tmp_path).startswith(f"{tmp_path}: {name!r}: {problem}")


def test_a_file_that_vanishes_meanwhile_is_named(tmp_path):
    (tmp_path / ONE[0]).write_bytes(ONE[1])
    contents = archive.members(tmp_path)
    (tmp_path / ONE[0]).unlink()

    with pytest.raises(UserError, match=r"'00001_5\.png' cannot be read: No such file"):
        list(contents)


@given(arrays.arrays(np.uint8, (28, 28)))
def test_pillow_reads_the_png_files(pixels):
    with Image.open(io.BytesIO(png.encode(pixels))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (28, 28))
        assert np.array_equal(np.asarray(image), pixels)


def test_the_bytes_of_a_png_file_are_always_these():
    # The first digest that this function gave; a stored block (RFC 1951, 3.2.4) leaves an encoder no choice.
    digest = sha256(png.encode(np.arange(784).reshape(28, 28).astype(np.uint8)))
    assert digest == "ca77f8f0a4e21520f3c676566d0b34afe9cdc2ad5131a0c577eece2f17030d6e"


def test_names_that_do_not_fit_a_header_are_not_written():
    with pytest.raises(ValueError, match="longer than 100 bytes"):
        tar(("é" * 49 + ".png", b""))
