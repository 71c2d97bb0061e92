"""Outputs as runs: plain records of what a tracking page shall show, made from the files that the stages wrote.

Not shown: commit and device of `prepare`, since its files are a function of the data alone.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lenetlab.storage import paths, stage_outputs
from lenetlab.storage.digests import sha256_json

PARAMETERS = (  # on every variant, so that a comparison of an MLP with a LeNet-5 has no holes
    *("model", "parameters", "channels", "hidden", "pooling", "activation", "connections", "output"),
    *("size", "resize", "normalize"),
    *("batch_norm", "dropout", "weight_decay", "label_smoothing", "augmentation", "augmentation_strength"),
    *("images", "epochs", "batch_size", "optimizer", "learning_rate", "momentum", "schedule", "weight_averaging"),
)

CURVES = {  # MLflow's name -> the journal's; the pages sort by name, and the test figures should come first
    **{key: key for key in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")},
    **{f"train_{key}": key for key in ("seconds", "peak_memory_bytes")},
}

TESTED = ("test_loss", "test_accuracy")

VERDICTS = {  # as the candidate reads it, and as its baseline does
    "better": ("better than", "worse than"),
    "worse": ("worse than", "better than"),
    "equivalent": ("equivalent to", "equivalent to"),
    "inconclusive": ("inconclusive against", "inconclusive against"),
}


@dataclass
class RunContent:
    """What one MLflow run shall show. Times are Unix seconds."""

    name: str
    start: float
    end: float
    tags: dict[str, str]
    params: dict[str, str]
    status: str = "FINISHED"  # or RUNNING, FAILED, KILLED
    parent: str | None = None  # fingerprint of the run that this one stands below
    points: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)  # (metric, step) -> value, time
    artifacts: dict[str, Path] = field(default_factory=dict)  # place in MLflow -> file
    data: dict[str, tuple[str, str]] = field(default_factory=dict)  # purpose -> folder and digest of a data set

    @property
    def fingerprint(self) -> str:
        return self.tags["fingerprint"]


def prepare_runs(outputs: Path) -> list[RunContent]:
    """The run that shows the data set; none before there is one."""
    folders = {"training": paths.PREPARED_TRAIN, "test": paths.PREPARED_TEST}
    profiles = {
        use: json_if_present(outputs / folder / paths.PROFILE, "prepare", "digest", "splits", "duplicates")
        for use, folder in folders.items()
    }
    if None in profiles.values():
        return []
    digests = {use: profile["digest"] for use, profile in profiles.items()}
    splits = {name: split for profile in profiles.values() for name, split in profile["splits"].items()}
    written = (outputs / paths.PREPARED_TRAIN / paths.PROFILE).stat().st_mtime
    params = {f"{name}_images": split["images"] for name, split in splits.items()}
    params |= {key: splits["training"][key] for key in ("mean", "std")}
    params |= {f"duplicates_{where}": count for where, count in profiles["training"]["duplicates"].items()}
    counts = ", ".join(f"{split['images']} {name}" for name, split in splits.items())
    note = {"mlflow.note.content": f"Images: {counts}. What a model is shown of them: `samples.png` under *Artifacts*."}
    return [
        RunContent(
            name="prepare",
            start=written,
            end=written,
            tags=_tags("prepare", sha256_json(digests), digests["training"]) | note,
            params={key: str(value) for key, value in params.items()},
            artifacts={
                paths.SAMPLES.name: outputs / paths.SAMPLES,
                **{f"{one.name}/{paths.PROFILE}": outputs / one / paths.PROFILE for one in folders.values()},
            },
            data={use: (folder.as_posix(), digests[use]) for use, folder in folders.items()},
        )
    ]


def comparison_runs(outputs: Path) -> list[RunContent]:
    """One run for each set of results; a report that is only rendered anew stays with its run."""
    folder = outputs / paths.REPORTS
    entries = comparison_entries(folder)
    if entries is None:
        return []
    written = (folder / paths.COMPARISON).stat().st_mtime
    verdicts = Counter(entry["verdict"] for entry in entries)
    said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    with stage_outputs.reading(folder / paths.REPORT_TEXT, "compare"):
        note = (folder / paths.REPORT_TEXT).read_text(encoding="utf-8")
    if len(note) > 7900:  # MLflow cuts a tag at 8000 characters
        note = note[:7900].rpartition("\n")[0] + "\n\n*The rest is in `report.md`, under Artifacts.*"
    return [
        RunContent(
            name="comparison",
            start=written,
            end=written,
            tags={
                **_tags("compare", sha256_json(entries)),
                **_origin_tags(
                    stage_outputs.json_object(folder / paths.ORIGIN, "compare", "commit", "dirty", "experiment")
                ),
                "verdict": said,
                "mlflow.note.content": note,
            },
            params={"comparisons": str(len(entries)), **{verdict: str(verdicts[verdict]) for verdict in VERDICTS}},
            artifacts=files_below(folder),
        )
    ]


def comparison_entries(reports: Path) -> list[dict] | None:
    """Of comparison.json; None where nothing was compared yet."""
    path = reports / paths.COMPARISON
    if not path.exists():
        return None
    return stage_outputs.json_list(path, "compare", "candidate", "baseline", "difference", "verdict")


def _tags(stage: str, fingerprint: str, data: str = "") -> dict[str, str]:
    tags = {"stage": stage, "fingerprint": fingerprint, "data": data[:12]}
    tags |= {"mlflow.source.name": f"stages/{stage}.py", "mlflow.source.type": "LOCAL"}
    return {key: value for key, value in tags.items() if value}


def training_tags(start: dict) -> dict[str, str]:
    own = {"variant": start["variant"], "seed": str(start["seed"])}
    whole = {"identity": json.dumps(start["identity"]), "origin": json.dumps(start["provenance"])}  # for `reproduce`
    tags = _tags("train", start["fingerprint"], start["identity"]["data"])
    return tags | own | _origin_tags(start["provenance"]) | whole


def _origin_tags(origin: Mapping[str, Any]) -> dict[str, str]:
    """Where and from which code something was made, as far as it is known."""
    tags = {
        "commit": origin["commit"],
        "mlflow.source.git.commit": origin["commit"],
        "dirty": origin["dirty"],
        "device": origin.get("device"),
        "dvc_experiment": origin["experiment"],
    }
    return {key: _text(value) for key, value in tags.items() if value is not None}


def model_params(start: dict) -> dict[str, str]:
    """Few and flat; what a variant does not have is a dash."""
    definition = start["identity"]["definition"]
    model = {"model" if key == "name" else key: value for key, value in definition["model"].items()}
    found = definition["input"] | model | definition["regularization"] | start["identity"]["training"]
    found["parameters"] = start["parameters"]
    return dict.fromkeys(PARAMETERS, "–") | {key: _text(value) for key, value in found.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def files_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def json_if_present(path: Path, stage: str, *keys: str) -> Any:
    return stage_outputs.json_object(path, stage, *keys) if path.exists() else None
