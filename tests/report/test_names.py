"""Names of classes and of the data are the user's: they appear everywhere, and change nothing else."""

import ast
import re
from html import unescape
from pathlib import Path

import pytest

from lenetlab.report import style
from lenetlab.report.page import write_report
from tests.report import example
from tests.report.parsing import Page, read_page

NAMES = ("cat & dog", "a|b", "<b>", "$x$", "中", "*_`[]", "a name that is much too long for a picture")
PACKAGE = example.ROOT / "src/lenetlab"
ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = example.make_study((0, 1), source="my <data>", size=40, channels=3, classes=NAMES)
    paths = example.write_inputs(tmp_path_factory.mktemp("inputs"), (0, 1), study=study)
    path = tmp_path_factory.mktemp("reports")
    write_report(example.collect_report(paths, study=study), path)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return read_page(folder)


def test_the_page_has_all_names(folder, page):
    assert [row[0] for row in page.tables["class-table"][1:]] == list(NAMES)
    drawn = re.findall(r"<text[^>]*>([^<]*)<", (folder / "report.html").read_text())
    assert {style.shortened(name, 18) for name in NAMES} <= {unescape(text) for text in drawn}
    assert "my <data>: images of 40×40 colour, 7 classes" in page.text
    assert not [tag for tag, _ in page.elements if tag == "b"]


def test_markdown_has_all_names_without_effect(folder):
    rows = [line for line in (folder / "report.md").read_text().splitlines() if line.startswith("|")]
    first = [re.split(r"(?<!\\)\|", row)[1].strip() for row in rows]
    start = first.index("class") + 2
    assert [ESCAPED.sub(r"\1", name) for name in first[start : start + len(NAMES)]] == list(NAMES)
    unescaped = [ESCAPED.sub("", name) for name in first[start : start + len(NAMES)]]
    assert not [name for name in unescaped if re.search(r"[!-/:-@\[-`{-~]", name)]


def test_nothing_is_said_of_digits_or_mnist(folder):
    for name in ("report.html", "report.md"):
        text = re.sub(r"\b(lenet\w*|[0-9a-f]{32,})", "", (folder / name).read_text()).lower()
        assert "digit" not in text
        assert "mnist" not in text


def test_of_many_classes_the_worst_have_a_row(tmp_path):
    names = tuple(f"kind {number}" for number in range(60))
    study = example.make_study((0, 1), size=28, classes=names)
    report = example.collect_report(example.write_inputs(tmp_path, (0, 1), study=study), study=study)
    write_report(example.small(report), tmp_path)
    rows = read_page(tmp_path).tables["class-table"][1:]
    worst = sorted(report.by_class, key=lambda row: row.mean)[:20]
    assert [row[0] for row in rows] == [names[row.label] for row in worst]
    assert "the 20 of 60 classes that are read worst" in (tmp_path / "report.md").read_text()


def test_no_text_of_report_and_tracking_speaks_of_digits():
    found = []
    for path in [*(PACKAGE / "report").rglob("*.py"), *(PACKAGE / "tracking").rglob("*.py")]:
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        found += [
            f"{path.name}: {text}" for text in texts if isinstance(text, str) and re.search(r"(?i)digit|mnist", text)
        ]
    for path in (PACKAGE / "report/templates").iterdir():
        found += [path.name] if re.search(r"(?i)\bdigit|mnist", path.read_text()) else []
    assert found == []
