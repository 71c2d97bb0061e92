"""The report, parsed as a browser would: links, ids, numbers, escaping; and the same numbers in Markdown and JSON."""

import csv
import json
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lenetlab import UserError, comparison, files, params, predictions, report
from lenetlab.answers import Answer

ROOT = Path(__file__).parents[1]
VARIANTS = {"lenet5": 0.99, "mlp": 0.95, "lenet5-regularized": 0.99}
IMAGES, EPOCHS = 400, 3
ORIGIN = {
    "commit": "c0ffee",
    "dirty": True,
    "python": "3.11.7",
    "numpy": "2.4.6",
    "torch": "2.15.0",
    "lenetlab": "0.1.0",
}
ANSWERS = [
    Answer("S0.1", "parameters", "LeNet-5 has 44,526 parameters", "refuted", "44,426", "it has 100 fewer"),
    Answer("S0.4", "parameters", "The MLP has 49,950", "confirmed", "49,950", "its layers add up to it"),
    Answer("S2.9", "relation", "It takes | longer", "undecided", "–", "no time was measured"),
]
VOID = {"meta", "br", "img", "hr", "link", "input"}
INVISIBLE = "\N{NO-BREAK SPACE}"


class Page(HTMLParser):
    """Elements and their attributes; tables by id, as rows of cell texts; text outside style and SVG."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.open, self.tables, self.text = [], [], {}, ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attributes).get("id", len(self.tables)), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements are closed in the order in which they were opened"

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.replace(INVISIBLE, " ")
        if not {"style", "svg"} & set(self.open):
            self.text += data.replace(INVISIBLE, " ")

    def having(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def write_evaluation(folder: Path, name: str, rate: float, seeds: tuple[int, ...], validation: bool) -> None:
    """The files of an evaluation; about 1 - rate of the answers are wrong, by one class."""
    random = np.random.default_rng([len(name), *seeds])
    labels = np.arange(IMAGES, dtype=np.uint8) % 10
    wrong = random.random((len(seeds), IMAGES)) >= rate
    wrong[:, 7] = True  # every seed reads image 7, a 7, as an 8
    predicted = ((labels + wrong) % 10).astype(np.uint8)
    found = predictions.Predictions(np.array(seeds), labels, predicted, np.full(wrong.shape, 0.75, np.float32))
    predictions.write(found, folder / "predictions.npz")
    last = dict(zip(seeds, found.accuracy.tolist(), strict=True))
    columns = ("seed", "epoch", *report.MEASURES)
    table = [",".join(columns)]
    for seed in seeds:
        for epoch in range(1, EPOCHS + 1):
            accuracy = last[seed] - 0.01 * (EPOCHS - epoch)
            held_out = f"0.2,{accuracy}" if validation else ","
            table.append(f"{seed},{epoch},{0.3 / epoch},{accuracy},{held_out},{0.2 / epoch},{accuracy}")
    files.write_text(folder / "curves.csv", "\n".join(table) + "\n")
    tested = {str(seed): {"test_accuracy": last[seed], "test_loss": 0.2 / EPOCHS} for seed in seeds}
    files.write_json(folder / "seeds.json", tested)
    metrics = {
        "parameters": 156,
        "test_accuracy": float(found.accuracy.mean()),
        "test_accuracy_sd": float(found.accuracy.std(ddof=1)) if len(seeds) > 1 else None,
        "test_loss": 0.2 / EPOCHS,
    }
    files.write_json(folder / "metrics.json", metrics)
    study = params.load(ROOT / "params.yaml")
    definition = study.variants[name].model_dump(mode="json", exclude={"training"}, exclude_none=True)
    layers = [("c1", "Conv2d", "6×28×28", 156, "6 × (1 × 5 × 5 + 1)"), ("c1_relu", "ReLU", "6×28×28", 0, "")]
    record = {
        "variant": name,
        "parameters": 156,
        "identity": {
            "definition": definition,
            "training": study.training_of(name).model_dump(mode="json"),
            **{"data": "da7a", "code": "c0de", "torch": "2.15.0", "device": "cpu", "numerics": "float32"},
        },
        "normalization": {"mean": 0.13, "std": 0.31},
        "fingerprints": {str(seed): f"f1f1{name}{seed}" for seed in seeds},
        "test_data": "7e57",
        "layers": [
            dict(zip(("name", "kind", "output", "parameters", "arithmetic"), layer, strict=True)) for layer in layers
        ],
    }
    files.write_json(folder / "variant.json", record)
    mistakes = {"number": [7], "label": [7], "predicted": [8], "confidence": [0.75], "votes": [len(seeds)]}
    arrays = {key: np.array(value) for key, value in mistakes.items()}
    with files.writing(folder / "mistakes.npz") as stream:
        np.savez_compressed(stream, pixels=np.zeros((1, 28, 28), np.uint8), **arrays)


def collected(folder: Path, seeds: tuple[int, ...] = (0, 1, 2, 3, 4), validation: bool = True) -> report.Report:
    study = params.load(ROOT / "params.yaml").model_copy(update={"seeds": seeds})
    for name, rate in VARIANTS.items():
        write_evaluation(folder / name, name, rate, seeds, validation)
    (folder / "left-over").mkdir()  # of a variant that has left the study
    found = {name: predictions.read(folder / name / "predictions.npz") for name in study.study}
    return report.collect(study, folder, comparison.compare(study, found), ANSWERS, ORIGIN)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> report.Report:
    return collected(tmp_path_factory.mktemp("evaluations"))


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    report.write(found, path)
    return path


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page((folder / "report.html").read_text())


def rendered(changed: report.Report) -> Page:
    return Page(report.render("report.html", changed, report.draw(changed)))


def test_ids_are_unique_and_every_link_and_label_resolves(page):
    identities = page.having("id")
    assert len(identities) == len(set(identities))
    targets = [
        link for link in page.having("href") + page.having("xlink:href") if not link.startswith("data:image/png")
    ]
    assert targets
    assert {link[0] for link in targets} == {"#"}
    labels = page.having("aria-labelledby")
    assert {link[1:] for link in targets} | set(labels) <= set(identities)


def test_the_table_of_contents_leads_to_every_section(page):
    links = [attributes["href"][1:] for tag, attributes in page.elements if tag == "a"]
    sections = [attributes["aria-labelledby"] for tag, attributes in page.elements if tag == "section"]
    assert links == sections


def test_the_page_needs_nothing_from_outside_and_runs_nothing(folder, page):
    text = (folder / "report.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert text.count("http:") + text.count("https:") == text.count("http://www.w3.org/")  # XML's own names
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    (policy,) = [a["content"] for tag, a in page.elements if "http-equiv" in a]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert len(text) < 1_000_000


def test_the_page_can_be_listened_to(page):
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(pictures) == 2 + 3 * len(VARIANTS)
    assert all(picture["role"] == "img" and len(picture["aria-label"]) > 20 for picture in pictures)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table")
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.elements if tag == "th")
    headings = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def expected_comparisons(found: report.Report) -> list[list[str]]:
    """Worked out here once more, by plain formatting."""

    def points(value: float) -> str:
        return f"{round(100 * value, 2):+.2f}".replace("-", "−")

    rows = []
    for o in found.outcomes:
        spans = [f"{points(low)} to {points(high)}" for low, high in (o.interval_seeds, o.interval)]
        p_values = ["< 0.0001" if p < 0.0001 else f"{p:#.2g}" for p in (o.p_welch_holm, o.p_permutation_holm)]
        rows.append([o.candidate, o.baseline, o.verdict, points(o.difference), *spans, *p_values, o.family])
    return rows


def markdown_rows(folder: Path) -> list[list[str]]:
    lines = (folder / "report.md").read_text().replace(INVISIBLE, " ").splitlines()
    return [[cell.strip(" *") for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|")]


def test_the_comparison_table_shows_the_records_rounded(found, folder, page):
    expected = expected_comparisons(found)
    assert [outcome.verdict for outcome in found.outcomes] == ["better", "inconclusive"]
    assert page.tables["comparison-table"][1:] == expected
    assert [row for row in markdown_rows(folder) if row[-1] == "headline"] == expected


def test_the_seed_table_shows_every_value_and_what_follows_from_them(found, folder, page):
    _, *rows = page.tables["seed-table"]
    values = {name: predictions_of.accuracies for name, predictions_of in zip(VARIANTS, found.variants, strict=True)}
    for seed, row in enumerate(rows[:5]):
        assert row == [str(seed), *(f"{100 * accuracies[seed]:.2f}" for accuracies in values.values())]
    summary = {row[0]: row[1:] for row in rows[5:]}
    columns = [np.array(list(accuracies.values())) for accuracies in values.values()]
    assert summary["mean"] == [f"{100 * column.mean():.2f}" for column in columns]
    assert summary["standard deviation (points)"] == [f"{100 * column.std(ddof=1):.2f}" for column in columns]
    assert summary["seeds"] == ["5"] * 3
    assert summary["parameters"] == ["156"] * 3
    half = [
        2.776445 * column.std(ddof=1) / 5**0.5 for column in columns
    ]  # Student's quantile with 4 degrees of freedom
    assert summary["95 % interval"] == [
        f"{100 * (column.mean() - h):.2f} to {100 * (column.mean() + h):.2f}"
        for column, h in zip(columns, half, strict=True)
    ]
    beside = {row[0].removeprefix("seed "): row[1:] for row in markdown_rows(folder)}
    assert {row[0]: row[1:] for row in rows}.items() <= beside.items()


def test_the_page_opens_with_the_answers(found, folder, page):
    sentences = [report.answer(outcome, found) for outcome in found.outcomes]
    first, second = found.outcomes
    low, high = first.interval
    assert sentences[0] == (
        f"lenet5 is better than mlp by {100 * first.difference:.2f} percentage points of test accuracy"
        f" (95 % interval over seeds and images {100 * low:.2f} to {100 * high:.2f}; 5 seeds each; 400 test images)."
    )
    assert sentences[1].startswith("Whether lenet5-regularized differs from lenet5 stays open: the difference is ")
    for text in (page.text, (folder / "report.md").read_text().replace(INVISIBLE, " ")):
        assert 0 < text.index(sentences[0]) < text.index(sentences[1])
        assert all(outcome.reason in text for outcome in (first, second))


def test_only_the_first_family_makes_headlines(found):
    other = replace(found.outcomes[1], family="ablation")
    assert report.headlines(replace(found, outcomes=[found.outcomes[0], other])) == found.outcomes[:1]


def test_a_worse_candidate_is_told_with_amounts_not_signs(found):
    outcome = replace(found.outcomes[0], difference=-0.005, interval=(-0.006, -0.004), verdict="worse")
    sentence = report.answer(outcome, found)
    assert sentence.startswith("lenet5 is worse than mlp by 0.50 percentage points")
    assert "over seeds and images 0.40 to 0.60;" in sentence


def test_equivalence_has_a_sentence(found):
    outcome = replace(found.outcomes[1], difference=-0.000001, verdict="equivalent")
    assert report.answer(outcome, found).startswith(
        "lenet5-regularized and lenet5 are equivalent: the difference is 0.00 percentage points"
    )


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (report.percent(0.98765), "98.77"),
        (report.percent(1.0), "100.00"),
        (report.points(0.01349), "+1.35"),
        (report.points(-0.1), "−10.00"),
        (report.points(0.1), "+10.00"),
        (report.points(-0.00001), "0.00"),
        (report.points(0.0), "0.00"),
        (report.span((0.9, 0.95)), "90.00 to 95.00"),
        (report.span(None), "–"),
        (report.points_span((-0.001, 0.002)), "−0.10 to +0.20"),
        (report.points_span(None), "–"),
        (report.p_value(1.0), "1.0"),
        (report.p_value(0.07), "0.070"),
        (report.p_value(0.0043290), "0.0043"),
        (report.p_value(0.00001), "< 0.0001"),
        (report.p_value(0.0001), "0.00010"),
        (report.whole(61706), "61,706"),
    ],
)
def test_numbers_are_rounded_for_the_eye(written, shown):
    assert written == shown


def test_the_json_is_not_rounded(found, folder):
    entries = json.loads((folder / "comparison.json").read_text())
    assert [entry["difference"] for entry in entries] == [outcome.difference for outcome in found.outcomes]
    assert entries[0]["interval"] == list(found.outcomes[0].interval)


def test_the_metrics_that_dvc_shows_are_those_of_the_evaluations(tmp_path):
    found = collected(tmp_path / "evaluations")
    report.write(found, tmp_path / "reports")
    for name in VARIANTS:
        copy = tmp_path / "reports" / "metrics" / f"{name}.json"
        assert copy.read_bytes() == (tmp_path / "evaluations" / name / "metrics.json").read_bytes()


def test_the_mean_curves_are_means_over_seeds(found, folder):
    with (folder / "curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["variant"], row["epoch"]) for row in rows] == [(v, str(e)) for v in VARIANTS for e in (1, 2, 3)]
    finals = {row["variant"]: float(row["test_accuracy"]) for row in rows if row["epoch"] == "3"}
    assert finals == pytest.approx({variant.name: variant.mean for variant in found.variants})


def test_each_variant_has_one_colour_everywhere(found, folder):
    colours = [variant.colour for variant in found.variants]
    assert len(set(colours)) == 3
    seeds = (folder / "figures" / "seeds.svg").read_text()
    for place, colour in enumerate(colours):
        assert colour.lower() in seeds.partition(f'id="seeds-seed-{place}-0"')[2].partition("</g>")[0]
        curves = (folder / "figures" / f"curves-{found.variants[place].name}.svg").read_text()
        assert [other for other in colours if other.lower() in curves] == [colour]
    html = (folder / "report.html").read_text()
    assert [html.index(f'style="background: {colour}"') for colour in colours]


def test_every_seed_is_a_point(page):
    assert len([name for name in page.having("id") if name.startswith("seeds-seed-")]) == 5 * len(VARIANTS)


def test_layers_settings_and_origin_are_told(page):
    assert ["c1", "Conv2d", "6×28×28", "6 × (1 × 5 × 5 + 1)", "156"] in [row for t in page.tables.values() for row in t]
    assert ["regularization.dropout", "0.0", "0.0", "0.5"] in [row for t in page.tables.values() for row in t]
    for told in ("da7a", "7e57", "c0de", "c0ffee, with local changes", "3.11.7", "f1f1mlp3", "Limits."):
        assert told in page.text


def test_what_is_hostile_is_escaped(found):
    name = '<script>alert("&")</script>'
    variants = [replace(found.variants[0], name=name), *found.variants[1:]]
    outcome = replace(found.outcomes[0], candidate=name, family=name, reason=name)
    hostile = rendered(replace(found, variants=variants, outcomes=[outcome]))
    assert "script" not in {tag for tag, _ in hostile.elements}
    assert hostile.tables["comparison-table"][1][0] == name
    labels = [attributes["aria-label"] for tag, attributes in hostile.elements if tag == "svg"]
    assert [name in label for label in labels].count(True) == 5  # two of all variants, three of its own


def test_the_same_records_give_the_same_files(found, folder, tmp_path):
    report.write(found, tmp_path)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_one_seed_and_no_validation_data_make_a_report(tmp_path):
    alone = collected(tmp_path / "evaluations", seeds=(3,), validation=False)
    report.write(alone, tmp_path / "reports")
    page = Page((tmp_path / "reports" / "report.html").read_text())
    assert "one seed each, so no interval; 400 test images" in page.text
    summary = {row[0]: row[1:] for row in page.tables["seed-table"]}
    assert summary["95 % interval"] == summary["standard deviation (points)"] == ["–"] * 3
    assert not [name for name in page.having("id") if "validation" in name]
    assert [row[4:6] for row in page.tables["comparison-table"][1:]] == [["–", "–"]] * 2


def test_statements_are_answered_in_a_table_and_counted(found, folder, page):
    expected = [[a.id, a.statement, a.verdict, a.found, a.reason] for a in ANSWERS]
    assert page.tables["claim-table"][1:] == expected
    assert "Of 3 statements in claims.yaml: 1 confirmed, 1 refuted, 1 undecided." in page.text
    assert json.loads((folder / "claims.json").read_text()) == [asdict(answer) for answer in ANSWERS]
    text = (folder / "report.md").read_text()
    assert "| S2.9 | It takes \\| longer | undecided | – | no time was measured |" in text
    without = rendered(replace(found, answers=[]))
    assert "claim-table" not in without.tables
    assert not [link for link in without.having("href") if link == "#statements"]


def test_the_doubt_is_divided_and_one_training_held_against_another(found, page):
    first, second = found.outcomes
    rows = {(row[0], row[1]): row[2:] for row in page.tables["doubt-table"][1:]}
    assert rows["lenet5", "mlp"][0] == f"{100 * first.share_seeds:.0f}"
    assert rows["lenet5", "mlp"][2:4] == ["100", f"{100 * first.superiority_interval[0]:.0f} to 100"]
    assert rows["lenet5", "mlp"][4] == f"{sum(pair.p < 0.05 for pair in first.mcnemar)} of 5"
    assert rows["lenet5-regularized", "lenet5"][1] == str(second.seeds_needed or "–")


def test_a_confound_stands_beside_the_verdict(found):
    confounded = replace(found.outcomes[0], confounds=["parameters 44,426 against 49,950, a factor of 1.12"])
    changed = replace(found, outcomes=[confounded])
    told = "Confounded, since they differ in parameters 44,426 against 49,950, a factor of 1.12."
    page = rendered(changed)
    assert told in page.text
    assert page.tables["comparison-table"][1][2] == "better, confounded"
    assert "test images). They also differ in parameters 44,426 against 49,950" in page.text
    assert told in report.render("report.md", changed, report.draw(changed))
    assert "Confounded" not in rendered(found).text


def test_an_evaluation_of_other_settings_or_data_is_refused_by_name(tmp_path):
    """DVC reruns a variant when its own block changes, and not when that of a variant it is matched to does."""
    study = params.load(ROOT / "params.yaml")
    for name, rate in VARIANTS.items():
        write_evaluation(tmp_path / name, name, rate, (0, 1), validation=True)
    two = study.model_copy(update={"seeds": (0, 1)})
    report.collect(two, tmp_path, [], [], ORIGIN)
    smaller = study.variants["mlp"].model.model_copy(update={"hidden": (48,)})
    variants = {**study.variants, "mlp": study.variants["mlp"].model_copy(update={"model": smaller})}
    with pytest.raises(UserError, match=r"mlp: made from other settings .* --single-item train@mlp") as caught:
        report.collect(two.model_copy(update={"variants": variants}), tmp_path, [], [], ORIGIN)
    assert len(caught.value.problems) == 1
    record = files.read_json(tmp_path / "mlp" / "variant.json")
    record["test_data"] = "0the4"
    files.write_json(tmp_path / "mlp" / "variant.json", record)
    with pytest.raises(UserError, match="not all made from the same data"):
        report.collect(two, tmp_path, [], [], ORIGIN)


def test_without_comparisons_the_page_says_so(found):
    page = rendered(replace(found, outcomes=[]))
    assert "No comparison is declared in params.yaml." in page.text
    assert "comparison-table" not in page.tables


def test_a_variant_without_mistakes_has_no_picture_of_them(found):
    none = {key: values[:0] for key, values in found.variants[0].mistakes.items()}
    page = rendered(replace(found, variants=[replace(found.variants[0], mistakes=none), *found.variants[1:]]))
    assert "No seed misreads any image." in page.text
