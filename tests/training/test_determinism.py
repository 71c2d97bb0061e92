"""The same processor family, versions and settings give the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import rounding
from lenetlab.storage import files

ROOT = Path(__file__).parents[2]
GOLDEN = files.read_json(Path(__file__).with_name("golden.json"))

# Prints a line per set of environment variables: processor family and losses. It imports torch once, for both forks,
# because that takes seconds; torch, oneDNN and MKL read the variables only at their first computation.
SCRIPT = """
import json, os, sys
import torch
for variables in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.environ.update(variables)
        from benchmarks import rounding
        print(json.dumps([rounding.processor_family(), rounding.short_losses()]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


# Prints fingerprint and weights of a short training for each set of environment variables.
TRAIN_WITH = """
import json, os, sys, tempfile
from pathlib import Path
import pydantic, ruamel.yaml, torch
for variables in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.environ.update(variables)
        from tests.training import jobs  # sets variables too, so it comes after those of the case
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(jobs.fingerprint_and_weights(Path(sys.argv[2]), Path(folder))), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
WITHOUT_EFFECT = (
    *({"MKL_CBWR": value} for value in ("COMPATIBLE", "AVX2", "AUTO,STRICT", "OFF", "")),
    *({f"{library}_DEFAULT_FPMATH_MODE": "ANY"} for library in ("ONEDNN", "DNNL")),
    {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2", "MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "TRUE"},
    {"MKL_DISABLE_FAST_MM": "1", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0", "PYTHONHASHSEED": "5"},
    {"NVIDIA_TF32_OVERRIDE": "1", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":16:8"},
)
OTHER_KERNELS = (
    *({"ATEN_CPU_CAPABILITY": value} for value in ("avx2", "default")),
    *({f"{library}_MAX_CPU_ISA": "AVX2"} for library in ("ONEDNN", "DNNL")),
    *({f"{library}_CPU_ISA_HINTS": "PREFER_YMM"} for library in ("ONEDNN", "DNNL")),
    *({"MKL_ENABLE_INSTRUCTIONS": value} for value in ("AVX2", "SSE4_2")),
    {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"},
    {"TORCH_BLAS_PREFER_CUBLASLT": "1"},
)


@pytest.fixture(scope="module")
def losses() -> dict[str, list[float]]:
    """Losses of a short training of several variants, by variant."""
    return rounding.short_losses()


def check(family: str, losses: dict[str, list[float]]) -> None:
    """Equal to the golden losses if they are known for this processor family; else equal but for rounding.

    `python -m benchmarks.rounding golden` renews the golden losses after a change of arithmetic or of torch. Those of
    the known families differ by at most 3e-8.
    """
    assert losses == GOLDEN.get(family, losses), "other bits than when the golden losses were taken"
    for golden in GOLDEN.values():
        assert losses == {name: pytest.approx(values, rel=1e-5) for name, values in golden.items()}


def test_the_losses_are_golden(losses):
    check(rounding.processor_family(), losses)


@pytest.mark.slow
def test_the_losses_are_golden_with_fewer_instructions_too():
    """As older processors compute them."""
    variables = [rounding.INSTRUCTIONS[name] for name in ("AVX2", "plain")]
    command = [sys.executable, "-c", SCRIPT, json.dumps(variables)]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout
    results = [json.loads(line) for line in output.splitlines()]
    assert [family.rpartition("only ")[2] for family, _ in results] == ["AVX2", "plain"]
    for family, found in results:
        check(family, found)


def train_with(cases: list[dict[str, str]], prepared: Path, **environ: str) -> list[list[str]]:
    """Fingerprint and weights with each set of variables, in forks of a new process."""
    command = [sys.executable, "-c", TRAIN_WITH, json.dumps(cases), str(prepared)]
    output = subprocess.run(
        command, cwd=ROOT, env=os.environ | environ, check=True, stdout=subprocess.PIPE, text=True, timeout=300
    ).stdout
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def results(prepared) -> list[list[str]]:
    """Those of a usual training, then of those with each set of variables."""
    return train_with([{}, *WITHOUT_EFFECT, *OTHER_KERNELS], prepared)


@pytest.mark.slow
def test_an_environment_variable_changes_no_bits_without_changing_the_fingerprint(results, count):
    """Set before torch computes anything; torch is imported already."""
    usual, *changed = results
    for variables, found in zip([*WITHOUT_EFFECT, *OTHER_KERNELS], changed, strict=True):
        if variables in OTHER_KERNELS:
            assert found[0] != usual[0], variables
        else:
            assert found == usual, variables
        count("environment variables")


@pytest.mark.slow
def test_variables_that_are_set_before_python_starts_change_no_bits(results, prepared):
    together: dict[str, str] = {}
    for variables in WITHOUT_EFFECT:
        together = variables | together
    assert train_with([{}], prepared, **together) == results[:1]


def test_the_same_process_gives_the_same_bits_again(losses):
    assert rounding.short_losses() == losses
