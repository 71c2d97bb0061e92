"""Break everything that can break, many times, and write the table of the counts in docs/reliability.md.

python -m benchmarks.torture, which is `make torture`: takes most of an hour on two cores
python -m benchmarks.torture small: as many cases as `make test`, in minutes
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from benchmarks import write
from lenetlab.storage import files, provenance
from lenetlab.training import devices

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
RESUMED = "after resuming, the same bits as an undisturbed run; no finished epoch is trained twice"
OLD_OR_NEW = "the old content or the new one, never a part"
ONE_MESSAGE = "valid input is read; otherwise one message names the file or key and what is allowed; no partial output"
KINDS = {  # kind of case, as the tests count it: what was done, what had to hold each time
    "killed": ("SIGKILL before an operation of the file system, or halfway through a write", RESUMED),
    "power cut": ("as above, and all or a part of what was not synced is undone", RESUMED),
    "refused by the disk": ("an operation fails, because the disk is full or faulty, once or from then on", RESUMED),
    "killed, with unstable settings": (
        "SIGKILL before every rename while a seed trains that hardly stays finite, alone or after another one diverged",
        "after resuming, the same bits as an undisturbed run; it does not diverge",
    ),
    "environment variables": (
        "a variable of MKL, oneDNN, ATen, OpenMP, torch, cuBLAS, Python or glibc is set",
        "the same bits and fingerprint, or another fingerprint",
    ),
    "writing: killed": ("SIGKILL while one file or folder is written", OLD_OR_NEW),
    "writing: power cut": ("a power cut while one file or folder is written", OLD_OR_NEW),
    "writing: refused by the disk": (
        "an operation fails while one file or folder is written",
        "the old content or the new one, and an error that names the file",
    ),
    "writing: Ctrl-C": ("KeyboardInterrupt before or after every operation while a folder is written", OLD_OR_NEW),
    "several containers": (
        "two processes, of which neither sees the other, write one file",
        "neither removes what the other is writing",
    ),
    "controls: a part of the state left out": (
        "resumed without weights, optimizer, epoch, journal, image order, dropout, augmentation or schedule",
        "the test notices that the bits differ",
    ),
    "dvc repro killed at a random time": (
        "SIGKILL, SIGTERM or Ctrl-C, sent to DVC alone or to all its processes",
        "no process keeps running; after the next `dvc repro` the bits are those of an undisturbed run, and each MLflow"
        " run exists once and is FINISHED",
    ),
    "Ctrl-C": ("during training", "a message says what is kept and how to continue; no process keeps running"),
    "lenetlab settle stopped": (
        "SIGKILL after it added seeds, SIGKILL of it alone, or Ctrl-C",
        "no `dvc repro` keeps running; the same command goes on, and finished seeds keep their bits",
    ),
    "two at once": ("`dvc repro` started twice", "the second is rejected; the bits of an undisturbed run"),
    "tracking faults": (
        "the MLflow server refuses connections, hangs, answers 500 or nonsense, breaks off or is very slow; the"
        " database is full, locked or damaged",
        "training ends at most seconds later, with one warning; `lenetlab sync` completes the record, without"
        " duplicates",
    ),
    "user's changes in MLflow": (
        "runs, experiment or artifacts deleted or garbage-collected; notes, names and tags edited, added or removed",
        "the record is complete again, without duplicates; what the user wrote stays",
    ),
    "outputs that change back": (
        "seeds removed and added again, old values and old files return, an upload is interrupted",
        "MLflow says what the outputs say",
    ),
    "two publishers without a common lock": (
        "both create the same runs, one inside the other's requests; clones use a store for the first time at once",
        "no error; each run exists once; a run with a user's note stays",
    ),
    "DVC experiments in MLflow": (
        "`dvc exp run` with other seeds, stopped after any stage, in the workspace or `--temp`",
        "the committed study's runs are unchanged",
    ),
    "crash between two requests to MLflow": (
        "stopped between the requests for parent and child; tags or parent removed",
        "no traceback, no RUNNING run",
    ),
    "moved projects and stores": (
        "project, images or store moved, copied or removed, wholly or in part",
        "it works in the new place and writes nothing to the old one, or one message with the remedy",
    ),
    "wrong stores": (
        "MLFLOW_TRACKING_URI names no store, a damaged, foreign, newer or read-only one, or a disk without locks",
        "one message with the remedy, after which `lenetlab sync` works",
    ),
    "other working folders": (
        "commands and stages started outside the project or below it",
        "one message that names the project's folder; no partial output",
    ),
    "full disk": (
        "every stage on a disk that fills up",
        "one message with the remedy, no partial output; the stage continues once there is space",
    ),
    "no permission": ("folders that cannot be written, files that cannot be read", "one message with the remedy"),
    "no memory": (
        "too little memory for the batch; a worker process is killed",
        "one message with the remedy; the next run continues",
    ),
    "copies": (
        "a copied project, a temporary experiment; other code is installed",
        "a stage runs the code of its own folder; `lenetlab` refuses to run other code",
    ),
    "edits meanwhile": (
        "code, data or settings change while a stage runs",
        "the stage fails and names what changed; DVC records nothing",
    ),
    "params.yaml": ("any types, ranges, keys, tags, aliases, nesting and bytes", ONE_MESSAGE),
    "claims.yaml": ("as above", ONE_MESSAGE),
    "declarations": ("as above, in `data/mnist.toml`", ONE_MESSAGE),
    "archives": (
        "links, devices, sparse files, paths out of the folder, decompression bombs; truncated or changed at any byte",
        ONE_MESSAGE,
    ),
    "PNG files": (
        "any bit flipped, truncated anywhere, every other kind of PNG; also valid files",
        f"{ONE_MESSAGE}; pixels are the same as with Pillow",
    ),
    "forms of images": (
        "zip, tar.gz, class folders, IDX, CSV, PNG, JPEG, TIFF and others, truncated or changed at any byte",
        ONE_MESSAGE,
    ),
    "file names": ("Unicode digits, signs, spaces, control characters, bytes that are not text", ONE_MESSAGE),
    "checkpoints": (
        "weights with any bytes, shapes and names; a pickle instead of weights",
        f"{ONE_MESSAGE}; nothing is unpickled",
    ),
    "predictions.npz": ("any bytes, arrays and pickled objects", f"{ONE_MESSAGE}; nothing is unpickled"),
    "command line": ("any arguments of commands and stages", "one message, exit status not 0"),
}


def main(size: str = "large") -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        count_option = ["--count" if size == "small" else "--torture", f"{folder}/cases"]
        options = ["-m", "torture", "-q", "--durations=10", *count_option, str(ROOT / "tests")]
        status = pytest.main(["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *options])
        cases = sum((Counter(files.read_json(counts)) for counts in Path(folder).iterdir()), Counter())
    if status == 0:
        if unknown := set(cases) - set(KINDS):
            raise KeyError(f"kinds of cases without a row in the table: {', '.join(unknown)}")
        minutes = (time.monotonic() - began) / 60
        content = f"{_environment()}; the {size} version, {minutes:.0f} minutes.\n\n{table(cases)}"
        files.write_text(PAGE, write.replace_section(PAGE.read_text(encoding="utf-8"), "torture", content))
    return status


def table(cases: Mapping[str, int]) -> str:
    """All kinds with the number of cases. None failed, because the table is written only if all tests pass."""
    rows = [(kind, what, held, f"{cases.get(kind, 0):,}", "0") for kind, (what, held) in KINDS.items()]
    return write.table(("kind", "what was done", "what had to hold, and did", "cases", "failed"), rows, words=3)


def _environment() -> str:
    origin = provenance.origin()
    commit = f"commit {origin['commit'][:10]}" if origin["commit"] else "no commit"
    processor = devices.describe(torch.device("cpu")).removeprefix("cpu: ")
    versions = f"Python {origin['python']}, torch {origin['torch']}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {devices.cores()} cores of {processor}, {versions}, {commit}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
