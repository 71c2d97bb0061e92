"""Read a YAML file as DVC does (YAML 1.2, ruamel.yaml), within limits that no file can make slow or large."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLWarning
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lenetlab.errors import UserError
from lenetlab.settings.messages import one_line, printable_name, quoted

T = TypeVar("T")

MAX_BYTES = 100_000  # of a file; about nine times params.yaml, read in a few seconds at most
MAX_DEPTH = 20  # blocks and lists within each other; params.yaml has six
MAX_ALIASES = 100
MAX_MERGED_KEYS = 10_000  # that merges (<<) may add to a block
MAX_DIGITS = 40  # characters of a whole number; Python is slow to compute, or does not print, very long ones


@dataclass(frozen=True)
class Entry:
    """Where a key and its value are in the text of a file, as indices of characters."""

    key_start: int
    key_end: int
    value_start: int
    value_end: int  # of a list in lines of its own: the end of its last value
    in_braces: bool  # whether its block is written as {key: value}


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. UserError if it cannot be read, is not YAML or has a key twice."""
    return parse(path, read_yaml_text(path))


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file, with its line ends as they are. UserError if it cannot be read or is not UTF-8."""
    try:
        return read_text(path, MAX_BYTES)
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML: {one_line(error)}") from None


def parse(path: Path, text: str) -> Any:
    """The content of the text of a YAML file. UserError names `path` if it is not YAML or has a key twice."""
    return _reading(path, lambda yaml: yaml.load(text))


def entries(path: Path, text: str, *keys: str) -> dict[str, Entry]:
    """Where the entries of the block `keys[0]`, in it `keys[1]` and so on are; empty if there is no such block."""
    node = _reading(path, lambda yaml: yaml.compose(text))
    for key in keys:
        values = [value for name, value in node.value if name.value == key] if isinstance(node, MappingNode) else []
        node = values[0] if values else None
    if not isinstance(node, MappingNode):
        return {}
    return {key.value: _entry(key, value, bool(node.flow_style)) for key, value in node.value}


def _entry(key: Node, value: Node, in_braces: bool) -> Entry:
    in_lines = isinstance(value, SequenceNode) and not value.flow_style and value.value
    last = value.value[-1] if in_lines else value  # what follows the last line up to the next key belongs to the list
    return Entry(
        key.start_mark.index, key.end_mark.index, value.start_mark.index, last.end_mark.index, in_braces=in_braces
    )


def _reading(path: Path, read: Callable[[YAML], T]) -> T:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.Constructor, yaml.max_depth = _LimitedComposer, _LimitedConstructor, MAX_DEPTH
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", YAMLWarning)
            return read(yaml)
    except MaxDepthExceededError as error:
        why = f"{_line(error)}more than {MAX_DEPTH} blocks and lists within each other"
    except MarkedYAMLError as error:
        why = _line(error) + one_line(error.problem or error.context)
    except (YAMLError, YAMLWarning, ValueError) as error:
        why = one_line(error)
    raise UserError(f"{path}: not valid YAML: {why}")


def read_text(path: Path, most: int) -> str:
    """The content of a UTF-8 file of at most `most` bytes. UserError if it cannot be read, ValueError if not UTF-8."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device has no end
            raise UserError(f"{path}: not a file; allowed: a regular file")
        with path.open("rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise UserError(f"{path}: more than {most} bytes; allowed: at most {most}")
    return content.decode()


class _LimitedComposer(Composer):
    """Keys are text and appear once in a block, also beside a merge; no tags, few aliases, no long whole numbers."""

    aliases = 0

    def compose_node(self, parent: Node | None, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise ComposerError(problem=f"more than {MAX_ALIASES} aliases", problem_mark=event.start_mark)
        elif event.ctag is not None:
            problem = f"the tag {quoted(str(event.ctag))} is not allowed; allowed: values without tags"
            raise ComposerError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: str | None) -> ScalarNode:
        node: ScalarNode = super().compose_scalar_node(anchor)
        if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
            problem = f"the number {quoted(node.value)} has more than {MAX_DIGITS} characters"
            raise ComposerError(problem=problem, problem_mark=node.start_mark)
        return node

    def compose_mapping_node(self, anchor: str | None) -> MappingNode:
        node: MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            problem = ""
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                name = printable_name(key.value) if isinstance(key, ScalarNode) else "of several values"
                problem = f"the key {name} is not text; allowed: names, in quotes if they would be a number or a date"
            elif key.value in seen:
                problem = f"the key {quoted(key.value)} appears twice"
            if problem:
                raise ComposerError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return node


class _LimitedConstructor(SafeConstructor):
    def flatten_mapping(self, node: MappingNode) -> None:
        """Add the keys of merged blocks; merges of merges can double their number at every step."""
        before = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) - before > MAX_MERGED_KEYS:
            problem = f"merges (<<) add more than {MAX_MERGED_KEYS} keys to a block"
            raise ConstructorError(problem=problem, problem_mark=node.start_mark)

    def construct_non_recursive_object(self, node: Node, tag: str | None = None) -> Any:
        try:
            return super().construct_non_recursive_object(node, tag)
        except (ArithmeticError, ValueError) as error:  # of a date, such as 2001-13-45
            problem = f"{quoted(node.value)} is not a valid value: {error}"
            raise ConstructorError(problem=problem, problem_mark=node.start_mark) from None


def _line(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
