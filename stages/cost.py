"""Measure what the variants cost, one after another, while nothing else runs: python stages/cost.py"""

import sys

from lenetlab.errors import reporting_errors
from lenetlab.settings import command_line, params
from lenetlab.storage import files, paths

BUSY = 0.95  # share of the time on a processor, below which the machine was not idle


def main() -> None:
    study = params.load(paths.PARAMS)
    from lenetlab.evaluation import cost  # not before: it loads torch, for seconds in which one may press Ctrl-C

    # MLflow hears of it with the comparison: a process that imports it would disturb what is measured here.
    found = cost.measure(study, paths.PREPARED_TRAIN)
    files.write_json(paths.COSTS, found)
    least = min(min(measured["on_processor"]) for measured in found["variants"].values())
    if least < BUSY:
        print(
            f"warning: the machine was busy while this was measured (a variant had a processor for {100 * least:.0f} %"
            " of its time); remedy: dvc repro --force --single-item cost, when it is idle",
            file=sys.stderr,
        )


if __name__ == "__main__":
    with reporting_errors():
        command_line.stage_arguments(sys.argv)
        main()
