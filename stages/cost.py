"""Measure what the variants cost, one after another, while nothing else runs: python stages/cost.py"""

import sys
from pathlib import Path

from lenetlab import files, params, plain_errors

PREPARED, COSTS = Path("data/prepared/train"), Path("costs.json")
BUSY = 0.95  # share of the time on a processor, below which the machine was not idle


def main() -> None:
    study = params.load(Path("params.yaml"))
    from lenetlab import cost  # not before: it loads torch, for seconds in which one may press Ctrl-C

    # MLflow hears of it with the comparison: a process that imports it would disturb what is measured here.
    found = cost.measure(study, PREPARED)
    files.write_json(COSTS, found)
    least = min(min(measured["on_processor"]) for measured in found["variants"].values())
    if least < BUSY:
        print(
            f"warning: the machine was busy while this was measured (a variant had a processor for {100 * least:.0f} %"
            " of its time); remedy: dvc repro --force --single-item cost, when it is idle",
            file=sys.stderr,
        )


if __name__ == "__main__":
    with plain_errors():
        params.arguments(sys.argv)
        main()
