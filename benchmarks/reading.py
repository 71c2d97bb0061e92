"""Time the stages fetch and prepare, and for comparison only the decompression of the images.

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


def make_inflate(raw: Path) -> Callable[[], None]:
    """A function that decompresses the data of all images. They are read before, so that only this is timed."""
    images = [content for name in ("train.tar", "test.tar") for _, content in archive.members(raw / name)]
    start = len(png.START)  # the chunk IDAT follows: length, kind, data, checksum
    compressed = [
        content[start + 8 : start + 8 + int.from_bytes(content[start : start + 4], "big")] for content in images
    ]

    def inflate() -> None:
        for stream in compressed:
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
                work = make_inflate(folder)
        ready, began = time.monotonic(), time.perf_counter()
        work()
        result = {"ready": ready, "seconds": time.perf_counter() - began}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
