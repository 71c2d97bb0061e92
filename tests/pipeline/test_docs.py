"""What the pages for people say exists: links, commands, and the list of defects that tests must notice."""

import re
from pathlib import Path

import pytest

from benchmarks import mutants
from lenetlab import cli
from tests.pipeline.projects import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@by_page
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", page.read_text())
    places = [place for link in links for place in link if place and not place.startswith("http")]
    assert [place for place in places if not (page.parent / place).exists()] == []


@by_page
def test_commands_exist(page):
    makefiles = (ROOT / "Makefile").read_text() + (ROOT / "pipeline.mk").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefiles, re.MULTILINE))
    code = "\n".join(_code(page))
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= targets
    assert set(re.findall(r"\blenetlab ([a-z-]+)", code)) <= set(cli.commands.commands)


def _code(page: Path) -> list[str]:
    """What stands in backquotes or in a block of code."""
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [*blocks, *re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page.read_text())]


MUTATIONS = mutants.read()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_defect_changes_one_place_and_names_its_tests(mutation):
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.new != mutation.old
    assert [name for name in mutation.tests if not (ROOT / name.partition("::")[0]).exists()] == []


def test_there_are_defects_in_every_package():
    packages = {path.name for path in (ROOT / "src" / "lenetlab").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert len(MUTATIONS) >= 20
    files = [mutation.file for mutation in MUTATIONS if mutation.file.startswith("src/")]
    assert packages <= {Path(name).parts[2] for name in files}
