"""Runs to verdicts: is the difference between two variants more than chance?

Two sources of doubt: another training (seeds), and another sample of test digits (images, which all seeds share). Each
is measured for itself, and both together; docs/statistics.md says why, with references and an example.
"""

from scipy import stats

from lenetlab.evaluation.predictions import Predictions
from lenetlab.statistics import difference, intervals, power

# Verdicts.


def judge(
    candidate: Predictions,
    baseline: Predictions,
    p_welch: float,
    p_permutation: float,
    comparisons: int,
    margin: float,
) -> tuple[str, str]:
    """Verdict and reason, from p values after Holm's correction within a family of so many comparisons."""
    found, seeds = difference.mean_difference(candidate, baseline), min(len(candidate.seeds), len(baseline.seeds))
    interval, narrow = (
        difference.interval_seeds_and_images(candidate, baseline, level)
        for level in (1 - intervals.LEVEL, 1 - 2 * intervals.LEVEL)
    )
    if interval is None or narrow is None:
        return "inconclusive", "one seed shows nothing of how much another training would differ"
    size = f"{_points(abs(found))} percentage points"
    if max(p_welch, p_permutation) < intervals.LEVEL and not interval[0] <= 0 <= interval[1]:
        verdict = "better" if found > 0 else "worse"
        small = f", which is less than the margin of {_points(margin)}" if abs(found) < margin else ""
        return verdict, (
            f"{verdict} by {size}{small}: both tests over {seeds} seeds stay below {intervals.LEVEL} after Holm's"
            " correction, and the interval over seeds and images excludes 0"
        )
    if -margin < narrow[0] and narrow[1] < margin:
        return "equivalent", (
            f"the 90 % interval over seeds and images, {_points(narrow[0], '+')} to {_points(narrow[1], '+')},"
            f" lies within the margin of ±{_points(margin)} percentage points"
        )
    return "inconclusive", f"a difference of {size} {_missing(candidate, baseline, p_welch, p_permutation)}; " + (
        _remedy(candidate, baseline, comparisons, margin)
    )


def _missing(candidate: Predictions, baseline: Predictions, p_welch: float, p_permutation: float) -> str:
    """Which of the conditions for a difference was not met."""
    above = [
        name for name, p in (("Welch's test", p_welch), ("the permutation test", p_permutation)) if p >= intervals.LEVEL
    ]
    seeds = min(len(candidate.seeds), len(baseline.seeds))
    if above:
        return (
            f"is not told from chance by {seeds} seeds each: {' and '.join(above)} with p of {intervals.LEVEL} or more"
            " after Holm's correction"
        )
    return f"over {seeds} seeds each would be told from chance, but the interval over seeds and images holds 0"


def _remedy(candidate: Predictions, baseline: Predictions, comparisons: int, margin: float) -> str:
    """What would settle it: seeds, or images."""
    spread, images = difference.variance_components(candidate, baseline), len(candidate.labels)
    seeds, limit = min(len(candidate.seeds), len(baseline.seeds)), f"the margin, {_points(margin)},"
    needed = power.seeds_needed(spread, images, comparisons, margin)
    if needed is None:
        reach = stats.norm.ppf(1 - intervals.LEVEL) + stats.norm.ppf((1 + power.POWER) / 2)
        wanted = _rounded(images * spread.images * (reach / margin) ** 2)
        return f"too few test images: no number of seeds would settle a difference of {limit} but {wanted} images could"
    if power.most_comparisons(seeds) < comparisons:
        return (
            f"too few seeds: {seeds} cannot reach p below {intervals.LEVEL} among {comparisons} comparisons; about"
            f" {needed} each would settle a difference of {limit} with 80 % power"
        )
    if needed > seeds:
        return f"too few seeds: about {needed} each would settle a difference of {limit} or its absence with 80 % power"
    between = power.seeds_needed(spread, images, comparisons, margin, truths=[margin / 2])
    told = f"about {between} each would" if between else "no number of them on these images would"
    half = f"one of {_points(margin / 2)}, half the margin, with 80 % power"
    return f"too few seeds for so small a difference: {told} settle {half}"


def _points(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.2f}"


def _rounded(number: float) -> str:
    """To two digits, since it is an estimate."""
    return f"{float(f'{number:.1e}'):,.0f}"
