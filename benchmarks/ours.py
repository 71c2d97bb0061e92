"""lenetlab as its stages run it: training and evaluating all seeds of a variant, in an empty folder.

python -m benchmarks.ours VARIANT SEEDS EPOCHS PREPARED, which holds train/ and test/
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from lenetlab.data import dataset
from lenetlab.evaluation import evaluate
from lenetlab.settings import params, schema
from lenetlab.training import execution

PARAMETERS = Path(__file__).parents[1] / "params.yaml"


def study(variant: str, seeds: int, epochs: int) -> schema.Study:
    """That of params.yaml with one variant and so many seeds and epochs, on the CPU, where its peers run."""
    declared = params.load(PARAMETERS)
    settings = declared.training.model_copy(update={"epochs": epochs})
    changes = {"device": "cpu", "seeds": tuple(range(seeds)), "study": (variant,), "training": settings}
    return declared.model_copy(update=changes)


def main(variant: str, seeds: int, epochs: int, prepared: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder  # what resuming needs is kept there; a finished seed would not be trained again
        runs, asked = Path(folder, "runs"), study(variant, seeds, epochs)
        ready, began = time.monotonic(), time.perf_counter()
        plan = execution.plan_training(asked, variant, dataset.load(prepared / "train"))
        execution.train_variant(plan, runs, Path(folder, "journals"))
        trained = time.perf_counter()
        evaluate.evaluate(asked, variant, runs, prepared / "test")
        ended = time.perf_counter()
    each = seeds * epochs
    seconds = {"train": (trained - began) / each, "evaluate": (ended - trained) / each}
    print(json.dumps({"ready": ready, "seconds": sum(seconds.values()), "training": trained - began, **seconds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
