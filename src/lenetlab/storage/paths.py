"""Paths of all inputs and outputs, relative to the repository. docs/design.md describes the files."""

import os
from pathlib import Path

PARAMS, CLAIMS = Path("params.yaml"), Path("claims.yaml")
RAW = Path("data/raw")  # archives of images, and how many of these were converted
PREPARED_TRAIN, PREPARED_TEST = Path("data/prepared/train"), Path("data/prepared/test")
SAMPLES = Path("data/prepared/samples.png")  # outside PREPARED_TRAIN, so that a new picture retrains nothing
RUNS, JOURNALS, EVALUATIONS = Path("runs"), Path("journals"), Path("evaluations")  # a folder per variant in each
COSTS, SENSITIVITY = Path("costs.json"), Path("docs/sensitivity.json")
REPORTS = Path("reports")
MODEL = Path("model")  # the recommended one
DVC_STAGES, DVC_LOCK, DVC_RWLOCK = Path("dvc.yaml"), Path("dvc.lock"), Path(".dvc/tmp/rwlock")

# File names in these folders.
CONVERSIONS, EXTRA_CONVERSIONS, PROFILE = "conversions.json", "extra-conversions.json", "profile.json"
RUN_RECORD, JOURNAL, CURVES = "run.json", "journal.jsonl", "curves.csv"
VARIANT_RECORD, METRICS, SEEDS = "variant.json", "metrics.json", "seeds.json"
PREDICTIONS, MISTAKES = "predictions.npz", "mistakes.npz"
COMPARISON, ANSWERS, ORIGIN = "comparison.json", "claims.json", "origin.json"
CONFUSION = "confusion.csv"
MODEL_RECORD, MODEL_WEIGHTS = "model.json", "weights.safetensors"
REPORT_PAGE, REPORT_TEXT = "report.html", "report.md"


def seed_name(seed: int | str) -> str:
    """Name of the folder of a seed in `runs/V`, and of its file in `journals/V` without the suffix."""
    return f"seed-{seed}"


def repository_root() -> Path:
    """Folder of the repository, even while DVC runs an experiment in a copy of it."""
    return Path(os.environ.get("DVC_ROOT", ".")).absolute()


def resume_folder() -> Path:
    """Progress of trainings, a folder per fingerprint. DVC does not know it, so it survives when DVC reruns a stage."""
    return repository_root() / ".lenetlab" / "resume"
