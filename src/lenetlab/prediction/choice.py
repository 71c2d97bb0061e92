"""Which trained variant answers if the user names none."""

from pathlib import Path

from lenetlab.errors import UserError
from lenetlab.prediction import verdicts
from lenetlab.settings import study_schema
from lenetlab.storage import paths, stage_outputs


def default_variant(study: study_schema.Study, outputs: Path) -> tuple[str, str]:
    """A variant and why: the one that the comparisons recommend, otherwise that with the highest mean test accuracy."""
    compared = outputs / paths.REPORTS / paths.COMPARISON
    if compared.exists():
        keys = "candidate", "baseline", "measure", "verdict"
        winner = verdicts.recommended(stage_outputs.read_json_list(compared, "compare", *keys))
        if winner in study.study:
            return winner, "the comparisons recommend it"
    accuracies: dict[str, float] = {}
    for name in study.study:
        path = outputs / paths.EVALUATIONS / name / paths.METRICS
        if path.exists():
            accuracy = stage_outputs.read_json_object(path, f"evaluate@{name}", "test_accuracy")["test_accuracy"]
            accuracies |= {name: accuracy} if accuracy is not None else {}
    if not accuracies:
        raise UserError("no variant has been trained and evaluated; remedy: dvc repro, or --model FOLDER")
    best = max(accuracies, key=lambda name: accuracies[name])
    return best, "it has the highest mean test accuracy, and the comparisons recommend no variant"
