"""Break everything that can break, as often as it takes, and keep the count in docs/reliability.md.

python -m benchmarks.torture, which is `make torture`: about an hour on two cores
"""

import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.write import replaced, table
from lenetlab import device, files

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
# Kind, as the tests count it -> what was done, and what had to hold each time.
KINDS = {
    "killed": "training killed at an operation of the file system, in its middle where it writes | the bits of an undisturbed run, no finished epoch trained twice",
}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        counted = Path(folder) / "cases.json"
        status = pytest.main(["-m", "torture", "-x", "-q", "--durations=10", "--torture", str(counted), str(ROOT)])
        if status == 0:
            cases = files.read_json(counted)
    return status


if __name__ == "__main__":
    sys.exit(main())
