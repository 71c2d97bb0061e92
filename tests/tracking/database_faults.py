"""Faults of an MLflow database on this machine: each function breaks it, and returns a function that repairs it."""

import contextlib
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


def lock(database: Path) -> Callable[[], None]:
    holder = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def lock_briefly(database: Path) -> Callable[[], None]:
    """For less time than the stage waits."""
    release = lock(database)
    timer = threading.Timer(2, release)
    timer.start()
    return timer.join


def make_read_only(database: Path) -> Callable[[], None]:
    """As later versions of SQLite mark their files; root may write to any file, whatever its permissions."""
    return _change(database, lambda content: content[:18] + b"\x03" + content[19:])


def overwrite(database: Path) -> Callable[[], None]:
    return _change(database, lambda content: bytes(range(256)) * (len(content) // 256))


def cut_in_half(database: Path) -> Callable[[], None]:
    return _change(database, lambda content: content[: len(content) // 8192 * 4096])


def make_newer(database: Path) -> Callable[[], None]:
    """The schema of a later MLflow."""

    def set_version(version: str) -> None:
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))

    with contextlib.closing(sqlite3.connect(database)) as connection:
        ((before,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    set_version("ffffffffffff")
    return lambda: set_version(before)


def _change(database: Path, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    before = database.read_bytes()
    database.write_bytes(change(before))
    return lambda: database.write_bytes(before)


@contextlib.contextmanager
def limited_disk(database: Path, share: float) -> Iterator[None]:
    """Processes that start in the block cannot write beyond this share of the database's size.

    The whole size would leave room for a small record: every table of an empty database has a page already.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(database.stat().st_size * share), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
