"""Why a comparison has its verdict, and what would help if it has none."""

from dataclasses import dataclass
from typing import Literal

from lenetlab.settings import study_schema
from lenetlab.statistics import formatting, intervals, power, significance
from lenetlab.statistics.difference import VarianceComponents
from lenetlab.statistics.measures import Measure
from lenetlab.statistics.sequential import Plan
from lenetlab.statistics.verdict import Decision

NextStep = Literal["seeds", "most", "images", "training"]

LIKELY = 0.5  # `settle` goes on if a verdict is more likely than not, or if seeds and not images are what is missing


@dataclass(frozen=True)
class Situation:
    """What decides what comes next. All numbers are about the look that decided, or the last."""

    decision: Decision
    measure: Measure
    difference: float | None  # None without a finished seed
    components: VarianceComponents | None  # None with one seed or one image
    seeds: int  # of each side
    comparisons: int  # in the family
    margin: float
    most: int  # settle.most
    diverged: tuple[str, ...]  # sentences about diverged seeds

    @property
    def plan(self) -> Plan:
        """All looks up to `most`."""
        return Plan.of(self.most or self.seeds, self.most)

    @property
    def following(self) -> int | None:
        """The next number of seeds to look at; None if there is none up to `most`."""
        done = self.decision.look.seeds if self.decision.look else 0
        return next((look for look in study_schema.LOOKS if done < look <= self.most), None)

    @property
    def chance(self) -> float:
        """Probability of a verdict by `most`, if the true difference is as observed."""
        if self.components is None or self.difference is None or not self.plan.looks:
            return 0.0
        chances = power.chances(self.difference, self.components, self.comparisons, self.margin, self.plan)
        if self.measure.counts_answers and significance.effect_is_unseen(self.components, self.margin):
            return chances.higher[-1] + chances.lower[-1]
        return chances.any_verdict

    @property
    def wanted_images(self) -> float | None:
        """Test images that a verdict needs even with unlimited seeds; None if there are enough, or this is unknown."""
        if self.components is None or not self.components.image_count or not self.decision.look:
            return None
        needed = power.images_needed(self.components, self.comparisons, self.margin)
        if not self.components.images and self.measure.counts_answers:
            needed = significance.UNSEEN / self.margin  # a first estimate, as no effect of images was seen
        return needed if needed > self.components.image_count else None


def next_step(situation: Situation) -> NextStep | None:
    """What would help; None if there is a verdict."""
    if situation.decision.verdict != "inconclusive":
        return None
    if situation.diverged:
        return "training"
    if situation.components is None and situation.seeds > 1:
        return "images"  # there is one
    can_decide = power.can_decide(situation.plan, situation.comparisons)  # otherwise images alone would not help
    if situation.wanted_images and can_decide and situation.chance < LIKELY:
        return "images"
    return "seeds" if situation.following else "most"


def explain(situation: Situation) -> str:
    """A sentence without its full stop."""
    decision, measure = situation.decision, situation.measure
    if situation.diverged:
        return "; ".join(situation.diverged)
    if situation.difference is None or situation.components is None:
        return f"{_too_little(situation)}; {_remedy(situation)}"
    size, margin = measure.amount(abs(situation.difference)), measure.amount(situation.margin)
    basis = f"{situation.seeds} seeds each"
    p, p_equivalence = (
        formatting.p_equals(value) for value in (decision.p_sequential_holm, decision.p_equivalence_sequential_holm)
    )
    if decision.verdict == "equivalent":
        return f"the difference, if there is one, is less than {margin} (the margin; p {p_equivalence}, {basis})"
    if decision.verdict != "inconclusive":
        small = f", less than the margin of {margin}" if abs(situation.difference) < situation.margin else ""
        word = measure.better if decision.verdict == "better" else measure.worse
        return f"{word} by {size}{small} (p {p}, {basis})"
    doubts = f"p {p} for a difference, p {p_equivalence} for less than {margin}"
    return f"a difference of {size} could be due to chance ({doubts}, {basis}); {_remedy(situation)}"


def _too_little(situation: Situation) -> str:
    if situation.difference is None:
        return "no seed of one of the variants finished"
    return intervals.ONE_SEED if situation.seeds < 2 else "one test image does not show how results vary between images"


def _remedy(situation: Situation) -> str:
    """What would help, in numbers."""
    step, components = next_step(situation), situation.components
    if step == "images" and not components:
        return "more test images are needed"
    if step == "images":
        wanted = f"{float(f'{situation.wanted_images:.1e}'):,.0f}"
        return (
            f"too few test images: with unlimited seeds, about {wanted} images would be enough for a verdict on a"
            f" difference of {situation.measure.amount(situation.margin)} (the margin) or on none"
        )
    seeds = f"{situation.seeds} seeds each" if situation.seeds > 1 else "one seed each"
    if step == "most":
        if not situation.most:
            return f"the number of seeds is fixed, as settle.most is 0 ({seeds}){_too_small(situation)}"
        return f"settle.most is reached ({seeds}); a larger one allows more seeds at no cost"
    needed = power.seeds_needed(components, situation.comparisons, situation.margin) if components else None
    outlook = f", and about {needed} each are likely to be enough" if needed and needed > situation.seeds else ""
    if components and situation.decision.look and not needed:
        deviation = situation.measure.amount(max(components.seeds) ** 0.5)
        outlook = (
            f", but not even {study_schema.LOOKS[-1]} each are likely to be enough for a difference of"
            f" {situation.measure.amount(situation.margin)} (the margin), as the trainings of one variant differ by"
            f" {deviation} (standard deviation)"
        )
    return f"too few seeds: the next look is at {situation.following} each{outlook}"


def _too_small(situation: Situation) -> str:
    """Whether so few seeds could decide anything in a family of this size."""
    if power.can_decide(situation.plan, situation.comparisons):
        return ""
    return (
        f"; with so few, the permutation test cannot give p below {intervals.LEVEL} in a family of"
        f" {situation.comparisons} comparison{'s' * (situation.comparisons > 1)}"
    )
