"""Fingerprints are equal if results must be equal, and different if results may differ."""

import shutil
from pathlib import Path

import pytest

from lenetlab.settings import params, schema, study_schema
from lenetlab.storage import code, provenance

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")


def fingerprint_of(study: study_schema.Study = STUDY, seed: int | None = 0, **changes: str) -> str:
    environment = {"data": "d1", "torch_version": "2.15.0", "device": "cpu", "numerics": "float32", **changes}
    return provenance.fingerprint(provenance.identity(study, "lenet5", **environment), seed)


def with_training(**settings: object) -> study_schema.Study:
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
        {"study": with_training(keep_weights=1)},  # other outputs, though of the same bits
    ],
    ids=str,
)
def test_everything_that_can_change_the_bits_changes_the_fingerprint(other):
    assert fingerprint_of(**other) != fingerprint_of()


def test_settings_of_other_trainings_do_not_change_the_fingerprint():
    other_seeds = STUDY.model_copy(update={"seeds": (0, 7), "study": ("lenet5",), "comparisons": {}})
    assert fingerprint_of(other_seeds) == fingerprint_of()


def test_an_override_in_a_variant_counts_like_the_setting_of_the_study():
    """A variant that overrides the number of epochs is the same training as in a study with this number of epochs."""
    lenet5 = STUDY.variants["lenet5"]
    shorter = lenet5.model_copy(update={"training": schema.TrainingOverride(epochs=3)})
    overridden = STUDY.model_copy(update={"variants": {**STUDY.variants, "lenet5": shorter}})
    assert fingerprint_of(overridden) == fingerprint_of(with_training(epochs=3)) != fingerprint_of()


def test_which_weights_are_kept_changes_neither_the_weights_nor_the_cost_of_an_epoch():
    recipes = [
        provenance.recipe(study, "lenet5")
        for study in (STUDY, with_training(keep_weights=1), with_training(epochs=11), with_training(momentum=0.5))
    ]
    assert [provenance.same_weights(recipes[0], recipe) for recipe in recipes] == [True, True, False, False]
    older = {**recipes[0], "training": {key: v for key, v in recipes[0]["training"].items() if key != "keep_weights"}}
    assert provenance.same_weights(older, recipes[1])  # recorded before there was this setting
    costs = [provenance.cost_recipe(study, "lenet5") for study in (STUDY, with_training(keep_weights=1, epochs=11))]
    assert costs[0] == costs[1]


@pytest.fixture
def package(monkeypatch, tmp_path) -> Path:
    """A copy of this package, from which fingerprints are computed."""
    folder = tmp_path / "lenetlab"
    shutil.copytree(code.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "PACKAGE", folder)
    return folder


def append(source: Path, text: str) -> None:
    source.write_text(source.read_text() + text)


def test_only_the_modules_that_training_imports_count(package):
    trains = []
    for name in code.modules_reached(code.TRAINER):
        place = package.parent.joinpath(*name.split("."))
        trains.append(place / "__init__.py" if place.is_dir() else place.with_suffix(".py"))
    fingerprint = fingerprint_of()
    for source in package.rglob("*.py"):
        if source not in trains:
            append(source, "\nedited = 1\n")
    assert fingerprint_of() == fingerprint
    for source in trains:
        append(source, "\nedited = 1\n")
        before, fingerprint = fingerprint, fingerprint_of()
        assert fingerprint != before, source


@pytest.fixture
def small_package(monkeypatch, tmp_path) -> Path:
    """A package that imports nothing yet. Its module `added/deep` imports `added/beside` and `added/deep/core`."""
    folder = tmp_path / "lenetlab"
    deep = folder / "added" / "deep"
    deep.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "added" / "__init__.py").write_text("")
    (deep / "__init__.py").write_text("from .. import beside\nfrom .core import changed\n")
    (deep / "core.py").write_text("changed = 1\n")
    (folder / "added" / "beside.py").write_text("changed = 1\n")
    (folder / "added" / "unused.py").write_text("changed = 1\n")
    monkeypatch.setattr(code, "PACKAGE", folder)
    return folder


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
def test_imports_are_followed_into_sub_packages(small_package, statement):
    append(small_package / "__init__.py", f"\n{statement}\n")
    digest = code.code_digest("lenetlab")
    for name, counts in (("unused", False), ("beside", True), ("deep/core", True)):
        (small_package / "added" / f"{name}.py").write_text("changed = 2\n")
        before, digest = digest, code.code_digest("lenetlab")
        assert (digest != before) == counts, name


def test_comments_docstrings_and_layout_do_not_count(small_package):
    source = small_package / "__init__.py"
    source.write_text(
        '"""Module."""\n\n\nclass A:\n    """Class."""\n\n    def f(self):\n        """F."""\n        return 1\n'
    )
    before = code.code_digest("lenetlab")
    source.write_text("class A:\n    'Other.'\n    def f(self):  # why\n        return (\n            1)\n")
    assert code.code_digest("lenetlab") == before
    source.write_text("class A:\n    def f(self):\n        return 1.0\n")
    assert code.code_digest("lenetlab") != before


def test_the_origin_holds_commit_versions_and_experiment(monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "warm-tapir")
    origin = provenance.origin()
    assert origin["experiment"] == "warm-tapir"
    assert origin["torch"].startswith("2.")
    assert origin["dirty"] in (True, False)
    assert len(origin["commit"]) == 40
