"""The page, parsed: links, ids, accessibility, escaping, numbers; and the same numbers in Markdown."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
from matplotlib.colors import to_rgb

from lenetlab.report import headline, style
from lenetlab.report.page import render, write_report
from lenetlab.report.pictures import draw_all
from lenetlab.statistics.comparison import Outcome
from tests.report import example
from tests.report.contrast import contrast
from tests.report.parsing import Page, markdown_rows, read_markdown, read_page

SOME_DIVERGED = "lenet5-regularized diverged: 2 of 6 seeds (1 in epoch 1, 4 in epoch 3)."
ALL_DIVERGED = f"mlp diverged: 6 of 6 seeds ({', '.join(f'{seed} in epoch 1' for seed in example.SEEDS)})."


def rendered(report, pictures) -> Page:
    return Page(render("report.html", report, pictures))


def test_ids_are_unique_words_and_every_link_and_label_resolves(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[^\s\"'<>]+", name) for name in ids)
    links = page.values("href") + page.values("xlink:href")
    targets = [link for link in links if not link.startswith("data:image/png")]
    assert targets
    assert {link[0] for link in targets} == {"#"}
    assert {link[1:] for link in targets} | set(page.values("aria-labelledby")) <= set(ids)


def test_the_table_of_contents_links_to_every_section(page):
    links = [attributes["href"][1:] for tag, attributes in page.elements if tag == "a"]
    sections = [attributes["aria-labelledby"] for tag, attributes in page.elements if tag == "section"]
    assert list(dict.fromkeys(links)) == sections


def test_the_page_loads_nothing_and_runs_nothing(folder, page):
    text = (folder / "report.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("http:") + text.count("https:") == text.count("http://www.w3.org/")  # XML namespaces
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    (policy,) = [attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert len(text) < 1_000_000


def test_the_page_suits_screen_readers(page, pictures):
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(drawings) == len(pictures)
    assert all(drawing["role"] == "img" and len(drawing["aria-label"]) > 20 for drawing in drawings)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table")
    assert all(
        attributes.get("scope") in ("row", "rowgroup", "col") for tag, attributes in page.elements if tag == "th"
    )
    headings = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def test_every_text_has_enough_contrast(folder):
    """WCAG AA: 4.5:1 between every colour of text and every background, in light and dark mode."""
    css = (folder / "report.html").read_text().partition("<style>")[2].partition("</style>")[0]
    modes = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{3,6})", block)) for block in css.split("@media screen")[:2]]
    assert [mode["paper"] for mode in modes] == ["#fff", "#16191d"]
    for mode in modes:
        for text in ("text", "ink", "quiet", "better", "worse", "open"):
            for background in ("paper", "shade"):
                assert contrast(to_rgb(mode[text]), to_rgb(mode[background])) >= 4.5, (text, background)


def test_the_page_opens_with_the_headlines(report, folder, page):
    first, second = headline.headlines(report)
    for text in (page.text, read_markdown(folder)):
        texts = [first.question, *first.sentences, second.question, *second.sentences]
        texts += headline.open_comparisons(report)
        places = [text.index(one) for one in texts]
        assert places[0] > 0
        assert places == sorted(places)
        assert all(outcome.reason[1:] in text for outcome in report.outcomes)


def test_the_comparison_table_has_the_rounded_numbers(report, folder, page):
    def rounded(outcome: Outcome, value: float) -> str:
        text = f"{value:+.4f}" if outcome.measure == "test_loss" else f"{round(100 * value, 2):+.2f}"
        return text.replace("-", "−")

    columns = {"test_accuracy": "test accuracy, points", "test_loss": "test loss, nats"}
    expected = []
    for outcome in report.outcomes:
        low, high = (rounded(outcome, limit) for limit in outcome.interval)
        p_values = outcome.p_sequential_holm, outcome.p_equivalence_sequential_holm
        expected.append(
            [
                *(outcome.candidate, outcome.baseline, columns[outcome.measure], outcome.verdict),
                *(rounded(outcome, outcome.difference), f"{low} to {high}"),
                *("< 0.0001" if p < 0.0001 else f"{p:#.2g}" for p in p_values),
                *("6", outcome.family),
            ]
        )
    assert [outcome.verdict for outcome in report.outcomes] == ["better", "inconclusive", "inconclusive"]
    assert page.tables["comparison-table"][1::2] == expected
    reasons = [f"{outcome.reason[0].upper()}{outcome.reason[1:]}." for outcome in report.outcomes]
    assert [row[0] for row in page.tables["comparison-table"][2::2]] == reasons
    assert [row for row in markdown_rows(folder) if row[-1] == "headline"] == expected


def test_the_table_of_uncertainty_shows_seed_share_superiority_and_mcnemar(report, page):
    first, second, third = report.outcomes
    rows = [row[3:] for row in page.tables["doubt-table"][1:]]
    low, high = (f"{100 * limit:+.2f}" for limit in first.interval_seeds)
    assert rows[0][:2] == [f"{low} to {high}", f"{100 * first.share_seeds:.0f}"]
    assert rows[0][3:5] == ["100", f"{100 * first.superiority_interval[0]:.0f} to 100"]
    assert rows[0][5] == f"{sum(test.p < 0.05 for test in first.mcnemar)} of 6"
    assert rows[1][2] == str(second.seeds_needed or "–")
    assert (third.mcnemar, rows[2][5]) == ([], "–")


def test_every_look_is_in_a_table(report, page):
    rows = page.tables["look-table"][1:]
    assert [row[3] for row in rows] == ["6"] * len(report.outcomes)
    assert [row[6] for row in rows] == ["0.0055"] * 3  # a third of 0.0165


def test_the_seed_table_has_every_seed_with_mean_deviation_and_interval(report, folder, page):
    head, *rows = page.tables["seed-table"]
    assert head[2] == "seeds"
    parameters = "61,706", "61,075", "61,750"
    for row, variant, count in zip(rows, report.variants, parameters, strict=True):
        values = np.array([variant.accuracies[seed] for seed in example.SEEDS])
        half = 2.570582 * values.std(ddof=1) / 6**0.5  # Student's quantile with 5 degrees of freedom
        assert row[:6] == [
            variant.name,
            count,
            "6",
            f"{100 * values.mean():.2f}",
            f"{100 * (values.mean() - half):.2f} to {100 * (values.mean() + half):.2f}",
            f"{100 * values.std(ddof=1):.2f}",
        ]
        assert row[6] == f"{100 * variant.training_deviation:.2f}"
        assert row in markdown_rows(folder)
    assert len([name for name in page.values("id") if name.startswith("seeds-seed-")]) == 6 * len(rows)
    head, *rows = page.tables["every-seed-table"]
    assert head == ["seed", *(variant.name for variant in report.variants)]
    for seed, row in zip(example.SEEDS, rows, strict=True):
        assert row == [str(seed), *(f"{100 * variant.accuracies[seed]:.2f}" for variant in report.variants)]
        assert row in markdown_rows(folder)


def test_variants_have_their_marks_in_tables(report, folder):
    html = (folder / "report.html").read_text()
    for variant in report.variants:
        colour = style.css_colour(style.variant_mark(variant.index).colour)
        assert f'<span class="mark circle" style="--mark: {colour}"></span>{variant.name}' in html


def test_the_table_of_regularisers_shows_effects(report, page, pictures):
    assert page.tables["ablation-table"][1][:3] == ["lenet5-regularized", "batch normalisation, dropout 0.5", "lenet5"]
    assert "ablation" not in rendered(replace(report, effects=[]), pictures).values("id")


def test_statements_are_listed_and_counted(report, folder, page, pictures):
    rows = page.tables["claim-table"][1:]
    assert [row for row in rows if len(row) > 1] == [
        [a.id, a.statement, a.verdict, a.found, a.reason.replace("`", "")] for a in example.ANSWERS
    ]
    totals = "4 statements: 1 confirmed, 1 consistent, 1 refuted, 1 undecided; 2 are exact, 2 are tested at 5 % each"
    assert f"{totals}. Consistent: one more training may reach the stated value" in page.text
    assert f"<summary>{totals}</summary>" in read_markdown(folder)
    assert "| S2.9 | It takes \\| longer | undecided | – | no time &lt;was> measured; run `make &lt;b>` |" in (
        read_markdown(folder)
    )
    without = rendered(replace(report, answers=[]), pictures)
    assert "claim-table" not in without.tables
    assert "#statements" not in without.values("href")


def test_a_line_about_the_report_stands_before_its_statements(folder, page):
    firsts = [row[0] for row in page.tables["claim-table"][1:]]
    lines = [f"{name}: {note}" for name, note in example.REPORTS.items()]
    assert firsts == [lines[0], "S0.1", "S0.4", lines[1], "S2.9", "mine"]
    text = read_markdown(folder)
    head = "| id | statement | verdict | result | reason |\n|---|---|---|---|---|\n"
    for line, first in (
        ("S0: Coursework report; SGD \\| ten epochs\n\n", "S0.1"),
        ("S2: Another &lt;report>\n\n", "S2.9"),
        ("\n", "mine"),
    ):
        assert f"\n{line}{head}| {first} |" in text


def test_code_in_a_reason_is_marked(report, folder, pictures):
    assert "no time &lt;was&gt; measured; run <code>make &lt;b&gt;</code></td>" in (folder / "report.html").read_text()
    odd = replace(example.ANSWERS[0], reason="one ` alone <i>")
    assert "<td>one ` alone &lt;i&gt;</td>" in render("report.html", replace(report, answers=[odd]), pictures)


def test_costs_have_their_interval_below_the_mean(report, folder, page, pictures):
    head, *rows = page.tables["cost-table"]
    assert "peak memory of the device, MB" not in head  # not measured
    assert rows[0][:5] == ["lenet5", "1", f"{100 * report.variants[0].mean_accuracy:.2f}", "61,706", "416,520"]
    assert rows[0][5] == "2.1" + "0.829 to 3.37"
    assert [row for row in markdown_rows(folder) if "2.1 (0.829 to 3.37)" in row]
    assert "for at least 99.0 % of their time." in page.text
    busy = rendered(replace(report, processor_share=0.7), pictures)
    assert "for at least 70.0 % of their time: the machine was busy" in busy.text


def test_sensitivity_is_shown_with_intervals(report, folder, page, pictures):
    """Two seeds, 0.001 above and below the mean: Student's quantile 12.706 times 0.001."""
    rows = page.tables["sensitivity-table"][1:]
    assert rows[0] == ["learning rate", "0.01", "61,706", "98.00", "96.73 to 99.27", "+1.00"]
    assert [row[1] for row in rows] == ["0.01", "0.1", "1,000", "all 55,000"]
    assert all(row in markdown_rows(folder) for row in rows)
    without = rendered(report, {name: picture for name, picture in pictures.items() if name != "sensitivity"})
    assert "Not measured yet with the present data and settings." in without.text
    assert "sensitivity-table" not in without.tables


def test_diverged_seeds_of_the_sensitivity_are_counted(report, pictures):
    rate, images = report.sensitivity.values["learning_rate"], report.sensitivity.values["images"]
    none = replace(rate[1], mean_accuracy=None, interval=None, gap=None, diverged=2)
    values = {"learning_rate": [rate[0], none], "images": [replace(images[0], interval=None, diverged=1)]}
    changed = replace(report, sensitivity=replace(report.sensitivity, values=values))
    rows = rendered(changed, pictures).tables["sensitivity-table"][1:]
    assert rows[1] == ["learning rate", "0.1", "61,706", "–2 of 2 seeds diverged", "–", "–"]
    assert rows[2][3:5] == ["95.001 of 2 seeds diverged", "–"]


def test_layers_settings_compute_and_provenance_are_shown(page):
    rows = [row for table in page.tables.values() for row in table]
    assert ["c1", "Conv2d", "6×28×28", "6 × (1 × 5 × 5 + 1)", "156", "117,600"] in rows
    assert ["total", "61,706", "416,520"] in rows
    assert ["training.epochs", str(example.EPOCHS)] in rows
    head, *different = page.tables["difference-table"]
    assert [row[head.index("regularization.dropout")] for row in different] == ["0.0", "0.0", "0.5"]
    for text in ("da7a", "7e57", "c0de", "c0ffee, with local changes", "3.11.7", "f1f1mlp3", "not about other data"):
        assert text in page.text
    assert "18 trainings, 54 epochs of up to 55,000 images each; 13.5 s of one processor core in total" in page.text


def test_extra_test_images_are_mentioned_if_there_are_any(report, folder, page, pictures):
    assert "extra ones" not in page.text + (folder / "report.md").read_text()
    first = report.variants[0]
    record = first.record | {"test_images": {"test": 8000, "extra": 2000}}
    changed = replace(report, variants=[replace(first, record=record), *report.variants[1:]])
    sets = "8,000 test images and 2,000 extra ones (data.extra_test) together"
    assert f"verdicts are about {sets}; every image counts the same." in rendered(changed, pictures).text
    assert f"- test data 7e57: {sets}\n\n</details>" in render("report.md", changed, pictures)


def test_converted_images_are_counted(report, page, folder, pictures):
    assert "converted images" not in page.text + (folder / "report.md").read_text()
    first = report.variants[0]
    changes = {
        "train": {"grey stored as 8-bit RGB": 5000, "colour stored as BMP": 1},
        "test": {"grey repeated as RGB": 2},
    }
    changed = replace(
        report, variants=[replace(first, record=first.record | {"conversions": changes}), *report.variants[1:]]
    )
    text = "train: 5,000 grey stored as 8-bit RGB; train: 1 colour stored as BMP; test: 2 grey repeated as RGB"
    assert text in rendered(changed, pictures).text
    assert f"; converted images: {text}\n" in render("report.md", changed, pictures)


def test_confounds_are_shown_with_the_verdict(report, page, pictures):
    confounded = replace(report.outcomes[0], confounds=["parameters 44,426 against 49,950, a factor of 1.12"])
    changed = replace(report, outcomes=[confounded])
    sentence = "Confounded: the variants also differ in parameters 44,426 against 49,950, a factor of 1.12."
    new = rendered(changed, pictures)
    assert sentence in new.text
    assert new.tables["comparison-table"][1][3] == "better, confounded"
    assert sentence in render("report.md", changed, pictures)
    assert "onfounded" not in page.text


def test_without_comparisons_the_page_says_so(report, pictures):
    without = rendered(replace(report, outcomes=[]), pictures)
    assert "No comparison is declared in params.yaml." in without.text
    assert "comparison-table" not in without.tables


def test_without_mistakes_the_page_says_so(report, pictures):
    changed = replace(report, disagreements=[])
    kept = {name: picture for name, picture in pictures.items() if name not in ("hardest", "mistakes-lenet5")}
    without = rendered(changed, kept)
    assert "No network misclassifies any image." in without.text
    assert "No seed misclassifies any image." in without.text
    assert "disagreements" not in without.values("id")


def test_names_with_markup_are_escaped(report):
    name = '<script>alert("&")</script>'
    variant = replace(report.variants[0], name=name)
    outcome = replace(report.outcomes[0], candidate=name, baseline=name, family=name, reason=name)
    fronts = {cost: [name] for cost in report.pareto_fronts}
    changed = example.small(report, variants=[variant], outcomes=[outcome], pareto_fronts=fronts)
    page = rendered(changed, draw_all(changed))
    assert "script" not in {tag for tag, _ in page.elements}
    assert page.tables["comparison-table"][1][0] == name
    labels = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert [name in label for label in labels].count(True) == len(labels) - 1  # all but the sensitivity of lenet5


def test_the_same_report_gives_the_same_files(report, folder, tmp_path):
    write_report(report, tmp_path)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_a_report_needs_only_one_seed_and_no_validation_data(tmp_path):
    report = example.collect_report(example.write_inputs(tmp_path, (3,), validation=False), (3,))
    write_report(report, tmp_path / "reports")
    page = read_page(tmp_path / "reports")
    assert "one seed does not show how much results vary between trainings" in page.text
    assert [row[4:7] for row in page.tables["seed-table"][1:]] == [["–"] * 3] * 3
    assert not [name for name in page.values("id") if "validation" in name]
    assert [row[5] for row in page.tables["comparison-table"][1::2]] == ["–"] * 3
    assert page.tables["look-table"][1:] == []


def test_diverged_seeds_are_named_on_the_page_and_in_markdown(diverged_report, diverged_folder, diverged_page):
    for text in (diverged_page.text, read_markdown(diverged_folder)):
        assert SOME_DIVERGED in text
        assert ALL_DIVERGED in text
        assert all(outcome.reason[1:] in text for outcome in diverged_report.outcomes)
        assert not re.search(r"\b(nan|None)\b", text)
    assert "; 8 that diverged are listed there without an accuracy." in diverged_page.text


def test_a_diverged_seed_has_no_number_in_any_table(diverged_report, diverged_folder, diverged_page):
    lenet5, mlp, regularized = diverged_page.tables["seed-table"][1:]
    assert mlp == ["mlp", "61,075", "0", *["–"] * 4]
    accuracies = [100 * diverged_report.variants[2].accuracies[seed] for seed in (0, 2, 3, 5)]
    assert regularized[2:4] == ["4", f"{sum(accuracies) / 4:.2f}"]
    assert lenet5[2] == "6"
    by_seed = diverged_page.tables["every-seed-table"][1:]
    assert [row[2] for row in by_seed] == ["diverged"] * 6
    assert [row[3] == "diverged" for row in by_seed] == [False, True, False, False, True, False]
    assert all(row in markdown_rows(diverged_folder) for row in (lenet5, mlp, regularized, *by_seed))
    assert diverged_page.tables["comparison-table"][1][3:8] == ["inconclusive", "–", "–", "1.0", "1.0"]
    assert diverged_page.tables["ablation-table"][1][-1] == "inconclusiveseeds of lenet5-regularized diverged"
    assert diverged_page.tables["calibration-table"][2] == ["mlp", *["–"] * 4]
    assert diverged_page.tables["cost-table"][2][2] == "–"
    assert diverged_page.tables["cost-table"][2][5].startswith("0.6")  # costs do not depend on results
    assert diverged_page.text.count("No result: every seed of mlp diverged.") == 3


def test_the_page_keeps_all_sections_and_tables_if_seeds_diverged(page, diverged_page):
    assert set(page.tables) == set(diverged_page.tables)
    sections = page.values("aria-labelledby")
    assert sections == diverged_page.values("aria-labelledby")
    assert {f"#{name}" for name in sections} <= set(diverged_page.values("href"))
    ids = diverged_page.values("id")
    assert len(ids) == len(set(ids))


def test_a_report_without_a_finished_training_says_so(tmp_path):
    diverged = {name: {0: 1, 1: 2} for name in example.ACCURACIES}
    report = example.collect_report(example.write_inputs(tmp_path, (0, 1), diverged=diverged), (0, 1))
    page = rendered(report, draw_all(report))
    assert page.text.count("No result: every seed of ") == 3 * len(example.ACCURACIES) + len(report.disagreements)
    assert "No result: every training diverged." in page.text
