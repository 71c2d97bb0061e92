"""Time lenetlab and other ways of training the same networks in turn: python -m benchmarks.run

Each measurement is a separate process. `make bench` runs it; docs/performance.md explains and shows the results.
"""

import datetime
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks import data, floor, write
from lenetlab.storage import files, provenance
from lenetlab.training import devices

HERE = Path(__file__).parent
ROOT = HERE.parent
LIGHTNING = HERE / ".venv-lightning"
IMAGES = {"train": 60_000, "test": 10_000}
SEEDS, EPOCHS = 6, 4


@dataclass(frozen=True)
class Case:
    """A command to time. Its last line of output is JSON with the seconds that count, except if `whole`: all count."""

    group: str  # epoch, floor, files, overhead or linearity
    name: str
    command: tuple[str, ...]
    variant: str | None = None
    amount: float | None = None  # to which the time should be proportional
    whole: bool = False


def cases(work: Path, images: int, lightning: Path | None, pipeline_is_done: bool) -> list[Case]:
    """All cases with this number of training images, in the order of a round."""
    return [
        *_epoch_cases(work, lightning),
        *_file_cases(work),
        *_start_up_cases(pipeline_is_done),
        *_scaling_cases(work, images),
    ]


def _epoch_cases(work: Path, lightning: Path | None) -> list[Case]:
    def peer(name: str, variant: str, script: str, *arguments: str, python: str = sys.executable) -> Case:
        return Case("epoch", name, (python, "-m", f"benchmarks.peers.{script}", *arguments), variant)

    cases, mnist = [], str(work / "torchvision")
    for variant in floor.VARIANTS:
        cases.append(Case("epoch", write.OURS, _ours_command(work, variant, SEEDS, EPOCHS), variant))
        cases.append(peer(f"{write.PNG}, 0 workers", variant, "png_loader", variant, "0", str(work / "loose")))
    cases.append(peer(f"{write.PNG}, 2 workers", "lenet5", "png_loader", "lenet5", "2", str(work / "loose")))
    cases.append(peer("torchvision's MNIST, 0 workers", "lenet5", "torchvision_mnist", mnist))
    cases.append(peer("pytorch/examples, 1 worker, pinned", "lenet5", "pytorch_examples", mnist))
    if lightning:
        cases.append(peer("Lightning Trainer, 0 workers", "lenet5", "lightning_trainer", mnist, python=str(lightning)))
    cases.append(peer(write.REFERENCE, "lenet5", "in_memory", mnist))
    cases.append(Case("floor", "sgemm", (sys.executable, "-m", "benchmarks.floor")))
    return cases


def _ours_command(work: Path, variant: str, seeds: int, epochs: int, part: int = 1) -> tuple[str, ...]:
    """With 1/`part` of the training images."""
    arguments = (variant, str(seeds), str(epochs), str(work / f"prepared-{part}"))
    return (sys.executable, "-m", "benchmarks.ours", *arguments)


def _file_cases(work: Path) -> list[Case]:
    def reading(name: str, what: str, folder: str) -> Case:
        return Case("files", name, (sys.executable, "-m", "benchmarks.reading", what, str(work / folder)))

    return [
        reading("fetch, from a folder with two archives", "fetch", "packed"),
        reading("fetch, from two folders of loose files", "fetch", "loose"),
        reading("prepare, PNG files as Pillow compresses them", "prepare", "packed"),
        reading("prepare, PNG files as fetch writes MNIST", "prepare", "stored"),
        reading("inflating Pillow's files in memory, nothing else", "inflate", "packed"),
    ]


def _start_up_cases(pipeline_is_done: bool) -> list[Case]:
    load = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='imported')"
    cases = [
        Case("overhead", f"imports of {script.name}", (sys.executable, "-c", load, str(script)), whole=True)
        for script in sorted((ROOT / "stages").glob("*.py"))
    ]
    if pipeline_is_done:
        cases.append(Case("overhead", "dvc repro with nothing to do", (_program("dvc"), "repro"), whole=True))
    return cases


def _scaling_cases(work: Path, images: int) -> list[Case]:
    def ours(name: str, amount: int, seeds: int, epochs: int, part: int = 1) -> Case:
        return Case("linearity", name, _ours_command(work, "lenet5", seeds, epochs, part), "lenet5", amount)

    return [
        *(ours("epochs", epochs, seeds=4, epochs=epochs) for epochs in (1, 2, 3)),
        *(ours("seeds", seeds, seeds=seeds, epochs=1) for seeds in (4, 8)),
        *(ours("training images", images // part, seeds=4, epochs=1, part=part) for part in reversed(data.FRACTIONS)),
    ]


def measure(case: Case) -> dict[str, Any]:
    """Seconds that count, seconds of the whole process, and seconds of its start-up."""
    began = time.monotonic()
    done = subprocess.run(case.command, cwd=ROOT, capture_output=True, text=True)
    process = time.monotonic() - began
    if done.returncode:
        raise click.ClickException(f"{' '.join(case.command)} failed:\n{done.stderr[-4000:]}")
    if case.whole:
        return {"seconds": process}
    found = json.loads(done.stdout.splitlines()[-1])
    start_up = found.pop("ready") - began
    return {**found, "process": process, "start_up": start_up}


def lightning_python(notes: list[str]) -> Path | None:
    """The interpreter of the environment for Lightning, which is made here. If that fails: None, and a note."""
    python = LIGHTNING / "bin" / "python"
    requirements = str(HERE / "requirements-lightning.txt")
    commands = [(_program("uv"), "pip", "install", "--quiet", "--python", str(python), "-r", requirements)]
    if not python.exists():
        commands.insert(0, (_program("uv"), "venv", "--quiet", "--python", sys.executable, str(LIGHTNING)))
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        notes.append(f"Lightning is left out: its environment could not be made ({error})")
        return None
    return python


def pipeline_is_done(notes: list[str]) -> bool:
    """Whether `dvc repro` has nothing to do. If not, it would train, and a note says that it is not timed."""
    status = subprocess.run((_program("dvc"), "status", "--json"), cwd=ROOT, capture_output=True, text=True)
    if status.returncode == 0 and json.loads(status.stdout) == {}:
        return True
    notes.append("`dvc repro` with nothing to do is left out: the pipeline was not up to date")
    return False


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def machine() -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": devices.describe(torch.device("cpu")).removeprefix("cpu: "),
        "cores": devices.cores(),
        **{key: value for key, value in provenance.origin().items() if key != "experiment"},
        **{package: version(package) for package in ("torchvision", "pillow")},
        "lightning": _pinned("lightning"),
    }


def _pinned(package: str) -> str:
    lines = (HERE / "requirements-lightning.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def _rows(selected: list[Case], measured: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"group": case.group, "variant": case.variant, "name": case.name, "amount": case.amount, "measurements": rounds}
        for case, rounds in zip(selected, measured, strict=True)
    ]


@click.command(help=__doc__.partition("\n")[0])
@click.option(
    "--repeats", type=click.IntRange(1), default=5, show_default=True, help="rounds; each times all cases once"
)
@click.option("--only", default="", help="only cases whose group, variant or name contains this; records nothing")
@click.option(
    "--quick", is_flag=True, help="a twentieth of the images, to check that everything works; records nothing"
)
def main(repeats: int, only: str, quick: bool) -> None:
    images = {name: count // (20 if quick else 1) for name, count in IMAGES.items()}
    recorded = not (quick or only)
    target = HERE / ("results.json" if recorded else "unrecorded.json")
    notes = (
        ["a quick run with a twentieth of the images, in which fixed costs weigh twenty times as much"] if quick else []
    )
    lightning, done = lightning_python(notes), pipeline_is_done(notes)
    with tempfile.TemporaryDirectory(prefix="lenetlab-bench-") as folder:
        work = Path(folder)
        all_cases = cases(work, images["train"], lightning, done)
        selected = [case for case in all_cases if only in f"{case.group} {case.variant or ''} {case.name}"]
        click.echo(f"writing {sum(images.values()):,} images in all forms", err=True)
        data.make(work, **images)
        head = {"machine": machine(), "images": images, "seeds": SEEDS, "epochs": EPOCHS, "notes": notes}
        measured: list[list[dict[str, Any]]] = [[] for _ in selected]
        for round_ in range(1, repeats + 1):
            for case, measurements in zip(selected, measured, strict=True):
                measurements.append(measure(case))
                amount = "" if case.amount is None else f" {case.amount:,}"
                name = " ".join(filter(None, (case.group, case.variant, case.name))) + amount
                click.echo(f"round {round_} of {repeats}, {name}: {measurements[-1]['seconds']:.2f} s", err=True)
            results = {**head, "repeats": round_, "cases": write.with_summaries(_rows(selected, measured))}
            files.write_json(target, results)  # after every round, so that a failure loses only its own round
    click.echo(write.result_tables(results))
    if recorded:
        write.update_document()


if __name__ == "__main__":
    main()
