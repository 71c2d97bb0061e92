"""What fuzz tests share: random changes of bytes, and limits of time and memory."""

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

# Prints the peak memory in bytes. On Linux getrusage may report the memory of the process that started this one.
PRINT_PEAK_MEMORY = """
import re, resource, sys
if sys.platform == "linux":
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
TIMEOUT = 30  # seconds for one case, even on a slow machine

# For cases that take more than a few milliseconds.
fewer_examples = settings(max_examples=settings().max_examples // 3)
few_examples = settings(max_examples=settings().max_examples // 10)

# How to change, where (as a share of the length), and with which bytes.
byte_changes = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "remove", "repeat"]), st.floats(0, 1), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


def apply_changes(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
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
def time_limit() -> Iterator[None]:
    """AssertionError if the block takes too long."""

    def fail(*_: object) -> None:
        raise AssertionError(f"not finished after {TIMEOUT} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TIMEOUT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def error_lines(call: Callable[[], Any]) -> list[str]:
    """The lines of the UserError of a call, empty without an error. Another exception fails the test."""
    with time_limit():
        try:
            call()
        except UserError as error:
            lines = str(error).split("\n")
            assert all(line and line.isprintable() and len(line) < 20_000 for line in lines), lines
            return lines
    return []


def all_files(folder: Path) -> list[Path]:
    """All files below a folder, including hidden ones."""
    return [path for path in folder.rglob("*") if not path.is_dir()]


def check_peak_memory(program: str, *arguments: object, memory: int = 2**30) -> None:
    """Run a Python program, which may use at most this many bytes of memory."""
    command = [sys.executable, "-c", program + PRINT_PEAK_MEMORY, *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
    used = int(found.stdout.split()[-1])
    if used > memory:
        pytest.fail(f"{used} bytes of memory were used")
