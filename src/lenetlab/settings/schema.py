"""The keys of params.yaml that decide a training: network, input, regularisation and training settings of a variant.

A description is what an error message says is allowed.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.json_schema import SkipJsonSchema

from lenetlab.settings import layer_schema
from lenetlab.settings.layer_schema import MAX_DROPOUT, MAX_SIDE, MAX_WIDTH, Activation, DropoutRate, StrictModel, Width
from lenetlab.settings.training_schema import (
    AUGMENTATIONS,
    AugmentationRanges,
    OptimizerSettings,
    Probability,
    ScheduleSettings,
)

MAX_CLASSES = 1000
CODES = 10  # LeCun et al. 1998, figure 3: a code for each digit
SMALLEST_LENET5 = 16  # pixels per side, of which one is left after two convolutions and poolings
MAX_SEEDS = 1000  # of a variant
PARTIAL_KERNELS = 60  # 5×5 kernels of C3 with partial connections: LeCun et al. 1998, table I
NAME_PATTERN = r"^[a-z0-9]+([-_][a-z0-9]+)*$"  # no dot: DVC would read it as a path into the file

# YAML has lists only, hence `strict=False` for tuples.
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=60)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _numbered(seeds: Any) -> Any:
    """The seeds 0 to n - 1 in place of a number n; other values as they are."""
    is_count = isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= MAX_SEEDS
    return list(range(seeds)) if is_count else seeds


Seeds = Annotated[
    tuple[Seed, ...],
    Field(
        strict=False,
        min_length=1,
        max_length=MAX_SEEDS,
        description=f"a number from 1 to {MAX_SEEDS}, or a list of different whole numbers from 0 to 4294967295",
    ),
    BeforeValidator(_numbered),
]

# The settings of `training`, which a variant may override.
Images = Annotated[int, Field(ge=0, description="a whole number from 0 (0: all training images)")]
Epochs = Annotated[int, Field(ge=1, le=1000, description="a whole number from 1 to 1000")]
BatchSize = Annotated[int, Field(ge=1, le=60_000, description="a whole number from 1 to 60000")]
Optimizer = Annotated[
    OptimizerSettings,
    Field(description="sgd, adam, adamw, rmsprop, adagrad, or a block with such a name and arguments"),
]
LearningRate = Annotated[float, Field(gt=0, le=100, description="a number more than 0, at most 100")]
Momentum = Annotated[
    Probability, Field(description="a number from 0 to below 1 (the first beta of adam and adamw; not for adagrad)")
]
Schedule = Annotated[
    ScheduleSettings,
    Field(
        description=(
            "constant, cosine, one-cycle, step, multi-step, exponential, polynomial, or a block with such a name and"
            " arguments"
        )
    ),
]
WeightAveraging = Annotated[Probability, Field(description="a number from 0 to below 1 (decay per step)")]
KeepWeights = Annotated[
    Literal["all"] | Annotated[int, Field(ge=1, le=1000)],
    Field(description="all, or a whole number from 1 to 1000 (how many of the last epochs, besides the best one)"),
]
WITHOUT_EFFECT = {"keep_weights"}  # training settings that change no result


class ImageKind(StrictModel):
    """What all images of the data have in common: `data` in params.yaml declares it, prepare checks it."""

    size: int = Field(default=28, ge=1, le=MAX_SIDE)  # pixels per side
    channels: Literal[1, 3] = 1  # grey, or red, green and blue
    classes: int = Field(default=10, ge=2, le=MAX_CLASSES)


class InputSettings(StrictModel):
    size: int = Field(ge=1, le=MAX_SIDE, description=f"a whole number from 1 to {MAX_SIDE} (pixels per side)")
    resize: Literal["pad", "bilinear"] = Field(description="pad or bilinear (how images get this size)")
    normalize: bool = Field(description="true or false")


class LeNet5Settings(StrictModel):
    """Two 5×5 convolutions with pooling and two hidden linear layers, as a modern or as the 1998 network."""

    name: Literal["lenet5"]
    channels: tuple[Width, ...] = Field(
        strict=False,
        min_length=2,
        max_length=2,
        description=f"two whole numbers from 1 to {MAX_WIDTH} (maps of each convolution)",
    )
    hidden: tuple[Width, ...] = Field(
        strict=False,
        min_length=2,
        max_length=2,
        description=f"two whole numbers from 1 to {MAX_WIDTH} (units of each hidden layer)",
    )
    pooling: Literal["max", "average", "trained"] = Field(description="max, average or trained")
    activation: Activation
    connections: Literal["full", "partial"] = Field(
        default="full", description="full or partial (only with 6 and 16 maps)"
    )
    output: Literal["linear", "codes"] = Field(
        default="linear", description="linear or codes (only with 84 units before it)"
    )

    def parameters(self, size: int, batch_norm: bool, images: ImageKind) -> int:
        """Number of trainable parameters for images of size × size; LeCun et al. 1998, section II.B."""
        (first, second), (c5, f6) = self.channels, self.hidden
        side = ((size - 4) // 2 - 4) // 2
        kernels = PARTIAL_KERNELS if self.connections == "partial" else first * second
        convolutions = (25 * images.channels + 1) * first + 25 * kernels + second
        output = images.classes * (f6 + 1) * (self.output == "linear")
        linear = c5 * (second * side**2 + 1) + f6 * (c5 + 1) + output
        return convolutions + linear + 2 * (first + second) * (batch_norm + (self.pooling == "trained"))


class MLPSettings(StrictModel):
    """Hidden linear layers; or one, as wide as the number of parameters of the variant `match_parameters` allows."""

    name: Literal["mlp"]
    hidden: tuple[Width, ...] = Field(  # empty only until params.load has replaced match_parameters
        default=(),
        strict=False,
        min_length=1,
        max_length=10,
        description=f"one to ten whole numbers from 1 to {MAX_WIDTH} (units per layer), or match_parameters instead",
    )
    match_parameters: Name | None = Field(
        default=None, description="the name of another variant, one without match_parameters"
    )
    activation: Activation

    def parameters(self, size: int, batch_norm: bool, images: ImageKind) -> int:
        """Number of trainable parameters for images of size × size."""
        widths = (images.channels * size**2, *self.hidden)
        hidden = sum((inputs + 1 + 2 * batch_norm) * units for inputs, units in pairwise(widths))
        return hidden + images.classes * (widths[-1] + 1)

    def fit_to_budget(self, size: int, batch_norm: bool, images: ImageKind, budget: int) -> Self:
        """The largest MLP with one hidden layer and at most `budget` parameters; ValueError if its width is invalid."""
        units = (budget - images.classes) // (images.channels * size**2 + 1 + 2 * batch_norm + images.classes)
        if not 1 <= units <= MAX_WIDTH:
            raise ValueError(f"{units} units")
        return self.model_copy(update={"hidden": (units,), "match_parameters": None})


class CNNSettings(StrictModel):
    """A list of layers; a linear layer to the classes follows. Maps are flattened before the first linear layer."""

    name: Literal["cnn"]
    layers: tuple[layer_schema.Layer, ...] = Field(
        strict=False,
        min_length=1,
        max_length=layer_schema.MAX_LAYERS,
        description=f"a list of up to {layer_schema.MAX_LAYERS} blocks: {layer_schema.MAIN_KEYS} in each",
    )

    def parameters(self, size: int, batch_norm: bool, images: ImageKind) -> int:  # noqa: ARG002  it is in the list
        """Number of trainable parameters for images of size × size."""
        return layer_schema.count_parameters(self.layers, images.channels, size, images.classes)

    def scaled(self, factor: float) -> Self:
        """A network with `factor` times as many maps and units in each layer, rounded, at least one."""
        widths = (
            {key: max(1, round(factor * value)) for key, value in layer if key in ("conv", "linear")}
            for layer in self.layers
        )
        layers = tuple(layer.model_copy(update=width) for layer, width in zip(self.layers, widths, strict=True))
        return self.model_copy(update={"layers": layers})


OWN_FOLDER = "networks"  # of the project; the stages depend on it
Argument = str | bool | int | float | list[str | bool | int | float]


class ModuleSettings(StrictModel):
    """A class in a file of the user; every other key of the block is an argument of its constructor."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[
        str, Annotated[Argument, Field(description="a number, a text, true, false, or a list of these (an argument)")]
    ] = Field(init=False)

    file: str = Field(
        pattern=rf"^{OWN_FOLDER}/([A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+\.py$",
        description=f"a Python file below the folder {OWN_FOLDER}, such as {OWN_FOLDER}/mine.py",
    )
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="the name of a class in the file")

    @property
    def arguments(self) -> dict[str, Argument]:
        """What its constructor gets beside channels, classes and size."""
        return dict(self.__pydantic_extra__)


def model_kind(model: Any) -> str | None:
    """Which of the classes of settings describes this block: module if it names a file, otherwise its name."""
    if isinstance(model, dict):
        return "module" if "file" in model else model.get("name") if isinstance(model.get("name"), str) else None
    return "module" if isinstance(model, ModuleSettings) else getattr(model, "name", None)


MODELS: dict[str, type[StrictModel]] = {
    "lenet5": LeNet5Settings,
    "mlp": MLPSettings,
    "cnn": CNNSettings,
    "module": ModuleSettings,
}


class Regularization(StrictModel):
    batch_norm: bool = Field(description="true or false (before the activation)")
    dropout: DropoutRate | Annotated[tuple[DropoutRate, ...], Field(strict=False, max_length=10)] = Field(
        description=f"a number from 0 to {MAX_DROPOUT} (after every hidden linear layer), or a list, one for each layer"
    )
    weight_decay: float = Field(ge=0, le=1, description="a number from 0 to 1")
    label_smoothing: Probability = Field(description="a number from 0 to below 1")
    augmentation: Literal["none", "affine", "elastic"] | AugmentationRanges = Field(
        description=(
            "none, affine, elastic (affine and elastic distortions), or a block with the keys"
            f" {', '.join(AugmentationRanges.model_fields)}"
        )
    )
    augmentation_strength: float = Field(
        default=1.0, gt=0, le=4, description="a number more than 0, at most 4 (factor on the ranges of augmentation)"
    )

    @property
    def ranges(self) -> AugmentationRanges:
        """The ranges of augmentation, before the factor `augmentation_strength`."""
        return AUGMENTATIONS[self.augmentation] if isinstance(self.augmentation, str) else self.augmentation

    @model_validator(mode="after")
    def _images_keep_a_size(self) -> Self:
        if self.ranges.scale * self.augmentation_strength >= 1:
            raise ValueError(
                f"augmentation: scale {self.ranges.scale} × augmentation_strength {self.augmentation_strength} is not"
                " allowed; allowed: a product below 1"
            )
        return self


class Training(StrictModel):
    images: Images
    epochs: Epochs
    batch_size: BatchSize
    optimizer: Optimizer
    learning_rate: LearningRate
    momentum: Momentum
    schedule: Schedule
    weight_averaging: WeightAveraging
    keep_weights: KeepWeights = "all"

    @property
    def keeps_all_weights(self) -> bool:
        return self.keep_weights == "all" or self.keep_weights >= self.epochs


class TrainingOverride(StrictModel):
    """Training settings of one variant; a missing key keeps the value in `training`."""

    images: Images | None = None
    epochs: Epochs | None = None
    batch_size: BatchSize | None = None
    optimizer: Optimizer | None = None
    learning_rate: LearningRate | None = None
    momentum: Momentum | None = None
    schedule: Schedule | None = None
    weight_averaging: WeightAveraging | None = None
    keep_weights: KeepWeights | None = None


class Variant(StrictModel):
    input: InputSettings
    model: Annotated[
        Annotated[LeNet5Settings, Tag("lenet5")]
        | Annotated[MLPSettings, Tag("mlp")]
        | Annotated[CNNSettings, Tag("cnn")]
        | Annotated[ModuleSettings, Tag("module")],
        Discriminator(model_kind),
    ] = Field(
        description="a block whose name is lenet5, mlp or cnn, or one with a file of yours and the name of its class",
        json_schema_extra=layer_schema.branches(MODELS),
    )
    regularization: Regularization
    training: TrainingOverride = TrainingOverride()
    seeds: Seeds | None = None  # None: those of the study
    images: SkipJsonSchema[ImageKind] = ImageKind()  # not a key of params.yaml: params.parse takes it from `data`

    @property
    def parameters(self) -> int | None:
        """Number of trainable parameters; None for a class of the user, which has to be built to know it."""
        if isinstance(self.model, ModuleSettings):
            return None
        return self.model.parameters(self.input.size, self.regularization.batch_norm, self.images)

    def scaled(self, factor: float) -> Self:
        """A variant with `factor` times as many maps and units in each layer, rounded, at least one."""
        if isinstance(self.model, CNNSettings):
            return self.model_copy(update={"model": self.model.scaled(factor)})
        sizes = {key: getattr(self.model, key) for key in ("channels", "hidden") if hasattr(self.model, key)}
        scaled = {key: tuple(max(1, round(factor * size)) for size in values) for key, values in sizes.items()}
        return self.model_copy(update={"model": self.model.model_copy(update=scaled)})
