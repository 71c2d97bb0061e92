"""Pack the further test images that `data.extra_test` names into a tar archive: python stages/extra.py"""

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
    sources.pack_extra(Path(data.extra_test), paths.RAW, packing.Target.of(data))


if __name__ == "__main__":
    with reporting_errors(), dependencies.unchanged():
        command_line.stage_arguments(sys.argv)
        main()
