"""Many runs: in this process or side by side in several, with the same bits either way."""

import math
import multiprocessing
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from lenetlab import (
    UserError,
    checkpoint,
    dataset,
    device,
    die_with_parent,
    files,
    group,
    in_words,
    models,
    params,
    provenance,
    training,
)

T = TypeVar("T")
Task = Callable[[], Iterator[Any]]  # something to do that yields what happens on the way


@dataclass(frozen=True)
class Plan:
    """The runs of one variant, and the folder of each in which its progress outlives a stopped stage."""

    variant: str
    runs: tuple[training.Run, ...]
    folders: dict[int, Path]  # by seed
    prepared: dataset.Prepared
    where: torch.device


def plan(study: params.Study, variant: str, prepared_folder: Path) -> Plan:
    """What training a variant means here. UserError if the data or the device are not to be had."""
    return plan_on(dataset.load(prepared_folder), study, variant)


def plan_on(prepared: dataset.Prepared, study: params.Study, variant: str) -> Plan:
    """The same on data that were read before."""
    device.pin()
    where = device.resolve(study.device)
    images, most = int((prepared.splits == "training").sum()), study.training_of(variant).images
    if most > images:
        raise UserError(
            f"params.yaml: training.images: {most} for {variant}, which is more than there are; allowed: 0 to {images}"
        )
    definition = study.variants[variant]
    normalization = prepared.normalization(definition.input)
    identity = provenance.identity(study, variant, prepared.digest, torch.__version__, where.type, device.NUMERICS)
    origin = {**provenance.origin(), "device": device.describe(where), "threads": torch.get_num_threads()}
    common = {
        "parent_fingerprint": provenance.fingerprint(identity),
        "identity": identity,
        "parameters": models.parameter_count(models.build(definition, seed=0)),
        "normalization": {"mean": normalization.mean, "std": normalization.std},
    }
    runs, folders = [], {}
    for seed in study.seeds:
        name = provenance.fingerprint(identity, seed)
        record = {"variant": variant, "seed": seed, "fingerprint": name, **common}
        runs.append(training.Run(definition, study.training_of(variant), seed, record, origin))
        folders[seed] = files.root() / ".lenetlab" / "resume" / name
    return Plan(variant, tuple(runs), folders, prepared, where)


def train(plan: Plan, runs: Path, journals: Path) -> None:
    """Train every seed of the plan that is not finished yet; then its outputs stand in `runs` and `journals`, whole."""
    finish([plan])
    with files.folder(runs) as outputs, files.folder(journals) as logs:
        for run in plan.runs:
            folder, name = plan.folders[run.seed], f"seed-{run.seed}"
            record = files.read_json(folder / training.RECORD)
            (outputs / name).mkdir()
            for kept_file in (*record["files"], training.RECORD):
                shutil.copyfile(folder / kept_file, outputs / name / kept_file)
            shutil.copyfile(folder / training.JOURNAL, logs / f"{name}.jsonl")


def finish(plans: Sequence[Plan]) -> None:
    """Train what is not finished yet of these plans; the folder of each run then holds all of it.

    The seeds of one plan are shared out among the processes; of several plans, each is a process's task as a whole.
    Ctrl-C loses no finished epoch: the next call goes on there. While another process trains the same, this one waits.
    """
    with ExitStack() as locks:
        for plan in sorted(plans, key=_lock):  # in one order, so that no two processes wait for each other
            locks.enter_context(files.locked(_lock(plan), _told_once(plan.variant)))
        _finish(plans)


def _lock(plan: Plan) -> Path:
    return files.root() / ".lenetlab" / "resume" / f"{plan.runs[0].record['parent_fingerprint']}.lock"


def _told_once(variant: str) -> Callable[[], None]:
    return cache(lambda: print(f"{variant}: another process trains it; waiting for that", file=sys.stderr))


def _finish(plans: Sequence[Plan]) -> None:
    waiting = [list(_waiting(plan)) for plan in plans]
    name, runs = plans[0].variant, [run for plan in plans for run in plan.runs]
    kept = len(runs) - sum(map(len, waiting))
    if kept:
        what = "seeds" if len(plans) == 1 else "trainings"
        print(f"{name}: {kept} of {len(runs)} {what} were done before and are kept", file=sys.stderr)
    if kept == len(runs):
        return
    data, where = plans[0].prepared, plans[0].where

    @cache  # what plans have in common is read once
    def digits(part: str, form: params.Input, most: int) -> dataset.Digits:
        return data.digits(part, form, data.normalization(form), where, most)

    processes, several = workers(where, len(runs) - kept), sum(map(bool, waiting)) > 1
    tasks = [
        task
        for plan, part in zip(plans, waiting, strict=True)
        for task in _tasks(plan, part, 1 if several else processes, digits)
    ]
    done = sum(epochs for part in waiting for _, epochs in part)
    epochs = sum(run.training.epochs for part in waiting for run, _ in part)
    with tqdm(total=epochs, initial=done, desc=name, unit="epoch", dynamic_ncols=True) as bar:
        for _, event in perform(tasks, min(processes, len(tasks))):
            if event["event"] == "epoch":
                bar.update()
                bar.set_postfix_str(f"loss {event['train_loss']:.4f}", refresh=False)


def _waiting(plan: Plan) -> Iterator[tuple[training.Run, int]]:
    """The runs that are not finished, and how many epochs of each are."""
    for run in plan.runs:
        folder = plan.folders[run.seed]
        if not training.finished(folder):
            yield run, checkpoint.epochs_done(folder)


def _tasks(
    plan: Plan, waiting: Sequence[tuple[training.Run, int]], processes: int, digits: Callable[..., dataset.Digits]
) -> Iterator[Task]:
    """The trainings of a plan, shared out among so many processes; their digits are read before these are forked."""
    if not waiting:
        return
    form, most = plan.runs[0].variant.input, plan.runs[0].training.images
    known, unseen = digits("training", form, most), digits("validation", form, 0)

    def task(runs: Sequence[training.Run]) -> Task:
        return lambda: training.fit(runs, known, unseen, [plan.folders[run.seed] for run in runs])

    for epoch in sorted({done for _, done in waiting}):  # one that was stopped may have left its seeds an epoch apart
        alike = [run for run, done in waiting if done == epoch]
        yield from (task(runs) for runs in split(alike, processes, plan.where))


def workers(where: torch.device, tasks: int) -> int:
    """Processes to use: one per core on the CPU; a GPU is shared worse than it is used in turn."""
    return min(tasks, device.cores()) if where.type == "cpu" else 1


def split(members: Sequence[T], processes: int, where: torch.device) -> list[Sequence[T]]:
    """Groups of like size, as few as give every process the same number of them."""
    rounds = math.ceil(len(members) / (processes * group.MOST[where.type]))
    groups = min(processes * rounds, len(members))
    return [members[len(members) * place // groups : len(members) * (place + 1) // groups] for place in range(groups)]


def perform(tasks: Sequence[Task], processes: int, method: str | None = None) -> Iterator[tuple[int, Any]]:
    """Do all tasks, so many at a time; yields (number of the task, what it yielded) as it comes.

    One process is this one, unless a `method` is given by which new ones are started: fork or spawn. An error of a task
    ends all of them; what a user can put right is raised here, as is that a process has died.
    """
    if processes == 1 and method is None:
        for number, task in enumerate(tasks):
            for event in task():
                yield number, event
        return
    context = multiprocessing.get_context(method or "fork")  # what is there already, data and torch, is not copied
    following = context.Value("i", 0)
    children = {}
    try:
        for _ in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_work, args=(tasks, following, sender), daemon=True)
            child.start()
            sender.close()  # so that the pipe ends with the child, and no later child holds it open
            children[receiver] = child
        yield from _events(dict(children))
    finally:
        for child in children.values():
            child.terminate()
            child.join()


def _events(children: dict[Any, Any]) -> Iterator[tuple[int, Any]]:
    while children:
        for receiver in connection.wait(list(children)):
            try:
                number, content = receiver.recv()
            except EOFError:
                child = children.pop(receiver)
                child.join()
                if child.exitcode:
                    raise UserError(f"a worker process died: {_cause(child.exitcode)}; run again to go on") from None
                continue
            if isinstance(content, UserError):
                raise content
            yield number, content


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"signal {name}" + (
        ": out of memory? fewer processors need less (taskset -c 0)" if name == "SIGKILL" else ""
    )


def _work(tasks: Sequence[Task], following: Any, sender: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    die_with_parent()
    device.pin()
    while True:
        with following.get_lock():
            number, following.value = following.value, following.value + 1
        if number >= len(tasks):
            return
        try:
            for event in tasks[number]():
                sender.send((number, event))
        except Exception as error:
            known = in_words(error)
            if known is None:
                raise
            sender.send((number, known))
            return
