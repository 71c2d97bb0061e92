"""Obtain the images that `data.source` names and pack them into two archives: python stages/fetch.py"""

import sys
from pathlib import Path

from lenetlab import params, plain_errors, sources

RAW = Path("data/raw")


def main() -> None:
    study = params.load(Path("params.yaml"))
    sources.fetch(Path(study.data.source), RAW)


if __name__ == "__main__":
    with plain_errors():
        params.arguments(sys.argv)
        main()
