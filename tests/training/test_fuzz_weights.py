"""Damaged or hostile files of weights are rejected in one message that names the file; nothing in them is executed."""

import io
import json
import pickle
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from lenetlab.networks import build
from lenetlab.training import checkpoint
from tests.storage.fuzzing import apply_changes, byte_changes, error_lines
from tests.training.jobs import CATALOGUE

pytestmark = pytest.mark.slow

VARIANT = CATALOGUE["lenet5-28-batch-norm"]
WEIGHTS = build.build_network(VARIANT, seed=1).state_dict()
SAVED = safetensors.torch.save(WEIGHTS)
NAME = "layers.c1.weight"
HEADER = 8 + int.from_bytes(SAVED[:8], "little")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("weights") / "epoch-01.safetensors"


def load_weights(path: Path, content: bytes) -> list[str]:
    """The lines of the error, empty if the content is valid."""
    path.write_bytes(content)
    network = build.build_network(VARIANT, seed=2)
    lines = error_lines(lambda: checkpoint.load_weights(network, path))
    assert all(line.startswith(f"{path}: not the weights of this network (") for line in lines)
    assert len(lines) <= 1
    return lines


def test_unchanged_weights_are_loaded(path):
    assert load_weights(path, SAVED) == []


@given(byte_changes)
@example([("cut", 0.0, b"")])
@example([("cut", 0.5, b"")])
def test_changed_weights(path, count, changes):
    load_weights(path, apply_changes(SAVED, changes))
    count("checkpoints")


@given(byte_changes)
def test_weights_with_a_changed_header(path, count, changes):
    load_weights(path, apply_changes(SAVED[:HEADER], changes) + SAVED[HEADER:])
    count("checkpoints")


@given(st.binary(max_size=100))
@example(struct.pack("<Q", 2**60) + b"{}")
@example(struct.pack("<Q", 2**63) + b"{}")
@example(struct.pack("<Q", 2**64 - 1) + b"{}")
@example(struct.pack("<Q", 2) + b"{}")
@example(struct.pack("<Q", 0))
@example(struct.pack("<Q", 4) + b"null")
@example(struct.pack("<Q", 90) + b"[" * 90)
def test_other_bytes_are_rejected(path, count, content):
    assert load_weights(path, content)
    count("checkpoints")


def with_header(shape: object, offsets: object, kind: object = "F32", **more: object) -> bytes:
    """64 bytes of data after a header that describes them so."""
    header = json.dumps({NAME: {"dtype": kind, "shape": shape, "data_offsets": offsets}, **more}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(64)


@pytest.mark.parametrize("content", [
    with_header([2**60], [0, 64]), with_header([2**63, 2], [0, 64]), with_header([16], [0, 2**60]),
    with_header([16], [2**60, 0]), with_header([-16], [0, 64]), with_header([16], [-64, 0]),
    with_header([16.5], [0, 64]), with_header([16], [0, 64], "F31"), with_header([16], [0, 64], None),
    with_header("16", [0, 64]), with_header([1] * 5000, [0, 4]), with_header([0], [0, 0]),
    with_header([16], [0, 64], other={"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}),
    with_header([16], [0, 64], __metadata__={"a": 1}), with_header([16], [0, 64], __metadata__="x" * 10**6),
    with_header([16], [0, 64], "F8_E4M3"), with_header([4], [0, 64], "C64"), with_header([16], [0, 64]),
], ids=range(18))  # fmt: skip
def test_false_headers_are_rejected(path, count, content):
    assert load_weights(path, content)
    count("checkpoints")


@pytest.mark.parametrize("change", [
    lambda tensors: tensors.pop(NAME),
    lambda tensors: tensors.update(more=torch.zeros(3)),
    lambda tensors: tensors.update({NAME: torch.zeros(3)}),
    lambda tensors: tensors.update({NAME: tensors[NAME][0]}),
    lambda tensors: tensors.update({NAME: tensors[NAME].double()}),
    lambda tensors: tensors.clear(),
], ids=["missing", "more", "other shape", "other dimensions", "other type", "none"])  # fmt: skip
def test_weights_of_another_network_are_rejected(path, count, change):
    tensors = dict(WEIGHTS)
    change(tensors)
    assert load_weights(path, safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()}))
    count("checkpoints")


class MakesFile:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_instead_of_weights_is_not_unpickled(path, tmp_path, count):
    marker, archive = tmp_path / "was-here", io.BytesIO()
    torch.save({NAME: MakesFile(marker)}, archive)
    pickles = [pickle.dumps(MakesFile(marker), protocol) for protocol in range(6)]
    for content in (archive.getvalue(), *pickles):
        assert load_weights(path, content)
        count("checkpoints")
    assert not marker.exists()
    pickle.loads(pickles[-1])  # noqa: S301  the control: unpickling does make the file
    assert marker.exists()
