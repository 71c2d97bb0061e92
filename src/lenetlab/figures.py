"""Every picture. Figures draw what they are given and compute nothing; SVG for the report, PNG for MLflow.

One language for all: Okabe & Ito's colours, which the colour-blind can tell apart, one for each variant by its place in
the study and none for anything else; text and axes in one ink, dark on white and light on black; no frame, no grid.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lenetlab import files

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A7A00")
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
LIGHT_AND_DARK = (  # for a file that stands alone; 10 to 1 on the report's dark page
    "<style>svg{color:#495057}@media (prefers-color-scheme:dark){svg{color:#c3c9d0}}</style>"
)
SEED, MEAN = {"linewidth": 0.6, "alpha": 0.45}, {"linewidth": 2.0}
KINDS = {"train": "training (running)", "validation": "validation", "test": "test"}
MOST_SHADE = 0.6  # opacity of the commonest mistake, so that ink stays readable on it


def colour(position: int) -> str:
    """The colour of the variant that stands at this place in the study."""
    return COLOURS[position % len(COLOURS)]


@mpl.rc_context(STYLE)
def svg(figure: Figure, name: str) -> str:
    """To stand in a page: ink is the colour of the text around, ids begin with `name`. A figure drawn alike gives the
    same bytes."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
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


@mpl.rc_context(STYLE)
def curves(rows: Sequence[Mapping[str, Any]], colour: str = INK) -> Figure:
    """Loss and accuracy per epoch of one variant, all seeds thin and their mean thick; `rows` as in `curves.csv`."""
    figure, (loss, accuracy) = _panels(1, 2, width=8.0, height=3.1)
    styles = {
        "train": {"color": INK, "linestyle": (0, (5, 2))},
        "validation": {"color": colour, "linestyle": (0, (1, 1.5))},
        "test": {"color": colour},
    }
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    for axes, measure, scale in ((loss, "loss", 1.0), (accuracy, "accuracy", 100.0)):
        for kind, name in KINDS.items():
            lines = [
                [(int(row["epoch"]), scale * float(row[f"{kind}_{measure}"])) for row in rows if row["seed"] == seed]
                for seed in seeds
                if rows[0][f"{kind}_{measure}"] not in (None, "")
            ]
            _thin_and_thick(axes, lines, {**styles[kind], "label": name, "gid": f"{kind}-{measure}"})
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, max(int(row["epoch"]) for row in rows) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
    loss.set_ylabel("mean cross-entropy (nats)")
    accuracy.set_ylabel("accuracy (%)")
    loss.set_ylim(bottom=0)
    accuracy.legend(loc="lower right")
    return figure


@mpl.rc_context(STYLE)
def confusion(counts: np.ndarray) -> Figure:
    """Counts (10, 10), a row per label. The correct ones are so many that only mistakes are shaded."""
    figure, (axes,) = _panels(1, 1, width=4.8, height=4.5)
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    shade = np.empty((*counts.shape, 4))
    shade[..., :3] = to_rgb(COLOURS[1])
    shade[..., 3] = MOST_SHADE * mistakes / max(1, mistakes.max())
    axes.imshow(shade)
    for label, row in enumerate(counts):
        for predicted, count in enumerate(row):
            weight = "bold" if label == predicted else "normal"
            text = f"{count}" if count else "·"
            axes.text(predicted, label, text, ha="center", va="center", fontsize=7.5, fontweight=weight)
    axes.set(xlabel="predicted digit", ylabel="label", xticks=range(10), yticks=range(10))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@mpl.rc_context(STYLE)
def mistakes(found: Mapping[str, np.ndarray], seeds: int) -> Figure:
    """The most confident mistakes as images, with label, commonest wrong answer and how many seeds misread them."""
    figure, axes, places = _sheet(found["pixels"], 8, (0, 255), width=8.0, above=0.36, below=0.28)
    for at, (middle, top, bottom) in enumerate(places):
        read = f"{found['label'][at]} read as {found['predicted'][at]}"
        share = f"{100 * found['confidence'][at]:.0f} %, {found['votes'][at]} of {seeds}"
        axes.text(middle, top, read, ha="center", va="bottom", fontsize=9)
        axes.text(middle, bottom, share, ha="center", va="top", fontsize=8)
    return figure


@mpl.rc_context(STYLE)
def sample_sheet(images: np.ndarray, labels: np.ndarray) -> Figure:
    """What the loader yields: images (K, H, W) with the labels (K) that belong to them, and their range of values."""
    low, high = float(images.min()), float(images.max())
    figure, axes, places = _sheet(images, 10, (low, high), width=7.5, above=0.29, head=0.3)
    for (middle, top, _), label in zip(places, labels, strict=True):
        axes.text(middle, top, str(label), ha="center", va="bottom", fontsize=8)
    size = " × ".join(map(str, images.shape[1:]))
    figure.suptitle(
        f"{len(images)} training digits as the loader yields them: {size}, from {low:.2f} to {high:.2f}",
        fontsize=9,
        y=0.993,
    )
    return figure


@mpl.rc_context(STYLE)
def points(variants: Sequence[Mapping[str, Any]]) -> Figure:
    """Test accuracy of every seed as a point, and each variant's mean with its interval.

    Each variant: `name`, `colour`, `accuracies` (fractions), `mean`, `interval` (a pair or None).
    """
    figure, axes = _rows([variant["name"] for variant in variants], "test accuracy (%)")
    for row, variant in enumerate(variants):
        seeds = variant["accuracies"]
        spread = np.linspace(-0.14, 0.14, len(seeds)) if len(seeds) > 1 else [0.0]
        for place, (offset, accuracy) in enumerate(zip(spread, seeds, strict=True)):
            mark = {"markersize": 6, "alpha": 0.7, "markeredgewidth": 0, "gid": f"seed-{row}-{place}"}
            axes.plot(100 * accuracy, row + offset, "o", color=variant["colour"], **mark)
        if variant["interval"]:
            axes.plot([100 * limit for limit in variant["interval"]], [row, row], color=INK, linewidth=1.4)
        axes.plot(100 * variant["mean"], row, "|", color=INK, markersize=15, markeredgewidth=2)
    return figure


@mpl.rc_context(STYLE)
def forest(comparisons: Sequence[Mapping[str, Any]]) -> Figure:
    """Differences with both intervals, in percentage points; the verdict stands beside the names.

    Each comparison: `title`, `verdict`, `colour`, `difference`, `interval_seeds`, `interval` (fractions; or None).
    """
    titles = [f"{comparison['title']}: {comparison['verdict']}" for comparison in comparisons]
    figure, axes = _rows(titles, "difference of test accuracy (percentage points)")
    for row, comparison in enumerate(comparisons):
        axes.plot([0, 0], [row - 0.2, row + 0.4], color=INK, linewidth=1, linestyle=(0, (2, 2)))
        for key, width in (("interval", 1.2), ("interval_seeds", 4.5)):
            if comparison[key]:
                ends = [100 * limit for limit in comparison[key]]
                line = {"linewidth": width, "solid_capstyle": "butt", "gid": f"{key}-{row}"}
                axes.plot(ends, [row, row], color=comparison["colour"], **line)
        axes.plot(100 * comparison["difference"], row, "o", color=comparison["colour"], markersize=7)
    return figure


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def _sheet(
    images: np.ndarray,
    columns: int,
    limits: tuple[float, float],
    width: float,
    above: float,
    below: float = 0.0,
    head: float = 0.0,
) -> tuple[Figure, Axes, list[tuple[float, float, float]]]:
    """Many small images (K, H, W), dark ink on white, and for each of them where its text goes: middle, top, bottom.

    They are one image in one axes, whose unit is their pixel; an axes for each would take twenty times as long. Room
    for text is left `above` and `below` each, as parts of its height, and inches for a title at the `head` of all.
    """
    rows = max(1, -(-len(images) // columns))
    height, side = images.shape[1:]
    gap, above, below = max(1, side // 7), round(above * height), round(below * height)
    shape = (rows * columns, above + height + below, side + gap)
    cells = np.ma.array(np.zeros(shape, images.dtype), mask=True)  # what is masked stays transparent
    cells[: len(images), above : above + height, gap // 2 : gap // 2 + side] = images
    _, tall, wide = cells.shape
    sheet = cells.reshape(rows, columns, tall, wide).swapaxes(1, 2).reshape(rows * tall, columns * wide)
    inches = width * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(width, inches + head))
    axes = figure.add_axes((0, 0, 1, inches / (inches + head)))
    axes.axis("off")
    extent, (low, high) = (0, sheet.shape[1], sheet.shape[0], 0), limits
    axes.imshow(sheet, cmap="gray_r", vmin=low, vmax=high, interpolation="none", extent=extent, aspect="auto")
    corners = [(at % columns * wide + gap // 2, at // columns * tall + above) for at in range(len(images))]
    off = height / 28
    return figure, axes, [(x + side / 2, y - off, y + height + off) for x, y in corners]


def _thin_and_thick(axes: Axes, lines: list[list[tuple[int, float]]], style: Mapping[str, Any]) -> None:
    """Each seed's line thin, their mean thick, with marks where a line of one epoch would not show."""
    if not lines:
        return
    mark = {"marker": "o", "markersize": 3} if len(lines[0]) == 1 else {}
    for place, line in enumerate(lines):
        own = {"label": None, "gid": f"{style['gid']}-{place}"}
        axes.plot(*zip(*line, strict=True), **{**style, **SEED, **mark, **own})
    epochs = [epoch for epoch, _ in lines[0]]
    axes.plot(epochs, np.mean([[value for _, value in line] for line in lines], axis=0), **style, **MEAN, **mark)


def _rows(titles: Sequence[str], label: str) -> tuple[Figure, Axes]:
    """A panel with a row for each title, which stands above it so that the figure stays narrow enough for a phone."""
    figure, (axes,) = _panels(1, 1, width=5.4, height=0.6 + 0.66 * len(titles))
    for row, title in enumerate(titles):
        axes.text(0, row - 0.3, title, transform=axes.get_yaxis_transform(), va="bottom")
    axes.set(ylim=(len(titles) - 0.6, -0.75), yticks=[], xlabel=label)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    return figure, axes
