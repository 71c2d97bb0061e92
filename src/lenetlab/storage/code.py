"""Which modules of this package run when another is imported, and the SHA-256 of their code."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256_json

PACKAGE = Path(__file__).parents[1]

TRAINER = "lenetlab.training.loop"  # this module and everything that it imports decide the bits of a training


def modules_reached(*modules: str) -> list[str]:
    """Sorted names of this package's modules that run when these are imported, directly or indirectly.

    Importing `a.b.c` also runs `a` and `a.b`. Imports inside functions count.
    """
    return sorted(_read_with_imports(*modules))


def code_digest(module: str) -> str:
    """SHA-256 of the code of a module and of all modules it imports; comments and docstrings do not count."""
    return sha256_json({name: source.digest for name, source in _read_with_imports(module).items()})


def changed_since(commit: str | None, module: str = TRAINER) -> list[str]:
    """Files that `code_digest` includes and that differ from a commit; empty if git cannot tell."""
    sources = [str(_source_file(name)) for name in modules_reached(module)]
    try:
        return command_output("git", "diff", "--name-only", "--relative", f"{commit}", "--", *sources).splitlines()
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return []


def own_digests(file: Path) -> dict[str, str]:
    """Digests of a file of the user and of the modules in its folder that it imports, by path; as in `code_digest`.

    Raises UserError if one of them is missing or is not Python.
    """
    digests, pending = dict[str, str](), [file]
    while pending:
        path = pending.pop()
        if path.as_posix() in digests:
            continue
        try:
            source = _parse(path.read_bytes(), ".".join(path.parent.relative_to(file.parent).parts))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; remedy: the file that `model` in params.yaml names") from None
        except (SyntaxError, ValueError) as error:
            line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
            raise UserError(f"{path}: {line}{type(error).__name__}: {error.args[0]}") from None
        digests[path.as_posix()] = source.digest
        pending += [found for name in source.imports for found in _files_of(name, file.parent)]
    return digests


def _files_of(module: str, folder: Path) -> Iterator[Path]:
    """The files in this folder that run when `module` is imported; none if it is from elsewhere."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:depth])
        yield from (path for path in (place.with_name(f"{place.name}.py"), place / "__init__.py") if path.is_file())


def command_output(*command: str) -> str:
    """Standard output of a command; raises if the command is missing, fails or takes more than ten seconds."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


@dataclass(frozen=True)
class _Source:
    digest: str  # of its syntax tree, without docstrings
    imports: tuple[str, ...]  # full names


def _read_with_imports(*modules: str) -> dict[str, _Source]:
    """These modules and all modules of this package that they import, by name."""
    sources: dict[str, _Source] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name not in sources and (file := _source_file(name)):
            parent = name.rpartition(".")[0]
            sources[name] = _parse(file.read_bytes(), name if file.name == "__init__.py" else parent)
            pending += [parent, *sources[name].imports]
    return sources


@cache  # parsing takes most of the time
def _parse(content: bytes, package: str) -> _Source:
    tree = ast.parse(content)
    imports = tuple(_imported_names(tree, package))
    return _Source(sha256_json(_without_docstrings(tree)), imports)


def _source_file(module: str) -> Path | None:
    """The file of a module of this package; None for other names."""
    top, *path = module.split(".")
    if top != "lenetlab":
        return None
    place = PACKAGE.joinpath(*path)
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _imported_names(tree: ast.Module, package: str) -> Iterator[str]:
    """Full names of everything that a module of `package` imports.

    `from a import b` yields `a` and `a.b`, because b may be a module or a name inside a.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> Any:
    """A syntax tree as JSON without docstrings and positions, the same in every version of Python."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            node.body = node.body[has_docstring:]
    return _as_json(tree)


def _as_json(node: Any) -> Any:
    """Leaves out empty fields, because newer versions of Python add fields to the syntax tree."""
    if isinstance(node, ast.AST):
        fields = {name: _as_json(value) for name, value in ast.iter_fields(node) if value is not None and value != []}
        return [type(node).__name__, fields]
    return [_as_json(part) for part in node] if isinstance(node, list) else repr(node)
