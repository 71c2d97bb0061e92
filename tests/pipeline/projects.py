"""Clones of this project with a small study, run as a user does."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
VARIANTS, SEEDS = ("lenet5", "mlp"), (0, 5)
USER = {"USER": "mmustermann", "LOGNAME": "mmustermann", "FAKE_SECRET_TOKEN": "hidden-from-all"}
AUTHOR = ("Maxi Mustermann", "maxi@example.org")


def environment(project: Path = ROOT) -> dict[str, str]:
    """That of a user of a project: its code, and the python of this environment."""
    search = os.pathsep.join([str(project / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC", "MLFLOW", "GIT", "PYTEST"))}
    path = f"{BIN}:{os.environ['PATH']}"
    return {**kept, **USER, "PATH": path, "PYTHONPATH": search, "DVC_NO_ANALYTICS": "1"}


def run(folder: Path, *command: str, status: int = 0) -> str:
    """What a command prints, both streams."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, env=environment(folder), timeout=600, **streams)
    assert done.returncode == status, done.stdout
    return done.stdout


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def write_yaml(content: Any, path: Path) -> None:
    yaml = YAML(typ="safe")
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(content, path)


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "params.yaml"
    content = read_yaml(path)
    change(content)
    write_yaml(content, path)


def make_small(content: dict) -> None:
    content |= {"seeds": list(SEEDS), "study": list(VARIANTS), "device": "cpu"}
    content["comparisons"] = {"headline": [{"candidate": "lenet5", "baseline": "mlp"}]}
    content["data"] |= {"source": "digits", "validation": 200}
    content["training"] |= {"epochs": 1}
    content["cost"] = {"rounds": 2, "batches": 2}


def clone(folder: Path, digits_folder: Path, change: Callable[[dict], None] = make_small) -> Path:
    """The files that git would give to a new user, committed, with a small study and its digits."""
    names = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in names:
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(digits_folder, folder / "digits")
    edit(folder, change)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    run(folder, "git", "config", "user.name", AUTHOR[0])
    run(folder, "git", "config", "user.email", AUTHOR[1])
    with (folder / ".git" / "info" / "exclude").open("a") as ignored:
        ignored.write("digits/\n")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "--quiet", "--message", "start")
    return folder


def copy_of(project: Path, folder: Path) -> Path:
    """A copy that a test may change. The command takes a third of the time of shutil.copytree."""
    subprocess.run(["cp", "-a", project, folder], check=True)
    return folder


def stages_run(log: str) -> list[str]:
    return [line.split("'")[1] for line in log.splitlines() if line.startswith("Running stage")]
