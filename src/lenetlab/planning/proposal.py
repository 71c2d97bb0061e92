"""Settings that suit images of one's own: the block `data`, a study, and how long to train."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from lenetlab.data import prepare
from lenetlab.data.forms import held_out
from lenetlab.data.forms.found import BY_NUMBER
from lenetlab.errors import UserError
from lenetlab.planning.survey import Survey
from lenetlab.settings import layer_schema, schema, study_schema, yaml_file

Values = dict[tuple[str, ...], str]  # YAML, by the keys that lead to it

TEST_SHARE = 0.2  # of a source without a test set
VALIDATION_SHARE, MOST_VALIDATION = 0.1, 5000
REDUCED_SIZE = 64  # pixels per side of images that are not square, or too large
BATCH_SIZES = {6400: 64, 1600: 32, 0: 16}  # by the smallest number of training images
# By the smallest number of values that a network reads of an image: many alike inputs make steps large, so with
# 0.01, the rate for the 1,024 of MNIST, an MLP of large colour images diverges.
LEARNING_RATES = {40_000: "0.0003", 12_500: "0.001", 3_500: "0.003", 0: "0.01"}
FEWEST_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 2000, 10, 50
LOSSES = {  # what the switches of data.accept do
    "resize": "scaled to {size}×{size} pixels, with a black border where not square",
    "grey": "colours become grey",
    "8-bit": "16 bits are cut to 8",
    "jpeg": "JPEG and WebP files keep pixels only approximately",
    "alpha": "transparent parts become black",
}

NO_CLAIMS = Path("data/no-claims.yaml")
STUDY = "\n- lenet5\n- mlp\n- lenet5-regularized"
COMPARISONS = """
  headline:
  - candidate: lenet5
    baseline: mlp
  - candidate: lenet5-regularized
    baseline: lenet5
  - candidate: lenet5-regularized
    baseline: lenet5
    measure: test_loss
  - candidate: lenet5-regularized
    baseline: lenet5
    measure: gap"""
LENET5 = """
      name: lenet5
      channels:
      - 6
      - 16
      hidden:
      - 120
      - 84
      pooling: max
      activation: relu"""
MLP = """
      name: mlp
      match_parameters: lenet5
      activation: relu"""
REGULARIZATION = """
      batch_norm: {}
      dropout: {}
      weight_decay: 0.0
      label_smoothing: 0.0
      augmentation: none"""
PLAIN, REGULARIZED = REGULARIZATION.format("false", 0.0), REGULARIZATION.format("true", 0.5)
VARIANTS = {"lenet5": (LENET5, PLAIN), "mlp": (MLP, PLAIN), "lenet5-regularized": (LENET5, REGULARIZED)}


def propose(survey: Survey, source: str, study: study_schema.Study) -> Values:
    """Settings for the images of `source`, in place of those of `study`.

    The study and its comparisons stay if the images are of the kind that `study` declares; statements, training and
    extra test images stay if they are from the same source. UserError if the number of classes is not allowed.
    """
    classes = _classes(survey)
    size = _size(survey)
    kind = schema.ImageKind(size=size, channels=3 if survey.coloured else 1, classes=len(classes))
    counts = _after_test_split(survey)
    validation = validation_images(counts)
    values: Values = {
        ("data", "source"): _as_yaml(source),
        ("data", "size"): str(size),
        ("data", "channels"): str(kind.channels),
        ("data", "classes"): _classes_as_yaml(classes),
        ("data", "accept"): list_as_yaml(_losses(survey, size)),
        ("data", "test_share"): "0" if survey.has_test_set else str(TEST_SHARE),
        ("data", "validation"): str(validation),
    }
    if survey.across:
        values["data", "duplicates"] = "drop"
    if source != study.data.source or kind != study.data.kind:
        batch_size, epochs = _training(sum(counts) - validation)
        values["data", "extra_test"] = study_schema.NO_EXTRA_TEST
        values["training", "batch_size"], values["training", "epochs"] = str(batch_size), str(epochs)
        if NO_CLAIMS.exists():  # the statements so far are about other images
            values["claims",] = str(NO_CLAIMS)
    if kind != study.data.kind:
        values["study",], values["comparisons",] = STUDY, COMPARISONS
        if study.training.optimizer.name == "sgd":
            values["training", "learning_rate"] = _learning_rate(kind)
        values["sensitivity", "variant"] = "lenet5"
        values["variants",] = variants_as_yaml(kind)
    return values


def _classes(survey: Survey) -> list[str]:
    labels = survey.labels
    if survey.form == BY_NUMBER and all(label.isdecimal() for label in labels):  # the label is an index
        labels = [str(number) for number in range(max(map(int, labels)) + 1)]
    if not 2 <= len(labels) <= schema.MAX_CLASSES:
        found = f"{len(labels)} classes ({', '.join(labels[:5])})"
        raise UserError(f"{found}; allowed: 2 to {schema.MAX_CLASSES} classes, such as a folder of images for each")
    return labels


def _classes_as_yaml(classes: list[str]) -> str:
    if classes == [str(number) for number in range(len(classes))]:
        return str(len(classes))
    return list_as_yaml(map(_as_yaml, classes))


def list_as_yaml(words: Iterable[str]) -> str:
    """A list in block `data`, in lines of its own, as DVC writes it."""
    return "".join(f"\n  - {word}" for word in words) or "[]"


def _as_yaml(text: str) -> str:
    """Text as a YAML value; in quotes if it would be read as something else."""
    if re.fullmatch(r"[\w./][\w./ -]*(?<! )", text):
        read = yaml_file.parse(Path("value"), f"value: [{text}]\n")["value"][0]
        if read == text or (type(read) is int and str(read) == text):
            return text
    return json.dumps(text, ensure_ascii=False)


def _size(survey: Survey) -> int:
    """The size that most images have; of images that are not square the longer side, at most REDUCED_SIZE."""
    (width, height), _ = survey.sizes.most_common(1)[0]
    return width if width == height <= layer_schema.MAX_SIDE else min(REDUCED_SIZE, max(width, height))


def _losses(survey: Survey, size: int) -> list[str]:
    found = set(survey.losses) | ({"resize"} if set(survey.sizes) != {(size, size)} else set())
    return [loss for loss in get_args(study_schema.Loss) if loss in found]


def _after_test_split(survey: Survey) -> list[int]:
    """Training images of each class, once a test set is split off, if there is none."""
    counts = list(survey.training.values())
    if survey.has_test_set:
        return counts
    return [count - test for count, test in zip(counts, held_out.sizes(counts, TEST_SHARE), strict=True)]


def validation_images(counts: list[int]) -> int:
    """Images to keep out of training: a share of them, at least one per class if that leaves others in each."""
    present = [count for count in counts if count]
    most = min(MOST_VALIDATION, max(len(present), round(VALIDATION_SHARE * sum(present))))
    for validation in range(min(most, sum(present) - 1), 0, -1):
        shares = prepare.proportional_shares(present, validation)
        if all(share < count for share, count in zip(shares, present, strict=True)):
            return validation
    return 0


def _training(images: int) -> tuple[int, int]:
    """Batch size and epochs."""
    batch_size = next(size for fewest, size in BATCH_SIZES.items() if images >= fewest)
    steps = math.ceil(images / batch_size)
    return batch_size, max(FEWEST_EPOCHS, min(MOST_EPOCHS, math.ceil(FEWEST_STEPS / max(1, steps))))


def _learning_rate(kind: schema.ImageKind) -> str:
    inputs = input_size(kind.size) ** 2 * kind.channels
    return next(rate for fewest, rate in LEARNING_RATES.items() if inputs >= fewest)


def input_size(size: int) -> int:
    """Pixels per side at which LeNet-5 reads images of `size`.

    A multiple of four, so that pooling leaves no pixels out. Small images get a border of two pixels or more, as the 28
    pixels of MNIST have in 32.
    """
    wanted = size + 4 if size <= 28 else size
    return max(schema.SMALLEST_LENET5, math.ceil(wanted / 4) * 4)


def variants_as_yaml(kind: schema.ImageKind) -> str:
    size, blocks = input_size(kind.size), []
    form = f"size: {size}, resize: pad, normalize: true"
    for name, (model, regularization) in VARIANTS.items():
        blocks.append(f"\n\n  {name}:\n    input: {{{form}}}\n    model:{model}\n    regularization:{regularization}")
    return "".join(blocks)


def notes(survey: Survey, values: Values) -> Iterator[str]:
    """What the proposed settings mean, where that is not harmless."""
    losses = dict(survey.losses)
    size = int(values["data", "size"])
    if resized := sum(count for pair, count in survey.sizes.items() if pair != (size, size)):
        losses["resize"] = resized
    for loss, count in losses.items():
        images = f"{count:,} image{'s' if count > 1 else ''}"
        yield f"data.accept allows {loss} for {images}: {LOSSES[loss].format(size=size)}"
    if not survey.has_test_set:
        yield (
            f"no test set, so data.test_share {values['data', 'test_share']} makes one: this share of the images of"
            " each class, always the same images. Results then hold for images like these, not for other sources"
        )
