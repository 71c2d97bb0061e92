"""Train a recorded run again from its record alone, and compare the weights bit for bit."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.settings import schema, study_schema
from lenetlab.storage import code, files, manifests, paths, provenance, stage_outputs
from lenetlab.training import devices, execution, run_files

VERSIONS = ("torch", "numpy", "python")
# The largest difference of training accuracy, in any epoch, that rounding on other hardware may cause. For lenet5, mlp
# and lenet5-regularized it was at most 0.0013 over ten epochs with AVX2 instead of AVX-512, and 0.0018 to 0.0119 with
# another seed (docs/reliability.md).
TOLERANCE = 0.004


@dataclass(frozen=True)
class TrainingRecord:
    """What is recorded about one training: everything that decides its bits, and its results."""

    identity: dict[str, Any]
    seed: int
    fingerprint: str
    weights: list[str]  # SHA-256 of the weights of each epoch, or its first digits; NOT_KEPT if they were removed
    accuracy: list[float]  # of each epoch, on the batches in training mode
    origin: Mapping[str, Any]  # commit, versions, hardware, as far as they are known


@dataclass(frozen=True)
class Reproduction:
    """The comparison of a repeated training with its record."""

    outcome: Literal["identical", "equal within tolerance on other hardware", "different"]
    epoch: int | None  # the first epoch with different weights
    accuracy_difference: float  # largest difference of training accuracy in any epoch
    reasons: list[str]  # differences of code, data, settings, versions and hardware


def read_record(folder: Path, journal: Path) -> TrainingRecord:
    """The record from files, such as `runs/mlp/seed-0` and `journals/mlp/seed-0.jsonl`.

    Raises UserError if a file is missing or damaged.
    """
    try:
        record = manifests.read_manifest(folder / paths.RUN_RECORD)
    except manifests.Damaged as damage:
        raise UserError(f"{damage}; remedy: dvc checkout --force, or dvc repro") from None
    starts = [event for event in files.read_json_lines(journal) if event["event"] == "start"]
    return TrainingRecord(
        identity=record["identity"],
        seed=record["seed"],
        fingerprint=record["fingerprint"],
        weights=stage_outputs.weights_by_epoch(record["files"]),
        accuracy=[float(row["train_accuracy"]) for row in run_files.read_curves(folder / paths.CURVES)],
        origin=starts[-1]["provenance"] if starts else {},
    )


def read_records(runs: Path, journals: Path, trainings: Iterable[tuple[str, int]]) -> list[TrainingRecord]:
    """The records of these variants and seeds. UserError names all files that are missing or damaged."""
    records, problems = [], list[str]()
    for variant, seed in trainings:
        name = paths.seed_name(seed)
        try:
            records.append(read_record(runs / variant / name, journals / variant / f"{name}.jsonl"))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    return records


def reproduce(
    records: Sequence[TrainingRecord], study: study_schema.Study, prepared_folder: Path
) -> list[Reproduction]:
    """Train recorded runs again in folders of their own, and compare. Of `study` only the device may be used.

    The next call continues if this one is interrupted. Raises UserError if a record does not match its fingerprint or
    has settings that this code does not know.
    """
    prepared = dataset.load(prepared_folder)
    records_by_variant: dict[str, list[TrainingRecord]] = {}
    for record in records:
        name = f"{record.identity['variant']}, seed {record.seed}"
        if provenance.fingerprint(record.identity, record.seed) != record.fingerprint:
            raise UserError(f"{name}: the record does not match its own fingerprint: it was changed after the training")
        records_by_variant.setdefault(provenance.fingerprint(record.identity), []).append(record)
    plans, folders = [], dict[str, Path]()
    for group in records_by_variant.values():
        recorded_study = _study_of_records(group, study)
        plan = execution.plan_training(recorded_study, group[0].identity["variant"], prepared)
        place = paths.repository_root() / ".lenetlab" / "reproduce"
        plans.append(replace(plan, folders={job.seed: place / job.record["fingerprint"] for job in plan.jobs}))
        folders |= {record.fingerprint: plans[-1].folders[record.seed] for record in group}
    for device in dict.fromkeys(plan.device for plan in plans):
        execution.train_unfinished([plan for plan in plans if plan.device == device])
    results = [compare(record, _read_repeated(folders[record.fingerprint])) for record in records]
    for folder in folders.values():  # they served only to continue; the next call must train everything again
        shutil.rmtree(folder)
    return results


def _read_repeated(folder: Path) -> TrainingRecord:
    return read_record(folder, folder / paths.JOURNAL)


def compare(record: TrainingRecord, repeated: TrainingRecord) -> Reproduction:
    epoch = _first_difference(record.weights, repeated.weights)
    reasons = list(_differences(record, repeated))
    accuracies = zip(record.accuracy, repeated.accuracy, strict=False)
    accuracy_difference = max((abs(before - after) for before, after in accuracies), default=0.0)
    if epoch is None:
        return Reproduction("identical", None, accuracy_difference, reasons)
    same_recipe = all(
        record.identity[key] == repeated.identity[key] for key in ("data", "code", "definition", "training")
    )
    explained = any(reason.startswith((*VERSIONS, "hardware", "numerics")) for reason in reasons)
    same_length = len(record.weights) == len(repeated.weights)
    if same_recipe and explained and same_length and accuracy_difference <= TOLERANCE:
        return Reproduction("equal within tolerance on other hardware", epoch, accuracy_difference, reasons)
    return Reproduction("different", epoch, accuracy_difference, reasons)


def summary(record: TrainingRecord, result: Reproduction) -> str:
    """The outcome in one line, and a line for each difference from the record."""
    verdict = f"{record.identity['variant']}, seed {record.seed}: {result.outcome}"
    if result.outcome == "identical":
        kept = sum(digest != stage_outputs.NOT_KEPT for digest in record.weights)
        epochs = f"{kept} {'kept ' if kept < len(record.weights) else ''}epochs"
        verdict += f"; the weights of all {epochs} are the same, bit for bit"
    else:
        points = f"{100 * result.accuracy_difference:.2f} points"
        verdict += f", first at epoch {result.epoch}; training accuracy differs by at most {points}"
    lines = [verdict]
    if result.reasons:
        lines += ["differences from the record:", *(f"  {reason}" for reason in result.reasons)]
    elif result.epoch is not None:
        lines.append("no difference from the record explains this: faulty hardware?")
    return "\n".join(lines)


def total(results: Sequence[Reproduction]) -> str:
    """How many runs had which outcome, in one line."""
    counts = Counter(result.outcome for result in results)
    return f"{len(results)} runs: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _study_of_records(records: Sequence[TrainingRecord], study: study_schema.Study) -> study_schema.Study:
    """A study of recorded seeds of one variant; its device is `auto` if this machine has none of the recorded type."""
    record = records[0]
    name, device = record.identity["variant"], record.identity["device"]
    try:
        definition = schema.Variant.model_validate(record.identity["definition"])
        settings = schema.Training.model_validate(record.identity["training"])
    except ValidationError as error:
        commit = record.origin.get("commit")
        raise UserError(
            f"the record was made by other code: this code does not know {error.error_count()} of its settings;"
            f" remedy: git checkout {commit or 'the commit that made it'}"
        ) from None
    changes: dict[str, Any] = {
        "study": (name,),
        "seeds": tuple(record.seed for record in records),
        "comparisons": {},
        "training": settings,
    }
    changes |= {"variants": {name: definition}, "device": device if devices.is_available(device) else "auto"}
    return study.model_copy(update=changes)


def _first_difference(recorded: Sequence[str], repeated: Sequence[str]) -> int | None:
    """The first epoch, from 1, with different digests or with only one digest; None if there is none.

    A digest equals another if one of them begins with the other.
    """
    for epoch, (before, after) in enumerate(zip(recorded, repeated, strict=False), start=1):
        if not (before.startswith(after) or after.startswith(before)):
            return epoch
    return None if len(recorded) == len(repeated) else min(len(recorded), len(repeated)) + 1


def _differences(record: TrainingRecord, repeated: TrainingRecord) -> Iterator[str]:
    """What is not as it was recorded: code, data, settings, versions and hardware; a line for each."""
    then, now = record.identity, repeated.identity
    if then["code"] != now["code"]:
        changed = code.changed_since(record.origin.get("commit"))
        yield f"code: not that of the record{': ' + ', '.join(changed) + ' changed' if changed else ''}"
    if then.get("own_code") != now.get("own_code"):
        yield "own code: not that of the record"
    if then["data"] != now["data"]:
        yield f"data: {now['data'][:12]} instead of {then['data'][:12]}"
    for key in ("definition", "training"):
        if then[key] != now[key]:
            yield f"parameters: this code reads {key} differently"
    if then["numerics"] != now["numerics"]:
        yield f"numerics: {now['numerics']} instead of {then['numerics']}"
    for key in VERSIONS:
        before, after = record.origin.get(key), repeated.origin[key]
        if before not in (None, after):
            yield f"{key}: {after} instead of {before}"
    if "torch" not in record.origin and then["torch"] != now["torch"]:
        yield f"torch: {now['torch']} instead of {then['torch']}"
    before, after = record.origin.get("device", then["device"]), repeated.origin["device"]
    if before not in (after, after.partition(":")[0]):
        yield f"hardware: {after} instead of {before}"
