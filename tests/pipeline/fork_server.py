"""A process that holds the large packages and forks for every program: a start takes a tenth of the time of imports.

python fork_server.py FOLDER, in which it listens at the socket `address`. A stand-in of `projects` sends the name of a
program, folder, arguments, environment and streams. The fork runs the program and ends as an interpreter does. It
imports the project's own code itself, and all that PYTHONPATH has. The stand-in gets its exit status; if the stand-in
is killed, so is the fork.
"""

import atexit
import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

BIN = Path(sys.executable).parent
# What stages, their publishers, `lenetlab` and `dvc` import, also what they import only when they need it.
PACKAGES = (
    *("torch", "scipy.stats", "scipy.special", "matplotlib.figure", "matplotlib.backends.backend_svg"),
    *("matplotlib.backends.backend_agg", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "alembic.command"),
    *("pydantic", "ruamel.yaml", "jinja2", "PIL.Image", "requests", "safetensors.torch", "tqdm", "filelock", "click"),
    *("dvc.cli.parser", "dvc.repo", "dvc.scm", "dvc.data_cloud", "dvc.dirs", "dvc.lock", "dvc.rwlock", "dvc.render"),
    *("dvc_render", "networkx", "pygit2", "rich.json", "scmrepo.git"),
)


class Request(NamedTuple):
    program: str
    folder: str
    arguments: list[str]
    environ: dict[str, str]
    streams: list[int]


def receive(connection: socket.socket) -> Request:
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    content = connection.recv(int.from_bytes(size), socket.MSG_WAITALL)
    words, environ = os.fsdecode(content).split("\0\0\0")
    program, folder, *arguments = words.split("\0")
    return Request(program, folder, arguments, dict(pair.split("=", 1) for pair in environ.split("\0")), streams)


def serve(listener: socket.socket) -> Request:
    """Fork for every request until standard input is closed. Returns in the forks alone."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                os._exit(0)
            elif key.fileobj is listener:
                connection, _ = listener.accept()
                try:
                    request = receive(connection)
                except (ValueError, OSError):  # the stand-in was killed before it had sent all
                    connection.close()
                    continue
                process = os.fork()
                if not process:
                    listener.close()
                    connection.close()
                    return request
                for stream in request.streams:
                    os.close(stream)
                selector.register(os.pidfd_open(process), selectors.EVENT_READ, (process, connection))
                selector.register(connection, selectors.EVENT_READ, (process, None))
            elif key.data[1]:
                finish(selector, key.fd, *key.data)
            elif key.fileobj.fileno() >= 0:  # the stand-in was killed; not if its fork ended in the same moment
                os.kill(key.data[0], signal.SIGKILL)
                selector.unregister(key.fileobj)


def finish(selector: selectors.BaseSelector, ended: int, process: int, connection: socket.socket) -> None:
    """Send the status of a fork that has ended to its stand-in."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    selector.unregister(ended)
    os.close(ended)
    if connection in selector.get_map():  # else the stand-in is gone
        selector.unregister(connection)
        with suppress(ConnectionError):  # it is killed now
            connection.sendall(b"%d" % (status if status >= 0 else 128 - status))
    connection.close()


def become(request: Request, stand_ins: Path) -> None:
    """Make this fork the process that the stand-in would be."""
    os.setpgid(0, 0)  # a stage ends if it is in a group that is neither its own nor its parent's
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environ)
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.executable = str(stand_ins / "python")
    search = [Path(folder) for folder in request.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:1] = map(str, search)
    other = {path.name.partition(".")[0] for folder in search if folder.is_dir() for path in folder.iterdir()}
    for module in [module for module in sys.modules if module.partition(".")[0] in other]:
        del sys.modules[module]


def run(program: str, arguments: list[str]) -> None:
    """As `program` would, which is python or a script beside it."""
    if program != "python":
        arguments = [str(BIN / program), *arguments]
    if arguments[0] == "-W":
        warnings.simplefilter(arguments[1])
        arguments = arguments[2:]
    if safe := arguments[0] == "-P":  # the current folder is not searched for modules
        arguments = arguments[1:]
    kind, sys.argv = arguments[0], arguments
    if kind == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
    elif kind == "-m":
        sys.argv = arguments[1:]
        sys.path[:0] = [] if safe else [str(Path.cwd())]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(kind).absolute().parent))
        runpy.run_path(kind, run_name="__main__")


def end(program: Callable[[], None]) -> None:
    """Run it and end as an interpreter does, but without freeing a million objects, which takes half a second."""
    status = 0
    try:
        program()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(folder: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        for name in PACKAGES:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "address"))
    listener.listen(64)
    print("ready", flush=True)
    request = serve(listener)
    become(request, folder)
    end(partial(run, request.program, request.arguments))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
