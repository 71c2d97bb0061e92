"""Outputs as runs: plain records of what a tracking page shall show, made from the files that the stages wrote.

Not shown: commit and device of `prepare`, since its files are a function of the data alone.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from lenetlab import files, reading

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
class Run:
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


def of_prepare(outputs: Path) -> list[Run]:
    """The run that shows the data set; none before there is one."""
    paths = {"training": outputs / "data/prepared/train", "test": outputs / "data/prepared/test"}
    profiles = {
        use: _json(path / "profile.json", "prepare", "digest", "splits", "duplicates") for use, path in paths.items()
    }
    if None in profiles.values():
        return []
    digests = {use: profile["digest"] for use, profile in profiles.items()}
    splits = {name: split for profile in profiles.values() for name, split in profile["splits"].items()}
    written = (paths["training"] / "profile.json").stat().st_mtime
    params = {f"{name}_images": split["images"] for name, split in splits.items()}
    params |= {key: splits["training"][key] for key in ("mean", "std")}
    params |= {f"duplicates_{where}": count for where, count in profiles["training"]["duplicates"].items()}
    counts = ", ".join(f"{split['images']} {name}" for name, split in splits.items())
    note = {"mlflow.note.content": f"Images: {counts}. What a model is shown of them: `samples.png` under *Artifacts*."}
    return [
        Run(
            name="prepare",
            start=written,
            end=written,
            tags=_tags("prepare", files.sha256_json(digests), digests["training"]) | note,
            params={key: str(value) for key, value in params.items()},
            artifacts={
                "samples.png": paths["training"].parent / "samples.png",
                **{f"{path.name}/profile.json": path / "profile.json" for path in paths.values()},
            },
            data={use: (f"data/prepared/{path.name}", digests[use]) for use, path in paths.items()},
        )
    ]


def of_training(journals: Iterable[Sequence[dict]], seeds: int, unfinished: str) -> list[Run]:
    """A variant's run and those of its seeds, from the journals of the seeds that have begun, however far they are.

    `unfinished` is the status of a seed whose journal has no end yet.
    """
    children = sorted((of_seed(journal, unfinished) for journal in journals if journal), key=_number)
    return [_parent(children, seeds, unfinished), *children] if children else []


def of_variant(outputs: Path, variant: str) -> list[Run]:
    """A variant's run and those of its seeds, from all there is of its training, evaluation and comparison."""
    stage, journals = f"train@{variant}", (outputs / "journals" / variant).glob("*.jsonl")
    children = []
    for path in journals:
        events = reading.events(path, stage)
        with reading.named(path, stage):
            children.append(of_seed(events, "KILLED"))
    children.sort(key=_number)
    if not children:
        return []
    for child in children:
        kept = outputs / "runs" / variant / f"seed-{child.tags['seed']}"
        child.tags |= _weights(_json(kept / "run.json", stage, "files") or {"files": {}})
        for place, path in _below(kept).items():
            child.artifacts[f"checkpoints/{place}" if path.suffix == ".safetensors" else place] = path
    folder = outputs / "evaluations" / variant
    evaluation = _json(folder / "variant.json", f"evaluate@{variant}", "fingerprints", "test_data", "diverged")
    if not evaluation or evaluation["fingerprints"] != {run.tags["seed"]: run.fingerprint for run in children}:
        return [_parent(children, len(children), "KILLED"), *children]  # none, or that of an earlier training
    finished = _finished(children)
    for run in finished:
        _add_test(run, folder, evaluation["test_data"])
    parent = _parent(children, len(children), "KILLED")
    _add_summary(parent, len(finished), folder, _verdict(outputs, variant))
    _add_costs(
        parent, (_json(outputs / "costs.json", "cost", "variants") or {"variants": {}})["variants"].get(variant, {})
    )
    return [parent, *children]


def of_comparison(outputs: Path) -> list[Run]:
    """One run for each set of results; a report that is only rendered anew stays with its run."""
    folder = outputs / "reports"
    entries = _entries(folder)
    if entries is None:
        return []
    written = (folder / "comparison.json").stat().st_mtime
    verdicts = Counter(entry["verdict"] for entry in entries)
    said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    with reading.named(folder / "report.md", "compare"):
        note = (folder / "report.md").read_text(encoding="utf-8")
    if len(note) > 7900:  # MLflow cuts a tag at 8000 characters
        note = note[:7900].rpartition("\n")[0] + "\n\n*The rest is in `report.md`, under Artifacts.*"
    return [
        Run(
            name="comparison",
            start=written,
            end=written,
            tags={
                **_tags("compare", files.sha256_json(entries)),
                **_origin_tags(reading.record(folder / "origin.json", "compare", "commit", "dirty", "experiment")),
                "verdict": said,
                "mlflow.note.content": note,
            },
            params={"comparisons": str(len(entries)), **{verdict: str(verdicts[verdict]) for verdict in VERDICTS}},
            artifacts=_below(folder),
        )
    ]


def _weights(record: Mapping[str, Any]) -> dict[str, str]:
    """A tag with the beginning of the digest of every epoch's weights, in order; a thousand of them fit."""
    names = [name for name in record["files"] if name.startswith("epoch-")]
    digests = [record["files"][name][:7] for name in sorted(names, key=lambda name: (len(name), name))]
    return {"weights": " ".join(digests)} if digests else {}


def _number(run: Run) -> int:
    return int(run.tags["seed"])


def _finished(children: Sequence[Run]) -> list[Run]:
    """Those that did not diverge, or not yet."""
    return [run for run in children if "diverged" not in run.tags]


def of_seed(journal: Sequence[dict], unfinished: str) -> Run:
    """The run of a seed, from its journal so far."""
    start, last = journal[0], journal[-1]
    status = last["status"] if last["event"] == "end" else None
    stopped = {"diverged": f"epoch {last['epoch']}, batch {last['step']}"} if status == "diverged" else {}
    return Run(
        name=f"{start['variant']} seed {start['seed']}",
        start=start["time"],
        end=last["time"],
        tags=_training_tags([event for event in journal if event["event"] == "start"][-1]) | stopped,
        params=_params(start),
        status={"finished": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}[status] if status else unfinished,
        parent=start["parent_fingerprint"],
        points={
            (name, event["epoch"]): (event[key], event["time"])
            for event in journal
            if event["event"] == "epoch"
            for name, key in CURVES.items()
            if event[key] is not None
        },
        data={"training": ("data/prepared/train", start["identity"]["data"])},
    )


def _parent(children: Sequence[Run], seeds: int, unfinished: str) -> Run:
    """Means over all the seeds, of the epochs that each of them has: a point once sent stays true.

    Unless a seed diverges: it is in no mean, since the means at the end are of the others.
    """
    finished, lost = _finished(children), [run.tags["seed"] for run in children if "diverged" in run.tags]
    newest = max(children, key=lambda run: run.start)
    statuses = {run.status for run in children} | ({unfinished} if len(children) < seeds else set())
    shared = set.intersection(*(set(run.points) for run in finished)) if finished and len(children) == seeds else set()
    marked = {}
    if lost:
        marked["diverged"] = f"seed{'s' * (len(lost) > 1)} {', '.join(lost)}"
        marked["mlflow.note.content"] = _divergence(children, seeds)
    return Run(
        name=newest.tags["variant"],
        start=min(run.start for run in children),
        end=max(run.end for run in children),
        tags={
            **{key: value for key, value in newest.tags.items() if key not in ("seed", "diverged", "weights")},
            "fingerprint": str(newest.parent),
            "seeds": " ".join(run.tags["seed"] for run in children),
            **marked,
        },
        params=newest.params,
        status=next(status for status in ("RUNNING", "FAILED", "KILLED", "FINISHED") if status in statuses),
        points={
            point: (fmean(run.points[point][0] for run in finished), max(run.points[point][1] for run in finished))
            for point in sorted(shared)
        },
        data=dict(newest.data),
    )


def _divergence(children: Sequence[Run], seeds: int) -> str:
    """What the page of a variant opens with."""
    told = [f"{run.tags['seed']} in {run.tags['diverged']}" for run in children if "diverged" in run.tags]
    return (
        f"**{len(told)} of {seeds} seeds diverged** ({'; '.join(told)}): weights or loss stopped being numbers, and"
        " training ended there. No comparison with this variant is decided."
    )


def _add_test(child: Run, folder: Path, test_data: str) -> None:
    """The test curves of a seed, dated when the weights that were tested had been trained."""
    seed, stage = child.tags["seed"], f"evaluate@{folder.name}"
    rows = reading.rows(folder / "curves.csv", stage, "seed", "epoch", *TESTED)
    with reading.named(folder / "curves.csv", stage):
        for row in rows:
            if row["seed"] == seed:
                epoch = int(row["epoch"])
                when = child.points["train_loss", epoch][1]
                child.points |= {(key, epoch): (float(row[key]), when) for key in TESTED}
    final = reading.record(folder / "seeds.json", stage, f"{seed}/test_accuracy")
    child.tags["accuracy"] = _percent(final[seed]["test_accuracy"])
    child.artifacts |= _below(folder / f"seed-{seed}")
    child.data["test"] = ("data/prepared/test", test_data)


def _add_summary(parent: Run, seeds: int, folder: Path, verdict: str | None) -> None:
    """Final figures of so many seeds, once more as tags that are rounded for the eye; pictures; the verdict."""
    from scipy.special import stdtrit  # quantiles of the t distribution

    final = reading.record(
        folder / "metrics.json", f"evaluate@{folder.name}", "test_accuracy", "test_accuracy_sd", "test_loss"
    )
    mean, deviation = final["test_accuracy"], final["test_accuracy_sd"]
    figures = {key: final[key] for key in TESTED if final[key] is not None}
    said = {"accuracy": _percent(mean) if seeds else "diverged", "interval": "needs two seeds" if seeds else "–"}
    if seeds > 1:
        half = float(stdtrit(seeds - 1, 0.975)) * deviation / math.sqrt(seeds)
        low, high = max(0.0, mean - half), min(1.0, mean + half)
        figures |= {"test_accuracy_sd": deviation, "test_accuracy_low": low, "test_accuracy_high": high}
        said["accuracy"] = f"{100 * mean:.2f} ± {_percent(deviation)}"
        said["interval"] = f"{100 * low:.2f}–{_percent(high)}"
    if verdict:
        said["verdict"] = verdict
    last = _last(parent)
    parent.points |= {(key, last): (value, parent.end) for key, value in figures.items()}
    parent.tags |= said
    which = "the seeds that finished" if "diverged" in parent.tags else "the seeds"
    reached = (
        f"Test accuracy **{said['accuracy']}**: mean and standard deviation over {which} ({seeds}), the runs below "
        f"this one. 95 % interval of the mean: {said['interval']}."
    )
    shown = f"Metrics are means over {which}. Curves, confusion and mistakes are under *Artifacts*."
    told = [
        parent.tags.get("mlflow.note.content"),  # that seeds diverged
        reached if seeds else None,
        f"Verdict: **{verdict or 'not compared yet'}**.",
        shown if seeds else None,
    ]
    parent.tags["mlflow.note.content"] = "\n\n".join(filter(None, told))
    parent.artifacts = {place: path for place, path in _below(folder).items() if "/" not in place}


def _add_costs(parent: Run, measured: Mapping[str, Any]) -> None:
    """What the variant costs: means over the rounds of its measurement."""
    last = _last(parent)
    for key, figures in measured.items():
        rounds = figures if isinstance(figures, list) else [figures]
        if key not in ("parameters", "on_processor") and None not in rounds:
            parent.points["cost_" + key, last] = fmean(rounds), parent.end


def _last(parent: Run) -> int:
    """Where figures of the end stand; where no seed finished there is no end."""
    return max((epoch for _, epoch in parent.points), default=0)


def _verdict(outputs: Path, variant: str) -> str | None:
    """What the comparison says of a variant; None if there is none, or only one of earlier results."""
    entries = _entries(outputs / "reports")
    said = []
    for entry in entries or ():
        pair = entry["candidate"], entry["baseline"]
        if variant in pair:
            paths = {name: outputs / "evaluations" / name / "metrics.json" for name in pair}
            metrics = [_json(path, f"evaluate@{name}", "test_accuracy") for name, path in paths.items()]
            if None in metrics or not _same(*(found["test_accuracy"] for found in metrics), entry["difference"]):
                return None
            side = pair.index(variant)
            words = VERDICTS.get(entry["verdict"], (f"{entry['verdict']} against",) * 2)
            said.append(f"{words[side]} {pair[1 - side]}")
    return "; ".join(said) or (None if entries is None else "not compared")


def _same(candidate: float | None, baseline: float | None, difference: float | None) -> bool:
    """Whether a difference was made from these means; there is none where no seed of a side finished."""
    if None in (candidate, baseline) or difference is None:
        return None in (candidate, baseline) and difference is None
    return math.isclose(candidate - baseline, difference, abs_tol=1e-9)


def _entries(reports: Path) -> list[dict] | None:
    """Of comparison.json; None where nothing was compared yet."""
    path = reports / "comparison.json"
    if not path.exists():
        return None
    return reading.entries(path, "compare", "candidate", "baseline", "difference", "verdict")


def _tags(stage: str, fingerprint: str, data: str = "") -> dict[str, str]:
    tags = {"stage": stage, "fingerprint": fingerprint, "data": data[:12]}
    tags |= {"mlflow.source.name": f"stages/{stage}.py", "mlflow.source.type": "LOCAL"}
    return {key: value for key, value in tags.items() if value}


def _training_tags(start: dict) -> dict[str, str]:
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


def _params(start: dict) -> dict[str, str]:
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


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _json(path: Path, stage: str, *keys: str) -> Any:
    return reading.record(path, stage, *keys) if path.exists() else None
