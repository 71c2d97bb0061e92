"""How busy the machine was while a seed trained: measured every second beside the stage, and read by epoch.

The measurements lie beside the seed's journal in the folder for resuming. They are no output, so a
clone does not have them.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from lenetlab.storage import paths
from lenetlab.tracking.metrics import names

FILE = "system.csv"  # seconds since 1970, per cent of all processors, megabytes of memory
SECONDS = 1.0  # between two measurements


def measure(folders: Sequence[Path], has_ended: Callable[[], bool]) -> threading.Thread:
    """Start to measure for the seeds of these folders that are not finished, until `has_ended`."""
    thread = threading.Thread(target=_measure, args=(folders, has_ended), daemon=True)
    thread.start()
    return thread


def _measure(folders: Sequence[Path], has_ended: Callable[[], bool]) -> None:
    import psutil

    psutil.cpu_percent()  # the next call is about the time since this one
    while not has_ended():
        time.sleep(SECONDS)
        row = f"{time.time():.3f},{psutil.cpu_percent():.1f},{psutil.virtual_memory().used / 1e6:.1f}\n"
        for folder in folders:
            if folder.is_dir() and not (folder / paths.RUN_RECORD).exists():
                with suppress(OSError), (folder / FILE).open("a", encoding="utf-8") as stream:  # as on a full disk
                    stream.write(row)


def by_epoch(folder: Path, journal: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], tuple[float, float]]:
    """Means over each epoch of a journal, with the time of its end; empty without measurements of it."""
    rows = sorted(_read(folder / FILE))
    times = [row[0] for row in rows]  # searched, since a long training has many of them, for many epochs
    found = {}
    for before, event in pairwise(journal):
        if event["event"] == "epoch":
            during = rows[bisect_right(times, before["time"]) : bisect_right(times, event["time"])]
            for column, name in enumerate((names.CPU, names.MEMORY) if during else (), start=1):
                found[name, event["epoch"]] = round(fmean(row[column] for row in during), 1), event["time"]
    return found


def _read(path: Path) -> list[tuple[float, ...]]:
    """The complete rows; a killed process may have left part of one."""
    rows = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                rows.append(tuple(map(float, line.split(","))))
    return [row for row in rows if len(row) == 3]
