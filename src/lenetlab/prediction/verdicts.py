"""Which variants comparisons of test accuracy call better, from comparison.json."""

from collections.abc import Iterable, Mapping
from typing import Any


def wins(entries: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Pairs of a better and a worse variant: every comparison of test accuracy with such a verdict."""
    pairs = set()
    for entry in entries:
        if entry["measure"] == "test_accuracy" and entry["verdict"] in ("better", "worse"):
            pair = entry["candidate"], entry["baseline"]
            pairs.add(pair if entry["verdict"] == "better" else (pair[1], pair[0]))
    return pairs


def undefeated(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The variants that are better than another one and worse than none, sorted."""
    pairs = set(pairs)
    return sorted({winner for winner, _ in pairs} - {loser for _, loser in pairs})
