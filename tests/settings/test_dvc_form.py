"""params.yaml has the form in which DVC writes it, so that `dvc exp run --set-param` changes one line."""

import difflib
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml

from lenetlab.planning import proposal
from lenetlab.settings import edit, params, schema, yaml_file
from tests.settings import example

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of the project's file."""
    copy = tmp_path / "params.yaml"
    copy.write_bytes(PARAMS.read_bytes())
    return copy


def changed_lines(path: Path) -> list[str]:
    before, after = PARAMS.read_text().splitlines(), path.read_text().splitlines()
    return [line for line in difflib.ndiff(before, after) if line[0] in "+-"]


def test_dvc_writes_the_file_as_it_is(path):
    with modify_yaml(path):
        pass
    assert changed_lines(path) == []


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        (
            "training.epochs=1",
            ["-   epochs: 10                  # 1 to 1000", "+   epochs: 1                   # 1 to 1000"],
        ),
        ("study=[lenet5,mlp]", ["- - lenet5-regularized"]),
        ("sensitivity.images=[1000,0]", ["-   - 5000", "-   - 20000"]),
        ("variants.mlp.model.hidden=[60]", ["-       - 59", "+       - 60"]),
        ("data.accept=[resize]", ["- accept: []", "+ accept:", "+ - resize"]),
        ("seeds=[5,7]", ["- seeds: 6", "+ seeds:", "+ - 5", "+ - 7"]),
        (
            "training.schedule={name:exponential,gamma:0.9}",
            ["- schedule: constant", "+ schedule:", "+ name:", "+ gamma:"],
        ),
    ],
)
def test_a_changed_setting_changes_its_own_lines(path, override, lines):
    apply_overrides(path, [override])
    found = [" ".join(line.split()) for line in changed_lines(path)]
    assert [line for line in found if not any(line.startswith(" ".join(one.split())) for one in lines)] == []
    assert len(found) == len(lines)


def test_every_override_keeps_every_comment(path):
    comments = [line.partition("#")[2] for line in PARAMS.read_text().splitlines()]
    apply_overrides(path, ["seeds=[1,2]", "study=[mlp]", "comparisons={}", "data.classes=[a,b]", "cost.rounds=2"])
    after = [line.partition("#")[2] for line in path.read_text().splitlines()]
    assert [text for text in comments if text] == [text for text in after if text]


def test_seeds_that_settle_adds_keep_the_form(path):
    path.write_text(edit.with_seeds(path, path.read_text(), {"mlp": (5, 7, 0), "lenet5": tuple(range(12))}))
    text = path.read_text()
    apply_overrides(path, ["training.epochs=10"])
    assert path.read_text() == text


def test_settings_that_import_proposes_keep_the_form(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    kind = schema.ImageKind(size=64, channels=3, classes=3)
    values = {
        ("data", "classes"): proposal.list_as_yaml(["a", "b", "c"]),
        ("study",): proposal.STUDY,
        ("comparisons",): proposal.COMPARISONS,
        ("variants",): proposal.variants_as_yaml(kind),
    }
    path.write_text(edit.with_values(path, path.read_text(), values))
    text = path.read_text()
    apply_overrides(path, ["training.epochs=10"])
    assert path.read_text() == text


def test_what_dvc_writes_of_any_other_form_means_the_same(path):
    path.write_text(example.PARAMS)
    apply_overrides(path, ["training.epochs=3"])
    expected = yaml_file.parse(path, example.PARAMS)
    expected["training"]["epochs"] = 3
    assert yaml_file.read_yaml(path) == expected
    assert params.load(path).training.epochs == 3
