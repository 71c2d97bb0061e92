"""What another processor changes: the same trainings with the instructions of AVX-512, with AVX2, with plain ones.

python -m benchmarks.rounding golden      renew tests/training/golden.json: exact losses of a short run, for the three
python -m benchmarks.rounding measure     train on the real digits with the first two; docs/reliability.md
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.write import replaced, table
from lenetlab.data import dataset
from lenetlab.settings import params
from lenetlab.storage import files, paths
from lenetlab.training import devices, execution, loop, run_files

ROOT = Path(__file__).parents[1]
GOLDEN, PAGE = ROOT / "tests" / "training" / "golden.json", ROOT / "docs" / "reliability.md"
PREPARED = ROOT / "data" / "prepared" / "train"
VARIANTS, SEEDS = ("lenet5", "mlp", "lenet5-regularized"), (0, 1)
INSTRUCTIONS = {  # for torch's own kernels, for oneDNN and for MKL, each of which chooses by itself
    "AVX512": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "plain": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}


def family() -> str:
    """The kind of processor, and of instructions, that this process computes with."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.replace("\t", "").split(":", 1) for line in told.split("\n\n")[0].splitlines())
    processor = " ".join(fields.get(key, "?").strip() for key in ("vendor_id", "cpu family", "model"))
    limits = {variable: os.environ.get(variable, "") for variable in INSTRUCTIONS["AVX2"]}
    limit = next(
        (name for name, asked in INSTRUCTIONS.items() if limits == {**dict.fromkeys(limits, ""), **asked}), "?"
    )
    return f"{processor} {torch.backends.cpu.get_cpu_capability()}{'' if limit == 'AVX512' else ', only ' + limit}"


def short_losses() -> dict[str, list[float]]:
    """By variant, training loss of four epochs on 256 images of noise, with all that training has to offer."""
    devices.make_deterministic()
    study, chance = params.load(ROOT / "params.yaml"), torch.Generator().manual_seed(1998)
    images = torch.rand(256, 1, 32, 32, generator=chance) * (torch.rand(256, 1, 32, 32, generator=chance) > 0.8)
    digits = dataset.Digits(images, torch.arange(256) % 10, black=0.0)
    found = {}
    for name in VARIANTS:
        definition = study.variants[name]
        if definition.regularization.batch_norm:
            rules = definition.regularization.model_copy(update={"augmentation": "affine", "label_smoothing": 0.1})
            definition = definition.model_copy(update={"regularization": rules})
        changes = {"epochs": 4, "batch_size": 16, "schedule": "one-cycle", "learning_rate": 0.05}
        settings = study.training.model_copy(update=changes)
        runs = [run_files.TrainingJob(definition, settings, seed, {}, {}) for seed in SEEDS]
        state = loop.initial_state(runs, torch.device("cpu"))
        epochs = [loop.train_epoch(runs[0], state, digits)[0] for _ in range(settings.epochs)]
        found[name] = torch.stack(epochs).flatten().tolist()
    return found


def accuracies() -> dict[str, list[list[float]]]:
    """By variant and seed, training accuracy of every epoch on the real digits, as the study trains them."""
    study = params.load(ROOT / "params.yaml").model_copy(update={"device": "cpu", "seeds": SEEDS})
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder
        for name in VARIANTS:
            plan = execution.plan_training(study, name, dataset.load(PREPARED))
            execution.train_unfinished([plan])
            events = [files.read_json_lines(plan.folders[seed] / paths.JOURNAL) for seed in SEEDS]
            found[name] = [[e["train_accuracy"] for e in journal if e["event"] == "epoch"] for journal in events]
    return found


def with_instructions(kind: str, function: str) -> Any:
    """What a function of this module returns in a process that computes with these instructions."""
    script = f"import json; from benchmarks import rounding as r; print(json.dumps([r.family(), r.{function}()]))"
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | INSTRUCTIONS[kind],
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(told.stdout.splitlines()[-1])


def apart(one: list[float], other: list[float]) -> float:
    """The largest difference in any epoch."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def measure() -> dict[str, Any]:
    """Per variant, the largest difference of training accuracy between two kinds of instructions, and two seeds."""
    usual, fewer = (with_instructions(kind, "accuracies")[1] for kind in ("AVX512", "AVX2"))
    return {
        "device": devices.describe(torch.device("cpu")),
        "by instructions": {name: max(map(apart, usual[name], fewer[name])) for name in VARIANTS},
        "by seed": {name: apart(*usual[name]) for name in VARIANTS},
    }


def document(found: dict[str, Any]) -> None:
    """The table in docs/reliability.md."""
    lines = [
        (name, *(f"{100 * found[kind][name]:.2f}" for kind in ("by instructions", "by seed"))) for name in VARIANTS
    ]
    heads = ("variant", "AVX2 instead of AVX-512, two seeds", "another seed")
    said = f"On {found['device'].removeprefix('cpu: ')}:\n\n{table(heads, lines)}"
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), "rounding", said), encoding="utf-8")


def main(asked: str) -> None:
    if asked == "golden":
        known = files.read_json(GOLDEN) if GOLDEN.exists() else {}
        files.write_json(GOLDEN, known | dict(with_instructions(kind, "short_losses") for kind in INSTRUCTIONS))
    else:
        document(measure())


if __name__ == "__main__":
    main(*sys.argv[1:])
