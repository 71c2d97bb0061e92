"""The command line: lenetlab check, sync, ui."""

from pathlib import Path

import click

from lenetlab import UserError, params, plain_errors, tracking

PARAMS = Path("params.yaml")


@click.group(
    help="Train LeNet-5 and its rivals, and say whether each difference is real. The pipeline itself is `dvc repro`."
)
def commands() -> None:
    pass


@commands.command(help="Check all of params.yaml, before anything runs; every error is listed.")
def check() -> None:
    study = params.load(PARAMS)
    if not Path(study.data.source).exists():
        raise UserError(
            f"{PARAMS}: data.source: {study.data.source!r} does not exist; allowed: a .toml file or a folder"
        )
    if study.device not in ("auto", "cpu"):
        from lenetlab import device  # imports torch, which takes seconds

        device.resolve(study.device)
    pairs = sum(map(len, study.comparisons.values()))
    click.echo(
        f"{PARAMS} is right: {len(study.study)} variants, {len(study.seeds)} seeds each, {pairs} comparisons,"
        f" {study.training.epochs} epochs, device {study.device}"
    )


@commands.command(help="Bring MLflow up to date with the outputs on disk; running it again changes nothing.")
def sync() -> None:
    study = params.load(PARAMS)
    added = tracking.sync(study.study)
    click.echo(
        "MLflow is up to date: " + (", ".join(f"{count} {what}" for what, count in added.items()) or "nothing was new")
    )


@commands.command(help="Open the runs in MLflow's pages, for this machine only; prints the address of a prepared view.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(port: int) -> None:
    tracking.ui(port)


def main() -> None:
    with plain_errors():
        commands(standalone_mode=True)
