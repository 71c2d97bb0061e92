"""lenetlab import: from a folder of images to settings with which the pipeline runs."""

import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenetlab.planning import duration
from lenetlab.settings import params
from tests.pipeline import projects

ROOT = Path(__file__).parents[2]
ANIMALS = ("big owl", "cat", "dog", "emu", "yak")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the settings and statements of this repository."""
    for name in ("params.yaml", "claims.yaml", "data/mnist.toml", "data/none.txt", "data/no-claims.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def lenetlab(
    project: Path, monkeypatch: pytest.MonkeyPatch, command_line: Callable
) -> Callable[..., tuple[int, str, str]]:
    """`command_line` in the folder `project`, on a machine of known speed."""
    monkeypatch.chdir(project)
    speeds = duration.Speeds(defaultdict(lambda: 5.0), 6, 2, 55_000, "cpu: a processor")
    monkeypatch.setattr(duration, "known_speeds", lambda _: speeds)
    return command_line


def write_classes(folder: Path, classes: list[str], count: int, size: int, channels: int) -> None:
    """PNG files in a folder per class, in colour or grey stored as RGB; no two are equal."""
    random = np.random.default_rng(len(classes))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (size, size, channels), dtype=np.uint8)
            pixels[[0, -1]] = pixels[:, [0, -1]] = 0
            Image.fromarray(pixels.repeat(3 // channels, axis=2)).save(folder / name / f"{number}.png")


def comments(text: str) -> list[str]:
    """Every comment before the variants, in its order."""
    return re.findall(r"#.*", text.partition("\nvariants:")[0])


def test_without_write_nothing_is_changed(project, lenetlab):
    write_classes(project / "animals", ANIMALS, 10, 64, 3)
    before = (project / "params.yaml").read_text()
    status, out, err = lenetlab("import", "animals")
    assert (status, err) == (0, "")
    assert "found: class folders, 50 images of 5 classes\n" in out
    assert "no test set, so data.test_share 0.2 makes one: this share of the images of each class" in out
    assert "\n-  size: 28\n" in out
    assert "\n+  size: 64\n" in out
    assert out.endswith("next: the same command with --write, then make repro\n")
    assert (project / "params.yaml").read_text() == before


def test_five_named_classes_in_colour_without_a_test_set(project, lenetlab):
    write_classes(project / "animals", ANIMALS, 10, 64, 3)
    before = (project / "params.yaml").read_text()
    status, out, err = lenetlab("import", "animals", "--write")
    assert (status, err) == (0, "")
    assert "\nvariants for other images, removed: lenet5-28, mlp-28-60-40, " in out
    assert out.endswith("\nnext: make repro\n")
    study = params.load(project / "params.yaml")
    data = study.data
    assert (data.source, data.size, data.channels, data.classes) == ("animals", 64, 3, ANIMALS)
    assert (data.test_share, data.validation, data.accept) == (0.2, 5, ())
    assert (study.training.epochs, study.training.batch_size) == (50, 16)
    assert list(study.variants) == list(study.study) == ["lenet5", "mlp", "lenet5-regularized"]
    assert study.variants["lenet5"].input.size == 64
    assert lenetlab("check")[0] == 0
    after = (project / "params.yaml").read_text()
    assert comments(after) == comments(before)
    assert lenetlab("import", "animals", "--write")[1].endswith("suits these images already; next: make repro\n")
    assert (project / "params.yaml").read_text() == after


def test_26_letters_of_mnists_size(project, lenetlab):
    letters = [chr(ord("A") + number) for number in range(26)]
    write_classes(project / "letters" / "train", letters, 4, 28, 1)
    write_classes(project / "letters" / "test", letters[::-1], 2, 27, 1)
    status, _, err = lenetlab("import", str(project / "letters"), "--write")
    assert (status, err) == (0, "")
    data = params.load(project / "params.yaml").data
    assert (data.source, data.size, data.channels, data.classes) == ("letters", 28, 1, tuple(letters))
    assert (data.test_share, data.validation, data.accept) == (0.0, 26, ("resize",))
    assert lenetlab("check")[0] == 0


def test_digits_stored_as_rgb_keep_study_and_catalogue(project, lenetlab):
    digits = [str(digit) for digit in range(10)]
    write_classes(project / "fashion" / "train", digits, 8, 28, 1)
    write_classes(project / "fashion" / "test", digits, 3, 28, 1)
    before = params.load(project / "params.yaml")
    _, out, _ = lenetlab("import", "fashion", "--write")
    assert "all grey in content" in out
    after = params.load(project / "params.yaml")
    assert (after.data.size, after.data.channels, len(after.data.classes)) == (28, 1, 10)
    assert after.data.duplicates == "drop"
    assert (after.variants, after.study) == (before.variants, before.study)
    assert after.claims == "data/no-claims.yaml"  # those before are about MNIST


def test_labels_in_file_names_are_guessed_and_counted(project, lenetlab):
    write_classes(project / "animals", ANIMALS, 10, 16, 1)
    (project / "names").mkdir()
    for path in (project / "animals").glob("*/*.png"):
        path.rename(project / "names" / f"{path.parent.name}-{path.name}")
    status, out, err = lenetlab("import", "names", "--write")
    assert (status, err) == (0, "")
    assert "found: labels in file names, by data.pattern, 50 images of 5 classes" in out
    assert "note: data.pattern '{label}-{number}.png' is a guess from the file names" in out
    study = params.load(project / "params.yaml")
    assert (study.data.pattern, study.data.classes) == ("{label}-{number}.png", ANIMALS)
    assert duration.images_of_source(study) == 40
    assert lenetlab("check")[0] == 0
    assert lenetlab("import", "names")[1].endswith("suits these images already; next: make repro\n")
    assert lenetlab("import", "animals")[0] == 1  # no images are left there
    (project / "names/odd.png").write_bytes((project / "names/cat-1.png").read_bytes())
    assert "does not match 1 of 51 images: 'odd.png'" in lenetlab("check")[2]


def test_the_key_for_labels_in_file_names_is_told_where_no_pattern_is_plain(project, lenetlab):
    (project / "names").mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(project / "names" / f"{number}.png")
    status, _, err = lenetlab("import", "names")
    assert status == 1
    assert "or data.pattern (docs/own-images.md)" in err


@pytest.mark.parametrize("source", [".", "data"])
def test_a_folder_with_the_outputs_of_the_pipeline_is_refused(lenetlab, source):
    status, _, err = lenetlab("import", source, "--write")
    assert status == 1
    assert "holds the outputs of the pipeline (data/raw); remedy: move the images" in err


@pytest.mark.slow
def test_fetch_and_prepare_run_without_an_edit(tmp_path, digits_folder):
    project = projects.clone(tmp_path / "project", digits_folder)
    write_classes(tmp_path / "animals", list(ANIMALS), 20, 64, 3)
    projects.run(project, "lenetlab", "import", "../animals", "--write")
    projects.run(project, "dvc", "repro", "prepare")
    train, test = (projects.read_yaml(project / f"data/prepared/{name}/profile.json") for name in ("train", "test"))
    assert test["splits"]["test"]["per_class"] == [4] * 5
    assert train["splits"]["validation"]["per_class"] == [2, 2, 2, 1, 1]
    archives = [(project / "data/raw" / f"{name}.tar").read_bytes() for name in ("train", "test")]
    projects.run(project, "dvc", "repro", "--force", "--single-item", "fetch")
    assert [(project / "data/raw" / f"{name}.tar").read_bytes() for name in ("train", "test")] == archives
