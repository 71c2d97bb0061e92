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
        block = found[start : start + BLOCK]
        read = [_read(path, kind, invert) for path in block]
        good = [image for image in read if isinstance(image, images.ReadImage)]
        pixels = np.stack([image.pixels for image in good]) if good else None
        answered = iter(
            answers.answers(ensemble.probabilities(pixels), ensemble.model.classes) if pixels is not None else ()
        )
        for path, image in zip(block, read, strict=True):
            if isinstance(image, str):
                yield Result(str(path), None, refused=image)
            else:
                yield Result(str(path), next(answered), warnings=image.warnings)


def _read(path: Path, kind: images.Kind, invert: bool) -> images.ReadImage | str:
    """The image, or why it is refused."""
    try:
        return images.read(path, kind, invert)
    except conversion.Refused as refused:
        return str(refused)
    except OSError as error:
        return error.strerror or str(error)


def kind_of(model: TrainedModel) -> images.Kind:
    """What the training images of a model were like."""
    kind = {"size": model.size, "channels": model.channels, "classes": len(model.classes)}
    return images.Kind(schema.ImageKind.model_validate(kind), model.brightness)


def text(result: Result) -> str:
    """The answer in one line; `result` has one."""
    answer = result.answer
    assert answer  # noqa: S101  the caller has looked
    agreement = f", {answer.agree} of {answer.seeds} seeds agree" if answer.seeds > 1 else ""
    return f"{shown(result.file)}: {answer.label}, probability {answer.probability:.3f}{agreement}"


def shown(file: str) -> str:
    """The name of a file on one line of any terminal: escapes in place of line breaks and of bytes that are no text."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in file)


def as_json(model: TrainedModel, results: Iterable[Result]) -> str:
    """All results as one JSON object."""
    listed: list[dict[str, Any]] = []
    for result in results:
        if result.answer is None:
            listed.append({"file": result.file, "refused": result.refused})
        else:
            listed.append({"file": result.file, **asdict(result.answer), "warnings": result.warnings})
    about = {"variant": model.variant, "seeds": list(model.seeds), "fingerprint": model.fingerprint}
    content = json.dumps({"model": about, "images": listed}, indent=1, ensure_ascii=False)
    return content.encode(errors="backslashreplace").decode()  # bytes of a name that are no text, in JSON's escapes
