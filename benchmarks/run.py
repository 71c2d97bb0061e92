"""Measures lenetlab beside other ways of training the same networks, all of them in turn: python -m benchmarks.run

Each measurement is a process of its own. `make bench` runs it; docs/performance.md says how to read what comes out.
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
    """A command to be timed; unless `whole`, its last line of output tells how long the part took that counts."""

    group: str  # epoch, floor, files, overhead or linearity
    name: str
    command: tuple[str, ...]
    variant: str | None = None
    amount: float | None = None  # of what time should grow with
    whole: bool = False


def cases(work: Path, images: int, lightning: Path | None, pipeline_is_done: bool) -> list[Case]:
    """All that is measured with so many training images, in the order of a round."""
    return [*_epochs(work, lightning), *_files(work), *_overheads(pipeline_is_done), *_linearity(work, images)]


def _epochs(work: Path, lightning: Path | None) -> list[Case]:
    def peer(name: str, variant: str, script: str, *words: str, python: str = sys.executable) -> Case:
        return Case("epoch", name, (python, "-m", f"benchmarks.peers.{script}", *words), variant)

    found, own = [], str(work / "torchvision")
    for variant in floor.VARIANTS:
        found.append(Case("epoch", write.OURS, _ours(work, variant, SEEDS, EPOCHS), variant))
        found.append(peer(f"{write.PNG}, 0 workers", variant, "png_loader", variant, "0", str(work / "loose")))
    found.append(peer(f"{write.PNG}, 2 workers", "lenet5", "png_loader", "lenet5", "2", str(work / "loose")))
    found.append(peer("torchvision's MNIST, 0 workers", "lenet5", "torchvision_mnist", own))
    found.append(peer("pytorch/examples, 1 worker, pinned", "lenet5", "pytorch_examples", own))
    if lightning:
        found.append(peer("Lightning Trainer, 0 workers", "lenet5", "lightning_trainer", own, python=str(lightning)))
    found.append(peer(write.REFERENCE, "lenet5", "in_memory", own))
    found.append(Case("floor", "sgemm", (sys.executable, "-m", "benchmarks.floor")))
    return found


def _ours(work: Path, variant: str, seeds: int, epochs: int, part: int = 1) -> tuple[str, ...]:
    words = (variant, str(seeds), str(epochs), str(work / f"prepared-{part}"))
    return (sys.executable, "-m", "benchmarks.ours", *words)


def _files(work: Path) -> list[Case]:
    def reading(name: str, what: str, folder: str) -> Case:
        return Case("files", name, (sys.executable, "-m", "benchmarks.reading", what, str(work / folder)))

    return [
        reading("fetch, from a folder with two archives", "fetch", "packed"),
        reading("fetch, from two folders of loose files", "fetch", "loose"),
        reading("prepare, PNG files as Pillow compresses them", "prepare", "packed"),
        reading("prepare, PNG files as fetch writes MNIST", "prepare", "stored"),
        reading("inflating Pillow's files in memory, nothing else", "inflate", "packed"),
    ]


def _overheads(pipeline_is_done: bool) -> list[Case]:
    load = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='imported')"
    found = [
        Case("overhead", f"imports of {script.name}", (sys.executable, "-c", load, str(script)), whole=True)
        for script in sorted((ROOT / "stages").glob("*.py"))
    ]
    if pipeline_is_done:
        found.append(Case("overhead", "dvc repro with nothing to do", (_program("dvc"), "repro"), whole=True))
    return found


def _linearity(work: Path, images: int) -> list[Case]:
    def ours(name: str, amount: int, seeds: int, epochs: int, part: int = 1) -> Case:
        return Case("linearity", name, _ours(work, "lenet5", seeds, epochs, part), "lenet5", amount)

    return [
        *(ours("epochs", epochs, seeds=4, epochs=epochs) for epochs in (1, 2, 3)),
        *(ours("seeds", seeds, seeds=seeds, epochs=1) for seeds in (4, 8)),
        *(ours("training images", images // part, seeds=4, epochs=1, part=part) for part in reversed(data.FRACTIONS)),
    ]


def measure(case: Case) -> dict[str, Any]:
    """Seconds of what counts, of the whole process, and of its start until then."""
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
    """The interpreter of Lightning's environment, which is made here; a note and None if it cannot be."""
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
    """Whether `dvc repro` has nothing to do here; otherwise it would train, and a note says that it was not timed."""
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


def _rows(chosen: list[Case], measured: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {"group": case.group, "variant": case.variant, "name": case.name, "amount": case.amount, "measurements": found}
        for case, found in zip(chosen, measured, strict=True)
    ]


@click.command(help=__doc__.partition("\n")[0])
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="rounds through all cases")
@click.option("--only", default="", help="cases whose group, variant or name contains this; nothing is recorded")
@click.option("--quick", is_flag=True, help="a twentieth of the images, to see that all works; nothing is recorded")
def main(repeats: int, only: str, quick: bool) -> None:
    images = {name: count // (20 if quick else 1) for name, count in IMAGES.items()}
    recorded = not (quick or only)
    target = HERE / ("results.json" if recorded else "unrecorded.json")
    notes = ["a quick run: a twentieth of the images, so fixed costs weigh twenty times as much"] if quick else []
    lightning, done = lightning_python(notes), pipeline_is_done(notes)
    with tempfile.TemporaryDirectory(prefix="lenetlab-bench-") as folder:
        work = Path(folder)
        every = cases(work, images["train"], lightning, done)
        chosen = [case for case in every if only in f"{case.group} {case.variant or ''} {case.name}"]
        click.echo(f"making {sum(images.values()):,} digits in all forms", err=True)
        data.make(work, **images)
        head = {"machine": machine(), "images": images, "seeds": SEEDS, "epochs": EPOCHS, "notes": notes}
        measured: list[list[dict[str, Any]]] = [[] for _ in chosen]
        for round_ in range(1, repeats + 1):
            for case, found in zip(chosen, measured, strict=True):
                found.append(measure(case))
                amount = "" if case.amount is None else f" {case.amount:,}"
                words = " ".join(filter(None, (case.group, case.variant, case.name))) + amount
                click.echo(f"round {round_} of {repeats}, {words}: {found[-1]['seconds']:.2f} s", err=True)
            results = {**head, "repeats": round_, "cases": write.summarised(_rows(chosen, measured))}
            files.write_json(target, results)  # after every round, so that one that fails loses no other
    click.echo(write.tables(results))
    if recorded:
        write.document()


if __name__ == "__main__":
    main()
