"""`params.yaml`, read once into frozen models; everything wrong with it is reported at once."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from lenetlab.errors import UserError
from lenetlab.settings import messages, schema, schema_errors, yaml_file


def load(path: Path) -> schema.Study:
    """The study that `path` describes. UserError lists every key that is wrong, its value and what is allowed."""
    content = yaml_file.read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: empty or not a mapping; allowed: the keys {', '.join(schema.Study.model_fields)}")
    try:
        study = schema.Study.model_validate(content)
    except ValidationError as error:
        found = dict.fromkeys(schema_errors.message(problem, content) for problem in error.errors())
        raise UserError(*messages.with_path(path, [*found, *_unknown_names(content)])) from None
    variants, unmatched = _with_matched_widths(study.variants)
    problems = [*_unknown_names(content), *unmatched, *_contradictions(study)]
    if problems:
        raise UserError(*messages.with_path(path, problems))
    return study.model_copy(update={"variants": variants})


def _unknown_names(content: dict) -> list[str]:
    """Names in `study` and `comparisons` that lead nowhere; looked at even where other keys are wrong."""
    catalogue, study = content.get("variants"), content.get("study")
    problems = []
    around = content.get("sensitivity")
    around = around.get("variant") if isinstance(around, dict) else None
    if isinstance(catalogue, dict) and isinstance(around, str) and around not in catalogue:
        problems.append(
            f"sensitivity.variant: {messages.quoted(around)} is not in `variants`;"
            f" allowed: {messages.name_list(catalogue)}"
        )
    if isinstance(catalogue, dict) and isinstance(study, list):
        known = messages.name_list(catalogue)
        problems += [
            f"study[{at}]: {messages.quoted(name)} is not in `variants`; allowed: {known}"
            for at, name in enumerate(study)
            if isinstance(name, str) and name not in catalogue
        ]
    families = content.get("comparisons")
    if isinstance(study, list) and isinstance(families, dict):
        known, names = messages.name_list(study), {name for name in study if isinstance(name, str)}
        for family, pairs in families.items():
            for at, pair in enumerate(pairs if isinstance(pairs, list) else []):
                for side in ("candidate", "baseline"):
                    name = pair.get(side) if isinstance(pair, dict) else None
                    if isinstance(name, str) and name not in names:
                        place = messages.key_path(("comparisons", family, at, side))
                        problems.append(f"{place}: {messages.quoted(name)} is not in `study`; allowed: {known}")
    return problems


def _contradictions(study: schema.Study) -> list[str]:
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
        if isinstance(model, schema.MLPSettings) and (model.hidden is None) == (model.match_parameters is None):
            how = "missing" if model.hidden is None else "not together with match_parameters"
            problems.append(f"variants.{name}.model.hidden: {how}; allowed: hidden or match_parameters, one of the two")
        if isinstance(model, schema.LeNet5Settings) and model.connections == "partial" and model.channels != (6, 16):
            problems.append(
                f"variants.{name}.model.connections: 'partial' is not allowed with {list(model.channels)} maps;"
                " allowed: channels [6, 16], or full"
            )
        if isinstance(model, schema.LeNet5Settings) and model.output == "codes" and model.hidden[1] != 84:
            problems.append(
                f"variants.{name}.model.output: 'codes' is not allowed with {model.hidden[1]} units before it;"
                " allowed: 84 of them, or linear"
            )
        fixed = isinstance(model, schema.LeNet5Settings) and (model.connections, model.output) != ("full", "linear")
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


def _lists(sensitivity: schema.SensitivitySettings) -> Iterator[tuple[str, tuple]]:
    return ((key, value) for key, value in sensitivity if isinstance(value, tuple))


def _with_matched_widths(variants: Mapping[str, schema.Variant]) -> tuple[dict[str, schema.Variant], list[str]]:
    """The variants with `match_parameters` replaced by a width, and what stands in the way of that."""
    found, problems = dict(variants), []
    sized = {name: variant for name, variant in variants.items() if variant.model.hidden}
    for name, variant in variants.items():
        other = variant.model.match_parameters if isinstance(variant.model, schema.MLPSettings) else None
        if other is None or variant.model.hidden:
            continue
        key = f"variants.{name}.model.match_parameters: {other!r}"
        if other not in sized:
            problems.append(
                f"{key} has no width of its own; allowed: {messages.name_list(sized) or 'hidden in its place'}"
            )
            continue
        budget = sized[other].parameters
        try:
            model = variant.model.matched(variant.input.size, variant.regularization.batch_norm, budget)
        except ValueError as error:
            problems.append(
                f"{key} has {budget} parameters, for which the hidden layer would have {error};"
                f" allowed: a variant for which it has 1 to {schema.WIDEST}"
            )
            continue
        found[name] = variant.model_copy(update={"model": model})
    return found, problems
