"""lenetlab export: the network of one seed as an ONNX file that takes raw pixels."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lenetlab.errors import UserError
from lenetlab.prediction.ensemble import Ensemble, FromPixels
from lenetlab.prediction.trained import TrainedModel
from lenetlab.storage import files

OPSET = 18
TOLERANCE = 1e-5  # of probabilities, between the file and the network
CHECKED = 64  # images


class _Probabilities(nn.Module):
    """A network from raw pixels to probabilities."""

    def __init__(self, network: FromPixels) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(images), dim=1)


def export(model: TrainedModel, output: Path) -> float:
    """Write the network of a model with one seed; returns the largest difference of a probability.

    UserError if a package is missing, or if the file does not answer as the network does; then nothing is written.
    """
    onnx, runtime = _packages()
    ensemble = Ensemble(model)
    content = _described(onnx, _converted(ensemble.networks[0], model), model)
    pixels = np.random.default_rng(0).integers(0, 256, (CHECKED, *_shape(model)), dtype=np.uint8)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (answered,) = session.run(["probabilities"], {"images": pixels})
    difference = float(np.abs(answered - ensemble.probabilities(pixels)[0]).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"{model.variant}: the ONNX file answers differently from the network, by {difference:.1e};"
            f" allowed: {TOLERANCE:.0e}; nothing was written"
        )
    files.write_bytes(output, content)
    return difference


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch needs it
    except ImportError as error:
        raise UserError(
            f"lenetlab export: the package {error.name} is missing; remedy: pip install 'lenetlab[onnx]', or, in this"
            " folder, pip install -e '.[onnx]'"
        ) from None
    return onnx, onnxruntime


def _shape(model: TrainedModel) -> tuple[int, ...]:
    """Of one image."""
    return (model.size, model.size) if model.channels == 1 else (model.size, model.size, 3)


def _converted(network: FromPixels, model: TrainedModel) -> Any:
    """ONNX's protocol buffer, for any number of images."""
    example = torch.zeros((2, *_shape(model)), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns of, the comparison of answers would show
        try:
            program = torch.onnx.export(
                _Probabilities(network).eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes={"images": {0: torch.export.Dim("N")}},
                verbose=False,
            )
        except Exception as error:  # of any kind: a class of the user may do what ONNX has no words for
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{model.variant}: torch cannot write this network as ONNX ({reason})") from None
    assert program  # noqa: S101  with dynamo, there is one
    return program.model_proto


def _described(onnx: Any, graph: Any, model: TrainedModel) -> bytes:
    """The file's bytes, with classes, variant and seed in its metadata."""
    onnx.helper.set_model_props(
        graph,
        {
            "variant": model.variant,
            "seed": str(model.seeds[0]),
            "fingerprint": model.fingerprint,
            "classes": json.dumps(model.classes, ensure_ascii=False),
            "input": "images: uint8 (N, height, width), in colour (N, height, width, 3); 0 is black",
        },
    )
    onnx.checker.check_model(graph)
    content: bytes = graph.SerializeToString()
    return content
