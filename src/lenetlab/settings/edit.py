"""Seeds of variants, and other values, in the text of params.yaml; every other character stays as it is."""

import re
from collections.abc import Iterable, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.settings import params, study_schema, yaml_file


def extend(seeds: tuple[int, ...], number: int) -> tuple[int, ...]:
    """These seeds, followed by the smallest other ones, `number` in all."""
    others = (seed for seed in count() if seed not in seeds)
    return (*seeds, *islice(others, max(0, number - len(seeds))))


def with_seeds(path: Path, text: str, seeds: Mapping[str, tuple[int, ...]]) -> str:
    """The text with `variants.V.seeds` for each variant V of `seeds`, as a number n if they are 0 to n - 1.

    UserError, which names `path`, if the layout does not allow that: blocks that are used in several places, or
    comments inside an old list.
    """
    old = params.parse(path, text)
    edits = [_edit(path, text, name, values) for name, values in seeds.items()]
    changed = _apply(text, filter(None, edits))
    if None in edits or not _differs_in_seeds(path, changed, old, seeds):
        raise UserError(
            *(
                f"{path}: variants.{name}.seeds: {_as_yaml(values)} cannot be added without a change of something else"
                " (an alias, a merge, or a comment within a list); remedy: write it by hand"
                for name, values in seeds.items()
            )
        )
    return changed


def with_values(path: Path, text: str, values: Mapping[tuple[str, ...], str]) -> str:
    """The text with these values, YAML by the path of their key; a missing key is added at the end of its block.

    A value that begins with a line end consists of lines of its own, and replaces such lines with their comments; a
    list gets the indent of its block. Values that are equal already stay as they are written. UserError, which names
    `path`, if the layout does not allow that: an alias, a merge, a comment within a list, or a block that does not
    exist.
    """
    content = yaml_file.parse(path, text)
    new = {keys: yaml_file.parse(path, f"value: {value}\n")["value"] for keys, value in values.items()}
    changed_keys = [keys for keys in values if _value(content, keys) != new[keys]]
    edits = {keys: _value_edit(path, text, keys, values[keys]) for keys in changed_keys}
    changed = _apply(text, filter(None, edits.values()))
    for keys in changed_keys:
        content = _with_value(content, keys, new[keys])
    if None in edits.values() or yaml_file.parse(path, changed) != content:
        raise UserError(
            *(
                f"{path}: {'.'.join(keys)}: {values[keys].strip()} cannot be written without a change of something else"
                " (an alias, a merge, or a comment within a list); remedy: write it by hand"
                for keys in changed_keys
            )
        )
    return changed


def _value(content: Any, keys: tuple[str, ...]) -> Any:
    """What the file has at this path of keys; None if it has nothing there."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _with_value(content: Any, keys: tuple[str, ...], value: Any) -> Any:
    """A copy with another value at this path of keys; a block that is used elsewhere too stays there as it is."""
    if not keys:
        return value
    inner = content.get(keys[0]) if isinstance(content, dict) else None
    return {**(content if isinstance(content, dict) else {}), keys[0]: _with_value(inner, keys[1:], value)}


Edit = tuple[int, int, str]  # from and up to these characters: the new text


def _edit(path: Path, text: str, variant: str, seeds: tuple[int, ...]) -> Edit | None:
    """None if there is no place for it."""
    entries, value = yaml_file.entries(path, text, "variants", variant), _as_yaml(seeds)
    if "seeds" in entries:
        entry = entries["seeds"]
        if entry.in_braces or seeds == _first(len(seeds)):
            return _replacement(text, entry, value)
        return _list_replacement(text, entry, seeds)
    if not entries:
        return None
    first = min(entries.values(), key=lambda entry: entry.key_start)
    start = first.key_start
    if first.in_braces:
        return start, start, f"seeds: {value}, "
    next_line = _line_end_and_indent(text, start)
    new = f" {value}" if seeds == _first(len(seeds)) else _lines(seeds, next_line)
    return start, start, f"seeds:{new}{next_line}"


def _list_replacement(text: str, entry: yaml_file.Entry, seeds: tuple[int, ...]) -> Edit | None:
    """A list in lines of its own, as DVC writes it. None if the old value has comments, which would be lost."""
    colon = text.index(":", entry.key_end) + 1
    if "#" in text[entry.value_start : entry.value_end]:
        return None
    if text.startswith("-", entry.value_start):  # such a list
        new = _lines(seeds, _line_end_and_indent(text, entry.value_start)).lstrip()
        return entry.value_start, entry.value_end, new
    old_end = colon if entry.value_start == entry.value_end else entry.value_end  # without a value: right after the key
    end = _line_end(text, old_end)
    rest = text[old_end:end].rstrip("\r")  # a comment
    carriage_return = "\r" if text.endswith("\r", 0, end) else ""
    return colon, end, rest + _lines(seeds, _line_end_and_indent(text, entry.key_start)) + carriage_return


def _line_end_and_indent(text: str, start: int) -> str:
    """What lies between a line of the block and a new one; the block's first line begins its text at `start`."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = "\r\n" if text[:line_start].endswith("\r\n") else "\n"
    return line_end + text[line_start:start]


def _lines(seeds: tuple[int, ...], next_line: str) -> str:
    return "".join(f"{next_line}- {seed}" for seed in seeds)


def _value_edit(path: Path, text: str, keys: tuple[str, ...], value: str) -> Edit | None:
    """None if there is no place for it."""
    entries, key = yaml_file.entries(path, text, *keys[:-1]), keys[-1]
    if key not in entries:
        return _addition(text, entries, key, value)
    entry = entries[key]
    value = _fitted(text, entry, value)
    colon = text.index(":", entry.key_end) + 1
    if value.startswith("\n") or ("\n" in text[colon : entry.value_start] and not entry.in_braces):
        line_end = _line_end(text, colon)
        comment = re.search(r"\s+#[^\n]*$", text[colon:line_end])
        new = _text(comment) + value if value.startswith("\n") else f" {value}{_text(comment)}"
        return colon, _end_of_lines(text, line_end, entry.key_start - text.rfind("\n", 0, entry.key_start) - 1), new
    edit = _replacement(text, entry, value)
    return None if edit is None else _with_comment_in_place(text, edit)


def _text(match: re.Match[str] | None) -> str:
    return match[0] if match else ""


def _addition(text: str, entries: Mapping[str, yaml_file.Entry], key: str, value: str) -> Edit | None:
    """A new entry behind the last one of its block."""
    if not entries:
        return None
    last = max(entries.values(), key=lambda entry: entry.key_start)
    value = _fitted(text, last, value)
    if last.in_braces:
        return last.key_start, last.key_start, f"{key}: {value}, "
    line_start = text.rfind("\n", 0, last.key_start) + 1
    end = _line_end(text, max(last.key_end, last.value_end))
    space = "" if value.startswith("\n") else " "
    return end, end, f"\n{text[line_start : last.key_start]}{key}:{space}{value}"


def _fitted(text: str, entry: yaml_file.Entry, value: str) -> str:
    """The value for the block of this entry: a list in lines gets the block's indent, or brackets within braces."""
    lines = [line.strip() for line in value.strip().splitlines()]
    if not value.startswith("\n") or not all(line.startswith("- ") for line in lines):
        return value
    if entry.in_braces:
        return f"[{', '.join(line[2:] for line in lines)}]"
    indent = text[text.rfind("\n", 0, entry.key_start) + 1 : entry.key_start]
    return "".join(f"\n{indent}{line}" for line in lines)


def _with_comment_in_place(text: str, edit: Edit) -> Edit:
    """The edit, with more or fewer spaces before a comment that follows, so that it stays in its column if it can."""
    start, end, new = edit
    following = re.compile(r" +(?=#)").match(text, end)
    if not following or "\n" in new:
        return edit
    width = following.end() - start
    return start, following.end(), f"{new:<{width - 1}} " if len(new) < width - 1 else f"{new}  "


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _end_of_lines(text: str, start: int, indent: int) -> int:
    """Where the lines end that follow the line end at `start` and are indented by more than `indent` spaces.

    The entries of a list need no more spaces than its key. Empty lines and comments behind the last line stay.
    """
    end, place = start, start
    while place < len(text):
        line_end = _line_end(text, place + 1)
        line = text[place + 1 : line_end]
        content = line.lstrip(" ")
        deeper = len(line) - len(content) > indent
        if content.strip() and not content.startswith("#"):
            if not deeper and not (content.startswith("- ") and len(line) - len(content) == indent):
                break
            end = line_end
        place = line_end
    return end


def _replacement(text: str, entry: yaml_file.Entry, value: str) -> Edit | None:
    """None if the old value has comments, which would be lost."""
    start, end, new, colon = entry.value_start, entry.value_end, value, text.index(":", entry.key_end) + 1
    if start == end:  # no value
        start, end, new = colon, colon, f" {value}"
    elif "\n" in text[colon:start]:  # a list in lines of its own
        start, new = colon, f" {value}"
    return None if "#" in text[start:end] else (start, end, new)


def _apply(text: str, edits: Iterable[Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _differs_in_seeds(path: Path, text: str, old: study_schema.Study, seeds: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the text is that of the old study, except for these seeds."""
    try:
        new = params.parse(path, text)
    except UserError:
        return False
    given = {name: old.variants[name].model_copy(update={"seeds": values}) for name, values in seeds.items()}
    return new == old.model_copy(update={"variants": {**old.variants, **given}})


def _as_yaml(seeds: tuple[int, ...]) -> str:
    return str(len(seeds)) if seeds == _first(len(seeds)) else str(list(seeds))


def _first(number: int) -> tuple[int, ...]:
    return tuple(range(number))
