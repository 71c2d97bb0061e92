"""Get the images that `data.source` names and pack them into two tar archives: python stages/fetch.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # this project's code, whichever is installed

from lenetlab.data import sources
from lenetlab.data.forms import packing
from lenetlab.errors import reporting_errors
from lenetlab.settings import command_line, params
from lenetlab.storage import dependencies, paths


def main() -> None:
    data = params.load(paths.PARAMS).data
    sources.fetch(Path(data.source), paths.RAW, packing.Target.of(data))


if __name__ == "__main__":
    with reporting_errors(), dependencies.unchanged():
        command_line.stage_arguments(sys.argv)
        main()
