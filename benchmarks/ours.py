"""Time lenetlab as its stages run it: train and evaluate all seeds of a variant in an empty folder.

python -m benchmarks.ours VARIANT SEEDS EPOCHS PREPARED; the folder PREPARED holds train/ and test/
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from lenetlab.data import dataset
from lenetlab.evaluation import evaluate
from lenetlab.settings import params, study_schema
from lenetlab.training import execution

PARAMETERS = Path(__file__).parents[1] / "params.yaml"


def study(variant: str, seeds: int, epochs: int) -> study_schema.Study:
    """The study of params.yaml with one variant and these numbers of seeds and epochs, on the CPU like the peers."""
    declared = params.load(PARAMETERS)
    settings = declared.training.model_copy(update={"epochs": epochs})
    changes = {"device": "cpu", "seeds": tuple(range(seeds)), "study": (variant,), "training": settings}
    return declared.model_copy(update=changes)


def main(variant: str, seeds: int, epochs: int, prepared: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder  # without resume files, because a finished seed is not trained again
        runs, settings = Path(folder, "runs"), study(variant, seeds, epochs)
        ready, began = time.monotonic(), time.perf_counter()
        plan = execution.plan_training(settings, variant, dataset.load(prepared / "train"))
        execution.train_variant(plan, runs, Path(folder, "journals"))
        trained = time.perf_counter()
        evaluate.evaluate(settings, variant, runs, prepared / "test")
        ended = time.perf_counter()
    epochs_trained = seeds * epochs
    seconds = {"train": (trained - began) / epochs_trained, "evaluate": (ended - trained) / epochs_trained}
    print(json.dumps({"ready": ready, "seconds": sum(seconds.values()), "training": trained - began, **seconds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
