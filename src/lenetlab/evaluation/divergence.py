"""Numbers and intervals as people read them; accuracies and their differences are fractions, and shown per hundred."""

from collections.abc import Collection, Mapping


def seed_list(seeds: Collection[int]) -> str:
    """`seed 3`, `seeds 1 and 4`, `seeds 0, 1 and 4`."""
    *others, last = map(str, sorted(seeds))
    return f"seeds {', '.join(others)} and {last}" if others else f"seed {last}"


def reason(name: str, lost: Collection[int], seeds: int) -> str:
    """Why nothing is decided of a variant, of whose seeds some or all diverged."""
    if len(lost) == seeds:
        return f"{f'all {seeds} seeds' if seeds > 1 else 'the only seed'} of {name} diverged: it reaches nothing"
    return (
        f"{len(lost)} of {seeds} seeds of {name} diverged ({seed_list(lost)}): what the others reach is not what it"
        " reaches"
    )


def summary(lost: Mapping[str, Mapping[str, int]], seeds: int) -> str:
    """`2 of 6 seeds (1 in epoch 1, 4 in epoch 3)`, from `diverged` of a variant.json."""
    told = ", ".join(f"{seed} in epoch {at['epoch']}" for seed, at in lost.items())
    return f"{len(lost)} of {seeds} seeds ({told})"


def warning(name: str, lost: Mapping[str, Mapping[str, int]], seeds: int) -> str:
    """What is to be told at once, and what helps."""
    return (
        f"{name}: diverged: {summary(lost, seeds)}; they have no result, and no comparison with {name} is decided;"
        " remedy: a lower learning_rate"
    )
