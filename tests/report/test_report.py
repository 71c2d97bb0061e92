"""The report, parsed as a browser would: links, ids, numbers, escaping; and the same numbers in Markdown and JSON."""

import csv
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lenetlab.errors import UserError
from lenetlab.evaluation import curves, mistakes, predictions
from lenetlab.networks import build, layer_table
from lenetlab.report import collect, headline, model, results, style
from lenetlab.report.page import _code, render, write_report
from lenetlab.report.pictures import Picture, _sensitivity, draw_all
from lenetlab.settings import params
from lenetlab.statistics import comparison, formatting
from lenetlab.statistics.claims.answers import Answer
from lenetlab.storage import files, provenance
from tests.report.test_figures import contrast

ROOT = Path(__file__).parents[2]
STUDY = params.load(ROOT / "params.yaml")
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


def write_evaluation(
    folder: Path, name: str, rate: float, every: tuple[int, ...], validation: bool, lost: dict[int, int] | None = None
) -> None:
    """The files of an evaluation; about 1 - rate of the answers are wrong, by one class. `lost`: seed to epoch."""
    lost = lost or {}
    seeds = tuple(seed for seed in every if seed not in lost)
    random = np.random.default_rng([len(name), *seeds])
    labels = np.arange(IMAGES, dtype=np.uint8) % 10
    wrong = random.random((len(seeds), IMAGES)) >= rate
    wrong[:, 7] = True  # every seed reads image 7, a 7, as an 8
    predicted = ((labels + wrong) % 10).astype(np.uint8)
    found = predictions.Predictions(
        np.array(seeds, np.int64), labels, predicted, np.full(wrong.shape, 0.75, np.float32)
    )
    predictions.write(found, folder / "predictions.npz")
    last = dict(zip(seeds, found.accuracy.tolist(), strict=True))
    columns = ("seed", "epoch", *curves.MEASURES)
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
        "parameters": STUDY.variants[name].parameters,
        "test_accuracy": float(found.accuracy.mean()) if seeds else None,
        "test_accuracy_sd": float(found.accuracy.std(ddof=1)) if len(seeds) > 1 else None,
        "test_loss": 0.2 / EPOCHS if seeds else None,
    }
    files.write_json(folder / "metrics.json", metrics)
    definition = STUDY.variants[name]
    record = {
        "variant": name,
        "parameters": definition.parameters,
        "identity": {
            **provenance.recipe(STUDY, name),
            **{"data": "da7a", "code": "c0de", "torch": "2.15.0", "device": "cpu", "numerics": "float32"},
        },
        "normalization": {"mean": 0.13, "std": 0.31},
        "fingerprints": {str(seed): f"f1f1{name}{seed}" for seed in every},
        "diverged": {str(seed): {"epoch": epoch, "step": 12} for seed, epoch in lost.items()},
        "test_data": "7e57",
        "layers": layer_table.layer_table(build.build_network(definition, seed=0), definition.input.size),
    }
    files.write_json(folder / "variant.json", record)
    pixels = np.arange(IMAGES, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8)
    mistakes.write(mistakes.find(found, np.arange(IMAGES) + 1000, pixels), folder / "mistakes.npz")


def write_journals(folder: Path, seeds: tuple[int, ...]) -> None:
    """Every epoch took a quarter of a second of each seed."""
    start = {"event": "start", "provenance": {"device": "cpu: a processor"}}
    lines = [start, *({"event": "epoch", "seconds": 0.25} for _ in range(EPOCHS)), {"event": "end"}]
    for seed in seeds:
        files.write_text(folder / f"seed-{seed}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def costs() -> dict:
    """Two rounds; the MLP is cheaper."""
    seconds = {"lenet5": [2.0, 2.2], "mlp": [0.5, 0.7], "lenet5-regularized": [3.0, 3.2]}
    measured = {
        name: {
            "seconds_per_epoch": both,
            "process_memory_bytes": [700_000_000, 700_000_000],
            "device_memory_bytes": [None, None],
            "latency_seconds": [seconds * 1e-4 for seconds in both],
            "images_per_second": [1e5 / seconds for seconds in both],
            "on_processor": [1.0, 0.99],
        }
        for name, both in seconds.items()
    }
    conditions = {"device": "cpu: a processor", "training_images": 55_000, "side_by_side": 6, "batch": 250, "rounds": 2}
    return {"conditions": conditions, "variants": measured}


def sensitivity() -> dict:
    """Around lenet5: a rate that learns nothing, and so many images."""

    def point(setting: str | None, value: float | None, accuracy: float) -> dict:
        by_seed = {"0": accuracy - 0.001, "1": accuracy + 0.001}
        rest = {"validation_accuracy": by_seed, "training_accuracy": {"0": 0.99, "1": 0.99}}
        return {"setting": setting, "value": value, "parameters": 61_706, **rest}

    points = [point(None, None, 0.98), point("learning_rate", 0.01, 0.98), point("learning_rate", 0.1, 0.1)]
    points += [point("images", 1000, 0.95), point("images", 0, 0.98)]
    around = {"variant": "lenet5", "recipe": provenance.recipe(STUDY, "lenet5"), "data": "da7a"}
    images = {"training_images": 55_000, "validation_images": 5000}
    return {**around, **images, "device": "cpu: a processor", "torch": "2.15.0", "points": points}


Lost = dict[str, dict[int, int]]  # by variant: seeds that diverged, and the epoch


def written(folder: Path, seeds: tuple[int, ...], validation: bool = True, lost: Lost | None = None) -> results.Sources:
    """All that a report is made from."""
    sources = results.Sources(
        folder / "evaluations", folder / "journals", folder / "costs.json", folder / "sensitivity.json"
    )
    for name, rate in VARIANTS.items():
        write_evaluation(sources.evaluations / name, name, rate, seeds, validation, (lost or {}).get(name))
        write_journals(sources.journals / name, seeds)
    (sources.evaluations / "left-over").mkdir()  # of a variant that has left the study
    files.write_json(sources.costs, costs())
    files.write_json(sources.sensitivity, sensitivity())
    return sources


def collected(
    folder: Path, seeds: tuple[int, ...] = (0, 1, 2, 3, 4), validation: bool = True, lost: Lost | None = None
) -> model.Report:
    study = STUDY.model_copy(update={"seeds": seeds})
    sources = written(folder, seeds, validation, lost)
    found = {name: predictions.read(sources.evaluations / name / "predictions.npz") for name in study.study}
    outcomes = comparison.compare(study, found, results.diverged_seeds(sources.evaluations, study.study))
    return collect.collect(study, sources, outcomes, ANSWERS, ORIGIN)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> model.Report:
    return collected(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    write_report(found, path)
    return path


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page((folder / "report.html").read_text())


@pytest.fixture(scope="module")
def pictures(found) -> dict[str, Picture]:
    return draw_all(found)


def rendered(changed: model.Report, pictures: dict[str, Picture] | None = None) -> Page:
    """With these pictures, or newly drawn ones, which takes seconds."""
    return Page(render("report.html", changed, pictures or draw_all(changed)))


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
    links = list(dict.fromkeys(links))  # the text refers to some once more
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
    overall = ("comparisons", "seeds", "ablation", "hardest", "calibration", "pareto", "pareto", "sensitivity")
    assert len(pictures) == len(overall) + 4 * len(VARIANTS) + len(disputed(page))
    assert all(picture["role"] == "img" and len(picture["aria-label"]) > 20 for picture in pictures)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("caption") == tags.count("table")
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.elements if tag == "th")
    headings = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def disputed(page: Page) -> list[str]:
    return [label for label in page.having("aria-label") if label.startswith("Figure disputed-")]


def expected_comparisons(found: model.Report) -> list[list[str]]:
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
    assert page.tables["comparison-table"][1::2] == expected
    reasons = [row[0] for row in page.tables["comparison-table"][2::2]]
    assert reasons == [f"{o.reason[0].upper()}{o.reason[1:]}." for o in found.outcomes]
    assert [row for row in markdown_rows(folder) if row[-1] == "headline"] == expected


def test_the_seed_table_shows_every_value_and_what_follows_from_them(found, folder, page):
    head, *rows = page.tables["seed-table"]
    assert head[6:] == [f"seed {seed}" for seed in range(5)]
    for row, name, variant in zip(rows, VARIANTS, found.variants, strict=True):
        values = np.array([variant.accuracies[seed] for seed in range(5)])
        half = 2.776445 * values.std(ddof=1) / 5**0.5  # Student's quantile with 4 degrees of freedom
        assert row[:5] == [
            name,
            {"lenet5": "61,706", "mlp": "61,075", "lenet5-regularized": "61,750"}[name],
            f"{100 * values.mean():.2f}",
            f"{100 * (values.mean() - half):.2f} to {100 * (values.mean() + half):.2f}",
            f"{100 * values.std(ddof=1):.2f}",
        ]
        assert row[6:] == [f"{100 * value:.2f}" for value in values]
        assert row in markdown_rows(folder)


def test_the_page_opens_with_the_answers(found, folder, page):
    sentences = [headline.sentence(outcome, found) for outcome in found.outcomes]
    first, second = found.outcomes
    low, high = first.interval
    assert sentences[0] == (
        f"lenet5 is better than mlp by {100 * first.difference:.2f} percentage points of test accuracy"
        f" (95 % interval over seeds and images {100 * low:.2f} to {100 * high:.2f}; 5 seeds each; 400 test images)."
    )
    assert sentences[1].startswith("Whether lenet5-regularized differs from lenet5 stays open: the difference is ")
    for text in (page.text, (folder / "report.md").read_text().replace(INVISIBLE, " ")):
        assert 0 < text.index(sentences[0]) < text.index(sentences[1])
        assert all(outcome.reason[1:] in text for outcome in (first, second))


def test_only_the_first_family_makes_headlines(found):
    other = replace(found.outcomes[1], family="ablation")
    assert headline.headlines(replace(found, outcomes=[found.outcomes[0], other])) == found.outcomes[:1]


def test_a_worse_candidate_is_told_with_amounts_not_signs(found):
    outcome = replace(found.outcomes[0], difference=-0.005, interval=(-0.006, -0.004), verdict="worse")
    sentence = headline.sentence(outcome, found)
    assert sentence.startswith("lenet5 is worse than mlp by 0.50 percentage points")
    assert "over seeds and images 0.40 to 0.60;" in sentence


def test_equivalence_has_a_sentence(found):
    outcome = replace(found.outcomes[1], difference=-0.000001, verdict="equivalent")
    assert headline.sentence(outcome, found).startswith(
        "lenet5-regularized and lenet5 are equivalent: the difference is 0.00 percentage points"
    )


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (formatting.percent(0.98765), "98.77"),
        (formatting.percent(1.0), "100.00"),
        (formatting.points(0.01349), "+1.35"),
        (formatting.points(-0.1), "−10.00"),
        (formatting.points(0.1), "+10.00"),
        (formatting.points(-0.00001), "0.00"),
        (formatting.points(0.0), "0.00"),
        (formatting.span((0.9, 0.95)), "90.00 to 95.00"),
        (formatting.span(None), "–"),
        (formatting.points_span((-0.001, 0.002)), "−0.10 to +0.20"),
        (formatting.points_span(None), "–"),
        (formatting.p_value(1.0), "1.0"),
        (formatting.p_value(0.07), "0.070"),
        (formatting.p_value(0.0043290), "0.0043"),
        (formatting.p_value(0.00001), "< 0.0001"),
        (formatting.p_value(0.0001), "0.00010"),
        (formatting.whole(61706), "61,706"),
    ],
)
def test_numbers_are_rounded_for_the_eye(written, shown):
    assert written == shown


def test_the_json_is_not_rounded(found, folder):
    entries = json.loads((folder / "comparison.json").read_text())
    assert [entry["difference"] for entry in entries] == [outcome.difference for outcome in found.outcomes]
    assert entries[0]["interval"] == list(found.outcomes[0].interval)


def test_the_metrics_that_dvc_shows_are_those_of_the_evaluations(tmp_path):
    found = collected(tmp_path / "sources")
    write_report(found, tmp_path / "reports")
    for name in VARIANTS:
        copy = tmp_path / "reports" / "metrics" / f"{name}.json"
        assert copy.read_bytes() == (tmp_path / "sources" / "evaluations" / name / "metrics.json").read_bytes()


def test_the_mean_curves_are_means_over_seeds(found, folder):
    with (folder / "curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["variant"], row["epoch"]) for row in rows] == [(v, str(e)) for v in VARIANTS for e in (1, 2, 3)]
    finals = {row["variant"]: float(row["test_accuracy"]) for row in rows if row["epoch"] == "3"}
    assert finals == pytest.approx({variant.name: variant.mean for variant in found.variants})


def test_each_variant_has_one_colour_everywhere(found, folder):
    colours = [style.mark_of(variant.place).colour for variant in found.variants]
    assert len(set(colours)) == 3
    seeds = (folder / "figures" / "seeds.svg").read_text()
    for place, colour in enumerate(colours):
        assert colour in seeds.partition(f'id="seeds-seed-{place}-0"')[2].partition("</g>")[0]
        for kind in ("curves", "network"):
            drawn = (folder / "figures" / f"{kind}-{found.variants[place].name}.svg").read_text()
            assert [other for other in colours if f"var(--{other[1:]}, {other})" in drawn] == [colour]
    html = (folder / "report.html").read_text()
    assert [
        html.index(f'<span class="mark circle" style="--mark: var(--{colour[1:]}, {colour})">') for colour in colours
    ]


def test_every_seed_is_a_point(page):
    assert len([name for name in page.having("id") if name.startswith("seeds-seed-")]) == 5 * len(VARIANTS)


def test_layers_settings_and_origin_are_told(page):
    rows = [row for table in page.tables.values() for row in table]
    assert ["c1", "Conv2d", "6×28×28", "6 × (1 × 5 × 5 + 1)", "156", "117,600"] in rows
    assert ["together", "61,706", "416,520"] in rows
    assert ["training.epochs", "10"] in rows
    head, *different = page.tables["difference-table"]
    assert [row[head.index("regularization.dropout")] for row in different] == ["0.0", "0.0", "0.5"]
    for told in ("da7a", "7e57", "c0de", "c0ffee, with local changes", "3.11.7", "f1f1mlp3", "not for other data"):
        assert told in page.text


def test_what_is_hostile_is_escaped(found):
    name = '<script>alert("&")</script>'
    variants = [replace(found.variants[0], name=name), *found.variants[1:]]
    outcome = replace(found.outcomes[0], candidate=name, family=name, reason=name)
    hostile = rendered(replace(found, variants=variants, outcomes=[outcome]))
    assert "script" not in {tag for tag, _ in hostile.elements}
    assert hostile.tables["comparison-table"][1][0] == name
    labels = [attributes["aria-label"] for tag, attributes in hostile.elements if tag == "svg"]
    assert [name in label for label in labels].count(True) >= 7  # those of all variants, and its own


def test_the_same_records_give_the_same_files(found, folder, tmp_path):
    write_report(found, tmp_path)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((folder / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_one_seed_and_no_validation_data_make_a_report(tmp_path):
    alone = collected(tmp_path / "evaluations", seeds=(3,), validation=False)
    write_report(alone, tmp_path / "reports")
    page = Page((tmp_path / "reports" / "report.html").read_text())
    assert "one seed each, so no interval; 400 test images" in page.text
    assert [row[3:6] for row in page.tables["seed-table"][1:]] == [["–"] * 3] * 3
    assert not [name for name in page.having("id") if "validation" in name]
    assert [row[4:6] for row in page.tables["comparison-table"][1::2]] == [["–", "–"]] * 2


# Seeds that diverged: of the regularised network two of five, of the MLP all.


@pytest.fixture(scope="module")
def some_lost(tmp_path_factory) -> model.Report:
    lost = {"lenet5-regularized": {1: 1, 4: 3}, "mlp": dict.fromkeys(range(5), 1)}
    return collected(tmp_path_factory.mktemp("lost"), lost=lost)


@pytest.fixture(scope="module")
def lost_folder(some_lost, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lost-reports")
    write_report(some_lost, path)
    return path


@pytest.fixture(scope="module")
def lost_page(lost_folder) -> Page:
    return Page((lost_folder / "report.html").read_text())


SOME = "lenet5-regularized diverged: 2 of 5 seeds (1 in epoch 1, 4 in epoch 3)."
ALL = "mlp diverged: 5 of 5 seeds (0 in epoch 1, 1 in epoch 1, 2 in epoch 1, 3 in epoch 1, 4 in epoch 1)."


def test_page_and_markdown_tell_which_seeds_diverged(lost_folder, lost_page):
    for text in (lost_page.text, (lost_folder / "report.md").read_text().replace(INVISIBLE, " ")):
        assert SOME in text
        assert ALL in text
        assert "stays open, since all 5 seeds of mlp diverged: it has no result." in text
        assert "2 of 5 seeds of lenet5-regularized diverged (seeds 1 and 4): the other seeds alone" in text
        assert "nan" not in text.lower()
        assert "None" not in text


def test_a_seed_that_diverged_stands_in_the_table_as_such(some_lost, lost_folder, lost_page):
    head, *rows = lost_page.tables["seed-table"]
    assert head[6:] == [f"seed {seed}" for seed in range(5)]
    lenet5, mlp, regularized = rows
    assert mlp == ["mlp", "61,075", *["–"] * 4, *["diverged"] * 5]
    assert [cell == "diverged" for cell in regularized[6:]] == [False, True, False, False, True]
    accuracies = [100 * some_lost.variants[2].accuracies[seed] for seed in (0, 2, 3)]
    assert regularized[2] == f"{sum(accuracies) / 3:.2f}"
    assert "diverged" not in lenet5
    assert all(row in markdown_rows(lost_folder) for row in rows)
    assert lost_page.tables["comparison-table"][1][2:8] == ["inconclusive", "–", "–", "–", "1.0", "1.0"]
    assert lost_page.tables["calibration-table"][2] == ["mlp", *["–"] * 4]
    assert lost_page.tables["cost-table"][2][2] == "–"
    assert lost_page.tables["cost-table"][2][5].startswith("0.6")  # what it costs is measured all the same


def test_pictures_leave_out_what_has_no_result_and_mark_what_has_some(lost_folder, lost_page):
    names = {path.stem for path in (lost_folder / "figures").iterdir()}
    assert {"network-mlp", "curves-lenet5-regularized", "seeds", "calibration", "pareto-seconds_per_epoch"} <= names
    assert not {"curves-mlp", "confusion-mlp", "mistakes-mlp", "disputed-lenet5-mlp"} & names
    points = [name for name in lost_page.having("id") if name.startswith("seeds-seed-")]
    assert len(points) == 5 + 3
    for name in ("seeds", "pareto-seconds_per_epoch"):
        assert "lenet5-regularized (2 of 5 seeds diverged)" in (lost_folder / "figures" / f"{name}.svg").read_text()
    forest = (lost_folder / "figures" / "comparisons.svg").read_text()
    assert "lenet5-regularized − lenet5: inconclusive (of the seeds that finished)" in forest
    assert "mlp" not in forest
    assert lost_page.text.count("Left out: mlp, of which every seed diverged.") == 5
    assert lost_page.text.count("Nothing to show: every seed of mlp diverged.") == 3


def test_the_rest_of_the_report_is_there_whoever_diverged(page, lost_page):
    for attribute in ("aria-labelledby", "href"):
        links = [value for value in page.having(attribute) if not value.startswith("data:")]
        kept = [value for value in links if value[1:] in page.having("id") and "-" not in value]
        assert set(kept) <= set(lost_page.having(attribute))
    assert set(page.tables) == set(lost_page.tables)
    identities = lost_page.having("id")
    assert len(identities) == len(set(identities))


def test_who_diverged_is_on_no_front_and_its_effect_is_of_the_others(some_lost, lost_page):
    assert some_lost.fronts == {"seconds_per_epoch": ["lenet5"], "multiply_accumulates": ["lenet5"]}
    (effect,) = some_lost.effects
    assert effect.diverged == ["lenet5-regularized"]
    assert lost_page.tables["ablation-table"][1][-1] == "inconclusiveseeds of lenet5-regularized diverged"


def test_files_for_other_programs_are_json_whoever_diverged(lost_folder):
    for path in lost_folder.rglob("*.json"):
        assert not re.search(r"\b(NaN|Infinity)\b", path.read_text())
    metrics = files.read_json(lost_folder / "metrics" / "mlp.json")
    assert metrics == {"parameters": 61_075, "test_accuracy": None, "test_accuracy_sd": None, "test_loss": None}
    with (lost_folder / "curves.csv").open(newline="") as stream:
        assert [row["variant"] for row in csv.DictReader(stream)] == ["lenet5"] * 3 + ["lenet5-regularized"] * 3
    assert results.read_results(lost_folder)[0][0].difference is None


def test_a_report_of_which_every_training_diverged_says_so(tmp_path):
    found = collected(tmp_path / "sources", seeds=(0, 1), lost={name: {0: 1, 1: 2} for name in VARIANTS})
    write_report(found, tmp_path / "reports")
    page = Page((tmp_path / "reports" / "report.html").read_text())
    assert {path.stem for path in (tmp_path / "reports" / "figures").iterdir()} == {
        "sensitivity",
        *(f"network-{name}" for name in VARIANTS),
    }
    assert page.text.count("Nothing to show: every seed of ") == 3 * len(VARIANTS) + len(found.disputes)
    assert "Nothing to show: every training diverged." in page.text
    assert (tmp_path / "reports" / "curves.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("name", ["variant.json", "seeds.json", "metrics.json", "curves.csv", "mistakes.npz"])
def test_a_damaged_evaluation_is_named_with_what_helps(tmp_path, name):
    sources, study = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    path = sources.evaluations / "mlp" / name
    for content in (b"", b"{}", b"[]", b"{half", None):
        path.write_bytes(content) if content is not None else path.unlink()
        if (name, content) == ("seeds.json", b"{}"):
            continue  # that of a variant without results, which the files beside it contradict
        with pytest.raises(UserError, match=rf"mlp/{name}: cannot be read .*--single-item evaluate@mlp$"):
            collect.collect(study, sources, [], [], ORIGIN)


def test_files_of_different_evaluations_are_refused(tmp_path):
    sources, study = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    folder = sources.evaluations / "mlp"
    whole = (folder / "seeds.json").read_bytes()
    files.write_json(folder / "seeds.json", {})
    with pytest.raises(UserError, match=r"mlp: cannot be read \(its files do not tell of the same seeds\)"):
        collect.collect(study, sources, [], [], ORIGIN)
    (folder / "seeds.json").write_bytes(whole)
    lines = (folder / "curves.csv").read_text().splitlines(keepends=True)
    (folder / "curves.csv").write_text("".join(lines[: 1 + EPOCHS]))  # cut off where a seed ends
    with pytest.raises(UserError, match=r"mlp: cannot be read \(its files do not tell of the same seeds\)"):
        collect.collect(study, sources, [], [], ORIGIN)


@pytest.mark.parametrize("content", ["", "{}", '{"conditions": {}, "variants": {}}', "[]"])
def test_costs_that_lack_something_are_named(tmp_path, content):
    sources, study = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    sources.costs.write_text(content)
    with pytest.raises(UserError, match=r"costs.json: cannot be read .*--single-item cost$"):
        collect.collect(study, sources, [], [], ORIGIN)


def test_seeds_that_diverged_are_in_no_mean_of_the_sensitivity(tmp_path):
    """At a rate of 0.1 both; with 1,000 images one of the two, which leaves no interval."""
    sources, study = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    content = sensitivity()
    for at, lost in ((2, "01"), (3, "1")):
        for key in ("validation_accuracy", "training_accuracy"):
            content["points"][at][key] |= dict.fromkeys(lost)
    files.write_json(sources.sensitivity, content)
    found = collect.collect(study, sources, [], [], ORIGIN)
    rate, few = found.sensitivity.settings["learning_rate"][1], found.sensitivity.settings["images"][0]
    assert (rate.mean, rate.interval, rate.gap, rate.diverged) == (None, None, None, 2)
    assert (few.mean, few.interval, few.diverged) == (pytest.approx(0.949), None, 1)
    (picture,) = _sensitivity(found)
    assert "A cross stands where seeds diverged" in picture.caption
    page = rendered(found)
    rows = page.tables["sensitivity-table"][1:]
    assert rows[1] == ["learning rate", "0.1", "61,706", "–2 of 2 seeds diverged", "–", "–"]
    assert rows[2][3:5] == ["94.901 of 2 seeds diverged", "–"]


def test_statements_are_answered_in_a_table_and_counted(found, folder, page, pictures):
    expected = [[a.id, a.statement, a.verdict, a.found, a.reason] for a in ANSWERS]
    assert page.tables["claim-table"][1:] == expected
    assert "Of 3 statements in claims.yaml: 1 confirmed, 1 refuted, 1 undecided." in page.text
    assert json.loads((folder / "claims.json").read_text()) == [asdict(answer) for answer in ANSWERS]
    text = (folder / "report.md").read_text()
    assert "| S2.9 | It takes \\| longer | undecided | – | no time was measured |" in text
    without = rendered(replace(found, answers=[]), pictures)
    assert "claim-table" not in without.tables
    assert not [link for link in without.having("href") if link == "#statements"]


def test_the_doubt_is_divided_and_one_training_held_against_another(found, page):
    first, second = found.outcomes
    rows = {(row[0], row[1]): row[2:] for row in page.tables["doubt-table"][1:]}
    assert rows["lenet5", "mlp"][0] == f"{100 * first.share_seeds:.0f}"
    assert rows["lenet5", "mlp"][2:4] == ["100", f"{100 * first.superiority_interval[0]:.0f} to 100"]
    assert rows["lenet5", "mlp"][4] == f"{sum(pair.p < 0.05 for pair in first.mcnemar)} of 5"
    assert rows["lenet5-regularized", "lenet5"][1] == str(second.seeds_needed or "–")


def test_a_confound_stands_beside_the_verdict(found, pictures):
    confounded = replace(found.outcomes[0], confounds=["parameters 44,426 against 49,950, a factor of 1.12"])
    changed = replace(found, outcomes=[confounded])
    told = "Confounded, since they differ in parameters 44,426 against 49,950, a factor of 1.12."
    page = rendered(changed, pictures)
    assert told in page.text
    assert page.tables["comparison-table"][1][2] == "better, confounded"
    assert "test images). They also differ in parameters 44,426 against 49,950" in page.text
    assert told in render("report.md", changed, draw_all(changed))
    assert "Confounded" not in rendered(found, pictures).text


def test_an_evaluation_of_other_settings_or_data_is_refused_by_name(tmp_path):
    """DVC reruns a variant when its own block changes, and not when that of a variant it is matched to does."""
    sources, two = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    collect.collect(two, sources, [], [], ORIGIN)
    smaller = STUDY.variants["mlp"].model.model_copy(update={"hidden": (48,)})
    variants = {**STUDY.variants, "mlp": STUDY.variants["mlp"].model_copy(update={"model": smaller})}
    with pytest.raises(UserError, match=r"mlp: made from other settings .* --single-item train@mlp") as caught:
        collect.collect(two.model_copy(update={"variants": variants}), sources, [], [], ORIGIN)
    assert len(caught.value.problems) == 1
    record = files.read_json(sources.evaluations / "mlp" / "variant.json")
    record["test_data"] = "0the4"
    files.write_json(sources.evaluations / "mlp" / "variant.json", record)
    with pytest.raises(UserError, match="not all made from the same data"):
        collect.collect(two, sources, [], [], ORIGIN)


def test_without_comparisons_the_page_says_so(found, pictures):
    page = rendered(replace(found, outcomes=[]), pictures)
    assert "No comparison is declared in params.yaml." in page.text
    assert "comparison-table" not in page.tables


def test_a_variant_without_mistakes_has_no_picture_of_them(found):
    page = rendered(replace(found, variants=[replace(found.variants[0], mistakes=[]), *found.variants[1:]]))
    assert "No seed misreads any image." in page.text
    nobody = rendered(replace(found, hardest=[], disputes=[]))
    assert "No network misreads any image." in nobody.text
    assert "disagreements" not in nobody.having("id")


def test_the_front_holds_what_nothing_else_equals_or_beats(found):
    cheap = [
        replace(variant, multiply_accumulates=count) for variant, count in zip(found.variants, (3, 1, 2), strict=True)
    ]
    metrics = [{**variant.metrics, "test_accuracy": mean} for variant, mean in zip(cheap, (0.9, 0.8, 0.9), strict=True)]
    variants = [replace(variant, metrics=own) for variant, own in zip(cheap, metrics, strict=True)]
    assert collect._front(variants, "multiply_accumulates") == ["mlp", "lenet5-regularized"]
    assert found.fronts["seconds_per_epoch"][0] == "mlp"


def test_costs_are_means_with_intervals_over_rounds(found, folder, page, pictures):
    """Two rounds, 2.0 and 2.2: Student's quantile with one degree of freedom, 12.706, times 0.1."""
    cost = found.variants[0].cost["seconds_per_epoch"]
    assert cost.mean == pytest.approx(2.1)
    assert cost.interval == pytest.approx((2.1 - 1.2706, 2.1 + 1.2706), abs=1e-4)
    assert found.variants[0].cost["device_memory_bytes"] is None
    head, *rows = page.tables["cost-table"]
    assert "peak memory of the device, MB" not in head
    assert rows[0][:5] == ["lenet5", "1", f"{100 * found.variants[0].mean:.2f}", "61,706", "416,520"]
    assert rows[0][5] == "2.1" + "0.829 to 3.37"  # the interval below the figure
    assert [row for row in markdown_rows(folder) if "2.1 (0.829 to 3.37)" in row]
    assert "for at least 99.0 % of their time." in page.text
    busy = rendered(replace(found, undisturbed=0.7), pictures)
    assert "for at least 70.0 % of their time: the machine was busy" in busy.text.replace("\n", " ")


def test_compute_is_the_sum_of_the_journals(found, page):
    """3 variants, 5 seeds, 3 epochs of 0.25 s."""
    assert found.compute == model.Compute(15, 45, 11.25, ["cpu: a processor"])
    assert "15 trainings, 45 epochs over up to 55,000 images, 11.2 s of one processor core" in page.text


def test_an_ablation_holds_a_network_against_itself_without_regularisers(found, page, pictures):
    (effect,) = found.effects
    assert (effect.variant, effect.plain, effect.added) == (
        "lenet5-regularized",
        "lenet5",
        ["batch normalisation", "dropout 0.5"],
    )
    assert effect.difference == found.outcomes[1].difference
    assert effect.verdict == found.outcomes[1].verdict
    assert page.tables["ablation-table"][1][:3] == ["lenet5-regularized", "batch normalisation, dropout 0.5", "lenet5"]
    none = rendered(replace(found, effects=[]), pictures)
    assert "ablation" not in none.having("id")


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({}, []),
        ({"dropout": (0.0, 0.0)}, []),
        ({"dropout": (0.25, 0.0)}, ["dropout 0.25/0.0"]),
        ({"weight_decay": 0.01, "augmentation": "elastic"}, ["weight decay 0.01", "augmentation elastic"]),
        ({"label_smoothing": 0.1, "batch_norm": True}, ["batch normalisation", "label smoothing 0.1"]),
    ],
)
def test_regularisers_are_told_with_their_strength(rules, told):
    assert collect._added(STUDY.variants["lenet5"].regularization.model_copy(update=rules)) == told


def test_sensitivity_is_shown_with_its_intervals(page, folder):
    """Two seeds, 0.001 either way: the interval is 12.706 times 0.001."""
    rows = page.tables["sensitivity-table"][1:]
    assert rows[0] == ["learning rate", "0.01", "61,706", "98.00", "96.73 to 99.27", "+1.00"]
    assert [row[1] for row in rows] == ["0.01", "0.1", "1,000", "all 55,000"]
    assert all(row in markdown_rows(folder) for row in rows)
    assert (folder / "figures" / "sensitivity.svg").is_file()


@pytest.mark.parametrize("change", [{"data": "0the4"}, {"variant": "lenet6"}, {"recipe": {}}, None])
def test_sensitivity_of_other_data_or_settings_is_not_shown(tmp_path, pictures, change):
    sources, study = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    files.write_json(sources.sensitivity, {**sensitivity(), **change} if change else {})
    other = collect.collect(study, sources, [], [], ORIGIN)
    shown = {name: picture for name, picture in pictures.items() if name != "sensitivity"}
    assert _sensitivity(other) == []
    page = rendered(other, shown)
    assert "Not measured with these data and settings yet" in page.text
    assert "sensitivity-table" not in page.tables


def test_the_hardest_images_are_those_that_all_networks_misread(found, page):
    """Image 7, a 7, is read as an 8 by every seed of every variant; its file has the number 1007."""
    first = found.hardest[0]
    assert (first.number, first.label, first.predicted, first.misread, first.networks) == (1007, 7, 8, 15, 15)
    assert first.pixels[0, 0] == 7
    assert any("15 of 15 misread the first, a 7" in label for label in page.having("aria-label"))


def test_disputes_tell_the_votes_of_both_sides(found, page):
    dispute = found.disputes[0]
    assert (dispute.candidate, dispute.baseline, dispute.seeds) == ("lenet5", "mlp", (5, 5))
    assert dispute.for_candidate
    assert all(one.candidate > one.baseline for one in dispute.for_candidate)
    assert all(one.candidate < one.baseline for one in dispute.for_baseline)
    first = dispute.for_candidate[0]
    told = f"the first a {first.label}: {first.candidate} of 5, {first.baseline} of 5."
    assert any(told in label for label in page.having("aria-label"))


def test_code_in_a_reason_is_marked_and_what_is_hostile_stays_text():
    assert _code("a `make <b>` & c") == "a <code>make &lt;b&gt;</code> &amp; c"
    assert _code("an odd ` one <i>") == "an odd ` one &lt;i&gt;"


def test_what_was_written_is_read_again(found, folder, tmp_path):
    assert results.read_results(folder) == (found.outcomes, found.answers, found.origin)
    with pytest.raises(UserError, match=r"comparison.json: cannot be read .*--single-item compare"):
        results.read_results(tmp_path)


def test_a_missing_or_damaged_journal_is_named(tmp_path):
    sources, study = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    (sources.journals / "mlp" / "seed-1.jsonl").write_text("{half")
    with pytest.raises(UserError, match=r"mlp/seed-1.jsonl: cannot be read .*--single-item train@mlp"):
        collect.collect(study, sources, [], [], ORIGIN)


@pytest.mark.parametrize(("name", "remedy"), [("costs", "--single-item cost"), ("sensitivity", "make sensitivity")])
def test_a_missing_table_is_named_with_its_remedy(tmp_path, name, remedy):
    sources, study = written(tmp_path, (0, 1)), STUDY.model_copy(update={"seeds": (0, 1)})
    getattr(sources, name).unlink()
    with pytest.raises(UserError, match=rf"{name}.json: cannot be read .*{remedy}"):
        collect.collect(study, sources, [], [], ORIGIN)


def test_no_text_of_the_page_is_too_faint_to_read(folder):
    """WCAG AA: 4.5 to 1 between every colour of text and every ground, by day and by night."""
    style = (folder / "report.html").read_text().partition("<style>")[2].partition("</style>")[0]
    themes = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{3,6})", block)) for block in style.split("@media screen")[:2]]
    assert [theme["paper"] for theme in themes] == ["#fff", "#16191d"]
    for theme in themes:
        for name in ("text", "ink", "quiet", "better", "worse", "open"):
            for ground in ("paper", "shade"):
                assert contrast(to_rgb(theme[name]), to_rgb(theme[ground])) >= 4.5, (name, ground)


def test_every_id_of_the_page_is_a_word_that_a_link_can_name(page):
    assert all(re.fullmatch(r"[^\s\"'<>]+", name) for name in page.having("id"))
