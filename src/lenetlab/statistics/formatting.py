"""Numbers and intervals as people read them; accuracies and their differences are fractions, and shown per hundred."""

from collections.abc import Sequence

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
