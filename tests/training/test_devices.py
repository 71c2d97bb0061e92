"""Choose and describe the device, with and without a GPU."""

import pytest
import torch

from lenetlab.errors import UserError
from lenetlab.training import devices


@pytest.fixture
def set_gpus(monkeypatch):
    """A function that makes torch report so many GPUs."""

    def report(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return report


def test_auto_is_the_gpu_if_there_is_one(set_gpus):
    set_gpus(0)
    assert devices.resolve("auto") == torch.device("cpu")
    set_gpus(2)
    assert devices.resolve("auto") == torch.device("cuda")
    assert devices.resolve("cuda:1") == torch.device("cuda:1")
    assert devices.resolve("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("count", "requested", "allowed"),
    [(0, "cuda", "auto, cpu"), (2, "cuda:2", "cuda:0, cuda:1"), (2, "mps", "auto, cpu, cuda")],
)
def test_an_absent_device_is_rejected_with_those_that_are_present(set_gpus, count, requested, allowed):
    set_gpus(count)
    assert not devices.is_available(requested)
    with pytest.raises(UserError, match=allowed):
        devices.resolve(requested)


def test_training_uses_one_thread_and_deterministic_operations():
    devices.make_deterministic()
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


def test_the_description_names_the_processor():
    kind, _, name = devices.describe(torch.device("cpu")).partition(": ")
    assert kind == "cpu"
    assert name


def test_the_peak_memory_is_in_bytes():
    assert devices.peak_memory(torch.device("cpu")) > 10_000_000
