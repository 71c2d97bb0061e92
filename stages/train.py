"""Train one variant with every seed: python stages/train.py VARIANT"""

import sys
from pathlib import Path

from lenetlab import params, plain_errors, tracking

PREPARED = Path("data/prepared/train")  # the test set is no dependency of this stage, so nothing can be tuned on it


def main(variant: str) -> None:
    study = params.load(Path("params.yaml"))
    study.require(variant)
    from lenetlab import execution  # not before: it loads torch, for seconds in which one may press Ctrl-C

    plan = execution.plan(study, variant, PREPARED)
    with tracking.follow("train", variant, live=plan.folders):
        execution.train(plan, Path("runs") / variant, Path("journals") / variant)


if __name__ == "__main__":
    with plain_errors():
        main(*params.arguments(sys.argv, "VARIANT"))
