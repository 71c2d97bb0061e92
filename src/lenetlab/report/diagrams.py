"""3D diagram of a network, in the style of LeCun, Bottou, Bengio & Haffner 1998, figure 2. Units are inches.

Feature maps are squares to scale, one behind the other; vectors of units are bars that run backwards. Hidden parts are
not drawn instead of being painted over, so the diagram is transparent.
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

from lenetlab.report.style import INK, RC_PARAMS

WIDTH, MARGIN, PADDING = 10.0, 0.12, 0.12  # of the figure; at its sides; between texts
MIDDLE, BELOW, HEAD = 1.87, 0.54, 0.5  # height of the stages' centres; room below for text; room above for labels
GAPS = np.arange(1.2, 0.25, -0.01)  # between stages: the widest that fits is used
PIXEL, BAR = 0.043, 0.1  # side of a pixel of any map; thickness of a vector
SCALED_SIDE = 34  # pixels of the largest image that is drawn with these; those of larger ones are smaller
DEPTH, MAX_DEPTH = 0.17, 2.6  # added by each doubling of the number of maps or units, so that 10 and 1024 both fit
BACKWARDS = np.array([-0.6, 0.8])  # direction away from the viewer, to the upper left
MAX_PLANES, ELLIPSIS = 64, 0.2  # maps that are drawn; length of the dots that stand for the others
CELL = 0.045  # the smallest distance between units at which lines separate them
LABEL_SIZE, CONNECTION_SIZE, NOTE_SIZE = 9, 8.5, 7.5  # of fonts
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
    "Dropout2d": "dropout of maps",
}


@dataclass(frozen=True)
class Stage:
    """Feature maps or a vector of units, and how they are computed from the stage before."""

    name: str
    count: int  # maps or units
    side: int  # of each map in pixels; 0 for a vector of units
    pixel: float  # side of a pixel
    field: int = 0  # side of a unit's receptive field in a map of the stage before; 0 if it reads everything
    stride: int = 1  # pixels between the fields of neighbouring units
    connection: str = ""
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and shape, as in the paper."""
        name = self.name.replace("flatten", "pixels").replace("hidden", "hidden ").upper()
        if not self.side:
            return f"{name}: layer\n{self.count}" if len(name) == 2 else f"{name}\n{self.count}"
        shape = f"{self.side}×{self.side}"
        if self.name == "input":
            return f"{name}\n{shape}" if self.count == 1 else f"{name}\n{self.count}@{shape}"
        return f"{name}: feature maps\n{self.count}@{shape}"

    @property
    def planes(self) -> int:
        """Number of maps that are drawn."""
        return min(self.count, MAX_PLANES)

    @property
    def front_size(self) -> float:
        """Side of the square in front."""
        return self.pixel * self.side if self.side else BAR

    @property
    def depth(self) -> np.ndarray:
        """Vector from the front square to the last one. Planes overlap at least by half, so they look like a stack."""
        length = min(MAX_DEPTH, DEPTH * float(np.log2(1 + (self.planes if self.side else self.count))))
        return BACKWARDS * (min(length, (self.planes - 1) * self.front_size / 2) if self.side else length)

    @property
    def size(self) -> np.ndarray:
        """Width and height."""
        size: np.ndarray = np.abs(self.depth) + self.front_size
        return size

    @property
    def top(self) -> float:
        ellipsis = ELLIPSIS if self.side and self.count > self.planes else 0.0
        return MIDDLE + float(self.size[1]) / 2 + ellipsis


@mpl.rc_context(RC_PARAMS)
def network(layers: Sequence[Mapping[str, Any]], size: int, colour: str, channels: int = 1) -> Figure:
    """Diagram of a network for images of size × size, from left to right; `layers` as from `layer_table`."""
    stages = _stages(layers, size, channels)
    left_edges, needed_width = _layout(stages)
    width, height = max(WIDTH, needed_width), max(stage.top for stage in stages) + HEAD
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    fronts = []  # lower left corners of the front squares
    for stage, left in zip(stages, left_edges + (width - needed_width) / 2, strict=True):
        fronts.append(np.array([left - stage.depth[0], MIDDLE - stage.size[1] / 2]))
        (_draw_maps if stage.side else _draw_units)(axes, stage, fronts[-1], colour)
        x, y = left + stage.size[0] / 2, stage.top + 0.06
        axes.text(x, y, stage.label, ha="center", fontsize=LABEL_SIZE, gid=f"label-{stage.name}")
    for number in range(1, len(stages)):
        before = number - 1
        _draw_connection(axes, stages[before], stages[number], fronts[before], fronts[number], colour)
    return figure


def _stages(layers: Sequence[Mapping[str, Any]], size: int, channels: int) -> list[Stage]:
    """The input and a stage for each layer that changes the shape; other layers become notes.

    As in the paper, maps are not flattened to a vector before the first layer of units. Only the input of an MLP is.
    """
    pixel = PIXEL * min(1.0, SCALED_SIDE / size)
    stages = [Stage("input", channels, size, pixel)]
    for layer in layers:
        kind = layer["kind"]
        if (kind == "Flatten" and len(stages) > 1) or not layer["output"]:
            continue
        if kind in CONNECTIONS:
            count, side, *_ = *map(int, layer["output"].split("×")), 0
            field = min(layer["field"], stages[-1].side)  # the rest of a larger one lies in the padding
            stages.append(Stage(layer["name"], count, side, pixel, field, layer["stride"], CONNECTIONS[kind]))
        else:
            stages[-1] = replace(stages[-1], notes=(*stages[-1].notes, NOTES.get(kind, kind)))
    return stages


def _layout(stages: Sequence[Stage]) -> tuple[np.ndarray, float]:
    """Left edges of the stages and the width they need, with the widest gap that fits the figure."""
    rows = [_layout_with_gap(stages, gap) for gap in GAPS]
    return next((row for row in rows if row[1] <= WIDTH), rows[-1])


def _layout_with_gap(stages: Sequence[Stage], gap: float) -> tuple[np.ndarray, float]:
    """Left edges and width with this gap, or a wider one if texts need it."""
    overhangs = [max(0.0, _text_width(stage.label, LABEL_SIZE) - stage.size[0]) / 2 for stage in stages]
    lefts, text_end = [MARGIN + overhangs[0]], 0.0  # text_end: right end of the text between the last two stages
    for number, stage in enumerate(stages[1:], start=1):
        right = lefts[-1] + stages[number - 1].size[0]
        text_width = max(
            _text_width(stage.connection, CONNECTION_SIZE), *(_text_width(note, NOTE_SIZE) for note in stage.notes), 0
        )
        earliest_middle = text_end + PADDING + text_width / 2  # of the gap
        lefts.append(
            max(right + gap, right + overhangs[number - 1] + PADDING + overhangs[number], 2 * earliest_middle - right)
        )
        text_end = (right + lefts[-1] + text_width) / 2
    return np.array(lefts), lefts[-1] + stages[-1].size[0] + overhangs[-1] + MARGIN


@cache
def _text_width(text: str, font_size: float) -> float:
    """Width of the longest line in inches."""
    font = FontProperties(size=font_size)
    return max(text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n")) / 72


def _draw_maps(axes: Axes, stage: Stage, front: np.ndarray, colour: str) -> None:
    """Planes from front to back; of those behind, only the part that the plane before leaves visible."""
    x, y = step = stage.depth / max(1, stage.planes - 1)
    line_width = min(0.8, 18 * np.hypot(x, y)) if stage.planes > 1 else 0.8  # at most a quarter of the step
    look: dict[str, Any] = {"facecolor": to_rgba(colour, 0.2), "edgecolor": colour, "linewidth": line_width}
    for number in range(stage.planes):
        outline = front + number * step + stage.front_size * UNIT_SQUARE
        if number:
            (left, bottom), (right, top) = outline[0], outline[2]
            outline = np.array([*outline[:3], (right, top - y), (left - x, top - y), (left - x, bottom)])
        axes.add_patch(Polygon(outline, **look, joinstyle="round", gid=f"map-{stage.name}-{number}"))
    if stage.count > stage.planes:
        end = front + stage.depth + (stage.front_size / 2, stage.front_size)
        dots = end + np.outer((1, 2, 3), BACKWARDS * ELLIPSIS / 3)
        axes.plot(*dots.T, ".", color=INK, markersize=2.5, gid=f"ellipsis-{stage.name}")


def _draw_units(axes: Axes, stage: Stage, front: np.ndarray, colour: str) -> None:
    """A bar with its left side, top and front; lines separate the units if there is room."""
    square = front + BAR * UNIT_SQUARE
    sides = [np.concatenate([edge, edge[::-1] + stage.depth]) for edge in (square[:2], square[1:3])]
    faces = [to_rgba(colour, opacity) for opacity in (0.35, 0.15, 0.5)]
    look: dict[str, Any] = {"facecolors": faces, "edgecolors": colour, "linewidths": 0.8, "joinstyle": "round"}
    axes.add_collection(PolyCollection([*sides, square], **look, gid=f"units-{stage.name}"))
    if np.hypot(*stage.depth) > CELL * stage.count:
        cuts = [square[:3] + stage.depth * unit / stage.count for unit in range(1, stage.count)]
        axes.add_collection(LineCollection(cuts, colors=colour, linewidths=0.6, gid=f"cells-{stage.name}"))


def _draw_connection(
    axes: Axes, before: Stage, stage: Stage, before_front: np.ndarray, front: np.ndarray, colour: str
) -> None:
    """Lines from the receptive field to one unit of `stage`, with the kind of connection and notes below."""
    line_starts = before_front + np.array([before.depth + before.front_size, (before.front_size, 0)])
    unit = front + stage.depth / 2 + (0, BAR / 2)
    if stage.field:
        # Field and unit are at the same place of their maps, as without padding. Convolutions use the upper half of the
        # map and pooling the lower one, so that the unit and the field within one stage do not overlap.
        share = np.array([0.7, 0.75 if stage.stride == 1 else 0.25])
        place = (share * (before.side - stage.field)).astype(int) // stage.stride
        field = before_front + before.pixel * (stage.stride * place + stage.field * UNIT_SQUARE)
        look: dict[str, Any] = {"facecolor": to_rgba(colour, 0.45), "edgecolor": INK, "linewidth": 0.8}
        axes.add_patch(Polygon(field, **look, gid=f"field-{stage.name}"))
        line_starts = field[2:]
        # Flattening goes row by row; the first pixel is at the back of the vector.
        in_vector = stage.depth * place[1] / before.side + (0, BAR / 2)
        unit = front + (stage.pixel * (place + 0.5) if stage.side else in_vector)
    lines = [(start, unit) for start in line_starts]
    axes.add_collection(LineCollection(lines, colors=INK, linewidths=0.5, alpha=0.85, gid=f"lines-{stage.name}"))
    axes.plot(*unit, "o", color=INK, markersize=2.4, markeredgewidth=0, gid=f"unit-{stage.name}")
    middle = (before_front[0] + before.front_size + front[0] + stage.depth[0]) / 2
    gid = f"connection-{stage.name}"
    axes.text(middle, BELOW, stage.connection, ha="center", fontsize=CONNECTION_SIZE, gid=gid)
    text: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": NOTE_SIZE, "gid": f"notes-{stage.name}"}
    axes.text(middle, BELOW - 0.06, "\n".join(stage.notes), **text)
