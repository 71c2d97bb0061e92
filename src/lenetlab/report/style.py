"""The look of all figures, and how a figure becomes SVG (for the report) or PNG (for MLflow).

Each variant has a colour and a marker, by its place in the study; nothing else is coloured. The colours are based on
the palette of Okabe & Ito for colour-blind readers. Text and axes have one colour: dark on a light page, light on a
dark one. There are no frames and no grids.
"""

import html
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from lenetlab.storage import files

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A7A00")  # contrast of at least 3:1 on white

DARK_COLOURS = (
    "#4BA3DB",
    "#F07B35",
    "#2FC198",
    "#DE9BC0",
    "#BBA52A",
)  # the same, lighter: at least 3:1 on the dark page

MARKERS = ("o", "s", "D", "^")  # matplotlib's names

INK = "#495057"  # text and axes: contrast of 8.2:1 on white; SVG replaces it by `currentColor`

RC_PARAMS: dict[Any, Any] = {  # Any: matplotlib's stubs list every key as a literal
    "svg.hashsalt": "lenetlab",  # makes the ids in SVG repeat
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # names of classes may contain $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "savefig.transparent": True,
}

DARK_PROPERTIES = "".join(  # CSS; `css_colour` refers to them
    f"--{colour[1:]}:{dark};" for colour, dark in zip(COLOURS, DARK_COLOURS, strict=True)
)

STANDALONE_STYLE = (  # for SVG files; the light ink has a contrast of 10:1 on the report's dark page
    f"<style>svg{{color:{INK}}}@media (prefers-color-scheme:dark){{svg{{color:#c3c9d0;{DARK_PROPERTIES}}}}}</style>"
)

CAPTION_LINE = 20  # characters in each of two lines above an image

LEGEND_VARIANTS = 6  # the most that fit in a legend; if there are more, numbers stand beside the points

# What `savefig` writes and the report does not want.
SVG_NOISE = (
    r"<!--.*?-->",
    r"<defs>\s*<style.*?</style>\s*</defs>",  # it would apply to the whole page
)

TAG_NOISE = (
    r" id=\"([A-Za-z0-9.]+_\d+|image\w+)\"",  # ids that nothing refers to
    r"\s*font-family: [^;\"]+;",
    r" transform=\"rotate\(-0 [^\"]+\"",
)


@dataclass(frozen=True)
class Mark:
    """Colour and marker of a variant in every figure."""

    colour: str
    marker: str  # matplotlib's name


def variant_mark(index: int) -> Mark:
    """The mark of the variant at this index of the study; the first twenty differ."""
    return Mark(COLOURS[index % len(COLOURS)], MARKERS[index // len(COLOURS) % len(MARKERS)])


def shortened(name: str, length: int) -> str:
    """The name with at most `length` characters; if it is longer, it ends with …"""
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def in_two_lines(text: str) -> str:
    """A text of `evaluation.mistakes.caption`, broken before its last " read as ", with shortened names."""
    label, read_as, predicted = text.rpartition(" read as ")
    if not read_as:
        return shortened(text, CAPTION_LINE)
    first, second = shortened(label, CAPTION_LINE), shortened(predicted, CAPTION_LINE - len("read as "))
    return f"{first}\nread as {second}"


def drawable(names: Sequence[str]) -> list[str]:
    """Names of classes for a PNG file: `class 3` in place of one with letters that matplotlib's font lacks."""
    font = get_font(findfont(FontProperties(family=["sans-serif"])))
    return [
        name if all(font.get_char_index(ord(letter)) for letter in name) else f"class {number}"
        for number, name in enumerate(names)
    ]


def css_colour(colour: str) -> str:
    """One of COLOURS as CSS that takes its lighter version on a dark page."""
    return f"var(--{colour[1:]}, {colour})"


@mpl.rc_context(RC_PARAMS)
def svg(figure: Figure, name: str) -> str:
    """SVG to be embedded in a page: ids begin with `name`, text has the colour of the page's text.

    Equal figures give equal bytes.
    """
    stream = io.StringIO()
    with warnings.catch_warnings():  # the browser has letters that matplotlib's font lacks
        warnings.filterwarnings("ignore", "Glyph|Matplotlib currently does not support", UserWarning)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = re.sub("|".join(SVG_NOISE), "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", lambda tag: _embeddable(tag[0], name), text)  # names of classes stay as they are
    text = text.replace("<svg ", '<svg style="stroke-linejoin: round; font-family: system-ui, sans-serif" ', 1)
    return re.sub(r"\s*\n\s*", "\n", text)


def _embeddable(tag: str, name: str) -> str:
    """A tag of SVG without noise, with the colours of the page and ids that begin with `name`."""
    tag = re.sub("|".join(TAG_NOISE), "", tag).replace(INK, "currentColor")
    for colour in COLOURS:
        tag = tag.replace(colour.lower(), css_colour(colour))
    return re.sub(r"(id=\"|href=\"#|url\(#)", lambda match: match[0] + html.escape(f"{name}-"), tag)


def standalone_svg(embedded: str) -> str:
    """The SVG of `svg` as the text of a file, with styles for light and dark mode."""
    return embedded.replace(">", f">\n{STANDALONE_STYLE}", 1)


@mpl.rc_context(RC_PARAMS)
def png(figure: Figure, path: Path) -> None:
    """Write a PNG file on white. Equal figures give equal bytes."""
    with files.writing(path) as stream:
        figure.savefig(stream, format="png", dpi=130, transparent=False, metadata={"Software": None})
