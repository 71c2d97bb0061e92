"""Files of numbers: weights, predictions, the pickle of the pinned package. Nothing in them is ever run.

What is damaged or hostile is refused with the file's name; there is no other exception, no waiting, no large memory.
"""

import io
import json
import os
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

from lenetlab.data import download
from lenetlab.errors import UserError
from lenetlab.evaluation import predictions
from lenetlab.networks import build
from lenetlab.settings import params
from lenetlab.training import checkpoint
from tests.storage.breaking import changed, changes, in_time, left, refusal, run_frugally

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


WEIGHTS = build.build(DEFINITION, seed=1).state_dict()
SAVED = safetensors.torch.save(WEIGHTS)
NAME = "layers.c1.weight"
HEADER = 8 + int.from_bytes(SAVED[:8], "little")


def load_weights(folder: Path, content: bytes) -> list[str]:
    path = folder / "epoch-01.safetensors"
    path.write_bytes(content)
    network = build.build(DEFINITION, seed=2)
    with in_time():
        try:
            checkpoint.load_weights(network, path)
        except UserError as error:
            return str(error).removeprefix(f"{path}: not the weights of this network: ").splitlines()
    return []


@given(changes)
@example([("cut", 0.0, b"")])
@example([("cut", 0.5, b"")])
def test_changed_weights(folder, count, changes):
    load_weights(folder, changed(SAVED, changes))
    count("checkpoints")


@given(changes)
def test_a_changed_header_of_weights(folder, count, changes):
    load_weights(folder, changed(SAVED[:HEADER], changes) + SAVED[HEADER:])
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
    lines = refusal(lambda: found.append(predictions.read(path)))
    if lines:
        (line,) = lines
        assert line.startswith(f"{path}: cannot be read (")
        assert "; remedy: dvc checkout --force" in line
        assert line.endswith("where that does not help, dvc repro --force --single-item evaluate@mlp")
    for answers in found:
        assert predictions.confusion(answers.labels, answers.predicted).sum() == answers.predicted.size
        assert ((answers.accuracy >= 0) & (answers.accuracy <= 1)).all()
    return lines


GOOD = npz(**vars(ANSWERS))


@given(changes)
def test_changed_predictions(folder, count, changes):
    read_predictions(folder, changed(GOOD, changes))
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


def array_of(values: np.ndarray) -> bytes:
    """An array as a pickle of Python 2 has it: words of protocol 2."""
    shape = b"".join(b"J" + struct.pack("<i", side) for side in values.shape)
    content = values.tobytes()
    letters = values.dtype.str[1:].encode()
    return b"".join([
        b"cnumpy.core.multiarray\n_reconstruct\nq\1cnumpy\nndarray\nq\2K\0\x85U\1b\x87Rq\3(K\1(", shape,
        b"tcnumpy\ndtype\nq\4U", bytes([len(letters)]), letters,
        b"K\0K\1\x87Rq\5(K\3U\1", values.dtype.str[:1].encode(), b"NNNJ\xff\xff\xff\xff",
        b"J\xff\xff\xff\xffK\0tb\x89T", struct.pack("<i", len(content)), content, b"tb",
    ])  # fmt: skip


def pairs_of(*arrays: np.ndarray) -> bytes:
    images = b"".join(
        array_of(first) + array_of(second) + b"\x86" for first, second in zip(arrays[::2], arrays[1::2], strict=True)
    )
    return b"\x80\2" + images + b"\x87."


SPLITS = tuple(
    part
    for size in (3, 2, 1)
    for part in ((np.arange(size * 784, dtype="f4").reshape(size, 784) % 256) / 256, np.arange(size, dtype="i8"))
)
PICKLE = pairs_of(*SPLITS)
SMALL = pairs_of(*(np.arange(2, dtype="f4"), np.arange(2, dtype="i8")) * 3)


def read_pickle(content: bytes) -> tuple[list[bytes] | None, str]:
    with in_time():
        try:
            return download._as_idx(download.arrays(content)), ""
        except ValueError as error:
            return None, str(error)


def test_a_pickle_of_arrays_is_read_as_pickle_reads_it(count):
    found = download.arrays(PICKLE)
    renamed = PICKLE.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    expected = pickle.loads(renamed, encoding="bytes")  # noqa: S301
    for ours, theirs in zip(found, expected, strict=True):
        for part, other in zip(ours, theirs, strict=True):
            assert part.dtype == other.dtype
            assert np.array_equal(part, other)
    assert read_pickle(PICKLE)[0][1] == struct.pack(">II", 2049, 5) + bytes([0, 1, 2, 0, 1])
    count("pickles")


@given(changes, st.sampled_from([PICKLE, SMALL]))
def test_a_changed_pickle(count, changes, content):
    read_pickle(changed(content, changes))
    count("pickles")


words = st.sampled_from([
    b"\x80\2", b"K\1", b"K\3", b"M\0\1", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"U\1b", b"U\2f4", b"U\2O8",
    b"U\1<",
    b"T\xff\xff\xff\x7f", b"T\xff\xff\xff\xff", b"T\3\0\0\0abc", b"N", b"\x88", b"\x89", b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cos\nsystem\n", b"q\1", b"h\1", b"q\2", b"h\2",
    b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"(", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b".", b"}", b"]",
    b"s",
    array_of(np.arange(2, dtype="f4")), array_of(np.arange(2, dtype="i8")),
])  # fmt: skip


@given(st.lists(words, max_size=30).map(b"".join))
def test_any_words_of_pickle(count, content):
    read_pickle(content)
    read_pickle(content + b".")
    count("pickles")


@given(st.binary(max_size=60))
def test_other_bytes_are_no_pickle(count, content):
    found, problem = read_pickle(content)
    assert found is None
    assert problem
    count("pickles")


def test_hostile_pickles_run_nothing(tmp_path, monkeypatch, count):
    monkeypatch.chdir(tmp_path)
    command = b"touch was-here"
    hostile = [
        b"cos\nsystem\n(U" + bytes([len(command)]) + command + b"tR.",
        b"cposix\nsystem\n(U" + bytes([len(command)]) + command + b"tR.",
        b"cbuiltins\neval\n(S'open(\"was-here\", \"w\")'\ntR.",
        b"c__builtin__\neval\n(S'open(\"was-here\", \"w\")'\ntR.",
        b"cbuiltins\ngetattr\n(cnumpy\nndarray\nU\6tofiletR.",
        b"cnumpy\ndtype\nU\6tofile\x85b.",
        b"(S'touch was-here'\nios\nsystem\n.",
        b"\x80\4\x8c\2os\x8c\6system\x93\x8c\x0etouch was-here\x85R.",
        b"cnumpy\nload\nU\1a\x85R.",
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\1O\x85RT\1\0\0\0.\x86R.",
        b"\x82\1.", b"P1\n.", b"Q.",
        *(pickle.dumps(Touching(Path("was-here")), protocol) for protocol in range(6)),
        *(pickle.dumps((np.arange(3), Touching(Path("was-here"))), protocol) for protocol in range(6)),
        *(pickle.dumps(os.path.exists, protocol) for protocol in range(6)),
    ]  # fmt: skip
    for content in hostile:
        found, problem = read_pickle(content)
        assert found is None
        assert problem.startswith("not a pickle of arrays: ")
        count("pickles")
    assert not left(tmp_path)


BOMBS = r"""
import io, struct, sys, zipfile, zlib
from pathlib import Path
import numpy as np
from lenetlab import UserError, predictions, sources

path = Path(sys.argv[1])
begun = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"
nested = b"K\1\x85q\1" + b"h\1h\1\x86q\1" * 200
huge = b"J\xff\xff\xff\x7f"
letters = b"cnumpy\ndtype\nU\2f4K\0K\1\x87R"
for bomb in [
    b"K\1r\xff\xff\xff\x7f.", b"K\1r\xff\xff\xff\xff.", b"K\1q\1" + b"h\1" * 10**6, b"(" * 10**7, b"N" * 10**7,
    b"(t" * 10**6,
    nested + b".", b"}" + nested + b"Ns.", nested + b"h\1h\1\x87.", nested + b"h\1R.", letters + nested + b"b.",
    b"cnumpy\ndtype\n" + nested + b"\x85R.", begun + nested + b"b.", begun + b"(K\1" + nested + letters + b"\x89U\0tb.",
    begun + b"(K\1(" + huge * 3 + b"t" + letters + b"\x89U\4aaaatb.",
    begun + b"(K\1(U\1x" + huge * 3 + b"t" + letters + b"\x89U\0tb.",
    b"cnumpy\nndarray\n(" + huge + huge + b"\x86tR.", b"\x8e" + struct.pack("<Q", 2**60),
    b"\x8d" + struct.pack("<Q", 2**60),
    b"\x96" + struct.pack("<Q", 2**40), b"\x95" + struct.pack("<Q", 2**62), b"\x8b\xff\xff\xff\x7f",
    b"T\xff\xff\xff\x7f",
    b"I" + b"9" * 10**7 + b"\n.", b"c" + b"a" * 10**7, b"cnumpy\n" + b"\n" * 10**7, nested * 4 + b".",
]:
    try:
        sources._as_idx(sources.arrays(bomb))
    except ValueError as error:
        assert len(str(error)) < 1000
    else:
        raise AssertionError(bomb[:100])


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


def test_no_pickle_and_no_predictions_fill_the_memory_or_take_for_ever(tmp_path, count):
    run_frugally(BOMBS, tmp_path / "predictions.npz")
    for _ in range(27):
        count("pickles")
    for _ in range(4):
        count("predictions.npz")
