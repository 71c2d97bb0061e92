"""Every key of a file with published statements, such as claims.yaml. A kind of statement can have several forms."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lenetlab.settings import layer_schema, schema
from lenetlab.settings.messages import name_list, quoted

Catalogue = Mapping[str, schema.Variant]  # the context in which statements are validated

ID_PATTERN, MAX_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]*$", 40
REPORT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"  # what an id has before its first dot

LayerKind = Literal[
    "Conv2d", "PartialConv2d", "Linear", "Codes", "BatchNorm1d", "BatchNorm2d", "Dropout", "Dropout2d", "Flatten",
    "ReLU", "Tanh", "Sigmoid", "ScaledTanh", "MaxPool2d", "AvgPool2d", "Subsampling",
]  # fmt: skip
LAYER_KINDS: tuple[str, ...] = get_args(LayerKind)
BLOCKS: dict[str, tuple[type[layer_schema.StrictModel], ...]] = {
    "input": (schema.InputSettings,),
    "model": (schema.LeNet5Settings, schema.MLPSettings, schema.CNNSettings),
    "regularization": (schema.Regularization,),
    "training": (schema.Training,),
}
SETTINGS = tuple(
    dict.fromkeys(
        f"{block}.{key}"
        for block, models in BLOCKS.items()
        for model in models
        for key in model.model_fields
        if key != "match_parameters"  # params.load replaces it by a width
    )
)

RESOLUTION = 0.005  # a fraction of accuracy

# What error messages say is allowed.
FRACTION = "a fraction more than 0, at most 1 (0.9901 for 99.01 %)"
POSITIVE = "a whole number from 1"
BY_NAME = "whole numbers from 0, by name of layer"
BY_KIND = f"whole numbers from 0, by kind of layer: {', '.join(LAYER_KINDS)}"
DATA = "the name of a data set: mnist for data/mnist.toml, of your own folder its name"
CURVE = "test_accuracy, train_accuracy or validation_accuracy"
RELATION = (
    "test_accuracy (the default) with better, worse or equivalent; parameters with similar, fewer or more;"
    " train_loss, test_loss, gap, epochs_to, seconds, memory, latency or a list of these with less or more"
)


def _require_in_catalogue(name: str, info: ValidationInfo[Catalogue]) -> str:
    if name not in info.context:
        raise ValueError(f"{quoted(name)} is not allowed; allowed: {name_list(info.context)}")
    return name


def _require_setting(name: str) -> str:
    if name not in SETTINGS:
        raise ValueError(f"{quoted(name)} is not allowed; allowed: one of {', '.join(SETTINGS)}")
    return name


def _as_list(measure: Any) -> Any:
    return [measure] if isinstance(measure, str) else measure


Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]
VariantName = Annotated[
    str, AfterValidator(_require_in_catalogue), Field(description="the name of a variant from `variants`")
]
Setting = Annotated[str, AfterValidator(_require_setting), Field(description=f"one of {', '.join(SETTINGS)}")]
DataName = Annotated[str, Field(pattern=ID_PATTERN, max_length=100)]
ReportName = Annotated[str, Field(pattern=REPORT_PATTERN, max_length=MAX_ID)]
Curve = Literal["test_accuracy", "train_accuracy", "validation_accuracy"]
Measure = Literal["train_loss", "test_loss", "gap", "epochs_to", "seconds", "memory", "latency"]


class ClaimFile(layer_schema.StrictModel):
    """The keys of the file. Its statements are validated one by one."""

    resolution: float = Field(default=RESOLUTION, gt=0, lt=1, description="a fraction more than 0, below 1")
    reports: dict[ReportName, Annotated[str, Field(min_length=1, max_length=300)]] = Field(
        default_factory=dict,
        description="names of reports (letters, digits, _ and -), each with a text of 1 to 300 characters",
    )
    claims: list[Any] = Field(description="a list, [] for no statement")


class StatedClaim(layer_schema.StrictModel):
    """The keys of every statement. Some kinds have several forms, with different keys."""

    id: str = Field(
        pattern=ID_PATTERN,
        max_length=MAX_ID,
        description="a text that no other statement has, such as S0.1: letters, digits, . _ and -",
    )
    statement: str = Field(min_length=1, max_length=300, description="a sentence of 1 to 300 characters")
    data: DataName | None = Field(default=None, description=DATA)  # without effect where counting decides


class MeasuredClaim(StatedClaim):
    """A statement about results, which depend on the data."""

    data: DataName = Field(description=DATA)


class PairClaim(StatedClaim):
    """A statement about two variants."""

    candidate: VariantName
    baseline: VariantName

    @field_validator("baseline")
    @classmethod
    def _differs_from_candidate(cls, baseline: str, info: ValidationInfo) -> str:
        if baseline == info.data.get("candidate"):
            raise ValueError(f"{baseline!r} is compared with itself; allowed: another variant")
        return baseline


class CountClaim(StatedClaim):
    """How many parameters a variant or its layers have, and how many maps or values layers read."""

    kind: Literal["parameters"]
    variant: VariantName
    value: int | None = Field(default=None, ge=1, description=POSITIVE)
    layers: dict[str, Count] | None = Field(default=None, min_length=1, description=BY_NAME)
    inputs: dict[str, Count] | None = Field(default=None, min_length=1, description=BY_NAME)

    @field_validator("layers", "inputs")
    @classmethod
    def _names_layers_of_the_variant(
        cls, counts: dict[str, int] | None, info: ValidationInfo[Catalogue]
    ) -> dict[str, int] | None:
        if "variant" in info.data:
            variant = info.context[info.data["variant"]]
            allowed = layers_with_inputs(variant) if info.field_name == "inputs" else layers_with_counts(variant)
            for name in counts or {}:
                if name not in allowed:
                    raise ValueError(f"{quoted(name)} is not allowed; allowed: {', '.join(allowed)}")
        return counts

    @model_validator(mode="after")
    def _states_something(self) -> Self:
        if self.value is None and self.layers is None and self.inputs is None:
            raise ValueError("nothing is stated; allowed: value, layers or inputs, at least one of them")
        return self


class SumClaim(StatedClaim):
    """The sum of some terms."""

    kind: Literal["parameters"]
    terms: tuple[Count, ...] = Field(
        strict=False, min_length=1, description="a list of one or more whole numbers from 0"
    )
    value: int = Field(ge=1, description=POSITIVE)


class ReachedClaim(MeasuredClaim):
    """What a variant reaches after an epoch, by default the last."""

    kind: Literal["accuracy"]
    variant: VariantName
    epoch: int | None = Field(default=None, ge=1, description=POSITIVE)
    within: float | None = Field(default=None, gt=0, lt=1, description="a number more than 0, below 1")
    at_least: bool = Field(default=False, description="true or false")

    @field_validator("at_least")
    @classmethod
    def _excludes_within(cls, at_least: bool, info: ValidationInfo) -> bool:
        if at_least and info.data.get("within"):
            raise ValueError("True is not allowed; allowed: within or at_least, one of the two")
        return at_least


class AccuracyClaim(ReachedClaim):
    value: Fraction = Field(description=FRACTION)
    measure: Curve = Field(default="test_accuracy", description=CURVE)

    @property
    def values(self) -> dict[str, float]:
        return {self.measure: self.value}


class AccuraciesClaim(ReachedClaim):
    values: dict[Curve, Fraction] = Field(min_length=1, description=f"{CURVE}, each with {FRACTION}")


class AccuracyRelationClaim(MeasuredClaim, PairClaim):
    """Answered by the declared comparison of the two variants."""

    kind: Literal["relation"]
    measure: Literal["test_accuracy"] = Field(default="test_accuracy", description=RELATION)
    expected: Literal["better", "worse", "equivalent"] = Field(description=RELATION)
    alone: tuple[VariantName, ...] = Field(default=(), strict=False, description="a list of names from `variants`")
    parameters: Literal["fewer", "more"] | None = Field(default=None, description="fewer or more")


class CountRelationClaim(PairClaim):
    kind: Literal["relation"]
    measure: Literal["parameters"] = Field(description=RELATION)
    expected: Literal["similar", "fewer", "more"] = Field(description=RELATION)


class CountDifferenceClaim(PairClaim):
    kind: Literal["relation"]
    measure: Literal["parameters"] = Field(description=RELATION)
    difference: int = Field(ge=1, description=f"{POSITIVE}: parameters, about")


class FigureRelationClaim(MeasuredClaim, PairClaim):
    """Answered by the declared comparison, or by tests over seeds or rounds; of several measures, all must hold."""

    kind: Literal["relation"]
    measure: Annotated[
        tuple[Measure, ...], Field(strict=False, min_length=1, description=RELATION), BeforeValidator(_as_list)
    ]
    expected: Literal["less", "more"] = Field(description=RELATION)
    accuracy: Fraction | None = Field(
        default=None, validate_default=True, description=f"{FRACTION}, only and always with epochs_to"
    )

    @field_validator("accuracy")
    @classmethod
    def _belongs_to_epochs_to(cls, accuracy: float | None, info: ValidationInfo) -> float | None:
        if "measure" in info.data and ("epochs_to" in info.data["measure"]) != (accuracy is not None):
            what = "missing" if accuracy is None else f"{accuracy} is not allowed"
            raise ValueError(f"{what}; allowed: {FRACTION}, only and always with epochs_to")
        return accuracy


class LayerCountClaim(StatedClaim):
    """How many layers of some kinds a variant has."""

    kind: Literal["structure"]
    variant: VariantName
    layers: dict[LayerKind, Count] = Field(min_length=1, description=BY_KIND)


class AddedLayersClaim(PairClaim):
    """How many more layers of some kinds the candidate has than the baseline."""

    kind: Literal["structure"]
    added: dict[LayerKind, Count] = Field(min_length=1, description=BY_KIND)


class DifferentSettingClaim(PairClaim):
    """A setting in which the two variants differ."""

    kind: Literal["structure"]
    differs: Setting


class LossClaim(StatedClaim):
    """A mean loss and the accuracy that is stated with it."""

    kind: Literal["loss"]
    loss: float = Field(ge=0, description="a number from 0 (nats per image, mean)")
    accuracy: Fraction = Field(description=FRACTION)


class MeasuredLossClaim(MeasuredClaim, LossClaim):
    """The same of a variant, whose results are compared with both."""

    variant: VariantName


Claim = (
    CountClaim
    | SumClaim
    | AccuracyClaim
    | AccuraciesClaim
    | AccuracyRelationClaim
    | CountRelationClaim
    | CountDifferenceClaim
    | FigureRelationClaim
    | LayerCountClaim
    | AddedLayersClaim
    | DifferentSettingClaim
    | LossClaim
    | MeasuredLossClaim
)
FORMS: dict[str, tuple[type[Claim], ...]] = {
    "parameters": (CountClaim, SumClaim),
    "accuracy": (AccuracyClaim, AccuraciesClaim),
    "relation": (AccuracyRelationClaim, CountRelationClaim, CountDifferenceClaim, FigureRelationClaim),
    "structure": (LayerCountClaim, AddedLayersClaim, DifferentSettingClaim),
    "loss": (MeasuredLossClaim, LossClaim),
}


def layers_with_inputs(variant: schema.Variant) -> list[str]:
    """The layers of which a statement may say how many maps or values they read: those with weights between units."""
    match variant.model:
        case schema.MLPSettings():
            return [*(f"hidden{number}" for number in range(1, len(variant.model.hidden) + 1)), "output"]
        case schema.CNNSettings():
            names = layer_schema.layer_names(variant.model.layers)
            return [*(name for name in names if name.startswith(("conv", "linear"))), "output"]
        case schema.ModuleSettings():
            return []
    return ["c1", "c3", "c5", "f6", "output"]


def layers_with_counts(variant: schema.Variant) -> list[str]:
    """The layers of which a statement may say how many parameters they have."""
    weighted = layers_with_inputs(variant)
    match variant.model:
        case schema.MLPSettings():
            normalized, pooling = weighted[:-1], []
        case schema.CNNSettings():
            return [*weighted, *(name for name in layer_schema.layer_names(variant.model.layers) if "norm" in name)]
        case schema.ModuleSettings():
            return []
        case _:
            normalized, pooling = ["c1", "c3"], ["s2", "s4"]
    norms = [f"{name}_norm" for name in normalized] if variant.regularization.batch_norm else []
    return [*weighted, *pooling, *norms]
