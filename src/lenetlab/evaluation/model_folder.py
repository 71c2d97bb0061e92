"""The folder `model/`: one trained network with all that it takes to use it."""

from pathlib import Path
from typing import Any

from lenetlab.settings import study_schema
from lenetlab.storage import files, manifests, paths, stage_outputs

RECORD_KEYS = "identity/definition", "identity/training", "normalization", "parameters", "fingerprints", "diverged"


def write(folder: Path, variant: str, reason: str, data: study_schema.DataSettings) -> None:
    """Write the network of the first finished seed of a variant after its last epoch, from `runs`.

    Without weights if every seed diverged. UserError if a file is missing or damaged.
    """
    evaluation, stage = paths.EVALUATIONS / variant, f"evaluate@{variant}"
    record = stage_outputs.read_json_object(evaluation / paths.VARIANT_RECORD, stage, *RECORD_KEYS)
    tested = stage_outputs.read_json_object(evaluation / paths.SEEDS, stage, "*/test_accuracy")
    metrics = stage_outputs.read_json_object(evaluation / paths.METRICS, stage, "test_accuracy")
    seeds = [seed for seed in record["fingerprints"] if seed not in record["diverged"]][:1]
    model: dict[str, Any] = {
        "variant": variant,
        "recommended": reason,
        "settings": record["identity"]["definition"],
        "training": record["identity"]["training"],
        "images": {"size": data.size, "channels": data.channels, "classes": list(data.classes)},
        "normalization": record["normalization"],
        "parameters": record["parameters"],
        "seeds": [int(seed) for seed in seeds],
        "fingerprint": record["fingerprints"][seeds[0]] if seeds else None,
        "test_accuracy": tested[seeds[0]]["test_accuracy"] if seeds else None,
        "mean_test_accuracy": metrics["test_accuracy"],
    }
    with files.writing_folder(folder) as new:
        files.write_json(new / paths.MODEL_RECORD, model)
        for seed in seeds:
            files.write_bytes(new / paths.MODEL_WEIGHTS, _last_weights(variant, seed))
        for name in record["identity"].get("own_code", ()):  # of a class of the user
            files.write_bytes(new / name, Path(name).read_bytes())


def _last_weights(variant: str, seed: str) -> bytes:
    run = paths.RUNS / variant / paths.seed_name(seed)
    with stage_outputs.reporting_damage(run, f"train@{variant}"):
        files_of_run: dict[str, str] = manifests.read_manifest(run / paths.RUN_RECORD)["files"]
        names = [name for name in files_of_run if name != paths.CURVES]
        return (run / max(names, key=lambda name: (len(name), name))).read_bytes()
