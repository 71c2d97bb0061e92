"""The time of trainings: arithmetic worked out by hand, where speeds come from, and the short measurement."""

import json
import math
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch

from lenetlab.evaluation import cost
from lenetlab.planning import duration, measurement
from lenetlab.settings import params, study_schema
from lenetlab.storage import provenance
from lenetlab.training import group, parallel
from tests.settings import example

SPEED = 6.0  # seconds per epoch of one seed in a full group


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def study(folder: Path) -> study_schema.Study:
    example.write_params(folder, ("device: auto", "device: cpu"))
    return params.load(folder / "params.yaml")


def changed(study: study_schema.Study, key: str, value: object) -> study_schema.Study:
    content = study.model_dump(exclude_none=True)
    *blocks, last = key.split(".")
    reduce(dict.__getitem__, blocks, content)[last] = value
    return study_schema.Study.model_validate(content)


def speeds(processes: int, device: str = "cpu: a processor") -> duration.Speeds:
    side_by_side = group.MAX_MEMBERS[device.partition(":")[0]]
    return duration.Speeds({"lenet5": SPEED, "mlp": 1.0}, side_by_side, processes, 55_000, device)


@pytest.mark.parametrize(
    ("seeds", "processes", "expected"),
    [
        (0, 2, 0),
        (12, 2, 10 * 36),  # two processes with a full group of six, 36 seconds per epoch
        (6, 1, 10 * 36),
        (6, 2, 10 * 36 * (0.1 + 0.9 * 3 / 6)),  # groups of three
        (13, 2, 10 * 2 * 36 * (0.1 + 0.9 * 4 / 6)),  # two rounds with groups of three and four
        (1, 16, 10 * 36 * (0.1 + 0.9 * 2 / 6)),  # with its copy
        (6, 16, 10 * 36 * (0.1 + 0.9 * 2 / 6)),
    ],
)
def test_seconds_by_hand(study, seeds, processes, expected):
    assert duration.seconds(speeds(processes), study, {"lenet5": seeds}) == pytest.approx(expected)


@pytest.mark.parametrize(("seeds", "groups"), [(1, 1), (8, 1), (9, 2)])
def test_a_group_on_a_gpu_is_always_full(study, seeds, groups):
    found = duration.seconds(speeds(1, "cuda: a GPU"), study, {"lenet5": seeds})
    assert found == pytest.approx(10 * groups * 8 * SPEED)


def test_variants_are_trained_one_after_another_with_their_own_epochs(study):
    study = changed(study, "variants.mlp.training", {"epochs": 3})
    found = duration.seconds(speeds(2), study, {"lenet5": 12, "mlp": 12})
    assert found == pytest.approx(10 * 36 + 3 * 6)


@pytest.mark.parametrize("processes", [1, 2, 3, 8, 64])
def test_groups_are_those_of_training(study, processes):
    for seeds in range(1, 100):
        parts = parallel.split_evenly(range(seeds), min(processes, seeds), torch.device("cpu"))
        largest = max(2, *map(len, parts))
        expected = 10 * math.ceil(len(parts) / processes) * 36 * (0.1 + 0.9 * largest / 6)
        assert duration.seconds(speeds(processes), study, {"lenet5": seeds}) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (3540, "59 min"), (3599, "1 h"), (7800, "2 h 10 min")],
)
def test_a_time_in_words(seconds, text):
    assert duration.in_words(seconds) == text


# Where speeds come from.


def measured(study: study_schema.Study, **conditions: Any) -> dict[str, Any]:
    """As in costs.json; a round took 12, 13 and 14 seconds, half of it on a processor."""
    return {
        "conditions": {
            **{"device": "cpu: a processor", "training_images": 55_000, "side_by_side": 6, "processes": 2},
            **conditions,
        },
        "recipes": {name: provenance.cost_recipe(study, name) for name in study.study},
        "variants": {
            name: {"seconds_per_epoch": [12.0, 14.0, 13.0], "on_processor": [0.5, 0.5, 0.5]} for name in study.study
        },
    }


PLACES = ["costs.json", ".lenetlab/speeds.json"]


def write(place: str, content: object) -> None:
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text(json.dumps(content))


@pytest.mark.parametrize("place", PLACES)
def test_known_speeds_are_the_time_on_a_processor(study, place):
    write(place, measured(study))
    assert duration.known_speeds(study) == duration.Speeds(
        dict.fromkeys(study.study, 6.5), 6, 2, 55_000, "cpu: a processor"
    )


def test_a_gpu_works_while_the_processor_waits(study):
    study = changed(study, "device", "cuda:1")
    write("costs.json", measured(study, device="cuda: a GPU"))
    assert duration.known_speeds(study).seconds_per_epoch["mlp"] == 13


def test_costs_come_before_a_short_measurement(study):
    write("costs.json", measured(study, processes=7))
    write(".lenetlab/speeds.json", measured(study, processes=8))
    assert duration.known_speeds(study).processes == 7


@pytest.mark.parametrize(
    ("key", "value"), [("training.epochs", 3), ("seeds", 12), ("variants.mlp.seeds", 12), ("study", ["mlp", "lenet5"])]
)
def test_other_seeds_epochs_and_fewer_variants_keep_the_speeds(study, key, value):
    write("costs.json", measured(study))
    less = changed(changed(study, "comparisons", {}), key, value)
    assert duration.known_speeds(less) is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("variants.mlp.model.hidden", [60]),
        ("training.batch_size", 32),
        ("training.images", 100),
        ("device", "cuda"),
        ("variants.mlp.training", {"optimizer": "adamw"}),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_other_variants_need_a_new_measurement(study, place, key, value):
    write(place, measured(study))
    assert duration.known_speeds(changed(study, key, value)) is None


@pytest.mark.parametrize("content", [[], {}, None, {"conditions": 3}, {"conditions": {}, "variants": {}}, "text"])
def test_a_file_of_another_form_is_no_measurement(study, content):
    for place in PLACES:
        write(place, content)
    assert duration.known_speeds(study) is None


def test_a_missing_key_is_no_measurement(study):
    content = measured(study)
    del content["recipes"]
    write("costs.json", content)
    assert duration.known_speeds(study) is None


def test_more_images_take_more_time_unless_training_images_limits_them(study):
    Path("data/prepared/train").mkdir(parents=True)
    write("data/prepared/train/profile.json", {"splits": {"training": {"images": 110_000}}})
    write("costs.json", measured(study))
    assert duration.known_speeds(study).seconds_per_epoch["mlp"] == 13
    limited = changed(study, "training.images", 1000)
    write("costs.json", measured(limited))
    assert duration.known_speeds(limited).seconds_per_epoch["mlp"] == 6.5


def test_the_number_of_images_is_that_of_mnist_before_data_are_prepared(study):
    assert duration.training_images(study) == 55_000
    assert duration.training_images(changed(study, "data.validation", 60_000)) == 1


# The short measurement.


def test_a_short_measurement_needs_no_data_and_is_kept(study, folder, monkeypatch):
    monkeypatch.setattr(measurement, "IMAGES", 128)
    found = duration.measure_speeds(study)
    assert set(found.seconds_per_epoch) == set(study.study)
    assert all(seconds > 0 for seconds in found.seconds_per_epoch.values())
    assert found.device.startswith("cpu: ")
    assert duration.known_speeds(study) == found
    assert [path.name for path in (folder / ".lenetlab").iterdir()] == ["speeds.json"]


@pytest.mark.parametrize(
    ("training", "batch_size", "batches", "count", "images"),
    [
        ({}, 64, 20, 1280, 55_000),
        ({"batch_size": 100}, 100, 12, 1200, 55_000),
        ({"batch_size": 5000}, 1280, 1, 1280, 55_000),
        ({"images": 200}, 64, 3, 192, 200),
        ({"images": 50}, 50, 1, 50, 50),
    ],
)
def test_a_part_of_an_epoch_is_timed(study, monkeypatch, training, batch_size, batches, count, images):
    """The part takes 2 seconds; an epoch takes as much more time as it has images."""

    def time_training(variant, settings, examples, found):
        assert (settings.batch_size, found, len(examples)) == (batch_size, batches, count)
        assert examples.images.shape == (count, 1, variant.input.size, variant.input.size)
        return {"seconds_per_epoch": 2.0, "on_processor": 0.5}

    monkeypatch.setattr(cost, "time_training", time_training)
    for key, value in training.items():
        study = changed(study, f"training.{key}", value)
    variants = measurement.measure(study, 55_000)["variants"]
    assert variants["mlp"] == {"seconds_per_epoch": [pytest.approx(2 * images / count)], "on_processor": [0.5]}
