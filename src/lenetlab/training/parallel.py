"""Run tasks in several processes."""

import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from typing import Any, TypeAlias, TypeVar

import torch

from lenetlab.errors import UserError, die_with_parent, explain
from lenetlab.training import devices, group

T = TypeVar("T")

Task = Callable[[], Iterator[Any]]  # yields events while it works
# Workers send the index of a task with an event, or with the UserError that ended the task.
Channel: TypeAlias = "connection.Connection[tuple[int, Any], tuple[int, Any]]"


def process_count(device: torch.device, tasks: int) -> int:
    """How many processes to use: one per core on a CPU; one on a GPU, which is slower when processes share it."""
    return min(tasks, devices.cores()) if device.type == "cpu" else 1


def split_evenly(members: Sequence[T], processes: int, device: torch.device) -> list[Sequence[T]]:
    """Groups of equal size (±1), no larger than MAX_MEMBERS: as few as give every process the same number of them."""
    rounds = math.ceil(len(members) / (processes * group.MAX_MEMBERS[device.type]))
    groups = min(processes * rounds, len(members))
    return [members[len(members) * place // groups : len(members) * (place + 1) // groups] for place in range(groups)]


def run_tasks(tasks: Sequence[Task], processes: int, method: str | None = None) -> Iterator[tuple[int, Any]]:
    """Run all tasks, up to `processes` at a time; yields (index of the task, event) for every event of theirs.

    With one process the tasks run in this process, unless `method`, fork or spawn, says how to start another. An error
    in a task ends all of them. Raises UserError if a task did, if an error of the system that `explain` knows occurred
    in a worker process, or if a worker process died.
    """
    if processes == 1 and method is None:
        for index, task in enumerate(tasks):
            for event in task():
                yield index, event
        return
    context: ForkContext | SpawnContext = multiprocessing.get_context("fork")  # shares data and torch without a copy
    if method == "spawn":
        context = multiprocessing.get_context("spawn")
    next_index = context.Value("i", 0)
    workers: dict[Channel, BaseProcess] = {}
    try:
        for _ in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            worker: BaseProcess = context.Process(target=_work, args=(tasks, next_index, sender), daemon=True)
            worker.start()
            sender.close()  # the worker alone holds it now, so the pipe ends with the worker
            workers[receiver] = worker
        yield from _receive(dict(workers))
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.join()


def _receive(workers: dict[Channel, BaseProcess]) -> Iterator[tuple[int, Any]]:
    while workers:
        ready = connection.wait(workers)
        for receiver in [channel for channel in workers if channel in ready]:
            try:
                index, event = receiver.recv()
            except EOFError:
                worker = workers.pop(receiver)
                worker.join()
                if worker.exitcode:
                    cause = _describe_exit(worker.exitcode)
                    raise UserError(f"a worker process died: {cause}; run again to go on") from None
                continue
            if isinstance(event, UserError):
                raise event
            yield index, event


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    hint = ": out of memory? fewer processors need less (taskset -c 0)" if name == "SIGKILL" else ""
    return f"signal {name}{hint}"


def _work(tasks: Sequence[Task], next_index: "Synchronized[int]", sender: Channel) -> None:
    """What a worker process does: take the next task until there are none, and send its events to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    die_with_parent()
    devices.make_deterministic()
    while True:
        with next_index.get_lock():
            index, next_index.value = next_index.value, next_index.value + 1
        if index >= len(tasks):
            return
        try:
            for event in tasks[index]():
                sender.send((index, event))
        except Exception as error:
            known = explain(error)
            if known is None:
                raise
            sender.send((index, known))
            return
