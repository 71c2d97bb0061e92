"""The folder of a logged model: MLflow's description, the code that it runs, and the trained networks."""

import io
import warnings
import zipfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lenetlab.prediction import trained
from lenetlab.storage import code, paths

CODE = "code.zip"
ENTRIES = ("ensemble", "answers", "trained")  # modules of `prediction` that `served` imports
REQUIREMENTS = ("mlflow", "torch", "safetensors", "pydantic", "numpy", "pandas")
EXAMPLES, EXAMPLE_VALUES = 5, 50_000  # images of the input example, and about how many numbers


def write(model: trained.TrainedModel, ids: dict[str, str], outputs: Path, folder: Path) -> None:
    """Write the folder of a logged model, which must not exist yet. `ids`: MLflow's model_id and run_id.

    `outputs` has the prepared images of which some are its input example.
    """
    with TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of type hints of its own
        from mlflow import pyfunc
        from mlflow.models import Model

        content = Path(temporary) / "model"
        trained.write(model, content)
        (content / CODE).write_bytes(_packed_code())
        shape = (-1, model.size, model.size) if model.channels == 1 else (-1, model.size, model.size, 3)
        pyfunc.save_model(
            str(folder),
            mlflow_model=Model(**ids),
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"model": str(content)},
            signature=_signature(shape),
            input_example=_example(outputs, shape),
            pip_requirements=_requirements(),
        )


def _requirements() -> list[str]:
    """Without local versions such as 2.9.0+cpu, which package indexes do not have."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def _signature(shape: tuple[int, ...]) -> Any:
    """Raw images to a row each."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    columns = [
        ColSpec(DataType.string, "label"),
        ColSpec(DataType.double, "probability"),
        ColSpec(DataType.long, "agree"),
        ColSpec(Array(DataType.double), "probabilities"),
    ]
    return ModelSignature(Schema([TensorSpec(np.dtype(np.uint8), shape)]), Schema(columns))


def _example(outputs: Path, shape: tuple[int, ...]) -> Any:
    """The first test images, as many as make a small example; black ones if there are none on disk."""
    count = max(1, min(EXAMPLES, EXAMPLE_VALUES // int(np.prod(shape[1:]))))
    path = outputs / paths.PREPARED_TEST / "pixels.npy"
    if not path.exists():
        return np.zeros((count, *shape[1:]), np.uint8)
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[:count])


@cache
def _packed_code() -> bytes:
    """The modules of this package that `served` needs, as a zip archive from which Python imports."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for module in code.modules_reached(*(f"lenetlab.prediction.{name}" for name in ENTRIES)):
            place = code.PACKAGE.parent.joinpath(*module.split("."))
            file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            name = zipfile.ZipInfo(file.relative_to(code.PACKAGE.parent).as_posix())  # without a time
            archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()
