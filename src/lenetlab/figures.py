"""Every picture. Figures draw what they are given and compute nothing; SVG for the report, PNG for MLflow.

One language for all: Okabe & Ito's colours, which the colour-blind can tell apart, one for each variant by its place in
the study; greys that read on white and on black; no frame, no grid but the lines that help to read a value.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lenetlab import files

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A7A00")
GREY, LIGHT_GREY = "#5f5f5f", "#b8b8b8"  # of text and lines on a light page and on a dark one; contrast above 6
DARK = f"""<style>@media (prefers-color-scheme: dark) {{
text[style*="{GREY}"] {{fill: {LIGHT_GREY} !important}} [style*="stroke: {GREY}"] {{stroke: {LIGHT_GREY} !important}}
}}</style>"""
STYLE = {
    "svg.hashsalt": "lenetlab",  # ids in the SVG that repeat
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlesize": 10,
    "axes.titlecolor": GREY,
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "savefig.transparent": True,
}
mpl.rcParams.update(STYLE)  # no other module draws
SEED, MEAN = {"linewidth": 0.7, "alpha": 0.4}, {"linewidth": 2.0}
CURVES = {  # the four curves, and the two of validation data where there are any
    "train": {"color": COLOURS[0], "label": "training (running)"},
    "validation": {"color": COLOURS[4], "label": "validation", "linestyle": (0, (4, 2))},
    "test": {"color": COLOURS[1], "label": "test"},
}


def colour(position: int) -> str:
    """The colour of the variant that stands at this place in the study."""
    return COLOURS[position % len(COLOURS)]


def svg(figure: Figure) -> str:
    """The same bytes for the same figure, fit to stand inside a page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace("<defs>", DARK + "<defs>", 1)


def png(figure: Figure, path: Path) -> None:
    with files.writing(path) as stream:
        figure.savefig(stream, format="png", dpi=130, transparent=False, metadata={"Software": None})


def curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss and accuracy per epoch of one variant, all seeds thin and their mean thick; `rows` as in `curves.csv`."""
    figure, (loss, accuracy) = _panels(1, 2, width=8.4, height=3.0)
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    for axes, measure, scale in ((loss, "loss", 1.0), (accuracy, "accuracy", 100.0)):
        for kind, style in CURVES.items():
            lines = [
                [(int(row["epoch"]), scale * float(row[f"{kind}_{measure}"])) for row in rows if row["seed"] == seed]
                for seed in seeds
                if rows[0][f"{kind}_{measure}"] not in (None, "")
            ]
            _thin_and_thick(axes, lines, style)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, max(int(row["epoch"]) for row in rows) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
    loss.set_ylabel("mean cross-entropy (nats)")
    accuracy.set_ylabel("accuracy (%)")
    loss.set_ylim(bottom=0)
    accuracy.legend(loc="lower right")
    return figure


def confusion(counts: np.ndarray) -> Figure:
    """Counts (10, 10), a row per label. The correct ones are so many that only mistakes are shaded."""
    figure, (axes,) = _panels(1, 1, width=4.6, height=4.2)
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, mistakes.max()) * 2)  # so light that its numbers are read
    for label, row in enumerate(counts):
        for predicted, count in enumerate(row):
            text = f"{count}" if count else "·"
            axes.text(predicted, label, text, ha="center", va="center", fontsize=6.5, color="#333333")
    axes.set(xlabel="predicted digit", ylabel="label", xticks=range(10), yticks=range(10))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def mistakes(found: Mapping[str, np.ndarray], seeds: int) -> Figure:
    """The most confident mistakes as images, with label, commonest wrong answer and how many seeds misread them."""
    columns = 8
    rows = max(1, -(-len(found["number"]) // columns))
    figure, panels = _panels(rows, columns, width=8.4, height=1.45 * rows)
    for axes in panels:
        axes.axis("off")
    for at, axes in enumerate(panels[: len(found["number"])]):
        axes.imshow(found["pixels"][at], cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(f"{found['label'][at]} read as {found['predicted'][at]}", fontsize=8)
        share = f"{100 * found['confidence'][at]:.0f} %, {found['votes'][at]} of {seeds} seeds"
        axes.text(0.5, -0.05, share, transform=axes.transAxes, ha="center", va="top", fontsize=6.5)
    return figure


def sample_sheet(images: np.ndarray, labels: np.ndarray) -> Figure:
    """What the loader yields: images (K, H, W) with the labels (K) that belong to them, and their range of values."""
    columns = 10
    rows = max(1, -(-len(images) // columns))
    figure, panels = _panels(rows, columns, width=7.5, height=0.85 * rows + 0.4)
    low, high = float(images.min()), float(images.max())
    for axes in panels:
        axes.axis("off")
    for axes, image, label in zip(panels, images, labels, strict=False):
        axes.imshow(image, cmap="gray_r", vmin=low, vmax=high)
        axes.set_title(str(label), fontsize=8, pad=2)
    size = " × ".join(map(str, images.shape[1:]))
    figure.suptitle(
        f"{len(images)} training digits as the loader yields them: {size}, from {low:.2f} to {high:.2f}", fontsize=9
    )
    return figure


def points(variants: Sequence[Mapping[str, Any]]) -> Figure:
    """Test accuracy of every seed as a point, and each variant's mean with its interval.

    Each variant: `name`, `colour`, `accuracies` (fractions), `mean`, `interval` (a pair or None).
    """
    figure, (axes,) = _panels(1, 1, width=7.0, height=0.8 + 0.55 * len(variants))
    for row, variant in enumerate(variants):
        spread = np.linspace(-0.16, 0.16, len(variant["accuracies"])) if len(variant["accuracies"]) > 1 else [0.0]
        for offset, accuracy in zip(spread, variant["accuracies"], strict=True):
            axes.plot(100 * accuracy, row + offset, "o", color=variant["colour"], markersize=5, alpha=0.6, gid="seed")
        if variant["interval"]:
            axes.plot([100 * limit for limit in variant["interval"]], [row, row], color=GREY, linewidth=1.6)
        axes.plot(100 * variant["mean"], row, "|", color=GREY, markersize=14, markeredgewidth=2)
    _rows(axes, [variant["name"] for variant in variants])
    axes.set_xlabel("test accuracy (%): points are seeds, bars are means with 95 % intervals over seeds")
    return figure


def forest(comparisons: Sequence[Mapping[str, Any]]) -> Figure:
    """Differences with both intervals, in percentage points.

    Each: `title`, `verdict`, `colour`, and in fractions `difference`, `interval_seeds`, `interval` (pairs or None).
    """
    figure, (axes,) = _panels(1, 1, width=7.4, height=0.9 + 0.6 * len(comparisons))
    axes.axvline(0, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
    for row, comparison in enumerate(comparisons):
        for key, width in (("interval", 1.2), ("interval_seeds", 4.0)):
            if comparison[key]:
                ends = [100 * limit for limit in comparison[key]]
                axes.plot(ends, [row, row], color=comparison["colour"], linewidth=width, solid_capstyle="butt")
        axes.plot(100 * comparison["difference"], row, "o", color=comparison["colour"], markersize=7)
        axes.annotate(comparison["verdict"], (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    _rows(axes, [comparison["title"] for comparison in comparisons])
    axes.set_xlabel(
        "difference of test accuracy (percentage points): thick over seeds, thin over seeds and images, 95 %"
    )
    return figure


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def _thin_and_thick(axes: Axes, lines: list[list[tuple[int, float]]], style: Mapping[str, Any]) -> None:
    """Each seed's line thin, their mean thick, with marks where a line of one epoch would not show."""
    if not lines:
        return
    mark = {"marker": "o", "markersize": 3} if len(lines[0]) == 1 else {}
    for line in lines:
        axes.plot(*zip(*line, strict=True), **{**style, **SEED, **mark, "label": None})
    epochs = [epoch for epoch, _ in lines[0]]
    axes.plot(epochs, np.mean([[value for _, value in line] for line in lines], axis=0), **style, **MEAN, **mark)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
