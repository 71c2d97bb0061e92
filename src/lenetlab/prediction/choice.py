"""Which trained variant answers if the user names none."""

from pathlib import Path

from lenetlab.errors import UserError
from lenetlab.settings import study_schema
from lenetlab.storage import paths, stage_outputs


def default_variant(study: study_schema.Study, outputs: Path) -> tuple[str, str]:
    """A variant and why: the one in `model/`, which compare recommends, or that with the highest accuracy."""
    recommended = outputs / paths.MODEL / paths.MODEL_RECORD
    if recommended.exists():
        record = stage_outputs.read_json_object(recommended, "compare", "variant", "recommended")
        if record["variant"] in study.study:
            return record["variant"], record["recommended"]
    accuracies: dict[str, float] = {}
    for name in study.study:
        path = outputs / paths.EVALUATIONS / name / paths.METRICS
        if path.exists():
            accuracy = stage_outputs.read_json_object(path, f"evaluate@{name}", "test_accuracy")["test_accuracy"]
            accuracies |= {name: accuracy} if accuracy is not None else {}
    if not accuracies:
        raise UserError("no variant has been trained and evaluated; remedy: dvc repro, or --model FOLDER")
    best = max(accuracies, key=lambda name: accuracies[name])
    return best, f"it has the highest mean test accuracy; {paths.MODEL} recommends none"
