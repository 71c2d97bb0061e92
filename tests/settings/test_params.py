"""params.yaml: what is taken, what is refused, and in which words."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lenetlab.errors import UserError
from lenetlab.settings import params, schema

OURS = Path(__file__).parents[2] / "params.yaml"

# System number in the reports' inventory, variant, parameters: computed from the layer shapes.
CATALOGUE = {
    "lenet5-28": 44_426,
    "mlp-28-60-40": 49_950,
    "lenet5-28-light-dropout": 44_470,
    "lenet5": 61_706,
    "mlp": 61_075,
    "lenet5-decay-dropout-affine": 61_706,
    "lenet5-average": 61_706,
    "lenet5-tanh": 61_706,
    "lenet5-regularized": 61_750,
    "lenet5-wide-regularized": 115_510,
    "lenet5-bilinear": 61_706,
    "mlp-28-500-150": 469_160,
    "lenet5-28-regularized": 44_470,
    "lenet5-28-regularized-affine": 44_470,
    # Beside the fourteen: regularisers alone, LeCun et al. 1998, and what was tuned.
    "lenet5-batch-norm": 61_750,
    "lenet5-dropout": 61_706,
    "lenet5-28-batch-norm": 44_470,
    "lenet5-28-dropout": 44_426,
    "lenet5-1998": 60_000,
    "lenet5-tuned": 61_750,
}


def loaded(tmp_path: Path, *edits: tuple[str, str]) -> schema.Study:
    text = OURS.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return params.load(path)


def problems(tmp_path: Path, *edits: tuple[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, *edits)
    return str(caught.value)


def test_the_default_study(tmp_path):
    study = loaded(tmp_path)
    assert study.study == ("lenet5", "mlp", "lenet5-regularized")
    assert study.seeds == (0, 1, 2, 3, 4, 5)
    assert [(pair.candidate, pair.baseline) for pair in study.comparisons["headline"]] == [
        ("lenet5", "mlp"),
        ("lenet5-regularized", "lenet5"),
    ]
    assert set(study.variants) >= set(CATALOGUE)


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path):
    assert loaded(tmp_path, ("learning_rate: 0.01", "learning_rate: 1e-3")).training.learning_rate == 0.001
    assert loaded(tmp_path, ("learning_rate: 0.01", "learning_rate: 1E-3")).training.learning_rate == 0.001
    assert loaded(tmp_path, ("learning_rate: 0.01", "learning_rate: 1")).training.learning_rate == 1.0


@pytest.mark.parametrize(
    ("old", "new", "key", "value", "allowed"),
    [
        ("learning_rate: 0.01", "learning_rate: -1e-3", "training.learning_rate", "-0.001", "more than 0"),
        ("learning_rate: 0.01", "learning_rate: fast", "training.learning_rate", "'fast'", "more than 0"),
        ("learning_rate: 0.01", "learning_rate: true", "training.learning_rate", "True", "more than 0"),
        ("learning_rate: 0.01", "learning_rate: .inf", "training.learning_rate", "inf", "more than 0"),
        ("epochs: 10", "epochs: 10.5", "training.epochs", "10.5", "from 1 to 1000"),
        ("epochs: 10", "epochs: '10'", "training.epochs", "'10'", "from 1 to 1000"),
        ("device: auto", "device: gpu", "device", "'gpu'", "auto, cpu, cuda, cuda:N or mps"),
        ("seeds: [0,", "seeds: [-1,", "seeds[0]", "-1", "whole numbers from 0"),
        ("seeds: [0, 1,", "seeds: [1, 1,", "seeds", "1", "each once"),
        ("  - mlp\n", "  - mpl\n", "study[1]", "'mpl'", "lenet5, mlp, "),
        ("baseline: mlp}", "baseline: mpl}", "comparisons.headline[0].baseline", "'mpl'", "lenet5, mlp, lenet5-reg"),
        ("baseline: mlp}", "baseline: mlp-28-500-150}", "comparisons.headline[0].baseline", "'mlp-28", "lenet5, mlp"),
        ("baseline: mlp}", "baseline: lenet5}", "comparisons.headline[0]", "'lenet5'", "with itself"),
        ("equivalence_margin: 0.002", "equivalence_margin: 0", "equivalence_margin", "0", "more than 0, below 1"),
        ("weight_averaging: 0.0", "weight_averaging: 1", "training.weight_averaging", "1", "from 0 to below 1"),
        ("hidden: [59]", "match_parameters: lenet6", "variants.mlp.model.match_parameters", "'lenet6'", "lenet5, "),
        ("hidden: [59]", "match_parameters: mlp", "variants.mlp.model.match_parameters", "'mlp'", "lenet5, "),
        ("name: mlp, hidden: [59]", "name: mlp", "variants.mlp.model.hidden", "missing", "one of the two"),
        (
            "hidden: [59]",
            "hidden: [59], match_parameters: lenet5",
            "variants.mlp.model.hidden",
            "not",
            "one of the two",
        ),
        ("partial, output: codes", "whole, output: codes", "variants.lenet5-1998.model.connections", "'whole'", "full"),
        (
            "channels: [6, 16], hidden: [120, 84], pooling: trained",
            "channels: [6, 17], hidden: [120, 84], pooling: trained",
            "variants.lenet5-1998.model.connections",
            "[6, 17]",
            "[6, 16]",
        ),
        (
            "hidden: [120, 84], pooling: trained",
            "hidden: [120, 85], pooling: trained",
            "variants.lenet5-1998.model.output",
            "85",
            "84",
        ),
        ("hidden: [59]", "hidden: 59", "variants.mlp.model.hidden", "59", "one to ten whole numbers"),
        ("hidden: [59]", "hidden: [0]", "variants.mlp.model.hidden[0]", "0", "one to ten whole numbers"),
        ("name: mlp", "name: cnn", "variants.mlp.model", "'cnn'", "lenet5 or mlp"),
        ("dropout: 0.5", "dropout: 1.0", "variants.lenet5-regularized.regularization.dropout", "1.0", "below 1"),
        ("dropout: 0.5", "dropout: [0.5]", "variants.lenet5-regularized.regularization.dropout", "[0.5]", "2 of them"),
        ("size: 32", "size: 30", "variants.lenet5.input.size", "30", "28 or 32"),
        ("  lenet5: ", "  Le.Net5: ", "variants.Le.Net5", "the name", "lower-case"),
        ("rounds: 5", "rounds: 1", "cost.rounds", "1", "from 2 to 100"),
        ("  variant: lenet5 ", "  variant: lenet6 ", "sensitivity.variant", "'lenet6'", "lenet5, mlp, "),
        ("seeds: [0, 1, 2, 3] ", "seeds: [0] ", "sensitivity.seeds", "[0]", "2 to 100 different"),
        ("seeds: [0, 1, 2, 3] ", "seeds: [0, 1, 1] ", "sensitivity.seeds", "1", "each once"),
        ("width: [0.5,", "width: [0,", "sensitivity.width[0]", "0", "more than 0, at most 8"),
        ("[0.001, 0.003,", "[0.003, 0.003,", "sensitivity.learning_rate", "0.003", "each once"),
        ("variant: lenet5 ", "variant: lenet5-1998 ", "sensitivity.width", "[0.5, 1.0, 2.0]", "[]"),
        ("data:\n", "data: [1]\nmore:\n", "data", "[1]", "source, validation, validation_seed, duplicates"),
    ],
)
def test_an_error_names_key_value_and_what_is_allowed(tmp_path, old, new, key, value, allowed):
    lines = [line for line in problems(tmp_path, (old, new)).splitlines() if f": {key}: " in line]
    assert len(lines) == 1
    assert value in lines[0]
    assert allowed in lines[0]


def test_every_error_is_listed_at_once(tmp_path):
    found = problems(
        tmp_path,
        ("device: auto", "device: gpu"),
        ("epochs: 10", "epochs: 0"),
        ("  - mlp\n", "  - mpl\n"),
        ("momentum: 0.9", "momentun: 0.9"),
    )
    for part in (
        "device: 'gpu'",
        "training.epochs: 0",
        "study[1]: 'mpl'",
        "training.momentum: missing",
        "momentun: unknown",
    ):
        assert part in found, part


def test_a_key_that_stands_twice_is_refused(tmp_path):
    assert "'epochs' stands twice" in problems(tmp_path, ("epochs: 10 ", "epochs: 5\n  epochs: 10 "))


@pytest.mark.parametrize("key", list(yaml.safe_load(OURS.read_text())))
def test_no_key_of_the_file_may_be_missing(tmp_path, key):
    content = yaml.safe_load(OURS.read_text())
    del content[key]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=f"{key}: missing"):
        params.load(path)


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", "a: [", "\x00", "a: &a [*a]", "? [a]\n: b", "!!python/object:os.system {}", "[" * 5000]
)
def test_what_is_no_study_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=re.escape(str(path))):
        params.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        params.load(tmp_path / "params.yaml")


def test_a_variant_overrides_what_it_names_and_nothing_else(tmp_path):
    block = "    training: {epochs: 3, schedule: cosine}\n"
    study = loaded(tmp_path, ("\n  mlp:", f"\n{block}\n  mlp:"))
    assert study.training_of("lenet5").epochs == 3
    assert study.training_of("lenet5").schedule == "cosine"
    assert study.training_of("lenet5").learning_rate == study.training.learning_rate
    assert study.training_of("mlp") == study.training


def test_a_matched_mlp_is_the_largest_within_the_budget(tmp_path):
    """59 hidden units for 1024-h-10 within LeNet-5's 61,706 parameters; 60 would be 62,110."""
    study = loaded(tmp_path, ("hidden: [59]", "match_parameters: lenet5"))
    assert study.variants["mlp"] == loaded(tmp_path).variants["mlp"]
    wider = study.variants["mlp"].model.model_copy(update={"hidden": (60,)})
    assert study.variants["mlp"].parameters == 61_075 <= 61_706 < wider.parameters(32, batch_norm=False)


@given(st.integers(1, 5_000_000), st.sampled_from([28, 32]), st.booleans())
def test_a_budget_is_used_up_to_less_than_one_unit(budget, size, batch_norm):
    model = schema.MLPSettings(name="mlp", match_parameters="other", activation="relu")
    unit = size**2 + 11 + 2 * batch_norm
    if budget < unit + 10:
        with pytest.raises(ValueError, match=r"^0 units|^-1 units"):
            model.matched(size, batch_norm, budget)
    else:
        found = model.matched(size, batch_norm, budget).parameters(size, batch_norm)
        assert budget - unit < found <= budget


def test_a_budget_that_cannot_be_met_is_told_with_its_numbers(tmp_path):
    small = ("hidden: [60, 40]", "hidden: [1]"), ("hidden: [59]", "match_parameters: mlp-28-60-40")
    found = problems(tmp_path, *small)
    assert "variants.mlp.model.match_parameters: 'mlp-28-60-40' has 805 parameters" in found
    assert "would have 0 units; allowed: a variant for which it has 1 to 10000" in found


def test_a_scaled_network_has_so_many_times_the_maps_and_units(tmp_path):
    study = loaded(tmp_path)
    half = study.variants["lenet5"].scaled(0.5).model
    assert (half.channels, half.hidden) == ((3, 8), (60, 42))
    assert study.variants["mlp"].scaled(2.0).model.hidden == (118,)
    assert study.variants["mlp"].scaled(0.001).model.hidden == (1,)
    assert study.variants["lenet5"].scaled(1.0) == study.variants["lenet5"]


def test_a_variant_that_is_not_in_the_study_is_refused(tmp_path):
    study = loaded(tmp_path)
    study.require("mlp")
    with pytest.raises(UserError, match=r"^'lenet5-tanh' is not in `study` of params\.yaml; allowed: lenet5, "):
        study.require("lenet5-tanh")


def test_params_cannot_be_changed_once_read(tmp_path):
    study = loaded(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        study.training.epochs = 3


def test_every_setting_stands_in_the_file_with_a_comment():
    lines = OURS.read_text().splitlines()
    for key in (
        "device",
        "seeds",
        "source",
        "validation",
        "duplicates",
        *schema.Training.model_fields,
        *schema.CostSettings.model_fields,
    ):
        assert any(re.match(rf" *{key}: .*# ", line) for line in lines), key
