"""Add seeds look by look: lenetlab settle.

It keeps no state: params.yaml says which seeds there are, and reports/comparison.json what is still open.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from lenetlab.errors import UserError, die_with_parent
from lenetlab.planning import duration
from lenetlab.report import results
from lenetlab.settings import edit, params, study_schema, yaml_file
from lenetlab.statistics import measures, sequential
from lenetlab.statistics.comparison import Outcome
from lenetlab.storage import files, locks, paths

LOCK = "settle.lock"


def settle(reproduce: Callable[[], None]) -> Iterator[str]:
    """Call `reproduce`, then add the seeds of the next look for open comparisons, until seeds decide no more.

    Yields lines that say what each look found. A comparison that has a verdict keeps it, since it uses the first seeds
    only; so its variants get more seeds only if an open comparison needs them.
    """
    _require_plan(params.load(paths.PARAMS))
    with locks.locked(paths.resume_folder().parent / LOCK, _refuse):
        while True:
            reproduce()
            study = params.load(paths.PARAMS)
            outcomes, _, _ = results.read_results(paths.REPORTS)
            yield from (_found(outcome) for outcome in outcomes)
            seeds = next_seeds(study, outcomes)
            if not seeds:
                break
            yield _announcement(study, outcomes, seeds)
            text = yaml_file.read_yaml_text(paths.PARAMS)
            # Written through a link, which stays one.
            files.write_text(paths.PARAMS.resolve(), edit.with_seeds(paths.PARAMS, text, seeds))
        yield from _summary(study, outcomes)


def run_dvc() -> None:
    """`dvc repro` in this terminal. If it fails, SystemExit with its status; it ends if this process is killed."""
    program = shutil.which("dvc")
    if not program:
        raise UserError("dvc: not found; remedy: source .venv/bin/activate, or make settle")
    process, interrupted = subprocess.Popen([program, "repro"], preexec_fn=die_with_parent), False
    while process.returncode is None:
        try:
            process.wait()
        except KeyboardInterrupt:  # the terminal sends Ctrl-C to DVC and its stages too, which end in good order
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    if process.returncode:
        raise SystemExit(process.returncode if process.returncode > 0 else 128 - process.returncode)


def next_seeds(study: study_schema.Study, outcomes: Iterable[Outcome]) -> dict[str, tuple[int, ...]]:
    """The seeds of each variant that needs more of them for the next look at an open comparison."""
    seeds: dict[str, tuple[int, ...]] = {}
    for outcome in outcomes:
        for name in (outcome.candidate, outcome.baseline) if outcome.next_step == "seeds" else ():
            present = seeds.get(name, study.seeds_of(name))
            if len(present) < (number := outcome.next_seeds or 0):
                seeds[name] = edit.extend(present, number)
    return seeds


def _require_plan(study: study_schema.Study) -> None:
    """UserError if nothing is to be decided, or not by adding seeds."""
    if not study.settle.most:
        raise UserError(
            f"{paths.PARAMS}: settle.most: 0 declares a fixed number of seeds, which is judged by one look; allowed for"
            f" lenetlab settle: {', '.join(map(str, study_schema.LOOKS))}. Decide this before you see results: seeds"
            " that are added because of a result need the stricter levels of several looks"
        )
    if not study.comparisons:
        raise UserError(f"{paths.PARAMS}: comparisons: empty; lenetlab settle needs at least one")


def _refuse() -> None:
    raise UserError("lenetlab settle: already runs in this folder; remedy: wait until it ends, or stop it with Ctrl-C")


def _title(outcome: Outcome) -> str:
    measure = measures.name(outcome.measure, outcome.accuracy)
    return f"{outcome.family}: {outcome.candidate} against {outcome.baseline}, {measure}"


def _found(outcome: Outcome) -> str:
    measure = measures.MEASURES[outcome.measure]
    difference = f"{measure.signed(outcome.difference)} {measure.unit}"
    share = 100 * sequential.spent(outcome.seeds) if outcome.looks else 0
    return (
        f"{_title(outcome)}: {outcome.verdict}, {difference} with {outcome.seeds} seeds each;"
        f" {share:.0f} % of the allowed error is spent"
    )


def _announcement(study: study_schema.Study, outcomes: Sequence[Outcome], seeds: Mapping[str, Sequence[int]]) -> str:
    """Which variants get how many seeds, and the time that this takes."""
    undecided = [outcome for outcome in outcomes if outcome.next_step == "seeds"]
    names = sorted({name for outcome in undecided for name in (outcome.candidate, outcome.baseline)})
    present = {name: len(study.seeds_of(name)) for name in study.study}
    speeds = duration.known_speeds(study) or duration.measure_speeds(study)
    soon, longest = (
        duration.in_words(duration.seconds(speeds, study, added))
        for added in (
            {name: len(more) - present[name] for name, more in seeds.items()},
            {name: max(0, study.settle.most - present[name]) for name in names},
        )
    )
    variants = ", ".join(f"{name} from {present[name]} to {len(more)}" for name, more in seeds.items())
    return f"adding seeds: {variants}; training for the next look: about {soon}; in all: at most {longest}"


def _summary(study: study_schema.Study, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What would help each comparison that is still open, and how many are not."""
    larger = [str(look) for look in study_schema.LOOKS if look > study.settle.most]
    still_open = [outcome for outcome in outcomes if outcome.next_step]
    for outcome in still_open:
        match outcome.next_step:
            case "images":
                advice = "needs more test images (data.extra_test); more seeds would hardly help"
            case "training":
                advice = f"needs other training settings: {outcome.reason}"
            case _ if larger:
                advice = (
                    f"settle.most ({study.settle.most}) is reached; a larger one, such as {larger[0]}, may decide it"
                )
            case _:
                advice = f"the last look ({study.settle.most} seeds) is reached; more test images may help"
        yield f"open: {_title(outcome)}: {advice}"
    yield f"comparisons with a verdict: {len(outcomes) - len(still_open)} of {len(outcomes)}"
