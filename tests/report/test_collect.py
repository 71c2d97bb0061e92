"""Collecting the report: what is computed from the inputs, and errors that name the file and the remedy."""

import json
from pathlib import Path

import pytest

from lenetlab.errors import UserError
from lenetlab.report import collect, inputs, model
from lenetlab.settings import training_schema
from lenetlab.storage import files, provenance
from tests.report import example

TWO = (0, 1)  # seeds


@pytest.fixture
def paths(tmp_path: Path) -> inputs.InputPaths:
    """Inputs with two seeds, for a test to change."""
    return example.write_inputs(tmp_path, TWO)


def collected(paths: inputs.InputPaths) -> model.Report:
    return example.collect_without_comparisons(paths, TWO)


def edit_record(paths: inputs.InputPaths, variant: str, **changes) -> None:
    path = paths.evaluations / variant / "variant.json"
    files.write_json(path, files.read_json(path) | changes)


@pytest.mark.parametrize("name", ["variant.json", "seeds.json", "metrics.json", "curves.csv", "mistakes.npz"])
def test_a_damaged_evaluation_is_reported_with_a_remedy(paths, name):
    path = paths.evaluations / "mlp" / name
    for content in (b"", b"{}", b"[]", b"{half", None):
        if (name, content) == ("seeds.json", b"{}"):
            continue  # valid if every seed diverged; the test below covers it
        path.write_bytes(content) if content is not None else path.unlink()
        with pytest.raises(UserError, match=rf"mlp/{name}: cannot be read .*--single-item evaluate@mlp$"):
            collected(paths)


def test_files_with_different_seeds_are_rejected(paths):
    folder = paths.evaluations / "mlp"
    seeds = (folder / "seeds.json").read_bytes()
    files.write_json(folder / "seeds.json", {})
    with pytest.raises(UserError, match=r"mlp: cannot be read \(its files contain different seeds\)"):
        collected(paths)
    (folder / "seeds.json").write_bytes(seeds)
    lines = (folder / "curves.csv").read_text().splitlines(keepends=True)
    (folder / "curves.csv").write_text("".join(lines[: 1 + example.EPOCHS]))  # the first seed only
    with pytest.raises(UserError, match=r"mlp: cannot be read \(its files contain different seeds\)"):
        collected(paths)


@pytest.mark.parametrize("content", ["", "{}", "[]", "without conditions", "without variants"])
def test_incomplete_costs_are_reported(paths, content):
    if content.startswith("without "):
        content = json.dumps(example.costs() | {content.removeprefix("without "): {}})
    paths.costs.write_text(content)
    with pytest.raises(UserError, match=r"costs.json: cannot be read .*--single-item cost$"):
        collected(paths)


@pytest.mark.parametrize(("name", "remedy"), [("costs", "--single-item cost"), ("sensitivity", "make sensitivity")])
def test_a_missing_file_is_reported_with_a_remedy(paths, name, remedy):
    getattr(paths, name).unlink()
    with pytest.raises(UserError, match=rf"{name}.json: cannot be read .*{remedy}"):
        collected(paths)


def test_a_damaged_journal_is_reported(paths):
    (paths.journals / "mlp" / "seed-1.jsonl").write_text("{half")
    with pytest.raises(UserError, match=r"mlp/seed-1.jsonl: cannot be read .*--single-item train@mlp"):
        collected(paths)


@pytest.mark.parametrize("key", ["code", "torch", "device", "numerics"])
def test_variants_trained_under_different_conditions_are_rejected(paths, key):
    """An edit while a stage runs does it: DVC takes the digest of the code after the command."""
    names = example.make_study(TWO).study
    identity = files.read_json(paths.evaluations / "mlp" / "variant.json")["identity"]
    edit_record(paths, "mlp", identity={**identity, key: "another0123456789"})
    with pytest.raises(UserError) as caught:
        collected(paths)
    (problem,) = caught.value.problems
    assert f"the variants were trained with different {key}: " in problem
    value = "another01234" if key == "code" else "another0123456789"  # a digest is shortened
    assert f"mlp with {value};" in problem or f"mlp with {value}, " in problem
    assert all(name in problem for name in names)
    assert "dvc repro --force --single-item train@" in problem
    assert "train@mlp" in problem


def test_the_remedy_trains_what_the_present_code_did_not(paths, monkeypatch):
    identity = files.read_json(paths.evaluations / "mlp" / "variant.json")["identity"]
    edit_record(paths, "mlp", identity={**identity, "code": "new"})
    monkeypatch.setattr(collect.code, "code_digest", lambda _: "new")
    others = " ".join(f"train@{name}" for name in example.make_study(TWO).study if name != "mlp")
    with pytest.raises(UserError, match=rf"--single-item {others}, then dvc repro$"):
        collected(paths)


def test_an_evaluation_with_other_settings_or_data_is_rejected(paths):
    """DVC reruns a variant if its own block changes, but not if that of its `match_parameters` does."""
    study = example.make_study(TWO)
    smaller = study.variants["mlp"].model.model_copy(update={"hidden": (48,)})
    mlp = study.variants["mlp"].model_copy(update={"model": smaller})
    changed = study.model_copy(update={"variants": {**study.variants, "mlp": mlp}})
    with pytest.raises(UserError, match=r"mlp: made with other settings .* --single-item train@mlp") as caught:
        collect.collect(changed, paths, [], [], example.ORIGIN)
    assert len(caught.value.problems) == 1
    edit_record(paths, "mlp", test_data="0the4")
    with pytest.raises(UserError, match="not all variants were made with the same data"):
        collected(paths)


def test_an_effect_compares_a_variant_with_its_unregularised_version(report):
    (effect,) = report.effects
    assert (effect.variant, effect.unregularized) == ("lenet5-regularized", "lenet5")
    assert effect.regularizers == ["batch normalisation", "dropout 0.5"]
    outcome = report.outcomes[1]
    assert (effect.difference, effect.interval) == (outcome.difference, outcome.interval)
    assert (effect.interval_seeds, effect.verdict) == (outcome.interval_seeds, outcome.verdict)


@pytest.mark.parametrize(
    ("changes", "regularizers"),
    [
        ({}, []),
        ({"dropout": (0.0, 0.0)}, []),
        ({"dropout": (0.25, 0.0)}, ["dropout 0.25/0.0"]),
        ({"weight_decay": 0.01, "augmentation": "elastic"}, ["weight decay 0.01", "augmentation elastic"]),
        (
            {"augmentation": training_schema.AugmentationRanges(flip="horizontal", crop=4)},
            ["augmentation flip horizontal, crop 4"],
        ),
        ({"label_smoothing": 0.1, "batch_norm": True}, ["batch normalisation", "label smoothing 0.1"]),
    ],
)
def test_regularisers_are_listed_with_their_strength(paths, changes, regularizers):
    study, name = example.make_study(TWO), "lenet5-regularized"
    variant = study.variants["lenet5"]
    variant = variant.model_copy(update={"regularization": variant.regularization.model_copy(update=changes)})
    study = study.model_copy(update={"variants": {**study.variants, name: variant}})
    identity = files.read_json(paths.evaluations / name / "variant.json")["identity"]
    edit_record(paths, name, identity={**identity, **provenance.recipe(study, name)})
    report = collect.collect(study, paths, [], [], example.ORIGIN)
    assert [effect.regularizers for effect in report.effects] == ([regularizers] if regularizers else [])


def test_the_pareto_front_holds_variants_that_no_other_equals_or_beats(paths, report):
    """Of lenet5 and lenet5-regularized, which are equally accurate here, the cheaper one."""
    for name, operations, accuracy in (("lenet5", 3, 0.9), ("mlp", 1, 0.8), ("lenet5-regularized", 2, 0.9)):
        layer = files.read_json(paths.evaluations / name / "variant.json")["layers"][0]
        edit_record(paths, name, layers=[{**layer, "multiply_accumulates": operations}])
        metrics = paths.evaluations / name / "metrics.json"
        files.write_json(metrics, files.read_json(metrics) | {"test_accuracy": accuracy})
    assert collected(paths).pareto_fronts["multiply_accumulates"] == ["mlp", "lenet5-regularized"]
    assert report.pareto_fronts["seconds_per_epoch"][0] == "mlp"


def test_variants_with_diverged_seeds_are_in_no_pareto_front(diverged_report):
    assert diverged_report.pareto_fronts == {"seconds_per_epoch": ["lenet5"], "multiply_accumulates": ["lenet5"]}
    assert [effect.diverged for effect in diverged_report.effects] == [["lenet5-regularized"]]


def test_costs_are_means_over_rounds_with_intervals(report):
    """Of 2.0 and 2.2; Student's quantile with one degree of freedom is 12.706."""
    cost = report.variants[0].cost("seconds_per_epoch")
    assert cost.mean == pytest.approx(2.1)
    assert cost.interval == pytest.approx((2.1 - 1.2706, 2.1 + 1.2706), abs=1e-4)
    assert report.variants[0].cost("device_memory_bytes") is None
    assert report.variants[0].cost("multiply_accumulates") == model.Estimate(416_520, None)
    assert report.processor_share == 0.99


def test_compute_totals_are_sums_over_the_journals(report):
    """3 variants, 6 seeds, 3 epochs of 0.25 s."""
    assert report.compute == model.ComputeTotals(18, 54, 13.5, ["cpu: a processor"])


def test_the_hardest_image_is_the_one_that_all_networks_misclassify(report):
    """Image 7, a 7, is read as 8 by every seed of every variant; its file has the number 1007."""
    first = report.hardest[0]
    assert (first.number, first.label, first.predicted, first.misread, first.networks) == (1007, 7, 8, 18, 18)
    assert first.pixels[0, 0] == 7


def test_disagreements_are_images_that_one_variant_classifies_better(report):
    pair = report.disagreements[0]
    assert (pair.candidate, pair.baseline, pair.seeds) == ("lenet5", "mlp", (6, 6))
    assert pair.candidate_better
    assert all(image.candidate_correct > image.baseline_correct for image in pair.candidate_better)
    assert all(image.candidate_correct < image.baseline_correct for image in pair.baseline_better)


@pytest.mark.parametrize("change", [{"data": "0the4"}, {"variant": "lenet6"}, {"recipe": {}}])
def test_sensitivity_of_other_data_or_settings_is_out_of_date(paths, report, change):
    files.write_json(paths.sensitivity, example.sensitivity() | change)
    assert report.sensitivity.up_to_date
    assert not collected(paths).sensitivity.up_to_date


def test_sensitivity_may_never_have_been_measured(paths):
    files.write_json(paths.sensitivity, {})
    assert collected(paths).sensitivity is None


def test_means_of_the_sensitivity_exclude_diverged_seeds(paths):
    """With a learning rate of 0.1 both diverge; with 1,000 images one of two, which leaves no interval."""
    content = example.sensitivity()
    for point, seeds in ((2, "01"), (3, "1")):
        for key in ("validation_accuracy", "training_accuracy"):
            content["points"][point][key] |= dict.fromkeys(seeds)
    files.write_json(paths.sensitivity, content)
    values = collected(paths).sensitivity.values
    rate, images = values["learning_rate"][1], values["images"][0]
    assert (rate.mean_accuracy, rate.interval, rate.gap, rate.diverged) == (None, None, None, 2)
    assert (images.mean_accuracy, images.interval, images.diverged) == (pytest.approx(0.949), None, 1)
