"""What was declared when a comparison first had results, and what was changed since."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lenetlab.settings import study_schema
from lenetlab.statistics.comparison import Outcome
from lenetlab.statistics.measures import MEASURES
from lenetlab.storage import files, paths

QUESTION = ("candidate", "baseline", "measure", "accuracy")

Declaration = dict[str, Any]  # with these keys
KEYS = {"family", "margin", "most", "seeds", "trained"}


def record_path() -> Path:
    """Where the record is kept; not in `reports/`, which DVC removes before it runs the stage."""
    return paths.resume_folder().parent / "declared.json"


def read_record(path: Path) -> list[dict[str, Any]]:
    """The comparisons that had results before; none if there is no such file, or if it cannot be read."""
    try:
        content = files.read_json(path)
    except (OSError, ValueError):
        return []
    entries = content if isinstance(content, list) else []
    return [
        entry
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("declared"), dict) and set(entry["declared"]) == KEYS
    ]


def write_record(path: Path, outcomes: Sequence[Outcome], previous: Sequence[Mapping[str, Any]]) -> None:
    """Keep what was declared for these comparisons, and for those of other trainings, such as an experiment's."""
    keys = (*QUESTION, "declared")
    entries = [{key: asdict(outcome)[key] for key in keys} for outcome in outcomes]
    present = {_key(entry) for entry in entries}
    files.write_json(path, [*(entry for entry in previous if _key(entry) not in present), *entries])


def with_changes(
    outcomes: Sequence[Outcome],
    study: study_schema.Study,
    trained: Mapping[str, str],
    previous: Sequence[Mapping[str, Any]],
) -> list[Outcome]:
    """The outcomes with what was declared first and what has changed since.

    `trained`: by variant, what decides its trainings apart from the seed; other trainings make a new study. `previous`:
    the record of earlier results.
    """
    known = {_key(entry): entry["declared"] for entry in previous}
    seen = {pair for entry in previous for pair in entry["declared"]["trained"].items()}
    judged = []
    for outcome in outcomes:
        now = _declaration(outcome, study, trained)
        if first := known.get(_key({**vars(outcome), "declared": now})):
            changes = list(_changes(first, now, outcome))
            judged.append(replace(outcome, declared={**first, "seeds": _longest(first, now)}, changes=changes))
            continue
        changes = [LATE] if set(now["trained"].items()) <= seen else []
        judged.append(replace(outcome, declared=now, changes=changes))
    return judged


LATE = (
    "this comparison was added when both variants had results; choosing comparisons by their results makes a wrong"
    " verdict more likely than 5 %"
)


def _key(entry: Mapping[str, Any]) -> str:
    """What is compared, and with which trainings."""
    return json.dumps([*(entry.get(key) for key in QUESTION), entry["declared"]["trained"]], sort_keys=True)


def _declaration(outcome: Outcome, study: study_schema.Study, trained: Mapping[str, str]) -> Declaration:
    pair = outcome.candidate, outcome.baseline
    return {
        "family": [
            " ".join(str(part) for part in (one.candidate, one.baseline, one.measure, one.accuracy) if part is not None)
            for one in study.comparisons[outcome.family]
        ],
        "margin": outcome.margin,
        "most": study.settle.most,
        "seeds": {name: list(study.seeds_of(name)) for name in pair},
        "trained": {name: trained[name] for name in pair},
    }


def _longest(first: Declaration, now: Declaration) -> dict[str, list[int]]:
    """The seeds that had results at some time, unless others took their place."""
    return {
        name: seeds if seeds[: len(first["seeds"][name])] == first["seeds"][name] else first["seeds"][name]
        for name, seeds in now["seeds"].items()
    }


def _changes(first: Declaration, now: Declaration, outcome: Outcome) -> Iterator[str]:
    """Sentences without their full stop, with what each change costs."""
    measure = MEASURES[outcome.measure]
    if now["margin"] != first["margin"]:
        yield (
            f"the margin was {measure.amount(first['margin'])} and is now {measure.amount(now['margin'])};"
            " a margin that is chosen by the results makes a wrong 'equivalent' more likely than 5 %"
        )
    if now["family"] != first["family"]:
        yield (
            f"the family had {len(first['family'])} comparisons and now has {len(now['family'])}, or others;"
            " comparisons that are chosen by their results make a wrong verdict more likely than 5 %"
        )
    if now["most"] != first["most"]:
        cost = "this costs nothing, since levels do not depend on it"
        if not now["most"] or not first["most"]:
            cost = "the error of both rules adds up, to as much as 10 %"
        yield f"settle.most was {first['most']} and is now {now['most']}; {cost}"
    for name, seeds in now["seeds"].items():
        before = first["seeds"][name]
        shared = min(len(before), len(seeds))
        if before[:shared] != seeds[:shared]:
            yield (
                f"the seeds of {name} began with {_listed(before)} and now begin with {_listed(seeds)};"
                " seeds that are chosen by their results make p values meaningless"
            )
        elif not now["most"] and len(before) != len(seeds):
            yield (
                f"the fixed number of seeds of {name} was {len(before)} and is now {len(seeds)};"
                " a number that is chosen by the results makes a wrong verdict more likely than 5 %"
            )


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds[:6])) + (" ..." if len(seeds) > 6 else "")
