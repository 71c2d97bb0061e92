"""lenetlab predict: what trained networks say about the user's images, and what is wrong with these."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lenetlab.data import conversion
from lenetlab.prediction import answers, images
from lenetlab.prediction.ensemble import Ensemble
from lenetlab.prediction.trained import TrainedModel
from lenetlab.settings import schema

BLOCK = 500  # images that are held in memory at a time


@dataclass(frozen=True)
class Result:
    """What is said about one file: an answer, or why it is refused."""

    file: str
    answer: answers.Answer | None
    refused: str = ""
    warnings: list[str] = field(default_factory=list)


def predict(ensemble: Ensemble, found: Sequence[Path], invert: bool) -> Iterable[Result]:
    """A result per file, in order."""
    kind = kind_of(ensemble.model)
    for start in range(0, len(found), BLOCK):
        read: dict[Path, images.ReadImage | str] = {}
        for path in found[start : start + BLOCK]:
            try:
                read[path] = images.read(path, kind, invert)
            except conversion.Refused as refused:
                read[path] = str(refused)
            except OSError as error:
                read[path] = error.strerror or str(error)
        good = [image for image in read.values() if isinstance(image, images.ReadImage)]
        pixels = np.stack([image.pixels for image in good]) if good else None
        answered = iter(
            answers.answers(ensemble.probabilities(pixels), ensemble.model.classes) if pixels is not None else ()
        )
        for path, image in read.items():
            if isinstance(image, str):
                yield Result(str(path), None, refused=image)
            else:
                yield Result(str(path), next(answered), warnings=image.warnings)


def kind_of(model: TrainedModel) -> images.Kind:
    """What the training images of a model were like."""
    kind = {"size": model.size, "channels": model.channels, "classes": len(model.classes)}
    return images.Kind(schema.ImageKind.model_validate(kind), model.brightness)


def text(result: Result) -> str:
    """The answer in one line; `result` has one."""
    answer = result.answer
    assert answer  # noqa: S101  the caller has looked
    agreement = f", {answer.agree} of {answer.seeds} seeds agree" if answer.seeds > 1 else ""
    return f"{result.file}: {answer.label}, probability {answer.probability:.3f}{agreement}"


def as_json(model: TrainedModel, results: Iterable[Result]) -> str:
    """All results as one JSON object."""
    shown: list[dict[str, Any]] = []
    for result in results:
        if result.answer is None:
            shown.append({"file": result.file, "refused": result.refused})
        else:
            shown.append({"file": result.file, **asdict(result.answer), "warnings": result.warnings})
    about = {"variant": model.variant, "seeds": list(model.seeds), "fingerprint": model.fingerprint}
    return json.dumps({"model": about, "images": shown}, indent=1, ensure_ascii=False)
