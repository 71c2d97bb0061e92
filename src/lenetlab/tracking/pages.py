"""MLflow as a view of the outputs: what it shows is rebuilt from the files that the stages wrote.

The module `runs` makes records of them, and a `Store` sends what MLflow lacks of these. So publishing twice changes
nothing, and an empty store is filled from the files alone. `follow` publishes beside a stage, `sync` later. A run is
known by its fingerprint, kept as a tag; MLflow's own run ids are written nowhere.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

from lenetlab.errors import UserError
from lenetlab.tracking import experiment
from lenetlab.tracking.store import open_store, plain_errors, store_place, without_password


def ui(port: int) -> None:
    """Serve MLflow's pages to this machine until Ctrl-C, and print the address of the prepared view."""
    where = store_place()
    with plain_errors(), open_store(where) as store:
        page = (
            f"/#/experiments/{store.experiment}/runs?workflowType=machine_learning&viewStateShareKey={experiment.VIEW}"
        )
    if where.uri.startswith("http"):
        print(without_password(where.uri).rstrip("/") + page)
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"port {port} cannot be used: {error.strerror}; choose another one") from None
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", where.uri, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    # Of its own MLflow answers to `10.*` too, which may be a name like 10.example.org: a foreign page could read along.
    command += ["--allowed-hosts", "localhost:*,127.0.0.1:*"]
    # The job execution is for services that nobody uses here, and takes seconds to start.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("MLflow is starting …", flush=True)
    server = subprocess.Popen(
        command, cwd=where.folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not _answers(port):
            if server.poll() is not None:
                raise UserError(f"MLflow's server ended with status {server.returncode}; the lines above say why")
            time.sleep(0.3)
        print(f"http://127.0.0.1:{port}{page}\nCtrl-C ends it.", flush=True)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)  # its workers too
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
