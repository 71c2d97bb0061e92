"""Which device computes, pinned so that the same seed gives the same bits, and what to call it."""

import ctypes
import os
import platform
import resource
import sys
from pathlib import Path

import torch
import torch.utils.deterministic

from lenetlab.errors import UserError

NUMERICS = "float32"  # all arithmetic; TF32 and reduced precision are off

# MKL must give the same bits wherever in memory a matrix lies. MKL reads this at its first product, so it is set here.
# `make_deterministic` may run later than that.
os.environ.setdefault("MKL_CBWR", "AUTO")


def resolve(requested: str) -> torch.device:
    """The device that `device` in params.yaml asks for; `auto` is cuda if there is one, else cpu. UserError if absent.

    `auto` never means mps: networks this small train faster on the CPU, and there the bits repeat.
    """
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = ["auto", "cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if requested not in available:
        raise UserError(
            f"params.yaml: device: {requested!r} is not on this machine; allowed here: {', '.join(available)}"
        )
    return torch.device(requested)


def is_available(requested: str) -> bool:
    """Whether a device that params.yaml may ask for is on this machine."""
    try:
        resolve(requested)
    except UserError:
        return False
    return True


def make_deterministic() -> None:
    """One thread and deterministic algorithms, for this process: other numbers of threads give other bits.

    Freed memory is kept for the next step, which needs as much again: to ask the system for it costs up to half a step.
    """
    _keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its bits only with a fixed workspace
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode(
        "error"
    )  # use_deterministic_algorithms does the same, and loads a compiler for 4 s
    torch.utils.deterministic.fill_uninitialized_memory = False  # no operation here reads memory before it is written
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def describe(device: torch.device) -> str:
    """The hardware in words, such as `cpu: AMD EPYC 9B14 (AVX512)`: what decides how sums are rounded."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {_processor()} ({torch.backends.cpu.get_cpu_capability()})"


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that this process held at once, on the GPU if that is the device, else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_freed_memory() -> None:
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):  # glibc has it
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE = -1, -3, 2**31 - 1
        allocator.mallopt(M_TRIM_THRESHOLD, LARGE)
        allocator.mallopt(M_MMAP_THRESHOLD, LARGE)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
