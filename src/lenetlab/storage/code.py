"""What a result is a function of, and where it came from."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lenetlab.storage.digests import sha256_json

PACKAGE = Path(__file__).parents[1]

TRAINER = "lenetlab.training.loop"  # with all that it imports, the code that decides the bits


def modules_reached(*modules: str) -> list[str]:
    """Names of this package's modules that run when these are imported, directly or through others; sorted.

    Importing `a.b.c` also runs `a` and `a.b`. Imports inside functions count.
    """
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in reached and (source := _source(name)):
            reached.add(name)
            waiting += [name.rpartition(".")[0], *_imported_names(source, name)]
    return sorted(reached)


def code_digest(module: str) -> str:
    """SHA-256 of what a module and all its imports from this package do; comments and docstrings do not count."""
    return sha256_json({name: _behaviour(_source(name)) for name in modules_reached(module)})


def changed_since(commit: str | None, module: str = TRAINER) -> list[str]:
    """The files, of those that `code_digest` counts, that differ from a commit's; none if git cannot tell."""
    sources = [str(_source(name)) for name in modules_reached(module)]
    try:
        return command_output("git", "diff", "--name-only", "--relative", f"{commit}", "--", *sources).splitlines()
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return []


def _source(module: str) -> Path | None:
    """The file of a module of this package; None for anything else."""
    top, *below = module.split(".")
    if top != "lenetlab":
        return None
    place = PACKAGE.joinpath(*below)
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _imported_names(source: Path, module: str) -> Iterator[str]:
    """All that a file imports, by full names: `from a import b` may mean the module `a.b` or a name inside `a`."""
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _behaviour(source: Path) -> Any:
    """A file's syntax tree without docstrings and positions, the same in every version of Python."""
    tree = ast.parse(source.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[has_docstring:]
    return _as_json(tree)


def _as_json(node: Any) -> Any:
    """Empty fields are left out, because newer versions of Python add fields to the syntax tree."""
    if isinstance(node, ast.AST):
        fields = {name: _as_json(value) for name, value in ast.iter_fields(node) if value is not None and value != []}
        return [type(node).__name__, fields]
    return [_as_json(part) for part in node] if isinstance(node, list) else repr(node)


def command_output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
