"""A logged model answers in processes of its own: loaded by MLflow, and served over HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import types
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest
import safetensors.torch
from torch import nn

from lenetlab.prediction import ensemble, trained
from lenetlab.storage import files
from lenetlab.tracking import pages, sync
from lenetlab.tracking.models import folder
from tests.prediction import networks
from tests.tracking.models import records
from tests.tracking.outputs import make_all
from tests.tracking.stores import open_client, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # MLflow's own
OWN = """\
from part import FACTOR
from torch import nn


class Own(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes))

    def forward(self, images):
        return FACTOR * self.layers(images)
"""
LOAD = """
import json, sys
import mlflow, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
ours = [name for name in sys.modules if name.split(".")[0] == "lenetlab"]
pixels = numpy.load(sys.argv[2])
answers = [model.predict(pixels).to_dict("list") for _ in range(2)]
file = type(model.unwrap_python_model().ensemble).probabilities.__code__.co_filename
print(json.dumps([answers, ours, file]))
"""


@pytest.fixture
def model(study: Path) -> Path:
    """The folder of a model whose network has batch normalisation and dropout; it was moved elsewhere."""
    make_all(study)
    records.complete(study, with_networks=True)
    sync.sync(["lenet5-regularized"])
    (found,) = [
        model for model in open_client(study).search_logged_models(["1"]) if model.name == "lenet5-regularized-seed-1"
    ]
    return (study / found.artifact_location).rename(study.with_name("elsewhere"))


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    return kept | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONWARNINGS": "ignore"}


def expected(study: Path, pixels: np.ndarray) -> np.ndarray:
    """By the weights in `runs`."""
    content = trained.of_outputs(study, "lenet5-regularized", [1])
    return ensemble.Ensemble(content).probabilities(pixels)[0]


def test_a_clean_process_loads_it_without_pickle_and_with_its_own_code(model, study, tmp_path):
    pixels = networks.random_pixels(6)
    np.save(tmp_path / "pixels.npy", pixels)
    command = [sys.executable, "-c", LOAD, str(model), str(tmp_path / "pixels.npy")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (first, second), ours, file = json.loads(done.stdout)
    assert first == second, "dropout is on"
    right = expected(study, pixels)
    np.testing.assert_allclose(first["probabilities"], right, atol=1e-6)
    assert first["label"] == [str(label) for label in right.argmax(axis=1)]
    np.testing.assert_allclose(first["probability"], right.max(axis=1), atol=1e-6)
    assert first["agree"] == [1] * 6
    assert ours == [], "it leaves modules behind, which another version of the package would find"
    assert "code.zip" in file


def test_models_whose_classes_import_modules_of_one_name_are_loaded_together(tmp_path, monkeypatch):
    """As in a notebook that compares two seeds, and has a module of this name itself."""
    mine = types.ModuleType("part")
    monkeypatch.setitem(sys.modules, "part", mine)
    spoken = []
    for factor in (0.0, 1.0):
        content = tmp_path / f"content-{factor}"
        description = files.read_json(networks.make_folder(content, seeds=1) / "model.json")
        description["settings"]["model"] = {"name": "Own", "file": "networks/own.py"}
        files.write_json(content / "model.json", description)
        files.write_text(content / "networks" / "own.py", OWN)
        files.write_text(content / "networks" / "part.py", f"FACTOR = {factor}\n")
        linear = nn.Linear(32 * 32, 10)
        state = {f"layers.1.{name}": value for name, value in linear.state_dict().items()}
        safetensors.torch.save_file(state, content / "weights-0.safetensors")
        folder.write(trained.of_folder(content), {}, tmp_path, tmp_path / f"model-{factor}")
        spoken.append(mlflow.pyfunc.load_model(str(tmp_path / f"model-{factor}")))
    zero, one = (model.predict(networks.random_pixels(1)).probability[0] for model in spoken)
    assert zero == pytest.approx(0.1)
    assert one > 0.11
    assert sys.modules["part"] is mine


def test_its_requirements_can_be_installed_from_a_package_index(monkeypatch):
    monkeypatch.setattr(folder, "version", lambda name: "2.9.0+cpu" if name == "torch" else "1.0")
    assert {"torch==2.9.0", "numpy==1.0"} <= set(folder._requirements())


def test_nothing_in_it_is_pickled(model):
    names = {path.name for path in model.rglob("*") if path.is_file()}
    assert {"MLmodel", "requirements.txt", "input_example.json", "weights-1.safetensors", "code.zip"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pth", ".pt", ".pt2"))]
    assert "torch==" in (model / "requirements.txt").read_text()


def test_it_answers_over_http(model, study, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: pages.accepts_connections(port) or server.poll() is not None)
        assert server.poll() is None, (tmp_path / "log").read_text()
        pixels = networks.random_pixels(3)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": pixels.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            rows = json.load(answer)["predictions"]
        np.testing.assert_allclose([row["probabilities"] for row in rows], expected(study, pixels), atol=1e-6)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
        log.close()
