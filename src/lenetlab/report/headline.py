"""The report: one self-contained HTML page and its Markdown twin, laid out by templates from the records."""

from lenetlab.report.model import Report
from lenetlab.statistics import comparison
from lenetlab.statistics.formatting import percent, points, points_span, span, whole


def headlines(report: Report) -> list[comparison.Outcome]:
    """The comparisons that the page opens with: the family that is declared first."""
    return [outcome for outcome in report.outcomes if outcome.family == report.outcomes[0].family]


def sentence(outcome: comparison.Outcome, report: Report) -> str:
    """A comparison's result in a sentence, with interval and n."""
    candidate, baseline, interval = outcome.candidate, outcome.baseline, outcome.interval
    sides = [variant for name in (candidate, baseline) for variant in report.variants if variant.name == name]
    besides = f" They also differ in {'; '.join(outcome.confounds)}." if outcome.confounds else ""
    if any(variant.diverged for variant in sides):
        return f"Whether {candidate} differs from {baseline} stays open, since {outcome.reason}.{besides}"
    if outcome.verdict in ("better", "worse"):
        if outcome.difference < 0:
            interval = interval and (-interval[1], -interval[0])
        found = f"{candidate} is {outcome.verdict} than {baseline} by {percent(abs(outcome.difference))}"
        doubt = span(interval)
    else:
        opening = {
            "equivalent": f"{candidate} and {baseline} are equivalent",
            "inconclusive": f"Whether {candidate} differs from {baseline} stays open",
        }
        found = f"{opening[outcome.verdict]}: the difference is {points(outcome.difference)}"
        doubt = points_span(interval)
    seeds = len(sides[0].accuracies)
    over = (
        f"95 % interval over seeds and images {doubt}; {seeds} seeds each"
        if interval
        else "one seed each, so no interval"
    )
    return f"{found} percentage points of test accuracy ({over}; {whole(report.test_images)} test images).{besides}"


def summary(report: Report) -> list[str]:
    """A line for each variant of which seeds diverged, and for each comparison."""
    lines = [f"{variant.name}: diverged: {variant.diverged}" for variant in report.variants if variant.diverged]
    for outcome in report.outcomes:
        confounds = f"; confounded by {', '.join(outcome.confounds)}" if outcome.confounds else ""
        lines.append(f"{outcome.candidate} against {outcome.baseline}: {outcome.verdict}; {outcome.reason}{confounds}")
    return lines
