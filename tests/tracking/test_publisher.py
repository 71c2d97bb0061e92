"""How long a publisher waits once its stage has ended."""

import time
from collections.abc import Callable
from contextlib import ExitStack

from lenetlab.tracking import publisher
from tests.tracking.forked import ForkedProcess


def compute(limit: publisher.WaitLimit) -> None:
    """For longer than the limit, as on a slow machine."""
    del limit
    while time.process_time() < 1.2:
        pass


def wait_for_one_answer(limit: publisher.WaitLimit) -> None:
    del limit
    time.sleep(10)


def get_late_answers(limit: publisher.WaitLimit) -> None:
    for _ in range(10):
        time.sleep(0.4)
        limit.on_answer(0.2)


def get_answers_in_time(limit: publisher.WaitLimit) -> None:
    for _ in range(12):
        time.sleep(0.1)
        limit.on_answer(0.4)


def limited(work: Callable[[publisher.WaitLimit], None]) -> None:
    work(publisher.WaitLimit())
    print("done")


def test_waiting_for_others_is_limited_and_computing_is_not(monkeypatch):
    monkeypatch.setattr(publisher, "MAX_WAIT_SECONDS", 0.6)
    works = (compute, wait_for_one_answer, get_late_answers, get_answers_in_time)
    with ExitStack() as stack:
        processes = [stack.enter_context(ForkedProcess(lambda work=work: limited(work))) for work in works]
        for process in processes:
            process.stdin.close()  # the stage has ended
        lines = {work.__name__: process.read_lines() for work, process in zip(works, processes, strict=True)}
    too_long = ["failed: it waited too long for the database"]
    assert {name: [line for line in found if line != "."] for name, found in lines.items()} == {
        "compute": ["done"],
        "wait_for_one_answer": too_long,
        "get_late_answers": too_long,
        "get_answers_in_time": ["done"],
    }
