"""Many runs: in this process or side by side in several, with the same bits either way."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from tqdm import tqdm

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.networks import build, layer_table
from lenetlab.settings import schema
from lenetlab.storage import files, paths, provenance
from lenetlab.storage.locks import locked
from lenetlab.training import checkpoint, devices, loop, parallel, run_files


@dataclass(frozen=True)
class TrainingPlan:
    """The runs of one variant, and the folder of each in which its progress outlives a stopped stage."""

    variant: str
    jobs: tuple[run_files.TrainingJob, ...]
    folders: dict[int, Path]  # by seed
    prepared: dataset.Prepared
    device: torch.device


def plan_training(study: schema.Study, variant: str, prepared: dataset.Prepared) -> TrainingPlan:
    """What training a variant means here. UserError if the device is not to be had, or there are too few images."""
    devices.make_deterministic()
    where = devices.resolve(study.device)
    images, most = int((prepared.splits == "training").sum()), study.training_of(variant).images
    if most > images:
        raise UserError(
            f"params.yaml: training.images: {most} for {variant}, which is more than there are; allowed: 0 to {images}"
        )
    definition = study.variants[variant]
    normalization = prepared.normalization(definition.input)
    identity = provenance.identity(study, variant, prepared.digest, torch.__version__, where.type, devices.NUMERICS)
    origin = {**provenance.origin(), "device": devices.describe(where), "threads": torch.get_num_threads()}
    common = {
        "parent_fingerprint": provenance.fingerprint(identity),
        "identity": identity,
        "parameters": layer_table.parameter_count(build.build_network(definition, seed=0)),
        "normalization": {"mean": normalization.mean, "std": normalization.std},
    }
    runs, folders = [], {}
    for seed in study.seeds:
        name = provenance.fingerprint(identity, seed)
        record = {"variant": variant, "seed": seed, "fingerprint": name, **common}
        runs.append(run_files.TrainingJob(definition, study.training_of(variant), seed, record, origin))
        folders[seed] = paths.resume_folder() / name
    return TrainingPlan(variant, tuple(runs), folders, prepared, where)


def train_variant(plan: TrainingPlan, runs: Path, journals: Path) -> None:
    """Train every seed of the plan that is not finished yet; then its outputs stand in `runs` and `journals`, whole."""
    train_unfinished([plan])
    with files.writing_folder(runs) as outputs, files.writing_folder(journals) as logs:
        for run in plan.jobs:
            folder, name = plan.folders[run.seed], paths.seed_name(run.seed)
            record = files.read_json(folder / paths.RUN_RECORD)
            (outputs / name).mkdir()
            for kept_file in (*record["files"], paths.RUN_RECORD):
                shutil.copyfile(folder / kept_file, outputs / name / kept_file)
            shutil.copyfile(folder / paths.JOURNAL, logs / f"{name}.jsonl")


def train_unfinished(plans: Sequence[TrainingPlan]) -> None:
    """Train what is not finished yet of these plans; the folder of each run then holds all of it.

    The seeds of one plan are shared out among the processes; of several plans, each is a process's task as a whole.
    Ctrl-C loses no finished epoch: the next call goes on there. While another process trains the same, this one waits.
    """
    with ExitStack() as locks:
        for plan in sorted(plans, key=_lock):  # in one order, so that no two processes wait for each other
            locks.enter_context(locked(_lock(plan), _waiting_message(plan.variant)))
        _finish(plans)


def _lock(plan: TrainingPlan) -> Path:
    return paths.resume_folder() / f"{plan.jobs[0].record['parent_fingerprint']}.lock"


def _waiting_message(variant: str) -> Callable[[], None]:
    return cache(lambda: print(f"{variant}: another process trains it; waiting for that", file=sys.stderr))


def _finish(plans: Sequence[TrainingPlan]) -> None:
    waiting = [list(_waiting(plan)) for plan in plans]
    name, runs = plans[0].variant, [run for plan in plans for run in plan.jobs]
    kept = len(runs) - sum(map(len, waiting))
    if kept:
        what = "seeds" if len(plans) == 1 else "trainings"
        print(f"{name}: {kept} of {len(runs)} {what} were done before and are kept", file=sys.stderr)
    if kept == len(runs):
        return
    data, where = plans[0].prepared, plans[0].device

    @cache  # what plans have in common is read once
    def digits(part: str, form: schema.InputSettings, most: int) -> dataset.Digits:
        return data.digits(part, form, data.normalization(form), where, most)

    processes, several = parallel.process_count(where, len(runs) - kept), sum(map(bool, waiting)) > 1
    tasks = [
        task
        for plan, part in zip(plans, waiting, strict=True)
        for task in _tasks(plan, part, 1 if several else processes, digits)
    ]
    done = sum(epochs for part in waiting for _, epochs in part)
    epochs = sum(run.training.epochs for part in waiting for run, _ in part)
    with tqdm(total=epochs, initial=done, desc=name, unit="epoch", dynamic_ncols=True) as bar:
        for _, event in parallel.run_tasks(tasks, min(processes, len(tasks))):
            if event["event"] == "epoch":
                bar.update()
                bar.set_postfix_str(f"loss {event['train_loss']:.4f}", refresh=False)


def _waiting(plan: TrainingPlan) -> Iterator[tuple[run_files.TrainingJob, int]]:
    """The runs that are not finished, and how many epochs of each are."""
    for run in plan.jobs:
        folder = plan.folders[run.seed]
        if not run_files.is_finished(folder):
            yield run, checkpoint.epochs_done(folder)


def _tasks(
    plan: TrainingPlan,
    waiting: Sequence[tuple[run_files.TrainingJob, int]],
    processes: int,
    digits: Callable[..., dataset.Digits],
) -> Iterator[parallel.Task]:
    """The trainings of a plan, shared out among so many processes; their digits are read before these are forked."""
    if not waiting:
        return
    form, most = plan.jobs[0].variant.input, plan.jobs[0].training.images
    known, unseen = digits("training", form, most), digits("validation", form, 0)

    def task(runs: Sequence[run_files.TrainingJob]) -> parallel.Task:
        return lambda: loop.train_jobs(runs, known, unseen, [plan.folders[run.seed] for run in runs])

    for epoch in sorted({done for _, done in waiting}):  # one that was stopped may have left its seeds an epoch apart
        alike = [run for run, done in waiting if done == epoch]
        yield from (task(runs) for runs in parallel.split_evenly(alike, processes, plan.device))
