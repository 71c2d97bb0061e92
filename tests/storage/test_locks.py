"""A lock admits one process at a time, and is released when its process ends."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lenetlab import errors
from lenetlab.storage.locks import locked
from tests.storage import faults

fork = multiprocessing.get_context("fork")


@pytest.fixture
def lock(tmp_path) -> Path:
    return tmp_path / "new" / "folder" / "training.lock"


def start(work: Callable[..., None], *arguments: Any) -> Any:
    process = fork.Process(target=work, args=arguments)
    process.start()
    return process


def hold(lock: Path, held: Any, end: Any) -> None:
    with locked(lock, lambda: None):
        held.set()
        end.wait(30)


def test_a_second_process_waits_until_the_first_releases_the_lock(lock):
    held, end, calls = fork.Event(), fork.Event(), []
    first = start(hold, lock, held, end)
    assert held.wait(30)

    def while_waiting() -> None:
        calls.append(time.monotonic())
        if len(calls) == 5:
            end.set()

    with locked(lock, while_waiting):
        first.join(30)
        assert first.exitcode == 0
    assert len(calls) >= 5
    assert 0.3 < calls[4] - calls[0] < 5  # ten calls a second, more slowly on a busy machine


def test_a_free_lock_is_taken_at_once_and_can_be_taken_again(lock):
    for _ in range(2):
        with locked(lock, lambda: pytest.fail("waits for a free lock")):
            assert lock.is_file()


def test_the_lock_is_released_after_an_error(lock):
    with pytest.raises(KeyError), locked(lock, lambda: None):
        raise KeyError
    with locked(lock, lambda: pytest.fail("waits for a free lock")):
        pass


def test_an_error_while_waiting_ends_the_wait(lock):
    held, end = fork.Event(), fork.Event()
    first = start(hold, lock, held, end)
    assert held.wait(30)

    def give_up() -> None:
        raise KeyError

    with pytest.raises(KeyError), locked(lock, give_up):
        pytest.fail("two processes hold the lock")
    end.set()
    first.join(30)


def test_a_killed_process_releases_the_lock_once_its_forks_have_ended_too(lock):
    """A worker of a killed process may still write; so nobody else may have the lock until it has ended."""
    forked, end = fork.Event(), fork.Event()

    def hold_and_fork() -> None:
        with locked(lock, lambda: None):
            start(lambda: (forked.set(), end.wait(30)))
            time.sleep(30)

    holder = start(hold_and_fork)
    assert forked.wait(30)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    waits = []

    def while_waiting() -> None:
        waits.append(end.is_set())
        end.set()

    with locked(lock, while_waiting):
        pass
    assert waits[0] is False


def test_a_lock_file_without_permission_is_one_line(lock):
    lock.parent.mkdir(parents=True)
    refused = faults.Error(errno.EACCES, lasting=True)
    with (
        faults.injected(0, refused, below=lock.parent),
        pytest.raises(PermissionError) as caught,
        locked(lock, lambda: None),
    ):
        pass
    assert str(errors.explain(caught.value)) == f"{lock}: Permission denied; remedy: give yourself permission for it"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_line(lock, monkeypatch, number):
    def flock(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=os.strerror(number)) as caught, locked(lock, lambda: None):
        pass
    line = str(errors.explain(caught.value))
    remedy = "work on a file system with locks, such as a local disk"
    assert line == f"{lock}: {os.strerror(number)}; remedy: {remedy}"
