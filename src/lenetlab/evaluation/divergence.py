"""Sentences about seeds that diverged: their loss or weights became NaN or infinite, so their training stopped.

`seeds` is the number of all seeds of the variant. `diverged` holds the others' numbers, or is `diverged` of a
`variant.json`: by seed, the epoch and the step.
"""

from collections.abc import Collection, Mapping


def seed_list(seeds: Collection[int]) -> str:
    """`seed 3`, `seeds 1 and 4` or `seeds 0, 1 and 4`."""
    *others, last = map(str, sorted(seeds))
    return f"seeds {', '.join(others)} and {last}" if others else f"seed {last}"


def reason_undecided(variant: str, diverged: Collection[int], seeds: int) -> str:
    """Why no comparison with this variant, and no statement about it, is decided."""
    if len(diverged) == seeds:
        return f"{f'all {seeds} seeds' if seeds > 1 else 'the only seed'} of {variant} diverged: it has no result"
    return (
        f"{len(diverged)} of {seeds} seeds of {variant} diverged ({seed_list(diverged)}): the other seeds alone do not"
        " represent it"
    )


def summary(diverged: Mapping[str, Mapping[str, int]], seeds: int) -> str:
    """`2 of 6 seeds (1 in epoch 1, 4 in epoch 3)`."""
    epochs = ", ".join(f"{seed} in epoch {place['epoch']}" for seed, place in diverged.items())
    return f"{len(diverged)} of {seeds} seeds ({epochs})"


def warning(variant: str, diverged: Mapping[str, Mapping[str, int]], seeds: int) -> str:
    """What the user must know before the report is written, with a remedy."""
    return (
        f"{variant}: diverged: {summary(diverged, seeds)}; these seeds have no result, and every comparison with"
        f" {variant} is inconclusive; remedy: a lower learning_rate"
    )
