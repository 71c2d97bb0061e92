"""Which variants comparisons call better."""

import pytest

from lenetlab.prediction import verdicts


def entries(*texts: str) -> list[dict[str, str]]:
    """From `a better b`, or `a better b test_loss`."""
    parts = [[*text.split(), "test_accuracy"][:4] for text in texts]
    return [dict(zip(("candidate", "verdict", "baseline", "measure"), row, strict=True)) for row in parts]


@pytest.mark.parametrize(
    ("compared", "expected"),
    [
        (["a better b"], ["a"]),
        (["a worse b"], ["b"]),
        (["a better b", "c better a"], ["c"]),
        (["a better b", "c equivalent a", "d inconclusive a"], ["a"]),
        (["a better b", "c better d"], ["a", "c"]),
        (["a equivalent b"], []),
        (["a better b test_loss"], []),
        (["a better b", "b better a"], []),
        ([], []),
    ],
)
def test_undefeated_variants_won_and_never_lost(compared, expected):
    assert verdicts.undefeated(verdicts.wins(entries(*compared))) == expected
