"""Where MLflow's store is, MLflow's settings, and a client that reports every answer.

mlflow is imported inside functions: the import takes 3 to 4 s, longer than most stages, so it happens in a process
beside the stage.
"""

import os
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error as DatabaseError
from sqlite3 import connect
from typing import Any

from lenetlab.errors import UserError, explain
from lenetlab.storage import paths

MAX_WAIT_SECONDS = 4  # for servers and locks, in all, once the stage has ended; publisher.WaitLimit counts them
FREE_WAIT_SECONDS = 0.5  # an answer that takes no longer does not count
# A hanging server costs 3 s instead of minutes. No telemetry; no migration log, addresses or progress on the screen.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
ANOTHER_STORE = (
    "set MLFLOW_TRACKING_URI to sqlite:///FILE, on a disk of this machine, or to http://HOST:PORT; without it, the"
    " store is mlflow.db in the project's folder"
)
PUT_AWAY = f"move the database away, and lenetlab sync fills a new one from the outputs; or {ANOTHER_STORE}"
REMEDIES = {  # by part of a message of SQLite, SQLAlchemy, alembic or MLflow
    "database is locked": f"end the program that holds it; if there is none, its disk has no locks: {ANOTHER_STORE}",
    "locking protocol": f"its disk has no locks: {ANOTHER_STORE}",
    "disk I/O error": f"its disk is faulty or has no locks: {ANOTHER_STORE}",
    "database or disk is full": "make room on its disk",
    "readonly database": f"give yourself permission to write it and its folder, or {ANOTHER_STORE}",
    "unable to open database file": f"it must be a file in a folder that you may write, or {ANOTHER_STORE}",
    "file is not a database": PUT_AWAY,
    "malformed": PUT_AWAY,
    "out-of-date database schema": f"back it up and run mlflow db upgrade URI; if a later MLflow made it, {PUT_AWAY}",
    "Can't locate revision": f"another program or a later MLflow made it: {PUT_AWAY}",
    "No module named": f"install that package, or {ANOTHER_STORE}",
}

OnAnswer = Callable[..., None]  # called after every answer; its argument, if any: seconds that the next one may take


@dataclass(frozen=True)
class StoreLocation:
    """The tracking store. Artifacts of a SQLite store lie beside it, so that both can be moved together."""

    uri: str
    folder: Path
    database: Path | None  # None if it is not SQLite


def store_location() -> StoreLocation:
    """MLFLOW_TRACKING_URI, or what plain `mlflow ui` opens; a relative path is relative to the repository.

    UserError if it names no file of SQLite (MLflow would lose all in a database in memory), or one in no folder.
    """
    uri = _store_uri()
    if not uri.startswith("sqlite"):
        return StoreLocation(uri, paths.repository_root(), None)
    file = uri.removeprefix("sqlite:///")
    if file in ("", uri, ":memory:") or "?" in file:
        raise UserError(f"MLFLOW_TRACKING_URI: {uri!r} is not allowed; remedy: {ANOTHER_STORE}")
    database = paths.repository_root() / file
    if not database.parent.is_dir():
        raise UserError(
            f"MLFLOW_TRACKING_URI: {uri!r}: there is no folder {database.parent};"
            f" remedy: mkdir -p {shlex.quote(str(database.parent))}, or {ANOTHER_STORE}"
        )
    return StoreLocation(f"sqlite:///{database}", database.parent, database)


def store_address() -> str:
    """The store as messages name it, whatever MLFLOW_TRACKING_URI is: without user name and password."""
    uri = _store_uri()
    if uri.startswith("sqlite:///"):
        uri = f"sqlite:///{paths.repository_root() / uri.removeprefix('sqlite:///')}"
    return without_password(uri)


def _store_uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


def import_mlflow() -> Any:
    """The package, with our settings, which it reads when it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


class Client:
    """MLflow's client; calls `on_answer` after every answer, and raises OSError for an answer that is not MLflow's."""

    def __init__(self, location: StoreLocation, on_answer: OnAnswer) -> None:
        if location.database:
            _require_no_other_program(location.database)
        self.on_answer, self.mlflow = on_answer, import_mlflow()
        self.client = self.mlflow.MlflowClient(location.uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        from sqlalchemy.exc import SQLAlchemyError

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                answer = self._answer(getattr(self.client, name), *arguments, **options)
            except (self.mlflow.exceptions.MlflowException, SQLAlchemyError, OSError):
                raise
            except Exception as error:  # of any kind: the client takes the page of a proxy for MLflow's answer
                raise OSError(f"an answer that is not MLflow's ({type(error).__name__}: {error})") from error
            self.on_answer()
            return answer

        return call

    def _answer(self, ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return ask(*arguments, **options)
        except self.mlflow.exceptions.MlflowException as error:
            if "unique constraint" not in str(error).lower():
                raise
        # Another clone added the same row at that moment. The server has undone the call, and now finds the row.
        return ask(*arguments, **options)


def _require_no_other_program(database: Path) -> None:
    """UserError if another program made this database: MLflow would add its tables."""
    if database.is_file():
        with closing(connect(database, timeout=MAX_WAIT_SECONDS - 1)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        tables.discard("alembic_version")  # of migrations; alone, MLflow's creation of the database failed
        if tables and "experiments" not in tables:  # which MLflow creates first
            raise UserError(f"{database}: a database of another program; remedy: {ANOTHER_STORE}")


def short_message(error: Exception) -> str:
    """An error of the store in one line, with its type, with a remedy and without passwords."""
    if isinstance(error, UserError):
        return str(error)
    line = "".join(filter(str.isprintable, (str(error).strip().splitlines() or [""])[0]))
    message = textwrap.shorten(without_password(f"{type(error).__name__}: {line}"), 200, placeholder=" …")
    return f"{message}; remedy: {_remedy(error)}"


def _remedy(error: Exception) -> str:
    found = [remedy for part, remedy in REMEDIES.items() if part in str(error)]
    if found:
        return found[0]
    known = explain(error)  # of the operating system
    if known and "; remedy: " in str(known):
        return str(known).partition("; remedy: ")[2]
    if _store_uri().startswith("http"):
        return f"see that MLflow's server runs there and lets you in, or {ANOTHER_STORE}"
    return ANOTHER_STORE


def without_password(uri: str) -> str:
    """The address without user name and password."""
    return re.sub(r"//[^/\s]+@", "//", uri)


@contextmanager
def reporting_mlflow_errors() -> Iterator[None]:
    """Turn every error of MLflow, its server or its database into a UserError of one line."""
    mlflow = import_mlflow()
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    errors = (mlflow.exceptions.MlflowException, SQLAlchemyError, CommandError, DatabaseError, ImportError, OSError)
    try:
        yield
    except errors as error:
        raise UserError(f"MLflow at {store_address()}: {short_message(error)}") from None
