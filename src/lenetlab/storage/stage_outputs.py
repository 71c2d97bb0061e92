"""Outputs of stages, read again: what is missing or damaged is told by its file, with the command that helps."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage import files


@contextmanager
def reading(path: Path, maker: str) -> Iterator[None]:
    """For a block that only reads this file, and takes from it what it needs: all that fails there is the file's fault.

    `maker` is the stage that makes it, as DVC calls it, or the command, for a file that git keeps. What was whole once
    comes back without computing; else it is to be made again.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # numpy, zip and deflate have exceptions of their own for each kind of damage
        place = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        back, again = f"dvc checkout --force {place}", f"dvc repro --force --single-item {maker}"
        if " " in maker:
            back, again = f"git checkout {place}", maker
        raise UserError(
            f"{place}: cannot be read ({_why(error)}); remedy: {back}, or, where that does not help, {again}"
        ) from None


def json_object(path: Path, maker: str, *keys: str) -> dict[str, Any]:
    """A JSON object that has these keys: `a/b` is one within another, `a/*/b` one within each of a's entries."""
    return _json(path, maker, dict, keys)


def json_list(path: Path, maker: str, *keys: str) -> list[dict[str, Any]]:
    """A JSON list of objects that each have these keys."""
    return _json(path, maker, list, [f"*/{key}" for key in keys])


def csv_rows(path: Path, maker: str, *columns: str) -> list[dict[str, str]]:
    """The rows of a table that has these columns, in full."""
    with reading(path, maker), path.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        if missing := [column for column in columns if column not in (table.fieldnames or ())]:
            raise ValueError(f"no column {missing[0]}")
        found = list(table)
        if any(None in row or None in row.values() for row in found):
            raise ValueError("a row is too short or too long")
        return found


def journal(path: Path, maker: str) -> list[dict[str, Any]]:
    """The lines of a journal: a start, epochs and an end."""
    with reading(path, maker):
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not found or any(event["event"] not in ("start", "epoch", "end") for event in found):
            raise ValueError("no journal of a training")
        return found


def _json(path: Path, maker: str, kind: type, keys: Iterable[str]) -> Any:
    with reading(path, maker):
        content = files.read_json(path)
        if not isinstance(content, kind):
            raise ValueError(f"no {'object' if kind is dict else 'list'} of JSON")
        for key in keys:
            _follow(content, key.split("/"))
        return content


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    what = " ".join(str(error).split())[:300]
    return f"no {what}" if isinstance(error, KeyError) else what or "it ends too early"


def _follow(content: Any, steps: list[str]) -> None:
    for place, step in enumerate(steps):
        if step == "*":
            for part in content.values() if isinstance(content, dict) else content:
                _follow(part, steps[place + 1 :])
            return
        if not isinstance(content, dict) or step not in content:
            raise ValueError(f"no {'/'.join(steps)}")
        content = content[step]
