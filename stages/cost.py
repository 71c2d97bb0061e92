"""Measure what each variant costs, one after another, on an idle machine: python stages/cost.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # this project's code, whichever is installed

from lenetlab.errors import reporting_errors
from lenetlab.settings import command_line, params
from lenetlab.storage import dependencies, files, paths

IDLE_SHARE = 0.95  # of its time a measured process has a processor if the machine is idle, at least


def main() -> None:
    study = params.load(paths.PARAMS)
    from lenetlab.evaluation import cost  # imported here: loading torch takes seconds, and Ctrl-C must work before

    folder = paths.resume_folder().parent / "costs"  # DVC removes the output before it runs the stage
    if kept := cost.find_kept(folder, study, paths.PREPARED_TRAIN):
        files.write_json(paths.COSTS, kept)
        print(f"{paths.COSTS}: these variants were measured before; their costs are kept", file=sys.stderr)
        return
    # Not published to MLflow here, since importing MLflow in a process beside this one would disturb the measurement;
    # the stage compare publishes the costs.
    costs = cost.measure(study, paths.PREPARED_TRAIN)
    files.write_json(paths.COSTS, costs)
    cost.keep(costs, folder)
    lowest = min(min(variant["on_processor"]) for variant in costs["variants"].values())
    if lowest < IDLE_SHARE:
        print(
            f"warning: the machine was busy during the measurement (a variant had a processor for {100 * lowest:.0f} %"
            f" of its time); remedy: rm -r .lenetlab/costs, then dvc repro --force --single-item cost, once it is"
            " idle",
            file=sys.stderr,
        )


if __name__ == "__main__":
    with reporting_errors(), dependencies.unchanged():
        command_line.stage_arguments(sys.argv)
        main()
