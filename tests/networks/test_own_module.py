"""A class in a file of the user: what it gets, what is part of its identity, and what is refused in one line."""

from pathlib import Path

import pytest
import torch

from lenetlab.errors import UserError
from lenetlab.networks import build, layer_table
from lenetlab.report import diagrams
from lenetlab.settings import params, schema
from lenetlab.storage import code, provenance

PROJECT = Path(__file__).parents[2]
GOOD = """import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, channels, classes, width=4):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 5, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.scale = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(width, classes)

    def forward(self, images):
        maps = torch.relu(self.norm(self.conv(images))) * self.scale
        return self.output(self.dropout(maps.mean((2, 3))))
"""
MODEL = "{file: networks/mine.py, name: Small, width: 6}"


def study_with(model: str = MODEL, source: str = GOOD, **others: str):
    """A study with the variant `own`; writes the file, and others beside it, in the working folder."""
    Path("networks").mkdir(exist_ok=True)
    for name, content in {"mine": source, **others}.items():
        Path("networks", f"{name}.py").write_text(content)
    text = f"""{(PROJECT / "params.yaml").read_text()}
  own:
    input: {{size: 28, resize: pad, normalize: true}}
    model: {model}
    regularization: {{batch_norm: false, dropout: 0.0, weight_decay: 0.0, label_smoothing: 0.0, augmentation: none}}
"""
    return params.parse(Path("params.yaml"), text)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_class_gets_channels_classes_and_its_arguments():
    variant = study_with().variants["own"]
    build.check(variant)
    variant = variant.model_copy(update={"images": schema.ImageKind(size=28, channels=3, classes=4)})
    network = build.build_network(variant, seed=1)
    assert (network.conv.in_channels, network.conv.out_channels, network.output.out_features) == (3, 6, 4)
    assert torch.equal(network.conv.weight, build.build_network(variant, seed=1).conv.weight)
    assert not torch.equal(network.conv.weight, build.build_network(variant, seed=2).conv.weight)


def test_layers_are_listed_in_the_order_of_computation_with_all_parameters():
    variant = study_with().variants["own"]
    table = layer_table.layer_table(variant)
    assert [row["name"] for row in table] == ["conv", "norm", "dropout", "output", "Small"]
    assert sum(row["parameters"] for row in table) == layer_table.parameter_count(build.build_network(variant, 0))
    assert table[0]["arithmetic"] == "6 × (1 × 5 × 5)"
    assert table[-1] | {"parameters": 1, "arithmetic": "", "multiply_accumulates": 0} == table[-1]
    assert diagrams.network(table, 28, "black").axes


def test_the_identity_has_the_code_of_the_file_and_of_what_it_imports_from_its_folder():
    source = GOOD.replace("import torch\n", "import blocks\nimport torch\n", 1)
    before = provenance.recipe(study_with(source=source, blocks="SIZE = 5\n"), "own")
    assert set(before["own_code"]) == {"networks/mine.py", "networks/blocks.py"}
    assert provenance.recipe(study_with(source=source, blocks="SIZE = 5  # pixels\n"), "own") == before
    assert provenance.recipe(study_with(source=source, blocks="SIZE = 6\n"), "own") != before
    assert provenance.recipe(study_with(source=source.replace("0.2", "0.3"), blocks="SIZE = 5\n"), "own") != before
    assert provenance.recipe(study_with(MODEL.replace("6", "7"), source, blocks="SIZE = 5\n"), "own") != before
    assert "own_code" not in provenance.recipe(study_with(), "lenet5")
    assert set(code.own_digests(Path("networks/mine.py"))) == {"networks/mine.py"}


def test_an_edited_file_is_loaded_again():
    assert build.build_network(study_with().variants["own"], 0).dropout.p == 0.2
    assert build.build_network(study_with(source=GOOD.replace("0.2", "0.4")).variants["own"], 0).dropout.p == 0.4


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("class Small(", "class Small(:", "networks/mine.py: line 5: SyntaxError"),
        ("class Small", "class Other", "networks/mine.py: no class 'Small'; allowed: Other"),
        ("Small(nn.Module)", "Small(object)", "Small is not a torch.nn.Module; remedy"),
        ("width=4", "depth=4", "networks/mine.py: Small: TypeError: Small.__init__() got an unexpected keyword"),
        ("width, 5", "-1, 5", "networks/mine.py: line 8: RuntimeError: "),
        ("        super", "        raise SystemExit(3)\n        super", "networks/mine.py: line 7: SystemExit: 3"),
        ("mean((2, 3))", "mean((2, 4))", "networks/mine.py: line 16: IndexError: "),
        ("(width, classes)", "(width, 3)", "Small: returns (4, 3) (training mode, 4 images); allowed"),
        ("maps.mean((2, 3))", "maps.mean((2, 3)) / 0 * 0", "Small: returns torch.float32 with values"),
        ("self.scale = ", "self.scale = 1\n        self.other = ", "networks/mine.py: Small: other: not used"),
        ("self.dropout(", "nn.functional.dropout(", "Small: its answers in evaluation mode are random"),
        ("torch.ones(1)", "torch.ones(1) * __import__('random').random()", "scale differs although the seed"),
        ("self.dropout(m", "(1 + self.training * __import__('random').random()) * (m", "other answers with the same"),
        ("self.dropout = ", "self.other = self.norm.weight\n        self.dropout = ", "two layers share a parameter"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_one_line(old, new, text):
    variant = study_with(source=GOOD.replace(old, new, 1)).variants["own"]
    with pytest.raises(UserError) as error:
        build.check(variant)
    (problem,) = error.value.problems
    assert text in problem


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            "{file: mine.py, name: Small}",
            "model.file: 'mine.py' is not allowed; allowed: a Python file below the folder",
        ),
        ("{file: networks/../mine.py, name: Small}", "model.file: 'networks/../mine.py' is not allowed"),
        ("{file: networks/mine.py}", "model.name: missing; allowed: the name of a class in the file"),
        (
            "{file: networks/mine.py, name: Small, width: {a: 1}}",
            "model.width: {'a': 1} is not allowed; allowed: a number",
        ),
        ("{name: vgg}", "model: {'name': 'vgg'} is not allowed; allowed: a block whose name is lenet5, mlp or cnn, or"),
    ],
)
def test_a_block_that_names_no_class_is_refused(model, text):
    with pytest.raises(UserError) as error:
        study_with(model)
    (problem,) = error.value.problems
    assert f"params.yaml: variants.own.{text}" in problem


def test_a_missing_file_is_named():
    study = study_with()
    Path("networks/mine.py").unlink()
    with pytest.raises(UserError, match=r"networks/mine.py: No such file or directory; remedy: the file that `model`"):
        build.build_network(study.variants["own"], 0)


def test_a_file_beside_it_with_the_name_of_another_module_is_refused():
    study = study_with(source=f"import statistics\n{GOOD}", statistics="MEAN = 1\n")
    with pytest.raises(UserError, match=r"networks/statistics.py: there is another module with this name"):
        build.build_network(study.variants["own"], 0)
