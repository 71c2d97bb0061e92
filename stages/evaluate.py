"""Evaluate one variant's runs on the test images: python stages/evaluate.py VARIANT"""

import sys
from pathlib import Path

from lenetlab import files, params, plain_errors, tracking, wording

PREPARED = Path("data/prepared/test")


def main(variant: str) -> None:
    study = params.load(Path("params.yaml"))
    study.require(variant)  # before a folder of that name is made
    with tracking.follow("evaluate", variant), files.folder(Path("evaluations") / variant) as outputs:
        # Not before: these load torch and matplotlib, which takes as long as MLflow needs, in the other process.
        from lenetlab import curves, evaluation, figures, mistakes

        found = evaluation.evaluate(study, variant, Path("runs") / variant, PREPARED)
        evaluation.write(found, outputs)
        seeds, pictures = found.predictions.seeds.tolist(), {}
        if seeds:
            pictures["curves"] = figures.learning(curves.gathered(found.curves))
            pictures["confusion"] = figures.confusion(found.confusion)
        if len(found.mistakes["place"]):
            pictures["mistakes"] = figures.digits(*mistakes.sheet(found.mistakes, len(seeds)))
        for seed in seeds:
            own = [row for row in found.curves if row["seed"] == seed]
            pictures[f"seed-{seed}/curves"] = figures.learning(curves.gathered(own))
        for name, picture in pictures.items():
            figures.png(picture, outputs / f"{name}.png")
    if found.diverged:
        print(f"warning: {wording.warning(variant, found.diverged, len(study.seeds))}", file=sys.stderr)


if __name__ == "__main__":
    with plain_errors():
        main(*params.arguments(sys.argv, "VARIANT"))
