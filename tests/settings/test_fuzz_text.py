"""What people write: params.yaml, claims.yaml, declarations of sources, the command line; taken or refused in words.

Every line of a refusal names the file, and says what is allowed; there is no other exception, and no waiting.
"""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from lenetlab import cli
from lenetlab.data import declaration, sources
from lenetlab.errors import UserError
from lenetlab.settings import claims, messages, params
from lenetlab.tracking import pages
from tests.storage.fuzzing import (
    all_files,
    apply_changes,
    byte_changes,
    check_peak_memory,
    error_lines,
    fewer_examples,
    time_limit,
)

pytestmark = [pytest.mark.slow, pytest.mark.torture]

ROOT = Path(__file__).parents[2]
WHOLE = (ROOT / "params.yaml").read_text()
# Without most of the catalogue, and with few statements: PyYAML reads some 60,000 bytes a second.
PARAMS = re.sub(r"#.*", "", WHOLE.partition("\n  lenet5-28:")[0])
CLAIMS = re.sub(r"#.*", "", (ROOT / "claims.yaml").read_text().partition("\n  - id: S0.9")[0])
DECLARATION = (ROOT / "data" / "mnist.toml").read_text()
STUDY = params.load(ROOT / "params.yaml")

# Lines of a refusal that tell of the whole file, and so of no key.
OF_THE_FILE = re.compile(r"not a (YAML|TOML) file: .|cannot be read: .|more than \d+ bytes|and \d+ more$")

# Values as they stand in the file.
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
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("written")


def check(lines: list[str], path: Path) -> None:
    for line in lines:
        assert line.startswith(f"{path}: "), line
        about = line.removeprefix(f"{path}: ")
        assert OF_THE_FILE.match(about) or "allowed" in about or ": missing" in about, line


def load_params(folder: Path, content: str | bytes) -> list[str]:
    path = folder / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    lines = error_lines(lambda: params.load(path))
    check(lines, path)
    return lines


def load_claims(folder: Path, content: str | bytes) -> list[str]:
    path = folder / "claims.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    lines = error_lines(lambda: claims.load(path, STUDY))
    check(lines, path)
    return lines


FILES = {"params.yaml": (PARAMS, load_params), "claims.yaml": (CLAIMS, load_claims)}
each_file = pytest.mark.parametrize("name", FILES)


def places(content: object, above: tuple = ()) -> list[tuple]:
    """Of all keys and entries, however deep."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in inner for place in [(*above, key), *places(value, (*above, key))]]


TREES = {name: yaml.safe_load(text) for name, (text, _) in FILES.items()}
PLACES = {name: places(tree) for name, tree in TREES.items()}


@each_file
def test_the_parts_that_are_changed_are_right_as_they_stand(folder, name):
    text, load = FILES[name]
    assert not load(folder, text)


@each_file
@given(data=st.data())
@fewer_examples
def test_any_value_at_any_place(folder, count, name, data):
    tree = yaml.safe_load(yaml.safe_dump(TREES[name]))
    *above, last = data.draw(st.sampled_from(PLACES[name]))
    block = tree
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
    FILES[name][1](folder, yaml.safe_dump(tree))
    count(name)


@each_file
@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_what_yaml_can_say_in_place_of_a_value(folder, count, large, name, nasty):
    text, load = FILES[name]
    found = list(re.finditer(r"(?<=: )[^\s,}\]]+|(?<=- )[^\s,}\]:]+$", text, re.MULTILINE))
    for match in found if large else found[:: max(1, len(found) // 3)]:
        load(folder, text[: match.start()] + nasty + text[match.end() :])
        count(name)
    assert not (ROOT / "was-here").exists()
    assert not Path("was-here").exists()


@each_file
@given(changes=byte_changes)
@fewer_examples
def test_a_file_with_a_few_bytes_changed(folder, count, name, changes):
    text, load = FILES[name]
    load(folder, apply_changes(text.encode(), changes))
    count(name)


@each_file
@given(content=st.text(max_size=60) | st.binary(max_size=60) | st.text("[]{},:-?&*!|>'\"%@`#<=~ \n\t01ax", max_size=40))
@example("")
@example("\ufeff")
@example("--- a\n--- b\n")
@example("a: &a [*a]")
@example("a: &a {b: *a}")
@example("a: 1\na: 2\n")
@example("[" * 5000)
@example("a: " * 5000)
@example(PARAMS.encode("utf-16"))
@example(CLAIMS.encode("latin-1") + b"\xff")
def test_any_other_text(folder, count, name, content):
    assert FILES[name][1](folder, content)
    count(name)


@each_file
def test_line_ends_and_a_byte_order_mark_do_not_matter(folder, count, name):
    text, load = FILES[name]
    for harmless in ("\ufeff" + text, text.replace("\n", "\r\n"), text + "\n" * 1000):
        assert not load(folder, harmless)
        count(name)
    for other in (f"{text}\n---\n{text}", text.replace("  ", "\t"), text.encode("utf-16")):
        assert load(folder, other)
        count(name)


# Each is as large as a file may be, or grows where it is read.
BOMBS = f"""
import sys
from pathlib import Path
from lenetlab import UserError, claims, params

study = params.load(Path({str(ROOT / "params.yaml")!r}))
path, text = Path(sys.argv[1]), {PARAMS!r}
most = (params.LARGEST_FILE - len(text) - 1000) // int(sys.argv[2])
doubled = "".join(f"a{{i + 1}}: &a{{i + 1}} {{{{<<: [*a{{i}}, *a{{i}}], k{{i}}: v}}}}\\n" for i in range(45))
tenfold = "".join(f"a{{i + 1}}: &a{{i + 1}} [{{', '.join([f'*a{{i}}'] * 10)}}]\\n" for i in range(9))
bombs = [
    "a0: &a0 {{k: v}}\\n" + doubled,
    "a0: &a0 [x]\\n" + tenfold,
    "a0: &a0 [x]\\n" + tenfold + text.replace("epochs: 10", "epochs: *a9"),
    "a0: &a0 [x]\\n" + tenfold + "claims: *a9\\n",
    "a0: &a0 [x]\\n" + tenfold + "claims:\\n  - {{id: *a9, kind: *a9}}\\n",
    text.replace("seeds: [0,", "seeds: [" + "a," * (most // 2), 1),
    text.replace("  - mlp\\n", "  - mlp\\n" * (most // 8), 1),
    text.replace("  - mlp\\n", "".join(f"  - a{{i}}\\n" for i in range(most // 11))),
    text.replace("variants:\\n", "variants:\\n" + "".join(f"  a{{i}}: 5\\n" for i in range(most // 13))),
    text.replace("variants:\\n", "".join(f"a{{i}}: 5\\n" for i in range(most // 11)) + "variants:\\n"),
    text.replace("baseline: mlp}}\\n", "baseline: mlp}}\\n" + "    - {{candidate: a, baseline: b}}\\n" * (most // 35)),
    "claims:\\n" + "  - {{id: a, kind: loss}}\\n" * (most // 27),
    "claims: [" + "1," * (most // 2) + "]",
    "{{" + "<<: {{}}," * (most // 8) + "}}",
    '"' * most,
    "? " * (most // 2),
    "[" * 300 + "[]," * (most // 3),
    "&a " * (most // 3),
    "x" * (params.LARGEST_FILE + 1),
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
"""


def test_no_file_fills_the_memory_or_takes_for_ever(tmp_path, count, large):
    check_peak_memory(BOMBS, tmp_path / "bomb.yaml", 1 if large else 10, memory=600_000_000)
    for _ in range(19):
        count("params.yaml")
        count("claims.yaml")


def test_what_is_no_file_is_not_waited_for(tmp_path, count):
    pipe, folder = tmp_path / "pipe.toml", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder, Path("/dev/zero"), Path("/dev/null"), tmp_path / "none", tmp_path / ("x" * 300)):
        for kind, load in {
            "params.yaml": params.load,
            "claims.yaml": lambda path: claims.load(path, STUDY),
            "declarations": declaration.read_declaration,
        }.items():
            check(error_lines(lambda load=load, path=path: load(path)) or [""], path)
            count(kind)


NASTY_TOML = [
    "", "true", "-1", "0", "1.5", "nan", "inf", "1e999", "9" * 5000, "0x" + "f" * 9000, "1979-05-27", "[]", "{}",
    "[[]]", "[1, 'a']", "{a = {b = 1}}", '""', '"\\ud800"', '"\\u001b[31m"', '"""\na\n"""', "'\x00'", "[" * 3000,
    '"../x.gz"', '"x"', '["file:///etc/passwd"]', '["https://"]', '["http://a b/"]', '["http://a/\\n/"]', '"-e x"',
    "a.b = 1",    '"a\\nb" = 1',
]  # fmt: skip


def declared(folder: Path, content: bytes) -> list[str]:
    path = folder / "own.toml"
    path.write_bytes(content)
    lines = error_lines(lambda: declaration.read_declaration(path))
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    if lines:  # only then, so that nothing is ever downloaded
        assert error_lines(lambda: sources.fetch(path, folder / "raw")) == lines
        assert not all_files(folder / "raw")
    return lines


@pytest.mark.parametrize("nasty", NASTY_TOML, ids=range(len(NASTY_TOML)))
def test_what_toml_can_say_in_a_declaration(folder, count, nasty):
    for match in re.finditer(r"(?<= = ).+", DECLARATION):
        declared(folder, (DECLARATION[: match.start()] + nasty + DECLARATION[match.end() :]).encode())
        count("declarations")
    for match in re.finditer(r"^(?=\w)", DECLARATION, re.MULTILINE):
        declared(folder, (DECLARATION[: match.start()] + nasty + "\n" + DECLARATION[match.end() :]).encode())
        count("declarations")


@given(byte_changes)
def test_a_declaration_with_a_few_bytes_changed(folder, count, changes):
    declared(folder, apply_changes(DECLARATION.encode(), changes))
    count("declarations")


@given(st.text(max_size=60) | st.binary(max_size=60) | st.text("[]{}='\"#.\n0x1a-", max_size=40))
def test_any_other_declaration(folder, count, content):
    assert declared(folder, content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    count("declarations")


@pytest.mark.parametrize("source", ["", "nowhere", "a\0b", "x" * 4000, "\ud800", "nowhere.toml", "a\nb", "/dev/zero"])
def test_a_source_that_is_none(tmp_path, count, source):
    assert error_lines(lambda: sources.fetch(Path(tmp_path, source), tmp_path / "raw"))
    assert not all_files(tmp_path)
    count("declarations")


WORDS = [
    "check",
    "sensitivity",
    "report",
    "sync",
    "ui",
    "--port",
    "--help",
    "--version",
    "0",
    "65536",
    "x",
    "-1",
    "1e3",
    "--",
]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=4))
@example(["ui", "--port", "0"])
@example(["ui", "--port", "99999999999999999999"])
@example(["ui", "--port"])
@example(["check", "\udcff"])
@example(["chek"])
def test_any_command_line(tmp_path_factory, count, words):
    empty = tmp_path_factory.getbasetemp() / "empty"
    empty.mkdir(exist_ok=True)
    served = []
    with pytest.MonkeyPatch.context() as patch, time_limit():
        patch.chdir(empty)
        patch.setattr(pages, "ui", served.append)
        found = CliRunner().invoke(cli.commands, words)
    assert found.exception is None or isinstance(found.exception, SystemExit | UserError), found.exception
    assert found.exit_code in (0, 1, 2)
    assert all(1 <= port <= 65535 for port in served)
    assert not list(empty.iterdir())
    count("command line")


STAGES = {path.stem: path for path in sorted((ROOT / "stages").glob("*.py"))}
ODD = [
    "",
    "nonsense",
    "../../etc",
    "/etc",
    ".",
    "..",
    "a\nb",
    "\x1b[31m",
    "\udcff",
    "--help",
    "-",
    "*",
    "lenet5 ",
    "x" * 5000,
]


def stage(name: str, *words: str) -> object:
    """The status with which a stage ends when it is called so in the current folder."""
    with pytest.MonkeyPatch.context() as patch, time_limit():
        patch.setattr(sys, "argv", [f"stages/{name}.py", *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(STAGES[name]), run_name="__main__")
    return ended.value.code


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_called_in_another_way_than_dvc_calls_it(tmp_path, monkeypatch, capsys, count, name):
    (tmp_path / "params.yaml").write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    of_one = name in ("train", "evaluate")
    for words in [*([word] for word in ODD), ["lenet5", "mlp"], ["a", "b", "c"], *([[]] if of_one else [])]:
        assert stage(name, *words) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("error: ")
        assert len(line) < 1000
        assert line.isprintable()
        assert "; allowed: " in line
        count("command line")
    assert [path.name for path in all_files(tmp_path)] == ["params.yaml"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"]


def test_a_program_ends_without_a_traceback(count):
    for command in (["stages/fetch.py", "nonsense"], ["-c", "from lenetlab import cli; cli.main()", "chek"]):
        found = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
        assert found.returncode in (1, 2)
        assert "Traceback" not in found.stderr
        count("command line")


def test_any_names_are_told_apart_from_the_words_around_them():
    assert messages.name_list(["a", "", "b\nc", 5]) == "a, '', 'b\\nc', 5"
    assert messages.name_list(map(str, range(200))).endswith("99 and 100 more")
    assert messages.key_path(("a", "b\n", 0, "c")) == "a.'b\\n'[0].c"
