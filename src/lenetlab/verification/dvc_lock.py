"""Do the files of a project agree with its dvc.lock?"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from lenetlab.errors import UserError


def problems(without_data: bool) -> list[str]:
    """What differs from dvc.lock in the current folder, a line per stage.

    `without_data`: images that are missing are no problem. UserError if DVC cannot tell.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    status = subprocess.run(
        [sys.executable, "-P", "-m", "dvc", "status", "--json"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    try:
        stages = json.loads(status.stdout)
    except ValueError:
        reason = (status.stderr.strip() or status.stdout.strip() or "no answer").splitlines()[0]
        raise UserError(f"dvc status failed ({reason.removeprefix('ERROR: ')})") from None
    found = {stage: list(_changes(changes, without_data)) for stage, changes in stages.items()}
    return [f"{stage}: {', '.join(changes)}" for stage, changes in found.items() if changes]


def _changes(changes: list[Any], without_data: bool) -> Iterator[str]:
    """`changes`: a text, or lists of paths by kind, each path with its state."""
    for change in changes:
        if isinstance(change, str):
            yield change
            continue
        for paths in change.values():
            for path, state in paths.items():
                if isinstance(state, dict):  # params
                    yield from (f"{key} of {path} {kind}" for key, kind in state.items())
                elif not (without_data and state == "deleted" and path.startswith("data/")):
                    yield f"{path} {state}"
