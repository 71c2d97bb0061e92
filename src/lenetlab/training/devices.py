"""Choose and describe the device that computes, and make its results repeatable bit for bit."""

import ctypes
import math
import os
import platform
import resource
import sys
from pathlib import Path

import torch
import torch.utils.deterministic

from lenetlab.errors import UserError

# Environment variables that decide bits, and need the same value everywhere. The libraries read them at their first
# product or convolution, which can come before make_deterministic is called, so they are set here.
FORCED = {
    "MKL_CBWR": "AUTO",  # MKL's results do not depend on memory alignment
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",  # no reduced precision
    "DNNL_DEFAULT_FPMATH_MODE": "STRICT",  # its old name
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS is deterministic only with a fixed workspace
    "CUBLAS_EMULATE_SINGLE_PRECISION": "0",  # no products of bfloat16 in place of float32
    "NVIDIA_TF32_OVERRIDE": "0",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0",
}
os.environ.update(FORCED)

# Environment variables that let a library compute as on other hardware, or with other kernels. They are a part of what
# a result depends on, if they are set.
CHOICES_OF_KERNELS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DEBUG_CPU_TYPE",
    "GLIBC_TUNABLES",
    "CUBLASLT_HEURISTICS_LUT_FILE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
    "TORCH_CUDNN_V8_API_DISABLED",
)


def numerics() -> str:
    """The number format of all arithmetic and the choices of kernels in the environment, such as `float32`.

    TF32 and reduced precision are off.
    """
    return ", ".join(["float32", *(f"{name}={value}" for name, value in _chosen_kernels().items())])


def uses_avx512() -> bool:
    """Whether convolutions surely use AVX-512."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and not _chosen_kernels()


def resolve(requested: str) -> torch.device:
    """The device for the value of `device` in params.yaml; `auto` is cuda if available, else cpu.

    Raises UserError if this machine does not have it.
    """
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = ["auto", "cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
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


def cores(process: Path = Path("/proc/self")) -> int:
    """The number of processors that this process may use.

    Those that it may run on, or as many as its share of time fills, rounded up, if that is less: a container often has
    all processors for a part of the time. `process` is its folder in /proc.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([count, *(max(1, math.ceil(share)) for share in map(_share_of_time, _control_groups(process)) if share)])


def _control_groups(process: Path) -> list[Path]:
    """Folders of the cgroups that limit the processors of a process: its own and those around it, of both versions."""
    try:
        memberships = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        mounts = [line.split(" - ") for line in (process / "mountinfo").read_text().splitlines()]
    except OSError:  # not Linux
        return []
    path_of = {name: path for _, controllers, path in memberships for name in controllers.split(",")}
    folders = []
    for place, system in mounts:
        root, mount = place.split()[3:5]  # `root` is the cgroup that appears at `mount`
        kind, _, options = system.split(" ", 2)
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kind)  # version 2 has one tree, without a name
        if controller in path_of and (kind == "cgroup2" or "cpu" in options.split(",")):
            path = Path(path_of[controller])
            inner = path.relative_to(root) if path.is_relative_to(root) else Path()
            folders += [folder for folder in (mount / inner, *(mount / inner).parents) if folder.is_relative_to(mount)]
    return folders


def _share_of_time(group: Path) -> float | None:
    """How many processors a cgroup may fill; None if it has no limit."""
    try:
        if (group / "cpu.max").exists():  # version 2
            quota, period = map(int, (group / "cpu.max").read_text().split())
        else:
            quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):  # no such file, or the word `max`
        return None
    return quota / period if quota > 0 else None  # -1: no limit


def _chosen_kernels() -> dict[str, str]:
    """Those of CHOICES_OF_KERNELS that are set; a library ignores an empty one."""
    return {name: os.environ[name] for name in CHOICES_OF_KERNELS if os.environ.get(name)}


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
