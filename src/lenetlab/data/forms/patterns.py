"""Images whose labels are in their names, as the pattern `data.pattern` says; a pattern that fits given names."""

import re
from collections.abc import Sequence
from os.path import commonprefix
from typing import NamedTuple

from lenetlab.data.forms import entries, found
from lenetlab.data.forms.entries import IMAGE_NAME, Listing
from lenetlab.data.forms.found import Found, Picture
from lenetlab.errors import UserError
from lenetlab.settings import schema, study_schema
from lenetlab.settings.messages import quoted

EXAMPLES = 3  # names in a message
FEWEST_PER_CLASS = 2  # images, of a guess
SET_WORD = f"(?P<set>{'|'.join(sorted(entries.SETS, key=len, reverse=True))})"


def compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression of a valid pattern, for as many last parts of a path as the pattern has.

    Only {label} may contain the characters beside it, and takes as much as it can; {number} and {any} never give back
    what they took. So the time grows with the square of the length of a path, at most.
    """
    parts = study_schema.pattern_parts(pattern)
    expression = re.escape(parts[0])
    for before, name, text in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
        others = re.escape("/" + before[-1:] + text[:1])
        expression += {"label": "(?P<label>[^/]+)", "number": "[0-9]++", "set": SET_WORD, "any": f"[^{others}]++"}[name]
        expression += re.escape(text)
    return re.compile(expression, re.IGNORECASE)


def find(listing: Listing, pattern: str) -> Found:
    """The images of a listing by their names. UserError gives examples of those that do not match."""
    match = compiled(pattern).fullmatch
    depth = pattern.count("/") + 1
    sets: dict[str, list[Picture]] = {}
    others: list[str] = []
    images = [entry for entry in listing.entries if IMAGE_NAME.fullmatch(entry.path)]
    for entry in images:
        parts = entry.path.split("/")
        matched = match("/".join(parts[-depth:]))
        if matched is None or matched["label"] != matched["label"].strip():
            others.append(entry.path)
            continue
        kind = matched.groupdict().get("set") or next(filter(entries.set_of, parts[:-depth]), "")
        sets.setdefault(entries.set_of(kind) or "all", []).append(Picture(entry.path, matched["label"], entry.read))
    name = f"data.pattern: {quoted(pattern)}"
    if not images:
        raise UserError(f"{name} is for image files, there are none; remedy: data.pattern: {study_schema.NO_PATTERN}")
    if others:
        shown = ", ".join(map(repr, others[:EXAMPLES]))
        more = f" and {len(others) - EXAMPLES:,} more" if len(others) > EXAMPLES else ""
        raise UserError(
            f"{name} does not match {len(others):,} of {len(images):,} images: {shown}{more}; remedy: another pattern"
            " (docs/own-images.md), or move these images elsewhere"
        )
    if "all" in sets and len(sets) > 1:
        raise UserError(f"{sets['all'][0].place!r} is in no set, others are; needed: all in train/ and test/, or none")
    listing.ignored["other files"] += len(listing.entries) - len(images)
    return Found(found.PATTERN, dict(sets), dict(+listing.ignored))


def guess(names: Sequence[str]) -> str:
    """A pattern that matches all these file names and gives them classes; empty if there is none that is plausible.

    Numbers and what is between them are compared place by place. The label is the place whose text differs, or else
    the number with the fewest different values.
    """
    stems, suffixes = zip(*(name.rpartition(".")[::2] for name in names), strict=True)
    ending = suffixes[0] if len({suffix.lower() for suffix in suffixes}) == 1 else "{any}"
    set_words = [re.match(f"{SET_WORD}([-_. ])", stem, re.IGNORECASE) for stem in stems]
    start = ""
    if set_words[0] and all(word and word[2] == set_words[0][2] for word in set_words):
        start = f"{{set}}{set_words[0][2]}"
        stems = tuple(stem.split(set_words[0][2], 1)[1] for stem in stems)
    rows = [re.split("([0-9]+)", stem) for stem in stems]
    if len({len(row) for row in rows}) > 1:
        return ""
    columns = [_column(values, number=place % 2 == 1) for place, values in enumerate(zip(*rows, strict=True))]
    most = min(schema.MAX_CLASSES, len(names) // FEWEST_PER_CLASS)
    numbers = [place for place, column in enumerate(columns) if column.name == "{number}" and column.different <= most]
    texts = [place for place, column in enumerate(columns) if column.name == "{any}" and column.different <= most]
    if len(texts) > 1 or not (chosen := texts or sorted(numbers, key=lambda place: columns[place].different)):
        return ""
    columns[chosen[0]] = columns[chosen[0]]._replace(name="{label}")
    pattern = start + "".join(f"{column.before}{column.name}{column.after}" for column in columns) + f".{ending}"
    return pattern if _fits(pattern, names, columns[chosen[0]].different) else ""


class _Column(NamedTuple):
    """What names have at one place: text that all have, around a placeholder if they differ."""

    before: str
    name: str  # a placeholder; empty if all names have the same here
    after: str
    different: int  # values


def _column(values: Sequence[str], *, number: bool) -> _Column:
    if len(different := set(values)) == 1:
        return _Column(values[0], "", "", 1)
    if number:
        return _Column("", "{number}", "", len(different))
    ordered = sorted(different)
    before = re.sub(r"\w*$", "", commonprefix(ordered).replace("_", " "))
    after = re.sub(r"\w*$", "", commonprefix([value[::-1] for value in ordered]).replace("_", " "))
    return _Column(values[0][: len(before)], "{any}", values[0][len(values[0]) - len(after) :], len(different))


def _fits(pattern: str, names: Sequence[str], classes: int) -> bool:
    """Whether a guess is a valid pattern that matches all names and gives them so many classes, of two at least."""
    if list(study_schema.pattern_problems(pattern)):
        return False
    matches = [compiled(pattern).fullmatch(name) for name in names]
    return 2 <= classes == len({match["label"] for match in matches if match}) and all(matches)
