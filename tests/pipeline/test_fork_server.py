"""The process whose forks are the programs of pipeline tests outlives killed ones; else all later tests would fail."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pipeline.projects import ROOT, STAND_IN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks stand in on Linux alone")
START = """\
import pathlib, sys
from tests.pipeline import fork_server
fork_server.PACKAGES = ()
fork_server.main(pathlib.Path(sys.argv[1]))
"""
PRINT_ID = "import os, time; print(os.getpid(), flush=True); time.sleep({})"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """One that has imported no large packages."""
    stand_in = STAND_IN.format(python=sys.executable, name="python", address=tmp_path / "address")
    (tmp_path / "python").write_text(stand_in)
    (tmp_path / "python").chmod(0o755)
    words, pipes = [sys.executable, "-c", START, tmp_path], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.stdin.close()


@contextmanager
def started(folder: Path, seconds: int) -> Iterator[tuple[subprocess.Popen, int]]:
    """A stand-in and the id of its fork."""
    words = [folder / "python", "-c", PRINT_ID.format(seconds)]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE) as stand_in:
        yield stand_in, int(stand_in.stdout.readline())


def check_that_it_serves(folder: Path) -> None:
    with started(folder, 0) as (stand_in, _):
        assert stand_in.wait(30) == 0


@pytest.mark.usefixtures("server")
def test_a_stand_in_is_killed_before_it_says_what_to_run(tmp_path):
    for content in (b"", (99).to_bytes(8, "big")):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "address"))
            connection.sendall(content)
    check_that_it_serves(tmp_path)


def test_a_stand_in_and_its_fork_are_killed_in_the_same_moment(server, tmp_path):
    with started(tmp_path, 60) as (stand_in, fork):
        os.kill(server.pid, signal.SIGSTOP)  # so that it learns of both together
        os.waitpid(server.pid, os.WUNTRACED)
        ended = os.pidfd_open(fork)
        os.kill(fork, signal.SIGKILL)
        assert select.select([ended], [], [], 30)[0]
        os.close(ended)
        stand_in.kill()
        stand_in.wait(30)
        os.kill(server.pid, signal.SIGCONT)
    check_that_it_serves(tmp_path)
