"""Train one variant with every seed: python stages/train.py VARIANT"""

import sys

from lenetlab.errors import reporting_errors
from lenetlab.settings import command_line, params
from lenetlab.storage import paths
from lenetlab.tracking import beside_stage


def main(variant: str) -> None:
    study = params.load(paths.PARAMS)
    study.require(variant)
    from lenetlab.training import execution  # not before: it loads torch, for seconds in which one may press Ctrl-C

    plan = execution.plan(study, variant, paths.PREPARED_TRAIN)
    with beside_stage.follow("train", variant, live=plan.folders):
        execution.train(plan, paths.RUNS / variant, paths.JOURNALS / variant)


if __name__ == "__main__":
    with reporting_errors():
        main(*command_line.stage_arguments(sys.argv, "VARIANT"))
