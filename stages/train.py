"""Train a variant with every seed: python stages/train.py VARIANT"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # this project's code, whichever is installed

from lenetlab.errors import reporting_errors
from lenetlab.settings import command_line, params
from lenetlab.storage import dependencies, paths
from lenetlab.tracking import beside_stage


def main(variant: str) -> None:
    study = params.load(paths.PARAMS)
    study.require(variant)
    # These import torch, which takes seconds. Imported here, Ctrl-C in that time is reported like at any other.
    from lenetlab.data import dataset
    from lenetlab.training import execution

    plan = execution.plan_training(study, variant, dataset.load(paths.PREPARED_TRAIN))
    with beside_stage.publishing("train", variant, study.study, live=plan.folders):
        execution.train_variant(plan, paths.RUNS / variant, paths.JOURNALS / variant)


if __name__ == "__main__":
    with reporting_errors(), dependencies.unchanged():
        main(*command_line.stage_arguments(sys.argv, "VARIANT"))
