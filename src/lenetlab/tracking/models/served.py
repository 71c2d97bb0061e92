"""What MLflow runs when it loads a logged model: images (uint8) to label, probability and agreement of the seeds.

The model's folder holds the code of the networks too, so this file needs no installed lenetlab.
"""

import json
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
        with _code_in(folder):
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
def _code_in(folder: Path) -> Iterator[None]:
    """The block imports the code in a model's folder, whatever other version is installed or already imported.

    So several models can be loaded, whose user's classes import modules of the same names.
    """
    main = json.loads((folder / "model.json").read_bytes())["settings"]["model"].get("file", "")  # imported by its path
    own = {path.stem for path in (folder / main).parent.iterdir() if path != folder / main} if main else set()
    others = _take_away({PACKAGE, *own})
    archive = str(folder / "code.zip")
    sys.path.insert(0, archive)
    try:
        yield
    finally:
        sys.path.remove(archive)
        _take_away({PACKAGE, *own})
        sys.modules.update(others)


def _take_away(packages: set[str]) -> dict[str, Any]:
    """Remove what was imported of these packages, and return it."""
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}


mlflow.models.set_model(Classifier())
