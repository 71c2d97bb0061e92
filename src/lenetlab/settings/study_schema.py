"""Every other key of params.yaml: which variants are trained, with which seeds and data, and how they are compared."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lenetlab.errors import UserError
from lenetlab.settings import layer_schema, messages, schema

# Numbers of seeds of each side at which a comparison is looked at, if seeds may be added.
LOOKS = (6, 9, 12, 18, 24, 36, 48, 72, 96)

Measure = Literal["test_accuracy", "test_loss", "gap", "epochs_to"]


class DeclaredComparison(layer_schema.StrictModel):
    candidate: schema.Name = Field(description="a variant of `study`")
    baseline: schema.Name = Field(description="a variant of `study`")
    measure: Measure = Field(default="test_accuracy", description="test_accuracy, test_loss, gap or epochs_to")
    accuracy: float | None = Field(
        default=None, gt=0, le=1, description="with epochs_to only: a test accuracy more than 0, at most 1"
    )

    @model_validator(mode="after")
    def _accuracy_belongs_to_epochs_to(self) -> Self:
        if (self.measure == "epochs_to") != (self.accuracy is not None):
            what = "accuracy: missing" if self.accuracy is None else f"accuracy: {self.accuracy} is not allowed"
            raise ValueError(f"{what}; allowed: a test accuracy more than 0, at most 1, only and always with epochs_to")
        return self


Family = Annotated[
    tuple[DeclaredComparison, ...],
    Field(strict=False, min_length=1, description="a list of one or more {candidate, baseline, measure}"),
]


class SettleSettings(layer_schema.StrictModel):
    """How `lenetlab settle` adds seeds."""

    most: Literal[0, 6, 9, 12, 18, 24, 36, 48, 72, 96] = Field(
        description=(
            f"the number of seeds per variant at which adding ends, {', '.join(map(str, LOOKS[:-1]))} or {LOOKS[-1]};"
            " or 0 (the seeds are a fixed number, decided beforehand)"
        )
    )


class OtherMargins(layer_schema.StrictModel):
    """Margins of equivalence for measures other than test accuracy."""

    test_loss: float = Field(gt=0, description="a number more than 0 (nats per image)")
    gap: float = Field(gt=0, lt=1, description="a number more than 0, below 1 (difference of accuracies)")
    epochs_to: float = Field(gt=0, description="a number more than 0 (epochs)")


def _named(classes: Any) -> Any:
    """The names "0" to "n - 1" in place of a number n, and text in place of numbers in a list; others as they are."""
    if isinstance(classes, int) and not isinstance(classes, bool) and 2 <= classes <= schema.MAX_CLASSES:
        return [str(number) for number in range(classes)]
    if isinstance(classes, list):
        return [str(name) if isinstance(name, int) and not isinstance(name, bool) else name for name in classes]
    return classes


ClassName = Annotated[str, Field(pattern=r"^[^\s\p{C}]+( [^\s\p{C}]+)*$", max_length=60)]
Classes = Annotated[
    tuple[ClassName, ...],
    Field(
        strict=False,
        min_length=2,
        max_length=schema.MAX_CLASSES,
        description=(
            f"a number from 2 to {schema.MAX_CLASSES}, or a list of that many different names of 1 to 60 characters"
        ),
    ),
    BeforeValidator(_named),
]
Loss = Literal["resize", "grey", "8-bit", "jpeg", "alpha"]  # a conversion of images that loses something

SMALLEST_TEST_SHARE, LARGEST_TEST_SHARE = 0.05, 0.5


def _zero_or_enough(share: float) -> float:
    if share == 0 or SMALLEST_TEST_SHARE <= share <= LARGEST_TEST_SHARE:
        return share
    raise ValueError(
        f"{share} is not allowed; allowed: 0, or a number from {SMALLEST_TEST_SHARE} to {LARGEST_TEST_SHARE}"
    )


NO_PATTERN = "none"
PLACEHOLDERS = ("label", "number", "set", "any")  # of a pattern of file names
PATTERN_EXAMPLE = "'{label}-{number}.png'"
_SUFFIX = re.compile(r"\.(png|jpe?g|bmp|gif|webp|tiff?|p[gpb]m)", re.IGNORECASE)


def pattern_parts(pattern: str) -> list[str]:
    """Text and placeholders of a pattern of file names in turn; the first and the last part are text."""
    return re.split(r"\{([^{}]*)\}", pattern)


def pattern_problems(pattern: str) -> Iterator[str]:
    """Why it is no pattern of file names, a reason each."""
    parts = pattern_parts(pattern)
    texts, names = parts[::2], parts[1::2]
    for name in dict.fromkeys(name for name in names if name not in PLACEHOLDERS):
        yield f"no placeholder is called {{{name}}}"
    if any(brace in text for text in texts for brace in "{}"):
        yield "a brace without its partner"
    if "label" not in names:
        yield "no {label}"
    yield from (f"{{{name}}} more than once" for name in ("label", "set") if names.count(name) > 1)
    between = list(zip(texts[1:-1], names, names[1:], strict=False))
    yield from (f"no text between {{{left}}} and {{{right}}}" for text, left, right in between if not text)
    for place, name in enumerate(names):
        if name == "number" and (texts[place][-1:].isdigit() or texts[place + 1][:1].isdigit()):
            yield "a digit beside {number}"
    whole = "".join(texts)
    if "\\" in whole or not whole.isprintable() or {"", ".", ".."} & set(pattern.split("/")):
        yield "a path with backslash, unprintable characters, '.', '..' or an empty part"
    if not _SUFFIX.fullmatch(texts[-1][texts[-1].rfind(".") :]) and not pattern.endswith(".{any}"):
        yield "no ending such as .png or .{any}"


def _checked_pattern(pattern: str) -> str:
    if pattern != NO_PATTERN and (problems := list(pattern_problems(pattern))):
        raise ValueError(
            f"{messages.quoted(pattern)} is not allowed ({'; '.join(problems)}); allowed: {NO_PATTERN}, or file names"
            f" with placeholders in quotes, such as {PATTERN_EXAMPLE}; placeholders:"
            f" {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}"
        )
    return pattern


NO_EXTRA_TEST = "data/none.txt"  # not an empty value: DVC needs the path of a file that exists


class DataSettings(layer_schema.StrictModel):
    source: str = Field(
        min_length=1, max_length=4096, description="a path: data/mnist.toml, or your own folder, archive or CSV"
    )
    extra_test: str = Field(
        min_length=1, max_length=4096, description=f"a path: {NO_EXTRA_TEST}, or a folder or tar of further test images"
    )
    size: int = Field(
        default=28,
        ge=1,
        le=layer_schema.MAX_SIDE,
        description=f"a whole number from 1 to {layer_schema.MAX_SIDE} (pixels per side)",
    )
    channels: Literal[1, 3] = Field(default=1, description="1 (grey) or 3 (colour)")
    classes: Classes = tuple(str(digit) for digit in range(10))
    accept: tuple[Loss, ...] = Field(
        default=(),
        strict=False,
        max_length=5,
        description="a list of the conversions that may lose something: resize, grey, 8-bit, jpeg, alpha; []: none",
    )
    test_share: Annotated[float, AfterValidator(_zero_or_enough)] = Field(
        default=0.0,
        description=(
            f"0 (the source has a test set), or a number from {SMALLEST_TEST_SHARE} to {LARGEST_TEST_SHARE}"
            " (the share of its images that become the test set)"
        ),
    )
    pattern: Annotated[str, AfterValidator(_checked_pattern)] = Field(
        default=NO_PATTERN,
        max_length=200,
        description=f"{NO_PATTERN}, or how file names carry labels, in quotes, such as {PATTERN_EXAMPLE}",
    )
    validation: int = Field(ge=0, description="a whole number from 0 (images kept out of training)")
    validation_seed: schema.Seed = Field(description="a whole number from 0 to 4294967295")
    duplicates: Literal["error", "drop"] = Field(description="error or drop")

    @property
    def kind(self) -> schema.ImageKind:
        """What networks need to know of the images."""
        return schema.ImageKind(size=self.size, channels=self.channels, classes=len(self.classes))

    @property
    def name(self) -> str:
        """What statements call the data: mnist for data/mnist.toml; of a folder its name. With extra images others."""
        source = Path(self.source)
        name = source.stem if source.suffix == ".toml" else source.name
        return name if self.extra_test == NO_EXTRA_TEST else f"{name} with extra test images"


class CostSettings(layer_schema.StrictModel):
    """How precisely `stages/cost.py` measures."""

    rounds: int = Field(
        ge=2, le=100, description="a whole number from 2 to 100 (measurements of every variant, in turn)"
    )
    batches: int = Field(ge=1, le=1000, description="a whole number from 1 to 1000 (trained on in each round)")
    in_experiments: Literal["short", "full"] = Field(
        default="short", description="short (DVC experiments measure in two rounds of ten batches) or full"
    )

    @property
    def shortened(self) -> Self:
        """As a DVC experiment measures, unless it shall measure in full."""
        if self.in_experiments == "full":
            return self
        return self.model_copy(update={"rounds": 2, "batches": min(self.batches, 10)})


class SensitivitySettings(layer_schema.StrictModel):
    """The values that `lenetlab sensitivity` tries in one variant, one setting at a time; an empty list: none."""

    variant: schema.Name = Field(description="a name from `variants`")
    seeds: tuple[schema.Seed, ...] = Field(
        strict=False,
        min_length=2,
        max_length=100,
        description="a list of 2 to 100 different whole numbers from 0 to 4294967295",
    )
    learning_rate: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(
        strict=False, max_length=20, description="up to 20 numbers more than 0, at most 100"
    )
    dropout: tuple[layer_schema.DropoutRate, ...] = Field(
        strict=False, max_length=20, description=f"up to 20 numbers from 0 to {layer_schema.MAX_DROPOUT}"
    )
    width: tuple[Annotated[float, Field(gt=0, le=8)], ...] = Field(
        strict=False,
        max_length=20,
        description="up to 20 numbers more than 0, at most 8 (factors on the number of maps and units)",
    )
    batch_size: tuple[Annotated[int, Field(ge=1, le=60_000)], ...] = Field(
        strict=False, max_length=20, description="up to 20 whole numbers from 1 to 60000"
    )
    images: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        strict=False, max_length=20, description="up to 20 whole numbers from 0 (0: all training images)"
    )


class Study(layer_schema.StrictModel):
    """All of params.yaml."""

    # Not mps: Apple's GPUs have no float64, which sums of losses need, and nobody has tested them here.
    device: str = Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?)$", description="auto, cpu, cuda or cuda:N")
    seeds: schema.Seeds
    study: tuple[schema.Name, ...] = Field(
        strict=False, min_length=1, description="a list of one or more different names from `variants`"
    )
    comparisons: dict[schema.Name, Family] = Field(
        description=(
            "families by name (lower-case letters, digits, - and _), each a list of {candidate, baseline, measure}"
        )
    )
    settle: SettleSettings
    equivalence_margin: float = Field(
        gt=0, lt=1, description="a number more than 0, below 1 (difference of test accuracy)"
    )
    other_margins: OtherMargins
    claims: str = Field(
        min_length=1, max_length=4096, description="a path: claims.yaml, or another file with published statements"
    )
    data: DataSettings
    training: schema.Training
    cost: CostSettings
    sensitivity: SensitivitySettings
    variants: dict[schema.Name, schema.Variant] = Field(
        description="blocks by name (lower-case letters, digits, - and _)"
    )

    def require(self, variant: str) -> None:
        """Raise UserError unless `variant` is in `study`."""
        if variant not in self.study:
            raise UserError(
                f"{messages.quoted(variant)} is not in `study` of params.yaml;"
                f" allowed: {messages.name_list(self.study)}"
            )

    def training_of(self, variant: str) -> schema.Training:
        """The training settings of a variant: `training`, with what the variant overrides."""
        changes = {key: value for key, value in self.variants[variant].training if value is not None}
        return self.training.model_copy(update=changes)

    def margin_of(self, measure: Measure) -> float:
        """The margin of equivalence of a measure, in its unit."""
        margin: float = self.equivalence_margin if measure == "test_accuracy" else getattr(self.other_margins, measure)
        return margin

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """The seeds of a variant in their order: its own, or those of the study."""
        return self.variants[variant].seeds or self.seeds
