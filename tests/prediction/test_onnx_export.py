"""ONNX files answer as the networks do. Without the packages of the extra `onnx`, these tests are skipped."""

import json

import numpy as np
import pytest

from lenetlab.errors import UserError
from lenetlab.prediction import ensemble, onnx_export, trained
from tests.prediction import networks

for package in ("onnx", "onnxscript"):
    pytest.importorskip(package)
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of torch and ONNX, while they convert


@pytest.mark.parametrize(
    ("name", "channels"), [("lenet5-regularized", 1), ("lenet5-1998", 1), ("lenet5-bilinear", 3), ("mlp", 3)]
)
def test_it_takes_raw_images_in_any_number(tmp_path, name, channels):
    model = trained.of_folder(networks.make_folder(tmp_path / "model", name, 1, networks.kind(channels)))
    onnx_export.export(model, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    for count in (1, 7):
        pixels = networks.random_pixels(count, (28, 28) if channels == 1 else (28, 28, 3), seed=count)
        (found,) = session.run(["probabilities"], {"images": pixels})
        np.testing.assert_allclose(found, ensemble.Ensemble(model).probabilities(pixels)[0], atol=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert (about["variant"], about["seed"]) == (name, "0")
    assert json.loads(about["classes"]) == [f"c{n}" for n in range(10)]


def test_a_file_that_answers_differently_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "TOLERANCE", 0.0)
    model = trained.of_folder(networks.make_folder(tmp_path / "model", "lenet5", 1))
    with pytest.raises(
        UserError, match=r"the ONNX file answers differently from the network, by .* nothing was written"
    ):
        onnx_export.export(model, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
