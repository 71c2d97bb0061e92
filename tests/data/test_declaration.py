"""Declarations of mirrors and files: data/mnist.toml, and error messages about wrong ones."""

from pathlib import Path

import pytest

from lenetlab.data import declaration
from lenetlab.errors import UserError
from tests.data.declarations import declare

MNIST = Path(__file__).parents[2] / "data/mnist.toml"


def error_message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        declaration.read_declaration(path)
    return str(caught.value)


def test_the_declaration_of_mnist_has_the_canonical_files():
    declared = declaration.read_declaration(MNIST)

    assert [(file.file, file.bytes, file.sha256[:8]) for file in declared.files] == [
        ("train-images-idx3-ubyte.gz", 16 + 60_000 * 784, "ba891046"),
        ("train-labels-idx1-ubyte.gz", 8 + 60_000, "65a50cbb"),
        ("t10k-images-idx3-ubyte.gz", 16 + 10_000 * 784, "0fa7898d"),
        ("t10k-labels-idx1-ubyte.gz", 8 + 10_000, "ff7bcfd4"),
    ]


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("mirrors = [", "mirrors = ", "not a TOML file"),
    ("mirrors", "mirror", "mirrors: Field required"),
    ("http:", "file:", "mirrors[0]: String should match"),
    ("/good/", "/good", "mirrors[0]: String should match"),
    ('sha256 = "', 'sha256 = "x', "train.images.sha256"),
    ("bytes = ", "bytes = -", "train.images.bytes"),
    ("bytes = ", "size = ", "train.images.size"),
    ('"a-images.gz"', '"../a-images.gz"', "train.images.file: String should match"),
    ("[test.labels]", "[test.names]", "test.labels: Field required"),
    ("[train.images]", "[train.images]\n\0", "not a TOML file"),
])  # fmt: skip
def test_an_error_names_file_and_key(tmp_path, old, new, problem):
    path = declare(tmp_path, "http://127.0.0.1/good/")
    path.write_text(path.read_text().replace(old, new))

    message = error_message(path)

    assert problem in message
    assert all(line.startswith(f"{path}: ") for line in message.splitlines())


@pytest.mark.parametrize(("content", "problem"), [
    (b"#" * 100_001, "more than 100000 bytes"),
    (b"a = " + b"[" * 50_000, "not a TOML file: nested too deeply"),
    (b"\xff", "not a TOML file"),
])  # fmt: skip
def test_files_that_are_too_large_too_deep_or_not_text(tmp_path, content, problem):
    path = tmp_path / "a.toml"
    path.write_bytes(content)

    assert problem in error_message(path)


def test_a_missing_file(tmp_path):
    assert "nowhere.toml: cannot be read: No such file" in error_message(tmp_path / "nowhere.toml")
