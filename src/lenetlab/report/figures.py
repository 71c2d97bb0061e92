"""Every picture. Figures draw what they are given and compute nothing; SVG for the report, PNG for MLflow.

One language for all: a colour of Okabe & Ito's, which the colour-blind can tell apart, and a shape for each variant, by
its place in the study, and neither for anything else; text and axes in one ink, dark on white and light on black; no
frame, no grid.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lenetlab.evaluation.curves import Curve
from lenetlab.report import style

SEED, MEAN = {"linewidth": 0.6, "alpha": 0.45}, {"linewidth": 2.0}

KINDS = {"train": "training (running)", "validation": "validation", "test": "test"}

MOST_SHADE = 0.37  # opacity of the commonest mistake: ink has 4.5 to 1 on it, on white and on the dark page


@mpl.rc_context(style.STYLE)
def learning(found: Mapping[str, Curve], colour: str = style.INK) -> Figure:
    """Loss and accuracy per epoch of one variant, all seeds thin and their mean thick."""
    figure, (loss, accuracy) = _panels(1, 2, width=8.0, height=3.1)
    styles = {
        "train": {"color": style.INK, "linestyle": (0, (5, 2))},
        "validation": {"color": colour, "linestyle": (0, (1, 1.5))},
        "test": {"color": colour},
    }
    for axes, measure, scale in ((loss, "loss", 1.0), (accuracy, "accuracy", 100.0)):
        for kind, name in KINDS.items():
            if curve := found.get(f"{kind}_{measure}"):
                _thin_and_thick(axes, curve, scale, {**styles[kind], "label": name, "gid": f"{kind}-{measure}"})
        epochs = found[f"test_{measure}"].epochs
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, epochs[-1] + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
    loss.set_ylabel("mean cross-entropy (nats)")
    accuracy.set_ylabel("accuracy (%)")
    loss.set_ylim(bottom=0)
    accuracy.legend(loc="lower right")
    return figure


@mpl.rc_context(style.STYLE)
def confusion(counts: np.ndarray, colour: str = style.INK) -> Figure:
    """Counts (10, 10), a row per label. The correct ones are so many that only mistakes are shaded."""
    figure, (axes,) = _panels(1, 1, width=4.8, height=4.5)
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    shade = np.empty((*counts.shape, 4))
    shade[..., :3] = to_rgb(colour)
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


@mpl.rc_context(style.STYLE)
def digits(images: Sequence[np.ndarray], above: Sequence[str], below: Sequence[str]) -> Figure:
    """Images (28, 28) with a line of text above and below each."""
    figure, axes, places = _sheet(np.stack(images), 8, (0, 255), width=8.0, above=0.36, below=0.28)
    for (middle, top, bottom), over, under in zip(places, above, below, strict=True):
        axes.text(middle, top, over, ha="center", va="bottom", fontsize=9)
        axes.text(middle, bottom, under, ha="center", va="top", fontsize=8)
    return figure


@mpl.rc_context(style.STYLE)
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


@mpl.rc_context(style.STYLE)
def points(variants: Sequence[Mapping[str, Any]]) -> Figure:
    """Test accuracy of every seed as a point, and each variant's mean with its interval.

    Each variant: `name`, `mark`, `accuracies` (fractions), `mean`, `interval` (a pair or None).
    """
    figure, axes = _rows([variant["name"] for variant in variants], "test accuracy (%)")
    for row, variant in enumerate(variants):
        seeds = variant["accuracies"]
        spread = np.linspace(-0.14, 0.14, len(seeds)) if len(seeds) > 1 else [0.0]
        for place, (offset, accuracy) in enumerate(zip(spread, seeds, strict=True)):
            look = {"markersize": 6, "alpha": 0.7, "markeredgewidth": 0, "gid": f"seed-{row}-{place}"}
            axes.plot(100 * accuracy, row + offset, variant["mark"].shape, color=variant["mark"].colour, **look)
        if variant["interval"]:
            axes.plot([100 * limit for limit in variant["interval"]], [row, row], color=style.INK, linewidth=1.4)
        axes.plot(100 * variant["mean"], row, "|", color=style.INK, markersize=15, markeredgewidth=2)
    return figure


@mpl.rc_context(style.STYLE)
def forest(comparisons: Sequence[Mapping[str, Any]]) -> Figure:
    """Differences with both intervals, in percentage points; what is said of each stands above it.

    Each comparison: `title`, `mark`, `difference`, `interval_seeds`, `interval` (fractions; or None).
    """
    titles = [comparison["title"] for comparison in comparisons]
    figure, axes = _rows(titles, "difference of test accuracy (percentage points)")
    for row, comparison in enumerate(comparisons):
        mark = comparison["mark"]
        axes.plot([0, 0], [row - 0.2, row + 0.4], color=style.INK, linewidth=1, linestyle=(0, (2, 2)))
        for key, width in (("interval", 1.2), ("interval_seeds", 4.5)):
            if comparison[key]:
                ends = [100 * limit for limit in comparison[key]]
                line = {"linewidth": width, "solid_capstyle": "butt", "gid": f"{key}-{row}"}
                axes.plot(ends, [row, row], color=mark.colour, **line)
        axes.plot(100 * comparison["difference"], row, mark.shape, color=mark.colour, markersize=7)
    return figure


@mpl.rc_context(style.STYLE)
def reliability(variants: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy of the answers that were given with a like confidence, a panel for each variant.

    Each variant: `name`, `mark`, `bins` (records with confidence, accuracy, interval). On the dashes, confidence is
    right.
    """
    columns = min(3, len(variants))
    height = 2.6 * -(-len(variants) // columns) + 0.3
    figure, panels = _panels(-(-len(variants) // columns), columns, width=2.65 * columns, height=height)
    for number, (axes, variant) in enumerate(zip(panels, variants, strict=False)):
        axes.plot([0, 100], [0, 100], color=style.INK, linewidth=1, linestyle=(0, (2, 2)))
        look = {"color": variant["mark"].colour}
        for place, found in enumerate(variant["bins"]):
            at, ends = 100 * found.confidence, [100 * limit for limit in found.interval]
            axes.plot([at, at], ends, **look, linewidth=1.2, gid=f"bin-{number}-{place}")
            axes.plot(at, 100 * found.accuracy, variant["mark"].shape, **look, markersize=5)
        axes.set(title=variant["name"], xlim=(0, 103), ylim=(-3, 103), xlabel="confidence (%)", ylabel="accuracy (%)")
        axes.set(xticks=range(0, 101, 25), yticks=range(0, 101, 25))
    for axes in panels[len(variants) :]:
        axes.remove()
    return figure


@mpl.rc_context(style.STYLE)
def pareto(variants: Sequence[Mapping[str, Any]], label: str, front: Sequence[tuple[float, float]]) -> Figure:
    """Test accuracy against a cost on a logarithmic axis; a line joins the variants that none beats in both.

    Each variant: `name`, `number`, `mark`, `accuracy` and `interval` (fractions), `cost` and `cost_interval`; intervals
    or None.
    """
    figure, (axes,) = _panels(1, 1, width=5.4, height=3.6)
    axes.set_xscale("log")
    axes.plot(*_percent_up(front), color=style.INK, linewidth=1, linestyle=(0, (2, 2)), gid="front")
    for place, variant in enumerate(variants):
        colour, shape = variant["mark"].colour, variant["mark"].shape
        at, height = variant["cost"], 100 * variant["accuracy"]
        if variant["interval"]:
            axes.plot([at, at], [100 * limit for limit in variant["interval"]], color=colour, linewidth=1.2)
        if variant["cost_interval"]:
            axes.plot(variant["cost_interval"], [height, height], color=colour, linewidth=1.2)
        sign = {"color": colour, "markersize": 7, "linestyle": "", "label": variant["name"], "gid": f"cost-{place}"}
        axes.plot(at, height, marker=shape, **sign)
        if len(variants) > style.FEW:
            axes.annotate(str(variant["number"]), (at, height), (6, 3), textcoords="offset points", fontsize=8.5)
    if len(variants) <= style.FEW:
        axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(_plain)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=label, ylabel="test accuracy (%)")
    axes.margins(0.1)
    return figure


@mpl.rc_context(style.STYLE)
def sensitivity(settings: Sequence[Mapping[str, Any]], centre: float | None, mark: style.Mark) -> Figure:
    """Validation accuracy against one setting at a time, a panel each, with intervals; dashes: nothing is changed.

    Each setting: `label`, `logarithmic`, `points` (records with position, text, mean, interval, diverged). What is far
    below is drawn as an arrow at the foot of its panel, with its figure; seeds that diverged as a cross, with their
    number.
    """
    figure, panels = _panels(-(-len(settings) // 2), 2, width=8.0, height=2.6 * -(-len(settings) // 2) + 0.2)
    for axes, setting in zip(panels, settings, strict=False):
        points, low = setting["points"], 100 * setting["floor"]
        if centre is not None:
            axes.axhline(100 * centre, color=style.INK, linewidth=1, linestyle=(0, (2, 2)))
        if setting["logarithmic"]:
            axes.set_xscale("log")
        known = [point for point in points if point.mean is not None]
        seen = [point for point in known if 100 * point.mean >= low]
        axes.plot(*_percent_up([(point.position, point.mean) for point in seen]), color=mark.colour, linewidth=1)
        for place, point in enumerate(seen):
            ends = [max(low, 100 * limit) for limit in point.interval or (point.mean, point.mean)]
            line = {"color": mark.colour, "linewidth": 1.4, "gid": f"{setting['name']}-{place}"}
            axes.plot([point.position] * 2, ends, **line)
            axes.plot(point.position, 100 * point.mean, mark.shape, color=mark.colour, markersize=6)
        for point in known:
            if point not in seen:
                axes.plot(point.position, low, "v", color=mark.colour, markersize=7, clip_on=False)
                text = f" {100 * point.mean:.1f}"
                axes.annotate(text, (point.position, low), (3, 4), textcoords="offset points", fontsize=8)
        for place, point in enumerate(points):
            if point.diverged:  # at the top, where no arrow stands; its place says nothing of accuracy
                at = {"transform": axes.get_xaxis_transform(), "gid": f"{setting['name']}-diverged-{place}"}
                axes.plot(point.position, 1, "x", color=style.INK, markersize=6, clip_on=False, **at)
                over = {"xycoords": at["transform"], "textcoords": "offset points", "fontsize": 8}
                axes.annotate(str(point.diverged), (point.position, 1), (6, 0), va="center", **over)
        axes.set_xticks([point.position for point in points], [point.text for point in points])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=setting["label"], ylabel="validation accuracy (%)")
        axes.margins(x=0.12, y=0.1)
    for axes in panels[len(settings) :]:
        axes.remove()
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


def _thin_and_thick(axes: Axes, curve: Curve, scale: float, style: Mapping[str, Any]) -> None:
    """Each seed's line thin, their mean thick, with marks where a line of one epoch would not show."""
    mark = {"marker": "o", "markersize": 3} if len(curve.epochs) == 1 else {}
    for place, values in enumerate(curve.seeds.values()):
        own = {"label": None, "gid": f"{style['gid']}-{place}"}
        axes.plot(curve.epochs, [scale * value for value in values], **{**style, **SEED, **mark, **own})
    axes.plot(curve.epochs, [scale * value for value in curve.mean], **style, **MEAN, **mark)


def _percent_up(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [100 * y for _, y in points]


def _plain(value: float, _: int) -> str:
    """A tick's number without an exponent."""
    return f"{value:,.10g}"


def _rows(titles: Sequence[str], label: str) -> tuple[Figure, Axes]:
    """A panel with a row for each title, which stands above it so that the figure stays narrow enough for a phone."""
    figure, (axes,) = _panels(1, 1, width=5.4, height=0.6 + 0.66 * len(titles))
    for row, title in enumerate(titles):
        axes.text(0, row - 0.3, title, transform=axes.get_yaxis_transform(), va="bottom")
    axes.set(ylim=(len(titles) - 0.6, -0.75), yticks=[], xlabel=label)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    return figure, axes
