"""What the stages fetch and prepare do with 70,000 PNG files, and the inflating that cannot be left out.

python -m benchmarks.reading {fetch,prepare,inflate} FOLDER
"""

import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import data
from lenetlab.data import archive, png, sources


def inflating(raw: Path) -> Callable[[], None]:
    """The data of every image inflated, and nothing else: what is returned; reading them is done before."""
    files = [content for name in ("train.tar", "test.tar") for _, content in archive.members(raw / name)]
    start = len(png.START)  # the chunk IDAT follows: length, kind, data, checksum
    packed = [content[start + 8 : start + 8 + int.from_bytes(content[start : start + 4], "big")] for content in files]

    def inflate() -> None:
        for stream in packed:
            zlib.decompress(stream)

    return inflate


def main(what: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        match what:
            case "fetch":
                work = partial(sources.fetch, folder, Path(out))
            case "prepare":
                work = partial(data.prepare_folder, folder, Path(out), validation=5000)
            case "inflate":
                work = inflating(folder)
        ready, began = time.monotonic(), time.perf_counter()
        work()
        found = {"ready": ready, "seconds": time.perf_counter() - began}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
