"""Any content of params.yaml, claims.yaml and declarations of sources, and any command line.

It is valid, or every line of the error names the file and what is allowed. There is no other exception, no waiting, and
no large use of memory.
"""

import io
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example as with_example
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lenetlab import cli
from lenetlab.data import declaration, sources
from lenetlab.errors import UserError
from lenetlab.settings import claims, params
from lenetlab.tracking import pages
from tests.settings import example
from tests.storage.fuzzing import (
    all_files,
    apply_changes,
    byte_changes,
    check_peak_memory,
    error_lines,
    fewer_examples,
    time_limit,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXTS = {"params.yaml": example.PARAMS, "claims.yaml": example.CLAIMS}
DECLARATION = (ROOT / "data" / "mnist.toml").read_text()
each_file = pytest.mark.parametrize("name", TEXTS)

# Lines of an error about the whole file, which therefore name no key.
ABOUT_THE_FILE = re.compile(r"not valid YAML: .|not a TOML file: .|cannot be read: .|more than \d+ bytes|and \d+ more$")

# Texts in place of a value.
NASTY = [
    "", "~", "true", "yes", "-1", "0", "1.5", "1e-3", "-0.0", ".nan", ".inf", "-.inf", "1e999", "9" * 30, "9" * 5000,
    "0x" + "f" * 30, "0x" + "f" * 9000, "1" + ":59" * 900, "0b_", "1__0", "2001-12-31", "2001-13-45", "=", "<<", "*a",
    "2001-01-01 00:00:00 +99:99", "0001-01-01 00:00:00 +23:59", "&a x", "!x y", "!!int ''", "!!float ''", "!!bool x",
    "!!timestamp x", "!!null x", "!!map [a]", "!!seq {a: b}", "!!str {a: b}", "!!set {a, b}", "!!omap [a: b]",
    "!!pairs [a]", "!!binary ä", "!!python/object/apply:os.system ['touch was-here']", "!!python/name:os.system x",
    "{<<: 5}", "{<<: [1]}", "{<<: {a: b}}", "[]", "{}", "[[]]", "[{}]", "{a: {a: {a: {}}}}", "{a: 1, a: 2}",
    "{? [a] : b}", "{1: 2}", "{~: 2}", "{2001-12-31: 2}", "{.inf: 2}", "[" * 2000, '"\\ud800"', '"\\e[31m"', '"a\\nb"',
    '"\\0"', '{"a\\nb": 1}', '{"\\ud800": 1}', '{"\\e[31m": 1}', "x" * 9000, "{" + "x" * 120 + ": 1}", "'",
    '"', "|", ">", "- -", "? ?", "%", "@", "`", "\t", "a\tb", "\x00", "\x1b[31m", "\ufeff", "\u2028", "\u202e",
    "é", "٣", "../..", "/dev/zero",
]  # fmt: skip

plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=5)
    | st.dates()
    | st.datetimes()
    | st.sets(st.integers(0, 9), max_size=2)
)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str | bytes], list[str]]:
    """Call it with the name and the content of a file: the lines of the error, none if the content is valid."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "example.yaml").write_text(example.PARAMS)
    study = params.load(folder / "example.yaml")

    def load(name: str, content: str | bytes) -> list[str]:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        lines = error_lines(lambda: params.load(path) if name == "params.yaml" else claims.load(path, study))
        check_lines(lines, path)
        return lines

    return load


def check_lines(lines: list[str], path: Path) -> None:
    for line in lines:
        assert line.startswith(f"{path}: "), line
        text = line.removeprefix(f"{path}: ")
        assert ABOUT_THE_FILE.match(text) or "allowed" in text, line


def places(content: object, above: tuple = ()) -> list[tuple]:
    """The paths to all keys and entries, at any depth."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in inner for place in [(*above, key), *places(value, (*above, key))]]


def dump(content: object) -> str:
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(content, stream)
    return stream.getvalue()


PLACES = {name: places(YAML(typ="safe", pure=True).load(text)) for name, text in TEXTS.items()}


@each_file
def test_the_files_that_are_changed_are_valid(load, name):
    assert not load(name, TEXTS[name])


@each_file
@given(data=st.data())
@fewer_examples
def test_any_value_at_any_place(load, count, name, data):
    content = YAML(typ="safe", pure=True).load(TEXTS[name])
    *above, last = data.draw(st.sampled_from(PLACES[name]))
    block = content
    for step in above:
        block = block[step]
    match data.draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            block[last] = data.draw(values)
        case "remove":
            del block[last]
        case "add" if isinstance(block, dict):
            block[data.draw(st.text(max_size=9) | st.integers() | st.none() | st.dates())] = data.draw(values)
        case "add":
            block.append(data.draw(values))
    load(name, dump(content))
    count(name)


@each_file
@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_any_yaml_in_place_of_a_value(load, count, large, name, nasty):
    text = TEXTS[name]
    found = list(re.finditer(r"(?<=: )[^\s,}\]]+|(?<=- )[^\s,}\]:]+$", text, re.MULTILINE))
    for match in found if large else (found[1], found[-2]):
        load(name, text[: match.start()] + nasty + text[match.end() :])
        count(name)
    assert not (ROOT / "was-here").exists()
    assert not Path("was-here").exists()


@each_file
@given(changes=byte_changes)
@fewer_examples
def test_a_file_with_a_few_bytes_changed(load, count, name, changes):
    load(name, apply_changes(TEXTS[name].encode(), changes))
    count(name)


@each_file
@given(content=st.text(max_size=60) | st.binary(max_size=60) | st.text("[]{},:-?&*!|>'\"%@`#<=~ \n\t01ax", max_size=40))
@with_example("")
@with_example("\ufeff")
@with_example("a: &a [*a]")
@with_example("a: &a {b: *a}")
@with_example("a: " * 5000)
@with_example("%YAML 1.1\n---\na: 1e3\n")
@with_example("%YAML 3.0\n---\na: 1\n")
@with_example(example.PARAMS.encode("utf-16"))
@with_example(example.CLAIMS.encode("latin-1") + b"\xff")
def test_any_other_text_is_an_error(load, count, name, content):
    assert load(name, content)
    count(name)


@each_file
def test_line_ends_and_a_byte_order_mark_do_not_matter(load, count, name):
    text = TEXTS[name]
    for harmless in ("\ufeff" + text, text.replace("\n", "\r\n"), text + "\n" * 1000):
        assert not load(name, harmless)
        count(name)
    for wrong in (f"{text}\n---\n{text}", text.replace("  ", "\t"), text.encode("utf-16")):
        assert load(name, wrong)
        count(name)


# Contents that are as large as a file may be, or grow when they are read. Arguments: a file with the example, and a
# number by which to divide the size.
BOMBS = """
import sys
from pathlib import Path
from lenetlab.errors import UserError
from lenetlab.settings import claims, params, yaml_file

path = Path(sys.argv[1])
text, study = path.read_text(), params.load(path)
most = (yaml_file.MAX_BYTES - len(text) - 1000) // int(sys.argv[2])
doubled = "".join(f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}], k{i}: v}}\\n" for i in range(45))
tenfold = "a0: &a0 [x]\\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\\n" for i in range(9))
bombs = [
    "a0: &a0 {k: v}\\n" + doubled,
    tenfold,
    tenfold + text.replace("epochs: 10", "epochs: *a9"),
    tenfold + "claims: *a9\\n",
    tenfold + "claims:\\n  - {id: *a9, kind: *a9}\\n",
    tenfold + "b: [{x: *a9, x: 1}]\\n",
    text.replace("seeds: [0,", "seeds: [" + "a," * (most // 2), 1),
    text.replace("  - mlp\\n", "  - mlp\\n" * (most // 8), 1),
    text.replace("  - mlp\\n", "".join(f"  - a{i}\\n" for i in range(most // 11))),
    text.replace("variants:\\n", "variants:\\n" + "".join(f"  a{i}: 5\\n" for i in range(most // 13))),
    text.replace("variants:\\n", "".join(f"a{i}: 5\\n" for i in range(most // 11)) + "variants:\\n"),
    text.replace("baseline: mlp}\\n", "baseline: mlp}\\n" + "    - {candidate: a, baseline: b}\\n" * (most // 35)),
    text.replace("baseline: mlp}\\n", "baseline: mlp}\\n" + "    - {candidate: mlp, baseline: mlp}\\n" * (most // 39)),
    "claims:\\n" + "  - {id: a, kind: loss}\\n" * (most // 27),
    "claims: [" + "1," * (most // 2) + "]",
    "{" + "<<: {}," * (most // 8) + "}",
    '"' * most,
    "? " * (most // 2),
    "[" * 300 + "[]," * (most // 3),
    "&a " * (most // 3),
    "".join(f"a{i}: &b{i} 1\\n" for i in range(most // 16)),
    "1_" * (most // 2),
    "x" * (yaml_file.MAX_BYTES + 1),
]
for bomb in bombs:
    path.write_text(bomb)
    for load in (params.load, lambda path: claims.load(path, study)):
        try:
            load(path)
        except UserError as error:
            assert len(str(error)) < 1_000_000
        else:
            raise AssertionError(bomb[:100])
assert len(bombs) == 23
"""


def test_no_file_needs_much_memory_or_time(tmp_path, count, large):
    (tmp_path / "bomb.yaml").write_text(example.PARAMS)
    check_peak_memory(BOMBS, tmp_path / "bomb.yaml", 1 if large else 10, memory=600_000_000)
    for _ in range(23):
        count("params.yaml")
        count("claims.yaml")


def test_a_path_that_is_not_a_file_is_an_error_at_once(tmp_path, count):
    pipe, folder = tmp_path / "pipe.toml", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    readers = {
        "params.yaml": params.load,
        "claims.yaml": lambda path: claims.load(path, None),
        "declarations": declaration.read_declaration,
    }
    for path in (pipe, folder, Path("/dev/zero"), Path("/dev/null"), tmp_path / "none", tmp_path / ("x" * 300)):
        for kind, read in readers.items():
            lines = error_lines(lambda read=read, path=path: read(path))
            assert lines
            check_lines(lines, path)
            count(kind)


NASTY_TOML = [
    "", "true", "-1", "0", "1.5", "nan", "inf", "1e999", "9" * 5000, "0x" + "f" * 9000, "1979-05-27", "[]", "{}",
    "[[]]", "[1, 'a']", "{a = {b = 1}}", '""', '"\\ud800"', '"\\u001b[31m"', '"""\na\n"""', "'\x00'", "[" * 3000,
    '"../x.gz"', '"x"', '["file:///etc/passwd"]', '["https://"]', '["http://a b/"]', '["http://a/\\n/"]', '"-e x"',
    "a.b = 1",    '"a\\nb" = 1',
]  # fmt: skip


def read_declaration(folder: Path, content: bytes) -> list[str]:
    """The lines of the error, none if the declaration is valid."""
    path = folder / "own.toml"
    path.write_bytes(content)
    lines = error_lines(lambda: declaration.read_declaration(path))
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    if lines:  # only then, so that nothing is ever downloaded
        assert error_lines(lambda: sources.fetch(path, folder / "raw")) == lines
        assert not all_files(folder / "raw")
    return lines


@pytest.mark.parametrize("nasty", NASTY_TOML, ids=range(len(NASTY_TOML)))
def test_any_toml_in_a_declaration(tmp_path, count, nasty):
    for match in re.finditer(r"(?<= = ).+", DECLARATION):
        read_declaration(tmp_path, (DECLARATION[: match.start()] + nasty + DECLARATION[match.end() :]).encode())
        count("declarations")
    for match in re.finditer(r"^(?=\w)", DECLARATION, re.MULTILINE):
        read_declaration(tmp_path, (DECLARATION[: match.start()] + nasty + "\n" + DECLARATION[match.end() :]).encode())
        count("declarations")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("declarations")


@given(byte_changes)
def test_a_declaration_with_a_few_bytes_changed(folder, count, changes):
    read_declaration(folder, apply_changes(DECLARATION.encode(), changes))
    count("declarations")


@given(st.text(max_size=60) | st.binary(max_size=60) | st.text("[]{}='\"#.\n0x1a-", max_size=40))
def test_any_other_declaration_is_an_error(folder, count, content):
    assert read_declaration(folder, content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    count("declarations")


@pytest.mark.parametrize("source", ["", "nowhere", "a\0b", "x" * 4000, "\ud800", "nowhere.toml", "a\nb", "/dev/zero"])
def test_a_source_that_does_not_exist_is_an_error(tmp_path, count, source):
    assert error_lines(lambda: sources.fetch(Path(tmp_path, source), tmp_path / "raw"))
    assert not all_files(tmp_path)
    count("declarations")


WORDS = [
    "check", "sensitivity", "report", "sync", "ui", "--port", "--help", "--version",
    "0", "65536", "x", "-1", "1e3", "--",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=4))
@with_example(["ui", "--port", "0"])
@with_example(["ui", "--port", "99999999999999999999"])
@with_example(["ui", "--port"])
@with_example(["check", "\udcff"])
@with_example(["chek"])
def test_any_command_line(tmp_path_factory, count, words):
    empty = tmp_path_factory.getbasetemp() / "empty"
    empty.mkdir(exist_ok=True)
    served = []
    with pytest.MonkeyPatch.context() as patch, time_limit():
        patch.chdir(empty)
        patch.setattr(pages, "ui", served.append)
        result = CliRunner().invoke(cli.commands, words)
    assert result.exception is None or isinstance(result.exception, SystemExit | UserError), result.exception
    assert result.exit_code in (0, 1, 2)
    assert all(1 <= port <= 65535 for port in served)
    assert not list(empty.iterdir())
    count("command line")


STAGES = {path.stem: path for path in sorted((ROOT / "stages").glob("*.py"))}
ODD = [
    "", "nonsense", "../../etc", "/etc", ".", "..", "a\nb", "\x1b[31m", "\udcff", "--help", "-", "*", "lenet5 ",
    "x" * 5000,
]  # fmt: skip


def exit_status(stage: str, *words: str) -> object:
    """The exit status of a stage that is called with these words in the current folder."""
    with pytest.MonkeyPatch.context() as patch, time_limit():
        patch.setattr(sys, "argv", [f"stages/{stage}.py", *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(STAGES[stage]), run_name="__main__")
    return ended.value.code


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_with_wrong_arguments_writes_nothing(tmp_path, monkeypatch, capsys, count, stage):
    (tmp_path / "params.yaml").write_text(example.PARAMS)
    monkeypatch.chdir(tmp_path)
    has_argument = stage in ("train", "evaluate")
    for words in [*([word] for word in ODD), ["lenet5", "mlp"], ["a", "b", "c"], *([[]] if has_argument else [])]:
        assert exit_status(stage, *words) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("error: ")
        assert len(line) < 1000
        assert line.isprintable()
        assert "; allowed: " in line
        count("command line")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"]


def test_a_program_ends_without_a_traceback(count):
    for command in (["stages/fetch.py", "nonsense"], ["-c", "from lenetlab import cli; cli.main()", "chek"]):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        count("command line")
