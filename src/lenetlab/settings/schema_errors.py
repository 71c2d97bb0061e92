"""`params.yaml`, read once into frozen models; everything wrong with it is reported at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from lenetlab.settings import messages, schema

BLOCKS = {
    "data": schema.DataSettings,
    "training": schema.Training,
    "cost": schema.CostSettings,
    "sensitivity": schema.SensitivitySettings,
}


def message(problem: Mapping[str, Any], content: dict) -> str:
    """One pydantic error as a line: key, value and what is allowed."""
    steps = _key_steps(problem["loc"])
    key = messages.key_path(steps)
    if problem["type"] == "missing":
        return f"{key}: missing; allowed: {_allowed(steps, content)}"
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        siblings = ", ".join(_fields_at(steps[:-1], content)) or "nothing"
        return f"{key}: unknown key; allowed: {siblings}"
    if steps and steps[-1] == "[key]":
        return f"{messages.key_path(steps[:-1])}: the name is not allowed; allowed: lower-case letters, digits, - and _"
    return f"{key}: {messages.quoted(problem['input'])} is not allowed; allowed: {_allowed(steps, content)}"


def _key_steps(location: tuple) -> list:
    """Where in the file; pydantic also names the branch of a union that it tried, which is no key of the file."""
    union = {3: "model", 4: "dropout"}
    return [step for at, step in enumerate(location) if at not in union or location[at - 1] != union[at]]


def _models_at(steps: list, content: Any) -> Iterator[type[schema.StrictModel]]:
    """The models that may stand at a place of the file: one, or several where the file does not tell which."""
    if not steps:
        yield schema.Study
    elif steps[0] == "variants" and len(steps) == 2:
        yield schema.Variant
    elif steps[0] == "variants" and len(steps) == 3 and steps[2] == "model":
        block = content.get("variants", {}).get(steps[1], {}).get("model") if content else None
        named = {"lenet5": schema.LeNet5Settings, "mlp": schema.MLPSettings}.get(
            block.get("name") if isinstance(block, dict) else None
        )
        yield from [named] if named else [schema.LeNet5Settings, schema.MLPSettings]
    elif steps[0] == "variants" and len(steps) == 3:
        yield from [
            {
                "input": schema.InputSettings,
                "regularization": schema.Regularization,
                "training": schema.TrainingOverride,
            }[steps[2]]
        ]
    elif steps[0] == "comparisons" and len(steps) == 3:
        yield schema.DeclaredComparison
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
