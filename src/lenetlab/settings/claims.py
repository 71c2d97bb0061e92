"""Published statements about variants, as claims.yaml has them; everything wrong with it is reported at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lenetlab.errors import UserError
from lenetlab.settings import messages, schema, yaml_file
from lenetlab.settings.messages import key_suffix, name_list, plain_name, quoted
from lenetlab.settings.schema import described

KINDS_OF_LAYERS = (
    *("Conv2d", "PartialConv2d", "Linear", "Codes", "BatchNorm1d", "BatchNorm2d", "Dropout", "Flatten"),
    *("ReLU", "Tanh", "Sigmoid", "ScaledTanh", "MaxPool2d", "AvgPool2d", "Subsampling"),
)
BLOCKS = {
    "input": (schema.InputSettings,),
    "model": (schema.LeNet5Settings, schema.MLPSettings),
    "regularization": (schema.Regularization,),
    "training": (schema.Training,),
}
SETTINGS = tuple(
    dict.fromkeys(
        f"{block}.{key}"
        for block, models in BLOCKS.items()
        for model in models
        for key in model.model_fields
        if key != "match_parameters"  # which stands for a width, and is one by the time that a study is loaded
    )
)

# What error messages say is allowed.
VARIANT = "a name from `variants`"
FRACTION = "a fraction more than 0, at most 1 (0.9901 for 99.01 %)"
POSITIVE = "a whole number from 1"
BY_NAME = "whole numbers from 0, by name of layer"
BY_KIND = f"whole numbers from 0, by kind of layer: {', '.join(KINDS_OF_LAYERS)}"
CURVE = "test_accuracy, train_accuracy or validation_accuracy"
RELATION = (
    "test_accuracy (the default) with better, worse or equivalent; parameters with similar, fewer or more;"
    " train_loss, test_loss, gap, epochs_to, seconds, memory, latency or a list of these with less or more"
)


def _in_catalogue(name: str, info: ValidationInfo) -> str:
    if name not in info.context:
        raise ValueError(f"{quoted(name)} is not allowed; allowed: {name_list(info.context)}")
    return name


def _as_list(measure: Any) -> Any:
    return [measure] if isinstance(measure, str) else measure


Fraction = Annotated[float, Field(gt=0, le=1)]
Whole = Annotated[int, Field(ge=0)]
Name = Annotated[str, AfterValidator(_in_catalogue)]
Curve = Literal["test_accuracy", "train_accuracy", "validation_accuracy"]
Measure = Literal["train_loss", "test_loss", "gap", "epochs_to", "seconds", "memory", "latency"]


class StatedClaim(schema.StrictModel):
    """What every statement has. A kind may take several forms, which differ in their keys."""

    id: str = described(
        "text of its own, such as S0.1: letters, digits, . _ and -",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=40,
    )
    statement: str = described("a sentence of 1 to 300 characters", min_length=1, max_length=300)


class PairClaim(StatedClaim):
    candidate: Name = described(VARIANT)
    baseline: Name = described(VARIANT)

    @field_validator("baseline")
    @classmethod
    def _another(cls, baseline: str, info: ValidationInfo) -> str:
        if baseline == info.data.get("candidate"):
            raise ValueError(f"{baseline!r} is compared with itself; allowed: another variant")
        return baseline


class CountClaim(StatedClaim):
    """How many parameters a variant has, or its layers, and how many maps or values these read."""

    kind: Literal["parameters"]
    variant: Name = described(VARIANT)
    value: int | None = described(POSITIVE, ge=1, default=None)
    layers: dict[str, Whole] | None = described(BY_NAME, min_length=1, default=None)
    inputs: dict[str, Whole] | None = described(BY_NAME, min_length=1, default=None)

    @field_validator("layers", "inputs")
    @classmethod
    def _of_the_variant(cls, stated: dict[str, int] | None, info: ValidationInfo) -> dict[str, int] | None:
        if "variant" in info.data:
            allowed = _names_of_layers(info.context[info.data["variant"]], reading=info.field_name == "inputs")
            for name in stated or {}:
                if name not in allowed:
                    raise ValueError(f"{quoted(name)} is not allowed; allowed: {', '.join(allowed)}")
        return stated

    @model_validator(mode="after")
    def _of_something(self) -> "CountClaim":
        if self.value is self.layers is self.inputs is None:
            raise ValueError("nothing is stated; allowed: value, layers or inputs, at least one of them")
        return self


class SumClaim(StatedClaim):
    """What terms are said to add up to."""

    kind: Literal["parameters"]
    terms: schema.tuple_of(Whole, "", min_length=1) = described("a list of one or more whole numbers from 0")
    value: int = described(POSITIVE, ge=1)


class ReachedClaim(StatedClaim):
    """What a variant reaches after an epoch, the last one if none is named."""

    kind: Literal["accuracy"]
    variant: Name = described(VARIANT)
    epoch: int | None = described(POSITIVE, ge=1, default=None)
    within: float | None = described("a number more than 0, below 1", gt=0, lt=1, default=None)
    at_least: bool = described("true or false", default=False)

    @field_validator("at_least")
    @classmethod
    def _or_within(cls, at_least: bool, info: ValidationInfo) -> bool:
        if at_least and info.data.get("within"):
            raise ValueError("True is not allowed; allowed: within or at_least, one of the two")
        return at_least


class AccuracyClaim(ReachedClaim):
    value: float = described(FRACTION, gt=0, le=1)
    measure: Curve = described(CURVE, default="test_accuracy")

    @property
    def values(self) -> dict[str, float]:
        return {self.measure: self.value}


class AccuraciesClaim(ReachedClaim):
    values: dict[Curve, Fraction] = described(f"{CURVE}, each with {FRACTION}", min_length=1)


class AccuracyRelationClaim(PairClaim):
    """Answered by the declared comparison of the two."""

    kind: Literal["relation"]
    measure: Literal["test_accuracy"] = described(RELATION, default="test_accuracy")
    expected: Literal["better", "worse", "equivalent"] = described(RELATION)
    alone: schema.tuple_of(Name, "") = described("a list of names from `variants`", default=())
    parameters: Literal["fewer", "more"] | None = described("fewer or more", default=None)


class CountRelationClaim(PairClaim):
    kind: Literal["relation"]
    measure: Literal["parameters"] = described(RELATION)
    expected: Literal["similar", "fewer", "more"] = described(RELATION)


class CountDifferenceClaim(PairClaim):
    kind: Literal["relation"]
    measure: Literal["parameters"] = described(RELATION)
    difference: int = described(f"{POSITIVE}: parameters, about", ge=1)


class FigureRelationClaim(PairClaim):
    """Answered by tests over the seeds, or the rounds of a measurement; of several measures all must hold."""

    kind: Literal["relation"]
    measure: Annotated[schema.tuple_of(Measure, "", min_length=1), BeforeValidator(_as_list)] = described(RELATION)
    expected: Literal["less", "more"] = described(RELATION)
    accuracy: float | None = described(
        f"{FRACTION}, with epochs_to and only there", gt=0, le=1, default=None, validate_default=True
    )

    @field_validator("accuracy")
    @classmethod
    def _for_epochs(cls, accuracy: float | None, info: ValidationInfo) -> float | None:
        if ("epochs_to" in info.data.get("measure", ())) != (accuracy is not None) and "measure" in info.data:
            how = "missing" if accuracy is None else f"{accuracy} is not allowed"
            raise ValueError(f"{how}; allowed: {FRACTION}, with epochs_to and only there")
        return accuracy


class LayerCountClaim(StatedClaim):
    """How many layers of a kind a variant has."""

    kind: Literal["structure"]
    variant: Name = described(VARIANT)
    layers: dict[Literal[KINDS_OF_LAYERS], Whole] = described(BY_KIND, min_length=1)


class AddedLayersClaim(PairClaim):
    """How many layers of a kind the candidate has more than the baseline."""

    kind: Literal["structure"]
    added: dict[Literal[KINDS_OF_LAYERS], Whole] = described(BY_KIND, min_length=1)


class DifferentSettingClaim(PairClaim):
    kind: Literal["structure"]
    differs: Literal[SETTINGS] = described(f"one of {', '.join(SETTINGS)}")


class LossClaim(StatedClaim):
    """A mean loss and the accuracy that is stated with it."""

    kind: Literal["loss"]
    loss: float = described("a number from 0 (nats per image, mean)", ge=0)
    accuracy: float = described(FRACTION, gt=0, le=1)
    variant: Name | None = described(VARIANT, default=None)


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
)
FORMS: dict[str, tuple[type[StatedClaim], ...]] = {
    "parameters": (CountClaim, SumClaim),
    "accuracy": (AccuracyClaim, AccuraciesClaim),
    "relation": (AccuracyRelationClaim, CountRelationClaim, CountDifferenceClaim, FigureRelationClaim),
    "structure": (LayerCountClaim, AddedLayersClaim, DifferentSettingClaim),
    "loss": (LossClaim,),
}


def load(path: Path, study: schema.Study) -> list[Claim]:
    """The statements that `path` holds. UserError lists every key that is wrong, its value and what is allowed."""
    content = yaml_file.read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: empty or not a mapping; allowed: the key claims, with a list ([] for none)")
    problems = [f"{plain_name(key)}: unknown key; allowed: claims" for key in content if key != "claims"]
    entries = content.get("claims")
    if not isinstance(entries, list):
        how = f"{quoted(entries)} is not allowed" if "claims" in content else "missing"
        raise UserError(*messages.with_path(path, [*problems, f"claims: {how}; allowed: a list, [] for no statement"]))
    claims, first = [], {}
    for at, entry in enumerate(entries):
        claim, wrong = _read(entry, study)
        problems += [f"claims[{at}]{problem}" for problem in wrong]
        identity = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(identity, str) and first.setdefault(identity, at) != at:
            problems.append(
                f"claims[{at}].id: {quoted(identity)} is that of claims[{first[identity]}]; allowed: each once"
            )
        claims.append(claim)
    if problems:
        raise UserError(*messages.with_path(path, problems))
    return claims


def _names_of_layers(variant: schema.Variant, reading: bool) -> list[str]:
    """The layers that a statement may count, or those that read something with weights of their own."""
    if isinstance(variant.model, schema.MLPSettings):
        normed = [f"hidden{number}" for number in range(1, len(variant.model.hidden) + 1)]
        weighted, pooled = [*normed, "output"], []
    else:
        normed, weighted, pooled = ["c1", "c3"], ["c1", "c3", "c5", "f6", "output"], ["s2", "s4"]
    norms = [f"{name}_norm" for name in normed] if variant.regularization.batch_norm else []
    return weighted if reading else [*weighted, *pooled, *norms]


def _read(entry: Any, study: schema.Study) -> tuple[Claim | None, list[str]]:
    """A statement, or what is wrong with it as the form that it fits best."""
    if not isinstance(entry, dict):
        return None, [f": {quoted(entry)} is not allowed; allowed: a block with the keys id, kind, statement and more"]
    kind, kinds = entry.get("kind"), ", ".join(FORMS)
    if not isinstance(kind, str) or kind not in FORMS:
        how = f"{quoted(kind)} is not allowed" if "kind" in entry else "missing"
        return None, [f".kind: {how}; allowed: {kinds}"]
    attempts = []
    for form in FORMS[kind]:
        try:
            return form.model_validate(entry, context=study.variants), []
        except ValidationError as error:
            attempts.append([_message(problem, entry, form) for problem in _innermost(error.errors())])
    # Of forms that fit equally, rather the one whose measure it is.
    nearest = min(attempts, key=lambda lines: (len(lines), any(line.startswith(".measure") for line in lines)))
    return None, list(dict.fromkeys(nearest))


def _innermost(problems: list[Any]) -> list[Any]:
    """Without those of a list or block whose entries are wrong: it then counts as too short as well."""
    places = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if not any(
            len(place) > len(problem["loc"]) and place[: len(problem["loc"])] == problem["loc"] for place in places
        )
    ]


def _message(problem: Mapping[str, Any], entry: dict, form: type[StatedClaim]) -> str:
    """One pydantic error: key, value and what is allowed."""
    steps = problem["loc"]
    if steps[-1:] == ("[key]",):
        steps = steps[:-2]
    if steps and not isinstance(entry.get(steps[0]), dict | list):
        steps = steps[:1]  # a word that stands for a list of one
    key = key_suffix(steps)
    if problem["type"] == "value_error":
        return f"{key}: {problem['ctx']['error']}"
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        common = StatedClaim.model_fields.keys() | {"kind"}
        forms = [", ".join(name for name in form.model_fields if name not in common) for form in FORMS[entry["kind"]]]
        return f"{key}: unknown key; allowed: id, kind, statement and {'; or '.join(forms)}"
    how = "missing" if problem["type"] == "missing" else f"{quoted(problem['input'])} is not allowed"
    return f"{key}: {how}; allowed: {form.model_fields[steps[0]].description}"
