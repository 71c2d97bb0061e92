"""Files and folders written whole or not at all; digests, manifests and locks.

What stands under its own name is complete and on the disk: a killed process or a power cut leaves the old file or the
new one, never a part. What is being written is called `.NAME.PID.part`, and the next writer clears away what the dead
have left.
"""

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256(*parts: bytes | memoryview) -> str:
    """Digest of the parts, one after another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(content: Any) -> str:
    """Digest of the canonical form: keys sorted, no white space, so that equal content has equal digests."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
