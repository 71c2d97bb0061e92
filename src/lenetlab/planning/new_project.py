"""lenetlab init: make a project outside the repository, or bring one up to date with the installed package."""

import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError
from lenetlab.planning import project_files
from lenetlab.storage import code, files, installed
from lenetlab.storage.digests import sha256

CONFIG = ".dvc/config"
NO_GIT = (
    "git: not found, so results name no commit, and dvc exp run and dvc params diff do not work; later: git init, and"
    f" remove no_scm from {CONFIG}"
)


def create(folder: Path) -> Iterator[str]:
    """Make a project in a folder that does not exist or is empty, and say what was done and what is next.

    UserError if that is not possible; nothing is written then.
    """
    place = folder.expanduser().resolve()
    exists = place.exists()
    if exists and (not place.is_dir() or any(path.name != ".git" for path in place.iterdir())):
        raise UserError(
            f"{folder}: {'not empty' if place.is_dir() else 'not a folder'}; allowed: a new or empty folder"
        )
    contents = project_files.project_files(place.name)
    has_git, repository = shutil.which("git") is not None, _repository_around(place)
    if not has_git:
        contents[CONFIG] = contents[CONFIG].replace(b"[core]\n", b"[core]\n    no_scm = true\n")
    # Written elsewhere first, so that a folder with the name of the project is complete.
    with files.writing_folder(place / ".new" if exists else place) as outputs:
        for name, content in contents.items():
            (outputs / name).parent.mkdir(parents=True, exist_ok=True)
            (outputs / name).write_bytes(content)
        files.write_json(outputs / installed.RECORD, _record(contents))
        if has_git and not repository:
            _git(outputs, "init", "--quiet")
    if exists:
        for entry in sorted((place / ".new").iterdir()):
            entry.rename(place / entry.name)
        (place / ".new").rmdir()
    yield f"{folder}: a project that trains LeNet-5 and an MLP on MNIST; README.md and docs/own-project.md describe it"
    if not has_git:
        yield NO_GIT
    elif repository and repository != place:
        yield f"git: the files belong to the repository {repository}, in which the folder is"
    commit = "git add . && git commit -m 'Start a study' && " if has_git else ""
    yield f"next: cd {shlex.quote(str(folder))} && {commit}make repro"


def update() -> Iterator[str]:
    """Record the installed code in code.json, and replace the files that came with lenetlab by those of today.

    A file that was edited stays. If there is a new version of it, that is written beside it, with `.new` in its name.
    """
    if not installed.RECORD.exists():
        raise UserError(f"{installed.RECORD}: not found here; remedy: cd to a project that lenetlab init made")
    old = installed.read()
    known: Mapping[str, str] = old[installed.FILES]
    contents = project_files.project_files(Path.cwd().name)
    if "no_scm" in Path(CONFIG).read_text(encoding="utf-8"):
        del contents[CONFIG]  # made without git
    for name, content in contents.items():
        path, digest = Path(name), sha256(content)
        present = sha256(path.read_bytes()) if path.exists() else None
        if digest in (present, known.get(name)):  # it is there, or the user edited this version of it
            continue
        if present is None and name in known:  # the user deleted it
            continue
        if present in (known.get(name), None):
            files.write_bytes(path, content)
            yield f"{name}: updated"
        else:
            files.write_bytes(beside := path.with_name(f"{path.name}.new"), content)
            yield f"{name}: edited here, so it stays; {beside} is the new version: take what you need, and delete it"
    others = old.keys() - {installed.VERSION, installed.FILES}  # an edited dvc.yaml may need them
    record = _record(contents, others)
    files.write_json(installed.RECORD, record)
    changed = [
        part for part in sorted(record.keys() - {installed.VERSION, installed.FILES}) if record[part] != old.get(part)
    ]
    if not changed:
        yield f"{installed.RECORD} is that of the installed lenetlab {record[installed.VERSION]}"
        return
    yield f"{installed.RECORD}: now that of lenetlab {record[installed.VERSION]}; changed: {', '.join(changed)}"
    yield "next: make repro, which trains only seeds that the change concerns"


def _record(contents: Mapping[str, bytes], others: Iterable[str] = ()) -> dict[str, Any]:
    """The content of code.json, with the parts that stages depend on and others."""
    digests = {name: sha256(content) for name, content in sorted(contents.items())}
    return {**installed.describe({*project_files.parts(), *others}), installed.FILES: digests}


def _repository_around(place: Path) -> Path | None:
    """The git repository that would track this folder; None if there is none, or if that ignores it."""
    parent = next(folder for folder in (place, *place.parents) if folder.is_dir())
    try:
        root = _git(parent, "rev-parse", "--show-toplevel")
    except (OSError, UserError):
        return None
    ignored = subprocess.run(["git", "check-ignore", "--quiet", f"{place}/"], cwd=parent, capture_output=True)
    return None if ignored.returncode == 0 else Path(root)


def _git(folder: Path, *arguments: str) -> str:
    try:
        return code.command_output("git", "-C", str(folder), *arguments)
    except subprocess.CalledProcessError as error:
        raise UserError(f"git {arguments[0]}: {error.stderr.strip()}") from None
