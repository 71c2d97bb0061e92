"""Archives: written with reproducible bytes; unsafe and damaged ones are rejected."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.data import archive
from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256
from tests.data.formats import flip_bit, tar, with_header_checksum

ONE, TWO = ("00001_5.png", b"one"), ("2_7.png", b"two" * 200)


def tar_info(name: str, kind: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def python_tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar written by Python's tarfile."""
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


def error_message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        archive.members(path)
    return str(caught.value)


def replaced(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def with_checksum(content: bytes) -> bytes:
    """A tar with the right checksum in its first header."""
    return with_header_checksum(content[:512]) + content[512:]


def test_the_bytes_of_an_archive_never_change():
    # The digest of an archive by GNU tar 1.34:
    # tar -c -b 1 --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0644
    assert sha256(tar([ONE, TWO])) == "f21f703eab412573c2f8ddbfdb9921037cc7a4cd60c16f96783dff6593847b26"


def test_python_and_gnu_tar_read_our_archives(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(tar([ONE, TWO]))

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
def test_written_archives_are_read_back_in_order_of_number(tmp_path_factory, contents):
    read = members(tmp_path_factory.getbasetemp(), tar(contents.items()))

    assert dict(read) == contents
    assert [name for name, _ in read] == sorted(contents, key=archive.by_number)


def test_members_are_ordered_by_number_and_not_as_text(tmp_path):
    names = ["10_0.png", "9_0.png", "x_1.png", "00002_3.png", "b.png", "²_1.png"]

    assert [name for name, _ in members(tmp_path, tar((name, b"") for name in names))] == [
        "00002_3.png",
        "9_0.png",
        "10_0.png",
        "b.png",
        "x_1.png",
        "²_1.png",
    ]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_python_are_read(tmp_path, form):
    deep = "/".join(["a folder of more than one hundred bytes"] * 4)
    content = python_tar(
        (tar_info("train/", tarfile.DIRTYPE), b""),
        (tar_info("train/00001_5.png", mtime=1.5, uid=1000, uname="somebody"), ONE[1]),
        (tar_info("train/._00001_5.png"), b"what macOS adds" * 10_000),
        (tar_info(".hidden/3_3.png"), b""),
        (tar_info("./.DS_Store"), b""),
        (tar_info(f"{deep}/2_7.png"), TWO[1]),
        (tar_info("./4_4.png"), b"four"),
        form=form,
    )

    assert members(tmp_path, content) == [ONE, TWO, ("4_4.png", b"four")]


def test_sizes_in_pax_records_are_read_if_they_are_those_of_the_headers(tmp_path):
    """Some programs write them for small files too."""
    content = python_tar(
        (tar_info(ONE[0], pax_headers={"size": "3", "mtime": "1.5"}), ONE[1]), (tar_info(TWO[0]), TWO[1])
    )

    assert b"size=3" in content
    assert members(tmp_path, content) == [ONE, TWO]


def test_archives_of_gnu_tar_are_read(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for name, content in (ONE, TWO):
        (folder / name).write_bytes(content)
    for form in ("ustar", "gnu", "posix", "v7"):
        path = tmp_path / f"{form}.tar"
        subprocess.run(["tar", "-c", f"--format={form}", "-f", path, "-C", tmp_path, "train"], check=True)

        assert list(archive.members(path)) == [ONE, TWO], form


REJECTED = {
    "hard link": ((tar_info("5_5.png", tarfile.LNKTYPE, linkname="00001_5.png"), b""), "a hard link"),
    "symbolic link": ((tar_info("5_5.png", tarfile.SYMTYPE, linkname="/etc/passwd"), b""), "a symbolic link"),
    "hidden link": ((tar_info(".5_5.png", tarfile.SYMTYPE, linkname="/etc/passwd"), b""), "a symbolic link"),
    "character device": ((tar_info("5_5.png", tarfile.CHRTYPE), b""), "a device"),
    "block device": ((tar_info("5_5.png", tarfile.BLKTYPE), b""), "a device"),
    "pipe": ((tar_info("5_5.png", tarfile.FIFOTYPE), b""), "a pipe"),
    "sparse, GNU": ((tar_info("5_5.png", tarfile.GNUTYPE_SPARSE), b"12"), "a sparse file"),
    "sparse, POSIX": ((tar_info("5_5.png", pax_headers={"GNU.sparse.major": "1"}), b"12"), "a sparse file"),
    "unknown kind": ((tar_info("5_5.png", b"Z"), b"12"), "an entry of unknown type b'Z'"),
    "absolute path": ((tar_info("/5_5.png"), b""), "unsafe path; allowed: relative paths"),
    "parent path": ((tar_info("train/../../5_5.png"), b""), "unsafe path; allowed: relative paths"),
    "parent path in a long name": ((tar_info("../" * 50 + "5_5.png"), b""), "unsafe path; allowed: relative paths"),
    "drive": ((tar_info("C:5_5.png"), b""), "unsafe path; allowed: relative paths"),
    "backslash": ((tar_info("..\\5_5.png"), b""), "unsafe path; allowed: relative paths"),
    "large": ((tar_info("5_5.png"), bytes(2**21 + 1)), "2097153 bytes; allowed: up to 2097152"),
    "long number": (
        (tar_info("5" * 97 + "_5.png"), b""),
        "invalid file name; allowed: printable UTF-8 of up to 100 bytes",
    ),
    "long name": ((tar_info("5" * 97 + ".png"), b""), "invalid file name; allowed: printable UTF-8 of up to 100 bytes"),
    "control characters": ((tar_info("5_5\x1b[31m.png"), b""), "invalid file name; allowed: printable UTF-8"),
    "not UTF-8": ((tar_info("5_\udcff.png"), b""), "invalid file name; allowed: printable UTF-8"),
    "another file": ((tar_info("train/README"), b""), "the file name does not end in .png"),
    "a nested archive": ((tar_info("more.tar"), tar([TWO])), "the file name does not end in .png"),
    "same name": ((tar_info("other/00001_5.png"), b""), "the file name appears twice, also as 'train/00001_5.png'"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_members_that_are_not_allowed_are_named(tmp_path, case):
    (info, content), problem = REJECTED[case]
    path = tmp_path / "train.tar"
    path.write_bytes(python_tar((tar_info("train/00001_5.png"), b"1"), (info, content), (tar_info("6_6.png"), b"6")))

    message = error_message(path)

    assert len(message.splitlines()) == 1  # and so neither of the valid members
    assert message.startswith(f"{path}: {info.name!r}: ")
    assert problem in message


def test_the_prefix_of_a_path_is_checked_too(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(python_tar((tar_info("../" + "a" * 95 + "/5_5.png"), b""), form=tarfile.USTAR_FORMAT))
    assert "unsafe path" in error_message(path)  # the first part of the path is in the last field of the header

    old = replaced(tar([ONE]), 257, b"ustar  \0")  # this format has times instead of a prefix
    assert members(tmp_path, with_checksum(replaced(old, 345, b"../"))) == [ONE]


def test_folders_of_old_archives_are_skipped(tmp_path):
    folder = tar([("train/", b"")])[:512]
    unmarked = with_checksum(replaced(folder, 156, b"\0"))
    with_size = with_checksum(replaced(replaced(folder, 156, b"5"), 124, b"00000010000\0"))  # a size without content

    assert members(tmp_path, unmarked + with_size + tar([ONE])) == [ONE]


def test_all_problems_are_listed_up_to_twenty(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(python_tar(*((tar_info(f"{number}_1.png", tarfile.SYMTYPE), b"") for number in range(20))))
    assert len(error_message(path).splitlines()) == 20

    path.write_bytes(python_tar(*((tar_info(f"{number}_1.png", tarfile.SYMTYPE), b"") for number in range(23))))
    assert len(error_message(path).splitlines()) == 21
    assert error_message(path).endswith("and 3 more")


WHOLE = tar([ONE, TWO])  # headers at 0 and 1024, content at 512 and 1536 (two blocks), end at 2560
DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "text": (b"These are not digits.\n" * 50, "damaged, or not a tar: wrong checksum in the header at byte 0"),
    "gzip": (b"\x1f\x8b\x08" + WHOLE, "compressed with gzip"),
    "bzip2": (b"BZh9" + WHOLE, "compressed with bzip2"),
    "xz": (b"\xfd7zXZ\0" + WHOLE, "compressed with xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + WHOLE, "compressed with zstd"),
    "zip": (b"PK\3\4" + WHOLE, "compressed with zip"),
    "cut in a header": (WHOLE[:1100], "truncated: ends at byte 1100"),
    "cut after a header": (WHOLE[:1536], "truncated: '2_7.png' at byte 1536 has 0 of 1024 bytes"),
    "cut in a content": (WHOLE[:1700], "truncated: '2_7.png' at byte 1536 has 164 of 1024 bytes"),
    "cut between members": (WHOLE[:1024], "truncated: ends at byte 1024 without the two empty blocks"),
    "cut in the end": (WHOLE[:-512], "truncated: ends at byte 3072 without the second empty block"),
    "name changed": (replaced(WHOLE, 1024, b"3"), "wrong checksum in the header at byte 1024"),
    "size changed": (replaced(WHOLE, 1024 + 134, b"7"), "wrong checksum in the header at byte 1024"),
    "checksum changed": (replaced(WHOLE, 1024 + 150, b"9"), "wrong checksum in the header at byte 1024"),
    "header wiped": (replaced(WHOLE, 1024, bytes(512)), "damaged: unexpected data at byte 1536"),
    "no size": (with_checksum(replaced(WHOLE, 124, bytes(12))), "damaged: invalid size in the header at byte 0"),
    "negative size": (
        with_checksum(replaced(WHOLE, 124, b"-0000001000\0")),
        "damaged: invalid size in the header at byte 0",
    ),
    "size in base 256": (
        with_checksum(replaced(WHOLE, 124, b"\xff" * 12)),
        "damaged: invalid size in the header at byte 0",
    ),
    "huge size": (
        with_checksum(replaced(WHOLE, 124, b"77777777777\0")),
        "truncated: '00001_5.png' at byte 512 has 3072 of 8589934592 bytes",
    ),
    "two archives": (WHOLE + WHOLE, "damaged: unexpected data at byte 3584"),
    "huge attributes": (
        python_tar((tar_info("1_1.png", pax_headers={"comment": "x" * 70_000}), b"")),
        "extended header of 70015 bytes at byte 512; allowed: up to 65536 bytes",
    ),
    "size as attribute": (
        python_tar((tar_info("1_1.png", pax_headers={"size": "9"}), b"")),
        "damaged: two sizes for '1_1.png'; remedy: pack again with --format=ustar",
    ),
    "path of all members": (
        with_checksum(replaced(python_tar((tar_info("1_1.png", pax_headers={"path": "2_2.png"}), b"")), 156, b"g")),
        "damaged: invalid extended header at byte 512",
    ),
    "attributes without end": (
        python_tar((tar_info("1_1.png", pax_headers={"comment": "x"}), b"")).replace(b"comment=x\n", b"comment=xy"),
        "damaged: invalid extended header at byte 512",
    ),
    "attributes changed": (
        python_tar((tar_info("1_1.png", pax_headers={"comment": "x"}), b"")).replace(b"comment=x", b"comment:x"),
        "damaged: invalid extended header at byte 512",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_archive_is_rejected_with_the_place(tmp_path, case):
    content, problem = DAMAGED[case]
    path = tmp_path / "train.tar"
    path.write_bytes(content)

    assert problem in error_message(path)
    assert str(path) in error_message(path)


@given(place=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_outside_of_contents_is_noticed(tmp_path_factory, place, bit):
    path = tmp_path_factory.getbasetemp() / "flipped.tar"
    path.write_bytes(flip_bit(WHOLE, place, bit))

    if 512 <= place < 1024 or 1536 <= place < 2560:  # contents, which have checksums in the PNG files
        assert [name for name, _ in archive.members(path)] == [ONE[0], TWO[0]]
    else:
        error_message(path)


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 1)
    path = tmp_path / "train.tar"
    path.write_bytes(WHOLE)
    assert error_message(path) == f"{path}: more than 1 files; allowed: up to 1"

    path.write_bytes(tar([ONE]))
    assert list(archive.members(path)) == [ONE]


def test_an_archive_must_be_a_file_or_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")

    assert error_message(tmp_path / "none.tar") == f"{tmp_path / 'none.tar'}: no such file or folder"
    assert error_message(tmp_path / "pipe.tar") == f"{tmp_path / 'pipe.tar'}: neither a file nor a folder"


def test_a_folder_is_read_in_order_of_number_without_hidden_files(tmp_path):
    for name, content in (TWO, ONE, (".DS_Store", b""), ("._2_7.png", b"")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".git").mkdir()

    assert list(archive.members(tmp_path)) == [ONE, TWO]


REJECTED_IN_FOLDERS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "link": ("3_3.png", lambda path: path.symlink_to(path.parent / "00001_5.png"), "a symbolic link"),
    "link to a folder": ("3", lambda path: path.symlink_to(path.parent.parent), "a symbolic link"),
    "broken link": ("3_3.png", lambda path: path.symlink_to("nowhere"), "a symbolic link"),
    "folder": ("3", lambda path: path.mkdir(), "a folder"),
    "pipe": ("3_3.png", lambda path: os.mkfifo(path), "not a regular file"),
    "other name": ("read me", lambda path: path.write_text(""), "the file name does not end in .png"),
    "large": ("3_3.png", lambda path: path.write_bytes(bytes(2**21 + 1)), "2097153 bytes"),
}


@pytest.mark.parametrize("case", REJECTED_IN_FOLDERS)
def test_entries_of_a_folder_that_are_not_allowed_are_named(tmp_path, case):
    name, make, problem = REJECTED_IN_FOLDERS[case]
    (tmp_path / ONE[0]).write_bytes(ONE[1])
    make(tmp_path / name)

    assert error_message(tmp_path).startswith(f"{tmp_path}: {name!r}: {problem}")


def test_a_file_that_is_deleted_meanwhile_is_named(tmp_path):
    (tmp_path / ONE[0]).write_bytes(ONE[1])
    contents = archive.members(tmp_path)
    (tmp_path / ONE[0]).unlink()

    with pytest.raises(UserError, match=r"'00001_5\.png' cannot be read: No such file"):
        list(contents)


def test_names_that_are_too_long_for_a_header_are_not_written():
    with pytest.raises(ValueError, match="longer than 100 bytes"):
        tar([("é" * 49 + ".png", b"")])
