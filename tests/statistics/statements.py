"""Statements, evaluations and outcomes to check statements against, in a folder of a test."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from lenetlab.networks import layer_table
from lenetlab.settings import claims, study_schema
from lenetlab.statistics import comparison
from lenetlab.statistics.claims import answers
from tests.statistics.examples import make_study

STUDY = make_study()
EPOCHS = 3


def with_study(*names: str) -> study_schema.Study:
    return STUDY.model_copy(update={"study": names})


def load_claims(folder: Path, *statements: dict, **head: object) -> claims.Statements:
    path = folder / "claims.yaml"
    path.write_text(json.dumps({**head, "claims": statements}))  # JSON is YAML
    return claims.load(path, STUDY)


@cache
def layers_of(name: str) -> list[dict]:
    definition = STUDY.variants[name]
    return layer_table.layer_table(definition)


def write_evaluation(
    folder: Path,
    name: str,
    training_set: Mapping[str, Sequence[float]] | None = None,
    diverged: Sequence[int] = (),
    **columns: Sequence[object],
) -> None:
    """The files of an evaluation that statements are checked against.

    A column of curves.csv has an entry per seed: a value, or a list with a value per epoch. `training_set`: loss and
    accuracy on the training images in evaluation mode, per seed; an old evaluation has none.
    """
    defaults = dict.fromkeys(
        (f"{part}_{measure}" for part in ("train", "validation", "test") for measure in ("loss", "accuracy")), 0.5
    )
    (count,) = {len(values) for values in columns.values()}
    lines = [",".join(("seed", "epoch", *defaults))]
    for seed in range(count):
        for epoch in range(1, EPOCHS + 1):
            cells = {key: columns[key][seed] if key in columns else default for key, default in defaults.items()}
            row = [cell[epoch - 1] if isinstance(cell, list) else cell for cell in cells.values()]
            lines.append(",".join(map(str, (seed, epoch, *row))))
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "curves.csv").write_text("\n".join(lines) + "\n")
    record = {"variant": name, "layers": layers_of(name)}
    record["diverged"] = {str(seed): {"epoch": 1, "step": 12} for seed in diverged}
    if training_set:
        seeds = {str(seed): {key: values[seed] for key, values in training_set.items()} for seed in range(count)}
        record["training_set"] = seeds
    (folder / name / "variant.json").write_text(json.dumps(record))


def answer(
    folder: Path,
    stated: dict,
    study: Sequence[str] = (),
    outcomes: Sequence[comparison.Outcome] = (),
    costs: Mapping[str, Mapping[str, object]] | None = None,
    resolution: float = 0.05,
) -> answers.Answer:
    """The answer to one statement, from the evaluations in the folder and a study of these variants."""
    statements = load_claims(folder, stated, resolution=resolution)
    (found,) = answers.decide(statements, with_study(*study), outcomes, folder, costs or {})
    return found


def outcome(
    candidate: str, baseline: str, verdict: str, difference: float | None = 0.0, **fields: object
) -> comparison.Outcome:
    """With the fields that statements use; the others are None."""
    used = {"candidate": candidate, "baseline": baseline, "verdict": verdict, "difference": difference}
    used |= {"reason": f"{verdict}, as tested", "measure": "test_accuracy", "margin": 0.002}
    used |= {"p_equivalence_sequential_holm": 0.01 if verdict == "equivalent" else 0.3}
    names = dict.fromkeys(field.name for field in dataclasses.fields(comparison.Outcome))
    return comparison.Outcome(**names | used | fields)
