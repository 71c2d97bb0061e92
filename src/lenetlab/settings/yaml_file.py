"""`params.yaml`, read once into frozen models; everything wrong with it is reported at once."""

import re
from pathlib import Path
from typing import Any

import yaml

from lenetlab.errors import UserError
from lenetlab.settings import messages

LARGEST_FILE = 200_000  # bytes; PyYAML reads some 60,000 a second

MOST_ENTRIES = 10_000  # that merges (<<) may put into a block

LONGEST_NUMBER = 40  # characters

DEEPEST = 20  # blocks and lists within each other; the longest path has six


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. UserError if it cannot be read, is not YAML, or names a key twice."""
    try:
        return yaml.load(read_text(path, LARGEST_FILE), Loader=_Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not a YAML file: {messages.one_line(error)}") from None


def read_text(path: Path, most: int) -> str:
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


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers, so that 1e-3 is one; a key that stands twice is an error, and so are a tag and a bomb."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key is not plain text", key)
            if key.value in seen:
                raise _refused(f"the key {messages.quoted(key.value)} stands twice", key)
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
            raise _refused(f"the number {messages.quoted(node.value)} has more than {LONGEST_NUMBER} characters", node)
        return self.construct_yaml_int(node)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self.aliases = getattr(self, "aliases", 0) + 1
            if self.aliases > 100:
                raise yaml.YAMLError("more than 100 aliases")
        elif getattr(event, "tag", None):  # of another type than the text has by itself, which PyYAML does not check
            raise _refused(f"the tag {messages.quoted(event.tag)} is not allowed; allowed: values without tags", event)
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
