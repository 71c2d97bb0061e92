"""Processes forked from the test process, which has imported MLflow: a new interpreter needs six seconds for that."""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lenetlab.tracking import publisher
from lenetlab.tracking.connection import import_mlflow


class ForkedProcess:
    """A process that runs `work` in a session of its own, with the part of subprocess.Popen's interface used here.

    Unlike a thread it can be killed, and has its own working folder, environment and MLflow. A block ends it.
    """

    def __init__(self, work: Callable[[], object], errors: Path = Path(os.devnull)) -> None:
        stdin, to_stdin = os.pipe()
        from_stdout, stdout = os.pipe()
        self.status: int | None = None  # the exit status
        self.pid = os.fork()
        if self.pid == 0:
            _run(work, stdin, stdout, errors)
        os.close(stdin)
        os.close(stdout)
        self.stdin = os.fdopen(to_stdin, "wb", buffering=0)
        self.stdout = os.fdopen(from_stdout, "rb", buffering=0)

    def __enter__(self) -> "ForkedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.stdin.close()
        self.stdout.close()
        self.send_signal(signal.SIGTERM)
        self.wait()

    def send_signal(self, number: signal.Signals) -> None:
        if self.status is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 60) -> int:
        """The exit status; TimeoutError if the process runs on."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} did not end within {timeout} s")
            time.sleep(0.01)
        return self.status

    def poll(self) -> int | None:
        """The exit status; None while the process runs."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def read_lines(self) -> list[str]:
        """All lines that it writes until it ends."""
        return self.stdout.read().decode().splitlines()


def _run(work: Callable[[], object], stdin: int, stdout: int, errors: Path) -> NoReturn:
    """Run it without anything of the test process: files, signals, filters of warnings."""
    status = 1
    try:
        os.setsid()
        stderr = os.open(errors, os.O_WRONLY | os.O_CREAT, 0o644)
        for target, source in enumerate((stdin, stdout, stderr)):
            os.dup2(source, target)
        os.closerange(3, 65536)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores Ctrl-C
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        work()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def start_publisher(task: str) -> ForkedProcess:
    """In place of `beside_stage.start_publisher`. What publishers import is imported here, once."""
    import_mlflow()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import scipy.special  # noqa: F401

    return ForkedProcess(lambda: publisher.main([task]))
