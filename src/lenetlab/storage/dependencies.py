"""Check that nothing a stage depends on changes while it runs.

DVC hashes dependencies and params after the command. So it would record an edit made meanwhile as what ran.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.settings import yaml_file
from lenetlab.storage import installed, paths


@contextmanager
def unchanged() -> Iterator[None]:
    """UserError if a dependency of the stage that DVC runs changes while the block works.

    Outside DVC this is not checked, since nothing is recorded there. UserError also if the installed package is not the
    recorded one, before the block or behind it.
    """
    installed.require_recorded()
    stage = os.environ.get("DVC_STAGE")
    before = _state(stage) if stage else {}
    yield
    installed.require_recorded()
    after = _state(stage) if stage else {}
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    if changed:
        raise UserError(
            f"{', '.join(changed)}: changed while the stage ran, so DVC would record what did not run; remedy:"
            " dvc repro again, which keeps finished seeds"
        )


def _state(stage: str) -> dict[str, Any]:
    """By name, what changes if a dependency does: of a file its size and time, of a param its value."""
    name, _, variant = stage.rpartition(":")[2].partition("@")
    values = yaml_file.read_yaml(paths.PARAMS)
    declared = yaml_file.read_yaml(paths.DVC_STAGES)["stages"][name]
    names = {**values, "item": {"variant": variant}}

    def resolve(text: str) -> str:
        return re.sub(r"\$\{(.+?)\}", lambda found: str(_value(names, found[1])), text)

    params = declared.get("params", [])
    other_files = [
        name for entry in params if isinstance(entry, dict) for name in entry
    ]  # such as `- more.yaml: [key]`
    keys = [resolve(entry) for entry in params if isinstance(entry, str)]
    state = {f"{paths.PARAMS}: {key}": _value(values, key) for key in keys}
    for dependency in map(resolve, [*declared["deps"], *other_files]):
        state |= {str(path): _size_and_time(path) for path in _files(Path(dependency))}
    return state


def _value(content: Any, key: str) -> Any:
    """The value of a key such as `data.source`; None if it is not there."""
    return reduce(lambda block, step: block.get(step) if isinstance(block, dict) else None, key.split("."), content)


def _files(path: Path) -> Iterator[Path]:
    """The file, or every file below the folder, without what Python compiled and what editors and desktops leave."""
    if not path.is_dir():
        yield path
    for folder, _, names in os.walk(path):
        if Path(folder).name != "__pycache__":
            yield from (Path(folder, name) for name in names if not name.startswith(".") and not name.endswith("~"))


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns
