"""`lenetlab ui`: serve MLflow's pages to this machine alone, with the address of the prepared table."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

from lenetlab.errors import UserError
from lenetlab.tracking import experiment
from lenetlab.tracking.connection import reporting_mlflow_errors, store_location, without_password
from lenetlab.tracking.store import open_store


def ui(port: int) -> None:
    """Serve MLflow's pages to this machine until Ctrl-C, and print the address of the prepared table."""
    location = store_location()
    with reporting_mlflow_errors(), open_store(location) as store:
        query = f"workflowType=machine_learning&viewStateShareKey={experiment.VIEW}"
        page = f"/#/experiments/{store.experiment}/runs?{query}"
    if location.uri.startswith("http"):
        print(without_password(location.uri).rstrip("/") + page)
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"port {port} cannot be used: {error.strerror}; choose another one") from None
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", location.uri, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    # By default MLflow also answers to hosts like `10.*`. 10.example.org is one: a foreign page could read the runs.
    command += ["--allowed-hosts", "localhost:*,127.0.0.1:*"]
    # Job execution is for services that are not used here, and takes seconds to start.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("MLflow is starting …", flush=True)
    server = subprocess.Popen(
        command, cwd=location.folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not accepts_connections(port):
            if server.poll() is not None:
                raise UserError(f"MLflow's server ended with status {server.returncode}; the lines above say why")
            time.sleep(0.3)
        print(f"http://127.0.0.1:{port}{page}\nCtrl-C ends it.", flush=True)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)  # with its workers
        server.wait()


def how_to_open() -> str:
    """What to open and what to press, for someone who sees MLflow for the first time."""
    uri = store_location().uri
    place = without_password(uri).rstrip("/") if uri.startswith("http") else "after mlflow ui, http://127.0.0.1:5000"
    return (
        "To see the runs: lenetlab ui prints the address of the prepared table;"
        f'\nor {place}: press "Model training" at the top left, then {experiment.NAME}'
    )


def accepts_connections(port: int) -> bool:
    """Whether a server on this machine listens at the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
