"""Read the outputs of earlier stages. Errors name the missing or damaged file and the command that helps."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lenetlab.errors import UserError
from lenetlab.storage import files, paths

IN_GIT = (paths.COMPARISON, paths.ANSWERS, paths.REPORT_TEXT)  # what git keeps of the stage compare

NOT_KEPT = "-"  # in place of the SHA-256 of weights that `training.keep_weights` has removed

Json = TypeVar("Json", dict[str, Any], list[dict[str, Any]])


@contextmanager
def reporting_damage(path: Path, made_by: str) -> Iterator[None]:
    """Turn every exception of the block into a UserError that says that `path` cannot be read, why, and what helps.

    The block must do nothing but read this file. `made_by` is the DVC stage that makes the file, such as
    `evaluate@mlp`, or the command that makes it, such as `make sensitivity`, if git keeps the file. The remedy is to
    restore the file from DVC's cache or from git, and otherwise to make it again.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise exceptions of their own for each kind of damage
        name = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        restore, remake = f"dvc checkout --force {name}", f"dvc repro --force --single-item {made_by}"
        if " " in made_by:
            restore, remake = f"git checkout {name}", made_by
        elif made_by == "compare" and path.name in IN_GIT:
            restore = f"git checkout {name}"
        raise UserError(
            f"{name}: cannot be read ({_reason(error)}); remedy: {restore}, or, if that does not help, {remake}"
        ) from None


def read_json_object(path: Path, made_by: str, *keys: str) -> dict[str, Any]:
    """A JSON object that must have these keys.

    `a/b` is the key b of the object a. `a/*/b` requires the key b in each entry of a, which is an object or a list.
    """
    return _read_json(path, made_by, dict, keys)


def read_json_list(path: Path, made_by: str, *keys: str) -> list[dict[str, Any]]:
    """A JSON list of objects, each of which must have these keys."""
    return _read_json(path, made_by, list, [f"*/{key}" for key in keys])


def read_csv(path: Path, made_by: str, *columns: str) -> list[dict[str, str]]:
    """All rows of a CSV file that must have these columns."""
    with reporting_damage(path, made_by), path.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        if missing := [column for column in columns if column not in (table.fieldnames or ())]:
            raise ValueError(f"no column {missing[0]}")
        rows = list(table)
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("a row is too short or too long")
        return rows


def read_journal(path: Path, made_by: str) -> list[dict[str, Any]]:
    """The events of the journal of a training: starts, epochs and ends."""
    with reporting_damage(path, made_by):
        events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not events or any(event["event"] not in ("start", "epoch", "end") for event in events):
            raise ValueError("not a journal of a training")
        return events


def weights_by_epoch(digests: Mapping[str, str]) -> list[str]:
    """From `files` of a run.json: the SHA-256 of the weights of each epoch from 1 on, or NOT_KEPT."""
    names = (name for name in digests if name.startswith("epoch-"))
    by_epoch = {int(name.removeprefix("epoch-").partition(".")[0]): digests[name] for name in names}
    return [by_epoch.get(epoch, NOT_KEPT) for epoch in range(1, max(by_epoch, default=0) + 1)]


def _read_json(path: Path, made_by: str, kind: type[Json], keys: Iterable[str]) -> Json:
    with reporting_damage(path, made_by):
        content = files.read_json(path)
        if not isinstance(content, kind):
            raise ValueError(f"not a JSON {'object' if kind is dict else 'list'}")
        for key in keys:
            _require_key(content, key.split("/"))
        return content


def _require_key(content: Any, steps: list[str]) -> None:
    """ValueError if the nested key is missing; the step `*` stands for every entry of a list or an object."""
    for position, step in enumerate(steps):
        if step == "*":
            for entry in content.values() if isinstance(content, dict) else content:
                _require_key(entry, steps[position + 1 :])
            return
        if not isinstance(content, dict) or step not in content:
            raise ValueError(f"no {'/'.join(steps)}")
        content = content[step]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = " ".join(str(error).split())[:300]
    return f"no {message}" if isinstance(error, KeyError) else message or "it ends too early"
