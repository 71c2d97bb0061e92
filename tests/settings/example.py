"""A small params.yaml, a claims.yaml and statements, so that tests do not depend on the files that users edit."""

from pathlib import Path

PARAMS = """\
device: auto
seeds: [0, 1, 2, 3, 4, 5]
study:
  - lenet5
  - mlp
  - lenet5-regularized
comparisons:
  headline:
    - {candidate: lenet5, baseline: mlp}
    - {candidate: lenet5-regularized, baseline: lenet5}
settle: {most: 36}
equivalence_margin: 0.002
other_margins: {test_loss: 0.005, gap: 0.002, epochs_to: 0.5}
claims: claims.yaml
data:
  source: data/mnist.toml
  extra_test: data/none.txt
  validation: 5000
  validation_seed: 0
  duplicates: error
training:
  images: 0
  epochs: 10
  batch_size: 64
  optimizer: sgd
  learning_rate: 0.01
  momentum: 0.9
  schedule: constant
  weight_averaging: 0.0
cost:
  rounds: 5
  batches: 30
sensitivity:
  variant: lenet5
  seeds: [0, 1, 2, 3]
  learning_rate: [0.001, 0.003, 0.01]
  dropout: [0.0, 0.5]
  width: [0.5, 1.0, 2.0]
  batch_size: [16, 64]
  images: [1000, 0]
variants:
  lenet5:
    input: {size: 32, resize: pad, normalize: true}
    model: {name: lenet5, channels: [6, 16], hidden: [120, 84], pooling: max, activation: relu}
    regularization: {batch_norm: false, dropout: 0.0, weight_decay: 0.0, label_smoothing: 0.0, augmentation: none}
  mlp:
    input: {size: 32, resize: pad, normalize: true}
    model: {name: mlp, hidden: [59], activation: relu}
    regularization: {batch_norm: false, dropout: 0.0, weight_decay: 0.0, label_smoothing: 0.0, augmentation: none}
  lenet5-regularized:
    input: {size: 32, resize: pad, normalize: true}
    model: {name: lenet5, channels: [6, 16], hidden: [120, 84], pooling: max, activation: relu}
    regularization: {batch_norm: true, dropout: 0.5, weight_decay: 0.0, label_smoothing: 0.0, augmentation: none}
"""
MORE_VARIANTS = """\
  mlp-28-60-40:
    input: {size: 28, resize: pad, normalize: true}
    model: {name: mlp, hidden: [60, 40], activation: relu}
    regularization: {batch_norm: false, dropout: 0.0, weight_decay: 0.0, label_smoothing: 0.0, augmentation: none}
  lenet5-1998:
    input: {size: 32, resize: pad, normalize: true}
    model: {name: lenet5, channels: [6, 16], hidden: [120, 84], pooling: trained, activation: scaled-tanh, connections: partial, output: codes}
    regularization: {batch_norm: false, dropout: 0.0, weight_decay: 0.0, label_smoothing: 0.0, augmentation: none}
    training: {learning_rate: 0.001}
"""  # noqa: E501
CLAIMS = """\
resolution: 0.005
reports:
  S0: Coursework report; LeNet-5 and an MLP; SGD, ten epochs
claims:
  - id: S0.1
    kind: parameters
    statement: LeNet-5 has 61,720 parameters
    variant: lenet5
    layers: {c3: 2416}
    value: 61720
  - id: S0.2
    kind: accuracy
    statement: LeNet-5 reaches 99.01 % after ten epochs
    data: mnist
    variant: lenet5
    epoch: 10
    value: 0.9901
  - id: S0.3
    kind: relation
    statement: Regularisation improves LeNet-5
    data: mnist
    candidate: lenet5-regularized
    baseline: lenet5
    expected: better
    alone: [mlp]
  - id: S0.4
    kind: relation
    statement: LeNet-5 has lower losses than the MLP
    data: mnist
    candidate: lenet5
    baseline: mlp
    measure: [train_loss, test_loss]
    expected: less
"""


def replace_once(text: str, *edits: tuple[str, str]) -> str:
    """The text with the first occurrence of each old text replaced; an old text must exist."""
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def write_params(folder: Path, *edits: tuple[str, str]) -> Path:
    path = folder / "params.yaml"
    path.write_text(replace_once(PARAMS + MORE_VARIANTS, *edits))
    return path


def statement(**keys: object) -> dict:
    return {"id": "X1", "statement": "Stated somewhere"} | keys


def accuracy(variant: str = "lenet5", **keys: object) -> dict:
    return statement(kind="accuracy", variant=variant, data="mnist") | keys


def relation(**keys: object) -> dict:
    return statement(kind="relation", candidate="lenet5", baseline="mlp", data="mnist") | keys
