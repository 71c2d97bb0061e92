"""The rule: from the numbers of one comparison to better, worse, equivalent or inconclusive, with the reason."""

from dataclasses import dataclass
from typing import Literal

from scipy import stats

from lenetlab.statistics import intervals, power
from lenetlab.statistics.difference import VarianceComponents

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class RuleInputs:
    """What the rule knows of one comparison. Differences of accuracy are fractions, candidate minus baseline."""

    difference: float | None  # this and the next three are None with one seed
    interval: intervals.Interval  # 95 %, over seeds and images
    interval_equivalence: intervals.Interval  # the same at 90 %
    components: VarianceComponents | None
    p_welch: float  # both after Holm's correction
    p_permutation: float
    seeds: int  # per variant
    images: int
    comparisons: int  # in the family
    margin: float  # of equivalence


def judge(inputs: RuleInputs) -> tuple[Verdict, str]:
    """Verdict and reason."""
    verdict = decide(inputs)
    return verdict, explain(inputs, verdict)


def decide(inputs: RuleInputs) -> Verdict:
    """The rule, as docs/statistics.md states it."""
    difference, interval, narrow = inputs.difference, inputs.interval, inputs.interval_equivalence
    if difference is None or interval is None or narrow is None:
        return "inconclusive"
    if _significant(inputs) and not interval[0] <= 0 <= interval[1]:
        return "better" if difference > 0 else "worse"
    return "equivalent" if -inputs.margin < narrow[0] and narrow[1] < inputs.margin else "inconclusive"


def explain(inputs: RuleInputs, verdict: Verdict) -> str:
    """The reason for a verdict of `decide`: a sentence without its full stop."""
    difference, narrow, components = inputs.difference, inputs.interval_equivalence, inputs.components
    if difference is None or narrow is None or components is None:
        return intervals.ONE_SEED
    size, margin = f"{_points(abs(difference))} percentage points", _points(inputs.margin)
    if verdict == "equivalent":
        return (
            f"the 90 % interval over seeds and images, {_points(narrow[0], '+')} to {_points(narrow[1], '+')}"
            f" percentage points, lies within the margin of ±{margin}"
        )
    if verdict != "inconclusive":
        small = f", less than the margin of {margin}" if abs(difference) < inputs.margin else ""
        return f"{verdict} by {size}{small}: {_tests(inputs)}, and the 95 % interval over seeds and images excludes 0"
    doubt = f"chance: {_tests(inputs)}"
    if _significant(inputs):
        doubt = f"the choice of test images: {_tests(inputs)}, but the 95 % interval over seeds and images contains 0"
    return f"a difference of {size} could be due to {doubt}; {_remedy(inputs, components)}"


def _significant(inputs: RuleInputs) -> bool:
    return max(inputs.p_welch, inputs.p_permutation) < intervals.LEVEL


def _tests(inputs: RuleInputs) -> str:
    """The tests that give p of 0.05 or more; that both give less if there are none."""
    p_values = {"Welch's test": inputs.p_welch, "the permutation test": inputs.p_permutation}
    names = [name for name, p in p_values.items() if p >= intervals.LEVEL]
    p = f"p of {intervals.LEVEL} or more" if names else f"p below {intervals.LEVEL}"
    verb = "gives" if len(names) == 1 else "give"
    return f"{' and '.join(names or p_values)} {verb} {p} after Holm's correction ({inputs.seeds} seeds each)"


def _remedy(inputs: RuleInputs, components: VarianceComponents) -> str:
    """How many seeds or images would be enough for another verdict."""
    images, seeds, comparisons, margin = inputs.images, inputs.seeds, inputs.comparisons, inputs.margin
    verdict = f"for a verdict on a difference of {_points(margin)} percentage points (the margin) or on no difference"
    needed = power.seeds_needed(components, images, comparisons, margin)
    if needed is None:
        standard_errors = stats.norm.ppf(1 - intervals.LEVEL) + stats.norm.ppf((1 + power.POWER) / 2)
        wanted = _two_digits(images * components.images * (standard_errors / margin) ** 2)
        return (
            f"too few test images: no number of seeds would be enough {verdict}; with unlimited seeds, about {wanted}"
            " images would be"
        )
    enough = f"about {needed} each would be enough, with 80 % power, {verdict}"
    if power.most_comparisons(seeds) < comparisons:
        return (
            f"too few seeds: with {seeds} each, the permutation test cannot give p below {intervals.LEVEL} in a family"
            f" of {comparisons} comparison{'s' * (comparisons > 1)}; {enough}"
        )
    if needed > seeds:
        return f"too few seeds: {enough}"
    half = power.seeds_needed(components, images, comparisons, margin, truths=[margin / 2])
    number = f"about {half} each" if half else "no number of seeds on these images"
    return (
        f"too few seeds for such a small difference: {number} would be enough, with 80 % power, for a verdict on a"
        f" difference of {_points(margin / 2)} percentage points (half the margin)"
    )


def _points(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.2f}"


def _two_digits(number: float) -> str:
    """An estimate, rounded to two significant digits."""
    return f"{float(f'{number:.1e}'):,.0f}"
