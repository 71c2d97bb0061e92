"""`params.yaml`, read once into frozen models; everything wrong with it is reported at once."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from lenetlab.errors import UserError
from lenetlab.settings import messages

NAME = r"^[a-z0-9]+([-_][a-z0-9]+)*$"  # no dot: DVC would read it as a path into the file


def described(allowed: str, **limits: Any) -> Any:
    """A field whose error message tells what is allowed."""
    return Field(description=allowed, **limits)


def tuple_of(kind: Any, allowed: str, **limits: Any) -> Any:
    """A tuple of `kind`; YAML's lists are taken although the models are strict."""
    return Annotated[tuple[kind, ...], Field(strict=False, description=allowed, **limits)]


Probability = Annotated[float, Field(ge=0, lt=1)]

Name = Annotated[str, Field(pattern=NAME, max_length=60)]

Activation = Literal["relu", "tanh", "sigmoid", "scaled-tanh"]

ACTIVATIONS = "relu, tanh, sigmoid or scaled-tanh"

PARTIAL_KERNELS = 60  # of C3: LeCun et al. 1998, table I

CLASSES = 10

WIDEST = 10_000  # units or maps of a layer

Width = Annotated[int, Field(ge=1, le=WIDEST)]


class StrictModel(BaseModel):
    """What is written in a file, to the letter: no unknown key, no other type, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class InputSettings(StrictModel):
    size: Literal[28, 32] = described("28 or 32 (pixels per side)")
    resize: Literal["pad", "bilinear"] = described("pad or bilinear (how 28 pixels become 32)")
    normalize: bool = described("true or false")


class LeNet5Settings(StrictModel):
    """Two 5×5 convolutions with pooling, two hidden linear layers; what is newer than 1998 can be turned back."""

    name: Literal["lenet5"]
    channels: tuple_of(
        Width, "two whole numbers from 1 to 10000 (maps of each convolution)", min_length=2, max_length=2
    )
    hidden: tuple_of(
        Width, "two whole numbers from 1 to 10000 (units of each hidden layer)", min_length=2, max_length=2
    )
    pooling: Literal["max", "average", "trained"] = described("max, average or trained")
    activation: Activation = described(ACTIVATIONS)
    connections: Literal["full", "partial"] = described("full or partial (only with 6 and 16 maps)", default="full")
    output: Literal["linear", "codes"] = described("linear or codes (only with 84 units before it)", default="linear")

    def parameters(self, size: int, batch_norm: bool) -> int:
        """Trainable ones, for images of size × size; LeCun et al. 1998, section II.B."""
        (first, second), (c5, f6) = self.channels, self.hidden
        side = ((size - 4) // 2 - 4) // 2
        kernels = PARTIAL_KERNELS if self.connections == "partial" else first * second
        convolutions = (25 + 1) * first + 25 * kernels + second
        linear = c5 * (second * side**2 + 1) + f6 * (c5 + 1) + CLASSES * (f6 + 1) * (self.output == "linear")
        return convolutions + linear + 2 * (first + second) * (batch_norm + (self.pooling == "trained"))


class MLPSettings(StrictModel):
    """Hidden linear layers; or one of them, as wide as another variant's number of parameters allows."""

    name: Literal["mlp"]
    hidden: tuple_of(Width, "", min_length=1, max_length=10) | None = described(
        "one to ten whole numbers from 1 to 10000 (units per layer), or match_parameters in its place", default=None
    )
    match_parameters: Name | None = described("the name of a variant that has a width of its own", default=None)
    activation: Activation = described(ACTIVATIONS)

    def parameters(self, size: int, batch_norm: bool) -> int:
        """Trainable ones, for images of size × size."""
        widths = (size**2, *self.hidden)
        hidden = sum((inputs + 1 + 2 * batch_norm) * units for inputs, units in pairwise(widths))
        return hidden + CLASSES * (widths[-1] + 1)

    def matched(self, size: int, batch_norm: bool, budget: int) -> Self:
        """The largest with one hidden layer and at most `budget` parameters; ValueError if there is none."""
        units = (budget - CLASSES) // (size**2 + 1 + 2 * batch_norm + CLASSES)
        if not 1 <= units <= WIDEST:
            raise ValueError(f"{units} units")
        return self.model_copy(update={"hidden": (units,), "match_parameters": None})


class Regularization(StrictModel):
    batch_norm: bool = described("true or false (before the activation)")
    dropout: Probability | tuple_of(
        Probability, "", max_length=10
    ) = described("a number from 0 to below 1 (after every hidden linear layer), or a list with one for each of them")
    weight_decay: float = described("a number from 0 to 1", ge=0, le=1)
    label_smoothing: float = described("a number from 0 to below 1", ge=0, lt=1)
    augmentation: Literal["none", "affine", "elastic"] = described("none, affine or elastic (which is affine too)")
    augmentation_strength: float = described(
        "a number more than 0, at most 4 (times the ranges)", gt=0, le=4, default=1.0
    )


class Training(StrictModel):
    images: int = described("a whole number from 0 (0: all training images)", ge=0)
    epochs: int = described("a whole number from 1 to 1000", ge=1, le=1000)
    batch_size: int = described("a whole number from 1 to 60000", ge=1, le=60_000)
    optimizer: Literal["sgd", "adamw"] = described("sgd or adamw")
    learning_rate: float = described("a number more than 0, at most 100", gt=0, le=100)
    momentum: float = described("a number from 0 to below 1 (adamw's first beta)", ge=0, lt=1)
    schedule: Literal["constant", "cosine", "one-cycle"] = described("constant, cosine or one-cycle")
    weight_averaging: float = described("a number from 0 to below 1 (decay per step)", ge=0, lt=1)


class TrainingOverride(StrictModel):
    """Training settings that one variant has to itself; what is absent stays as in `training`."""

    images: int | None = described("a whole number from 0 (0: all training images)", ge=0, default=None)
    epochs: int | None = described("a whole number from 1 to 1000", ge=1, le=1000, default=None)
    batch_size: int | None = described("a whole number from 1 to 60000", ge=1, le=60_000, default=None)
    optimizer: Literal["sgd", "adamw"] | None = described("sgd or adamw", default=None)
    learning_rate: float | None = described("a number more than 0, at most 100", gt=0, le=100, default=None)
    momentum: float | None = described("a number from 0 to below 1 (adamw's first beta)", ge=0, lt=1, default=None)
    schedule: Literal["constant", "cosine", "one-cycle"] | None = described(
        "constant, cosine or one-cycle", default=None
    )
    weight_averaging: float | None = described("a number from 0 to below 1 (decay per step)", ge=0, lt=1, default=None)


class Variant(StrictModel):
    input: InputSettings
    model: LeNet5Settings | MLPSettings = Field(discriminator="name", description="a block whose name is lenet5 or mlp")
    regularization: Regularization
    training: TrainingOverride = TrainingOverride()

    @property
    def parameters(self) -> int:
        return self.model.parameters(self.input.size, self.regularization.batch_norm)

    def scaled(self, width: float) -> Self:
        """With so many times the maps and units, rounded, at least one each."""
        sizes = {key: getattr(self.model, key) for key in ("channels", "hidden") if hasattr(self.model, key)}
        wider = {key: tuple(max(1, round(width * size)) for size in values) for key, values in sizes.items()}
        return self.model_copy(update={"model": self.model.model_copy(update=wider)})


class DeclaredComparison(StrictModel):
    candidate: Name = described("a variant of `study`")
    baseline: Name = described("a variant of `study`")


class DataSettings(StrictModel):
    source: str = described("a path: data/mnist.toml, or a folder of one's own", min_length=1, max_length=4096)
    validation: int = described("a whole number from 0 (images kept out of training)", ge=0)
    validation_seed: int = described("a whole number from 0 to 4294967295", ge=0, lt=2**32)
    duplicates: Literal["error", "drop"] = described("error or drop")


class CostSettings(StrictModel):
    """How exactly `stages/cost.py` measures."""

    rounds: int = described(
        "a whole number from 2 to 100 (times that every variant is measured, in turn)", ge=2, le=100
    )
    batches: int = described("a whole number from 1 to 1000 (trained on in each round)", ge=1, le=1000)


class SensitivitySettings(StrictModel):
    """What `lenetlab sensitivity` changes in a variant, one setting at a time; an empty list leaves a setting out."""

    variant: Name = described("a variant of `variants`")
    seeds: tuple_of(Annotated[int, Field(ge=0, lt=2**32)], "", min_length=2, max_length=100) = described(
        "a list of 2 to 100 different whole numbers from 0 to 4294967295"
    )
    learning_rate: tuple_of(Annotated[float, Field(gt=0, le=100)], "", max_length=20) = described(
        "up to 20 numbers more than 0, at most 100"
    )
    dropout: tuple_of(Probability, "", max_length=20) = described("up to 20 numbers from 0 to below 1")
    width: tuple_of(Annotated[float, Field(gt=0, le=8)], "", max_length=20) = described(
        "up to 20 numbers more than 0, at most 8 (times the maps and units)"
    )
    batch_size: tuple_of(Annotated[int, Field(ge=1, le=60_000)], "", max_length=20) = described(
        "up to 20 whole numbers from 1 to 60000"
    )
    images: tuple_of(Annotated[int, Field(ge=0)], "", max_length=20) = described(
        "up to 20 whole numbers from 0 (0: all training images)"
    )


class Study(StrictModel):
    device: str = described("auto, cpu, cuda, cuda:N or mps", pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?|mps)$")
    seeds: tuple_of(
        Annotated[int, Field(ge=0, lt=2**32)],
        "a list of one to 1000 different whole numbers from 0 to 4294967295",
        min_length=1,
        max_length=1000,
    )
    study: tuple_of(Name, "a list of one or more different names from `variants`", min_length=1)
    comparisons: dict[Name, tuple_of(DeclaredComparison, "a list of {candidate, baseline}", min_length=1)] = described(
        "families of {candidate, baseline} pairs"
    )
    equivalence_margin: float = described("a number more than 0, below 1 (difference of accuracy)", gt=0, lt=1)
    data: DataSettings
    training: Training
    cost: CostSettings
    sensitivity: SensitivitySettings
    variants: dict[Name, Variant] = described("variants by name: lower-case letters, digits, - and _")

    def require(self, variant: str) -> None:
        """UserError unless that is one of `study`."""
        if variant not in self.study:
            raise UserError(
                f"{messages.quoted(variant)} is not in `study` of params.yaml;"
                f" allowed: {messages.name_list(self.study)}"
            )

    def training_of(self, variant: str) -> Training:
        """The training settings of a variant: the common ones and what it overrides."""
        return self.training.model_copy(update=self.variants[variant].training.model_dump(exclude_none=True))
