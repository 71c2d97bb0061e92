"""Choose and describe the device that computes, and make its results repeatable bit for bit."""

import ctypes
import os
import platform
import resource
import sys
from pathlib import Path

import torch
import torch.utils.deterministic

from lenetlab.errors import UserError

NUMERICS = "float32"  # of all arithmetic: TF32 and reduced precision are off

# With this setting, MKL's results do not depend on memory alignment. MKL reads it at its first product, which can come
# before make_deterministic is called.
os.environ.setdefault("MKL_CBWR", "AUTO")


def resolve(requested: str) -> torch.device:
    """The device for the value of `device` in params.yaml; `auto` is cuda if available, else cpu.

    Raises UserError if this machine does not have it. `auto` never means mps: these small networks train faster on the
    CPU, and only there do the bits repeat.
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
    """Whether this machine has the device that a value of `device` in params.yaml asks for."""
    try:
        resolve(requested)
    except UserError:
        return False
    return True


def make_deterministic() -> None:
    """Use one thread and deterministic algorithms in this process; other numbers of threads give other bits.

    Also keeps freed memory in the process: every step needs the same amount again, and getting it from the system
    takes up to half the time of a step.
    """
    _keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    torch.set_num_threads(1)
    # torch.use_deterministic_algorithms does the same, but imports a compiler, which takes 4 s.
    torch.set_deterministic_debug_mode("error")
    # No operation here reads memory before it is written, so it need not be filled.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # absent from the stubs
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def describe(device: torch.device) -> str:
    """The hardware, such as `cpu: AMD EPYC 9B14 (AVX512)`: it decides how sums are rounded."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {_processor()} ({torch.backends.cpu.get_cpu_capability()})"


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process held at once: GPU memory for a CUDA device, else main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage reports bytes on macOS, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _keep_freed_memory() -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE = -1, -3, 2**31 - 1
        libc.mallopt(M_TRIM_THRESHOLD, LARGE)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
