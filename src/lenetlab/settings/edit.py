"""Seeds of variants in the text of params.yaml; every other character stays as it is."""

from collections.abc import Iterable, Mapping
from itertools import count, islice
from pathlib import Path

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


Edit = tuple[int, int, str]  # from and up to these characters: the new text


def _edit(path: Path, text: str, variant: str, seeds: tuple[int, ...]) -> Edit | None:
    """None if there is no place for it."""
    entries, value = yaml_file.entries(path, text, "variants", variant), _as_yaml(seeds)
    if "seeds" in entries:
        return _replacement(text, entries["seeds"], value)
    if not entries:
        return None
    first = min(entries.values(), key=lambda entry: entry.key_start)
    start = first.key_start
    if first.in_braces:
        return start, start, f"seeds: {value}, "
    line_start = text.rfind("\n", 0, start) + 1
    line_end = "\r\n" if text[:line_start].endswith("\r\n") else "\n"
    return start, start, f"seeds: {value}{line_end}{text[line_start:start]}"


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
    return str(len(seeds)) if seeds == tuple(range(len(seeds))) else str(list(seeds))
