"""Verify the project in the current folder: python -P -m lenetlab.verification.folder, with options as JSON."""

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lenetlab.errors import UserError, explain
from lenetlab.settings import params, study_schema
from lenetlab.storage import paths
from lenetlab.training import reproduction
from lenetlab.verification import dvc_lock, results


@dataclass(frozen=True)
class Options:
    """What to check."""

    variant: str | None = None  # whose seed is trained again; None: one of the study, at random
    seed: int | None = None  # None: one of that variant, at random
    data: str | None = None  # a folder with the prepared images, as `data/prepared`; None: that of the project
    train: bool = True  # whether a seed is trained again

    @property
    def prepared(self) -> Path:
        return Path(self.data) if self.data else paths.PREPARED_TRAIN.parent


@dataclass(frozen=True)
class Findings:
    """What was found: problems, or what agrees. `notes` does not decide."""

    problems: list[str] = field(default_factory=list)
    agreements: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(options: Options) -> Findings:
    """Check everything; a part that cannot be checked is a problem, and the others are checked all the same."""
    found = Findings()
    try:
        params.require_project(paths.PARAMS)
        study = params.load(paths.PARAMS)
    except UserError as error:
        return Findings(problems=list(error.problems))
    _add(found, "files as in dvc.lock", lambda: dvc_lock.problems(without_data=options.data is not None))
    _add(found, "verdicts follow from the predictions", lambda: results.comparison_problems(study))
    _add(found, "report as laid out again", lambda: results.report_problems(study))
    try:
        variant, seed = _choose(study, options)
    except UserError as error:
        found.problems.extend(error.problems)
        return found
    name, test = f"{variant}, seed {seed}", options.prepared / paths.PREPARED_TEST.name
    _add(
        found,
        f"predictions of {name} are those of its weights",
        lambda: results.prediction_problems(study, variant, seed, test),
    )
    if options.train:
        _add(found, f"{name} trained again", lambda: list(_train_again(study, variant, seed, options, found)))
    return found


def _add(found: Findings, agreement: str, problems_of: Callable[[], list[str]]) -> None:
    try:
        problems = problems_of()
    except UserError as error:
        problems = list(error.problems)
    found.problems.extend(problems)
    if not problems:
        found.agreements.append(agreement)


def _choose(study: study_schema.Study, options: Options) -> tuple[str, int]:
    """The training that is repeated."""
    variant = options.variant or random.choice(study.study)  # noqa: S311  a choice nobody can foresee enough
    if variant not in study.study:
        raise UserError(f"--variant: {variant!r} is not in the study; allowed: {', '.join(study.study)}")
    seeds = study.seeds_of(variant)
    seed = options.seed if options.seed is not None else random.choice(seeds)  # noqa: S311
    if seed not in seeds:
        raise UserError(f"--seed: {seed} is not a seed of {variant}; allowed: {', '.join(map(str, seeds))}")
    return variant, seed


def _train_again(
    study: study_schema.Study, variant: str, seed: int, options: Options, found: Findings
) -> Iterator[str]:
    """The problem with this training, if there is one."""
    records = reproduction.read_records(paths.RUNS, paths.JOURNALS, [(variant, seed)])
    (result,) = reproduction.reproduce(records, study, options.prepared / paths.PREPARED_TRAIN.name)
    found.notes.extend(result.reasons)
    if result.outcome == "different":
        yield reproduction.summary(records[0], result).splitlines()[0]


def main(arguments: list[str]) -> None:
    """Prints the findings as JSON. `arguments`: the options as JSON."""
    options: dict[str, Any] = json.loads(arguments[0])
    try:
        found = check(Options(**options))
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the program that started this one says so
    except Exception as error:
        if (known := explain(error)) is None:
            raise
        found = Findings(problems=list(known.problems))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
