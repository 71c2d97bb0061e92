"""The same machine type, versions and settings give the same bits: against golden losses, and along two paths."""

from pathlib import Path

import pytest

from benchmarks import rounding
from lenetlab.storage import files

GOLDEN = files.read_json(Path(__file__).with_name("golden.json"))


def test_the_losses_are_golden():
    """Exact on a processor whose losses are known; on any other, as near as rounding lets them be.

    `python -m benchmarks.rounding golden` renews them, which a change of arithmetic or of torch asks for. The three
    kinds that are known differ by 3e-8 at most.
    """
    found = rounding.short_losses()
    for name, losses in GOLDEN.get(rounding.processor_family(), {}).items():
        assert found[name] == losses, f"{name}: other bits than when the golden losses were taken"
    for known in GOLDEN.values():
        for name, losses in known.items():
            assert found[name] == pytest.approx(losses, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["AVX2", "plain"])
def test_the_losses_are_golden_with_fewer_instructions_too(kind):
    """What an older processor would compute."""
    family, losses = rounding.call_with_instructions(kind, "short_losses")
    assert losses == GOLDEN.get(family, losses)
    for known in GOLDEN.values():
        assert losses == {name: pytest.approx(values, rel=1e-5) for name, values in known.items()}


def test_the_same_process_gives_the_same_bits_again():
    assert rounding.short_losses() == rounding.short_losses()
