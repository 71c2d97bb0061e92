"""Damaged or hostile predictions.npz are rejected in one message that names the file; nothing in them is executed."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lenetlab.evaluation import predictions
from tests.answers import make_predictions
from tests.storage.fuzzing import apply_changes, byte_changes, check_peak_memory, error_lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predictions")


ANSWERS = make_predictions(
    np.arange(40) % 10,
    np.arange(120).reshape(3, 40) % 10,
    probability=np.linspace(0, 1, 120, dtype=np.float32).reshape(3, 40),
)


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def read_predictions(folder: Path, content: bytes) -> list[str]:
    """The lines of the error, empty if the content is valid."""
    path, found = folder / "mlp" / "predictions.npz", []
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    lines = error_lines(lambda: found.append(predictions.read(path, 10)))
    if lines:
        (line,) = lines
        assert line.startswith(f"{path}: cannot be read (")
        assert "; remedy: dvc checkout --force" in line
        assert line.endswith("if that does not help, dvc repro --force --single-item evaluate@mlp")
    for answers in found:
        assert predictions.confusion(answers.labels, answers.predicted, 10).sum() == answers.predicted.size
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
def test_other_bytes_are_rejected(folder, count, content):
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
def test_arrays_with_false_headers_are_rejected(folder, count, name, header, content):
    members = {key: npy_of(value) for key, value in vars(ANSWERS).items()}
    members[name] = npy(header, content) if len(header) < 65_000 else b""
    assert read_predictions(folder, packed(members))
    assert not Path("was-here").exists()
    count("predictions.npz")


def npy_of(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


INCONSISTENT = {
    "a seed twice": {"seeds": np.array([0, 1, 1])},
    "one seed too few": {"seeds": np.arange(2)},
    "one seed too many": {"seeds": np.arange(4)},
    "no images": {
        "labels": ANSWERS.labels[:0],
        "predicted": np.zeros((3, 0), "u1"),
        "probability": np.zeros((3, 0), "f4"),
    },
    "seeds in two dimensions": {"seeds": np.arange(3)[None]},
    "seeds as a scalar": {"seeds": np.array(3)},
    "seeds as text": {"seeds": np.array(["0", "1", "2"])},
    "seeds as fractions": {"seeds": np.array([0.0, 1.0, np.nan])},
    "one label too few": {"labels": ANSWERS.labels[1:]},
    "labels as objects": {"labels": np.array([object] * 40)},
    "labels above 9": {"labels": ANSWERS.labels + 1},
    "labels below 0": {"labels": ANSWERS.labels.astype(np.int8) - 1},
    "predicted of one seed": {"predicted": ANSWERS.predicted[0]},
    "predicted transposed": {"predicted": ANSWERS.predicted.T},
    "predicted above 9": {"predicted": ANSWERS.predicted + 246},
    "predicted as objects": {"predicted": ANSWERS.predicted.astype(object)},
    "NaN as probability": {"probability": ANSWERS.probability * np.nan},
    "probability above 1": {"probability": ANSWERS.probability * 2},
    "probability below 0": {"probability": -ANSWERS.probability},
    "probability as text": {"probability": ANSWERS.probability.astype(str)},
}


@pytest.mark.parametrize("case", INCONSISTENT)
def test_inconsistent_arrays_are_rejected(folder, count, case):
    assert not read_predictions(folder, GOOD)
    assert read_predictions(folder, npz(**vars(ANSWERS) | INCONSISTENT[case]))
    for missing in INCONSISTENT[case]:
        assert read_predictions(folder, npz(**{name: part for name, part in vars(ANSWERS).items() if name != missing}))
    count("predictions.npz")


class MakesFile:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_instead_of_the_file_is_not_unpickled(tmp_path, count):
    marker = tmp_path / "was-here"
    for protocol in range(6):
        assert read_predictions(tmp_path, pickle.dumps(MakesFile(marker), protocol))
        count("predictions.npz")
    assert not marker.exists()


def test_a_pickle_among_the_arrays_is_not_unpickled(tmp_path, count):
    marker = tmp_path / "was-here"
    for name in vars(ANSWERS):
        content = npz(**vars(ANSWERS) | {name: np.array([MakesFile(marker)], dtype=object)})
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


def test_decompression_bombs_are_rejected_without_filling_the_memory(tmp_path, count):
    check_peak_memory(BOMBS, tmp_path / "predictions.npz")
    for _ in range(4):
        count("predictions.npz")
