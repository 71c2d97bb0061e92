"""Files of numbers: weights and predictions. Nothing in them is ever run.

What is damaged or hostile is refused with the file's name; there is no other exception, no waiting, no large memory.
"""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from lenetlab.errors import UserError
from lenetlab.evaluation import predictions
from lenetlab.networks import build
from lenetlab.settings import params
from lenetlab.training import checkpoint
from tests.storage.fuzzing import apply_changes, byte_changes, check_peak_memory, error_lines, time_limit

pytestmark = [pytest.mark.slow, pytest.mark.torture]

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
DEFINITION = STUDY.variants["lenet5-28-batch-norm"]


class Touching:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("numbers")


WEIGHTS = build.build_network(DEFINITION, seed=1).state_dict()
SAVED = safetensors.torch.save(WEIGHTS)
NAME = "layers.c1.weight"
HEADER = 8 + int.from_bytes(SAVED[:8], "little")


def load_weights(folder: Path, content: bytes) -> list[str]:
    path = folder / "epoch-01.safetensors"
    path.write_bytes(content)
    network = build.build_network(DEFINITION, seed=2)
    with time_limit():
        try:
            checkpoint.load_weights(network, path)
        except UserError as error:
            return str(error).removeprefix(f"{path}: not the weights of this network: ").splitlines()
    return []


@given(byte_changes)
@example([("cut", 0.0, b"")])
@example([("cut", 0.5, b"")])
def test_changed_weights(folder, count, changes):
    load_weights(folder, apply_changes(SAVED, changes))
    count("checkpoints")


@given(byte_changes)
def test_a_changed_header_of_weights(folder, count, changes):
    load_weights(folder, apply_changes(SAVED[:HEADER], changes) + SAVED[HEADER:])
    count("checkpoints")


@given(st.binary(max_size=100))
@example(struct.pack("<Q", 2**60) + b"{}")
@example(struct.pack("<Q", 2**63) + b"{}")
@example(struct.pack("<Q", 2**64 - 1) + b"{}")
@example(struct.pack("<Q", 2) + b"{}")
@example(struct.pack("<Q", 0))
@example(struct.pack("<Q", 4) + b"null")
@example(struct.pack("<Q", 90) + b"[" * 90)
def test_other_bytes_are_no_weights(folder, count, content):
    assert load_weights(folder, content)
    count("checkpoints")


def described(shape: object, offsets: object, kind: object = "F32", **more: object) -> bytes:
    header = json.dumps({NAME: {"dtype": kind, "shape": shape, "data_offsets": offsets}, **more}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(64)


@pytest.mark.parametrize("content", [
    described([2**60], [0, 64]), described([2**63, 2], [0, 64]), described([16], [0, 2**60]), described([16], [2**60,
    0]),
    described([-16], [0, 64]), described([16], [-64, 0]), described([16.5], [0, 64]), described([16], [0, 64], "F31"),
    described([16], [0, 64], None), described("16", [0, 64]), described([1] * 5000, [0, 4]), described([0], [0, 0]),
    described([16], [0, 64], other={"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}),
    described([16], [0, 64], __metadata__={"a": 1}), described([16], [0, 64], __metadata__="x" * 10**6),
    described([16], [0, 64], "F8_E4M3"), described([4], [0, 64], "C64"),
    described([16], [0, 64]),
], ids=range(18))  # fmt: skip
def test_headers_of_weights_that_lie(folder, count, content):
    assert load_weights(folder, content)
    count("checkpoints")


@pytest.mark.parametrize("change", [
    lambda tensors: tensors.pop(NAME),
    lambda tensors: tensors.update(more=torch.zeros(3)),
    lambda tensors: tensors.update({NAME: torch.zeros(3)}),
    lambda tensors: tensors.update({NAME: tensors[NAME][0]}),
    lambda tensors: tensors.clear(),
], ids=["missing", "more", "other shape", "other dimensions", "none"])  # fmt: skip
def test_weights_of_another_network(folder, count, change):
    tensors = dict(WEIGHTS)
    change(tensors)
    assert load_weights(folder, safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()}))
    count("checkpoints")


def test_no_pickle_in_place_of_a_file_is_unpickled(tmp_path, count):
    marker, hostile = tmp_path / "was-here", io.BytesIO()
    torch.save({NAME: Touching(marker)}, hostile)
    contents = [hostile.getvalue(), *(pickle.dumps(Touching(marker), protocol) for protocol in range(6))]
    for content in contents:
        assert load_weights(tmp_path, content)
        assert read_predictions(tmp_path, content)
        count("checkpoints")
        count("predictions.npz")
    assert not marker.exists()
    pickle.loads(contents[-1])  # noqa: S301  the same does leave a trace where it is trusted
    assert marker.exists()


ANSWERS = predictions.Predictions(
    np.arange(3, dtype=np.int64),
    np.arange(40, dtype=np.uint8) % 10,
    np.arange(120, dtype=np.uint8).reshape(3, 40) % 10,
    np.linspace(0, 1, 120, dtype=np.float32).reshape(3, 40),
)


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def read_predictions(folder: Path, content: bytes) -> list[str]:
    path, found = folder / "mlp" / "predictions.npz", []
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    lines = error_lines(lambda: found.append(predictions.read(path)))
    if lines:
        (line,) = lines
        assert line.startswith(f"{path}: cannot be read (")
        assert "; remedy: dvc checkout --force" in line
        assert line.endswith("if that does not help, dvc repro --force --single-item evaluate@mlp")
    for answers in found:
        assert predictions.confusion(answers.labels, answers.predicted).sum() == answers.predicted.size
        assert ((answers.accuracy >= 0) & (answers.accuracy <= 1)).all()
    return lines


GOOD = npz(**vars(ANSWERS))


@given(byte_changes)
def test_changed_predictions(folder, count, changes):
    read_predictions(folder, apply_changes(GOOD, changes))
    count("predictions.npz")


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda end: b"PK\3\4" + end))
@example(b"")
@example(b"PK\5\6" + bytes(18))
@example(npz())
@example(b"\x93NUMPY\1\0\x76\0{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }" + b" " * 60 + b"\nabc")
def test_other_bytes_are_no_predictions(folder, count, content):
    assert read_predictions(folder, content)
    count("predictions.npz")


def packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy_header(kind: str, side: object) -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': ({side},), }}"


def npy(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + content


@given(
    name=st.sampled_from(list(vars(ANSWERS))),
    header=st.sampled_from([
        *(npy_header("'|u1'", side) for side in (2**62, 2**40, -1, "3L", "'a'")),
        *(npy_header(kind, 3) for kind in ("'|O'", "'|V0'", "[('a', '|O')]", "'x'")),
        "{}", "", "[" * 9000, "(" * 900, "{" * 90, "1L", "__import__('os').system('touch was-here')", " " * 60_000,
    ]) | st.text(max_size=30),
    content=st.binary(max_size=20),
)  # fmt: skip
def test_arrays_that_lie_about_themselves(folder, count, name, header, content):
    members = {key: npy_of(value) for key, value in vars(ANSWERS).items()}
    members[name] = npy(header, content) if len(header) < 65_000 else b""
    assert read_predictions(folder, packed(members))
    assert not Path("was-here").exists()
    count("predictions.npz")


def npy_of(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


NOT_ANSWERS = {
    "seeds twice": {"seeds": np.array([0, 1, 1])},
    "a seed less": {"seeds": np.arange(2)},
    "a seed more": {"seeds": np.arange(4)},
    "no image": {
        "labels": ANSWERS.labels[:0],
        "predicted": np.zeros((3, 0), "u1"),
        "probability": np.zeros((3, 0), "f4"),
    },
    "seeds in two dimensions": {"seeds": np.arange(3)[None]},
    "one number": {"seeds": np.array(3)},
    "seeds as text": {"seeds": np.array(["0", "1", "2"])},
    "seeds as fractions": {"seeds": np.array([0.0, 1.0, np.nan])},
    "labels less": {"labels": ANSWERS.labels[1:]},
    "labels as objects": {"labels": np.array([object] * 40)},
    "labels above 9": {"labels": ANSWERS.labels + 1},
    "labels below 0": {"labels": ANSWERS.labels.astype(np.int8) - 1},
    "predicted for one": {"predicted": ANSWERS.predicted[0]},
    "predicted across": {"predicted": ANSWERS.predicted.T},
    "predicted above 9": {"predicted": ANSWERS.predicted + 246},
    "predicted as objects": {"predicted": ANSWERS.predicted.astype(object)},
    "no number as probability": {"probability": ANSWERS.probability * np.nan},
    "probability above 1": {"probability": ANSWERS.probability * 2},
    "probability below 0": {"probability": -ANSWERS.probability},
    "probability as text": {"probability": ANSWERS.probability.astype(str)},
}


@pytest.mark.parametrize("case", NOT_ANSWERS)
def test_what_no_evaluation_writes(folder, count, case):
    assert not read_predictions(folder, GOOD)
    assert read_predictions(folder, npz(**vars(ANSWERS) | NOT_ANSWERS[case]))
    for missing in NOT_ANSWERS[case]:
        assert read_predictions(folder, npz(**{name: part for name, part in vars(ANSWERS).items() if name != missing}))
    count("predictions.npz")


def test_no_pickle_among_the_arrays_is_unpickled(tmp_path, count):
    marker = tmp_path / "was-here"
    for name in vars(ANSWERS):
        content = npz(**vars(ANSWERS) | {name: np.array([Touching(marker)], dtype=object)})
        assert "allow_pickle" in read_predictions(tmp_path, content)[0]
        count("predictions.npz")
    assert not marker.exists()


BOMBS = r"""
import struct, sys, zipfile
from pathlib import Path
from lenetlab.errors import UserError
from lenetlab.evaluation import predictions

path = Path(sys.argv[1])


def npy(kind, shape, size):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    yield b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    for _ in range(size // 10**6):
        yield bytes(10**6)


for shapes, size in (((1000, 10**6), 10**9), ((10**6, 10**6), 0), ((2**40, 1), 0), ((1, 2**40), 10**6)):
    seeds, images = shapes
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, kind, shape in (
            ("seeds", "<i8", (seeds,)), ("labels", "|u1", (images,)),
            ("predicted", "|u1", shapes), ("probability", "<f4", shapes),
        ):
            with packed.open(f"{name}.npy", "w", force_zip64=True) as stream:
                for part in npy(kind, shape, size if name == "predicted" else 0):
                    stream.write(part)
    try:
        predictions.read(path)
    except UserError as error:
        assert "cannot be read" in str(error)
    else:
        raise AssertionError(shapes)
path.unlink()
"""


def test_no_predictions_fill_the_memory_or_take_for_ever(tmp_path, count):
    check_peak_memory(BOMBS, tmp_path / "predictions.npz")
    for _ in range(4):
        count("predictions.npz")
