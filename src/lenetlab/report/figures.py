"""All figures except the network diagrams. They draw what they are given and compute no results; see `style`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from lenetlab.evaluation.curves import Curve
from lenetlab.report import style

SEED_LINE: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.45}
MEAN_LINE: dict[str, Any] = {"linewidth": 2.0}
DASHES = (0, (2, 2))

CURVE_KINDS = {"train": "training (running)", "validation": "validation", "test": "test"}

MAX_SHADE = 0.37  # opacity of the most frequent mistake: text has a contrast of 4.5:1 on it, in light and dark mode

NUMBERED_CLASSES = 50  # the most whose counts are written into a confusion matrix
CELL, AXIS_NAME = 0.3, 18  # inches of a class in a confusion matrix with many; characters of a name beside it

LINE = 14  # characters that fit above an image in 8 columns
MAX_SHOWN_SIDE, SHEET_HEIGHT = 128, 9.0  # pixels of an image in a sheet; inches of a sheet of samples
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class SeedRow:
    """A variant in `seed_accuracies`; accuracies are fractions."""

    name: str
    mark: style.Mark
    accuracies: Sequence[float]  # a value per seed
    mean: float
    interval: Interval


@dataclass(frozen=True)
class ForestRow:
    """A comparison in `forest`; differences of accuracy are fractions."""

    title: str
    mark: style.Mark
    difference: float
    interval_seeds: Interval
    interval: Interval  # over seeds and images


@dataclass(frozen=True)
class ReliabilityPanel:
    """A variant in `reliability`; a (confidence, accuracy, interval) per bin, fractions."""

    name: str
    mark: style.Mark
    bins: Sequence[tuple[float, float, tuple[float, float]]]


@dataclass(frozen=True)
class CostPoint:
    """A variant in `pareto`; accuracies are fractions."""

    name: str
    number: int  # in the table of costs
    mark: style.Mark
    accuracy: float
    interval: Interval
    cost: float
    cost_interval: Interval


@dataclass(frozen=True)
class SensitivityPoint:
    """A value of a setting in `sensitivity`; accuracies are fractions."""

    position: float
    label: str
    accuracy: float | None  # None if every seed diverged
    interval: Interval
    diverged: int  # number of seeds


@dataclass(frozen=True)
class SensitivityPanel:
    """A setting in `sensitivity`."""

    name: str
    axis_label: str
    logarithmic: bool
    floor: float  # lower end of the accuracy axis
    points: Sequence[SensitivityPoint]


@mpl.rc_context(style.RC_PARAMS)
def learning_curves(curves: Mapping[str, Curve], colour: str = style.INK) -> Figure:
    """Loss and accuracy per epoch of one variant, from curves by measure: thin lines for seeds, thick for the mean."""
    figure, (loss, accuracy) = _panels(1, 2, width=8.0, height=3.1)
    styles: dict[str, dict[str, Any]] = {
        "train": {"color": style.INK, "linestyle": (0, (5, 2))},
        "validation": {"color": colour, "linestyle": (0, (1, 1.5))},
        "test": {"color": colour},
    }
    for axes, measure, scale in ((loss, "loss", 1.0), (accuracy, "accuracy", 100.0)):
        for kind, name in CURVE_KINDS.items():
            if curve := curves.get(f"{kind}_{measure}"):
                _curve(axes, curve, scale, f"{kind}-{measure}", {**styles[kind], "label": name})
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, curves[f"test_{measure}"].epochs[-1] + 0.5)
        axes.locator_params(axis="x", integer=True)
    loss.set_ylabel("mean cross-entropy (nats)")
    accuracy.set_ylabel("accuracy (%)")
    loss.set_ylim(bottom=0)
    accuracy.legend(loc="lower right")
    return figure


@mpl.rc_context(style.RC_PARAMS)
def confusion(counts: np.ndarray, names: Sequence[str], colour: str = style.INK) -> Figure:
    """Confusion matrix (K, K) with K names; rows are labels. Only mistakes are shaded: correct counts are far larger.

    More than NUMBERED_CLASSES have no numbers, as they would be too small to read, and not every name.
    """
    classes, shown = len(counts), [style.shortened(name, AXIS_NAME) for name in names]
    numbered, longest = classes <= NUMBERED_CLASSES, max(map(len, shown))
    inner = max(3.9, min(CELL * classes, 10.0 if numbered else 8.0))
    side = inner + 0.6 + 0.07 * (longest - 1)
    figure, (axes,) = _panels(1, 1, width=side + 0.3, height=side)
    mistakes = np.where(np.eye(classes, dtype=bool), 0, counts)
    shade = np.empty((*counts.shape, 4))
    shade[..., :3] = to_rgb(colour)
    shade[..., 3] = (MAX_SHADE if numbered else 1) * mistakes / max(1, mistakes.max())
    axes.imshow(shade)
    if numbered:
        _confusion_counts(axes, counts, 72 * inner / classes)
    ticks = range(0, classes, -(-classes // NUMBERED_CLASSES))
    axes.set(xlabel="predicted class", ylabel="label", xticks=ticks, yticks=ticks)
    wide = 0.09 * longest > inner / classes
    small: dict[str, Any] = {"fontsize": 8} if wide or classes > 10 else {}
    axes.set_xticklabels([shown[tick] for tick in ticks], rotation=90 if wide else 0, **small)
    axes.set_yticklabels([shown[tick] for tick in ticks], **small)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@mpl.rc_context(style.RC_PARAMS)
def image_sheet(images: Sequence[np.ndarray], above: Sequence[str], below: Sequence[str]) -> Figure:
    """Images (H, W) or (H, W, 3) of bytes with texts; long ones above an image are broken and shortened."""
    fits = max(map(len, above)) <= LINE
    lines = above if fits else [style.in_two_lines(text) for text in above]
    room, columns = 0.46 if "\n" in "".join(lines) else 0.36, 8 if fits else 6
    figure, axes, places = _image_sheet(np.stack(images), columns, (0, 255), width=8.0, above=room, below=0.28)
    for (centre, top, bottom), text_above, text_below in zip(places, lines, below, strict=True):
        axes.text(centre, top, text_above, ha="center", va="bottom", fontsize=9 if fits else 8)
        axes.text(centre, bottom, text_below, ha="center", va="top", fontsize=8)
    return figure


@mpl.rc_context(style.RC_PARAMS)
def sample_sheet(images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Figure:
    """What the loader yields: images (K, C, H, W) with their labels (K), the names of classes, and range of values.

    Shows the first that fit a page. They are equally many of each class if `images` goes round the classes.
    """
    low, high = float(images.min()), float(images.max())
    size = " × ".join(map(str, images.shape[2:])) + (" in colour" if images.shape[1] == 3 else "")
    fitting = 10 if max(map(len, names)) <= 9 else 6
    columns = fitting // len(names) * len(names) or fitting
    count = columns * max(1, int(SHEET_HEIGHT / (1.18 * 7.5 / columns)))
    shown = images[: min(count, len(images) // len(names) * len(names), count // len(names) * len(names) or count)]
    figure, axes, places = _image_sheet(_displayed(shown), columns, (low, high), 7.5, above=0.29, title_height=0.3)
    for (centre, top, _), label in zip(places, labels, strict=False):
        axes.text(centre, top, style.shortened(names[label], 100 // columns), ha="center", va="bottom", fontsize=8)
    title = f"{len(shown)} training images as the loader yields them: {size}, from {low:.2f} to {high:.2f}"
    figure.suptitle(title, fontsize=9, y=0.993)
    return figure


@mpl.rc_context(style.RC_PARAMS)
def seed_accuracies(rows: Sequence[SeedRow]) -> Figure:
    """Test accuracy of every seed as a point, and the mean of each variant with its interval."""
    figure, axes = _titled_rows([row.name for row in rows], "test accuracy (%)")
    for height, row in enumerate(rows):
        seeds = len(row.accuracies)
        offsets = np.linspace(-0.14, 0.14, seeds) if seeds > 1 else np.zeros(1)
        for place, (offset, accuracy) in enumerate(zip(offsets, row.accuracies, strict=True)):
            look: dict[str, Any] = {"color": row.mark.colour, "markersize": 6, "alpha": 0.7, "markeredgewidth": 0}
            axes.plot(100 * accuracy, height + offset, row.mark.marker, **look, gid=f"seed-{height}-{place}")
        if row.interval:
            axes.plot(_percent(row.interval), [height, height], color=style.INK, linewidth=1.4)
        axes.plot(100 * row.mean, height, "|", color=style.INK, markersize=15, markeredgewidth=2)
    return figure


@mpl.rc_context(style.RC_PARAMS)
def forest(rows: Sequence[ForestRow]) -> Figure:
    """Differences with both intervals, in percentage points, below their titles."""
    figure, axes = _titled_rows([row.title for row in rows], "difference of test accuracy (percentage points)")
    for height, row in enumerate(rows):
        axes.plot([0, 0], [height - 0.2, height + 0.4], color=style.INK, linewidth=1, linestyle=DASHES)
        for name, interval, width in (("interval", row.interval, 1.2), ("interval_seeds", row.interval_seeds, 4.5)):
            if interval:
                look: dict[str, Any] = {"linewidth": width, "solid_capstyle": "butt", "gid": f"{name}-{height}"}
                axes.plot(_percent(interval), [height, height], color=row.mark.colour, **look)
        axes.plot(100 * row.difference, height, row.mark.marker, color=row.mark.colour, markersize=7)
    return figure


@mpl.rc_context(style.RC_PARAMS)
def reliability(panels: Sequence[ReliabilityPanel]) -> Figure:
    """Reliability diagrams: accuracy against confidence per bin, a panel per variant. Calibrated: on the dashes."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, all_axes = _panels(rows, columns, width=2.65 * columns, height=2.6 * rows + 0.3)
    for number, (axes, panel) in enumerate(zip(all_axes, panels, strict=False)):
        axes.plot([0, 100], [0, 100], color=style.INK, linewidth=1, linestyle=DASHES)
        colour = panel.mark.colour
        for place, (confidence, accuracy, interval) in enumerate(panel.bins):
            x = 100 * confidence
            axes.plot([x, x], _percent(interval), color=colour, linewidth=1.2, gid=f"bin-{number}-{place}")
            axes.plot(x, 100 * accuracy, panel.mark.marker, color=colour, markersize=5)
        axes.set(title=panel.name, xlim=(0, 103), ylim=(-3, 103), xlabel="confidence (%)", ylabel="accuracy (%)")
        axes.set(xticks=range(0, 101, 25), yticks=range(0, 101, 25))
    for axes in all_axes[len(panels) :]:
        axes.remove()
    return figure


@mpl.rc_context(style.RC_PARAMS)
def pareto(points: Sequence[CostPoint], cost_label: str, front: Sequence[tuple[float, float]]) -> Figure:
    """Test accuracy against a cost on a logarithmic axis, with intervals; a line through the front (cost, accuracy)."""
    figure, (axes,) = _panels(1, 1, width=5.4, height=3.6)
    axes.set_xscale("log")
    line = [cost for cost, _ in front], _percent([accuracy for _, accuracy in front])
    axes.plot(*line, color=style.INK, linewidth=1, linestyle=DASHES, gid="front")
    for place, point in enumerate(points):
        colour, x, y = point.mark.colour, point.cost, 100 * point.accuracy
        if point.interval:
            axes.plot([x, x], _percent(point.interval), color=colour, linewidth=1.2)
        if point.cost_interval:
            axes.plot(point.cost_interval, [y, y], color=colour, linewidth=1.2)
        look: dict[str, Any] = {"marker": point.mark.marker, "color": colour, "markersize": 7, "linestyle": ""}
        axes.plot(x, y, **look, label=point.name, gid=f"cost-{place}")
        if len(points) > style.LEGEND_VARIANTS:
            axes.annotate(str(point.number), (x, y), (6, 3), textcoords="offset points", fontsize=8.5)
    if len(points) <= style.LEGEND_VARIANTS:
        axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")  # without an exponent
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=cost_label, ylabel="test accuracy (%)")
    axes.margins(0.1)
    return figure


@mpl.rc_context(style.RC_PARAMS)
def sensitivity(panels: Sequence[SensitivityPanel], unchanged: float | None, mark: style.Mark) -> Figure:
    """Validation accuracy against one setting at a time, a panel per setting; dashes: accuracy with nothing changed.

    A point below the floor is an arrow at the bottom with its accuracy as text. Diverged seeds are a cross at the top
    with their number.
    """
    rows = -(-len(panels) // 2)
    figure, all_axes = _panels(rows, 2, width=8.0, height=2.6 * rows + 0.2)
    for axes, panel in zip(all_axes, panels, strict=False):
        if unchanged is not None:
            axes.axhline(100 * unchanged, color=style.INK, linewidth=1, linestyle=DASHES)
        if panel.logarithmic:
            axes.set_xscale("log")
        _sensitivity_points(axes, panel, mark)
        axes.set_xticks([point.position for point in panel.points], [point.label for point in panel.points])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=panel.axis_label, ylabel="validation accuracy (%)")
        axes.margins(x=0.12, y=0.1)
    for axes in all_axes[len(panels) :]:
        axes.remove()
    return figure


def _sensitivity_points(axes: Axes, panel: SensitivityPanel, mark: style.Mark) -> None:
    floor = 100 * panel.floor
    known = [(point, 100 * point.accuracy) for point in panel.points if point.accuracy is not None]
    to_scale = [(point, accuracy) for point, accuracy in known if accuracy >= floor]
    line = [point.position for point, _ in to_scale], [accuracy for _, accuracy in to_scale]
    axes.plot(*line, color=mark.colour, linewidth=1)
    for place, (point, accuracy) in enumerate(to_scale):
        limits = _percent(point.interval) if point.interval else [accuracy, accuracy]
        look: dict[str, Any] = {"color": mark.colour, "linewidth": 1.4, "gid": f"{panel.name}-{place}"}
        axes.plot([point.position] * 2, [max(floor, limit) for limit in limits], **look)
        axes.plot(point.position, accuracy, mark.marker, color=mark.colour, markersize=6)
    for point, accuracy in known:
        if accuracy < floor:
            axes.plot(point.position, floor, "v", color=mark.colour, markersize=7, clip_on=False)
            at = (point.position, floor)
            axes.annotate(f" {accuracy:.1f}", at, (3, 4), textcoords="offset points", fontsize=8)
    top = axes.get_xaxis_transform()  # y from 0 to 1: crosses are above all points and arrows
    for place, point in enumerate(panel.points):
        if point.diverged:
            look = {"markersize": 6, "clip_on": False, "gid": f"{panel.name}-diverged-{place}"}
            axes.plot(point.position, 1, "x", color=style.INK, transform=top, **look)
            text: dict[str, Any] = {"xycoords": top, "textcoords": "offset points", "fontsize": 8, "va": "center"}
            axes.annotate(str(point.diverged), (point.position, 1), (6, 0), **text)


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with this size in inches, and its axes row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def _titled_rows(titles: Sequence[str], x_label: str) -> tuple[Figure, Axes]:
    """Axes with a row at y = 0, 1, … for each title. Titles stand above the rows, so the figure fits on a phone."""
    figure, (axes,) = _panels(1, 1, width=5.4, height=0.6 + 0.66 * len(titles))
    for row, title in enumerate(titles):
        axes.text(0, row - 0.3, title, transform=axes.get_yaxis_transform(), va="bottom")
    axes.set(ylim=(len(titles) - 0.6, -0.75), yticks=[], xlabel=x_label)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    return figure, axes


def _confusion_counts(axes: Axes, counts: np.ndarray, cell: float) -> None:
    """A number in every cell, whose side is `cell` points."""
    size = min(7.5, 0.9 * cell / (0.62 * len(str(counts.max()))))
    for label, row in enumerate(counts):
        for predicted, count in enumerate(row):
            weight = "bold" if label == predicted else "normal"
            text = f"{count}" if count else "·"
            axes.text(predicted, label, text, ha="center", va="center", fontsize=size, fontweight=weight)


def _displayed(images: np.ndarray) -> np.ndarray:
    """(K, C, H, W) as `_image_sheet` takes them: (K, H, W), or (K, H, W, 3) of bytes with each channel's full range."""
    if images.shape[1] == 1:
        return images[:, 0]
    low, high = (limit(images, axis=(0, 2, 3), keepdims=True) for limit in (np.min, np.max))
    shown: np.ndarray = (255 * (images - low) / np.maximum(high - low, 1e-12)).round().astype(np.uint8)
    return shown.transpose(0, 2, 3, 1)


def _image_sheet(
    images: np.ndarray,
    columns: int,
    limits: tuple[float, float],
    width: float,
    above: float,
    below: float = 0.0,
    title_height: float = 0.0,
) -> tuple[Figure, Axes, list[tuple[float, float, float]]]:
    """Images (K, H, W) or (K, H, W, 3) in rows; for each the x of its centre and the y of the texts above and below.

    All are one image in one axes whose unit is the pixel: an axes for each would take twenty times as long. `above` and
    `below` are the room for texts, as parts of an image's height; `title_height` is in inches. Grey images on black are
    shown dark on white. Large images are shown with fewer pixels.
    """
    step = -(-images.shape[1] // MAX_SHOWN_SIDE)
    images = images[:, step // 2 :: step, step // 2 :: step]
    if images.ndim == 4:  # opaque, unlike the places between them
        images = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=3)
    rows = max(1, -(-len(images) // columns))
    height, side, *channels = images.shape[1:]
    gap, above, below = max(1, side // 7), round(above * height), round(below * height)
    shape = (rows * columns, above + height + below, side + gap, *channels)
    cells = np.ma.array(np.zeros(shape, images.dtype), mask=not channels)  # masked pixels stay transparent
    cells[: len(images), above : above + height, gap // 2 : gap // 2 + side] = images
    _, cell_height, cell_width, *_ = shape
    grid = cells.reshape(rows, columns, *shape[1:]).swapaxes(1, 2)
    sheet = grid.reshape(rows * cell_height, columns * cell_width, *channels)
    inches = width * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(width, inches + title_height))
    axes = figure.add_axes((0, 0, 1, inches / (inches + title_height)))
    axes.axis("off")
    extent, (low, high) = (0, sheet.shape[1], sheet.shape[0], 0), limits
    grey = "gray_r" if np.median(images) <= low else "gray"
    axes.imshow(sheet, cmap=grey, vmin=low, vmax=high, interpolation="none", extent=extent, aspect="auto")
    corners = [
        (number % columns * cell_width + gap // 2, number // columns * cell_height + above)
        for number in range(len(images))
    ]
    distance = height / 28  # between an image and its texts
    return figure, axes, [(x + side / 2, y - distance, y + height + distance) for x, y in corners]


def _curve(axes: Axes, curve: Curve, scale: float, gid: str, look: Mapping[str, Any]) -> None:
    """A thin line per seed and a thick one for the mean, with markers if there are gaps or one epoch.

    A line needs two points.
    """
    gaps = any(math.isnan(value) for values in curve.seeds.values() for value in values)
    marker: dict[str, Any] = {"marker": "o", "markersize": 3} if gaps or len(curve.epochs) == 1 else {}
    for place, values in enumerate(curve.seeds.values()):
        thin = {**look, **SEED_LINE, **marker, "label": None, "gid": f"{gid}-{place}"}
        axes.plot(curve.epochs, [scale * value for value in values], **thin)
    axes.plot(curve.epochs, [scale * value for value in curve.mean], **look, **MEAN_LINE, **marker, gid=gid)


def _percent(fractions: Sequence[float]) -> list[float]:
    return [100 * fraction for fraction in fractions]
