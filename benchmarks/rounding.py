"""How much results differ on another processor: the same trainings with AVX-512, AVX2 and older instructions.

python -m benchmarks.rounding golden      renew tests/training/golden.json, the exact losses of a short run with each
python -m benchmarks.rounding measure     train on MNIST with AVX-512 and AVX2; writes the table in docs/reliability.md
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import write
from lenetlab.data import dataset
from lenetlab.settings import params, schema
from lenetlab.storage import files, paths
from lenetlab.training import devices, execution, loop, run_files

ROOT = Path(__file__).parents[1]
GOLDEN, PAGE = ROOT / "tests" / "training" / "golden.json", ROOT / "docs" / "reliability.md"
PREPARED = ROOT / "data" / "prepared" / "train"
VARIANTS, SEEDS = ("lenet5", "mlp", "lenet5-regularized"), (0, 1)
INSTRUCTIONS = {  # limits for torch's kernels, oneDNN and MKL, each of which chooses its instructions itself
    "AVX512": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "plain": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}


def processor_family() -> str:
    """Vendor, family and model of the processor, and the instructions that this process uses."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.replace("\t", "").split(":", 1) for line in cpuinfo.split("\n\n")[0].splitlines())
    processor = " ".join(fields.get(key, "?").strip() for key in ("vendor_id", "cpu family", "model"))
    limits = {variable: os.environ.get(variable, "") for variable in INSTRUCTIONS["AVX2"]}
    limit = next(
        (name for name, values in INSTRUCTIONS.items() if limits == {**dict.fromkeys(limits, ""), **values}), "?"
    )
    return f"{processor} {torch.backends.cpu.get_cpu_capability()}{'' if limit == 'AVX512' else ', only ' + limit}"


def short_losses() -> dict[str, list[float]]:
    """By variant, training losses of four epochs on 256 images of noise, with most features of training in use."""
    devices.make_deterministic()
    study, generator = params.load(ROOT / "params.yaml"), torch.Generator().manual_seed(1998)
    images = torch.rand(256, 1, 32, 32, generator=generator) * (torch.rand(256, 1, 32, 32, generator=generator) > 0.8)
    examples = dataset.Examples(images, torch.arange(256) % 10, black=0.0)
    losses = {}
    for name in VARIANTS:
        definition = study.variants[name]
        if definition.regularization.batch_norm:
            rules = definition.regularization.model_copy(update={"augmentation": "affine", "label_smoothing": 0.1})
            definition = definition.model_copy(update={"regularization": rules})
        settings = schema.Training(
            images=0,
            epochs=4,
            batch_size=16,
            optimizer="sgd",
            learning_rate=0.05,
            momentum=0.9,
            schedule="one-cycle",
            weight_averaging=0.0,
        )
        runs = [run_files.TrainingJob(definition, settings, seed, {}, {}) for seed in SEEDS]
        state = loop.initial_state(runs, torch.device("cpu"))
        epochs = [loop.train_epoch(runs[0], state, examples)[0] for _ in range(settings.epochs)]
        losses[name] = torch.stack(epochs).flatten().tolist()
    return losses


def accuracies() -> dict[str, list[list[float]]]:
    """By variant and seed, training accuracy of every epoch on MNIST, with the settings of params.yaml."""
    study = params.load(ROOT / "params.yaml").model_copy(update={"device": "cpu", "seeds": SEEDS})
    accuracies_of = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder
        for name in VARIANTS:
            plan = execution.plan_training(study, name, dataset.load(PREPARED))
            execution.train_unfinished([plan])
            journals = [files.read_json_lines(plan.folders[seed] / paths.JOURNAL) for seed in SEEDS]
            accuracies_of[name] = [
                [event["train_accuracy"] for event in journal if event["event"] == "epoch"] for journal in journals
            ]
    return accuracies_of


def call_with_instructions(kind: str, function: str) -> Any:
    """The processor family and the result of a function of this module, in a process limited to these instructions."""
    script = (
        f"import json; from benchmarks import rounding as r; print(json.dumps([r.processor_family(), r.{function}()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | INSTRUCTIONS[kind],
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout.splitlines()[-1])


def largest_difference(first: list[float], second: list[float]) -> float:
    """The largest difference in any epoch."""
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def measure() -> dict[str, Any]:
    """By variant, the largest difference of training accuracy between kinds of instructions and between seeds."""
    avx512, avx2 = (call_with_instructions(kind, "accuracies")[1] for kind in ("AVX512", "AVX2"))
    return {
        "device": devices.describe(torch.device("cpu")),
        "by instructions": {name: max(map(largest_difference, avx512[name], avx2[name])) for name in VARIANTS},
        "by seed": {name: largest_difference(*avx512[name]) for name in VARIANTS},
    }


def update_document(differences: dict[str, Any]) -> None:
    """Write the table of docs/reliability.md."""
    lines = [
        (name, *(f"{100 * differences[kind][name]:.2f}" for kind in ("by instructions", "by seed")))
        for name in VARIANTS
    ]
    heads = ("variant", "AVX2 instead of AVX-512, two seeds", "another seed")
    content = f"On {differences['device'].removeprefix('cpu: ')}:\n\n{write.table(heads, lines)}"
    files.write_text(PAGE, write.replace_section(PAGE.read_text(encoding="utf-8"), "rounding", content))


def main(command: str) -> None:
    if command == "golden":
        known = files.read_json(GOLDEN) if GOLDEN.exists() else {}
        files.write_json(GOLDEN, known | dict(call_with_instructions(kind, "short_losses") for kind in INSTRUCTIONS))
    else:
        update_document(measure())


if __name__ == "__main__":
    main(*sys.argv[1:])
