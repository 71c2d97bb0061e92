"""What MLflow shows of a variant: a parent run with means over seeds, and a child run for each seed.

From journals: params (`content.training_params`), most tags (`content.training_tags`), the curves of training and
validation (`seed_run`) and the tag diverged. From run.json: the tag of the weights (`_weights_tag`). From the
evaluation: test results and curves, the tags accuracy and interval, and the notes (`_add_test_results`, `_add_means`).
From comparison.json: the tag verdict (`_verdict`). From costs.json: costs (`_add_costs`). `_parent_run` takes means
over the child runs. `metrics.names` has the names of the metrics.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lenetlab.storage import paths, stage_outputs
from lenetlab.tracking import content, user_changes
from lenetlab.tracking.content import Event, RunContent
from lenetlab.tracking.metrics import names, system_load

STATUS = {"finished": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}  # of the journal -> of MLflow


def training_runs(
    journals: Iterable[Sequence[Event]], seeds: int, unfinished: str, experiment: str | None, resume: Path | None = None
) -> list[RunContent]:
    """The runs of a variant during training: its parent run and those of the seeds whose journals are not empty.

    `seeds` is the number of all seeds, `unfinished` the status of a seed whose journal has no end, `experiment` the DVC
    experiment that the runs belong to, `resume` the folder for resuming, if it has measurements of the machine.
    """
    runs = (seed_run(journal, unfinished, experiment, resume) for journal in journals if journal)
    children = sorted(runs, key=_seed)
    return [_parent_run(children, seeds, unfinished), *children] if children else []


def variant_runs(outputs: Path, variant: str, experiment: str | None, resume: Path | None = None) -> list[RunContent]:
    """The runs of a variant after training: with results of its evaluation, its costs and its verdict if there are any.

    An evaluation of an earlier training does not count. `experiment` is the DVC experiment that the runs belong to,
    `resume` the folder for resuming, if it has measurements of the machine.
    """
    children = _trained_seeds(outputs, variant, experiment, resume)
    if not children:
        return []
    folder = outputs / paths.EVALUATIONS / variant
    evaluation = _current_evaluation(folder, children)
    if not evaluation:
        return [_parent_run(children, len(children), "KILLED"), *children]
    finished = _not_diverged(children)
    for run in finished:
        _add_test_results(run, folder, evaluation["test_data"])
    parent = _parent_run(children, len(children), "KILLED")
    _add_means(parent, len(finished), folder, _verdict(outputs, variant))
    _add_costs(parent, outputs / paths.COSTS, variant)
    return [parent, *children]


def experiment_of(outputs: Path, variant: str) -> str | None:
    """The DVC experiment that the outputs of a variant belong to: that of the report, if it describes them.

    Otherwise, as after an experiment was stopped, that of the newest training. DVC restores outputs from its cache, so
    this need not be the experiment that runs now.
    """
    children = _trained_seeds(outputs, variant, None, None)
    folder, reports = outputs / paths.EVALUATIONS / variant, outputs / paths.REPORTS
    stage, reported = f"evaluate@{variant}", reports / "metrics" / f"{variant}.json"
    if not children or (
        reported.exists()
        and _current_evaluation(folder, children)
        and content.read_json_if_exists(reported, "compare")
        == content.read_json_if_exists(folder / paths.METRICS, stage)
    ):
        origin = content.read_json_if_exists(reports / paths.ORIGIN, "compare", "experiment")
        return origin["experiment"] if origin else None
    newest: str | None = json.loads(max(children, key=lambda run: run.start).tags[user_changes.ORIGIN]).get(
        "experiment"
    )
    return newest


def seed_run(
    journal: Sequence[Event], unfinished: str, experiment: str | None, resume: Path | None = None
) -> RunContent:
    """The run of a seed, from its journal so far; its status is `unfinished` if the journal has no end."""
    start, last = journal[0], journal[-1]
    status = last["status"] if last["event"] == "end" else None
    tags = content.training_tags([event for event in journal if event["event"] == "start"][-1])
    if status == "diverged":
        tags["diverged"] = f"epoch {last['epoch']}, batch {last['step']}"
    folder, data = paths.PREPARED_TRAIN.as_posix(), start["identity"]["data"]
    measured = system_load.by_epoch(resume / start["fingerprint"], journal) if resume else {}
    validated = any(event["event"] == "epoch" and event["validation_loss"] is not None for event in journal)
    run = RunContent(
        name=f"{start['variant']} seed {start['seed']}",
        start=start["time"],
        end=last["time"],
        tags=tags,
        params=content.training_params(start),
        status=STATUS[status] if status else unfinished,
        parent=start["parent_fingerprint"],
        experiment=experiment,
        metrics=measured
        | {
            (name, event["epoch"]): (names.in_unit(name, event[key]), event["time"])
            for event in journal
            if event["event"] == "epoch"
            for key, name in names.JOURNAL.items()
            if event[key] is not None
        },
        datasets=dict.fromkeys(["training", *["validation"] * validated], (folder, data)),
    )
    _add_note(run)
    return run


def _add_note(run: RunContent) -> None:
    """The description of a seed's run."""
    trained = max((epoch for name, epoch in run.metrics if name == names.TRAIN_LOSS), default=0)
    result = f"test accuracy **{run.tags['accuracy']}** after" if "accuracy" in run.tags else "trained for"
    if "diverged" in run.tags:
        result = f"**diverged** in {run.tags['diverged']}, after"
    run.tags["mlflow.note.content"] = (
        f"Seed {run.tags['seed']} of **{run.tags['variant']}**: {result} {trained} epochs. Its weights are under"
        f' *Artifacts*, in `checkpoints`; `lenetlab reproduce "{run.name}"` trains it again.'
    )


def _current_evaluation(folder: Path, children: Iterable[RunContent]) -> dict[str, Any] | None:
    """The record of the evaluation of these seeds; None if there is none, or if it is that of other trainings."""
    record = content.read_json_if_exists(
        folder / paths.VARIANT_RECORD, f"evaluate@{folder.name}", "fingerprints", "test_data", "diverged"
    )
    current = record and record["fingerprints"] == {run.tags["seed"]: run.fingerprint for run in children}
    return record if current else None


def _trained_seeds(outputs: Path, variant: str, experiment: str | None, resume: Path | None) -> list[RunContent]:
    """The runs of the seeds in `journals`, with weights and curves from `runs`."""
    stage, children = f"train@{variant}", []
    for path in (outputs / paths.JOURNALS / variant).glob("*.jsonl"):
        journal = stage_outputs.read_journal(path, stage)
        with stage_outputs.reporting_damage(path, stage):
            children.append(seed_run(journal, "KILLED", experiment, resume))
    for child in children:
        folder = outputs / paths.RUNS / variant / paths.seed_name(child.tags["seed"])
        record = content.read_json_if_exists(folder / paths.RUN_RECORD, stage, "files")
        child.tags |= _weights_tag(record["files"] if record else {})
        for name, path in content.files_below(folder).items():
            child.artifacts[f"checkpoints/{name}" if path.suffix == ".safetensors" else name] = path
    return sorted(children, key=_seed)


def _weights_tag(digests: Mapping[str, str]) -> dict[str, str]:
    """The start of the SHA-256 of the weights of every epoch, or a dash; short, so that a thousand fit into a tag."""
    shortened = [digest[:7] for digest in stage_outputs.weights_by_epoch(digests)]
    return {user_changes.WEIGHTS: " ".join(shortened)} if shortened else {}


def _seed(run: RunContent) -> int:
    return int(run.tags["seed"])


def _not_diverged(children: Iterable[RunContent]) -> list[RunContent]:
    """The seeds that have not diverged, or not yet."""
    return [run for run in children if "diverged" not in run.tags]


def _parent_run(children: Sequence[RunContent], seeds: int, unfinished: str) -> RunContent:
    """Means over seeds, of the epochs that all of them have: so a mean that was sent does not change later.

    It changes if a seed diverges, since seeds that diverged are in no mean.
    """
    averaged, diverged = _not_diverged(children), [run for run in children if "diverged" in run.tags]
    newest = max(children, key=lambda run: run.start)
    statuses = {run.status for run in children} | ({unfinished} if len(children) < seeds else set())
    complete = bool(averaged) and len(children) == seeds
    shared = set.intersection(*(set(run.metrics) for run in averaged)) if complete else set()
    of_a_seed = ("seed", "diverged", "accuracy", "mlflow.note.content", user_changes.WEIGHTS)
    tags = {key: value for key, value in newest.tags.items() if key not in of_a_seed}
    tags |= {"fingerprint": str(newest.parent), "seeds": " ".join(run.tags["seed"] for run in children)}
    if diverged:
        tags["diverged"] = f"seed{'s' * (len(diverged) > 1)} {', '.join(run.tags['seed'] for run in diverged)}"
        tags["mlflow.note.content"] = _divergence_note(diverged, seeds)
    return RunContent(
        name=newest.tags["variant"],
        start=min(run.start for run in children),
        end=max(run.end for run in children),
        tags=tags,
        params=newest.params,
        status=next(status for status in ("RUNNING", "FAILED", "KILLED", "FINISHED") if status in statuses),
        metrics={
            point: (
                names.rounded(point[0], fmean(run.metrics[point][0] for run in averaged)),
                max(run.metrics[point][1] for run in averaged),
            )
            for point in sorted(shared)
        },
        datasets=dict(newest.datasets),
        experiment=newest.experiment,
    )


def _divergence_note(diverged: Sequence[RunContent], seeds: int) -> str:
    places = "; ".join(f"{run.tags['seed']} in {run.tags['diverged']}" for run in diverged)
    return (
        f"**{len(diverged)} of {seeds} seeds diverged** ({places}): their weights or loss became NaN or infinite, and"
        " their training stopped there. Every comparison with this variant is inconclusive."
    )


def _add_test_results(child: RunContent, folder: Path, test_data: str) -> None:
    """The test result and curves of a seed, with the time at which an epoch was trained; pictures."""
    seed, stage = child.tags["seed"], f"evaluate@{folder.name}"
    rows = stage_outputs.read_csv(folder / paths.CURVES, stage, "seed", "epoch", *names.TEST_CURVES)
    with stage_outputs.reporting_damage(folder / paths.CURVES, stage):
        for row in rows:
            if row["seed"] == seed and row["test_loss"]:  # empty if the weights of this epoch were not kept
                epoch = int(row["epoch"])
                time = child.metrics[names.TRAIN_LOSS, epoch][1]
                child.metrics |= {
                    (name, epoch): (names.in_unit(name, float(row[key])), time)
                    for key, name in names.TEST_CURVES.items()
                }
    keys = f"{seed}/test_accuracy", f"{seed}/test_loss"
    final = stage_outputs.read_json_object(folder / paths.SEEDS, stage, *keys)[seed]
    child.tags["accuracy"] = content.percent(final["test_accuracy"])
    _add_note(child)
    child.metrics |= _at_start(names.result(final["test_accuracy"], final["test_loss"]), child.end)
    child.artifacts |= content.files_below(folder / paths.seed_name(seed))
    child.datasets["test"] = (paths.PREPARED_TEST.as_posix(), test_data)


def _add_means(parent: RunContent, seeds: int, folder: Path, verdict: str | None) -> None:
    """Test results after the last epoch, over `seeds` finished seeds: metrics, rounded tags, the note and pictures."""
    from scipy.special import stdtrit  # quantiles of Student's t distribution

    final = stage_outputs.read_json_object(
        folder / paths.METRICS, f"evaluate@{folder.name}", "test_accuracy", "test_accuracy_sd", "test_loss"
    )
    mean, deviation = final["test_accuracy"], final["test_accuracy_sd"]
    means = names.result(mean, final["test_loss"]) if mean is not None else {}
    accuracy = content.percent(mean) if seeds else "diverged"
    interval = "needs two seeds" if seeds else "–"
    if seeds > 1:
        half_width = float(stdtrit(seeds - 1, 0.975)) * deviation / math.sqrt(seeds)
        low, high = max(0.0, mean - half_width), min(1.0, mean + half_width)
        spread = {names.DEVIATION: deviation, names.LOW: low, names.HIGH: high}
        means |= {name: names.per_cent(value) for name, value in spread.items()}
        accuracy = f"{100 * mean:.2f} ± {content.percent(deviation)}"
        interval = f"{100 * low:.2f}–{content.percent(high)}"
    parent.metrics |= _at_start(means, parent.end)
    parent.tags |= {"accuracy": accuracy, "interval": interval}
    if verdict:
        parent.tags["verdict"] = verdict
    note = [f"Verdict: **{verdict or 'not compared yet'}**."]
    if seeds:
        which = "the seeds that finished" if "diverged" in parent.tags else "the seeds"
        note.insert(
            0,
            f"Test accuracy **{accuracy}**: mean and standard deviation over {which} ({seeds}), whose runs are below"
            f" this one. 95 % interval of the mean: {interval}.",
        )
        note.append(
            f"Metrics are means over {which}. Curves, confusion matrix and misread images are under *Artifacts*."
        )
    if "diverged" in parent.tags:
        note.insert(0, parent.tags["mlflow.note.content"])
    parent.tags["mlflow.note.content"] = "\n\n".join(note)
    parent.artifacts = {name: path for name, path in content.files_below(folder).items() if "/" not in name}


def _add_costs(parent: RunContent, costs: Path, variant: str) -> None:
    """Costs of the variant, means over the rounds in which they were measured."""
    measured = (content.read_json_if_exists(costs, "cost", "variants") or {"variants": {}})["variants"]
    for measure, values in measured.get(variant, {}).items():
        rounds = values if isinstance(values, list) else [values]  # what follows from the definition has no rounds
        if None not in rounds:
            parent.metrics |= _at_start(names.cost(measure, fmean(rounds)), parent.end)


def _at_start(metrics: Mapping[str, float], time: float) -> dict[tuple[str, int], tuple[float, float]]:
    """Values of a whole training: at step 0, where MLflow draws bars."""
    return {(name, 0): (value, time) for name, value in metrics.items()}


def _verdict(outputs: Path, variant: str) -> str | None:
    """What the comparison says about a variant; None if there is no comparison or if it used earlier results."""
    entries = content.read_comparison(outputs / paths.REPORTS)
    if entries is None:
        return None
    verdicts = []
    for entry in entries:
        pair = entry["candidate"], entry["baseline"]
        if variant not in pair:
            continue
        if not is_current(entry, outputs / paths.EVALUATIONS):
            return None
        side = pair.index(variant)
        texts = content.VERDICTS.get(entry["verdict"], (f"{entry['verdict']} against",) * 2)
        measure = "" if entry["measure"] == "test_accuracy" else f" ({entry['measure']})"
        verdicts.append(f"{texts[side]} {pair[1 - side]}{measure}")
    return "; ".join(verdicts) or "not compared"


def is_current(entry: Mapping[str, Any], evaluations: Path) -> bool:
    """Whether an entry of comparison.json is about the present trainings and test results of its first seeds."""
    means: list[float | None] = []
    for name in (entry["candidate"], entry["baseline"]):
        folder, stage = evaluations / name, f"evaluate@{name}"
        record = content.read_json_if_exists(folder / paths.VARIANT_RECORD, stage, "parent_fingerprint")
        tested = content.read_json_if_exists(folder / paths.SEEDS, stage)
        if record is None or tested is None or record["parent_fingerprint"] != entry["declared"]["trained"][name]:
            return False
        values = [row.get(entry["measure"]) for row in tested.values()][: entry["seeds"]]
        means.append(fmean(values) if values and None not in values else None)
    candidate, baseline = means
    if candidate is None or baseline is None or entry["difference"] is None:  # another measure, or no finished seed
        return entry["measure"] not in ("test_accuracy", "test_loss") or entry["difference"] is None
    return math.isclose(candidate - baseline, entry["difference"], abs_tol=1e-7)
