"""The study of docs/study: the whole catalogue, as an experiment beside the default one, and its tables kept in git.

`make study` runs it, for about an hour; what was trained before is not trained again. It changes params.yaml as every
`dvc exp run --set-param` does: `git checkout params.yaml && make repro` brings the default study back, in seconds.
`python -m benchmarks.study write` writes the pages again from the tables.
"""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click
import numpy as np

from benchmarks import tuning, write
from lenetlab.errors import reporting_errors
from lenetlab.report.page import COST_COLUMNS
from lenetlab.settings import params, schema, yaml_file
from lenetlab.statistics import intervals
from lenetlab.statistics.formatting import p_value, percent, points, points_span, span, whole
from lenetlab.storage import files

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "docs" / "study"
CHANGES = TABLES / "study.yaml"
EXAMPLE = ("lenet5-regularized", "lenet5")  # worked through in docs/statistics.md
ABLATIONS = (  # neither, batch normalisation, dropout, both
    ("lenet5", "lenet5-batch-norm", "lenet5-dropout", "lenet5-regularized"),
    ("lenet5-28", "lenet5-28-batch-norm", "lenet5-28-dropout", "lenet5-28-light-dropout"),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """What is kept of the study; accuracies by variant and seed."""

    accuracies: dict[str, dict[str, float]]
    comparisons: list[Row]
    claims: list[Row]
    costs: Row


@click.group(help="Train the whole catalogue and keep what it says.")
def commands() -> None:
    pass


@commands.command(help="Run the study as a DVC experiment, keep its tables and write the pages.")
def run() -> None:
    settings = [part for change in changes(yaml_file.read_yaml(CHANGES)) for part in ("--set-param", change)]
    subprocess.run(["dvc", "exp", "run", *settings], cwd=ROOT, check=True)
    keep(ROOT, TABLES)
    pages()
    click.echo("tables: docs/study; back to the default study: git checkout params.yaml && make repro")


@commands.command(name="keep", help="Keep the tables of a study that was run in another folder, and write the pages.")
@click.argument("outputs", type=click.Path(exists=True, file_okay=False, path_type=Path))
def keep_from(outputs: Path) -> None:
    keep(outputs, TABLES)
    pages()


@commands.command(name="write", help="Write docs/study/README.md and the example in docs/statistics.md again.")
def write_again() -> None:
    pages()


def pages() -> None:
    """docs/study/README.md, and the example in docs/statistics.md, from the tables in git."""
    found = read(TABLES)
    files.write_text(TABLES / "README.md", page(found, params.load(ROOT / "params.yaml")))
    if EXAMPLE in {(row["candidate"], row["baseline"]) for row in found.comparisons}:
        document = ROOT / "docs" / "statistics.md"
        files.write_text(
            document, write.replace_section(document.read_text(encoding="utf-8"), "example", example(found))
        )


def changes(content: Mapping[str, Any]) -> Iterator[str]:
    """What docs/study/study.yaml changes in params.yaml, as `dvc exp run --set-param` takes it."""
    yield from (f"data.{key}={_flow(value)}" for key, value in content["data"].items())
    yield f"study={_flow(content['study'])}"
    yield from (f"++comparisons.{family}={_flow(pairs)}" for family, pairs in content["comparisons"].items())


def keep(outputs: Path, folder: Path) -> None:
    """Copy what is small and says everything: seeds.json of every variant, comparison, claims and costs.json."""
    for former in folder.glob("*.seeds.json"):
        former.unlink()
    for name in params.load(outputs / "params.yaml").study:
        shutil.copyfile(outputs / "evaluations" / name / "seeds.json", folder / f"{name}.seeds.json")
    for path in ("reports/comparison.json", "reports/claims.json", "costs.json"):
        shutil.copyfile(outputs / path, folder / Path(path).name)


def read(folder: Path) -> Tables:
    """The tables in git, variants in the order of the study."""
    return Tables(
        accuracies={
            name: {seed: row["test_accuracy"] for seed, row in files.read_json(folder / f"{name}.seeds.json").items()}
            for name in yaml_file.read_yaml(CHANGES)["study"]
        },
        comparisons=files.read_json(folder / "comparison.json"),
        claims=files.read_json(folder / "claims.json"),
        costs=files.read_json(folder / "costs.json"),
    )


def page(found: Tables, study: schema.Study) -> str:
    seeds, answers = len(next(iter(found.accuracies.values()))), Counter(claim["verdict"] for claim in found.claims)
    told = ", ".join(f"{answers[verdict]} {verdict}" for verdict in ("confirmed", "refuted", "undecided"))
    statements = write.table(("id", "statement", "answer", "found", "reason"), map(_cells, found.claims), words=5)
    return f"""\
# The study of the whole catalogue

Every variant of `params.yaml` on all 60,000 training images ([study.yaml](study.yaml) says what differs from the
default study), {seeds} seeds each, last epoch, on the 10,000 test images. `make study` makes it again; this page is
written from the tables beside it. What the columns mean: [statistics.md](../statistics.md).

## Variants

{_variants(found, study)}

## Cost

{_costs(found)}

## Comparisons

{_comparisons(found.comparisons)}

Differences in percentage points of test accuracy, with the 95 % interval over seeds and images; p values after Holm's
correction within the family. Confounded, since the sides differ in more than network and regularisation:

{_confounds(found.comparisons)}

## Which part of a regularisation helps

{_ablations(found)}

Test accuracy in %; and the difference to neither, in points, with its interval over seeds and images and its verdict.

## Statements

Of {len(found.claims)} statements that five reports make: {told}.

{statements}

## How `lenet5-tuned` was found

{_tries()}
"""


def example(found: Tables) -> str:
    """The headline comparison with its figures put into the formulas."""
    row = next(row for row in found.comparisons if (row["candidate"], row["baseline"]) == EXAMPLE)
    sides = [np.array(list(found.accuracies[name].values())) for name in EXAMPLE]
    means, deviations = [side.mean() for side in sides], [side.std(ddof=1) for side in sides]
    seeds = len(sides[0])
    from_seeds = sum(deviation**2 for deviation in deviations) / seeds
    from_images = from_seeds * (1 / row["share_seeds"] - 1)
    wins = int(sum(np.sign(a - b) + 1 for a in sides[0] for b in sides[1])) / 2
    low, high = (100 * limit for limit in row["superiority_interval"])
    differing = sum(pair["p"] < intervals.LEVEL for pair in row["mcnemar"])
    tests = {key: p_value(row[key]) for key in ("p_welch", "p_permutation", "p_welch_holm", "p_permutation_holm")}
    spans = {key: points_span(row[key]) for key in ("interval_seeds", "interval", "interval_equivalence")}
    parts = " + ".join(f"{100 * deviation:.3f}² / {seeds}" for deviation in deviations)
    table = write.table(
        ("variant", *found.accuracies[EXAMPLE[0]], "mean", "deviation"),
        (
            (name, *map(percent, side), percent(side.mean()), percent(side.std(ddof=1)))
            for name, side in zip(EXAMPLE, sides, strict=True)
        ),
    )
    return f"""\
## The headline comparison, worked through

`{EXAMPLE[0]}` against `{EXAMPLE[1]}` in the [study of the whole catalogue](study/README.md), accuracies in % by seed:

{table}

1. **Difference:** {percent(means[0])} − {percent(means[1])} = {points(row["difference"])} points.
2. **Seeds:** the variance is {parts} = {1e4 * from_seeds:.5f} square points, its
   root {100 * from_seeds**0.5:.3f}. Welch's interval is {spans["interval_seeds"]}, p = {tests["p_welch"]}; the
   permutation test has p = {tests["p_permutation"]}. After Holm's correction for a family of two:
   {tests["p_welch_holm"]} and {tests["p_permutation_holm"]}.
3. **Images** add {1e4 * from_images:.5f}, so {100 * row["share_seeds"]:.0f} % of the doubt is due to seeds. The root of
   both is {100 * (from_seeds + from_images) ** 0.5:.3f}, the interval {spans["interval"]}; at 90 % it is
   {spans["interval_equivalence"]}.
4. **Verdict:** *{row["verdict"]}*: {row["reason"]}.
5. **One training against another:** one of the candidate beats one of the baseline in {wins:g} of {seeds**2} pairs,
   {100 * row["superiority"]:.0f} % (interval {low:.0f} to {high:.0f} %). McNemar's test tells the two networks apart in
   {differing} of {len(row["mcnemar"])} pairs."""


def _variants(found: Tables, study: schema.Study) -> str:
    def line(name: str, values: list[float]) -> tuple[str, ...]:
        interval = intervals.mean_interval(np.array(values))
        return (
            name,
            whole(study.variants[name].parameters),
            percent(fmean(values)),
            percent(stdev(values)),
            span(interval),
        )

    heads = ("variant", "parameters", "test accuracy, %", "deviation over seeds", "95 % interval of the mean")
    return write.table(heads, (line(name, list(values.values())) for name, values in found.accuracies.items()))


def _costs(found: Tables) -> str:
    """Means over the rounds with their intervals."""
    conditions, measured = found.costs["conditions"], found.costs["variants"]
    columns = {key: column for key, column in COST_COLUMNS.items() if None not in next(iter(measured.values()))[key]}

    def cell(values: list[float], written: Callable[[float], str]) -> str:
        low, high = intervals.mean_interval(np.array(values))
        return f"{written(fmean(values))} ({written(low)} to {written(high)})"

    lines = [
        (name, whole(row["multiply_accumulates"]), *(cell(row[key], written) for key, (_, written) in columns.items()))
        for name, row in measured.items()
    ]
    heads = ("variant", "multiply-accumulates", *(heading for heading, _ in columns.values()))
    images, together = whole(conditions["training_images"]), conditions["side_by_side"]
    return f"""\
{write.table(heads, lines)}

Measured in turn, {conditions["rounds"]} rounds, on {conditions["device"]}, one thread, with 95 % intervals over
rounds. An epoch is one pass over {images} images by one of {together} seeds that are trained side by side in one
process; memory is that of this process; many images are {conditions["batch"]} at once."""


def _comparisons(rows: Iterable[Row]) -> str:
    heads = ("family", "candidate", "baseline", "verdict", "difference", "interval", "p, Welch", "p, permutation")
    lines = [
        (
            *(row[key] for key in ("family", "candidate", "baseline")),
            f"**{row['verdict']}**",
            points(row["difference"]),
            points_span(row["interval"]),
            *(p_value(row[key]) for key in ("p_welch_holm", "p_permutation_holm")),
        )
        for row in rows
    ]
    return write.table(heads, lines, words=4)


def _ablations(found: Tables) -> str:
    against = {(row["candidate"], row["baseline"]): row for row in found.comparisons}

    def cell(name: str, base: str) -> str:
        mean = percent(fmean(found.accuracies[name].values()))
        if name == base:
            return mean
        row = against[name, base]
        return f"{mean}; {points(row['difference'])} ({points_span(row['interval'])}), {row['verdict']}"

    heads = ("network", "neither", "batch normalisation", "dropout", "both")
    compared = [names for names in ABLATIONS if all((name, names[0]) in against for name in names[1:])]
    return write.table(heads, ((names[0], *(cell(name, names[0]) for name in names)) for names in compared))


def _confounds(rows: Iterable[Row]) -> str:
    return "\n".join(
        f"- {row['candidate']} against {row['baseline']}: {'; '.join(row['confounds'])}"
        for row in rows
        if row["confounds"]
    )


def _tries() -> str:
    """What was tried for the tuned variant, best first, and that no test image took part."""
    record = sorted(files.read_json(tuning.RECORD), key=lambda row: -fmean(row["accuracy"]))
    lines = []
    for row in record:
        settings = ", ".join(f"{key} {value}" for key, value in row["settings"].items())
        lines.append((settings, percent(fmean(row["accuracy"])), f"{fmean(row['loss']):.4f}"))
    return f"""\
{len(record)} settings were tried with `make bench-tuning`, {len(tuning.SEEDS)} seeds each, on 5,000 validation images;
the test images were read once, for the study above. What a line does not say: LeNet-5 with batch normalisation (61,750
parameters), SGD, one-cycle schedule, ten epochs, elastic augmentation.

{write.table(("settings", "validation accuracy, %", "loss"), lines)}"""


def _cells(claim: Row) -> tuple[str, ...]:
    return tuple(claim[key].replace("|", "\\|") for key in ("id", "statement", "verdict", "found", "reason"))


def _flow(value: Any) -> str:
    """Hydra's grammar: JSON without quotation marks, of which names here need none."""
    return json.dumps(value).replace('"', "").replace(" ", "")


if __name__ == "__main__":
    with reporting_errors():
        commands()
