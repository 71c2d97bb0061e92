"""Pictures of the report: which there are, and what their captions and alternative texts say."""

from dataclasses import replace

from lenetlab.report import style
from lenetlab.report.pictures import draw_all
from tests.report import example


def test_each_variant_has_one_colour_in_all_pictures(report, pictures):
    colours = [style.variant_mark(variant.index).colour for variant in report.variants]
    assert len(set(colours)) == 3
    for index, (variant, colour) in enumerate(zip(report.variants, colours, strict=True)):
        assert colour in pictures["seeds"].svg.partition(f'id="seeds-seed-{index}-0"')[2].partition("</g>")[0]
        for kind in ("curves", "network"):
            svg = pictures[f"{kind}-{variant.name}"].svg
            assert [other for other in colours if style.css_colour(other) in svg] == [colour]


def test_alternative_texts_state_the_finding(report, pictures):
    assert "18 of 18 networks misclassify the first, which is 7" in pictures["hardest"].alternative
    image = report.disagreements[0].candidate_better[0]
    end = f"the first is {image.label}: {image.candidate_correct} of 6, {image.baseline_correct} of 6."
    assert pictures["disputed-lenet5-mlp"].alternative.endswith(end)
    label, predicted, count = report.variants[1].commonest_mistake
    assert f"is {label} classified as {predicted}, {count} times." in pictures["confusion-mlp"].alternative
    assert "highest at learning rate 0.01, training images all 55,000." in pictures["sensitivity"].alternative
    assert "Pareto front: mlp, lenet5" in pictures["pareto-seconds_per_epoch"].alternative
    for variant in report.variants:
        mean = f"{variant.name}: mean {100 * variant.mean_accuracy:.2f} %"
        assert mean in pictures["seeds"].alternative


def test_pictures_leave_out_variants_without_a_result_and_mark_incomplete_ones(diverged_folder, diverged_page):
    names = {path.stem for path in (diverged_folder / "figures").iterdir()}
    assert {"network-mlp", "curves-lenet5-regularized", "seeds", "calibration", "pareto-seconds_per_epoch"} <= names
    assert not {"curves-mlp", "confusion-mlp", "mistakes-mlp", "disputed-lenet5-mlp"} & names
    assert len([name for name in diverged_page.values("id") if name.startswith("seeds-seed-")]) == 6 + 4
    for name in ("seeds", "pareto-seconds_per_epoch"):
        svg = (diverged_folder / "figures" / f"{name}.svg").read_text()
        assert "lenet5-regularized (2 of 6 seeds diverged)" in svg
    forest = (diverged_folder / "figures" / "comparisons.svg").read_text()
    assert "lenet5-regularized − lenet5: inconclusive (finished seeds only)" in forest
    assert "mlp" not in forest
    assert diverged_page.text.count("Not shown because every seed diverged: mlp.") == 5


def test_without_a_finished_training_only_networks_and_sensitivity_are_drawn(tmp_path):
    diverged = {name: {0: 1, 1: 2} for name in example.ACCURACIES}
    paths = example.write_inputs(tmp_path, (0, 1), diverged=diverged)
    pictures = draw_all(example.collect_report(paths, (0, 1)))
    assert set(pictures) == {"sensitivity", *(f"network-{name}" for name in example.ACCURACIES)}


def test_a_variant_without_mistakes_has_no_picture_of_them(report):
    perfect = replace(report.variants[0], mistakes=[], commonest_mistake=None)
    pictures = draw_all(example.small(report, variants=[perfect], sensitivity=None))
    assert not {"mistakes-lenet5", "hardest", "sensitivity"} & set(pictures)
    assert pictures["confusion-lenet5"].alternative == "Confusion matrix of lenet5: no image is misclassified."


def test_sensitivity_that_is_out_of_date_is_not_drawn(diverged_report):
    """Drawn from a variant without a finished seed, which takes the least time."""
    mlp = diverged_report.variants[1]
    changed = example.small(diverged_report, variants=[mlp])
    assert "sensitivity" in draw_all(changed)
    old = replace(changed.sensitivity, up_to_date=False)
    assert "sensitivity" not in draw_all(replace(changed, sensitivity=old))


def test_diverged_seeds_of_the_sensitivity_are_explained(diverged_report, pictures):
    values = diverged_report.sensitivity.values
    rate = [values["learning_rate"][0], replace(values["learning_rate"][1], diverged=1)]
    changed = replace(diverged_report.sensitivity, values={**values, "learning_rate": rate})
    drawn = draw_all(example.small(diverged_report, variants=[diverged_report.variants[1]], sensitivity=changed))
    assert "A cross marks values with diverged seeds" in drawn["sensitivity"].caption
    assert "diverged" not in pictures["sensitivity"].caption
