"""Fingerprints: equal where results must be equal, different where they may differ."""

from pathlib import Path

import pytest

from lenetlab import params, provenance

STUDY = params.load(Path(__file__).parents[1] / "params.yaml")


def fingerprint_of(study: params.Study = STUDY, seed: int | None = 0, **changes: str) -> str:
    surroundings = {"data": "d1", "torch_version": "2.15.0", "device": "cpu", "numerics": "float32", **changes}
    return provenance.fingerprint(provenance.identity(study, "lenet5", **surroundings), seed)


def with_training(**settings: object) -> params.Study:
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
    shorter = lenet5.model_copy(update={"training": params.Override(epochs=3)})
    overridden = STUDY.model_copy(update={"variants": {**STUDY.variants, "lenet5": shorter}})
    assert fingerprint_of(overridden) == fingerprint_of(with_training(epochs=3)) != fingerprint_of()


def test_the_code_that_trains_counts_and_the_code_that_reports_does_not(monkeypatch, tmp_path):
    for source in provenance.PACKAGE.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    before = fingerprint_of()
    for name in ("report", "figures", "comparison", "tracking", "evaluation"):
        with (tmp_path / f"{name}.py").open("a") as source:
            source.write("\n# edited\n")
    assert fingerprint_of() == before
    with (tmp_path / "augmentation.py").open("a") as source:
        source.write("\n# edited\n")
    assert fingerprint_of() != before


def test_the_origin_tells_commit_versions_and_experiment(monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "warm-tapir")
    origin = provenance.origin()
    assert origin["experiment"] == "warm-tapir"
    assert origin["torch"].startswith("2.")
    assert origin["dirty"] in (True, False)
    assert len(origin["commit"]) == 40
