"""An experiment pipeline on digit images that says whether a difference is real."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that the user can put right; `problems` are lines that name a file or key and what is allowed."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@contextmanager
def plain_errors() -> Iterator[None]:
    """For programs: a UserError is printed without a traceback and ends with status 1, Ctrl-C with 130."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
