"""The command line: lenetlab check, sensitivity, report, sync, reproduce, ui."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from lenetlab.errors import UserError, reporting_errors
from lenetlab.settings import claims, params
from lenetlab.storage import files, paths
from lenetlab.tracking import pages
from lenetlab.tracking import sync as publishing

MNIST_TEST = 10_000  # images


@click.group(
    help="Train LeNet-5 and its rivals, and say whether each difference is real. The pipeline itself is `dvc repro`."
)
def commands() -> None:
    pass


@commands.command(help="Check all of params.yaml and claims.yaml before anything runs, and tell what can be found.")
def check() -> None:
    study, problems = params.load(paths.PARAMS), []
    if not Path(study.data.source).exists():
        problems.append(
            f"{paths.PARAMS}: data.source: {study.data.source!r} does not exist; allowed: a .toml file or a folder"
        )
    try:
        claims.load(paths.CLAIMS, study)
    except UserError as error:
        problems += error.problems
    problems += _damaged_by_dvc()
    if problems:
        raise UserError(*problems)
    if study.device not in ("auto", "cpu"):
        from lenetlab.training import device  # imports torch, which takes seconds

        device.resolve(study.device)
    pairs = sum(map(len, study.comparisons.values()))
    click.echo(
        f"{paths.PARAMS} is right: {len(study.study)} variants, {len(study.seeds)} seeds each, {pairs} comparisons,"
        f" {study.training.epochs} epochs, device {study.device}"
    )
    for family, compared in study.comparisons.items():
        click.echo(_outlook(family, len(compared), len(study.seeds)))


@commands.command(help="Train one variant with one setting changed at a time, as `sensitivity` in params.yaml says.")
def sensitivity() -> None:
    study = params.load(paths.PARAMS)
    from lenetlab.evaluation import sensitivity  # imports torch

    files.write_json(paths.SENSITIVITY, sensitivity.measure(study, paths.PREPARED_TRAIN))
    click.echo(f"{paths.SENSITIVITY} is written; dvc repro puts it into the report")


@commands.command(help="Lay the report out again from the records on disk, in seconds; nothing is trained or compared.")
def report() -> None:
    study = params.load(paths.PARAMS)
    from lenetlab.report import collect, page, results  # imports SciPy and matplotlib

    outcomes, answers, origin = results.read_results(paths.REPORTS)
    found = collect.collect(study, results.SOURCES, outcomes, answers, origin)
    with files.writing_folder(paths.REPORTS) as outputs:
        page.write_report(found, outputs)
    click.echo(f"report: {paths.REPORTS / paths.REPORT_PAGE}")


@commands.command(help="Bring MLflow up to date with the outputs on disk; running it again changes nothing.")
def sync() -> None:
    study = params.load(paths.PARAMS)
    added = publishing.sync(study.study)
    click.echo(
        "MLflow is up to date: " + (", ".join(f"{count} {what}" for what, count in added.items()) or "nothing was new")
    )


@commands.command(
    help="Train a recorded run again from its record alone, and say whether the same came out. RUN is the id or the"
    " name of a seed's run in MLflow; --variant and --seed take the record on disk. Ends with status 1 if not."
)
@click.argument("run", required=False)
@click.option("--variant", help="such as lenet5")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1))
def reproduce(run: str | None, variant: str | None, seed: int | None) -> None:
    if (run is None) == (variant is None) or (variant is None) != (seed is None):
        raise UserError("reproduce: needs either RUN, or both --variant and --seed")
    study = params.load(paths.PARAMS)
    told = publishing.recorded(run) if run else None
    from lenetlab.training import reproduction  # imports torch

    if told:
        record = reproduction.Recorded(**told)
    else:
        name = paths.seed_name(seed)
        record = reproduction.read_record(paths.RUNS / variant / name, paths.JOURNALS / variant / f"{name}.jsonl")
    found = reproduction.reproduce(record, study, paths.PREPARED_TRAIN)
    click.echo(reproduction.summary(record, found))
    if found.outcome == "different":
        raise SystemExit(1)


@commands.command(help="Open the runs in MLflow's pages, for this machine only; prints the address of a prepared view.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(port: int) -> None:
    pages.ui(port)


def _damaged_by_dvc() -> Iterator[str]:
    """DVC writes these files in place; killed in that moment, it leaves one that it cannot read itself."""
    whole = {paths.DVC_LOCK: re.compile(r"schema:.*\n", re.DOTALL), paths.DVC_RWLOCK: re.compile(r"\{.*\}", re.DOTALL)}
    remedies = {
        paths.DVC_LOCK: f"git checkout {paths.DVC_LOCK}, or, if git has none, rm {paths.DVC_LOCK}",
        paths.DVC_RWLOCK: f"rm {paths.DVC_RWLOCK}",
    }
    for path, form in whole.items():
        if path.exists() and not form.fullmatch(path.read_text(encoding="utf-8", errors="replace")):
            yield (
                f"{path}: damaged, as DVC leaves it if it is killed while it writes; remedy: {remedies[path]}; then"
                " dvc repro, which takes up all that is finished"
            )


def _outlook(family: str, comparisons: int, seeds: int) -> str:
    """What a family of comparisons can tell, before anything is trained."""
    from lenetlab.statistics import intervals, power  # imports SciPy, which takes a second

    typical = power.TYPICAL
    least = power.detectable(typical, seeds, MNIST_TEST, comparisons)
    if least is None:
        return (
            f"comparisons.{family}: nothing can be found better or worse: {seeds} seeds each cannot reach p below"
            f" {intervals.LEVEL} among {comparisons} comparisons; needed: {power.least_seeds(comparisons)} seeds"
        )
    return (
        f"comparisons.{family}: a difference of {100 * least:.2f} percentage points is found with 80 % power, if"
        f" seeds and images spread as they do on MNIST ({100 * typical.seeds[0] ** 0.5:.2f} and"
        f" {100 * typical.images**0.5:.2f} points)"
    )


def main() -> None:
    with reporting_errors():
        try:
            commands(standalone_mode=False)
        except click.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            error.show()
            raise SystemExit(error.exit_code) from None
