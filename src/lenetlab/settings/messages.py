"""Error messages about a file: its problems by key, with values and names as a message shows them."""

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lenetlab.errors import UserError

MAX_LINES = 50  # of one error
MAX_KEYS = 10  # with the same problem, in one line
MAX_NAMES = 100  # in one line
MAX_LENGTH = 80  # characters of a value

Place = tuple[str | int, ...]  # keys and list indices that lead to a value

# A value with many references to itself is huge when printed whole.
_ABBREVIATED = reprlib.Repr()
_ABBREVIATED.maxlevel = 3
_ABBREVIATED.maxdict = _ABBREVIATED.maxlist = _ABBREVIATED.maxset = _ABBREVIATED.maxtuple = 30
_ABBREVIATED.maxstring = _ABBREVIATED.maxlong = _ABBREVIATED.maxother = 100


class Problem(NamedTuple):
    place: Place
    text: str  # the value, and what is allowed


def file_error(path: Path, problems: Iterable[Problem]) -> UserError:
    """An error with a line for each different problem, which names the file and all keys that have this problem."""
    keys_by_text: dict[str, dict[str, None]] = {}
    for problem in problems:
        keys_by_text.setdefault(problem.text, {})[key_path(problem.place)] = None
    places = {text: _shortened(list(filter(None, keys)), MAX_KEYS) for text, keys in keys_by_text.items()}
    lines = [f"{path}: {keys}: {text}" if keys else f"{path}: {text}" for text, keys in places.items()]
    more = [f"{path}: and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return UserError(*lines[:MAX_LINES], *more)


def key_path(place: Place) -> str:
    """A place as a message shows it: `training.epochs` or `study[0]`."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{printable_name(step)}" for step in place)
    return path.removeprefix(".")


def printable_name(name: Any) -> str:
    """A name without quotation marks, unless it is not text, has unprintable characters or is too long."""
    return name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= MAX_LENGTH else quoted(name)


def name_list(names: Iterable[Any]) -> str:
    """Names separated by commas."""
    return _shortened([printable_name(name) for name in names], MAX_NAMES)


def quoted(value: Any) -> str:
    """A value as Python writes it, shortened."""
    try:
        text = _ABBREVIATED.repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."


def one_line(error: Exception) -> str:
    """The message of a parser in one line, shortened, without unprintable characters."""
    line = " ".join(str(error).split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)[:500]


def _shortened(words: list[str], most: int) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def setting_text(value: Any) -> str:
    """A setting as params.yaml has it, a list without its brackets."""
    if isinstance(value, list):
        return ", ".join(map(setting_text, value))
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {setting_text(part)}' for key, part in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)
