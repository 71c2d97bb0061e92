"""Numbers and intervals as people read them; accuracies and their differences are fractions, and shown per hundred."""

from collections.abc import Collection, Mapping, Sequence

Interval = Sequence[float] | None
NONE = "–"  # where there is no figure


def percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.2f}".replace("-", "−")


def points(difference: float | None) -> str:
    """Percentage points with their sign; what rounds to nothing has none."""
    if difference is None:
        return NONE
    return f"{100 * difference:+.2f}".replace("+0.00", "0.00").replace("-0.00", "0.00").replace("-", "−")


def whole(count: float) -> str:
    return f"{count:,.0f}"


def span(interval: Interval) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}" if interval else NONE


def points_span(interval: Interval) -> str:
    return f"{points(interval[0])} to {points(interval[1])}" if interval else NONE


def p_value(value: float) -> str:
    """Two significant digits."""
    return "< 0.0001" if value < 0.0001 else f"{value:#.2g}"


def three_digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{float(f'{value:.3g}'):,.10f}".rstrip("0").rstrip(".") if value else "0"


def duration(seconds: float) -> str:
    """In the largest unit of which there is at least one, to three digits."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{three_digits(seconds / 1e-6)} µs"


def numbered(seeds: Collection[int]) -> str:
    """`seed 3`, `seeds 1 and 4`, `seeds 0, 1 and 4`."""
    *others, last = map(str, sorted(seeds))
    return f"seeds {', '.join(others)} and {last}" if others else f"seed {last}"


def diverged(name: str, lost: Collection[int], seeds: int) -> str:
    """Why nothing is decided of a variant, of whose seeds some or all diverged."""
    if len(lost) == seeds:
        return f"{f'all {seeds} seeds' if seeds > 1 else 'the only seed'} of {name} diverged: it reaches nothing"
    return (
        f"{len(lost)} of {seeds} seeds of {name} diverged ({numbered(lost)}): what the others reach is not what it"
        " reaches"
    )


def divergence(lost: Mapping[str, Mapping[str, int]], seeds: int) -> str:
    """`2 of 6 seeds (1 in epoch 1, 4 in epoch 3)`, from `diverged` of a variant.json."""
    told = ", ".join(f"{seed} in epoch {at['epoch']}" for seed, at in lost.items())
    return f"{len(lost)} of {seeds} seeds ({told})"


def warning(name: str, lost: Mapping[str, Mapping[str, int]], seeds: int) -> str:
    """What is to be told at once, and what helps."""
    return (
        f"{name}: diverged: {divergence(lost, seeds)}; they have no result, and no comparison with {name} is decided;"
        " remedy: a lower learning_rate"
    )
