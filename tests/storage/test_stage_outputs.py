"""Missing and damaged outputs of earlier stages: one line that names the file and the command that helps."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.errors import UserError
from lenetlab.evaluation import curves, mistakes
from lenetlab.storage import files, stage_outputs

RECORD = {"a": {"b": 1, "c": None}, "list": [{"x": 1}, {"x": 2}], "by name": {"first": {"y": 3}, "last": {"y": 4}}}
KEYS = ("a/b", "a/c", "list/*/x", "by name/*/y")
ROWS = "seed,epoch," + ",".join(curves.MEASURES) + "\n" + "".join(f"0,{epoch},1,1,1,1,1,1\n" for epoch in (1, 2, 3))
JOURNAL = "".join(json.dumps({"event": event}) + "\n" for event in ("start", "epoch", "end"))


def write_mistakes(path: Path) -> None:
    columns = {field.name: np.arange(40) for field in fields(mistakes.MisreadImages)}
    mistakes.write(mistakes.MisreadImages(**columns), path)


# File name -> functions that write and read such a file.
FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "record.json": (
        lambda path: files.write_json(path, RECORD),
        lambda path: stage_outputs.read_json_object(path, "evaluate@mlp", *KEYS),
    ),
    "entries.json": (
        lambda path: files.write_json(path, RECORD["list"]),
        lambda path: stage_outputs.read_json_list(path, "evaluate@mlp", "x"),
    ),
    "curves.csv": (
        lambda path: files.write_text(path, ROWS),
        lambda path: curves.read(path, "evaluate@mlp"),
    ),
    "seed-0.jsonl": (
        lambda path: files.write_text(path, JOURNAL),
        lambda path: stage_outputs.read_journal(path, "evaluate@mlp"),
    ),
    "mistakes.npz": (
        write_mistakes,
        lambda path: mistakes.read(path, "evaluate@mlp"),
    ),
}


def error_line(path: Path, read: Callable[[Path], Any]) -> str:
    """The error of reading a missing or damaged file; checks that it is one line with the file and the remedy."""
    with pytest.raises(UserError) as caught:
        read(path)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert line.startswith(f"{path}: cannot be read (")
    assert line.endswith("dvc repro --force --single-item evaluate@mlp")
    return line


@pytest.mark.parametrize("name", FORMATS)
def test_complete_files_are_read(tmp_path, name):
    write, read = FORMATS[name]
    write(tmp_path / name)
    assert read(tmp_path / name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_file_is_named_with_the_remedy(tmp_path, name):
    path = tmp_path / name
    assert error_line(path, FORMATS[name][1]) == (
        f"{path}: cannot be read (No such file or directory); remedy: dvc checkout --force {path}, or, if that does"
        " not help, dvc repro --force --single-item evaluate@mlp"
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("content", [b"", b"{", b"null", b"5", b'"text"', b"\xff\xfe\x00", b"[[1]]", b'{"event": 1}'])
def test_other_content_is_an_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    error_line(tmp_path / name, FORMATS[name][1])


@pytest.mark.parametrize("name", ["record.json", "entries.json", "mistakes.npz"])
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_an_error(tmp_path_factory, name, share):
    path = tmp_path_factory.mktemp("truncated") / name
    write, read = FORMATS[name]
    write(path)
    complete = path.read_bytes().rstrip(b"\n")
    path.write_bytes(complete[: int(share * len(complete))])
    error_line(path, read)


def without_key(content: Any, steps: list[str]) -> Any:
    """A copy without one nested key; the step `*` stands for the last entry."""
    copy = json.loads(json.dumps(content))
    parent = copy
    for step in steps[:-1]:
        parent = (list(parent.values()) if isinstance(parent, dict) else parent)[-1] if step == "*" else parent[step]
    del parent[steps[-1]]
    return copy


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_an_error(tmp_path, key):
    path = tmp_path / "record.json"
    files.write_json(path, without_key(RECORD, key.split("/")))
    assert re.search(r"\(no [^)]+\)", error_line(path, FORMATS["record.json"][1]))


def test_incomplete_rows_missing_columns_and_text_instead_of_numbers_are_errors(tmp_path):
    path, read = tmp_path / "curves.csv", FORMATS["curves.csv"][1]
    for damaged in (ROWS.rpartition(",")[0], ROWS.replace("0,2,1", "0,2,x"), ROWS.replace("seed", "sed"), ROWS + "1,"):
        path.write_text(damaged)
        error_line(path, read)
    path.write_text(ROWS + "1,1,1,1,1,1,1,1\n")  # a seed with fewer epochs than the other
    error_line(path, read)


def test_a_table_without_rows_is_valid(tmp_path):
    """evaluate writes such a table if every seed of the variant diverged."""
    (tmp_path / "curves.csv").write_text(ROWS.partition("\n")[0] + "\n")
    assert curves.read(tmp_path / "curves.csv", "evaluate@mlp") == {}
    with (tmp_path / "curves.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == []


def test_a_file_below_the_working_folder_is_named_by_its_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^costs.json: .* dvc checkout --force costs.json, .*--single-item cost$"):
        stage_outputs.read_json_object(tmp_path / "costs.json", "cost")


def test_the_remedy_for_a_file_in_git_is_git_checkout_or_its_command(tmp_path):
    with pytest.raises(UserError, match=r"remedy: git checkout .*sensitivity.json, or, .*, make sensitivity$"):
        stage_outputs.read_json_object(tmp_path / "sensitivity.json", "make sensitivity")


def test_user_errors_and_ctrl_c_pass_unchanged(tmp_path):
    for error in (UserError, KeyboardInterrupt):
        with pytest.raises(error), stage_outputs.reporting_damage(tmp_path, "cost"):
            raise error
