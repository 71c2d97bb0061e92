"""What MLflow shows, as plain records made from files: the runs `prepare` and `comparison`, and what all runs share.

The runs of variants and seeds are in `variant_content`. `store` sends these records to MLflow.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lenetlab.settings import messages
from lenetlab.storage import paths, stage_outputs
from lenetlab.storage.digests import sha256_json
from lenetlab.tracking import user_changes

RunKey = tuple[str, str | None]  # what a run is known by: its fingerprint and its DVC experiment
Event = dict[str, Any]  # a line of a journal: a start, an epoch or an end

PARAMS = (  # every variant has all of them, so that MLflow compares an MLP with a LeNet-5 without gaps
    *("model", "parameters", "channels", "hidden", "pooling", "activation", "connections", "output"),
    *("size", "resize", "normalize"),
    *("batch_norm", "dropout", "weight_decay", "label_smoothing", "augmentation", "augmentation_strength"),
    *("images", "epochs", "batch_size", "optimizer", "learning_rate", "momentum", "schedule", "weight_averaging"),
    "keep_weights",
)

PROFILE_KEYS = ("digest", "splits", "duplicates", "conversions", "size", "channels", "classes")

NAMED_CLASSES = 50  # the most that a note names

MAX_NOTE = 7900  # characters; MLflow cuts a tag at 8000

VERDICTS = {  # verdict of a comparison -> its text for the candidate and for the baseline
    "better": ("better than", "worse than"),
    "worse": ("worse than", "better than"),
    "equivalent": ("equivalent to", "equivalent to"),
    "inconclusive": ("inconclusive against", "inconclusive against"),
}


@dataclass
class RunContent:
    """The content of one MLflow run. Times are Unix seconds."""

    name: str
    start: float
    end: float
    tags: dict[str, str]
    params: dict[str, str]
    status: str = "FINISHED"  # or RUNNING, FAILED, KILLED
    parent: str | None = None  # fingerprint of the parent run
    experiment: str | None = None  # the DVC experiment that it belongs to; None outside of experiments
    metrics: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)  # (name, step) -> value, time
    artifacts: dict[str, Path] = field(default_factory=dict)  # path in MLflow -> file
    datasets: dict[str, tuple[str, str]] = field(default_factory=dict)  # context, such as training -> folder, digest

    @property
    def fingerprint(self) -> str:
        return self.tags["fingerprint"]

    @property
    def key(self) -> "RunKey":
        return self.fingerprint, self.experiment


def prepare_runs(outputs: Path) -> list[RunContent]:
    """The run `prepare`: the data set; no run if there is none yet.

    It has no commit, no device and no DVC experiment, since the prepared files are a function of the data alone.
    """
    folders = {"training": paths.PREPARED_TRAIN, "test": paths.PREPARED_TEST}
    profiles: dict[str, dict[str, Any]] = {}
    for context, folder in folders.items():
        profile = read_json_if_exists(outputs / folder / paths.PROFILE, "prepare", *PROFILE_KEYS)
        if profile is None:
            return []
        profiles[context] = profile
    digests = {context: profile["digest"] for context, profile in profiles.items()}
    splits = {name: split for profile in profiles.values() for name, split in profile["splits"].items()}
    written = (outputs / paths.PREPARED_TRAIN / paths.PROFILE).stat().st_mtime
    words = {"extra": "extra test"}
    counts = ", ".join(f"{split['images']} {words.get(name, name)}" for name, split in splits.items())
    size, channels, classes = (profiles["training"][key] for key in ("size", "channels", "classes"))
    kind = f"{size}×{size} {'grey' if channels == 1 else 'colour'}"
    changes = profiles["test"]["conversions"]
    converted = "".join(
        f" Converted: {count} {part} images ({what})." for part, told in changes.items() for what, count in told.items()
    )
    params = {
        **{"size": size, "channels": channels, "classes": len(classes)},
        **{f"{name}_images": split["images"] for name, split in splits.items()},
        **{key: splits["training"][key] for key in ("mean", "std")},
        **{f"duplicates_{place}": count for place, count in profiles["training"]["duplicates"].items()},
    }
    return [
        RunContent(
            name="prepare",
            start=written,
            end=written,
            tags={
                **_stage_tags("prepare", sha256_json(digests), digests["training"]),
                "mlflow.note.content": f"Images: {counts}; {kind}.{converted} Classes: {_class_names(classes)}."
                " `samples.png` under *Artifacts* shows some images as a model gets them.",
            },
            params={key: messages.setting_text(value) for key, value in params.items()},
            artifacts={
                paths.SAMPLES.name: outputs / paths.SAMPLES,
                **{f"{folder.name}/{paths.PROFILE}": outputs / folder / paths.PROFILE for folder in folders.values()},
            },
            datasets={context: (folder.as_posix(), digests[context]) for context, folder in folders.items()},
        )
    ]


def comparison_runs(outputs: Path) -> list[RunContent]:
    """The run `comparison`: verdicts and report; no run if nothing was compared here, though git has results.

    Its fingerprint is that of the results, so a report that is only rendered again belongs to the same run.
    """
    folder = outputs / paths.REPORTS
    entries = read_comparison(folder)
    if entries is None or not (folder / paths.ORIGIN).exists():
        return []
    written = (folder / paths.COMPARISON).stat().st_mtime
    verdicts = Counter(entry["verdict"] for entry in entries)
    origin = stage_outputs.read_json_object(folder / paths.ORIGIN, "compare", "commit", "dirty", "experiment")
    with stage_outputs.reporting_damage(folder / paths.REPORT_TEXT, "compare"):
        note = (folder / paths.REPORT_TEXT).read_text(encoding="utf-8")
    if len(note) > MAX_NOTE:
        note = note[:MAX_NOTE].rpartition("\n")[0] + "\n\n*The rest is in `report.md`, under Artifacts.*"
    return [
        RunContent(
            name="comparison",
            start=written,
            end=written,
            tags={
                **_stage_tags("compare", sha256_json(entries)),
                **_origin_tags(origin),
                "verdict": ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()),
                "mlflow.note.content": note,
            },
            params={"comparisons": str(len(entries)), **{verdict: str(verdicts[verdict]) for verdict in VERDICTS}},
            experiment=origin["experiment"],
            artifacts=files_below(folder),
        )
    ]


def read_comparison(reports: Path) -> list[dict[str, Any]] | None:
    """The entries of comparison.json; None if nothing has been compared yet."""
    path = reports / paths.COMPARISON
    if not path.exists():
        return None
    keys = "candidate", "baseline", "measure", "seeds", "difference", "verdict", "declared"
    return stage_outputs.read_json_list(path, "compare", *keys)


def coloured(runs: Sequence[RunContent], study: Sequence[str]) -> Sequence[RunContent]:
    """The same runs, with the colours that the report gives to the variants of a study; others are grey."""
    from lenetlab.report import style  # imports matplotlib

    for run in runs:
        variant = run.tags.get("variant")
        colour = style.variant_mark(study.index(variant)).colour if variant in study else style.INK
        run.tags["mlflow.runColor"] = colour
    return runs


def training_tags(start: Event) -> dict[str, str]:
    """The tags of a seed's run, from the start event of its journal. `lenetlab reproduce` needs identity and origin."""
    return {
        **_stage_tags("train", start["fingerprint"], start["identity"]["data"]),
        "variant": start["variant"],
        "seed": str(start["seed"]),
        **_origin_tags(start["provenance"]),
        user_changes.IDENTITY: json.dumps(start["identity"]),
        user_changes.ORIGIN: json.dumps(start["provenance"]),
    }


def training_params(start: Event) -> dict[str, str]:
    """The params of a run of a variant or a seed; a dash for one that the variant does not have.

    Arguments of a class of the user may have the names of other params, hence the prefix.
    """
    definition = start["identity"]["definition"]
    prefix = "argument." if "file" in definition["model"] else ""
    names = {"name": "model", "file": "file"}
    model = {names.get(key, f"{prefix}{key}"): value for key, value in definition["model"].items()}
    settings = definition["input"] | model | definition["regularization"] | start["identity"]["training"]
    settings["parameters"] = start["parameters"]
    return dict.fromkeys(PARAMS, "–") | {key: messages.setting_text(value) for key, value in settings.items()}


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def files_below(folder: Path) -> dict[str, Path]:
    """Every file below a folder, by its path relative to the folder."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def read_json_if_exists(path: Path, stage: str, *keys: str) -> dict[str, Any] | None:
    """A JSON object with these keys that `stage` writes; None if there is no file."""
    return stage_outputs.read_json_object(path, stage, *keys) if path.exists() else None


def _stage_tags(stage: str, fingerprint: str, data: str = "") -> dict[str, str]:
    """`data` is the digest of the prepared training data, if the run depends on one data set."""
    tags = {"stage": stage, "fingerprint": fingerprint}
    if data:
        tags["data"] = data[:12]
    return {**tags, "mlflow.source.name": f"stages/{stage}.py", "mlflow.source.type": "LOCAL"}


def _class_names(classes: Sequence[str]) -> str:
    """In Markdown, without effect of their punctuation; of many, how many there are."""
    if len(classes) > NAMED_CLASSES:
        return f"{len(classes)}"
    return ", ".join(re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", name) for name in classes)


def _origin_tags(origin: Mapping[str, Any]) -> dict[str, str]:
    """Commit and device of an execution, as far as they are known."""
    tags = {
        "commit": origin["commit"],
        "mlflow.source.git.commit": origin["commit"],
        "dirty": origin["dirty"],
        "device": origin.get("device"),
    }
    return {key: messages.setting_text(value) for key, value in tags.items() if value is not None}
