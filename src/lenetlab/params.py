"""`params.yaml`, read once into frozen models; everything wrong with it is reported at once."""

import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lenetlab import UserError

NAME = r"^[a-z0-9]+([-_][a-z0-9]+)*$"  # no dot: DVC would read it as a path into the file
LARGEST_FILE = 200_000  # bytes; PyYAML reads some 60,000 a second
MOST_PROBLEMS = 50  # listed by one message
MOST_NAMES = 100  # listed by one line
MOST_ENTRIES = 10_000  # that merges (<<) may put into a block
LONGEST_NUMBER = 40  # characters
DEEPEST = 20  # blocks and lists within each other; the longest path has six


def setting(allowed: str, **limits: Any) -> Any:
    """A field whose error message tells what is allowed."""
    return Field(description=allowed, **limits)


def every(kind: Any, allowed: str, **limits: Any) -> Any:
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


class Record(BaseModel):
    """What is written in a file, to the letter: no unknown key, no other type, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Input(Record):
    size: Literal[28, 32] = setting("28 or 32 (pixels per side)")
    resize: Literal["pad", "bilinear"] = setting("pad or bilinear (how 28 pixels become 32)")
    normalize: bool = setting("true or false")


class LeNet5(Record):
    """Two 5×5 convolutions with pooling, two hidden linear layers; what is newer than 1998 can be turned back."""

    name: Literal["lenet5"]
    channels: every(Width, "two whole numbers from 1 to 10000 (maps of each convolution)", min_length=2, max_length=2)
    hidden: every(Width, "two whole numbers from 1 to 10000 (units of each hidden layer)", min_length=2, max_length=2)
    pooling: Literal["max", "average", "trained"] = setting("max, average or trained")
    activation: Activation = setting(ACTIVATIONS)
    connections: Literal["full", "partial"] = setting("full or partial (only with 6 and 16 maps)", default="full")
    output: Literal["linear", "codes"] = setting("linear or codes (only with 84 units before it)", default="linear")

    def parameters(self, size: int, batch_norm: bool) -> int:
        """Trainable ones, for images of size × size; LeCun et al. 1998, section II.B."""
        (first, second), (c5, f6) = self.channels, self.hidden
        side = ((size - 4) // 2 - 4) // 2
        kernels = PARTIAL_KERNELS if self.connections == "partial" else first * second
        convolutions = (25 + 1) * first + 25 * kernels + second
        linear = c5 * (second * side**2 + 1) + f6 * (c5 + 1) + CLASSES * (f6 + 1) * (self.output == "linear")
        return convolutions + linear + 2 * (first + second) * (batch_norm + (self.pooling == "trained"))


class MLP(Record):
    """Hidden linear layers; or one of them, as wide as another variant's number of parameters allows."""

    name: Literal["mlp"]
    hidden: every(Width, "", min_length=1, max_length=10) | None = setting(
        "one to ten whole numbers from 1 to 10000 (units per layer), or match_parameters in its place", default=None
    )
    match_parameters: Name | None = setting("the name of a variant that has a width of its own", default=None)
    activation: Activation = setting(ACTIVATIONS)

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


class Regularization(Record):
    batch_norm: bool = setting("true or false (before the activation)")
    dropout: Probability | every(
        Probability, "", max_length=10
    ) = setting("a number from 0 to below 1 (after every hidden linear layer), or a list with one for each of them")
    weight_decay: float = setting("a number from 0 to 1", ge=0, le=1)
    label_smoothing: float = setting("a number from 0 to below 1", ge=0, lt=1)
    augmentation: Literal["none", "affine", "elastic"] = setting("none, affine or elastic (which is affine too)")
    augmentation_strength: float = setting(
        "a number more than 0, at most 4 (times the ranges)", gt=0, le=4, default=1.0
    )


class Training(Record):
    images: int = setting("a whole number from 0 (0: all training images)", ge=0)
    epochs: int = setting("a whole number from 1 to 1000", ge=1, le=1000)
    batch_size: int = setting("a whole number from 1 to 60000", ge=1, le=60_000)
    optimizer: Literal["sgd", "adamw"] = setting("sgd or adamw")
    learning_rate: float = setting("a number more than 0, at most 100", gt=0, le=100)
    momentum: float = setting("a number from 0 to below 1 (adamw's first beta)", ge=0, lt=1)
    schedule: Literal["constant", "cosine", "one-cycle"] = setting("constant, cosine or one-cycle")
    weight_averaging: float = setting("a number from 0 to below 1 (decay per step)", ge=0, lt=1)


class Override(Record):
    """Training settings that one variant has to itself; what is absent stays as in `training`."""

    images: int | None = setting("a whole number from 0 (0: all training images)", ge=0, default=None)
    epochs: int | None = setting("a whole number from 1 to 1000", ge=1, le=1000, default=None)
    batch_size: int | None = setting("a whole number from 1 to 60000", ge=1, le=60_000, default=None)
    optimizer: Literal["sgd", "adamw"] | None = setting("sgd or adamw", default=None)
    learning_rate: float | None = setting("a number more than 0, at most 100", gt=0, le=100, default=None)
    momentum: float | None = setting("a number from 0 to below 1 (adamw's first beta)", ge=0, lt=1, default=None)
    schedule: Literal["constant", "cosine", "one-cycle"] | None = setting("constant, cosine or one-cycle", default=None)
    weight_averaging: float | None = setting("a number from 0 to below 1 (decay per step)", ge=0, lt=1, default=None)


class Variant(Record):
    input: Input
    model: LeNet5 | MLP = Field(discriminator="name", description="a block whose name is lenet5 or mlp")
    regularization: Regularization
    training: Override = Override()

    @property
    def parameters(self) -> int:
        return self.model.parameters(self.input.size, self.regularization.batch_norm)

    def scaled(self, width: float) -> Self:
        """With so many times the maps and units, rounded, at least one each."""
        sizes = {key: getattr(self.model, key) for key in ("channels", "hidden") if hasattr(self.model, key)}
        wider = {key: tuple(max(1, round(width * size)) for size in values) for key, values in sizes.items()}
        return self.model_copy(update={"model": self.model.model_copy(update=wider)})


class Comparison(Record):
    candidate: Name = setting("a variant of `study`")
    baseline: Name = setting("a variant of `study`")


class Data(Record):
    source: str = setting("a path: data/mnist.toml, or a folder of one's own", min_length=1, max_length=4096)
    validation: int = setting("a whole number from 0 (images kept out of training)", ge=0)
    validation_seed: int = setting("a whole number from 0 to 4294967295", ge=0, lt=2**32)
    duplicates: Literal["error", "drop"] = setting("error or drop")


class Cost(Record):
    """How exactly `stages/cost.py` measures."""

    rounds: int = setting("a whole number from 2 to 100 (times that every variant is measured, in turn)", ge=2, le=100)
    batches: int = setting("a whole number from 1 to 1000 (trained on in each round)", ge=1, le=1000)


class Sensitivity(Record):
    """What `lenetlab sensitivity` changes in a variant, one setting at a time; an empty list leaves a setting out."""

    variant: Name = setting("a variant of `variants`")
    seeds: every(Annotated[int, Field(ge=0, lt=2**32)], "", min_length=2, max_length=100) = setting(
        "a list of 2 to 100 different whole numbers from 0 to 4294967295"
    )
    learning_rate: every(Annotated[float, Field(gt=0, le=100)], "", max_length=20) = setting(
        "up to 20 numbers more than 0, at most 100"
    )
    dropout: every(Probability, "", max_length=20) = setting("up to 20 numbers from 0 to below 1")
    width: every(Annotated[float, Field(gt=0, le=8)], "", max_length=20) = setting(
        "up to 20 numbers more than 0, at most 8 (times the maps and units)"
    )
    batch_size: every(Annotated[int, Field(ge=1, le=60_000)], "", max_length=20) = setting(
        "up to 20 whole numbers from 1 to 60000"
    )
    images: every(Annotated[int, Field(ge=0)], "", max_length=20) = setting(
        "up to 20 whole numbers from 0 (0: all training images)"
    )


class Study(Record):
    device: str = setting("auto, cpu, cuda, cuda:N or mps", pattern=r"^(auto|cpu|cuda(:[0-9]{1,2})?|mps)$")
    seeds: every(
        Annotated[int, Field(ge=0, lt=2**32)],
        "a list of one to 1000 different whole numbers from 0 to 4294967295",
        min_length=1,
        max_length=1000,
    )
    study: every(Name, "a list of one or more different names from `variants`", min_length=1)
    comparisons: dict[Name, every(Comparison, "a list of {candidate, baseline}", min_length=1)] = setting(
        "families of {candidate, baseline} pairs"
    )
    equivalence_margin: float = setting("a number more than 0, below 1 (difference of accuracy)", gt=0, lt=1)
    data: Data
    training: Training
    cost: Cost
    sensitivity: Sensitivity
    variants: dict[Name, Variant] = setting("variants by name: lower-case letters, digits, - and _")

    def require(self, variant: str) -> None:
        """UserError unless that is one of `study`."""
        if variant not in self.study:
            raise UserError(f"{shown(variant)} is not in `study` of params.yaml; allowed: {listed(self.study)}")

    def training_of(self, variant: str) -> Training:
        """The training settings of a variant: the common ones and what it overrides."""
        return self.training.model_copy(update=self.variants[variant].training.model_dump(exclude_none=True))


def arguments(command: list[str], *names: str) -> list[str]:
    """What a stage was called with, as many words as there are names. UserError tells how it has to be called."""
    _, *given = command
    if len(given) != len(names):
        found = " ".join(map(shown, given)) or "nothing"
        raise UserError(f"{command[0]}: called with {found}; allowed: {' '.join(['python', command[0], *names])}")
    return given


BLOCKS = {"data": Data, "training": Training, "cost": Cost, "sensitivity": Sensitivity}


def load(path: Path) -> Study:
    """The study that `path` describes. UserError lists every key that is wrong, its value and what is allowed."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: empty or not a mapping; allowed: the keys {', '.join(Study.model_fields)}")
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        found = dict.fromkeys(_in_words(problem, content) for problem in error.errors())
        raise UserError(*headed(path, [*found, *_unknown_names(content)])) from None
    variants, unmatched = _matched(study.variants)
    problems = [*_unknown_names(content), *unmatched, *_impossible(study)]
    if problems:
        raise UserError(*headed(path, problems))
    return study.model_copy(update={"variants": variants})


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. UserError if it cannot be read, is not YAML, or names a key twice."""
    try:
        return yaml.load(text(path, LARGEST_FILE), Loader=_Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not a YAML file: {said(error)}") from None


def text(path: Path, most: int) -> str:
    """What stands in a file of no more than `most` bytes, ValueError if it is not UTF-8. UserError if it is no such."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device has no end
            raise UserError(f"{path}: not a file; allowed: a regular file")
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise UserError(f"{path}: more than {most} bytes; what it describes takes far less")
    return content.decode()


def headed(path: Path, problems: list[str]) -> list[str]:
    """Each problem with the file's name before it, and not more of them than one reads."""
    shown = [f"{path}: {problem}" for problem in problems[:MOST_PROBLEMS]]
    return shown + ([f"{path}: and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else [])


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers, so that 1e-3 is one; a key that stands twice is an error, and so are a tag and a bomb."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key is not plain text", key)
            if key.value in seen:
                raise _refused(f"the key {shown(key.value)} stands twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Blocks that are merged into others, and these into further ones, can double at every step."""
        own = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) - own > MOST_ENTRIES:
            raise _refused(f"merges (<<) make a block of more than {MOST_ENTRIES} keys", node)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        """Not one that Python would be slow to compute, or could not print."""
        if len(node.value) > LONGEST_NUMBER:
            raise _refused(f"the number {shown(node.value)} has more than {LONGEST_NUMBER} characters", node)
        return self.construct_yaml_int(node)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self.aliases = getattr(self, "aliases", 0) + 1
            if self.aliases > 100:
                raise yaml.YAMLError("more than 100 aliases")
        elif getattr(event, "tag", None):  # of another type than the text has by itself, which PyYAML does not check
            raise _refused(f"the tag {shown(event.tag)} is not allowed; allowed: values without tags", event)
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > DEEPEST:  # which also makes PyYAML slow
            raise yaml.YAMLError("nested too deeply")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _refused(problem: str, where: yaml.Node | yaml.Event) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, where.start_mark)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _in_words(problem: Mapping[str, Any], content: dict) -> str:
    """One pydantic error as a line: key, value and what is allowed."""
    steps = _key_steps(problem["loc"])
    key = dotted(steps)
    if problem["type"] == "missing":
        return f"{key}: missing; allowed: {_allowed(steps, content)}"
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        siblings = ", ".join(_fields_at(steps[:-1], content)) or "nothing"
        return f"{key}: unknown key; allowed: {siblings}"
    if steps and steps[-1] == "[key]":
        return f"{dotted(steps[:-1])}: the name is not allowed; allowed: lower-case letters, digits, - and _"
    return f"{key}: {shown(problem['input'])} is not allowed; allowed: {_allowed(steps, content)}"


def _key_steps(location: tuple) -> list:
    """Where in the file; pydantic also names the branch of a union that it tried, which is no key of the file."""
    union = {3: "model", 4: "dropout"}
    return [step for at, step in enumerate(location) if at not in union or location[at - 1] != union[at]]


def dotted(steps: Iterable) -> str:
    """A place in a file, as `training.epochs` or `study[0]`."""
    return below(steps).removeprefix(".")


def below(steps: Iterable) -> str:
    """The same as it follows the name of what holds the place: `.epochs`, `[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{word(step)}" for step in steps)


def word(name: Any) -> str:
    """A name as a message lists it: as it is, unless it would garble the message."""
    return name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 80 else shown(name)


def listed(names: Iterable) -> str:
    """Names that are allowed, and not more of them than one reads."""
    words = [word(name) for name in names]
    return ", ".join(words[:MOST_NAMES]) + (f" and {len(words) - MOST_NAMES} more" if len(words) > MOST_NAMES else "")


# Of a value that holds itself many times over only the beginning is looked at.
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxset = _SHORT.maxtuple = 30
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 100


def said(error: Exception) -> str:
    """What a parser says of a file, in one line, without characters that would garble it."""
    line = " ".join(str(error).split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)[:500]


def shown(value: Any) -> str:
    """A value as an error message quotes it, cut where it is long."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."


def _models_at(steps: list, content: Any) -> Iterator[type[Record]]:
    """The models that may stand at a place of the file: one, or several where the file does not tell which."""
    if not steps:
        yield Study
    elif steps[0] == "variants" and len(steps) == 2:
        yield Variant
    elif steps[0] == "variants" and len(steps) == 3 and steps[2] == "model":
        block = content.get("variants", {}).get(steps[1], {}).get("model") if content else None
        named = {"lenet5": LeNet5, "mlp": MLP}.get(block.get("name") if isinstance(block, dict) else None)
        yield from [named] if named else [LeNet5, MLP]
    elif steps[0] == "variants" and len(steps) == 3:
        yield from [{"input": Input, "regularization": Regularization, "training": Override}[steps[2]]]
    elif steps[0] == "comparisons" and len(steps) == 3:
        yield Comparison
    elif len(steps) == 1 and steps[0] in BLOCKS:
        yield BLOCKS[steps[0]]


def _fields_at(steps: list, content: Any) -> list[str]:
    return list(dict.fromkeys(name for model in _models_at(steps, content) for name in model.model_fields))


def _allowed(steps: list, content: Any) -> str:
    """What the nearest described field at or above this place allows."""
    for end in range(len(steps), 0, -1):
        for model in _models_at(steps[: end - 1], content):
            field = model.model_fields.get(steps[end - 1]) if isinstance(steps[end - 1], str) else None
            described = [field, *field.metadata] if field else []
            texts = [text for item in described if (text := getattr(item, "description", None))]
            if texts:
                return texts[0]
    return f"a block with the keys {', '.join(_fields_at(steps, content))}"


def _unknown_names(content: dict) -> list[str]:
    """Names in `study` and `comparisons` that lead nowhere; looked at even where other keys are wrong."""
    catalogue, study = content.get("variants"), content.get("study")
    problems = []
    around = content.get("sensitivity")
    around = around.get("variant") if isinstance(around, dict) else None
    if isinstance(catalogue, dict) and isinstance(around, str) and around not in catalogue:
        problems.append(f"sensitivity.variant: {shown(around)} is not in `variants`; allowed: {listed(catalogue)}")
    if isinstance(catalogue, dict) and isinstance(study, list):
        known = listed(catalogue)
        problems += [
            f"study[{at}]: {shown(name)} is not in `variants`; allowed: {known}"
            for at, name in enumerate(study)
            if isinstance(name, str) and name not in catalogue
        ]
    families = content.get("comparisons")
    if isinstance(study, list) and isinstance(families, dict):
        known, names = listed(study), {name for name in study if isinstance(name, str)}
        for family, pairs in families.items():
            for at, pair in enumerate(pairs if isinstance(pairs, list) else []):
                for side in ("candidate", "baseline"):
                    name = pair.get(side) if isinstance(pair, dict) else None
                    if isinstance(name, str) and name not in names:
                        place = dotted(("comparisons", family, at, side))
                        problems.append(f"{place}: {shown(name)} is not in `study`; allowed: {known}")
    return problems


def _impossible(study: Study) -> list[str]:
    """What is well formed and cannot be carried out."""
    problems = []
    unique = {"seeds": study.seeds, "study": study.study}
    for key, values in (unique | {f"sensitivity.{key}": value for key, value in _lists(study.sensitivity)}).items():
        twice = sorted(value for value, times in Counter(values).items() if times > 1)
        problems += [f"{key}: {value!r} stands more than once; allowed: each once" for value in twice]
    for family, pairs in study.comparisons.items():
        place = {pair: at for at, pair in reversed(list(enumerate(pairs)))}
        for at, pair in enumerate(pairs):
            if pair.candidate == pair.baseline:
                problems.append(
                    f"comparisons.{family}[{at}]: {pair.candidate!r} is compared with itself; allowed: two variants"
                )
            if place[pair] < at:
                problems.append(
                    f"comparisons.{family}[{at}]: {pair.candidate!r} against {pair.baseline!r} twice;"
                    " allowed: each pair once"
                )
    for name, variant in study.variants.items():
        model = variant.model
        if isinstance(model, MLP) and (model.hidden is None) == (model.match_parameters is None):
            how = "missing" if model.hidden is None else "not together with match_parameters"
            problems.append(f"variants.{name}.model.hidden: {how}; allowed: hidden or match_parameters, one of the two")
        if isinstance(model, LeNet5) and model.connections == "partial" and model.channels != (6, 16):
            problems.append(
                f"variants.{name}.model.connections: 'partial' is not allowed with {list(model.channels)} maps;"
                " allowed: channels [6, 16], or full"
            )
        if isinstance(model, LeNet5) and model.output == "codes" and model.hidden[1] != 84:
            problems.append(
                f"variants.{name}.model.output: 'codes' is not allowed with {model.hidden[1]} units before it;"
                " allowed: 84 of them, or linear"
            )
        fixed = isinstance(model, LeNet5) and (model.connections, model.output) != ("full", "linear")
        if fixed and name == study.sensitivity.variant and set(study.sensitivity.width) - {1.0}:
            problems.append(
                f"sensitivity.width: {list(study.sensitivity.width)} is not allowed around {name!r}, whose connections"
                " or codes have one width; allowed: []"
            )
        rates, layers = variant.regularization.dropout, len(model.hidden or (None,))
        if isinstance(rates, tuple) and len(rates) != layers:
            problems.append(
                f"variants.{name}.regularization.dropout: {list(rates)} is not allowed;"
                f" allowed: a number, or {layers} of them, one per hidden layer"
            )
    return problems


def _lists(sensitivity: Sensitivity) -> Iterator[tuple[str, tuple]]:
    return ((key, value) for key, value in sensitivity if isinstance(value, tuple))


def _matched(variants: Mapping[str, Variant]) -> tuple[dict[str, Variant], list[str]]:
    """The variants with `match_parameters` replaced by a width, and what stands in the way of that."""
    found, problems = dict(variants), []
    sized = {name: variant for name, variant in variants.items() if variant.model.hidden}
    for name, variant in variants.items():
        other = variant.model.match_parameters if isinstance(variant.model, MLP) else None
        if other is None or variant.model.hidden:
            continue
        key = f"variants.{name}.model.match_parameters: {other!r}"
        if other not in sized:
            problems.append(f"{key} has no width of its own; allowed: {listed(sized) or 'hidden in its place'}")
            continue
        budget = sized[other].parameters
        try:
            model = variant.model.matched(variant.input.size, variant.regularization.batch_norm, budget)
        except ValueError as error:
            problems.append(
                f"{key} has {budget} parameters, for which the hidden layer would have {error};"
                f" allowed: a variant for which it has 1 to {WIDEST}"
            )
            continue
        found[name] = variant.model_copy(update={"model": model})
    return found, problems
