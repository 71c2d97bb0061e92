"""What variants cost: the record, the arithmetic behind it on a clock of our own, and the processes it is taken in."""

import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.evaluation import cost
from lenetlab.networks import build, layer_table
from lenetlab.settings import params, schema
from lenetlab.storage import files
from lenetlab.training import loop

ROOT = Path(__file__).parents[2]
CATALOGUE = params.load(ROOT / "params.yaml")
STUDY = CATALOGUE.model_copy(update={"cost": schema.CostSettings(rounds=2, batches=3), "device": "cpu"})
CPU = torch.device("cpu")
FOLLOWS = ("parameters", "multiply_accumulates")  # from the definition, without a measurement
MEASURES = (
    "seconds_per_epoch",
    "on_processor",
    "process_memory_bytes",
    "device_memory_bytes",
    "latency_seconds",
    "images_per_second",
)


@pytest.fixture(scope="module")
def record(prepared):
    return cost.measure(STUDY, prepared / "train")


def test_there_is_one_figure_per_round_for_each_measure_and_variant(record):
    assert list(record["variants"]) == ["lenet5", "mlp", "lenet5-regularized"]
    for measured in record["variants"].values():
        assert set(measured) == {*FOLLOWS, *MEASURES}
        assert all(len(measured[key]) == 2 for key in MEASURES)
        assert measured["device_memory_bytes"] == [None, None]  # on a CPU there is no other memory
        for key in set(MEASURES) - {"device_memory_bytes"}:
            assert all(figure > 0 for figure in measured[key]), key
        assert all(share <= 1 for share in measured["on_processor"])


def test_the_record_tells_under_which_conditions_it_was_taken(record):
    conditions = dict(record["conditions"])
    assert conditions.pop("device").startswith("cpu: ")
    assert conditions == {
        "training_images": 1237,  # 1,437 without 200 for validation
        "threads": 1,
        "side_by_side": 6,
        "batch": 250,
        "rounds": 2,
        "batches": 3,
    }
    assert record["origin"]["torch"] == version("torch")


def test_the_record_is_plain_json(record, tmp_path):
    files.write_json(tmp_path / "costs.json", record)
    assert files.read_json(tmp_path / "costs.json") == record


def test_no_process_is_left_behind(record):
    assert record
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_every_kind_of_network_and_of_augmentation_can_be_measured(prepared):
    names = ("lenet5-1998", "lenet5-28-light-dropout", "lenet5-average", "lenet5-decay-dropout-affine", "lenet5-tuned")
    found = cost.measure(STUDY.model_copy(update={"study": names}), prepared / "train")
    assert tuple(found["variants"]) == names
    assert all(len(measured["seconds_per_epoch"]) == 2 for measured in found["variants"].values())


# What follows from the definition.


@pytest.mark.parametrize("name", CATALOGUE.variants)
def test_parameters_are_those_that_the_definition_adds_up_to(name):
    assert cost._defined(CATALOGUE.variants[name])["parameters"] == CATALOGUE.variants[name].parameters


BY_HAND = {
    "lenet5": 117_600 + 240_000 + 400 * 120 + 120 * 84 + 84 * 10,  # C1: 28 × 28 × 6 × 25, C3: 10 × 10 × 16 × 150
    "lenet5-average": 416_520,  # pooling by rule costs nothing
    "lenet5-regularized": 416_520,  # normalisation can be folded into the convolution before it
    "lenet5-28": 24 * 24 * 6 * 25 + 8 * 8 * 16 * 150 + 256 * 120 + 120 * 84 + 84 * 10,
    "mlp": 1024 * 59 + 59 * 10,
    "mlp-28-60-40": 784 * 60 + 60 * 40 + 40 * 10,
    # C3 has 60 kernels for 96, S2 and S4 take one product per value, and 84 values are compared with ten codes.
    "lenet5-1998": 28 * 28 * 6 * 25 + 6 * 14 * 14 + 10 * 10 * 60 * 25 + 16 * 5 * 5 + 400 * 120 + 120 * 84 + 84 * 10,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_multiply_accumulates_by_hand(name):
    assert cost._defined(CATALOGUE.variants[name])["multiply_accumulates"] == BY_HAND[name]


# torch computes C3 of 1998 with all 96 kernels, of which 36 are zero, and does not count S2 and S4.
UNSEEN = {"lenet5-1998": (6 * 14 * 14 + 16 * 5 * 5) - 10 * 10 * 36 * 25}


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE.variants)
def test_multiply_accumulates_are_half_of_the_operations_that_torch_counts(name):
    from torch.utils.flop_counter import FlopCounterMode  # takes seconds

    variant = CATALOGUE.variants[name]
    network = build.build_network(variant, seed=0).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, variant.input.size, variant.input.size))
    counted = counter.get_total_flops() / 2 + UNSEEN.get(name, 0)
    assert cost._defined(variant)["multiply_accumulates"] == counted


# The order, and what each measurement is asked.


def test_rounds_go_forwards_and_backwards_in_turn(monkeypatch, prepared):
    names = ("lenet5", "lenet5-1998", "mlp", "lenet5-tuned")
    study = STUDY.model_copy(update={"study": names, "cost": schema.CostSettings(rounds=3, batches=7)})
    order, asked = [], []

    def recorded(function, variant, *others):
        assert function is cost._measured
        order.append(next(name for name in names if study.variants[name] is variant))
        asked.append(others)
        return dict.fromkeys(MEASURES, len(order))

    monkeypatch.setattr(cost, "_apart", recorded)
    found = cost.measure(study, prepared / "train")
    assert order == [*names, *reversed(names), *names]
    assert asked == [(study.training_of(name), "cpu", prepared / "train", 7) for name in order]
    assert asked[1][0].learning_rate == 0.001  # that of lenet5-1998 alone
    for key in MEASURES:
        # The figures of a variant stand by round, in whatever order it was measured within one.
        assert found["variants"]["lenet5"][key] == [1, 8, 9]
        assert found["variants"]["lenet5-1998"][key] == [2, 7, 10]
        assert found["variants"]["lenet5-tuned"][key] == [4, 5, 12]


# The arithmetic, on a clock that only goes when something is done.


class Clock:
    """Seconds that have passed, and those of them in which this process had a processor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed, self.worked = 1000.0, 100.0
        monkeypatch.setattr(cost, "_now", lambda _: self.passed)
        monkeypatch.setattr(time, "process_time", lambda: self.worked)

    def spend(self, seconds: float, worked: float) -> None:
        self.passed += seconds
        self.worked += worked


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def digits(count: int) -> dataset.Digits:
    return dataset.Digits(torch.zeros(count, 1, 32, 32), torch.arange(count) % 10, 0.0)


def trained(
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    *,
    images: int,
    batches: int,
    draw: tuple[float, float],
    step: tuple[float, float],
    batch_size: int = 64,
) -> tuple[dict[str, float], list[int]]:
    """What `_training` finds where drawing and a step take (seconds, of these on a processor), and the steps done."""
    steps = []

    def drawn(_variant, state, count, where):
        assert (len(state.seeds), count, where) == (6, images, CPU)  # six are trained side by side on a CPU
        clock.spend(*draw)

    def stepped(_run, _state, _digits, _chance, number):
        clock.spend(*(step if len(steps) >= 3 else (500.0, 0.0)))  # the first three warm up, and do not count
        steps.append(number)

    monkeypatch.setattr(loop, "draw_randomness", drawn)
    monkeypatch.setattr(loop, "train_step", stepped)
    settings = CATALOGUE.training.model_copy(update={"batch_size": batch_size})
    return cost._training(CATALOGUE.variants["mlp"], settings, digits(images), batches), steps


def test_an_epoch_is_one_drawing_and_all_its_steps_shared_by_the_seeds(monkeypatch, clock):
    """1,237 images make 20 batches of 64, of which the last is not full: (2 + 20 × 0.5) / 6 = 2 seconds for a seed."""
    found, steps = trained(monkeypatch, clock, images=1237, batches=8, draw=(2.0, 2.0), step=(0.5, 0.5))
    assert found == {"seconds_per_epoch": 2.0, "on_processor": 1.0}
    assert len(steps) == 3 + 8


@pytest.mark.parametrize(
    ("images", "batch_size", "batches", "met"),
    [
        (1237, 64, 30, {*range(19)}),  # 19 full ones, which come again
        (1280, 64, 30, {*range(20)}),
        (1237, 64, 5, {*range(5)}),
        (50, 64, 4, {0}),  # the only one there is
    ],
)
def test_only_full_batches_are_timed_where_there_are_any(monkeypatch, clock, images, batch_size, batches, met):
    _, steps = trained(
        monkeypatch, clock, images=images, batches=batches, draw=(1, 1), step=(1, 1), batch_size=batch_size
    )
    assert set(steps) == met
    assert set(steps[3:]) <= met
    assert len(steps) == 3 + batches


def test_the_share_on_a_processor_is_that_of_drawing_and_the_counted_steps(monkeypatch, clock):
    """Drawing: 1 second of 2. Eight steps: 2 seconds of 4. The warm-up, with none of 1,500, does not count."""
    found, _ = trained(monkeypatch, clock, images=1237, batches=8, draw=(2.0, 1.0), step=(0.5, 0.25))
    assert found["on_processor"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("draw", "step", "share"),
    [
        ((2.0, 0.0), (1.0, 1.0), 4 / 6),  # it waited while it drew
        ((2.0, 2.0), (1.0, 0.0), 2 / 6),  # it waited in the steps
        ((2.0, 0.0), (1.0, 0.0), 0.0),
        ((2.0, 2.5), (1.0, 1.5), 1.0),  # clocks are not exact, and a share is at most 1
    ],
)
def test_waiting_counts_wherever_it_was(monkeypatch, clock, draw, step, share):
    found, _ = trained(monkeypatch, clock, images=640, batches=4, draw=draw, step=step)
    assert found["on_processor"] == pytest.approx(share)
    assert found["seconds_per_epoch"] == pytest.approx((2 + 10 * 1) / 6)


class Reader(nn.Module):
    """A network that takes 1, 2 or 9 seconds for one image in turn, and 4 for each batch."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.singles, self.batches = clock, 0, []

    def forward(self, images: torch.Tensor) -> None:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        if len(images) == 1:
            # Of the three that warm up each takes a thousand seconds.
            self.clock.spend(1000 if self.singles < 3 else (1, 2, 9)[self.singles % 3], 0)
            self.singles += 1
        else:
            self.clock.spend(1000 if len(self.batches) < 3 else 4, 0)
            self.batches.append(len(images))


@pytest.mark.parametrize(("images", "batch"), [(1237, 250), (250, 250), (100, 100)])
def test_latency_is_the_median_of_single_images_and_throughput_that_of_batches(clock, images, batch):
    reader = Reader(clock)
    found = cost._reading(reader, digits(images))
    assert found == {"latency_seconds": 2, "images_per_second": batch / 4}
    assert reader.singles == 3 + 200
    assert reader.batches == [batch] * (3 + 8)


def test_a_measurement_joins_training_memory_and_reading(prepared, monkeypatch):
    """On the training images alone, in the variant's form, and as many of them as its settings say."""
    seen = {}

    def training_of(variant, settings, images, batches):
        seen["training"] = (variant, settings, images, batches)
        return {"seconds_per_epoch": 1.0, "on_processor": 0.5}

    def reading_of(network, images):
        seen["reading"] = images
        return {"latency_seconds": 2.0, "images_per_second": float(layer_table.parameter_count(network))}

    monkeypatch.setattr(cost, "_training", training_of)
    monkeypatch.setattr(cost, "_reading", reading_of)
    monkeypatch.setattr("lenetlab.training.devices.peak_memory", lambda place: {"cpu": 7}[place.type])
    variant, settings = CATALOGUE.variants["lenet5-28"], CATALOGUE.training.model_copy(update={"images": 500})
    assert cost._measured(variant, settings, "cpu", prepared / "train", 9) == {
        "seconds_per_epoch": 1.0,
        "on_processor": 0.5,
        "process_memory_bytes": 7,
        "device_memory_bytes": None,
        "latency_seconds": 2.0,
        "images_per_second": 44_426.0,
    }
    assert seen["training"] == (variant, settings, seen["reading"], 9)
    content = dataset.load(prepared / "train")
    expected = content.digits("training", variant.input, content.normalization(variant.input), CPU, 500)
    assert torch.equal(seen["reading"].images, expected.images)
    assert seen["reading"].images.shape == (500, 1, 28, 28)


# Processes.


def own_process(_first: object, _second: object, _where: str) -> tuple[int, int]:
    return os.getpid(), os.getppid()


def dies(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_figure_is_taken_in_a_process_of_its_own():
    found = [cost._apart(own_process, None, None, "cpu") for _ in range(2)]
    assert len({os.getpid(), *(process for process, _ in found)}) == 3
    assert {parent for _, parent in found} == {os.getpid()}
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("where", "method"), [("cpu", "fork"), ("cuda", "spawn"), ("cuda:1", "spawn")])
def test_a_process_that_uses_a_gpu_is_not_forked(monkeypatch, where, method):
    asked, given = [], multiprocessing.get_context
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: asked.append(name) or given("fork"))
    cost._apart(own_process, None, None, where)
    assert asked == [method]


def test_a_measured_process_that_dies_is_an_error_and_leaves_none(monkeypatch, prepared):
    monkeypatch.setattr(cost, "_measured", dies)
    with pytest.raises(UserError, match="a worker process died: signal SIGKILL"):
        cost.measure(STUDY, prepared / "train")
    assert multiprocessing.active_children() == []


def test_what_is_wrong_in_a_measured_process_is_told_here(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read .*remedy: dvc repro prepare"):
        cost.measure(STUDY, tmp_path)
    assert multiprocessing.active_children() == []


PROGRAM = """
import os, time
from lenetlab import cost
def waits(_first, _second, _where):
    print(os.getpid(), flush=True)
    time.sleep(60)
cost._apart(waits, None, None, "cpu")
"""


@pytest.mark.slow
def test_a_measured_process_dies_with_the_one_that_started_it():
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    child = parent.stdout.readline().strip()
    assert Path("/proc", child).exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not Path("/proc", child).exists():
            return
        time.sleep(0.1)
    pytest.fail("a measured process outlived its parent")


# The stage.


@pytest.fixture
def stage(tmp_path, monkeypatch) -> ModuleType:
    """stages/cost.py, in a folder with params.yaml."""
    specification = importlib.util.spec_from_file_location("stage_cost", ROOT / "stages" / "cost.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return module


def measured_as(monkeypatch: pytest.MonkeyPatch, **shares: list[float]) -> dict:
    """`cost.measure` finds these shares on a processor, by variant."""
    found = {"variants": {name: {"on_processor": values} for name, values in shares.items()}}

    def measure(study, folder):
        assert (study, folder) == (CATALOGUE, Path("data/prepared/train"))
        return found

    monkeypatch.setattr(cost, "measure", measure)
    return found


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ({"lenet5": [1.0, 0.98], "mlp": [0.99, 0.42]}, "42 %"),  # the least of all rounds and variants
        ({"lenet5": [0.9, 1.0], "mlp": [0.97, 0.96]}, "90 %"),
    ],
)
def test_a_busy_machine_is_told_of_and_measured_all_the_same(stage, monkeypatch, capsys, shares, told):
    found = measured_as(monkeypatch, **shares)
    stage.main()
    printed = capsys.readouterr()
    assert printed.err.startswith("warning: the machine was busy while this was measured")
    assert f"a variant had a processor for {told} of its time" in printed.err
    assert "dvc repro --force --single-item cost" in printed.err
    assert printed.out == ""
    assert json.loads(Path("costs.json").read_text()) == found


def test_an_idle_machine_is_not_spoken_of(stage, monkeypatch, capsys):
    found = measured_as(monkeypatch, lenet5=[1.0, 0.96], mlp=[0.95, 0.99])
    stage.main()
    assert capsys.readouterr() == ("", "")
    assert json.loads(Path("costs.json").read_text()) == found
