"""`lenetlab predict` and `lenetlab export`, called in this process as the program calls them."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenetlab import cli
from lenetlab.prediction import choice, ensemble, onnx_export, predict, trained
from lenetlab.storage import files
from tests.prediction import networks
from tests.training import jobs

WHITE_ON_BLACK = np.pad(networks.random_pixels(1, (12, 12))[0] // 2 + 128, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    networks.make_folder(tmp_path / "model", "lenet5-regularized", seeds=3)
    Image.fromarray(WHITE_ON_BLACK).save(tmp_path / "good.png")
    Image.fromarray(255 - WHITE_ON_BLACK).save(tmp_path / "inverted.png")
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, command_line: Callable) -> Callable[..., tuple[int, str, str]]:
    """`command_line` in that folder."""
    monkeypatch.chdir(folder)
    return command_line


def test_it_prints_label_probability_and_agreement(run, folder):
    model = ensemble.Ensemble(trained.of_folder(folder / "model"))
    by_seed = model.probabilities(WHITE_ON_BLACK[None].astype(np.uint8))[:, 0]
    label = int(by_seed.mean(axis=0).argmax())
    agree = int((by_seed.argmax(axis=1) == label).sum())
    probability = f"{by_seed.mean(axis=0).max():.3f}"
    status, out, err = run("predict", "--model", "model", "good.png")
    assert (status, out) == (0, f"good.png: c{label}, probability {probability}, {agree} of 3 seeds agree\n")
    assert err == "model: lenet5-regularized, 3 seeds: those of model\n"


def test_refused_images_fail_and_the_others_are_answered(run):
    status, out, err = run("predict", "--model", "model", "blank.png", "good.png", "text.png", "missing.png")
    assert status == 1
    assert out.startswith("good.png: c")
    assert out.count("\n") == 1
    assert [line.split(":")[:3] for line in err.splitlines() if line.startswith("error")] == [
        ["error", " blank.png", " blank"],
        ["error", " text.png", " not images, or damaged; allowed"],
        ["error", " missing.png", " No such file or directory"],
    ]


def test_an_inverted_image_is_warned_about_and_answered_with_invert(run):
    status, _, err = run("predict", "--model", "model", "inverted.png")
    assert status == 0
    assert "warning: inverted.png: it looks inverted: the training images are white on black; remedy: --invert" in err
    _, right, _ = run("predict", "--model", "model", "good.png")
    _, out, err = run("predict", "--model", "model", "--invert", "inverted.png")
    assert out.partition(":")[2] == right.partition(":")[2]
    assert "warning" not in err


def test_json_has_the_probability_of_every_class(run, folder):
    (folder / "scans").mkdir()
    for name in ("good.png", "blank.png"):
        (folder / name).rename(folder / "scans" / name)
    status, out, _ = run("predict", "--json", "--model", "model", "scans")
    assert status == 1
    content = json.loads(out)
    assert content["model"] == {"variant": "lenet5-regularized", "seeds": [0, 1, 2], "fingerprint": "f" * 64}
    blank, good = content["images"]
    assert set(blank) == {"file", "refused"}
    assert good["file"] == "scans/good.png"
    assert sum(good["probabilities"].values()) == pytest.approx(1)
    assert good["probabilities"][good["label"]] == max(good["probabilities"].values()) == good["probability"]


def test_a_folder_without_files_is_an_error(run, folder):
    (folder / "empty").mkdir()
    assert run("predict", "--model", "model", "empty")[::2] == (
        1,
        "error: empty: no files in it; needed: images\n",
    )


def test_many_images_are_answered_in_order(folder, monkeypatch):
    monkeypatch.setattr(predict, "BLOCK", 2)
    found = [folder / name for name in ("good.png", "blank.png", "inverted.png", "text.png", "good.png", "good.png")]
    model = ensemble.Ensemble(trained.of_folder(folder / "model"))
    results = list(predict.predict(model, found, invert=False))
    assert [Path(result.file) for result in results] == found
    assert [result.answer is None for result in results] == [False, True, False, True, False, False]
    assert results[4].answer == results[5].answer
    assert results[0].answer.probability == pytest.approx(results[4].answer.probability, abs=1e-6)


def test_names_that_are_no_text_are_printed(run, folder):
    """A terminal takes only UTF-8; a line break in a name would look like another answer."""
    for name in (b"bad\xff.png", b"two\nlines.png", b"bad\xfe.png"):
        source = "good.png" if name != b"bad\xfe.png" else "text.png"
        (folder / os.fsdecode(name)).write_bytes((folder / source).read_bytes())
    names = [os.fsdecode(name) for name in (b"bad\xff.png", b"two\nlines.png", b"bad\xfe.png")]
    status, out, err = run("predict", "--model", "model", *names)
    assert status == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["bad\\udcff.png", "two\\nlines.png"]
    assert "error: bad\\udcfe.png: not images" in err
    _, out, _ = run("predict", "--json", "--model", "model", *names)
    out.encode()
    assert [image["file"] for image in json.loads(out)["images"]] == names


def test_the_recommended_variant_answers_and_without_one_that_with_the_highest_accuracy(tmp_path):
    study = jobs.make_study((0, 1))
    for variant, accuracy in (("lenet5", 0.98), ("mlp", 0.99)):
        files.write_json(tmp_path / "evaluations" / variant / "metrics.json", {"test_accuracy": accuracy})
    assert choice.default_variant(study, tmp_path)[0] == "mlp"
    record = {"variant": "lenet5", "recommended": "a verdict recommends it"}
    files.write_json(tmp_path / "model" / "model.json", record)
    assert choice.default_variant(study, tmp_path) == ("lenet5", "a verdict recommends it")


def test_a_missing_package_of_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    networks.make_outputs(tmp_path, "mlp")
    model = trained.of_outputs(tmp_path, "mlp", [0, 1]).only(1)
    with pytest.raises(cli.UserError, match=r"the package onnx is missing; remedy: pip install 'lenetlab\[onnx\]'"):
        onnx_export.export(model, tmp_path / "mlp.onnx")
    assert not (tmp_path / "mlp.onnx").exists()


def test_a_seed_that_was_not_trained_is_refused(tmp_path):
    networks.make_outputs(tmp_path, "mlp")
    with pytest.raises(cli.UserError, match=r"--seed: 7 is not allowed; allowed: 0, 1 \(the trained seeds of mlp\)"):
        trained.of_outputs(tmp_path, "mlp", [0, 1]).only(7)
