"""Many runs: in this process or side by side in several, with the same bits either way."""

import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any, TypeVar

import torch

from lenetlab.errors import UserError, die_with_parent, explain
from lenetlab.training import devices, group

T = TypeVar("T")

Task = Callable[[], Iterator[Any]]  # something to do that yields what happens on the way


def process_count(where: torch.device, tasks: int) -> int:
    """Processes to use: one per core on the CPU; a GPU is shared worse than it is used in turn."""
    return min(tasks, devices.cores()) if where.type == "cpu" else 1


def split_evenly(members: Sequence[T], processes: int, where: torch.device) -> list[Sequence[T]]:
    """Groups of like size, as few as give every process the same number of them."""
    rounds = math.ceil(len(members) / (processes * group.MAX_MEMBERS[where.type]))
    groups = min(processes * rounds, len(members))
    return [members[len(members) * place // groups : len(members) * (place + 1) // groups] for place in range(groups)]


def run_tasks(tasks: Sequence[Task], processes: int, method: str | None = None) -> Iterator[tuple[int, Any]]:
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
    devices.make_deterministic()
    while True:
        with following.get_lock():
            number, following.value = following.value, following.value + 1
        if number >= len(tasks):
            return
        try:
            for event in tasks[number]():
                sender.send((number, event))
        except Exception as error:
            known = explain(error)
            if known is None:
                raise
            sender.send((number, known))
            return
