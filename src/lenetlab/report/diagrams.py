"""A network as a figure in space, drawn after LeCun, Bottou, Bengio & Haffner 1998, fig. 2. Its unit is the inch.

Maps are squares, to scale, set back behind one another; vectors of units are bars that lead as far back. What stands
behind is cut off where it is hidden: nothing is painted over, so that the figure lies on any ground.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Polygon
from matplotlib.textpath import text_to_path

from lenetlab.report.style import INK, STYLE

WIDTH, MARGIN, PAD = 10.0, 0.12, 0.12  # of the figure, beside its stages, between its texts
MIDDLE, BELOW, HEAD = 1.87, 0.54, 0.5  # heights of the stages' middle and of what is below, room for labels
GAPS = np.arange(1.2, 0.25, -0.01)  # between stages, from roomy to as narrow as lines can be told apart
PIXEL, BAR = 0.043, 0.1  # side of a pixel of any map; thickness of a vector
DEPTH = 0.17  # added by each doubling of maps or units, so that both 10 and 1024 are seen
BACK = np.array([-0.6, 0.8])  # away from the viewer: to the left, so that a front is free towards its next stage
MOST_PLANES, ELLIPSIS = 64, 0.2  # maps that are drawn; inches of the dots that stand for the others
CELL = 0.045  # units nearer to one another than this are not told apart
LABEL, CONNECTION, NOTE = 9, 8.5, 7.5  # font sizes
UNIT_SQUARE = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
CONNECTIONS = {
    "Conv2d": "Convolutions",
    "PartialConv2d": "Partly connected\nconvolutions",
    "MaxPool2d": "Max-pooling",
    "AvgPool2d": "Average\npooling",
    "Subsampling": "Subsampling",
    "Flatten": "Flattening",
    "Linear": "Full\nconnection",
    "Codes": "Gaussian\nconnections",
}
NOTES = {
    "BatchNorm1d": "batch norm",
    "BatchNorm2d": "batch norm",
    "ReLU": "ReLU",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "ScaledTanh": "scaled tanh",
    "Dropout": "dropout",
}


@dataclass(frozen=True)
class Stage:
    """Maps or units that stand together in the figure, and how they come from the stage before."""

    name: str
    count: int  # maps or units
    side: int  # of each map in pixels; 0: a vector of units
    field: int = 0  # side of what a unit reads in a map before; 0: it reads everything
    connection: str = ""
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """As in the paper; the pixels of an image are no maps."""
        name = self.name.replace("flatten", "pixels").replace("hidden", "hidden ").upper()
        if not self.side:
            return f"{name}: layer\n{self.count}" if len(name) == 2 else f"{name}\n{self.count}"
        shape = f"{self.side}×{self.side}"
        return f"{name}\n{shape}" if self.name == "input" else f"{name}: feature maps\n{self.count}@{shape}"

    @property
    def planes(self) -> int:
        return min(self.count, MOST_PLANES)

    @property
    def breadth(self) -> float:
        return PIXEL * self.side if self.side else BAR

    @property
    def back(self) -> np.ndarray:
        """From the front to the back. Planes overlap at least by half, or a few small ones would fall apart."""
        if not self.side:
            return BACK * DEPTH * np.log2(1 + self.count)
        return BACK * min(DEPTH * np.log2(1 + self.planes), (self.planes - 1) * self.breadth / 2)

    @property
    def size(self) -> np.ndarray:
        """Width and height."""
        return np.abs(self.back) + self.breadth

    @property
    def top(self) -> float:
        return MIDDLE + self.size[1] / 2 + (ELLIPSIS if self.side and self.count > self.planes else 0)


@mpl.rc_context(STYLE)
def network(layers: Sequence[Mapping[str, Any]], size: int, colour: str) -> Figure:
    """The layers, records as `models.layer_table` makes them for images of size × size, from left to right."""
    stages = _stages(layers, size)
    rows = [_row(stages, gap) for gap in GAPS]
    lefts, needed = next((row for row in rows if row[1] <= WIDTH), rows[-1])
    width, height = max(WIDTH, needed), max(stage.top for stage in stages) + HEAD
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    fronts = []  # lower left corners of what is nearest to the viewer
    for stage, left in zip(stages, lefts + (width - needed) / 2, strict=True):
        fronts.append(np.array([left - stage.back[0], MIDDLE - stage.size[1] / 2]))
        (_maps if stage.side else _units)(axes, stage, fronts[-1], colour)
        text = {"ha": "center", "fontsize": LABEL, "gid": f"label-{stage.name}"}
        axes.text(left + stage.size[0] / 2, stage.top + 0.06, stage.label, **text)
    for at in range(1, len(stages)):
        _connection(axes, stages[at - 1 : at + 1], fronts[at - 1 : at + 1], colour)
    return figure


def _stages(layers: Sequence[Mapping[str, Any]], size: int) -> list[Stage]:
    """A stage for what has a shape of its own, with notes of what has not.

    As in the paper, maps that a layer of units reads are not drawn once more as a vector. An image is: its pixels are
    the first layer of a perceptron.
    """
    stages = [Stage("input", 1, size)]
    for layer in layers:
        kind = layer["kind"]
        if kind == "Flatten" and len(stages) > 1:
            continue
        if kind in CONNECTIONS:
            count, side, *_ = *map(int, layer["output"].split("×")), 0
            stages.append(Stage(layer["name"], count, side, _field(kind, stages[-1].side, side), CONNECTIONS[kind]))
        else:
            stages[-1] = replace(stages[-1], notes=(*stages[-1].notes, NOTES[kind]))
    return stages


def _field(kind: str, before: int, side: int) -> int:
    """Side of what a unit reads in a map of the side `before`, if there are side × side of them; 0: everything."""
    match kind:
        case "Conv2d" | "PartialConv2d":
            return before - side + 1
        case "MaxPool2d" | "AvgPool2d" | "Subsampling":
            return before // side
        case "Flatten":
            return 1
    return 0


def _row(stages: Sequence[Stage], gap: float) -> tuple[np.ndarray, float]:
    """Left edges of the stages and the width of all, with `gap` between them, or more where their texts need it."""
    over = [max(0.0, _width(stage.label, LABEL) - stage.size[0]) / 2 for stage in stages]
    lefts, text = [MARGIN + over[0]], 0.0  # text: where the one between the last two stages ends
    for at, stage in enumerate(stages[1:], start=1):
        right = lefts[-1] + stages[at - 1].size[0]
        wide = max(_width(stage.connection, CONNECTION), *(_width(note, NOTE) for note in stage.notes), 0)
        middle = text + PAD + wide / 2  # of the gap, at the earliest
        lefts.append(max(right + gap, right + over[at - 1] + PAD + over[at], 2 * middle - right))
        text = (right + lefts[-1] + wide) / 2
    return np.array(lefts), lefts[-1] + stages[-1].size[0] + over[-1] + MARGIN


@cache
def _width(text: str, size: float) -> float:
    """In inches, of the widest line."""
    font = FontProperties(size=size)
    return max(text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n")) / 72


def _maps(axes: Axes, stage: Stage, front: np.ndarray, colour: str) -> None:
    """Planes from the front to the back; of those behind, what the one before them leaves to be seen."""
    x, y = step = stage.back / max(1, stage.planes - 1)
    width = min(0.8, 18 * np.hypot(x, y)) if stage.planes > 1 else 0.8  # at most a quarter of the way to the next one
    paint = {"facecolor": to_rgba(colour, 0.2), "edgecolor": colour, "linewidth": width, "joinstyle": "round"}
    for number in range(stage.planes):
        outline = front + number * step + stage.breadth * UNIT_SQUARE
        if number:
            (left, bottom), (right, top) = outline[0], outline[2]
            outline = [*outline[:3], (right, top - y), (left - x, top - y), (left - x, bottom)]
        axes.add_patch(Polygon(outline, **paint, gid=f"map-{stage.name}-{number}"))
    if stage.count > stage.planes:
        dots = front + stage.back + (stage.breadth / 2, stage.breadth) + np.outer((1, 2, 3), BACK * ELLIPSIS / 3)
        axes.plot(*dots.T, ".", color=INK, markersize=2.5, gid=f"ellipsis-{stage.name}")


def _units(axes: Axes, stage: Stage, front: np.ndarray, colour: str) -> None:
    """A bar, of which left side, top and front are seen, with its units told apart where there is room."""
    square = front + BAR * UNIT_SQUARE
    sides = [np.concatenate([edge, edge[::-1] + stage.back]) for edge in (square[:2], square[1:3])]
    paint = {"facecolors": [to_rgba(colour, alpha) for alpha in (0.35, 0.15, 0.5)], "edgecolors": colour}
    bar = PolyCollection([*sides, square], **paint, linewidths=0.8, joinstyle="round", gid=f"units-{stage.name}")
    axes.add_collection(bar)
    if np.hypot(*stage.back) > CELL * stage.count:
        cuts = [square[:3] + stage.back * unit / stage.count for unit in range(1, stage.count)]
        axes.add_collection(LineCollection(cuts, colors=colour, linewidths=0.6, gid=f"cells-{stage.name}"))


def _connection(axes: Axes, stages: Sequence[Stage], fronts: Sequence[np.ndarray], colour: str) -> None:
    """What a unit of the second stage reads in the first, lines from both its ends to that unit, and its name below."""
    (before, stage), (start, end) = stages, fronts
    ends = start + np.array([before.back + before.breadth, (before.breadth, 0)])
    unit = end + stage.back / 2 + (0, BAR / 2)
    if stage.field:
        # As in a network without padding, a field stands where its unit stands. Convolutions have theirs in the upper
        # half, pooling in the lower one, so that the unit and the field of one stage do not meet.
        stride = (before.side - stage.field) // (stage.side - 1) if stage.side > 1 else 1
        share = np.array([0.7, 0.75 if stride == 1 else 0.25])
        place = (share * (before.side - stage.field)).astype(int) // stride
        field = start + PIXEL * (stride * place + stage.field * UNIT_SQUARE)
        paint = {"facecolor": to_rgba(colour, 0.45), "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Polygon(field, **paint, gid=f"field-{stage.name}"))
        ends = field[2:]
        # Pixels become a vector row by row, the first one at the back.
        unit = end + (PIXEL * (place + 0.5) if stage.side else stage.back * place[1] / before.side + (0, BAR / 2))
    lines = [(point, unit) for point in ends]
    axes.add_collection(LineCollection(lines, colors=INK, linewidths=0.5, alpha=0.85, gid=f"lines-{stage.name}"))
    axes.plot(*unit, "o", color=INK, markersize=2.4, markeredgewidth=0, gid=f"unit-{stage.name}")
    middle = (start[0] + before.breadth + end[0] + stage.back[0]) / 2
    axes.text(middle, BELOW, stage.connection, ha="center", fontsize=CONNECTION, gid=f"connection-{stage.name}")
    notes = {"ha": "center", "va": "top", "fontsize": NOTE, "gid": f"notes-{stage.name}"}
    axes.text(middle, BELOW - 0.06, "\n".join(stage.notes), **notes)
