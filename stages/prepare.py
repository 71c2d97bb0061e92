"""Check all images, split off validation images, write index, pixels and profile: python stages/prepare.py"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))  # this project's code, whichever is installed

from lenetlab.data import prepare
from lenetlab.errors import reporting_errors
from lenetlab.settings import command_line, params
from lenetlab.storage import dependencies, paths
from lenetlab.tracking import beside_stage


def main() -> None:
    data = params.load(paths.PARAMS).data
    with beside_stage.publishing("prepare"):
        prepare.prepare(paths.RAW, paths.PREPARED_TRAIN, paths.PREPARED_TEST, data)
        # Imported late: torch and matplotlib take seconds to load, and errors in the images should be reported first.
        from lenetlab.data import dataset
        from lenetlab.report import figures, style

        samples = dataset.load(paths.PREPARED_TRAIN).samples()
        style.png(figures.sample_sheet(*samples, style.drawable(data.classes)), paths.SAMPLES)


if __name__ == "__main__":
    with reporting_errors(), dependencies.unchanged():
        command_line.stage_arguments(sys.argv)
        main()
