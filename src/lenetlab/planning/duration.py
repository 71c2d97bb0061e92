"""How long trainings take on this machine, from measured seconds per epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lenetlab.data.forms import search
from lenetlab.errors import UserError
from lenetlab.planning import unfinished
from lenetlab.settings import study_schema
from lenetlab.storage import files, paths, provenance

MNIST_TRAINING_IMAGES = 60_000  # assumed before the data are prepared
SHARED = 0.1  # of the time of a full group does not depend on its number of seeds (measured: 0.05 to 0.2)


@dataclass(frozen=True)
class Speeds:
    """How fast the variants of a study train."""

    seconds_per_epoch: Mapping[str, float]  # of one seed in a full group, on an otherwise idle machine
    side_by_side: int  # seeds in a full group
    processes: int  # that train at the same time
    training_images: int
    device: str


def known_speeds(study: study_schema.Study) -> Speeds | None:
    """Those of costs.json or of an earlier short measurement, if they describe the variants; does not load torch."""
    for path in (paths.COSTS, _short_measurement()):
        try:
            speeds = _speeds(study, files.read_json(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if speeds:
            return speeds
    return None


def measure_speeds(study: study_schema.Study) -> Speeds:
    """A short measurement, which is kept for `known_speeds`. Loads torch, and takes some seconds."""
    from lenetlab.planning import measurement  # imports torch

    measured = measurement.measure(study, training_images(study))
    files.make_folder(_short_measurement().parent)
    files.write_json(_short_measurement(), measured)
    speeds = _speeds(study, measured)
    assert speeds is not None  # noqa: S101  it was measured for this study
    return speeds


def seconds(speeds: Speeds, study: study_schema.Study, trainings: Mapping[str, int]) -> float:
    """The time of so many trainings of each variant, one variant after another, as the pipeline trains them."""
    return sum(
        study.training_of(name).epochs * _seconds_per_epoch(speeds, name, seeds)
        for name, seeds in trainings.items()
        if seeds
    )


def _seconds_per_epoch(speeds: Speeds, name: str, seeds: int) -> float:
    """Of these seeds, which are divided among processes in groups as in `training/parallel.py`."""
    processes = min(seeds, speeds.processes)
    rounds = math.ceil(seeds / (processes * speeds.side_by_side))
    least = 2 if speeds.device.startswith("cpu") else speeds.side_by_side  # copies fill up smaller groups
    members = max(least, math.ceil(seeds / min(processes * rounds, seeds)))
    full_group = speeds.side_by_side * speeds.seconds_per_epoch[name]
    return rounds * full_group * (SHARED + (1 - SHARED) * members / speeds.side_by_side)


def training_images(study: study_schema.Study) -> int:
    """How many there are; if no data are prepared yet, as many as the source has, or as MNIST if that is not known."""
    try:
        return int(unfinished.prepared_profile()["splits"]["training"]["images"])
    except (KeyError, TypeError, ValueError):
        return max(1, (images_of_source(study) or MNIST_TRAINING_IMAGES) - study.data.validation)


def images_of_source(study: study_schema.Study) -> int | None:
    """Images for training and validation in a source in one of the user's forms; None if they cannot be counted."""
    source = Path(study.data.source)
    if source.suffix == ".toml":
        return None
    try:
        sets = search.find(source, study.data.pattern).sets
    except UserError:  # check reports what is wrong with the source
        return None
    kept = round(len(sets.get("all", ())) * (1 - study.data.test_share))
    return kept + sum(len(sets.get(name, ())) for name in ("train", "validation"))


def in_words(seconds: float) -> str:
    """Such as 40 s, 6 min or 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _speeds(study: study_schema.Study, measured: dict[str, Any]) -> Speeds | None:
    """From the content of costs.json or of a short measurement; None if it is about other variants or a device."""
    conditions = measured["conditions"]
    device, requested = conditions["device"].partition(":")[0], study.device.partition(":")[0]
    recipes = {name: provenance.cost_recipe(study, name) for name in study.study}
    if requested not in ("auto", device) or any(measured["recipes"].get(name) != recipes[name] for name in recipes):
        return None
    images = training_images(study)

    def seconds_per_epoch(name: str) -> float:
        rounds, limit = measured["variants"][name], study.training_of(name).images
        times = rounds["seconds_per_epoch"]
        if device == "cpu":  # only the time on a processor, in case other programs ran
            times = [time * share for time, share in zip(times, rounds["on_processor"], strict=True)]
        now, then = (min(limit or count, count) for count in (images, conditions["training_images"]))
        return float(median(times)) * now / then

    return Speeds(
        seconds_per_epoch={name: seconds_per_epoch(name) for name in study.study},
        side_by_side=conditions["side_by_side"],
        processes=conditions["processes"],
        training_images=images,
        device=conditions["device"],
    )


def _short_measurement() -> Path:
    return paths.repository_root() / ".lenetlab" / "speeds.json"
