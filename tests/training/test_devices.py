"""Choose and describe the device, with and without a GPU."""

from pathlib import Path

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


def make_groups(folder: Path, version: int, quotas: dict[str, float | None], path: str, root: str = "/") -> Path:
    """The folder of a process in the cgroup `path`, as in /proc, and cgroups with quotas in processors.

    `root` is the cgroup that is mounted.
    """
    for name, quota in quotas.items():
        group = folder / "mount" / name
        group.mkdir(parents=True, exist_ok=True)
        if version == 2:
            (group / "cpu.max").write_text(f"{'max' if quota is None else round(quota * 100_000)} 100000\n")
        else:
            (group / "cpu.cfs_quota_us").write_text(f"{-1 if quota is None else round(quota * 50_000)}\n")
            (group / "cpu.cfs_period_us").write_text("50000\n")
    line, system = ("0:", "cgroup2 cgroup rw") if version == 2 else ("4:cpuacct,cpu", "cgroup cgroup rw,cpuacct,cpu")
    (folder / "cgroup").write_text(f"12:pids:/elsewhere\n{line}:{path}\n")
    (folder / "mountinfo").write_text(
        f"22 28 0:21 / /proc rw - proc proc rw\n30 25 0:26 {root} {folder}/mount rw shared:9 - {system}\n"
    )
    return folder


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("quotas", "path", "expected"),
    [
        ({"": None}, "/", 8),
        ({"": 3.0}, "/", 3),
        ({"": 2.1}, "/", 3),
        ({"": 0.2}, "/", 1),
        ({"": 64.0}, "/", 8),
        ({"": None, "a": 4.0, "a/b": 2.0}, "/a/b", 2),
        ({"": None, "a": 2.0, "a/b": 4.0, "c": 1.0}, "/a/b", 2),  # c is another group
        ({"": 5.0, "a": None}, "/a", 5),
        ({"": 5.0}, "/gone", 5),
    ],
)
def test_a_quota_of_the_container_limits_the_cores(tmp_path, monkeypatch, version, quotas, path, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert devices.cores(make_groups(tmp_path, version, quotas, path)) == expected


@pytest.mark.parametrize("version", [1, 2])
def test_the_quota_is_found_where_the_container_sees_its_own_group_as_the_root(tmp_path, monkeypatch, version):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    process = make_groups(tmp_path, version, {"": 5.0, "inner": 3.0}, "/docker/4f/inner", root="/docker/4f")
    assert devices.cores(process) == 3
    assert devices.cores(make_groups(tmp_path, version, {}, "/", root="/docker/4f")) == 5
    assert devices.cores(tmp_path / "no /proc") == 8


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
