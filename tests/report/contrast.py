"""Contrast of colours."""


def contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Contrast ratio of WCAG 2.1, from 1 to 21; red, green and blue from 0 to 1."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
