"""SVG drawings, parsed."""

import xml.etree.ElementTree as ElementTree

from matplotlib.figure import Figure

from lenetlab.report import style

SVG = "{http://www.w3.org/2000/svg}"


def parse(figure: Figure, name: str) -> ElementTree.Element:
    return ElementTree.fromstring(style.svg(figure, name))  # noqa: S314  our own


def ids(drawing: ElementTree.Element, prefix: str = "") -> list[str]:
    """All ids that begin with this prefix, in order."""
    found = [element.get("id") for element in drawing.iter() if "id" in element.attrib]
    return [identity for identity in found if identity.startswith(prefix)]


def texts(drawing: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()).strip() for element in drawing.iter(f"{SVG}text")]


def assert_text_has_page_colour(drawing: ElementTree.Element) -> None:
    styles = [element.get("style") for element in drawing.iter(f"{SVG}text")]
    assert styles
    assert all("fill: currentColor" in style for style in styles)


def assert_ids_are_unique_and_resolve(drawing: ElementTree.Element, name: str) -> None:
    """Ids begin with the name of the drawing, so that many fit on one page; references lead to an id."""
    found = ids(drawing)
    assert len(found) == len(set(found))
    assert all(identity.startswith(f"{name}-") for identity in found)
    values = [(key, value) for element in drawing.iter() for key, value in element.items()]
    links = [value[1:] for key, value in values if key.endswith("href") and value[0] == "#"]
    clips = [value.partition("url(#")[2].partition(")")[0] for _, value in values if "url(#" in value]
    assert set(links + clips) <= set(found)
