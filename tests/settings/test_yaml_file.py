"""YAML files are read as DVC reads them, except for what only complicates a settings file."""

import math
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import loads_yaml

from lenetlab.errors import UserError
from lenetlab.settings import yaml_file


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return yaml_file.read_yaml(path)


def error_of(tmp_path: Path, text: str) -> str:
    """The one line of the error, without the name of the file."""
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    (line,) = caught.value.problems
    return line.removeprefix(f"{tmp_path / 'some.yaml'}: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E+3", 1000.0),
        ("-.5", -0.5),
        (".inf", math.inf),
        ("010", 10),  # 8 in YAML 1.1
        ("0o17", 15),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1:30", "1:30"),  # 90 in YAML 1.1
        ("yes", "yes"),  # true in YAML 1.1
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("True", True),
        ("~", None),
        ("", None),
        ("null", None),
        ("'1'", "1"),
        ("1.0.0", "1.0.0"),
    ],
)
def test_a_value_is_read_as_dvc_reads_it(tmp_path, text, value):
    found = read(tmp_path, f"key: {text}\nlist: [{text}]\n")
    assert found == loads_yaml(f"key: {text}\nlist: [{text}]\n")
    assert (found["key"], type(found["key"])) == (value, type(value))


@pytest.mark.parametrize(
    "name", ["params.yaml", "claims.yaml", "dvc.yaml", "docs/study/study.yaml", "docs/study/claims.yaml"]
)
def test_the_files_of_the_project_are_read_as_dvc_reads_them(name):
    path = Path(__file__).parents[2] / name
    assert yaml_file.read_yaml(path) == loads_yaml(path.read_text())


def test_anchors_and_merges_are_read_as_dvc_reads_them(tmp_path):
    text = "plain: &plain {a: 1, b: 2}\nother: {<<: *plain, b: 3, c: 4}\nboth: {<<: [*plain, {d: 5}], a: 0}\n"
    assert read(tmp_path, text) == loads_yaml(text)
    assert read(tmp_path, text)["other"] == {"a": 1, "b": 3, "c": 4}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "line 1, column 5: expected the node content, but found '<stream end>'"),
        ("a: 1\n  b: 2\n", "line 2, column 4: mapping values are not allowed here"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' appears twice"),
        ("a: &m {b: 1}\nc: {<<: *m, b: 2, b: 3}", "line 2, column 19: the key 'b' appears twice"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", "line 1, column 17: the key '<<' appears twice"),
        ("a: {1: 2}", "line 1, column 5: the key 1 is not text; allowed: names, in quotes if they would be a number"),
        ("true: 2", "line 1, column 1: the key true is not text; allowed: names"),
        ("? [a]\n: b", "line 1, column 3: the key of several values is not text; allowed: names"),
        (
            "a: !!str 1",
            "line 1, column 4: the tag 'tag:yaml.org,2002:str' is not allowed; allowed: values without tags",
        ),
        ("a: !x {}", "line 1, column 4: the tag '!x' is not allowed; allowed: values without tags"),
        (
            "!!python/object:os.system {}",
            "line 1, column 1: the tag 'tag:yaml.org,2002:python/object:os.system' is not",
        ),
        ("a: " + "9" * 41, f"line 1, column 4: the number '{'9' * 41}' has more than 40 characters"),
        ("[" * 5000, "line 1, column 21: more than 20 blocks and lists within each other"),
        ("a: &a x\nb: [" + "*a, " * 101 + "]", "line 2, column 405: more than 100 aliases"),
        (
            "a: &a {" + "".join(f"k{i}: 1, " for i in range(9000)) + "}\nb: {<<: [*a, *a]}",
            "line 2, column 4: merges (<<)",
        ),
        ("a: 2001-13-45", "line 1, column 4: '2001-13-45' is not a valid value: month must be in 1..12"),
        ("a: &a 1\nb: &a 2", "found duplicate anchor 'a' first occurrence"),
        ("a: *b", "line 1, column 4: found undefined alias 'b'"),
        ("--- a\n--- b\n", "line 2, column 1: but found another document"),
        ("\x00", "unacceptable character #x0000"),
    ],
)
def test_an_error_is_one_line_with_its_place(tmp_path, text, error):
    assert error_of(tmp_path, text).startswith(f"not valid YAML: {error}")


def test_a_file_may_have_100_kb(tmp_path):
    assert read(tmp_path, "#" * 100_000) is None
    assert error_of(tmp_path, "#" * 100_001) == "more than 100000 bytes; allowed: at most 100000"


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(UserError, match=rf"^{tmp_path}/none\.yaml: cannot be read: No such file or directory$"):
        yaml_file.read_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: é".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml: not valid YAML: 'utf-8' codec can't decode byte 0xe9"):
        yaml_file.read_yaml(tmp_path / "latin.yaml")
