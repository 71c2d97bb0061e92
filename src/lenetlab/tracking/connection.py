"""Where MLflow's store is, MLflow's settings, and a client that reports every answer.

mlflow is imported inside functions: the import takes 3 to 4 s, longer than most stages, so it happens in a process
beside the stage.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error as DatabaseError
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage import paths

MAX_WAIT_SECONDS = 4  # for servers and locks, in all, once the stage has ended; publisher.WaitLimit counts them
FREE_WAIT_SECONDS = 0.5  # an answer that takes no longer does not count
# A hanging server costs 3 s instead of minutes. No telemetry, no migration log, no addresses on the screen.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

OnAnswer = Callable[..., None]  # called after every answer; its argument, if any: seconds that the next one may take


@dataclass(frozen=True)
class StoreLocation:
    """The tracking store. Artifacts of a SQLite store lie beside it, so that both can be moved together."""

    uri: str
    folder: Path
    database: Path | None  # None if it is not SQLite


def store_location() -> StoreLocation:
    """MLFLOW_TRACKING_URI, or what plain `mlflow ui` opens; a relative path is relative to the repository."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if not uri.startswith("sqlite:///"):
        return StoreLocation(uri, paths.repository_root(), None)
    database = paths.repository_root() / uri.removeprefix("sqlite:///")
    return StoreLocation(f"sqlite:///{database}", database.parent, database)


def import_mlflow() -> Any:
    """The package, with our settings, which it reads when it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    return mlflow


class Client:
    """MLflow's client; calls `on_answer` after every answer, and raises OSError for an answer that is not MLflow's."""

    def __init__(self, location: StoreLocation, on_answer: OnAnswer) -> None:
        self.on_answer, self.mlflow = on_answer, import_mlflow()
        self.client = self.mlflow.MlflowClient(location.uri)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        from sqlalchemy.exc import SQLAlchemyError

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                answer = getattr(self.client, name)(*arguments, **options)
            except (self.mlflow.exceptions.MlflowException, SQLAlchemyError, OSError):
                raise
            except Exception as error:  # of any kind: the client takes the page of a proxy for MLflow's answer
                raise OSError(f"an answer that is not MLflow's ({type(error).__name__}: {error})") from error
            self.on_answer()
            return answer

        return call


def short_message(error: Exception) -> str:
    """The first line of an error, with its type and without passwords, in at most 200 characters."""
    line = "".join(filter(str.isprintable, (str(error).strip().splitlines() or [""])[0]))
    return without_password(f"{type(error).__name__}: {line}")[:200]


def without_password(uri: str) -> str:
    """The address without user name and password."""
    return re.sub(r"//[^/\s]+@", "//", uri)


@contextmanager
def reporting_mlflow_errors() -> Iterator[None]:
    """Turn every error of MLflow, its server or its database into a UserError of one line."""
    mlflow = import_mlflow()
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (mlflow.exceptions.MlflowException, SQLAlchemyError, DatabaseError, OSError) as error:
        raise UserError(f"MLflow at {without_password(store_location().uri)}: {short_message(error)}") from None
