"""Files and folders written whole or not at all; digests, manifests and locks.

What stands under its own name is complete and on the disk: a killed process or a power cut leaves the old file or the
new one, never a part. What is being written is called `.NAME.PID.part`, and the next writer clears away what the dead
have left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenetlab.storage import files
from lenetlab.storage.digests import sha256_file, sha256_json


class Damaged(Exception):
    """A file that is missing, or is not what its manifest says; the message names it."""


def write_manifest(path: Path, digests: Mapping[str, str], **notes: Any) -> None:
    """Notes, and the digests of files beside `path` that were written before: read again, they prove to be whole."""
    content = {**notes, "files": dict(digests)}
    files.write_json(path, {**content, "sha256": sha256_json(content)})


def read_manifest(path: Path) -> dict[str, Any]:
    """The notes and the digests. Damaged names the first file that is missing or changed, the manifest included."""
    try:
        content = files.read_json(path)
        stated = content.pop("sha256")
        digests = content["files"]
        if sha256_json(content) != stated:
            raise ValueError
    except FileNotFoundError:
        raise Damaged(f"{path}: missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged(f"{path}: damaged, it does not agree with its checksum") from None
    for name, digest in digests.items():
        place = path.parent / name
        if not place.is_file():
            raise Damaged(f"{place}: missing")
        if sha256_file(place) != digest:
            raise Damaged(f"{place}: damaged, it does not agree with its checksum")
    return content
