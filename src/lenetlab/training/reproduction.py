"""A recorded training, made again from its record alone, and compared with it bit for bit."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage import code, files, manifests, paths, provenance
from lenetlab.training import devices, execution, run_files

VERSIONS = ("torch", "numpy", "python")
# Two processors round differently, and training makes much of little. With AVX2 in place of AVX-512, training accuracy
# of lenet5, mlp and lenet5-regularized changed by 0.0013 at most in any of ten epochs, and with another seed by
# 0.0018 to 0.0119 (docs/reliability.md).
TOLERANCE = 0.004  # of training accuracy, in every epoch


@dataclass(frozen=True)
class TrainingRecord:
    """What a record tells of one training: all that decides its bits, and what came out."""

    identity: dict[str, Any]
    seed: int
    fingerprint: str
    weights: list[str]  # of each epoch, the digest or how it begins
    accuracy: list[float]  # of each epoch, on the training images as they were met
    origin: Mapping[str, Any]  # commit, versions, hardware, as far as they are known


@dataclass(frozen=True)
class Reproduction:
    outcome: Literal["identical", "equal within tolerance on other hardware", "different"]
    epoch: int | None  # the first whose weights differ
    farthest: float  # difference of training accuracy in any epoch
    reasons: list[str]  # what is not as it was recorded


def read_record(folder: Path, journal: Path) -> TrainingRecord:
    """What stands on disk of a training, such as `runs/mlp/seed-0` and `journals/mlp/seed-0.jsonl`."""
    try:
        record = manifests.read_manifest(folder / paths.RUN_RECORD)
    except manifests.Damaged as damage:
        raise UserError(f"{damage}; remedy: dvc checkout --force, or dvc repro") from None
    weights = sorted((name for name in record["files"] if name.startswith("epoch")), key=_epoch)
    starts = [line for line in files.read_json_lines(journal) if line["event"] == "start"]
    return TrainingRecord(
        identity=record["identity"],
        seed=record["seed"],
        fingerprint=record["fingerprint"],
        weights=[record["files"][name] for name in weights],
        accuracy=[float(row["train_accuracy"]) for row in run_files.read_curves(folder / paths.CURVES)],
        origin=starts[-1]["provenance"] if starts else {},
    )


def reproduce(record: TrainingRecord, study: schema.Study, prepared_folder: Path) -> Reproduction:
    """Train again what `record` describes, in a folder of its own, and compare. `study` is only asked for the device.

    UserError if the record does not agree with its own fingerprint, or tells of what this code does not know.
    """
    if provenance.fingerprint(record.identity, record.seed) != record.fingerprint:
        raise UserError("the record does not agree with its own fingerprint: it was changed after the training")
    prepared = dataset.load(prepared_folder)
    plan = execution.plan_training(_as_recorded(record, study), record.identity["variant"], prepared)
    run = plan.jobs[0]
    folder = paths.repository_root() / ".lenetlab" / "reproduce" / run.record["fingerprint"]
    execution.train_unfinished([replace(plan, folders={record.seed: folder})])
    found = read_record(folder, folder / paths.JOURNAL)
    shutil.rmtree(folder)  # it was kept only to go on from, and another time all is to be made anew
    return compare(record, found)


def compare(record: TrainingRecord, found: TrainingRecord) -> Reproduction:
    """How what was `found` compares with the record."""
    epoch = _first_different(record.weights, found.weights)
    reasons = list(_reasons(record, found))
    farthest = max((abs(a - b) for a, b in zip(record.accuracy, found.accuracy, strict=False)), default=0.0)
    if epoch is None:
        return Reproduction("identical", None, farthest, reasons)
    same_recipe = all(record.identity[key] == found.identity[key] for key in ("data", "code", "definition", "training"))
    elsewhere = any(reason.startswith((*VERSIONS, "hardware")) for reason in reasons)
    if same_recipe and elsewhere and len(record.weights) == len(found.weights) and farthest <= TOLERANCE:
        return Reproduction("equal within tolerance on other hardware", epoch, farthest, reasons)
    return Reproduction("different", epoch, farthest, reasons)


def summary(record: TrainingRecord, found: Reproduction) -> str:
    """The verdict as a line, and a line for each thing that is not as it was recorded."""
    what = f"{record.identity['variant']}, seed {record.seed}: {found.outcome}"
    if found.outcome == "identical":
        what += f"; the weights of all {len(record.weights)} epochs are the same, bit for bit"
    else:
        what += f", first at epoch {found.epoch}; training accuracy is at most {100 * found.farthest:.2f} points apart"
    unknown = [] if found.reasons or found.epoch is None else ["nothing that is recorded explains it: faulty hardware?"]
    heading = ["not as it was recorded:"] if found.reasons else []
    return "\n".join([what, *heading, *(f"  {reason}" for reason in found.reasons), *unknown])


def _as_recorded(record: TrainingRecord, study: schema.Study) -> schema.Study:
    """A study of that one training; on this machine's usual device, where it has none of the recorded type."""
    name, type_ = record.identity["variant"], record.identity["device"]
    try:
        definition = schema.Variant.model_validate(record.identity["definition"])
        settings = schema.Training.model_validate(record.identity["training"])
    except ValidationError as error:
        commit = record.origin.get("commit")
        raise UserError(
            f"the record was made by other code, whose settings this one does not know ({error.error_count()} of them);"
            f" remedy: git checkout {commit or 'the commit that made it'}"
        ) from None
    one = {"study": (name,), "seeds": (record.seed,), "comparisons": {}, "training": settings}
    one |= {"variants": {name: definition}, "device": type_ if devices.is_available(type_) else "auto"}
    return study.model_copy(update=one)


def _first_different(one: Sequence[str], other: Sequence[str]) -> int | None:
    """The first epoch, from 1, of which the digests differ as far as both are known, or which one of them lacks."""
    for epoch, (first, second) in enumerate(zip(one, other, strict=False), start=1):
        if not (first.startswith(second) or second.startswith(first)):
            return epoch
    return None if len(one) == len(other) else min(len(one), len(other)) + 1


def _reasons(record: TrainingRecord, found: TrainingRecord) -> Iterator[str]:
    """All that is not as it was recorded, a line each."""
    then, now = record.identity, found.identity
    if then["code"] != now["code"]:
        changed = code.changed_since(record.origin.get("commit"))
        yield f"code: other than that of the record{', in ' + ', '.join(changed) if changed else ''}"
    if then["data"] != now["data"]:
        yield f"data: {now['data'][:12]} instead of {then['data'][:12]}"
    for key in ("definition", "training"):
        if then[key] != now[key]:
            yield f"parameters: {key} is read otherwise by this code"
    for key in VERSIONS:
        before, after = record.origin.get(key), found.origin[key]
        if before not in (None, after):
            yield f"{key}: {after} instead of {before}"
    if "torch" not in record.origin and then["torch"] != now["torch"]:
        yield f"torch: {now['torch']} instead of {then['torch']}"
    before, after = record.origin.get("device", then["device"]), found.origin["device"]
    if before not in (after, after.partition(":")[0]):
        yield f"hardware: {after} instead of {before}"


def _epoch(name: str) -> int:
    return int(name.removeprefix("epoch-").removesuffix(".safetensors"))
