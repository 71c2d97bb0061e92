"""Manifests: JSON files with the SHA-256 of files that belong together, to find out whether any of them is damaged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenetlab.storage import files
from lenetlab.storage.digests import sha256_file, sha256_json


class Damaged(Exception):
    """A file is missing or its content does not match its manifest; the message names the file."""


def write_manifest(path: Path, digests: Mapping[str, str], **entries: Any) -> None:
    """Write entries and the SHA-256 of files in the same folder, by file name. Write those files first."""
    content = {**entries, "files": dict(digests)}
    files.write_json(path, {**content, "sha256": sha256_json(content)})


def read_manifest(path: Path) -> dict[str, Any]:
    """The entries and, as `files`, the digests. Raises Damaged for the first file, or manifest, that does not match."""
    content = _read_content(path)
    for name, digest in content["files"].items():
        file = path.parent / name
        if not file.is_file():
            raise Damaged(f"{file}: missing")
        if sha256_file(file) != digest:
            raise Damaged(f"{file}: damaged, its SHA-256 does not match {path.name}")
    return content


def _read_content(path: Path) -> dict[str, Any]:
    try:
        content = files.read_json(path)
        expected = content.pop("sha256")
        if isinstance(content, dict) and isinstance(content["files"], dict) and sha256_json(content) == expected:
            return content
    except FileNotFoundError:
        raise Damaged(f"{path}: missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise Damaged(f"{path}: damaged, its content does not match the SHA-256 that it states")
