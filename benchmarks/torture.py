"""Break everything that can break, as often as it takes, and keep the count in docs/reliability.md.

python -m benchmarks.torture, which is `make torture`: most of an hour on two cores
python -m benchmarks.torture small: as often as `make test` does, in minutes
"""

import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from benchmarks.write import replaced, table
from lenetlab.storage import files, provenance
from lenetlab.training import devices

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
SAME_BITS = "gone on with, the bits of an undisturbed run; no finished epoch trained twice"
ONE_MESSAGE = "right, or one message that names file or key and what is allowed; no output in part"
KINDS = {  # as the tests count them -> what was done, and what had to hold each time
    "killed": ("SIGKILL before an operation of the file system, or in its middle where it writes", SAME_BITS),
    "power cut": ("the same, and all that was not synced is undone, or some of it", SAME_BITS),
    "refused by the disk": ("an operation refused: disk full, or faulty; once or from then on", SAME_BITS),
    "writing: killed": (
        "the same, while a single file or folder is written",
        "the old one or the new one, never a part",
    ),
    "writing: power cut": ("the same", "the old one or the new one, never a part"),
    "writing: refused by the disk": ("the same", "the old one or the new one, and one error that names it"),
    "controls: a part of the state left out": (
        "resumed without weights, optimizer, epoch, journal, order, dropout, augmentation or schedule",
        "noticed: other bits",
    ),
    "dvc repro killed at a random time": (
        "SIGKILL, SIGTERM or Ctrl-C, to DVC alone or to all its processes",
        "nothing runs on; then the bits of a quiet run, each MLflow run once and FINISHED",
    ),
    "Ctrl-C": ("while it trains", "says what is kept and how to go on; nothing runs on"),
    "two at once": ("`dvc repro` twice", "the second is refused; the bits of a quiet run"),
    "tracking faults": (
        "MLflow's server refuses, hangs, answers 500 or nonsense, is cut off, drips; database full, locked, damaged",
        "training ends, seconds later at most, with one warning; `lenetlab sync` completes the record, once",
    ),
    "full disk": ("every stage on a disk that fills up", "one message with the remedy, nothing in part; goes on after"),
    "no permission": ("folders that cannot be written, files that cannot be read", "one message with the remedy"),
    "no memory": ("too little for the batch, a worker killed", "one message with the remedy; goes on after"),
    "params.yaml": ("any type, range, key, tag, alias, depth, byte", ONE_MESSAGE),
    "claims.yaml": ("the same", ONE_MESSAGE),
    "declarations": ("`data/mnist.toml`, the same", ONE_MESSAGE),
    "archives": ("links, devices, sparse, paths that lead out, bombs, cut or changed at any byte", ONE_MESSAGE),
    "PNG files": (
        "every bit flipped, cut anywhere, every other kind of PNG; and valid ones",
        f"{ONE_MESSAGE}; Pillow's pixels",
    ),
    "file names": ("Unicode's digits, signs, spaces, control characters, no text at all", ONE_MESSAGE),
    "checkpoints": ("weights of any bytes, shapes, names; a pickle in their place", "the same, and nothing unpickled"),
    "predictions.npz": ("any bytes, arrays, pickled objects", "the same, and nothing unpickled"),
    "command line": ("any arguments, for commands and stages", "one message, status not 0"),
}


def main(size: str = "large") -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counted = ["--count" if size == "small" else "--torture", f"{folder}/cases"]
        asked = ["-m", "torture", "-q", "--durations=10", *counted, str(ROOT / "tests")]
        status = pytest.main(["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *asked])
        cases = sum((Counter(files.read_json(counted)) for counted in Path(folder).iterdir()), Counter())
    if status == 0:
        if unknown := set(cases) - set(KINDS):
            raise KeyError(f"kinds of cases without a line in the table: {', '.join(unknown)}")
        lines = [(f"{kind}: {what}", held, f"{cases[kind]:,}", "0") for kind, (what, held) in KINDS.items()]
        heads = ("what was done", "what had to hold, and did", "cases", "of these, lost")
        how = f"the {size} version, {(time.monotonic() - began) / 60:.0f} minutes"
        said = f"{_where()}; {how}.\n\n{table(heads, lines, words=2)}"
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), "torture", said), encoding="utf-8")
    return status


def _where() -> str:
    origin = provenance.origin()
    commit = f"commit {origin['commit'][:10]}" if origin["commit"] else "no commit"
    processor = devices.describe(torch.device("cpu")).removeprefix("cpu: ")
    versions = f"Python {origin['python']}, torch {origin['torch']}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {devices.cores()} cores of {processor}, {versions}, {commit}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
