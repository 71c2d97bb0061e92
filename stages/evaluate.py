"""Evaluate one variant's runs on the test images: python stages/evaluate.py VARIANT"""

import sys

from lenetlab.errors import reporting_errors
from lenetlab.evaluation import divergence
from lenetlab.settings import command_line, params
from lenetlab.storage import files, paths
from lenetlab.tracking import beside_stage


def main(variant: str) -> None:
    study = params.load(paths.PARAMS)
    study.require(variant)  # before a folder of that name is made
    with beside_stage.follow("evaluate", variant), files.writing_folder(paths.EVALUATIONS / variant) as outputs:
        # Not before: these load torch and matplotlib, which takes as long as MLflow needs, in the other process.
        from lenetlab.evaluation import curves, evaluate, mistakes
        from lenetlab.report import figures, style

        found = evaluate.evaluate(study, variant, paths.RUNS / variant, paths.PREPARED_TEST)
        evaluate.write(found, outputs)
        seeds, pictures = found.predictions.seeds.tolist(), {}
        if seeds:
            pictures["curves"] = figures.learning(curves.by_measure(found.curves))
            pictures["confusion"] = figures.confusion(found.confusion)
        if len(found.mistakes["place"]):
            pictures["mistakes"] = figures.digits(*mistakes.sheet(found.mistakes, len(seeds)))
        for seed in seeds:
            own = [row for row in found.curves if row["seed"] == seed]
            pictures[f"seed-{seed}/curves"] = figures.learning(curves.by_measure(own))
        for name, picture in pictures.items():
            style.png(picture, outputs / f"{name}.png")
    if found.diverged:
        print(f"warning: {divergence.warning(variant, found.diverged, len(study.seeds))}", file=sys.stderr)


if __name__ == "__main__":
    with reporting_errors():
        main(*command_line.stage_arguments(sys.argv, "VARIANT"))
