"""Are the results of a project those that its files give? Compared and laid out again, and evaluated again."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lenetlab.evaluation import evaluate, predictions
from lenetlab.report import collect, inputs, page
from lenetlab.report import results as recorded_results
from lenetlab.settings import claims, study_schema
from lenetlab.statistics import comparison
from lenetlab.statistics.claims import answers
from lenetlab.storage import paths

HISTORY = ("declared", "changes")  # of an outcome: what was declared before is not in the outputs
SAME = 1e-6  # relative difference of numbers that other versions of SciPy may cause
# The largest share of test images with another answer that rounding on other hardware may cause.
OTHER_ANSWERS = 0.002


def comparison_problems(study: study_schema.Study) -> list[str]:
    """Comparisons and statements in `reports/` that do not follow from the predictions."""
    outcomes, answered, _ = recorded_results.read_results(paths.REPORTS)
    names = study.study
    found = comparison.compare(
        study,
        inputs.read_predictions(paths.EVALUATIONS, names, len(study.data.classes)),
        inputs.read_diverged_seeds(paths.EVALUATIONS, names),
    )
    costs = inputs.read_costs(paths.COSTS, names)["variants"]
    decided = answers.decide(claims.load(Path(study.claims), study), study, outcomes, paths.EVALUATIONS, costs)
    problems = [] if len(found) == len(outcomes) else [f"{len(outcomes)} comparisons, {len(found)} are declared"]
    for before, after in zip(outcomes, found, strict=False):
        problems += (
            f"{before.candidate} − {before.baseline}, {before.measure}: {key} is {old}, the predictions give {new}"
            for key, old, new in _differences(asdict(before), asdict(after))
        )
    known = {answer.id: answer for answer in answered}
    problems += (
        f"statement {answer.id}: {known[answer.id].verdict if answer.id in known else 'missing'}, the results give"
        f" {answer.verdict}"
        for answer in decided
        if answer.id not in known or known[answer.id].verdict != answer.verdict
    )
    return problems


def report_problems(study: study_schema.Study) -> list[str]:
    """Files of `reports/` that are not as the report is laid out from the other files."""
    outcomes, answered, origin = recorded_results.read_results(paths.REPORTS)
    report = collect.collect(study, inputs.PROJECT_OUTPUTS, outcomes, answered, origin)
    with tempfile.TemporaryDirectory() as temporary:
        page.write_report(report, Path(temporary))
        made = sorted(path.relative_to(temporary) for path in Path(temporary).rglob("*") if path.is_file())
        return [
            f"{paths.REPORTS / name}: not as laid out from the results"
            for name in made
            if not (paths.REPORTS / name).is_file()
            or (paths.REPORTS / name).read_bytes() != (Path(temporary) / name).read_bytes()
        ]


def prediction_problems(study: study_schema.Study, variant: str, seed: int, prepared_test: Path) -> list[str]:
    """Whether the kept weights of a training give the recorded answers on the test images."""
    one_seed = study.model_copy(
        update={
            "seeds": (seed,),
            "variants": {variant: study.variants[variant].model_copy(update={"seeds": None})},
        }
    )
    again = evaluate.evaluate(one_seed, variant, paths.RUNS / variant, prepared_test).predictions
    recorded = predictions.read(paths.EVALUATIONS / variant / paths.PREDICTIONS, len(study.data.classes))
    rows = np.flatnonzero(recorded.seeds == seed)
    if len(rows) != len(again.seeds):
        return [f"{variant}, seed {seed}: not in the predictions"]
    if not len(rows):
        return []
    if not np.array_equal(recorded.labels, again.labels):
        return [f"{variant}: the labels of the predictions are not those of the test images"]
    share = float((recorded.predicted[rows[0]] != again.predicted[0]).mean())
    text = f"{variant}, seed {seed}: {100 * share:.2f} % of the predictions are not those of the weights"
    return [text] if share > OTHER_ANSWERS else []


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The first difference of two outcomes, if there is one: key, old and new value."""
    for key in before:
        if key not in HISTORY and not _same(before[key], after[key]):
            yield key, before[key], after[key]
            return


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    if isinstance(before, Sequence) and isinstance(after, Sequence) and not isinstance(before, str):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, float) and isinstance(after, float | int):
        return math.isclose(before, after, rel_tol=SAME, abs_tol=1e-9)
    return bool(before == after)
