"""Numbers and intervals as text. Accuracies and their differences are fractions, shown in % and percentage points."""

from lenetlab.statistics.intervals import Interval

NONE = "–"  # shown if there is no number


def percent(fraction: float | None) -> str:
    """Without the percent sign, two decimals."""
    return NONE if fraction is None else f"{100 * fraction:.2f}".replace("-", "−")


def points(difference: float | None) -> str:
    """Percentage points with their sign, two decimals; zero after rounding has no sign."""
    if difference is None:
        return NONE
    return f"{100 * difference:+.2f}".replace("+0.00", "0.00").replace("-0.00", "0.00").replace("-", "−")


def whole(count: float) -> str:
    """A whole number with thousands separators."""
    return f"{count:,.0f}"


def span(interval: Interval) -> str:
    """An interval of fractions, in %."""
    return f"{percent(interval[0])} to {percent(interval[1])}" if interval else NONE


def points_span(interval: Interval) -> str:
    """An interval of differences, in percentage points."""
    return f"{points(interval[0])} to {points(interval[1])}" if interval else NONE


def p_value(value: float) -> str:
    """Two significant digits."""
    return "< 0.0001" if value < 0.0001 else f"{value:#.2g}"


def p_equals(value: float) -> str:
    """To follow the letter p: `= 0.013` or `< 0.0001`."""
    return p_value(value) if value < 0.0001 else f"= {p_value(value)}"


def three_digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{float(f'{value:.3g}'):,.10f}".rstrip("0").rstrip(".") if value else "0"


def duration(seconds: float) -> str:
    """Three significant digits in the largest of h, min, s, ms and µs that gives at least 1."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{three_digits(seconds / 1e-6)} µs"
