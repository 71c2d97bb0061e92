"""What a study can find and how long it takes, in lines of text, before anything is trained."""

from collections.abc import Iterator
from itertools import count

from lenetlab.errors import UserError
from lenetlab.planning import duration, unfinished, variances
from lenetlab.settings import study_schema
from lenetlab.statistics import intervals, power, sequential
from lenetlab.statistics.difference import VarianceComponents


def lines(study: study_schema.Study) -> Iterator[str]:
    """A line per family, one about errors, and one about time; it may take seconds to get the last one."""
    for name, family in study.comparisons.items():
        yield f"comparisons.{name}: {_outlook(study, family)}"
    if study.comparisons:
        yield _errors(len(study.comparisons))
    yield from _time(study)


def seeds_of_family(study: study_schema.Study, family: variances.Family) -> int:
    """The number of seeds that every variant of a family has at least."""
    return min(len(study.seeds_of(name)) for pair in family for name in (pair.candidate, pair.baseline))


def _outlook(study: study_schema.Study, family: variances.Family) -> str:
    """What one family can find with its seeds, and with `settle.most`."""
    seeds, most = seeds_of_family(study, family), study.settle.most
    cannot = _no_verdict(seeds, most, len(family))
    if all(pair.measure != "test_accuracy" for pair in family):
        return cannot or f"no comparison of test accuracy; what {seeds} seeds each can find is known after training"
    if (expected := variances.expected(study, family)) is None:  # 60 test images are not the 10,000 of MNIST
        return cannot or f"what {seeds} seeds each can find on these images is known after training"
    components, source = expected
    found = [] if cannot else [f"{_detectable(study, family, components, seeds)} with {seeds} seeds each"]
    if most > seeds and power.can_decide(sequential.Plan.of(most, most), len(family)):
        found.append(f"{_detectable(study, family, components, most)} with {most} seeds each (`make settle`)")
    difference = (
        f"the smallest difference of test accuracy that is found with 80 % power: {', '.join(found)}"
        f" (comparisons: {len(family)}; variances {source})"
    )
    return "; ".join([*([cannot] if cannot else []), *([difference] if found else [])])


def _detectable(study: study_schema.Study, family: variances.Family, components: VarianceComponents, seeds: int) -> str:
    plan = sequential.Plan.of(seeds, study.settle.most)
    least = power.detectable(components, len(family), study.equivalence_margin, plan)
    assert least is not None  # noqa: S101  the caller asks only where a verdict is possible
    return f"{100 * least:.2f} percentage points"


def _no_verdict(seeds: int, most: int, comparisons: int) -> str | None:
    """Why no difference can be found with so few seeds, and how many are needed; None if it can."""
    plan = sequential.Plan.of(seeds, most)
    if power.can_decide(plan, comparisons):
        return None
    needed = _seeds_needed(most, comparisons)
    remedy = f"needed: {needed}" if needed else "split the family, since no number of seeds is enough"
    if most and needed and most < needed:
        remedy += f", and settle.most must not be less (it is {most})"
    if not plan.looks:
        first = f"the first look is at {study_schema.LOOKS[0]} seeds" if most else "one seed has no variance"
        return f"no verdict is possible with {seeds} seed{'s' if seeds > 1 else ''} each: {first}; {remedy}"
    return (
        f"no verdict can be better or worse: with {seeds} seeds each, p cannot be small enough among {comparisons}"
        f" comparison{'s' if comparisons > 1 else ''}; {remedy}"
    )


def _seeds_needed(most: int, comparisons: int) -> int | None:
    """The smallest number of seeds with which a difference can be found; None if no look is enough."""
    candidates = study_schema.LOOKS if most else count(2)
    return next((seeds for seeds in candidates if power.can_decide(sequential.Plan.of(seeds, most), comparisons)), None)


def _errors(families: int) -> str:
    """The probabilities of wrong verdicts."""
    level = f"{100 * intervals.LEVEL:.0f} %"
    text = (
        f"errors: in a family, the chance of any wrong better or worse is at most {level}, and of any wrong equivalent"
    )
    if families == 1:
        return f"{text} at most {level}"
    return f"{text} too; in one of {families} families, at most {min(100, 100 * families * intervals.LEVEL):.0f} % each"


def _time(study: study_schema.Study) -> Iterator[str]:
    """How long training takes: what is not finished, and what `make settle` may add."""
    to_do, added = unfinished.count(study), _added_by_settle(study)
    if not any(to_do.values()) and not any(added.values()):
        yield f"training: all {_trainings(study)} trainings are finished"
        return
    speeds = duration.known_speeds(study)
    if speeds is None:
        yield "training: measuring the speed of this machine for some seconds, once for these variants"
        try:
            speeds = duration.measure_speeds(study)
        except UserError as error:
            yield f"training: the time it takes is not known: {error}"
            return
    yield f"training: {_to_do(study, speeds, to_do)}{_settle(study, speeds, added)}"
    yield (
        f"these times are for {speeds.training_images:,} images{_assumed(study)} on an otherwise idle machine"
        f" ({speeds.device}; {speeds.processes} processes)"
    )


def _assumed(study: study_schema.Study) -> str:
    """For other data than MNIST that cannot be counted, that their number is not known before the stage prepare."""
    counted = unfinished.prepared_profile() or study.data.name == variances.MNIST or duration.images_of_source(study)
    return "" if counted else " (as many as MNIST has: yours are not prepared yet)"


def _to_do(study: study_schema.Study, speeds: duration.Speeds, to_do: dict[str, int]) -> str:
    total, left = _trainings(study), sum(to_do.values())
    if not left:
        return f"all {total} trainings are finished"
    time = duration.in_words(duration.seconds(speeds, study, to_do))
    finished = f"; {total - left} of {total} are finished" if left < total else ""
    return f"about {time} for {left} training{'s' if left > 1 else ''}{finished}"


def _settle(study: study_schema.Study, speeds: duration.Speeds, added: dict[str, int]) -> str:
    if not any(added.values()):
        return ""
    time = duration.in_words(duration.seconds(speeds, study, added))
    return f"; at most {time} more if `make settle` goes to {study.settle.most} seeds (open comparisons only)"


def _added_by_settle(study: study_schema.Study) -> dict[str, int]:
    """The most seeds that `make settle` may add, by variant."""
    pairs = [pair for family in study.comparisons.values() for pair in family]
    compared = {name for pair in pairs for name in (pair.candidate, pair.baseline)}
    return {name: max(0, study.settle.most - len(study.seeds_of(name))) for name in study.study if name in compared}


def _trainings(study: study_schema.Study) -> int:
    return sum(len(study.seeds_of(name)) for name in study.study)
