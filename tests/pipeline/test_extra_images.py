"""More test images through `dvc repro`: what runs, what the results are about, and what happens to changed images."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lenetlab.data import png
from tests.data.formats import pillow_pixels
from tests.pipeline.projects import SEEDS, VARIANTS, copy_of, edit, run, stages_run

pytestmark = pytest.mark.slow
# Not fetch, not train, not cost: they do not depend on these images.
STAGES_AFTER_EXTRA = ["compare", *(f"evaluate@{variant}" for variant in VARIANTS), "extra", "prepare"]


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory) -> Path:
    """A copy in which `dvc repro` ran again with 100 extra test images: test images moved by a pixel."""
    project = copy_of(finished, tmp_path_factory.mktemp("copies") / "project")
    (project / "more").mkdir()
    for path in sorted((project / "digits" / "test").iterdir())[:100]:
        (project / "more" / path.name).write_bytes(png.encode(np.roll(pillow_pixels(path.read_bytes()), 1, axis=1)))
    edit(project, lambda content: content["data"].update(extra_test="more"))
    (project / "log").write_text(run(project, "dvc", "repro"))
    return project


def predictions(project: Path, variant: str) -> dict[str, np.ndarray]:
    with np.load(project / "evaluations" / variant / "predictions.npz") as found:
        return dict(found)


def test_only_what_depends_on_test_images_runs_again(finished, project):
    assert sorted(stages_run((project / "log").read_text())) == STAGES_AFTER_EXTRA
    for name in ("index.csv", "pixels.npy", "profile.json"):
        before, after = (folder / "data" / "prepared" / "train" / name for folder in (finished, project))
        assert before.read_bytes() == after.read_bytes()


def test_results_are_about_both_sets(finished, project):
    (entry,) = json.loads((project / "reports" / "comparison.json").read_text())
    means = {}
    for variant in VARIANTS:
        found, alone = predictions(project, variant), predictions(finished, variant)
        assert found["predicted"].shape == (len(SEEDS), 460)
        assert np.array_equal(found["predicted"][:, :360], alone["predicted"])
        assert np.array_equal(found["labels"], np.concatenate([alone["labels"], alone["labels"][:100]]))
        correct = found["predicted"] == found["labels"]
        means[variant] = correct.mean()
        metrics = json.loads((project / "reports" / "metrics" / f"{variant}.json").read_text())
        assert metrics["test_accuracy"] == pytest.approx(means[variant])
        assert metrics["test_accuracy_by_set"] == {
            "test": pytest.approx(correct[:, :360].mean()),
            "extra": pytest.approx(correct[:, 360:].mean()),
        }
    assert entry["difference"] == pytest.approx(means["lenet5"] - means["mlp"])
    assert "test_accuracy_by_set.extra" in run(project, "dvc", "metrics", "show", "--md", "reports/metrics/mlp.json")
    assert "360 test images and 100 extra ones (data.extra_test) together" in (
        project / "reports" / "report.md"
    ).read_text().replace("\N{NO-BREAK SPACE}", " ")


def test_a_changed_image_runs_extra_again_and_none_restores_the_results(finished, project, tmp_path):
    project = copy_of(project, tmp_path / "project")
    (changed, *_) = sorted((project / "more").iterdir())
    changed.write_bytes(png.encode(255 - pillow_pixels(changed.read_bytes())))
    assert "extra" in stages_run(run(project, "dvc", "repro", "prepare"))
    pixels = np.load(project / "data" / "prepared" / "test" / "pixels.npy")
    assert np.array_equal(pixels[360], pillow_pixels(changed.read_bytes()))
    edit(project, lambda content: content["data"].update(extra_test="data/none.txt"))
    assert stages_run(run(project, "dvc", "repro")) == ["compare"]  # DVC has the other outputs in its cache
    for name in ("data/raw/extra.tar", "data/prepared/test/profile.json", "evaluations/mlp/predictions.npz"):
        assert (project / name).read_bytes() == (finished / name).read_bytes()


def test_extra_images_that_are_gone_have_a_remedy(project, tmp_path):
    project = copy_of(project, tmp_path / "project")
    (project / "more").rename(tmp_path / "elsewhere")
    run(project, "dvc", "repro", status=255)  # DVC removes the outputs of extra, and says little
    message = run(project, "lenetlab", "check", status=1)
    assert message.startswith("error: params.yaml: data.extra_test: 'more' does not exist; ")
    for command in re.search(r"(dvc checkout extra), then (dvc repro --downstream prepare)", message).groups():
        log = run(project, *command.split())
    assert stages_run(log) == []
    edit(project, lambda content: content["data"].update(extra_test=str(tmp_path / "elsewhere")))
    assert stages_run(run(project, "dvc", "repro")) == ["extra", "compare"]  # statements name their data
