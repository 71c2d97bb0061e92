"""Validation errors of pydantic as problems: the key, its value, and what is allowed as the schema describes it."""

from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lenetlab.settings.layer_schema import StrictModel
from lenetlab.settings.messages import Place, Problem, quoted

JsonSchema = dict[str, Any]


def list_problems(
    error: ValidationError, model: type[StrictModel], content: dict[str, Any], known_keys: str = ""
) -> list[Problem]:
    """The problems of `content`; for an unknown key, the message lists `known_keys`, by default those of its block."""
    found = [_problem(detail, model, content, known_keys) for detail in error.errors()]
    # A list with an invalid entry may be too short as well, or fail another branch of a union: report the entry only.
    outer_places = {place[:depth] for place, _ in found for depth in range(len(place))}
    return [problem for place, problem in found if place not in outer_places]


def _problem(
    detail: ErrorDetails, model: type[StrictModel], content: dict[str, Any], known_keys: str
) -> tuple[Place, Problem]:
    """One error as a problem, and its full place."""
    location = detail["loc"]
    is_name = location[-1:] == ("[key]",)  # an invalid name in a block that has any names
    full, nodes = _follow(_json_schema(model), location[:-1] if is_name else location)
    place = _existing(full[:-1] if is_name else full, content)
    nodes = nodes[: len(place) + 1]
    if detail["type"] == "value_error":
        text = str(detail["ctx"]["error"])
    elif detail["type"] in ("extra_forbidden", "invalid_key"):
        text = f"unknown key; allowed: {known_keys or ', '.join(nodes[-2]['properties'])}"
    elif detail["type"] == "missing":
        text = f"missing; allowed: {_allowed(nodes)}"
    else:
        text = f"{quoted(detail['input'])} is not allowed; allowed: {_allowed(nodes)}"
    return full, Problem(place, text)


@cache
def _json_schema(model: type[StrictModel]) -> JsonSchema:
    return model.model_json_schema()


def _follow(schema: JsonSchema, location: Place) -> tuple[Place, list[JsonSchema]]:
    """The place without the branches of unions, which pydantic adds to it; and the schema at each of its steps."""
    place, nodes = [], [{"properties": schema["properties"]}]
    for step in location:
        node = nodes[-1]
        if "anyOf" in node or "oneOf" in node:
            reference = node.get("discriminator", {}).get("mapping", {}).get(step)
            blocks = {option.get("$ref", "").rpartition("/")[2]: option for option in node.get("anyOf", [])}
            branch = _resolve(schema, {"$ref": reference} if reference else blocks.get(step, {}))
            nodes[-1] = {"description": node.get("description")} | branch
            continue
        if isinstance(step, int):
            inner = node.get("items")
        else:
            others = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
            inner = node.get("properties", {}).get(step) or others[0]
        place.append(step)
        nodes.append(_resolve(schema, inner or {}))
    return tuple(place), nodes


def _resolve(schema: JsonSchema, node: JsonSchema) -> JsonSchema:
    """A node with what it refers to, and without the alternative null."""
    options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
    if len(options) == 1:
        node = options[0] | {key: value for key, value in node.items() if key != "anyOf"}
    name = node.get("$ref", "").rpartition("/")[2]
    block = schema["$defs"][name] if name else {}
    return {key: value for key, value in block.items() if key != "description"} | node  # that is a docstring


def _existing(place: Place, content: Any) -> Place:
    """The place as far as the file has it: a single word may be read as a list of one."""
    for depth, step in enumerate(place):
        if not isinstance(content, dict | list):
            return place[:depth]
        content = content.get(step) if isinstance(content, dict) else content[int(step)]
    return place


def _allowed(nodes: list[JsonSchema]) -> str:
    """What the innermost description says, or the keys of an innermost block without one."""
    for node in reversed(nodes):
        if text := node.get("description"):
            return str(text)
        if "properties" in node:
            return f"a block with the keys {', '.join(node['properties'])}"
    raise AssertionError("every field has a description")
