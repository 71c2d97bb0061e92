"""What a result is a function of, and where it came from."""

import ast
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lenetlab import files, params

PACKAGE = Path(__file__).parent


def identity(study: params.Study, variant: str, data: str, torch_version: str, device: str, numerics: str) -> dict:
    """All that decides the bits of a variant's training but the seed. `data` is the digest of the prepared set."""
    return {
        "variant": variant,
        **recipe(study, variant),
        "data": data,
        "code": code_digest("training"),
        "torch": torch_version,
        "device": device,
        "numerics": numerics,
    }


def recipe(study: params.Study, variant: str) -> dict[str, Any]:
    """A variant's network, input and regularisation, and how it is trained; a width that is matched as a number."""
    return {
        "definition": study.variants[variant].model_dump(mode="json", exclude={"training"}, exclude_none=True),
        "training": study.training_of(variant).model_dump(mode="json"),
    }


def fingerprint(identity: dict, seed: int | None = None) -> str:
    """SHA-256 of an identity and a seed; without one it names the variant's runs as a whole, whatever their seeds."""
    return files.sha256_json(identity if seed is None else {**identity, "seed": seed})


def modules_reached(module: str) -> list[str]:
    """The modules of this package that a module of it imports, however deep, with itself; sorted."""
    reached, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _imports(PACKAGE / f"{name}.py")
    return sorted(reached)


def code_digest(module: str) -> str:
    """SHA-256 over the sources of a module and of all it imports from this package."""
    sources = {name: files.sha256_file(PACKAGE / f"{name}.py") for name in modules_reached(module)}
    return files.sha256_json(sources)


def origin() -> dict[str, Any]:
    """Where an execution takes place: commit, DVC experiment, versions. It varies while results do not."""
    return {
        **_git(),
        "experiment": os.environ.get("DVC_EXP_NAME"),
        "python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "torch", "lenetlab")},
    }


def changed_since(commit: str | None, module: str = "training") -> list[str]:
    """The files, of those that `code_digest` counts, that differ from a commit's; none if that cannot be told."""
    sources = [str(PACKAGE / f"{name}.py") for name in modules_reached(module)]
    try:
        return _output("git", "diff", "--name-only", "--relative", f"{commit}", "--", *sources).splitlines()
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return []


def _imports(source: Path) -> set[str]:
    known = {path.stem for path in PACKAGE.glob("*.py")}
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in alias.name.split(".")[1:2]}
            found |= {"__init__" for alias in node.names if alias.name.split(".")[0] == "lenetlab"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lenetlab":
            found |= {"__init__", *node.module.split(".")[1:2], *(alias.name for alias in node.names)}
    return found & known


def _git() -> dict[str, str | bool | None]:
    """The commit and whether files differ from it; `dvc.lock`, which the pipeline writes itself, does not count."""
    try:
        commit = _output("git", "rev-parse", "HEAD")
        changed = _output("git", "status", "--porcelain", "--", ".", ":(exclude)dvc.lock")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed)}


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
