"""The same processor family, versions and settings give the same bits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import rounding
from lenetlab.storage import files

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
    root = Path(__file__).parents[2]
    output = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout
    results = [json.loads(line) for line in output.splitlines()]
    assert [family.rpartition("only ")[2] for family, _ in results] == ["AVX2", "plain"]
    for family, found in results:
        check(family, found)


def test_the_same_process_gives_the_same_bits_again(losses):
    assert rounding.short_losses() == losses
