"""Files and folders are written completely or not at all; digests."""

import json

import pytest

from lenetlab.storage import files
from lenetlab.storage.digests import sha256, sha256_file, sha256_json


def test_a_file_is_written_with_ordinary_permissions_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "record.json"
    files.write_json(path, {"digit": 7})
    assert json.loads(path.read_text()) == {"digit": 7}
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert list(path.parent.iterdir()) == [path]


def test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "record.txt"
    files.write_text(path, "old")
    with pytest.raises(TypeError), files.writing(path) as stream:
        stream.writelines([b"half of the n", None])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_complete_and_replaces_the_old_one(tmp_path):
    for name in ("first", "second"):
        with files.writing_folder(tmp_path / "out") as folder:
            (folder / name).touch()
            assert not (tmp_path / "out" / name).exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["second"]


def test_an_error_while_filling_a_folder_keeps_the_old_one(tmp_path):
    with files.writing_folder(tmp_path / "out") as folder:
        (folder / "old").touch()
    with pytest.raises(FileNotFoundError), files.writing_folder(tmp_path / "out") as folder:
        (folder / "new" / "file").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_the_order_of_keys_does_not_change_a_digest():
    assert sha256_json({"a": 1, "b": [1.5, None]}) == sha256_json({"b": [1.5, None], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


def test_digests_match_the_standard(tmp_path):
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1: "abc"
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(b"abc") == sha256_file(tmp_path / "abc") == known


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "record.json", {"loss": float("nan")})
    assert not (tmp_path / "record.json").exists()
