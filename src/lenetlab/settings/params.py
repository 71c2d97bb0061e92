"""Read params.yaml, and check what depends on several keys."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lenetlab.errors import UserError
from lenetlab.settings import layer_schema, messages, schema, schema_errors, study_schema, yaml_file
from lenetlab.settings.messages import Problem, name_list, quoted


def require_project(path: Path) -> None:
    """UserError that names the folder to work in if this relative path leads to no params.yaml from here."""
    if not path.is_absolute() and not os.path.lexists(path):
        here = Path.cwd()
        project = next((folder for folder in here.parents if os.path.lexists(folder / path)), None)
        remedy = (
            f"cd {shlex.quote(str(project))}"
            if project
            else "cd to the folder of the project, which has it, or make one: lenetlab init FOLDER"
        )
        raise UserError(f"{path}: not found in {here}; remedy: {remedy}")


def load(path: Path) -> study_schema.Study:
    """The study in a params.yaml. UserError lists every invalid key with its value and what is allowed."""
    require_project(path)
    return parse(path, yaml_file.read_yaml_text(path))


def parse(path: Path, text: str) -> study_schema.Study:
    """The study in the text of a params.yaml. UserError as that of `load`; its lines name `path`."""
    content = yaml_file.parse(path, text)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: empty or not a mapping; allowed: the keys {', '.join(study_schema.Study.model_fields)}"
        )
    unknown = list(_unknown_names(content))
    try:
        study = study_schema.Study.model_validate(content)
    except ValidationError as error:
        problems = schema_errors.list_problems(error, study_schema.Study, content)
        raise messages.file_error(path, [*problems, *unknown]) from None
    kind = study.data.kind
    variants, unmatched = _match_parameters(
        {name: variant.model_copy(update={"images": kind}) for name, variant in study.variants.items()}
    )
    problems = [
        *unknown,
        *unmatched,
        *_repeated_values(study),
        *_invalid_pairs(study),
        *_more_seeds_than_most(study),
        *_contradictions(study),
        *_unsuitable_input(study),
        *_unused_pattern(study.data),
    ]
    if problems:
        raise messages.file_error(path, problems)
    return study.model_copy(update={"variants": variants})


def _unknown_names(content: dict[str, Any]) -> Iterator[Problem]:
    """Names of variants that do not exist, in unvalidated content: to report them even if other keys are invalid."""
    for name, variant in _blocks(content.get("variants")):
        if isinstance(variant, dict) and "images" in variant:  # a field of a variant, but not one that users set
            keys = ", ".join(key for key in schema.Variant.model_fields if key != "images")
            yield Problem(("variants", name, "images"), f"unknown key; allowed: {keys}")
    catalogue, study, families = (content.get(key) for key in ("variants", "study", "comparisons"))
    sensitivity = content.get("sensitivity")
    if isinstance(catalogue, dict):
        known = name_list(catalogue)
        named = list(enumerate(study)) if isinstance(study, list) else []
        places: list[tuple[messages.Place, Any]] = [(("study", index), name) for index, name in named]
        if isinstance(sensitivity, dict):
            places.append((("sensitivity", "variant"), sensitivity.get("variant")))
        for place, name in places:
            if isinstance(name, str) and name not in catalogue:
                yield Problem(place, f"{quoted(name)} is not in `variants`; allowed: {known}")
    if isinstance(study, list) and isinstance(families, dict):
        known, names = name_list(study), {name for name in study if isinstance(name, str)}
        for family, pairs in families.items():
            for index, pair in enumerate(pairs if isinstance(pairs, list) else []):
                for side in ("candidate", "baseline"):
                    name = pair.get(side) if isinstance(pair, dict) else None
                    if isinstance(name, str) and name not in names:
                        text = f"{quoted(name)} is not in `study`; allowed: {known}"
                        yield Problem(("comparisons", family, index, side), text)


def _blocks(content: Any) -> Iterator[tuple[Any, Any]]:
    yield from content.items() if isinstance(content, dict) else ()


def _repeated_values(study: study_schema.Study) -> Iterator[Problem]:
    lists: dict[messages.Place, tuple[Any, ...]] = {("seeds",): study.seeds, ("study",): study.study}
    lists |= {("data", "classes"): study.data.classes, ("data", "accept"): study.data.accept}
    lists |= {("variants", name, "seeds"): variant.seeds or () for name, variant in study.variants.items()}
    lists |= {("sensitivity", key): value for key, value in study.sensitivity if isinstance(value, tuple)}
    for place, values in lists.items():
        for value in sorted(value for value, count in Counter(values).items() if count > 1):
            yield Problem(place, f"{value!r} appears more than once; allowed: each value once")


def _invalid_pairs(study: study_schema.Study) -> Iterator[Problem]:
    """A pair in two families would escape the correction for the larger one, whichever of the two is the candidate."""
    first_places: dict[tuple[object, ...], messages.Place] = {}
    for family, pairs in study.comparisons.items():
        for index, pair in enumerate(pairs):
            place: messages.Place = ("comparisons", family, index)
            if pair.candidate == pair.baseline:
                yield Problem(place, f"{pair.candidate!r} is compared with itself; allowed: two different variants")
                continue
            yield from _missing_epochs(study, pair, place)
            question = (frozenset((pair.candidate, pair.baseline)), pair.measure, pair.accuracy)
            if (first := first_places.setdefault(question, place)) != place:
                text = (
                    f"{pair.measure} of {pair.candidate!r} and {pair.baseline!r} is already compared in"
                    f" {messages.key_path(first)}; allowed: each pair once, in one order and one family"
                )
                yield Problem(place, text)


def _missing_epochs(
    study: study_schema.Study, pair: study_schema.DeclaredComparison, place: messages.Place
) -> Iterator[Problem]:
    """Which epoch first reaches an accuracy is known only if the weights of every epoch are tested."""
    if pair.measure == "epochs_to":
        for name in (pair.candidate, pair.baseline):
            if name in study.variants and not (training := study.training_of(name)).keeps_all_weights:
                text = (
                    f"'epochs_to' needs the weights of every epoch, but training.keep_weights of {name!r} is"
                    f" {training.keep_weights}; allowed: keep_weights: all, or another measure"
                )
                yield Problem((*place, "measure"), text)


def _more_seeds_than_most(study: study_schema.Study) -> Iterator[Problem]:
    most = study.settle.most
    seeds = max(len(study.seeds_of(name)) for name in study.study if name in study.variants)
    if most and most < seeds:
        enough = [str(look) for look in study_schema.LOOKS if look >= seeds]
        text = f"{most} is less than the {seeds} seeds of a variant; allowed: {', '.join([*enough, '0'])}"
        yield Problem(("settle", "most"), text)


def _contradictions(study: study_schema.Study) -> Iterator[Problem]:
    """Settings of a variant that exclude each other."""
    for name, variant in study.variants.items():
        model, place = variant.model, ("variants", name, "model")
        if isinstance(model, schema.MLPSettings) and bool(model.hidden) == (model.match_parameters is not None):
            what = "not together with match_parameters" if model.hidden else "missing"
            yield Problem((*place, "hidden"), f"{what}; allowed: hidden or match_parameters, one of the two")
        if isinstance(model, schema.LeNet5Settings):
            if model.connections == "partial" and model.channels != (6, 16):
                text = f"'partial' is not allowed with {list(model.channels)} maps; allowed: channels [6, 16], or full"
                yield Problem((*place, "connections"), text)
            if model.output == "codes" and model.hidden[1] != 84:
                text = f"'codes' is not allowed after {model.hidden[1]} units; allowed: hidden [.., 84], or linear"
                yield Problem((*place, "output"), text)
            has_fixed_width = (model.connections, model.output) != ("full", "linear")
            widths = study.sensitivity.width
            if has_fixed_width and name == study.sensitivity.variant and set(widths) - {1.0}:
                text = (
                    f"{list(widths)} is not allowed for {name!r}, whose partial connections or codes have one width;"
                    " allowed: []"
                )
                yield Problem(("sensitivity", "width"), text)
        training = study.training_of(name)
        optimizer = training.optimizer
        if optimizer.nesterov and (optimizer.dampening or not training.momentum):
            text = "true is not allowed; allowed: with a momentum more than 0 and a dampening of 0, as in torch"
            owner = ("variants", name, "training") if variant.training.optimizer else ("training",)
            yield Problem((*owner, "optimizer", "nesterov"), text)
        if isinstance(model, schema.ModuleSettings) and name == study.sensitivity.variant:
            changed = {"width": set(study.sensitivity.width) - {1.0}, "dropout": study.sensitivity.dropout}
            for key in (key for key, values in changed.items() if values):
                text = f"not possible for {name!r}, whose code decides it; allowed: []"
                yield Problem(("sensitivity", key), text)
        yield from _rules_that_the_layers_say(name, variant)
        rates = variant.regularization.dropout
        layers = len(model.hidden) or 1 if isinstance(model, schema.LeNet5Settings | schema.MLPSettings) else 1
        if isinstance(rates, tuple) and len(rates) != layers:
            text = f"{list(rates)} is not allowed; allowed: a number, or {layers} of them, one per hidden layer"
            yield Problem(("variants", name, "regularization", "dropout"), text)


def _rules_that_the_layers_say(name: str, variant: schema.Variant) -> Iterator[Problem]:
    """Normalisation and dropout of a cnn, or of a class of the user, are among its layers, and nowhere else."""
    if isinstance(variant.model, schema.LeNet5Settings | schema.MLPSettings):
        return
    is_cnn, place = isinstance(variant.model, schema.CNNSettings), ("variants", name, "regularization")
    kind, where = ("a cnn", "in its layers") if is_cnn else ("a class of yours", "in its code")
    if variant.regularization.batch_norm:
        norm = "{norm: batch}" if is_cnn else "nn.BatchNorm2d"
        yield Problem((*place, "batch_norm"), f"true is not allowed for {kind}; allowed: false, and {norm} {where}")
    if variant.regularization.dropout != 0:
        rate, layer = variant.regularization.dropout, "{dropout: RATE}" if is_cnn else "nn.Dropout"
        yield Problem((*place, "dropout"), f"{rate} is not allowed for {kind}; allowed: 0.0, and {layer} {where}")


def _unsuitable_input(study: study_schema.Study) -> Iterator[Problem]:
    """Inputs and outputs of a variant that do not suit the images declared in `data`."""
    images = study.data.kind
    for name, variant in study.variants.items():
        size, place = variant.input.size, ("variants", name, "input", "size")
        if variant.input.resize == "pad" and size < images.size:
            text = f"{size} is less than the {images.size} pixels of the images; allowed: {images.size} or more, or"
            yield Problem(place, f"{text} resize: bilinear")
        if isinstance(variant.model, schema.CNNSettings) and (
            text := layer_schema.unsuitable(variant.model.layers, images.channels, size)
        ):
            yield Problem(("variants", name, "model", "layers"), text)
        if isinstance(variant.model, schema.LeNet5Settings):
            if size < schema.SMALLEST_LENET5:
                text = f"{size} is too small for lenet5; allowed: {schema.SMALLEST_LENET5} or more"
                yield Problem(place, text)
            if variant.model.output == "codes" and images.classes != schema.CODES:
                text = f"'codes' is for ten digits, data.classes has {images.classes}; allowed: linear"
                yield Problem(("variants", name, "model", "output"), text)


def _unused_pattern(data: study_schema.DataSettings) -> Iterator[Problem]:
    """A pattern of file names where there are none."""
    without_files = data.source.endswith(".toml") and data.extra_test == study_schema.NO_EXTRA_TEST
    if data.pattern != study_schema.NO_PATTERN and without_files:
        text = f"{quoted(data.pattern)} is not allowed, because {data.source} names no image files"
        yield Problem(("data", "pattern"), f"{text}; allowed: {study_schema.NO_PATTERN}")


def _has_width(variant: schema.Variant) -> bool:
    """Whether the number of its parameters follows from its settings alone."""
    model = variant.model
    if isinstance(model, schema.CNNSettings):
        return not layer_schema.unsuitable(model.layers, variant.images.channels, variant.input.size)
    return isinstance(model, schema.LeNet5Settings | schema.MLPSettings) and bool(model.hidden)


def _match_parameters(variants: Mapping[str, schema.Variant]) -> tuple[dict[str, schema.Variant], list[Problem]]:
    """The variants with widths in place of `match_parameters`, and what is wrong with these."""
    matched, problems = dict(variants), []
    with_width = {name: variant for name, variant in variants.items() if _has_width(variant)}
    for name, variant in variants.items():
        model = variant.model
        if not isinstance(model, schema.MLPSettings) or model.match_parameters is None or model.hidden:
            continue
        place, other = ("variants", name, "model", "match_parameters"), model.match_parameters
        if other not in with_width:
            allowed = name_list(with_width) or "hidden instead"
            problems.append(Problem(place, f"{other!r} is not a variant with a width of its own; allowed: {allowed}"))
            continue
        budget = with_width[other].parameters or 0
        try:
            fitted = model.fit_to_budget(variant.input.size, variant.regularization.batch_norm, variant.images, budget)
        except ValueError as error:
            text = (
                f"{other!r} has {budget} parameters, for which the hidden layer would have {error};"
                f" allowed: a variant for which it has 1 to {layer_schema.MAX_WIDTH}"
            )
            problems.append(Problem(place, text))
        else:
            matched[name] = variant.model_copy(update={"model": fitted})
    return matched, problems
