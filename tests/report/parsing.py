"""The report's page and its Markdown, parsed."""

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "br", "img", "hr", "link", "input"}  # elements without an end tag
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


class Page(HTMLParser):
    """Elements with their attributes; tables by id, as rows of cell texts; the text outside of style and SVG."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.tables: dict[str | int, list[list[str]]] = {}
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attributes).get("id", len(self.tables)), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements must be closed in reverse order"

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.replace(NO_BREAK_SPACE, " ")
        if not {"style", "svg"} & set(self.open):
            self.text += data.replace(NO_BREAK_SPACE, " ").replace("\n", " ")

    def values(self, attribute: str) -> list[str]:
        """The values of an attribute, of all elements that have it."""
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def read_page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text())


def read_markdown(folder: Path) -> str:
    return (folder / "report.md").read_text().replace(NO_BREAK_SPACE, " ")


def markdown_rows(folder: Path) -> list[list[str]]:
    """The cells of all tables, without emphasis."""
    lines = [line for line in read_markdown(folder).splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in line.strip("| ").split("|")] for line in lines]
