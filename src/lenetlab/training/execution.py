"""Train all seeds of a variant, in this process or in several; the bits are the same either way."""

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
from lenetlab.settings import schema, study_schema
from lenetlab.storage import files, locks, paths, provenance
from lenetlab.training import checkpoint, devices, group, loop, parallel, run_files


@dataclass(frozen=True)
class TrainingPlan:
    """The training jobs of one variant, one per seed."""

    variant: str
    jobs: tuple[run_files.TrainingJob, ...]
    folders: dict[int, Path]  # by seed: where the progress of its job is kept, so that it can be resumed
    prepared: dataset.Prepared
    device: torch.device


def plan_training(study: study_schema.Study, variant: str, prepared: dataset.Prepared) -> TrainingPlan:
    """The jobs of a variant on the prepared training data.

    Raises UserError if the device is not available or the settings ask for more training images than there are.
    """
    devices.make_deterministic()
    device = devices.resolve(study.device)
    definition, settings = study.variants[variant], study.training_of(variant)
    images = int((prepared.splits == "training").sum())
    if settings.images > images:
        raise UserError(
            f"params.yaml: training.images: {settings.images} for {variant} is more than there are;"
            f" allowed: 0 to {images}"
        )
    build.check(definition)
    normalization = prepared.normalization(definition.input)
    identity = provenance.identity(study, variant, prepared.digest, torch.__version__, device.type, devices.numerics())
    network = build.build_network(definition, seed=0)
    origin = {
        **provenance.origin(),
        "device": devices.describe(device),
        "threads": torch.get_num_threads(),
        "one_by_one": group.unsupported(network) or None,  # why not as a group
    }
    common = {
        "parent_fingerprint": provenance.fingerprint(identity),
        "identity": identity,
        "parameters": layer_table.parameter_count(network),
        "normalization": {"mean": normalization.mean, "std": normalization.std},
    }
    jobs, folders = [], {}
    for seed in study.seeds_of(variant):
        fingerprint = provenance.fingerprint(identity, seed)
        record = {"variant": variant, "seed": seed, "fingerprint": fingerprint, **common}
        jobs.append(run_files.TrainingJob(definition, settings, seed, record, origin))
        folders[seed] = paths.resume_folder() / fingerprint
    return TrainingPlan(variant, tuple(jobs), folders, prepared, device)


def train_variant(plan: TrainingPlan, runs: Path, journals: Path) -> None:
    """Train the seeds of a plan that are not finished, and write the results of all seeds to `runs` and `journals`."""
    train_unfinished([plan])
    with files.writing_folder(runs) as run_folders, files.writing_folder(journals) as journal_files:
        for job in plan.jobs:
            folder, name = plan.folders[job.seed], paths.seed_name(job.seed)
            record = files.read_json(folder / paths.RUN_RECORD)
            (run_folders / name).mkdir()
            for file in (*record["files"], paths.RUN_RECORD):
                shutil.copyfile(folder / file, run_folders / name / file)
            shutil.copyfile(folder / paths.JOURNAL, journal_files / f"{name}.jsonl")


def train_unfinished(plans: Sequence[TrainingPlan]) -> None:
    """Train the jobs of these plans that are not finished. After that, the folder of every job holds all its files.

    The jobs of a single plan are distributed over the processes; of several plans, each goes to one process. Ctrl-C
    loses no finished epoch: the next call resumes there. While another process trains the same, this one waits. All
    plans have the same data and device.
    """
    with ExitStack() as stack:
        # Always in the same order, so that no two processes wait for each other.
        for plan in sorted(plans, key=_lock_path):
            message = f"{plan.variant}: another process trains it; waiting for that"
            stack.enter_context(locks.locked(_lock_path(plan), _print_once(message)))
        _train_locked(plans)


def _lock_path(plan: TrainingPlan) -> Path:
    return paths.resume_folder() / f"{plan.jobs[0].record['parent_fingerprint']}.lock"


def _print_once(message: str) -> Callable[[], None]:
    return cache(lambda: print(message, file=sys.stderr))


def _train_locked(plans: Sequence[TrainingPlan]) -> None:
    """Train the unfinished jobs, with a progress bar; the caller holds the locks of the plans."""
    variants, jobs = {plan.variant for plan in plans}, sum(len(plan.jobs) for plan in plans)
    name = plans[0].variant if len(variants) == 1 else f"{len(variants)} variants"
    unfinished = [_unfinished_jobs(plan) for plan in plans]
    remaining = sum(map(len, unfinished))
    if remaining < jobs:
        kind = "seeds" if len(plans) == 1 else "trainings"
        print(f"{name}: {jobs - remaining} of {jobs} {kind} were finished before and are kept", file=sys.stderr)
    if not remaining:
        return
    for plan in plans:
        if reason := plan.jobs[0].origin["one_by_one"]:
            print(f"{plan.variant}: its seeds are trained one after another, since {reason}", file=sys.stderr)
    prepared, device = plans[0].prepared, plans[0].device

    @cache  # plans may have inputs in common
    def examples(split: str, form: schema.InputSettings, limit: int) -> dataset.Examples:
        return prepared.examples(split, form, prepared.normalization(form), device, limit)

    processes = parallel.process_count(device, remaining)
    several_plans = sum(map(bool, unfinished)) > 1
    tasks = [
        task
        for plan, jobs_of_plan in zip(plans, unfinished, strict=True)
        for task in _group_tasks(plan, jobs_of_plan, 1 if several_plans else processes, examples)
    ]
    epochs_before = sum(epochs for jobs_of_plan in unfinished for _, epochs in jobs_of_plan)
    epochs = sum(job.training.epochs for jobs_of_plan in unfinished for job, _ in jobs_of_plan)
    with tqdm(total=epochs, initial=epochs_before, desc=name, unit="epoch", dynamic_ncols=True) as bar:
        for _, event in parallel.run_tasks(tasks, min(processes, len(tasks))):
            if event["event"] == "epoch":
                bar.update()
                bar.set_postfix_str(f"loss {event['train_loss']:.4f}", refresh=False)


def _unfinished_jobs(plan: TrainingPlan) -> list[tuple[run_files.TrainingJob, int]]:
    """The jobs that are not finished, each with its number of finished epochs."""
    folders = ((job, plan.folders[job.seed]) for job in plan.jobs)
    return [(job, checkpoint.last_intact_epoch(path)) for job, path in folders if not run_files.is_finished(path)]


def _group_tasks(
    plan: TrainingPlan,
    unfinished: Sequence[tuple[run_files.TrainingJob, int]],
    processes: int,
    examples: Callable[[str, schema.InputSettings, int], dataset.Examples],
) -> Iterator[parallel.Task]:
    """Tasks that train the unfinished jobs of a plan in groups, enough for all processes.

    The examples are loaded here, before processes are forked, so that these share them.
    """
    if not unfinished:
        return
    first = plan.jobs[0]
    training = examples("training", first.variant.input, first.training.images)
    validation = examples("validation", first.variant.input, 0)

    def task(jobs: Sequence[run_files.TrainingJob]) -> parallel.Task:
        return lambda: loop.train_jobs(jobs, training, validation, [plan.folders[job.seed] for job in jobs])

    # The members of a group are at the same epoch; a stopped group may have left its seeds one epoch apart.
    for epoch in sorted({epochs for _, epochs in unfinished}):
        jobs = [job for job, epochs in unfinished if epochs == epoch]
        yield from map(task, parallel.split_evenly(jobs, processes, plan.device))
