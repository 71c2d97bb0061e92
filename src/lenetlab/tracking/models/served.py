"""What MLflow runs when it loads a logged model: images (uint8) to label, probability and agreement of the seeds.

The model's folder holds the code of the networks too, so this file needs no installed lenetlab.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd  # type: ignore[import-untyped]

PACKAGE = "lenetlab"


class Networks:
    """The networks of one or more seeds, in evaluation mode."""

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["model"])
        with _code_in(folder / "code.zip"):
            from lenetlab.prediction import answers, ensemble, trained

            self.ensemble = ensemble.Ensemble(trained.of_folder(folder))
            self.answers = answers.answers

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """A row per image; `model_input` is uint8 of shape (N, size, size), in colour (N, size, size, 3)."""
        model = self.ensemble.model
        found = self.answers(self.ensemble.probabilities(np.asarray(model_input)), model.classes)
        rows = {key: [getattr(answer, key) for answer in found] for key in ("label", "probability", "agree")}
        return pd.DataFrame({**rows, "probabilities": [list(answer.probabilities.values()) for answer in found]})


class Classifier(Networks, mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """MLflow's form of it. Of a `predict` that is defined here, MLflow would ask for type hints, with a warning."""


@contextmanager
def _code_in(archive: Path) -> Iterator[None]:
    """The block imports the package from this archive, whatever other version is installed or already imported."""
    others = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE}
    for name in others:
        del sys.modules[name]
    sys.path.insert(0, str(archive))
    try:
        yield
    finally:
        sys.path.remove(str(archive))
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.modules.update(others)


mlflow.models.set_model(Classifier())
