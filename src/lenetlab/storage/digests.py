"""SHA-256 of bytes, files and JSON content, as hexadecimal digits."""

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256(*parts: bytes | memoryview) -> str:
    """Digest of the concatenated parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Any) -> str:
    """Digest of the canonical JSON form (sorted keys, no white space), so that equal content has equal digests.

    ValueError for NaN and infinity.
    """
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
