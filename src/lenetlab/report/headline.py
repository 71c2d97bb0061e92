"""The results of the comparisons as sentences."""

from lenetlab.report.model import Report
from lenetlab.statistics.comparison import Outcome
from lenetlab.statistics.formatting import percent, points, points_span, span, whole


def headline_outcomes(report: Report) -> list[Outcome]:
    """The comparisons at the top of the page: those of the first family."""
    return [outcome for outcome in report.outcomes if outcome.family == report.outcomes[0].family]


def headline_sentence(outcome: Outcome, report: Report) -> str:
    """The result of a comparison, with its interval, number of seeds and images, and confounds."""
    confounds = f" The variants also differ in {'; '.join(outcome.confounds)}." if outcome.confounds else ""
    return f"{_result(outcome, report)}.{confounds}"


def _result(outcome: Outcome, report: Report) -> str:
    candidate, baseline, difference, interval = (
        outcome.candidate,
        outcome.baseline,
        outcome.difference,
        outcome.interval,
    )
    variants = {variant.name: variant for variant in report.variants}
    inconclusive = f"The comparison of {candidate} with {baseline} is inconclusive"
    if difference is None or variants[candidate].diverged or variants[baseline].diverged:
        return f"{inconclusive}: {outcome.reason}"
    if outcome.verdict in ("better", "worse"):
        if interval and difference < 0:
            interval = -interval[1], -interval[0]
        statement = f"{candidate} is {outcome.verdict} than {baseline} by {percent(abs(difference))}"
        limits = span(interval)
    else:
        equivalent = f"{candidate} and {baseline} are equivalent"
        opening = equivalent if outcome.verdict == "equivalent" else inconclusive
        statement = f"{opening}: the difference is {points(difference)}"
        limits = points_span(interval)
    seeds = len(variants[candidate].accuracies)
    basis = (
        f"95 % interval over seeds and images {limits}; {seeds} seeds each"
        if interval
        else "one seed each, no interval"
    )
    return f"{statement} percentage points of test accuracy ({basis}; {whole(report.test_images)} test images)"


def summary(report: Report) -> list[str]:
    """Lines to print: one for each variant with diverged seeds, and one for each comparison."""
    lines = [f"{variant.name}: diverged: {variant.diverged}" for variant in report.variants if variant.diverged]
    for outcome in report.outcomes:
        confounds = f"; confounded by {', '.join(outcome.confounds)}" if outcome.confounds else ""
        lines.append(f"{outcome.candidate} vs {outcome.baseline}: {outcome.verdict}; {outcome.reason}{confounds}")
    return lines
