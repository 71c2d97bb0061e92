"""Every picture. Figures draw what they are given and compute nothing; SVG for the report, PNG for MLflow.

One language for all: a colour of Okabe & Ito's, which the colour-blind can tell apart, and a shape for each variant, by
its place in the study, and neither for anything else; text and axes in one ink, dark on white and light on black; no
frame, no grid.
"""

import html
import io
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from lenetlab.storage import files

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A7A00")  # those with 3 to 1 on white and on the dark page

BY_NIGHT = ("#4BA3DB", "#F07B35", "#2FC198", "#DE9BC0", "#BBA52A")  # the same, lighter, which an SVG takes on dark

SHAPES = ("o", "s", "D", "^")

INK = "#495057"  # 8.2 to 1 on white; in an SVG it follows the reader's light or dark

STYLE = {
    "svg.hashsalt": "lenetlab",  # ids in the SVG that repeat
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 10,
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

NIGHT = "".join(f"--{colour[1:]}:{night};" for colour, night in zip(COLOURS, BY_NIGHT, strict=True))  # CSS

LIGHT_AND_DARK = (  # for a file that stands alone; its ink has 10 to 1 on the report's dark page
    f"<style>svg{{color:{INK}}}@media (prefers-color-scheme:dark){{svg{{color:#c3c9d0;{NIGHT}}}}}</style>"
)

FEW = 6  # names that fit a legend; of more variants, numbers stand beside the points


@dataclass(frozen=True)
class Mark:
    """What a variant is known by in every figure; twenty can be told apart."""

    colour: str
    shape: str  # matplotlib's sign for it


def mark_of(place: int) -> Mark:
    """That of the variant which stands at this place in the study."""
    return Mark(COLOURS[place % len(COLOURS)], SHAPES[place // len(COLOURS) % len(SHAPES)])


def by_day_and_night(colour: str) -> str:
    """A variant's colour in CSS: as it is, or as NIGHT says where a dark page has that."""
    return f"var(--{colour[1:]}, {colour})"


@mpl.rc_context(STYLE)
def svg(figure: Figure, name: str) -> str:
    """To stand in a page: ink is the colour of the text around, ids begin with `name`. A figure drawn alike gives the
    same bytes."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    for colour in COLOURS:
        text = text.replace(colour.lower(), by_day_and_night(colour))
    noise = (
        r"<!--.*?-->",
        r"<defs>\s*<style.*?</style>\s*</defs>",  # it would reach the whole page
        r" id=\"([A-Za-z0-9.]+_\d+|image\w+)\"",  # ids that nothing refers to
        r"\s*font-family: [^;\"]+;",
        r" transform=\"rotate\(-0 [^\"]+\"",
    )
    text = re.sub("|".join(noise), "", text, flags=re.DOTALL)
    text = re.sub(r"(id=\"|href=\"#|url\(#)", lambda found: found[0] + html.escape(f"{name}-"), text)
    text = text.replace("<svg ", '<svg style="stroke-linejoin: round; font-family: system-ui, sans-serif" ', 1)
    return re.sub(r"\s*\n\s*", "\n", text)


def standing_alone(picture: str) -> str:
    """An SVG as the text of a file of its own, which follows the reader's light or dark."""
    return picture.replace(">", f">\n{LIGHT_AND_DARK}", 1)


@mpl.rc_context(STYLE)
def png(figure: Figure, path: Path) -> None:
    with files.writing(path) as stream:
        figure.savefig(stream, format="png", dpi=130, transparent=False, metadata={"Software": None})
