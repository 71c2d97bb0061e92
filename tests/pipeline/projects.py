"""Clones of this project with a small study, run as a user does."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lenetlab.tracking.connection import SETTINGS
from tests.pipeline import fork_server

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
VARIANTS, SEEDS = ("lenet5", "mlp"), (0, 5)
USER = {"USER": "mmustermann", "LOGNAME": "mmustermann", "FAKE_SECRET_TOKEN": "hidden-from-all"}
AUTHOR = ("Maxi Mustermann", "maxi@example.org")


def environment(project: Path = ROOT) -> dict[str, str]:
    """That of a user of a project: its code, and the python of this environment."""
    search = os.pathsep.join([str(project / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    removed = ("DVC", "MLFLOW", "GIT", "PYTEST", "PYTHONDONTWRITEBYTECODE")  # compiling the code takes half a second
    kept = {key: value for key, value in os.environ.items() if not key.startswith(removed)}
    path = f"{BIN}:{os.environ['PATH']}"
    return {**kept, **USER, "PATH": path, "PYTHONPATH": search, "DVC_NO_ANALYTICS": "1"}


# In place of a program of this environment. It imports built-in modules alone, so it starts in a hundredth of a second.
PROGRAMS = ("python", "dvc", "lenetlab")
STAND_IN = """\
#!{python} -ISB
import _socket, os, sys

words = ["{name}", os.getcwd(), *sys.argv[1:]]
content = os.fsencode("\\0".join(words) + "\\0\\0\\0" + "\\0".join(map("=".join, os.environ.items())))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect("{address}")
server.sendmsg([len(content).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(content)
os._exit(int(server.recv(4) or 255))
"""


@cache
def stand_ins() -> Path:
    """The folder of programs that start as forks; the first call starts the server, which ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="stand-ins-"))
    atexit.register(shutil.rmtree, folder)
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | SETTINGS
    words = [sys.executable, fork_server.__file__, folder]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
    atexit.register(server.communicate)
    assert server.stdout.readline() == b"ready\n"
    for name in PROGRAMS:
        program = folder / name
        program.write_text(STAND_IN.format(python=sys.executable, name=name, address=folder / "address"))
        program.chmod(0o755)
    return folder


def forked(environ: dict[str, str]) -> dict[str, str]:
    """The environment in which programs start as forks, where that is possible."""
    if sys.platform != "linux" or " " in sys.executable:  # it stands in the first line of a stand-in
        return environ
    return environ | {"PATH": f"{stand_ins()}:{environ['PATH']}"}


def run(folder: Path, *command: str, status: int = 0, environ: dict[str, str] | None = None) -> str:
    """What a command prints, both streams. It starts as a fork, unless another environment is given."""
    environ = environ or (forked(environment(folder)) if command[0] in (*PROGRAMS, "make") else environment(folder))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, env=environ, timeout=600, **streams)
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
