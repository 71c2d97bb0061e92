"""Outputs as runs: plain records of what a tracking page shall show, made from the files that the stages wrote.

Not shown: commit and device of `prepare`, since its files are a function of the data alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lenetlab.storage import paths, stage_outputs
from lenetlab.tracking import content


def training_runs(journals: Iterable[Sequence[dict]], seeds: int, unfinished: str) -> list[content.RunContent]:
    """A variant's run and those of its seeds, from the journals of the seeds that have begun, however far they are.

    `unfinished` is the status of a seed whose journal has no end yet.
    """
    children = sorted((seed_run(journal, unfinished) for journal in journals if journal), key=_number)
    return [_parent(children, seeds, unfinished), *children] if children else []


def variant_runs(outputs: Path, variant: str) -> list[content.RunContent]:
    """A variant's run and those of its seeds, from all there is of its training, evaluation and comparison."""
    stage, journals = f"train@{variant}", (outputs / paths.JOURNALS / variant).glob("*.jsonl")
    children = []
    for path in journals:
        events = stage_outputs.journal(path, stage)
        with stage_outputs.reading(path, stage):
            children.append(seed_run(events, "KILLED"))
    children.sort(key=_number)
    if not children:
        return []
    for child in children:
        kept = outputs / paths.RUNS / variant / paths.seed_name(child.tags["seed"])
        child.tags |= _weights(content.json_if_present(kept / paths.RUN_RECORD, stage, "files") or {"files": {}})
        for place, path in content.files_below(kept).items():
            child.artifacts[f"checkpoints/{place}" if path.suffix == ".safetensors" else place] = path
    folder = outputs / paths.EVALUATIONS / variant
    evaluation = content.json_if_present(
        folder / paths.VARIANT_RECORD, f"evaluate@{variant}", "fingerprints", "test_data", "diverged"
    )
    if not evaluation or evaluation["fingerprints"] != {run.tags["seed"]: run.fingerprint for run in children}:
        return [_parent(children, len(children), "KILLED"), *children]  # none, or that of an earlier training
    finished = _finished(children)
    for run in finished:
        _add_test(run, folder, evaluation["test_data"])
    parent = _parent(children, len(children), "KILLED")
    _add_summary(parent, len(finished), folder, _verdict(outputs, variant))
    _add_costs(
        parent,
        (content.json_if_present(outputs / paths.COSTS, "cost", "variants") or {"variants": {}})["variants"].get(
            variant, {}
        ),
    )
    return [parent, *children]


def _weights(record: Mapping[str, Any]) -> dict[str, str]:
    """A tag with the beginning of the digest of every epoch's weights, in order; a thousand of them fit."""
    names = [name for name in record["files"] if name.startswith("epoch-")]
    digests = [record["files"][name][:7] for name in sorted(names, key=lambda name: (len(name), name))]
    return {"weights": " ".join(digests)} if digests else {}


def _number(run: content.RunContent) -> int:
    return int(run.tags["seed"])


def _finished(children: Sequence[content.RunContent]) -> list[content.RunContent]:
    """Those that did not diverge, or not yet."""
    return [run for run in children if "diverged" not in run.tags]


def seed_run(journal: Sequence[dict], unfinished: str) -> content.RunContent:
    """The run of a seed, from its journal so far."""
    start, last = journal[0], journal[-1]
    status = last["status"] if last["event"] == "end" else None
    stopped = {"diverged": f"epoch {last['epoch']}, batch {last['step']}"} if status == "diverged" else {}
    return content.RunContent(
        name=f"{start['variant']} seed {start['seed']}",
        start=start["time"],
        end=last["time"],
        tags=content.training_tags([event for event in journal if event["event"] == "start"][-1]) | stopped,
        params=content.model_params(start),
        status={"finished": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}[status] if status else unfinished,
        parent=start["parent_fingerprint"],
        points={
            (name, event["epoch"]): (event[key], event["time"])
            for event in journal
            if event["event"] == "epoch"
            for name, key in content.CURVES.items()
            if event[key] is not None
        },
        data={"training": (paths.PREPARED_TRAIN.as_posix(), start["identity"]["data"])},
    )


def _parent(children: Sequence[content.RunContent], seeds: int, unfinished: str) -> content.RunContent:
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
    return content.RunContent(
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


def _divergence(children: Sequence[content.RunContent], seeds: int) -> str:
    """What the page of a variant opens with."""
    told = [f"{run.tags['seed']} in {run.tags['diverged']}" for run in children if "diverged" in run.tags]
    return (
        f"**{len(told)} of {seeds} seeds diverged** ({'; '.join(told)}): weights or loss stopped being numbers, and"
        " training ended there. No comparison with this variant is decided."
    )


def _add_test(child: content.RunContent, folder: Path, test_data: str) -> None:
    """The test curves of a seed, dated when the weights that were tested had been trained."""
    seed, stage = child.tags["seed"], f"evaluate@{folder.name}"
    rows = stage_outputs.csv_rows(folder / paths.CURVES, stage, "seed", "epoch", *content.TESTED)
    with stage_outputs.reading(folder / paths.CURVES, stage):
        for row in rows:
            if row["seed"] == seed:
                epoch = int(row["epoch"])
                when = child.points["train_loss", epoch][1]
                child.points |= {(key, epoch): (float(row[key]), when) for key in content.TESTED}
    final = stage_outputs.json_object(folder / paths.SEEDS, stage, f"{seed}/test_accuracy")
    child.tags["accuracy"] = content.percent(final[seed]["test_accuracy"])
    child.artifacts |= content.files_below(folder / paths.seed_name(seed))
    child.data["test"] = (paths.PREPARED_TEST.as_posix(), test_data)


def _add_summary(parent: content.RunContent, seeds: int, folder: Path, verdict: str | None) -> None:
    """Final figures of so many seeds, once more as tags that are rounded for the eye; pictures; the verdict."""
    from scipy.special import stdtrit  # quantiles of the t distribution

    final = stage_outputs.json_object(
        folder / paths.METRICS, f"evaluate@{folder.name}", "test_accuracy", "test_accuracy_sd", "test_loss"
    )
    mean, deviation = final["test_accuracy"], final["test_accuracy_sd"]
    figures = {key: final[key] for key in content.TESTED if final[key] is not None}
    said = {"accuracy": content.percent(mean) if seeds else "diverged", "interval": "needs two seeds" if seeds else "–"}
    if seeds > 1:
        half = float(stdtrit(seeds - 1, 0.975)) * deviation / math.sqrt(seeds)
        low, high = max(0.0, mean - half), min(1.0, mean + half)
        figures |= {"test_accuracy_sd": deviation, "test_accuracy_low": low, "test_accuracy_high": high}
        said["accuracy"] = f"{100 * mean:.2f} ± {content.percent(deviation)}"
        said["interval"] = f"{100 * low:.2f}–{content.percent(high)}"
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
    parent.artifacts = {place: path for place, path in content.files_below(folder).items() if "/" not in place}


def _add_costs(parent: content.RunContent, measured: Mapping[str, Any]) -> None:
    """What the variant costs: means over the rounds of its measurement."""
    last = _last(parent)
    for key, figures in measured.items():
        rounds = figures if isinstance(figures, list) else [figures]
        if key not in ("parameters", "on_processor") and None not in rounds:
            parent.points["cost_" + key, last] = fmean(rounds), parent.end


def _last(parent: content.RunContent) -> int:
    """Where figures of the end stand; where no seed finished there is no end."""
    return max((epoch for _, epoch in parent.points), default=0)


def _verdict(outputs: Path, variant: str) -> str | None:
    """What the comparison says of a variant; None if there is none, or only one of earlier results."""
    entries = content.comparison_entries(outputs / paths.REPORTS)
    said = []
    for entry in entries or ():
        pair = entry["candidate"], entry["baseline"]
        if variant in pair:
            places = {name: outputs / paths.EVALUATIONS / name / paths.METRICS for name in pair}
            metrics = [
                content.json_if_present(path, f"evaluate@{name}", "test_accuracy") for name, path in places.items()
            ]
            if None in metrics or not _same(*(found["test_accuracy"] for found in metrics), entry["difference"]):
                return None
            side = pair.index(variant)
            words = content.VERDICTS.get(entry["verdict"], (f"{entry['verdict']} against",) * 2)
            said.append(f"{words[side]} {pair[1 - side]}")
    return "; ".join(said) or (None if entries is None else "not compared")


def _same(candidate: float | None, baseline: float | None, difference: float | None) -> bool:
    """Whether a difference was made from these means; there is none where no seed of a side finished."""
    if None in (candidate, baseline) or difference is None:
        return None in (candidate, baseline) and difference is None
    return math.isclose(candidate - baseline, difference, abs_tol=1e-9)
