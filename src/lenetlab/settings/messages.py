"""`params.yaml`, read once into frozen models; everything wrong with it is reported at once."""

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_PROBLEMS = 50  # listed by one message

MOST_NAMES = 100  # listed by one line


def with_path(path: Path, problems: list[str]) -> list[str]:
    """Each problem with the file's name before it, and not more of them than one reads."""
    shown = [f"{path}: {problem}" for problem in problems[:MOST_PROBLEMS]]
    return shown + ([f"{path}: and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else [])


def key_path(steps: Iterable) -> str:
    """A place in a file, as `training.epochs` or `study[0]`."""
    return key_suffix(steps).removeprefix(".")


def key_suffix(steps: Iterable) -> str:
    """The same as it follows the name of what holds the place: `.epochs`, `[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{plain_name(step)}" for step in steps)


def plain_name(name: Any) -> str:
    """A name as a message lists it: as it is, unless it would garble the message."""
    return name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 80 else quoted(name)


def name_list(names: Iterable) -> str:
    """Names that are allowed, and not more of them than one reads."""
    words = [plain_name(name) for name in names]
    return ", ".join(words[:MOST_NAMES]) + (f" and {len(words) - MOST_NAMES} more" if len(words) > MOST_NAMES else "")


# Of a value that holds itself many times over only the beginning is looked at.
_SHORT = reprlib.Repr()

_SHORT.maxlevel = 3

_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxset = _SHORT.maxtuple = 30

_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 100


def one_line(error: Exception) -> str:
    """What a parser says of a file, in one line, without characters that would garble it."""
    line = " ".join(str(error).split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)[:500]


def quoted(value: Any) -> str:
    """A value as an error message quotes it, cut where it is long."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."
