"""Fingerprints: equal where results must be equal, different where they may differ."""

import shutil
from pathlib import Path

import pytest

from lenetlab.settings import params, schema
from lenetlab.storage import code, provenance

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")


def fingerprint_of(study: schema.Study = STUDY, seed: int | None = 0, **changes: str) -> str:
    surroundings = {"data": "d1", "torch_version": "2.15.0", "device": "cpu", "numerics": "float32", **changes}
    return provenance.fingerprint(provenance.identity(study, "lenet5", **surroundings), seed)


def with_training(**settings: object) -> schema.Study:
    return STUDY.model_copy(update={"training": STUDY.training.model_copy(update=settings)})


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"seed": None},
        {"data": "d2"},
        {"torch_version": "2.16.0"},
        {"device": "cuda"},
        {"numerics": "bfloat16"},
        {"study": with_training(learning_rate=0.02)},
        {"study": with_training(epochs=11)},
    ],
    ids=str,
)
def test_whatever_can_change_the_bits_changes_the_fingerprint(other):
    assert fingerprint_of(**other) != fingerprint_of()


def test_what_cannot_change_the_bits_does_not_change_the_fingerprint():
    other_seeds = STUDY.model_copy(update={"seeds": (0, 7), "study": ("lenet5",), "comparisons": {}})
    assert fingerprint_of(other_seeds) == fingerprint_of()


def test_an_override_counts_as_the_setting_that_it_makes():
    """A variant that overrides the epochs is the same training as one whose study has these epochs."""
    lenet5 = STUDY.variants["lenet5"]
    shorter = lenet5.model_copy(update={"training": schema.TrainingOverride(epochs=3)})
    overridden = STUDY.model_copy(update={"variants": {**STUDY.variants, "lenet5": shorter}})
    assert fingerprint_of(overridden) == fingerprint_of(with_training(epochs=3)) != fingerprint_of()


@pytest.fixture
def package(monkeypatch, tmp_path) -> Path:
    """A copy of this package, which fingerprints are made from."""
    folder = tmp_path / "lenetlab"
    shutil.copytree(code.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "PACKAGE", folder)
    return folder


def append(source: Path, text: str) -> None:
    source.write_text(source.read_text() + text)


def test_the_code_that_trains_counts_and_the_code_that_reports_does_not(package):
    before = fingerprint_of()
    trains = {source_of(package, name) for name in TRAINS}
    for source in package.rglob("*.py"):
        if source not in trains:
            append(source, "\nedited = 1\n")
    assert fingerprint_of() == before


TRAINS = code.modules_reached(code.TRAINER)


def source_of(package: Path, name: str) -> Path:
    place = package.parent.joinpath(*name.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@pytest.mark.parametrize("name", TRAINS)
def test_every_module_that_training_imports_counts(package, name):
    before = fingerprint_of()
    append(source_of(package, name), "\nedited = 1\n")
    assert fingerprint_of() != before


@pytest.mark.parametrize(
    "statement",
    [
        "from lenetlab.added.deep import changed",
        "from lenetlab.added import deep",
        "import lenetlab.added.deep",
        "import lenetlab.added.deep as other",
        "from .added.deep import changed",
        "from .added import deep",
        "def later():\n    from lenetlab.added import deep",
    ],
)
def test_imports_are_followed_into_sub_packages(package, statement):
    """A module three levels deep, which training imports through a package's `__init__` and a relative import."""
    deep = package / "added" / "deep"
    deep.mkdir(parents=True)
    (package / "added" / "__init__.py").write_text("")
    (deep / "__init__.py").write_text("from .. import beside\nfrom .core import changed\n")
    (deep / "core.py").write_text("changed = 1\n")
    (package / "added" / "beside.py").write_text("changed = 1\n")
    (package / "added" / "unused.py").write_text("changed = 1\n")
    append(package / "__init__.py", f"\n{statement}\n")
    before = fingerprint_of()
    for name, counts in (("unused", False), ("beside", True), ("deep/core", True)):
        (package / "added" / f"{name}.py").write_text("changed = 2\n")
        assert (fingerprint_of() != before) == counts, name
        before = fingerprint_of()


def test_comments_docstrings_and_layout_do_not_count_and_what_runs_does(package):
    source = package / "__init__.py"
    source.write_text(
        '"""Module."""\n\n\nclass A:\n    """Class."""\n\n    def f(self):\n        """F."""\n        return 1\n'
    )
    before = fingerprint_of()
    source.write_text("class A:\n    'Other.'\n    def f(self):  # why\n        return (\n            1)\n")
    assert fingerprint_of() == before
    source.write_text("class A:\n    def f(self):\n        return 1.0\n")
    assert fingerprint_of() != before


def test_the_origin_tells_commit_versions_and_experiment(monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "warm-tapir")
    origin = provenance.origin()
    assert origin["experiment"] == "warm-tapir"
    assert origin["torch"].startswith("2.")
    assert origin["dirty"] in (True, False)
    assert len(origin["commit"]) == 40
