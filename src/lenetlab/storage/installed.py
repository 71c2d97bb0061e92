"""Which code a project without code of its own runs: that of the installed package, recorded in code.json.

DVC sees this file in place of the code: a stage depends on the digests of the parts that it runs.
"""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage import code, stage_outputs
from lenetlab.storage.digests import sha256_file, sha256_json

RECORD, OWN_CODE = Path("code.json"), Path("src/lenetlab")
VERSION, FILES = "version", "files"  # the keys of code.json that are no part of the package
UPDATE = "lenetlab init --update"


def describe(parts: Iterable[str]) -> dict[str, str]:
    """The version of the installed package, and the SHA-256 of these parts of it; those that it lacks are left out.

    A part is a package or a module, such as `settings` or `evaluation/curves`.
    """
    digests = {part: digest for part in sorted(parts) if (digest := _digest(code.PACKAGE / part))}
    return {VERSION: version("lenetlab"), **digests}


def read() -> dict[str, Any]:
    """The content of code.json."""
    return stage_outputs.read_json_object(RECORD, UPDATE, VERSION, FILES)


def require_recorded() -> None:
    """UserError if this folder is a project without code of its own, and other code is installed than it recorded."""
    if OWN_CODE.is_dir() or not RECORD.exists():
        return
    recorded = read()
    parts = recorded.keys() - {VERSION, FILES}
    present = describe(parts)
    if differing := sorted(part for part in parts if present.get(part) != recorded[part]):
        raise UserError(
            f"{RECORD}: records lenetlab {recorded[VERSION]}, but the lenetlab {present[VERSION]} in {code.PACKAGE} has"
            f" other code ({', '.join(differing)}); remedy: {UPDATE}, then dvc repro, or install the recorded version"
        )


def _digest(place: Path) -> str | None:
    """Of a module or of all files of a package; None if there is no such part."""
    module = place.with_name(f"{place.name}.py")
    if module.is_file():
        return sha256_file(module)
    sources = {
        str(path.relative_to(place)): sha256_file(path)
        for path in place.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sha256_json(sources) if sources else None
