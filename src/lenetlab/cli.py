"""The command line."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from lenetlab.data import sources
from lenetlab.data.forms import packing
from lenetlab.errors import UserError, reporting_errors
from lenetlab.prediction import choice, trained
from lenetlab.settings import claims, params
from lenetlab.storage import code, files, installed, paths
from lenetlab.tracking import pages
from lenetlab.tracking import sync as publishing
from lenetlab.tracking.models import download


@click.group(help="Train LeNet-5 and other networks, and say whether each difference is real. `dvc repro` runs it all.")
@click.pass_context
def commands(context: click.Context) -> None:
    if context.invoked_subcommand == "init":
        return
    installed.require_recorded()
    package = installed.OWN_CODE
    if package.is_dir() and not package.samefile(code.PACKAGE):
        raise UserError(
            f"lenetlab: runs the code in {code.PACKAGE}, but this folder has its own in {package}; remedy: make setup,"
            " then source .venv/bin/activate"
        )


@commands.command(
    help="Make a project in FOLDER, outside the repository of lenetlab: params.yaml, dvc.yaml and all else that"
    " `dvc repro` needs. In a project, --update adopts the code of the installed lenetlab after it was upgraded."
)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--update", is_flag=True, help="update the project in the present folder")
def init(folder: Path | None, update: bool) -> None:
    if update == (folder is not None):
        raise UserError("init: needs either FOLDER, or --update in the folder of a project")
    from lenetlab.planning import new_project  # the settings of a project are checked, which takes time

    for line in new_project.create(folder) if folder else new_project.update():
        click.echo(line)


@commands.command(
    "import",
    help="Look at the images of a folder, archive or CSV file, say what is in it and what is odd, and propose settings"
    " for it. --write puts these into params.yaml, after which `make repro` does the rest.",
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--write", is_flag=True, help="change params.yaml")
def import_images(source: Path, write: bool) -> None:
    params.require_project(paths.PARAMS)
    from lenetlab.planning import adoption  # imports Pillow

    for line in adoption.adopt(source, write=write):
        click.echo(line)


@commands.command(help="Check params.yaml and the statements; print what the study can find and how long it takes.")
def check() -> None:
    study = params.load(paths.PARAMS)
    images = {"source": Path(study.data.source), "extra_test": Path(study.data.extra_test)}
    found = sources.find_problems(images["source"], images["extra_test"], packing.Target.of(study.data))
    problems = [f"{paths.PARAMS}: {problem}" for problem in found]
    try:
        claims.load(Path(study.claims), study)
    except UserError as error:
        problems += error.problems
    problems += _incomplete_dvc_files()
    if problems:
        raise UserError(*problems)
    if study.device not in ("auto", "cpu"):
        from lenetlab.training import devices  # imports torch, which takes seconds

        devices.resolve(study.device)
    for key, path in images.items():
        if not sources.is_copied_to_experiments(path):
            click.echo(
                f"data.{key}: neither git nor DVC holds {str(path)!r}, so dvc exp run --queue and --temp do not"
                f" find it; for these, set it to {str(path.resolve())!r}"
            )
    pairs = sum(map(len, study.comparisons.values()))
    counts = sorted({len(study.seeds_of(name)) for name in study.study})
    seeds = f"{counts[0]} to {counts[-1]} seeds" if counts[1:] else f"{counts[0]} seeds each"
    click.echo(
        f"{paths.PARAMS} is valid: {len(study.study)} variants, {seeds}, {pairs} comparisons,"
        f" {study.training.epochs} epochs, device {study.device}"
    )
    from lenetlab.planning import outlook  # imports SciPy, which takes a second

    for line in outlook.lines(study):
        click.echo(line)


@commands.command(
    help="Run dvc repro, and add seeds to the variants of open comparisons, until each comparison has a verdict or"
    " settle.most of params.yaml is reached. It may be stopped at any moment; the next call goes on."
)
def settle() -> None:
    params.load(paths.PARAMS)
    from lenetlab.planning import settle  # imports SciPy

    for line in settle.settle(settle.run_dvc):
        click.echo(line)


@commands.command(help="Train one variant with one setting changed at a time: `sensitivity` in params.yaml.")
def sensitivity() -> None:
    study = params.load(paths.PARAMS)
    from lenetlab.evaluation import sensitivity  # imports torch

    files.write_json(paths.SENSITIVITY, sensitivity.measure(study, paths.PREPARED_TRAIN))
    click.echo(f"wrote {paths.SENSITIVITY}; dvc repro adds it to the report")


@commands.command(help="Write the report again from the results on disk, in seconds; nothing is trained or compared.")
def report() -> None:
    study = params.load(paths.PARAMS)
    from lenetlab.report import collect, inputs, page, results  # imports SciPy and matplotlib

    outcomes, answers, origin = results.read_results(paths.REPORTS)
    content = collect.collect(study, inputs.PROJECT_OUTPUTS, outcomes, answers, origin)
    with files.writing_folder(paths.REPORTS) as outputs:
        page.write_report(content, outputs)
    click.echo(f"report: {paths.REPORTS / paths.REPORT_PAGE}")


@commands.command(
    help="Say what the trained networks see in images: files that Pillow opens, or folders of them. Images become what"
    " the training images are like; what that loses, or what looks wrong, is said. If an image is refused, the exit"
    " status is 1. Without --model, the variant answers that the comparisons recommend, otherwise the one with the"
    " highest mean test accuracy."
)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="a variant, champion, id or name of a run in MLflow, or a folder with model.json")
@click.option("--invert", is_flag=True, help="swap black and white first")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, with the probability of every class")
def predict(images: tuple[Path, ...], model: str | None, invert: bool, as_json: bool) -> None:
    with ExitStack() as temporary:
        chosen, why = _chosen_model(model, temporary)
        from lenetlab.prediction import ensemble, predict  # imports torch
        from lenetlab.prediction import images as image_files

        found = list(image_files.find(images))
        if not found:
            raise UserError(f"{', '.join(map(str, images))}: no files in it; needed: images")
        seeds = f"{len(chosen.seeds)} seed{'s' * (len(chosen.seeds) > 1)}"
        click.echo(f"model: {chosen.variant}, {seeds}: {why}", err=True)
        results = list(predict.predict(ensemble.Ensemble(chosen), found, invert))
    for result in results:
        for warning in result.warnings:
            click.echo(f"warning: {predict.shown(result.file)}: {warning}", err=True)
        if result.answer is None:
            click.echo(f"error: {predict.shown(result.file)}: {result.refused}", err=True)
        elif not as_json:
            click.echo(predict.text(result))
    if as_json:
        click.echo(predict.as_json(chosen, results))
    if any(result.answer is None for result in results):
        raise SystemExit(1)


def _chosen_model(name: str | None, temporary: ExitStack) -> tuple[trained.TrainedModel, str]:
    """The trained networks that the user names, and why these; a folder from MLflow is kept until `temporary` ends."""
    if name is not None and Path(name, trained.DESCRIPTION).is_file():
        return trained.of_folder(Path(name)), f"those of {name}"
    study = params.load(paths.PARAMS)
    here = Path.cwd()
    if name is None:
        variant, why = choice.default_variant(study, here)
        return trained.of_outputs(here, variant, study.seeds_of(variant)), why
    if name in study.variants:
        study.require(name)
        return trained.of_outputs(here, name, study.seeds_of(name)), "those of runs"
    if Path(name).is_dir():
        return trained.of_folder(Path(name)), ""
    folder = temporary.enter_context(TemporaryDirectory())
    return trained.of_folder(download.fetch(name, study.data.name, Path(folder))), f"MLflow's {name}"


@commands.command(
    help="Write the network of one seed as an ONNX file that takes raw images (uint8) and gives probabilities; its"
    " answers are compared with the network's first. Needs the packages of lenetlab[onnx]."
)
@click.argument("variant")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="default: the variant's first seed that finished")
@click.option("--output", type=click.Path(path_type=Path), help="default: VARIANT-seed-N.onnx")
def export(variant: str, seed: int | None, output: Path | None) -> None:
    study = params.load(paths.PARAMS)
    study.require(variant)
    model = trained.of_outputs(Path.cwd(), variant, study.seeds_of(variant))
    model = model.only(model.seeds[0] if seed is None else seed)
    from lenetlab.prediction import onnx_export  # imports torch

    path = output or Path(f"{variant}-{paths.seed_name(model.seeds[0])}.onnx")
    difference = onnx_export.export(model, path)
    click.echo(f"wrote {path}: its probabilities differ from the network's by {difference:.0e} at most")


@commands.command(help="Publish to MLflow all outputs on disk that it does not have yet.")
def sync() -> None:
    study = params.load(paths.PARAMS)
    added = publishing.sync(study.study, study.data.name)
    new = ", ".join(f"{count} {what}" for what, count in added.items() if count)
    click.echo(f"MLflow is up to date: {new or 'nothing was new'}")
    click.echo(pages.how_to_open())


@commands.command(
    help="Train recorded runs again and say whether the results are the same; if not, the exit status is 1. RUN is the"
    " id or the name of a seed's run in MLflow; --variant and --seed take the record on disk instead, and --all takes"
    " those of all variants and seeds of the study."
)
@click.argument("run", required=False)
@click.option("--variant", help="such as lenet5")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1))
@click.option("--all", "everything", is_flag=True, help="every run on disk")
def reproduce(run: str | None, variant: str | None, seed: int | None, everything: bool) -> None:
    ways = [run is not None, variant is not None, everything]
    if sum(ways) != 1 or (variant is None) != (seed is None):
        raise UserError("reproduce: needs either RUN, or both --variant and --seed, or --all")
    study = params.load(paths.PARAMS)
    recorded = [publishing.recorded(run)] if run is not None else []
    from lenetlab.training import reproduction  # imports torch

    records = [reproduction.TrainingRecord(**record) for record in recorded]
    if variant is not None and seed is not None:
        records = reproduction.read_records(paths.RUNS, paths.JOURNALS, [(variant, seed)])
    if everything:
        trainings = [(name, number) for name in study.study for number in study.seeds_of(name)]
        records = reproduction.read_records(paths.RUNS, paths.JOURNALS, trainings)
    results = reproduction.reproduce(records, study, paths.PREPARED_TRAIN)
    for record, result in zip(records, results, strict=True):
        click.echo(reproduction.summary(record, result))
    if everything:
        click.echo(reproduction.total(results))
    if any(result.outcome == "different" for result in results):
        raise SystemExit(1)


@commands.command(
    help="Check results that others hand in: each FOLDER is a project with its outputs. The files must be those of its"
    " dvc.lock, verdicts and report must follow from the predictions, these from the weights, and one training, run"
    " again here, must give the same weights. Prints a line per folder; the exit status is 1 if one is not verified."
    " It runs its own code, and of a folder only networks/."
)
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...", type=click.Path(path_type=Path))
@click.option("--variant", help="whose training is run again; one at random if missing")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="of that training; one at random if missing")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="a data/prepared of the same images, for folders without data",
)
@click.option("--no-training", is_flag=True, help="train nothing again")
def verify(
    folders: tuple[Path, ...], variant: str | None, seed: int | None, data: Path | None, no_training: bool
) -> None:
    from lenetlab.verification import folder
    from lenetlab.verification import verify as verification  # imports torch

    options = folder.Options(variant, seed, str(data.resolve()) if data else None, train=not no_training)
    all_verified = True
    for verdict in verification.verify(folders, options):
        click.echo(verdict)
        all_verified &= verdict.verified
    if not all_verified:
        raise SystemExit(1)


@commands.command(help="Show the runs in MLflow's pages, on this machine only; prints the address of a prepared view.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(port: int) -> None:
    params.require_project(paths.PARAMS)
    pages.ui(port)


def _incomplete_dvc_files() -> Iterator[str]:
    """DVC writes these files in place: if it is killed meanwhile, it leaves a file that it cannot read."""
    complete = {
        paths.DVC_LOCK: re.compile(r"schema:.*\n", re.DOTALL),
        paths.DVC_RWLOCK: re.compile(r"\{.*\}", re.DOTALL),
    }
    remedies = {
        paths.DVC_LOCK: f"git checkout {paths.DVC_LOCK}, or, if git does not have it, rm {paths.DVC_LOCK}",
        paths.DVC_RWLOCK: f"rm {paths.DVC_RWLOCK}",
    }
    for path, pattern in complete.items():
        if path.exists() and not pattern.fullmatch(path.read_text(encoding="utf-8", errors="replace")):
            yield (
                f"{path}: incomplete, as if DVC was killed while writing it; remedy: {remedies[path]}; then dvc repro,"
                " which uses everything that is finished"
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
