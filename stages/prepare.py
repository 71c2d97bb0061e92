"""Check every image, split off validation data, write index, pixels and profile: python stages/prepare.py"""

import sys
from pathlib import Path

from lenetlab import index, params, plain_errors, tracking

RAW = Path("data/raw")
TRAIN, TEST = Path("data/prepared/train"), Path("data/prepared/test")
SAMPLES = Path("data/prepared/samples.png")  # no part of TRAIN, so that a change of the picture retrains nothing


def main() -> None:
    data = params.load(Path("params.yaml")).data
    with tracking.follow("prepare"):
        index.prepare(
            RAW,
            TRAIN,
            TEST,
            validation=data.validation,
            validation_seed=data.validation_seed,
            duplicates=data.duplicates,
        )
        # Not before: these load torch and matplotlib, for seconds in which what is wrong with an image can be told.
        from lenetlab import dataset, figures

        figures.png(figures.sample_sheet(*dataset.load(TRAIN).samples()), SAMPLES)


if __name__ == "__main__":
    with plain_errors():
        params.arguments(sys.argv)
        main()
