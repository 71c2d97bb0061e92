"""Evaluate one variant's runs on the test images: python stages/evaluate.py VARIANT"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # this project's code, whichever is installed

from lenetlab.errors import reporting_errors
from lenetlab.evaluation import divergence
from lenetlab.settings import command_line, params
from lenetlab.storage import dependencies, files, paths
from lenetlab.tracking.beside_stage import publishing


def main(variant: str) -> None:
    study = params.load(paths.PARAMS)
    study.require(variant)  # before anything is written
    with publishing("evaluate", variant, study.study), files.writing_folder(paths.EVALUATIONS / variant) as outputs:
        # Imported here: torch and matplotlib load while the process beside this one loads MLflow.
        from lenetlab.evaluation import curves, evaluate, mistakes
        from lenetlab.report import figures, style

        result = evaluate.evaluate(study, variant, paths.RUNS / variant, paths.PREPARED_TEST)
        evaluate.write(result, outputs)
        names, pictures = style.drawable(study.data.classes), {}
        if result.seeds:
            pictures["curves"] = figures.learning_curves(curves.from_rows(result.curves))
            pictures["confusion"] = figures.confusion(result.confusion, names)
        if result.misread:
            pictures["mistakes"] = figures.image_sheet(*mistakes.sheet(result.misread, len(result.seeds), names))
        for seed in result.seeds:
            rows = [row for row in result.curves if row["seed"] == seed]
            pictures[f"seed-{seed}/curves"] = figures.learning_curves(curves.from_rows(rows))
        for name, picture in pictures.items():
            style.png(picture, outputs / f"{name}.png")
    if result.diverged:
        print(f"warning: {divergence.warning(variant, result.diverged, len(study.seeds_of(variant)))}", file=sys.stderr)


if __name__ == "__main__":
    with reporting_errors(), dependencies.unchanged():
        main(*command_line.stage_arguments(sys.argv, "VARIANT"))
