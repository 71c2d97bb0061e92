"""What all blocks of settings have in common; the layers of the model cnn, and the shapes that follow from them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

MAX_SIDE = 512  # pixels
MAX_WIDTH = 10_000  # units or maps of a layer
MAX_LAYERS = 100
# Dropout is drawn with 16 bits. Up to this rate, the share of units that are kept is within 0.1 % of 1 - rate, by which
# their outputs are divided.
MAX_DROPOUT = 0.99

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
DropoutRate = Annotated[float, Field(ge=0, le=MAX_DROPOUT)]
Activation = Annotated[
    Literal["relu", "tanh", "sigmoid", "scaled-tanh"], Field(description="relu, tanh, sigmoid or scaled-tanh")
]
Pixels = Annotated[int, Field(ge=1, le=MAX_SIDE, description=f"a whole number from 1 to {MAX_SIDE} (pixels)")]


class StrictModel(BaseModel):
    """A block of a file: no unknown keys, no conversion between types, no infinite number; read-only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Convolution(StrictModel):
    conv: Width = Field(description=f"a whole number from 1 to {MAX_WIDTH} (maps)")
    kernel: Pixels = 3
    stride: Pixels = 1
    padding: int = Field(default=0, ge=0, le=MAX_SIDE, description=f"a whole number from 0 to {MAX_SIDE} (pixels)")


class Norm(StrictModel):
    norm: Literal["batch"] = Field(description="batch")


class ActivationLayer(StrictModel):
    activation: Activation


class Pool(StrictModel):
    pool: Literal["max", "average"] = Field(description="max or average")
    size: Pixels = 2
    stride: Pixels | None = Field(default=None, description=f"a whole number from 1 to {MAX_SIDE}, by default size")


class Dropout(StrictModel):
    dropout: DropoutRate = Field(description=f"a number from 0 to {MAX_DROPOUT} (whole maps, or units after linear)")


class Linear(StrictModel):
    linear: Width = Field(description=f"a whole number from 1 to {MAX_WIDTH} (units)")


KINDS = {
    "conv": Convolution,
    "norm": Norm,
    "activation": ActivationLayer,
    "pool": Pool,
    "dropout": Dropout,
    "linear": Linear,
}
MAIN_KEYS = f"one of the keys {', '.join(KINDS)}"


def kind_of(layer: Any) -> str | None:
    """The key that says what a layer is; of a block in params.yaml or of its settings. None if it has none."""
    keys = layer if isinstance(layer, dict) else type(layer).model_fields if isinstance(layer, StrictModel) else ()
    return next((key for key in KINDS if key in keys), None)


def branches(models: Mapping[str, type[StrictModel]]) -> JsonDict:
    """For a union whose branches a function chooses: where the error messages find the keys of each."""
    return {"discriminator": {"mapping": {tag: f"#/$defs/{model.__name__}" for tag, model in models.items()}}}


Layer = Annotated[
    Annotated[Convolution, Tag("conv")]
    | Annotated[Norm, Tag("norm")]
    | Annotated[ActivationLayer, Tag("activation")]
    | Annotated[Pool, Tag("pool")]
    | Annotated[Dropout, Tag("dropout")]
    | Annotated[Linear, Tag("linear")],
    Discriminator(kind_of),
    Field(
        description=f"a block with {MAIN_KEYS}",
        json_schema_extra=branches(KINDS),
    ),
]

Shape = tuple[int, int]  # maps, and pixels per side; 0 pixels: a vector of units


class UnsuitableLayerError(ValueError):
    """A layer of the list cannot follow those before it; the message names it by its number, from 1."""


def output_shapes(layers: tuple[Layer, ...], channels: int, size: int) -> Iterator[Shape]:
    """The shape that each layer gets, and then that of the last one, for images (channels, size, size).

    Raises UnsuitableLayerError.
    """
    shape, weighted = (channels, size), False
    for number, layer in enumerate(layers, start=1):
        yield shape
        count, side = shape
        name = f"layer {number} ({kind_of(layer)})"
        match layer:
            case Convolution() | Pool() if not side:
                raise UnsuitableLayerError(f"{name} comes after a linear layer; allowed: before the first one")
            case Convolution():
                left = (side + 2 * layer.padding - layer.kernel) // layer.stride + 1
                shape = layer.conv, left
            case Pool():
                shape = count, (side - layer.size) // (layer.stride or layer.size) + 1
            case Linear():
                shape = layer.linear, 0
            case Dropout() if not weighted:
                raise UnsuitableLayerError(f"{name} has no conv or linear before it; allowed: after one of them")
        if side and not isinstance(layer, Linear) and shape[1] < 1:
            text = f"{name} makes images of {side}×{side} pixels smaller than one pixel"
            raise UnsuitableLayerError(f"{text}; allowed: a smaller kernel or size, padding, or a larger input.size")
        weighted = weighted or isinstance(layer, Convolution | Linear)
    yield shape


def unsuitable(layers: tuple[Layer, ...], channels: int, size: int) -> str:
    """Which layer cannot follow those before it, and why; empty if all can."""
    try:
        list(output_shapes(layers, channels, size))
    except UnsuitableLayerError as error:
        return str(error)
    return ""


def count_parameters(layers: tuple[Layer, ...], channels: int, size: int, classes: int) -> int:
    """Trainable parameters of these layers and the linear layer to the classes after them."""
    *inputs, last = output_shapes(layers, channels, size)
    total = classes * (units(last) + 1)
    for layer, shape in zip(layers, inputs, strict=True):
        match layer:
            case Convolution():
                total += layer.conv * (shape[0] * layer.kernel**2 + 1)
            case Norm():
                total += 2 * shape[0]
            case Linear():
                total += layer.linear * (units(shape) + 1)
    return total


def units(shape: Shape) -> int:
    """Length of the vector that these maps or units are, flattened."""
    count, side = shape
    return count * side**2 if side else count


def layer_names(layers: tuple[Layer, ...]) -> list[str]:
    """A name for each layer: its kind with a number from 1, such as conv2; an activation has its own name, as relu1."""
    kinds = [layer.activation if isinstance(layer, ActivationLayer) else str(kind_of(layer)) for layer in layers]
    return [f"{kind}{kinds[: place + 1].count(kind)}" for place, kind in enumerate(kinds)]
