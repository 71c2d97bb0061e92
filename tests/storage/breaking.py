"""What breaking things on purpose has in common: how long it may take, how something is changed, what a refusal is."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from lenetlab.errors import UserError

# Bytes; what Linux tells by getrusage can be the memory of the process that started this one.
PEAK = """
import re, resource, sys
if sys.platform == "linux":
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
SECONDS = 30  # for one case, even on a slow machine

# For cases that take more than some milliseconds.
fewer = settings(max_examples=settings().max_examples // 3)
few = settings(max_examples=settings().max_examples // 10)

changes = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "remove", "repeat"]), st.floats(0, 1), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


def changed(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """Places are fractions of the length, so that any of them can be changed."""
    for how, where, new in changes:
        at = min(int(where * len(content)), max(0, len(content) - 1))
        start, rest = content[:at], content[at:]
        if how == "flip" and rest:
            content = start + bytes([rest[0] ^ 1 << len(new) % 8]) + rest[1:]
        elif how == "cut":
            content = start
        elif how == "insert":
            content = start + new + rest
        elif how == "remove":
            content = start + rest[len(new) :]
        elif how == "repeat":
            content = start + rest[: 8 * len(new)] * 2 + rest[8 * len(new) :]
    return content


@contextmanager
def in_time() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise AssertionError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal(call: Callable[[], Any]) -> list[str]:
    """The lines in which `call` refuses what it was given, none if it takes it. Another exception fails the test."""
    with in_time():
        try:
            call()
        except UserError as error:
            lines = str(error).split("\n")
            assert all(line and line.isprintable() and len(line) < 20_000 for line in lines), lines
            return lines
    return []


def left(folder: Path) -> list[Path]:
    """All files below a folder, hidden ones too."""
    return [path for path in folder.rglob("*") if not path.is_dir()]


def run_frugally(program: str, *arguments: object, memory: int = 2**30) -> None:
    """Run a Python program that may use so many bytes of memory at most."""
    command = [sys.executable, "-c", program + PEAK, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    used = int(found.stdout.split()[-1])
    if used > memory:
        pytest.fail(f"{used} bytes of memory were used")
