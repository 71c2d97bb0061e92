"""The study of docs/study: the whole catalogue, run as a DVC experiment. Its tables are in git.

`make study` takes about two hours; finished trainings are not repeated. It changes params.yaml, dvc.lock and reports,
as every `dvc exp run --set-param` does: `git checkout params.yaml dvc.lock reports && dvc checkout` leads back.
`python -m benchmarks.study write` writes the pages again from the tables.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click
import numpy as np

from benchmarks import tuning, write
from lenetlab.errors import reporting_errors
from lenetlab.report.page import COST_COLUMNS
from lenetlab.settings import params, yaml_file
from lenetlab.statistics import intervals
from lenetlab.statistics.claims import answers
from lenetlab.statistics.claims.answers import Answer
from lenetlab.statistics.formatting import p_equals, p_value, percent, points, points_span, span, whole
from lenetlab.storage import files, paths

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "docs" / "study"
CHANGES = TABLES / "study.yaml"
EXAMPLE = ("lenet5-regularized", "lenet5")  # the worked example in docs/statistics.md
ABLATIONS = (  # no regularisation, batch normalisation, dropout, both
    ("lenet5", "lenet5-batch-norm", "lenet5-dropout", "lenet5-regularized"),
    ("lenet5-28", "lenet5-28-batch-norm", "lenet5-28-dropout", "lenet5-28-light-dropout"),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """The tables in docs/study."""

    accuracies: dict[str, dict[str, float]]  # by variant and seed
    comparisons: list[Row]
    claims: list[Answer]
    costs: Row


@click.group(help="Train the whole catalogue and keep its results.")
def commands() -> None:
    pass


@commands.command(help="Run the study as a DVC experiment and settle it, keep its tables and write the pages.")
def run() -> None:
    settings = [part for change in hydra_overrides(yaml_file.read_yaml(CHANGES)) for part in ("--set-param", change)]
    subprocess.run(["dvc", "exp", "run", *settings], cwd=ROOT, check=True)
    experiment = files.read_json(ROOT / paths.REPORTS / paths.ORIGIN)["experiment"]
    # In MLflow, seeds that are added belong to the same experiment.
    subprocess.run(["lenetlab", "settle"], cwd=ROOT, check=True, env={**os.environ, "DVC_EXP_NAME": experiment or ""})
    keep_tables(ROOT, TABLES)
    write_pages()
    click.echo("tables: docs/study; back: git checkout params.yaml dvc.lock reports && dvc checkout")


@commands.command(name="keep", help="Keep the tables of a study that was run in another folder, and write the pages.")
@click.argument("outputs", type=click.Path(exists=True, file_okay=False, path_type=Path))
def keep_from(outputs: Path) -> None:
    keep_tables(outputs, TABLES)
    write_pages()


@commands.command(name="write", help="Write docs/study/README.md and the example in docs/statistics.md again.")
def write_again() -> None:
    write_pages()


def write_pages() -> None:
    """docs/study/README.md and the example in docs/statistics.md, from the tables in git."""
    tables = read_tables(TABLES)
    files.write_text(TABLES / "README.md", page(tables))
    if EXAMPLE in {(row["candidate"], row["baseline"]) for row in tables.comparisons}:
        document = ROOT / "docs" / "statistics.md"
        files.write_text(
            document, write.replace_section(document.read_text(encoding="utf-8"), "example", example(tables))
        )


def hydra_overrides(content: Mapping[str, Any]) -> Iterator[str]:
    """The changes of docs/study/study.yaml to params.yaml, as arguments of `dvc exp run --set-param`."""
    yield f"claims={_hydra_value(content['claims'])}"
    for block in ("data", "settle", "cost"):
        yield from (f"{block}.{key}={_hydra_value(value)}" for key, value in content[block].items())
    yield f"study={_hydra_value(content['study'])}"
    yield from (f"++comparisons.{family}={_hydra_value(pairs)}" for family, pairs in content["comparisons"].items())


def keep_tables(outputs: Path, folder: Path) -> None:
    """Copy the small results: seeds.json of every variant, comparison.json, claims.json and costs.json."""
    for old in folder.glob("*.seeds.json"):
        old.unlink()
    for name in params.load(outputs / "params.yaml").study:
        shutil.copyfile(outputs / "evaluations" / name / "seeds.json", folder / f"{name}.seeds.json")
    for path in ("reports/comparison.json", "reports/claims.json", "costs.json"):
        shutil.copyfile(outputs / path, folder / Path(path).name)


def read_tables(folder: Path) -> Tables:
    """The tables in git, with the variants in the order of study.yaml."""
    return Tables(
        accuracies={
            name: {seed: row["test_accuracy"] for seed, row in files.read_json(folder / f"{name}.seeds.json").items()}
            for name in yaml_file.read_yaml(CHANGES)["study"]
        },
        comparisons=files.read_json(folder / "comparison.json"),
        claims=[Answer(**row) for row in files.read_json(folder / "claims.json")],
        costs=files.read_json(folder / "costs.json"),
    )


def page(tables: Tables) -> str:
    """docs/study/README.md."""
    counts = sorted({len(values) for values in tables.accuracies.values()})
    seeds = f"{counts[0]} to {counts[-1]}" if counts[1:] else f"{counts[0]}"
    return f"""\
# The study of the whole catalogue

{len(tables.accuracies)} variants of `params.yaml`, trained on all 60,000 training images with {seeds} seeds each
([study.yaml](study.yaml) has the changes to the default study). Results are those of the last epoch on the 10,000 test
images. `make study` repeats the study; this page is generated from the tables in this folder.
[statistics.md](../statistics.md) explains the columns.

## Variants

{_variants(tables)}

## Cost

{_costs(tables)}

## Comparisons

{_comparisons(tables.comparisons)}

Differences are in percentage points of test accuracy, with the 95 % interval over seeds and images. The p values of a
difference and of equivalence are corrected for all looks and for the family. What would help the open ones:

{_open(tables.comparisons)}

These comparisons are confounded, as the variants differ in more than network and regularisation:

{_confounds(tables.comparisons)}

## Which part of a regularisation helps

{_ablations(tables)}

Test accuracy in %, then the difference to the network with neither in percentage points, its interval over seeds and
images, and the verdict.

## Statements

{_statements(tables.claims)}

## How `lenet5-tuned` was found

{_tuning()}
"""


def example(tables: Tables) -> str:
    """The headline comparison, calculated step by step."""
    row = next(row for row in tables.comparisons if (row["candidate"], row["baseline"]) == EXAMPLE)
    seeds = row["seeds"]
    pair = [np.array(list(tables.accuracies[name].values())[:seeds]) for name in EXAMPLE]
    means, deviations = [accuracies.mean() for accuracies in pair], [accuracies.std(ddof=1) for accuracies in pair]
    from_seeds = sum(deviation**2 for deviation in deviations) / seeds
    from_images = from_seeds * (1 / row["share_seeds"] - 1)
    wins = int(sum(np.sign(a - b) + 1 for a in pair[0] for b in pair[1])) / 2
    low, high = (100 * limit for limit in row["superiority_interval"])
    significant = sum(test["p"] < intervals.LEVEL for test in row["mcnemar"])
    p = {key: p_value(value) for key, value in row.items() if key == "p" or key.startswith("p_")}
    looks = ", ".join(
        f"{look['seeds']} seeds p {p_equals(look['p'])} (level {p_value(look['level'])})" for look in row["looks"]
    )
    parts = " + ".join(f"{100 * deviation:.3f}² / {seeds}" for deviation in deviations)
    table = write.table(
        ("variant", *list(tables.accuracies[EXAMPLE[0]])[:seeds], "mean", "deviation"),
        (
            (name, *map(percent, accuracies), percent(accuracies.mean()), percent(accuracies.std(ddof=1)))
            for name, accuracies in zip(EXAMPLE, pair, strict=True)
        ),
    )
    return f"""\
## The headline comparison, step by step

`{EXAMPLE[0]}` against `{EXAMPLE[1]}` in the [study of the whole catalogue](study/README.md). Accuracies in % by seed:

{table}

1. **Difference:** {percent(means[0])} − {percent(means[1])} = {points(row["difference"])} points.
2. **Seeds:** the variance is {parts} = {1e4 * from_seeds:.5f} square points; its
   square root is {100 * from_seeds**0.5:.3f}. Welch's interval is
   {points_span(row["interval_seeds"])}, p = {p["p_welch"]}; the permutation test has p = {p["p_permutation"]}.
3. **Images** add {1e4 * from_images:.5f}, so seeds cause {100 * row["share_seeds"]:.0f} % of the variance. The square
   root of the sum is {100 * (from_seeds + from_images) ** 0.5:.3f}; the 95 % interval is
   {points_span(row["interval"])}, p = {p["p_seeds_and_images"]}.
4. **Looks:** the largest p of each is: {looks}.
   The sequential p value is {p["p_sequential"]} for a difference and {p["p_equivalence_sequential"]} for
   equivalence; with Holm's correction for the family {p["p_sequential_holm"]} and {p["p_equivalence_sequential_holm"]}.
5. **Verdict:** *{row["verdict"]}*: {row["reason"]}.
6. **One training against another:** a training of the candidate beats one of the baseline in {wins:g} of {seeds**2}
   pairs, {100 * row["superiority"]:.0f} % (interval {low:.0f} to {high:.0f} %). McNemar's test finds a difference
   between the two networks in {significant} of {len(row["mcnemar"])} pairs."""


def _variants(tables: Tables) -> str:
    def line(name: str, values: list[float]) -> tuple[str, ...]:
        parameters, interval = tables.costs["variants"][name]["parameters"], intervals.mean_interval(np.array(values))
        count = str(len(values))
        return name, whole(parameters), count, percent(fmean(values)), percent(stdev(values)), span(interval)

    heads = ("variant", "parameters", "seeds", "test accuracy, %", "deviation over seeds", "95 % interval of the mean")
    return write.table(heads, (line(name, list(values.values())) for name, values in tables.accuracies.items()))


def _costs(tables: Tables) -> str:
    """Means over the rounds with their intervals."""
    conditions, measured = tables.costs["conditions"], tables.costs["variants"]
    columns = {key: column for key, column in COST_COLUMNS.items() if None not in next(iter(measured.values()))[key]}

    def cell(values: list[float], number: Callable[[float], str]) -> str:
        low, high = intervals.mean_interval(np.array(values))
        return f"{number(fmean(values))} ({number(low)} to {number(high)})"

    lines = [
        (name, whole(row["multiply_accumulates"]), *(cell(row[key], number) for key, (_, number) in columns.items()))
        for name, row in measured.items()
    ]
    heads = ("variant", "multiply-accumulates", *(heading for heading, _ in columns.values()))
    images, together = whole(conditions["training_images"]), conditions["side_by_side"]
    return f"""\
{write.table(heads, lines)}

Measured one after the other in {conditions["rounds"]} rounds on {conditions["device"]} with one thread, with 95 %
intervals over the rounds. An epoch is one pass over {images} images by one of {together} seeds that one process trains
as a group; memory is that of this process; throughput is that of batches of {conditions["batch"]} images."""


def _comparisons(rows: Iterable[Row]) -> str:
    heads = ("family", "candidate", "baseline", "verdict", "seeds", "difference", "interval", "p", "p, equivalence")
    lines = [
        (
            *(row[key] for key in ("family", "candidate", "baseline")),
            f"**{row['verdict']}**",
            str(row["seeds"]),
            points(row["difference"]),
            points_span(row["interval"]),
            *(p_value(row[key]) for key in ("p_sequential_holm", "p_equivalence_sequential_holm")),
        )
        for row in rows
    ]
    return write.table(heads, lines, words=4)


def _open(rows: Iterable[Row]) -> str:
    lines = [f"- {row['candidate']} against {row['baseline']}: {row['reason']}" for row in rows if row["next_step"]]
    return "\n".join(lines) or "- none is open"


def _ablations(tables: Tables) -> str:
    by_pair = {(row["candidate"], row["baseline"]): row for row in tables.comparisons}

    def cell(name: str, base: str) -> str:
        mean = percent(fmean(tables.accuracies[name].values()))
        if name == base:
            return mean
        row = by_pair[name, base]
        return f"{mean}; {points(row['difference'])} ({points_span(row['interval'])}), {row['verdict']}"

    heads = ("network", "neither", "batch normalisation", "dropout", "both")
    compared = [names for names in ABLATIONS if all((name, names[0]) in by_pair for name in names[1:])]
    return write.table(heads, ((names[0], *(cell(name, names[0]) for name in names)) for names in compared))


def _confounds(rows: Iterable[Row]) -> str:
    return "\n".join(
        f"- {row['candidate']} against {row['baseline']}: {'; '.join(row['confounds'])}"
        for row in rows
        if row["confounds"]
    )


def _tuning() -> str:
    """The settings that were tried for the tuned variant, best first."""
    record = sorted(files.read_json(tuning.RECORD), key=lambda row: -fmean(row["accuracy"]))
    lines = []
    for row in record:
        settings = ", ".join(f"{key} {value}" for key, value in row["settings"].items())
        lines.append((settings, percent(fmean(row["accuracy"])), f"{fmean(row['loss']):.4f}"))
    return f"""\
`make bench-tuning` tried {len(record)} settings with {len(tuning.SEEDS)} seeds each on 5,000 validation images; the
test images were used once, for the study above. Unless a line says otherwise: LeNet-5 with batch normalisation (61,750
parameters), SGD, one-cycle schedule, ten epochs, elastic augmentation.

{write.table(("settings", "validation accuracy, %", "loss"), lines)}"""


def _statements(claims: Sequence[Answer]) -> str:
    """The totals, and a table per report after the line that says what kind of report it is."""
    parts = [f"{answers.totals(claims)}."]
    for report, group in groupby(claims, lambda claim: (claim.report, claim.report_note)):
        if report[0]:
            parts.append(f"**{report[0]}**: {report[1]}")
        parts.append(write.table(("id", "statement", "answer", "found", "reason"), map(_cells, group), words=5))
    return "\n\n".join(parts)


def _cells(claim: Answer) -> tuple[str, ...]:
    cells = claim.id, claim.statement, claim.verdict, claim.found, claim.reason
    return tuple(cell.replace("|", "\\|") for cell in cells)


def _hydra_value(value: Any) -> str:
    """A value in Hydra's grammar: JSON without quotation marks, which the names here do not need."""
    return json.dumps(value).replace('"', "").replace(" ", "")


if __name__ == "__main__":
    with reporting_errors():
        commands()
