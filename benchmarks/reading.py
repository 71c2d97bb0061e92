"""What the stages fetch and prepare do with 70,000 PNG files, and the inflating that cannot be left out.

python -m benchmarks.reading {fetch,prepare,inflate} FOLDER
"""

import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from lenetlab import archive, index, sources


def fetch(source: Path) -> Callable[[], None]:
    raw = Path(tempfile.mkdtemp(dir=source.parent))
    return lambda: sources.fetch(source, raw)


def prepare(raw: Path) -> Callable[[], None]:
    out = Path(tempfile.mkdtemp(dir=raw.parent))
    settings = {"validation": 5000, "validation_seed": 0, "duplicates": "error"}
    return lambda: index.prepare(raw, out / "train", out / "test", **settings)


def inflate(raw: Path) -> Callable[[], None]:
    """The data of every image inflated, and nothing else."""
    files = [content for name in ("train.tar", "test.tar") for _, content in archive.members(raw / name)]
    start = len(archive.PNG_START)  # the chunk IDAT follows: length, kind, data, checksum
    data = [content[start + 8 : start + 8 + int.from_bytes(content[start : start + 4], "big")] for content in files]

    def work() -> None:
        for packed in data:
            zlib.decompress(packed)

    return work


def main(what: str, folder: Path) -> None:
    work = {"fetch": fetch, "prepare": prepare, "inflate": inflate}[what](folder)
    ready, began = time.monotonic(), time.perf_counter()
    work()
    print(json.dumps({"ready": ready, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
