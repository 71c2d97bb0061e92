"""params.yaml: what is valid, what is rejected, and the error messages."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lenetlab.errors import UserError
from lenetlab.settings import command_line, layer_schema, messages, params, schema, study_schema, training_schema
from tests.settings import example
from tests.settings.example import write_params

PROJECT_PARAMS = Path(__file__).parents[2] / "params.yaml"


def load(tmp_path: Path, *edits: tuple[str, str]) -> study_schema.Study:
    return params.load(write_params(tmp_path, *edits))


def error_of(tmp_path: Path, *edits: tuple[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        load(tmp_path, *edits)
    return str(caught.value)


def test_a_study_has_the_values_of_the_file(tmp_path):
    study = load(tmp_path)
    assert study.study == ("lenet5", "mlp", "lenet5-regularized")
    assert study.seeds == (0, 1, 2, 3, 4, 5)
    assert [(pair.candidate, pair.baseline) for pair in study.comparisons["headline"]] == [
        ("lenet5", "mlp"),
        ("lenet5-regularized", "lenet5"),
    ]
    assert list(study.variants) == ["lenet5", "mlp", "lenet5-regularized", "mlp-28-60-40", "lenet5-1998"]


def test_an_exponent_without_a_decimal_point_is_a_number(tmp_path):
    assert load(tmp_path, ("learning_rate: 0.01", "learning_rate: 1e-3")).training.learning_rate == 0.001
    assert load(tmp_path, ("learning_rate: 0.01", "learning_rate: 1E-3")).training.learning_rate == 0.001
    assert load(tmp_path, ("learning_rate: 0.01", "learning_rate: 1")).training.learning_rate == 1.0


AUGMENTATION = "variants.lenet5.regularization.augmentation"


@pytest.mark.parametrize(
    ("old", "new", "key", "value", "allowed"),
    [
        ("learning_rate: 0.01", "learning_rate: -1e-3", "training.learning_rate", "-0.001", "more than 0"),
        ("learning_rate: 0.01", "learning_rate: fast", "training.learning_rate", "'fast'", "more than 0"),
        ("learning_rate: 0.01", "learning_rate: true", "training.learning_rate", "True", "more than 0"),
        ("learning_rate: 0.01", "learning_rate: .inf", "training.learning_rate", "inf", "more than 0"),
        ("epochs: 10", "epochs: 10.5", "training.epochs", "10.5", "from 1 to 1000"),
        ("epochs: 10", "epochs: '10'", "training.epochs", "'10'", "from 1 to 1000"),
        ("device: auto", "device: gpu", "device", "'gpu'", "auto, cpu, cuda or cuda:N"),
        ("device: auto", "device: mps", "device", "'mps'", "auto, cpu, cuda or cuda:N"),
        ("seeds: [0,", "seeds: [-1,", "seeds[0]", "-1", "whole numbers from 0"),
        ("seeds: [0, 1,", "seeds: [1, 1,", "seeds", "1 appears more than once", "each value once"),
        ("  - mlp\n", "  - mpl\n", "study[1]", "'mpl'", "lenet5, mlp, "),
        ("  - mlp\n", "  - lenet5\n", "study", "'lenet5' appears more than once", "each value once"),
        ("baseline: mlp}", "baseline: mpl}", "comparisons.headline[0].baseline", "'mpl'", "lenet5, mlp, lenet5-reg"),
        ("baseline: mlp}", "baseline: mlp-28-60-40}", "comparisons.headline[0].baseline", "'mlp-28", "lenet5, mlp"),
        ("baseline: mlp}", "baseline: lenet5}", "comparisons.headline[0]", "'lenet5'", "two different variants"),
        (
            "    - {candidate: lenet5-regularized, baseline: lenet5}",
            "    - {candidate: lenet5, baseline: mlp}",
            "comparisons.headline[1]",
            "test_accuracy of 'lenet5' and 'mlp' is already compared in comparisons.headline[0]",
            "each pair once, in one order and one family",
        ),
        (
            "baseline: lenet5}\n",
            "baseline: lenet5}\n  more:\n    - {candidate: mlp, baseline: lenet5}\n",
            "comparisons.more[0]",
            "test_accuracy of 'mlp' and 'lenet5' is already compared in comparisons.headline[0]",
            "each pair once, in one order and one family",
        ),
        ("baseline: mlp}", "baseline: mlp, measure: loss}", "comparisons.headline[0].measure", "'loss'", "test_loss"),
        ("baseline: mlp}", "baseline: mlp, accuracy: 0.9}", "comparisons.headline[0]", "0.9", "only and always with"),
        (
            "baseline: mlp}",
            "baseline: mlp, measure: epochs_to}",
            "comparisons.headline[0]",
            "missing",
            "only and always",
        ),
        ("{most: 36}", "{most: 10}", "settle.most", "10", "6, 9, 12, 18, 24, 36, 48, 72 or 96; or 0"),
        ("{most: 36}", "{most: true}", "settle.most", "True", "6, 9, 12, 18, 24, 36, 48, 72 or 96; or 0"),
        ("seeds: [0, 1, 2, 3, 4, 5]", "seeds: 40", "settle.most", "36 is less than the 40 seeds", "48, 72, 96, 0"),
        ("seeds: [0, 1, 2, 3, 4, 5]", "seeds: 0", "seeds", "0", "a number from 1 to 1000, or a list"),
        ("seeds: [0, 1, 2, 3, 4, 5]", "seeds: true", "seeds", "True", "a number from 1 to 1000, or a list"),
        (
            "  lenet5:\n",
            "  lenet5:\n    seeds: 0\n",
            "variants.lenet5.seeds",
            "0",
            "a number from 1 to 1000, or a list",
        ),
        ("  lenet5:\n", "  lenet5:\n    seeds: [3, 3]\n", "variants.lenet5.seeds", "3 appears more than once", "once"),
        ("test_loss: 0.005", "test_loss: 0", "other_margins.test_loss", "0", "more than 0 (nats per image)"),
        ("baseline: mlp}", "baseline: mlp, test: t}", "comparisons.headline[0].test", "unknown key", "candidate, base"),
        ("{candidate: lenet5, baseline: mlp}", "mlp", "comparisons.headline[0]", "'mlp'", "candidate, baseline"),
        ("equivalence_margin: 0.002", "equivalence_margin: 0", "equivalence_margin", "0", "more than 0, below 1"),
        (
            "  validation: 5",
            "  test_share: 0.6\n  validation: 5",
            "data.test_share",
            "0.6",
            "0, or a number from 0.05 to 0.5",
        ),
        (
            "  validation: 5",
            "  pattern: '{label}{id}.png'\n  validation: 5",
            "data.pattern",
            "'{label}{id}.png' is not allowed (no placeholder is called {id}; no text between {label} and {id})",
            "placeholders: {label}, {number}, {set}, {any}",
        ),
        (
            "  validation: 5",
            "  pattern: '{label}-{any}.png'\n  validation: 5",
            "data.pattern",
            "'{label}-{any}.png' is not allowed, because",
            "names no image files; allowed: none",
        ),
        ("weight_averaging: 0.0", "weight_averaging: 1", "training.weight_averaging", "1", "from 0 to below 1"),
        *(
            (
                "weight_averaging: 0.0",
                f"weight_averaging: 0.0\n  keep_weights: {value}",
                "training.keep_weights",
                shown,
                "all, or a whole number from 1 to 1000",
            )
            for value, shown in (("0", "0"), ("best", "'best'"), ("1001", "1001"), ("true", "True"), ("1.5", "1.5"))
        ),
        ("hidden: [59]", "match_parameters: lenet6", "variants.mlp.model.match_parameters", "'lenet6'", "lenet5, "),
        ("hidden: [59]", "match_parameters: mlp", "variants.mlp.model.match_parameters", "'mlp'", "lenet5, "),
        ("name: mlp, hidden: [59]", "name: mlp", "variants.mlp.model.hidden", "missing", "one of the two"),
        ("[59]", "[59], match_parameters: lenet5", "variants.mlp.model.hidden", "not together", "one of the two"),
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
        ("[6, 16]", "[6, 16, 20]", "variants.lenet5.model.channels", "[6, 16, 20]", "two whole numbers from 1"),
        ("[6, 16]", "[6, six]", "variants.lenet5.model.channels[1]", "'six'", "two whole numbers from 1"),
        ("pooling: max", "pool: max", "variants.lenet5.model.pool", "unknown key", "name, channels, hidden, pooling"),
        ("hidden: [59]", "hidden: 59", "variants.mlp.model.hidden", "59", "one to ten whole numbers"),
        ("hidden: [59]", "hidden: []", "variants.mlp.model.hidden", "[]", "one to ten whole numbers"),
        ("hidden: [59]", "hidden: [0]", "variants.mlp.model.hidden[0]", "0", "one to ten whole numbers"),
        ("name: mlp", "name: vgg", "variants.mlp.model", "'vgg'", "lenet5, mlp or cnn"),
        ("dropout: 0.5,", "dropout: 0.991,", "variants.lenet5-regularized.regularization.dropout", "0.991", "to 0.99"),
        ("dropout: [0.0, 0.5]", "dropout: [0.999995]", "sensitivity.dropout[0]", "0.999995", "from 0 to 0.99"),
        (
            "dropout: 0.5,",
            "dropout: [0.5],",
            "variants.lenet5-regularized.regularization.dropout",
            "[0.5]",
            "2 of them",
        ),
        ("dropout: 0.5,", "dropout: [0, 2],", "variants.lenet5-regularized.regularization.dropout[1]", "2", "to 0.99"),
        ("size: 32", "size: 0", "variants.lenet5.input.size", "0", "from 1 to 512"),
        ("optimizer: sgd", "optimizer: lion", "training.optimizer", "'lion'", "sgd, adam, adamw, rmsprop, adagrad"),
        ("optimizer: sgd", "optimizer: {name: lion}", "training.optimizer.name", "'lion'", "sgd, adam, adamw"),
        ("optimizer: sgd", "optimizer: {name: sgd, eps: 1e-3}", "training.optimizer", "eps", "dampening, nesterov"),
        (
            "optimizer: sgd",
            "optimizer: {name: sgd, momentum: 1}",
            "training.optimizer.momentum",
            "unknown",
            "name, damp",
        ),
        (
            "optimizer: sgd",
            "optimizer: {name: sgd, nesterov: true, dampening: 0.1}",
            "training.optimizer.nesterov",
            "true",
            "a dampening of 0",
        ),
        ("schedule: constant", "schedule: {name: step, gamma: 2}", "training.schedule.gamma", "2", "at most 1"),
        ("schedule: constant", "schedule: {name: step, power: 2}", "training.schedule", "power", "step_size, gamma"),
        ("augmentation: none", "augmentation: flip", AUGMENTATION, "'flip'", "a block with the keys rotation, "),
        (
            "augmentation: none",
            "augmentation: {crop: 0.5}",
            f"{AUGMENTATION}.crop",
            "0.5",
            "a whole number from 0 to 512",
        ),
        ("augmentation: none", "augmentation: {mirror: 1}", f"{AUGMENTATION}.mirror", "unknown key", "rotation, "),
        (
            "augmentation: none",
            "augmentation: {scale: 0.5}, augmentation_strength: 2",
            "variants.lenet5.regularization",
            "scale 0.5 × augmentation_strength 2",
            "a product below 1",
        ),
        ("  lenet5:\n", "  Le.Net5:\n", "variants", "'Le.Net5'", "lower-case"),
        ("epochs: 10", "epochs: 10\n  epoch: 5", "training.epoch", "unknown key", "images, epochs, batch_size"),
        ("rounds: 5", "rounds: 1", "cost.rounds", "1", "from 2 to 100"),
        ("  variant: lenet5", "  variant: lenet6", "sensitivity.variant", "'lenet6'", "lenet5, mlp, "),
        ("  variant: lenet5", "  variant: lenet5-1998", "sensitivity.width", "[0.5, 1.0, 2.0]", "[]"),
        ("seeds: [0, 1, 2, 3]\n", "seeds: [0]\n", "sensitivity.seeds", "[0]", "2 to 100 different"),
        ("seeds: [0, 1, 2, 3]\n", "seeds: [0, 1, 1]\n", "sensitivity.seeds", "1", "each value once"),
        ("width: [0.5,", "width: [0,", "sensitivity.width[0]", "0", "more than 0, at most 8"),
        ("[0.001, 0.003,", "[0.003, 0.003,", "sensitivity.learning_rate", "0.003", "each value once"),
        ("data:\n", "data: [1]\nmore:\n", "data", "[1]", "source, extra_test, size, channels, classes, accept, "),
        ("{learning_rate: 0.001}", "{epochs: 0}", "variants.lenet5-1998.training.epochs", "0", "from 1 to 1000"),
    ],
)
def test_an_error_names_key_value_and_what_is_allowed(tmp_path, old, new, key, value, allowed):
    lines = [line for line in error_of(tmp_path, (old, new)).splitlines() if f": {key}: " in line]
    assert len(lines) == 1
    assert value in lines[0]
    assert allowed in lines[0]


def test_one_mistake_gives_one_line(tmp_path):
    """Not a second one that follows from the first, such as a list that is too short without its invalid entry."""
    for edit in [
        ("channels: [6, 16]", "channels: [6, six]"),
        ("dropout: 0.5,", "dropout: [0.5, 2],"),
        ("dropout: 0.5,", "dropout: half,"),
    ]:
        assert len(error_of(tmp_path, edit).splitlines()) == 1, edit


def test_all_errors_are_listed_at_once(tmp_path):
    error = error_of(
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
        "momentun: unknown key",
    ):
        assert part in error, part


def test_equal_errors_of_several_keys_are_one_line(tmp_path):
    error = error_of(tmp_path, ("size: 32", "size: 0"), ("size: 32", "size: 0"), ("size: 32", "size: 513"))
    assert error == (
        f"{tmp_path}/params.yaml: variants.lenet5.input.size, variants.mlp.input.size: 0 is not allowed;"
        " allowed: a whole number from 1 to 512 (pixels per side)\n"
        f"{tmp_path}/params.yaml: variants.lenet5-regularized.input.size: 513 is not allowed;"
        " allowed: a whole number from 1 to 512 (pixels per side)"
    )


def test_long_lists_of_errors_are_cut():
    problems = [messages.Problem(("seeds", index), f"{index} is wrong") for index in range(60)]
    lines = messages.file_error(Path("f"), problems).problems
    assert (len(lines), lines[-1]) == (51, "f: and 10 more")
    same = [messages.Problem(("seeds", index), "wrong") for index in range(12)]
    assert str(messages.file_error(Path("f"), same)).endswith(", seeds[8], seeds[9] and 2 more: wrong")


def test_names_in_messages_can_be_told_from_the_words_around_them():
    assert messages.name_list(["a", "", "b\nc", 5]) == "a, '', 'b\\nc', 5"
    assert messages.name_list(map(str, range(200))).endswith("99 and 100 more")
    assert messages.key_path(("a", "b\n", 0, "c")) == "a.'b\\n'[0].c"


@pytest.mark.parametrize("key", YAML(typ="safe").load(example.PARAMS))
def test_no_key_of_the_file_may_be_missing(tmp_path, key):
    content = YAML(typ="safe").load(example.PARAMS)
    del content[key]
    path = tmp_path / "params.yaml"
    YAML(typ="safe").dump(content, path)
    with pytest.raises(UserError, match=f"{key}: missing; allowed: "):
        params.load(path)


def test_a_key_that_is_not_unicode_is_rejected(tmp_path):
    error = error_of(tmp_path, ("device: auto", 'device: auto\n"\\ud800": 1'))
    assert error == (
        f"{tmp_path}/params.yaml: '\\ud800' is not allowed; allowed: a block with the keys device, seeds, study,"
        " comparisons, settle, equivalence_margin, other_margins, claims, data, training, cost, sensitivity, variants"
    )


@pytest.mark.parametrize("content", ["", "[1, 2]", "just text", "# only a comment\n"])
def test_a_file_that_is_not_a_mapping_is_rejected(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"^{path}: empty or not a mapping; allowed: the keys device, seeds, study, "):
        params.load(path)


def test_a_variant_overrides_only_the_settings_that_it_names(tmp_path):
    study = load(tmp_path, ("training: {learning_rate: 0.001}", "training: {epochs: 3, schedule: cosine}"))
    assert study.training_of("lenet5-1998").epochs == 3
    assert study.training_of("lenet5-1998").schedule.name == "cosine"
    assert study.training_of("lenet5-1998").learning_rate == study.training.learning_rate
    assert study.training_of("mlp") == study.training


def test_a_matched_mlp_is_the_largest_within_the_budget(tmp_path):
    """59 hidden units for 1024-h-10 within LeNet-5's 61,706 parameters; 60 would be 62,110."""
    study = load(tmp_path, ("hidden: [59]", "match_parameters: lenet5"))
    assert study.variants["mlp"] == load(tmp_path).variants["mlp"]
    wider = study.variants["mlp"].model.model_copy(update={"hidden": (60,)})
    assert study.variants["mlp"].parameters == 61_075 <= 61_706 < wider.parameters(32, False, schema.ImageKind())


@given(st.integers(1, 5_000_000), st.sampled_from([28, 32]), st.booleans())
def test_a_budget_is_used_except_for_less_than_one_unit(budget, size, batch_norm):
    model = schema.MLPSettings(name="mlp", match_parameters="other", activation="relu")
    unit = size**2 + 11 + 2 * batch_norm
    if budget < unit + 10:
        with pytest.raises(ValueError, match=r"^0 units|^-1 units"):
            model.fit_to_budget(size, batch_norm, schema.ImageKind(), budget)
    else:
        count = model.fit_to_budget(size, batch_norm, schema.ImageKind(), budget).parameters(
            size, batch_norm, schema.ImageKind()
        )
        assert budget - unit < count <= budget


def test_an_error_about_a_budget_that_is_too_small_has_its_numbers(tmp_path):
    error = error_of(tmp_path, ("[60, 40]", "[1]"), ("hidden: [59]", "match_parameters: mlp-28-60-40"))
    assert "variants.mlp.model.match_parameters: 'mlp-28-60-40' has 805 parameters" in error
    assert "would have 0 units; allowed: a variant for which it has 1 to 10000" in error


def test_scaling_multiplies_the_number_of_maps_and_units(tmp_path):
    study = load(tmp_path)
    half = study.variants["lenet5"].scaled(0.5).model
    assert (half.channels, half.hidden) == ((3, 8), (60, 42))
    assert study.variants["mlp"].scaled(2.0).model.hidden == (118,)
    assert study.variants["mlp"].scaled(0.001).model.hidden == (1,)
    assert study.variants["lenet5"].scaled(1.0) == study.variants["lenet5"]


def test_a_variant_that_is_not_in_the_study_is_rejected(tmp_path):
    study = load(tmp_path)
    study.require("mlp")
    with pytest.raises(UserError, match=r"^'lenet5-1998' is not in `study` of params\.yaml; allowed: lenet5, "):
        study.require("lenet5-1998")


def test_a_study_is_read_only(tmp_path):
    study = load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        study.training.epochs = 3


def test_a_stage_needs_as_many_arguments_as_it_names():
    assert command_line.stage_arguments(["stages/train.py", "mlp"], "VARIANT") == ["mlp"]
    with pytest.raises(
        UserError, match=r"^stages/fetch\.py: called with 'a b' '-x'; allowed: python stages/fetch\.py$"
    ):
        command_line.stage_arguments(["stages/fetch.py", "a b", "-x"])
    with pytest.raises(UserError, match=r"^s\.py: called with no arguments; allowed: python s\.py VARIANT$"):
        command_line.stage_arguments(["s.py"], "VARIANT")


# The params.yaml of the project, which users change: these tests hold for any valid one.


def test_the_comments_of_the_catalogue_have_the_right_numbers_of_parameters():
    variants, text = params.load(PROJECT_PARAMS).variants, PROJECT_PARAMS.read_text()
    after_name = re.findall(r"^  ([\w-]+): +# ([\d,]+) parameters", text, re.MULTILINE)
    before_name = re.findall(r"^  # ([\d,]+) parameters.*\n(?:  #.*\n)*  ([\w-]+):$", text, re.MULTILINE)
    assert after_name
    assert before_name
    stated = dict(after_name) | {name: count for count, name in before_name}
    for name, count in stated.items():
        assert variants[name].parameters == int(count.replace(",", "")), name


def test_every_setting_has_a_comment():
    text = PROJECT_PARAMS.read_text()
    blocks = (study_schema.DataSettings, schema.Training, study_schema.CostSettings, study_schema.SensitivitySettings)
    blocks += (study_schema.SettleSettings, study_schema.OtherMargins)
    for key in (
        "device",
        "seeds",
        "study",
        "comparisons",
        "equivalence_margin",
        *(key for block in blocks for key in block.model_fields),
    ):
        assert re.search(rf"^ *{key}: *.*# ", text, re.MULTILINE), key
    blocks = (schema.InputSettings, schema.LeNet5Settings, schema.MLPSettings, schema.CNNSettings)
    blocks += (schema.Regularization, *layer_schema.KINDS.values())
    variant = [key for key in schema.Variant.model_fields if key != "images"]
    for key in (*variant, *(key for block in blocks for key in block.model_fields)):
        assert re.search(rf"^# *{key}\b", text, re.MULTILINE), key


def test_classes_are_a_number_or_a_list_of_names(tmp_path):
    declared = ("data:\n", "data:\n  size: 20\n  channels: 3\n  classes: [cat, 'tree frog', 7]\n")
    without_codes = ("output: codes", "output: linear")
    study = load(tmp_path, declared, without_codes)
    assert study.data.classes == ("cat", "tree frog", "7")
    assert {variant.images for variant in study.variants.values()} == {schema.ImageKind(size=20, channels=3, classes=3)}
    assert load(tmp_path, ("data:\n", "data:\n  classes: 26\n"), without_codes).data.classes == tuple(
        map(str, range(26))
    )
    assert load(tmp_path).data.kind == schema.ImageKind(size=28, channels=1, classes=10)


@pytest.mark.parametrize(("edits", "problem"), [
    (("data:\n", "data:\n  classes: [cat, dog, cat]\n"), "data.classes: 'cat' appears more than once"),
    (("data:\n", "data:\n  classes: [1, '1']\n"), "data.classes: '1' appears more than once"),
    (("data:\n", "data:\n  classes: 1\n"), "data.classes: 1 is not allowed; allowed: a number from 2 to 1000"),
    (("data:\n", "data:\n  classes: 1001\n"), "data.classes: 1001 is not allowed; allowed: a number from 2 to 1000"),
    (("data:\n", "data:\n  classes: [cat]\n"), "data.classes: ['cat'] is not allowed; allowed: a number from 2"),
    (("data:\n", "data:\n  classes: [cat, ' dog']\n"), "data.classes[1]: ' dog' is not allowed"),
    (("data:\n", "data:\n  channels: 2\n"), "data.channels: 2 is not allowed; allowed: 1 (grey) or 3 (colour)"),
    (("data:\n", "data:\n  size: 513\n"), "data.size: 513 is not allowed; allowed: a whole number from 1 to 512"),
    (
        ("data:\n", "data:\n  accept: [jpeg, png]\n"),
        "data.accept[1]: 'png' is not allowed; allowed: a list of the conversions that may lose something",
    ),
    (("size: 32", "size: 27"), "variants.lenet5.input.size: 27 is less than the 28 pixels of the images; allowed: 28"),
    (("size: 32, resize: pad", "size: 15, resize: bilinear"), "variants.lenet5.input.size: 15 is too small for lenet5"),
    (("  lenet5:\n", "  lenet5:\n    images: {size: 9}\n"), "variants.lenet5.images: unknown key; allowed: input, mo"),
    (("data:\n", "data:\n  classes: 26\n"), "variants.lenet5-1998.model.output: 'codes' is for ten digits, data"),
])  # fmt: skip
def test_an_error_about_the_kind_of_images_names_what_is_allowed(tmp_path, edits, problem):
    assert f"{tmp_path}/params.yaml: {problem}" in error_of(tmp_path, edits)


def test_a_number_of_seeds_stands_for_the_first_ones_and_a_variant_may_have_its_own(tmp_path):
    study = load(tmp_path, ("seeds: [0, 1, 2, 3, 4, 5]", "seeds: 3"), ("  mlp:\n", "  mlp:\n    seeds: [7, 0, 9, 4]\n"))
    assert [study.seeds_of(name) for name in study.study] == [(0, 1, 2), (7, 0, 9, 4), (0, 1, 2)]


def test_a_pair_may_be_compared_by_several_measures(tmp_path):
    pair = "    - {candidate: lenet5, baseline: mlp}\n"
    others = "".join(
        f"    - {{candidate: lenet5, baseline: mlp, measure: {measure}}}\n"
        for measure in ("test_loss", "gap", "epochs_to, accuracy: 0.98", "epochs_to, accuracy: 0.99")
    )
    family = load(tmp_path, (pair, pair + others)).comparisons["headline"]
    assert [one.measure for one in family] == ["test_accuracy", "test_loss", "gap", *["epochs_to"] * 2, "test_accuracy"]


def test_the_default_study_compares_accuracy_loss_and_gap_of_the_regularised_network():
    study = params.load(PROJECT_PARAMS)
    measures = [pair.measure for pair in study.comparisons["headline"] if pair.candidate == "lenet5-regularized"]
    assert measures == ["test_accuracy", "test_loss", "gap"]


def test_a_block_of_ranges_says_what_a_name_of_augmentation_stands_for(tmp_path):
    text = "{rotation: 10, translation: 2, scale: 0.1, shear: 5.0, flip: none}"
    path = write_params(tmp_path, ("augmentation: none", f"augmentation: {text}"))
    rules = params.load(path).variants["lenet5"].regularization
    assert rules.ranges == training_schema.AUGMENTATIONS["affine"]
    assert rules.model_dump()["augmentation"] == {"rotation": 10.0, "translation": 2.0, "scale": 0.1, "shear": 5.0}
    assert schema.Regularization.model_validate(rules.model_dump()) == rules


WITH_EPOCHS_TO = (
    "{candidate: lenet5, baseline: mlp}",
    "{candidate: lenet5, baseline: mlp, measure: epochs_to, accuracy: 0.98}",
)
KEEP_FEW = ("weight_averaging: 0.0", "weight_averaging: 0.0\n  keep_weights: 3")
KEEP_FEW_OF_MLP = ("  mlp:\n", "  mlp:\n    training: {keep_weights: 9}\n")


def test_weights_are_kept_as_the_study_or_the_variant_says(tmp_path):
    assert params.load(write_params(tmp_path)).training.keep_weights == "all"
    study = params.load(write_params(tmp_path, KEEP_FEW, KEEP_FEW_OF_MLP))
    assert [study.training_of(name).keep_weights for name in ("lenet5", "mlp")] == [3, 9]
    assert not study.training_of("mlp").keeps_all_weights
    enough = KEEP_FEW[0], KEEP_FEW[1].replace("3", "10")  # as many as there are epochs
    assert params.load(write_params(tmp_path, enough)).training.keeps_all_weights


@pytest.mark.parametrize(
    ("edits", "named"), [([KEEP_FEW], ["'lenet5' is 3", "'mlp' is 3"]), ([KEEP_FEW_OF_MLP], ["'mlp' is 9"])]
)
def test_epochs_are_compared_only_if_the_weights_of_each_are_kept(tmp_path, edits, named):
    params.load(write_params(tmp_path, WITH_EPOCHS_TO))
    params.load(write_params(tmp_path, WITH_EPOCHS_TO, (KEEP_FEW[0], KEEP_FEW[1].replace("3", "10"))))
    params.load(write_params(tmp_path, *edits))
    with pytest.raises(UserError) as caught:
        params.load(write_params(tmp_path, WITH_EPOCHS_TO, *edits))
    lines = str(caught.value).splitlines()
    assert len(lines) == len(named)
    for line, text in zip(lines, named, strict=True):
        assert "comparisons.headline[0].measure: 'epochs_to' needs the weights of every epoch" in line
        assert f"training.keep_weights of {text}; allowed: keep_weights: all, or another measure" in line
