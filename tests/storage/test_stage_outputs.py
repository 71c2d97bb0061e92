"""Whatever is done to an output, what reads it says so in one line: which file, and what helps."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.errors import UserError
from lenetlab.evaluation import curves, mistakes
from lenetlab.storage import files, stage_outputs

RECORD = {"a": {"b": 1, "c": None}, "list": [{"x": 1}, {"x": 2}], "by name": {"one": {"y": 3}}}
KEYS = ("a/b", "a/c", "list/*/x", "by name/*/y")
ROWS = "seed,epoch," + ",".join(curves.MEASURES) + "\n" + "".join(f"0,{epoch},1,1,1,1,1,1\n" for epoch in (1, 2, 3))
JOURNAL = "".join(json.dumps({"event": event}) + "\n" for event in ("start", "epoch", "end"))


def write_mistakes(path: Path) -> None:
    columns = {column: np.arange(40) for column in mistakes.COLUMNS}
    mistakes.write(columns, path)


# Name of a file -> how it is written, and read.
KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "record.json": (
        lambda path: files.write_json(path, RECORD),
        lambda path: stage_outputs.json_object(path, "evaluate@mlp", *KEYS),
    ),
    "entries.json": (
        lambda path: files.write_json(path, RECORD["list"]),
        lambda path: stage_outputs.json_list(path, "evaluate@mlp", "x"),
    ),
    "curves.csv": (
        lambda path: files.write_text(path, ROWS),
        lambda path: curves.read_evaluation(path, "evaluate@mlp"),
    ),
    "seed-0.jsonl": (
        lambda path: files.write_text(path, JOURNAL),
        lambda path: stage_outputs.journal(path, "evaluate@mlp"),
    ),
    "mistakes.npz": (
        write_mistakes,
        lambda path: mistakes.read(path, "evaluate@mlp"),
    ),
}


def refused(path: Path, read: Callable[[Path], Any]) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert line.startswith(f"{path}: cannot be read (")
    assert line.endswith("dvc repro --force --single-item evaluate@mlp")
    return line


@pytest.mark.parametrize("name", KINDS)
def test_what_is_whole_is_read(tmp_path, name):
    write, read = KINDS[name]
    write(tmp_path / name)
    assert read(tmp_path / name)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_missing_is_named_with_what_helps(tmp_path, name):
    path = tmp_path / name
    assert refused(path, KINDS[name][1]) == (
        f"{path}: cannot be read (No such file or directory); remedy: dvc checkout --force {path}, or, where that does"
        " not help, dvc repro --force --single-item evaluate@mlp"
    )


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("content", [b"", b"{", b"null", b"5", b'"text"', b"\xff\xfe\x00", b"[[1]]", b'{"event": 1}'])
def test_what_is_something_else_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, KINDS[name][1])


@pytest.mark.parametrize("name", ["record.json", "entries.json", "mistakes.npz"])
@given(share=st.floats(0, 0.999))
def test_what_was_cut_off_anywhere_is_named(tmp_path_factory, name, share):
    path = tmp_path_factory.mktemp("cut") / name
    write, read = KINDS[name]
    write(path)
    whole = path.read_bytes().rstrip(b"\n")
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, read)


def without(content: Any, steps: list[str]) -> Any:
    """A copy that lacks one key, in the last entry where it is one of several."""
    copy = json.loads(json.dumps(content))
    parent = copy
    for step in steps[:-1]:
        parent = (list(parent.values()) if isinstance(parent, dict) else parent)[-1] if step == "*" else parent[step]
    del parent[steps[-1]]
    return copy


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_is_missing_is_told(tmp_path, key):
    path = tmp_path / "record.json"
    files.write_json(path, without(RECORD, key.split("/")))
    assert re.search(r"\(no [^)]+\)", refused(path, KINDS["record.json"][1]))


def test_a_row_that_was_cut_off_or_a_figure_that_is_none_is_told(tmp_path):
    path, read = tmp_path / "curves.csv", KINDS["curves.csv"][1]
    for damaged in (ROWS.rpartition(",")[0], ROWS.replace("0,2,1", "0,2,x"), ROWS.replace("seed", "sed"), ROWS + "1,"):
        path.write_text(damaged)
        refused(path, read)
    path.write_text(ROWS + "1,1,1,1,1,1,1,1\n")  # a seed with fewer epochs than the other
    refused(path, read)


def test_a_table_without_rows_is_no_damage(tmp_path):
    """That of a variant of which every seed diverged."""
    (tmp_path / "curves.csv").write_text(ROWS.partition("\n")[0] + "\n")
    assert curves.read_evaluation(tmp_path / "curves.csv", "evaluate@mlp") == {}
    with (tmp_path / "curves.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == []


def test_a_file_below_the_working_folder_is_named_as_it_is_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^costs.json: .* dvc checkout --force costs.json, .*--single-item cost$"):
        stage_outputs.json_object(tmp_path / "costs.json", "cost")


def test_what_git_keeps_comes_back_from_git_or_by_its_command(tmp_path):
    with pytest.raises(UserError, match=r"remedy: git checkout .*sensitivity.json, or, .*, make sensitivity$"):
        stage_outputs.json_object(tmp_path / "sensitivity.json", "make sensitivity")


def test_what_is_told_already_is_told_once_and_ctrl_c_is_no_damage(tmp_path):
    for error in (UserError, KeyboardInterrupt):
        with pytest.raises(error), stage_outputs.reading(tmp_path, "cost"):
            raise error
