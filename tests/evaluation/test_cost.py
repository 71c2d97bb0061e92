"""What variants cost: the record, the arithmetic behind it on a fake clock, the processes, and the stage."""

import importlib.util
import json
import multiprocessing
import os
import signal
import time
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lenetlab.data import dataset
from lenetlab.errors import UserError
from lenetlab.evaluation import cost
from lenetlab.networks import build, lenet, mlp
from lenetlab.settings import params, schema, study_schema
from lenetlab.storage import code, files, paths, provenance
from lenetlab.storage.digests import sha256_json
from lenetlab.training import devices, loop, parallel, randomness

ROOT = Path(__file__).parents[2]
PREPARED = Path("data/prepared/train")
CATALOGUE = params.load(ROOT / "params.yaml")
STUDY = CATALOGUE.model_copy(update={"cost": study_schema.CostSettings(rounds=2, batches=3), "device": "cpu"})
MEASURES = (
    "seconds_per_epoch",
    "on_processor",
    "process_memory_bytes",
    "device_memory_bytes",
    "latency_seconds",
    "images_per_second",
)

# The record of a real measurement.

MEASURED = ("mlp", "lenet5-1998", "lenet5-decay-dropout-affine", "lenet5-tuned")  # all layers and augmentations


@pytest.fixture(scope="module")
def record(prepared):
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, calls in (("WARM_UP", 1), ("LATENCY_CALLS", 20), ("THROUGHPUT_CALLS", 1)):  # fewer, to save time
            monkeypatch.setattr(cost, name, calls)
        return cost.measure(STUDY.model_copy(update={"study": MEASURED}), prepared / "train")


def test_each_measure_has_one_value_per_round(record):
    assert tuple(record["variants"]) == MEASURED
    for values in record["variants"].values():
        assert set(values) == {"parameters", "multiply_accumulates", *MEASURES}
        assert all(len(values[key]) == 2 for key in MEASURES)
        assert values["device_memory_bytes"] == [None, None]  # a CPU has no memory of its own
        for key in set(MEASURES) - {"device_memory_bytes"}:
            assert all(value > 0 for value in values[key]), key
        assert all(share <= 1 for share in values["on_processor"])


def test_the_record_holds_the_conditions_and_versions(record):
    conditions = dict(record["conditions"])
    assert conditions.pop("device").startswith("cpu: ")
    assert conditions == {
        "training_images": 1237,  # 1,437 without 200 for validation
        "threads": 1,
        "side_by_side": 6,
        "processes": devices.cores(),
        "batch": 250,
        "rounds": 2,
        "batches": 3,
        "short": False,
    }
    assert record["origin"]["torch"] == version("torch")


def test_the_record_says_which_settings_were_measured(record):
    assert record["recipes"] == {name: provenance.cost_recipe(STUDY, name) for name in MEASURED}


def test_the_record_can_be_written_as_json(record, tmp_path):
    files.write_json(tmp_path / "costs.json", record)
    assert files.read_json(tmp_path / "costs.json") == record


# What follows from the definition.


@pytest.mark.parametrize("name", CATALOGUE.variants)
def test_parameters_agree_with_the_definition(name):
    assert cost.count_operations(CATALOGUE.variants[name])["parameters"] == CATALOGUE.variants[name].parameters


BY_HAND = {
    "lenet5": 117_600 + 240_000 + 400 * 120 + 120 * 84 + 84 * 10,  # C1: 28 × 28 × 6 × 25, C3: 10 × 10 × 16 × 150
    "lenet5-average": 416_520,  # average pooling has no weights, so it counts as nothing
    "lenet5-regularized": 416_520,  # batch normalisation can be merged into the convolution before it
    "lenet5-28": 24 * 24 * 6 * 25 + 8 * 8 * 16 * 150 + 256 * 120 + 120 * 84 + 84 * 10,
    "mlp": 1024 * 59 + 59 * 10,
    "mlp-28-60-40": 784 * 60 + 60 * 40 + 40 * 10,
    # C3 has 60 kernels instead of 96, S2 and S4 multiply once per value, and 84 values are compared with ten codes.
    "lenet5-1998": 28 * 28 * 6 * 25 + 6 * 14 * 14 + 10 * 10 * 60 * 25 + 16 * 5 * 5 + 400 * 120 + 120 * 84 + 84 * 10,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_multiply_accumulates_by_hand(name):
    assert cost.count_operations(CATALOGUE.variants[name])["multiply_accumulates"] == BY_HAND[name]


# For lenet5-1998, torch computes all 96 kernels of C3, of which 36 are zero, and S2 and S4 are no matrix products.
DIFFERENCE_TO_TORCH = {"lenet5-1998": (6 * 14 * 14 + 16 * 5 * 5) - 10 * 10 * 36 * 25}


@pytest.mark.parametrize("name", CATALOGUE.variants)
def test_multiply_accumulates_are_half_of_the_operations_that_torch_counts(name):
    variant = CATALOGUE.variants[name]
    network = build.build_network(variant, seed=0).eval()
    with torch.no_grad(), torch.autograd.profiler.profile(with_flops=True) as profile:
        network(torch.zeros(1, 1, variant.input.size, variant.input.size))
    products = ("aten::conv2d", "aten::addmm", "aten::mm")
    counted = sum(operation.flops for operation in profile.key_averages() if operation.key in products)
    expected = counted / 2 + DIFFERENCE_TO_TORCH.get(name, 0)
    assert cost.count_operations(variant)["multiply_accumulates"] == expected


# The arithmetic, with a clock that advances only with the work of a measurement.


class FakeWork:
    """Replaces the work of a measurement: each call takes a set time on a fake clock, and is recorded.

    `draw` and `step` are the seconds that drawing the random numbers and a training step take, in all and on a
    processor. The first three calls of each kind are a warm-up, and take much longer.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.draw = self.step = (1.0, 1.0)
        self.elapsed, self.on_processor = 1000.0, 100.0
        self.single_images = 0  # counted from the last draw; operations are counted before the first one
        self.measured: list[tuple[schema.Variant, float]] = []  # in order, with the learning rate
        monkeypatch.setattr(time, "perf_counter", lambda: self.elapsed)
        monkeypatch.setattr(time, "process_time", lambda: self.on_processor)
        monkeypatch.setattr(randomness, "draw", self.draw_randomness)
        monkeypatch.setattr(loop, "train_step", self.train_step)
        for network in (lenet.LeNet5, mlp.MLP):
            monkeypatch.setattr(network, "forward", lambda network, images: self.forward(network, images))

    def spend(self, seconds: float, on_processor: float) -> None:
        self.elapsed += seconds
        self.on_processor += on_processor

    def draw_randomness(self, _variant, state, count, device):
        """The first call of a measurement."""
        assert (len(state.seeds), device) == (6, torch.device("cpu"))  # six seeds are trained together on a CPU
        self.drawn_for, self.steps, self.single_images, self.batches = count, [], 0, []
        self.spend(*self.draw)

    def train_step(self, job, _state, examples, _randomness, number):
        if not self.steps:
            self.measured.append((job.variant, job.training.learning_rate))
        self.examples = examples
        self.spend(*((500.0, 0.0) if len(self.steps) < 3 else self.step))
        self.steps.append(number)

    def forward(self, network, images):
        """A single image takes 1, 2 or 9 seconds in turn, a batch 4."""
        assert not network.training
        assert torch.is_inference_mode_enabled()
        if len(images) == 1:
            self.spend(1000 if self.single_images < 3 else (1, 2, 9)[self.single_images % 3], 0)
            self.single_images += 1
        else:
            self.spend(1000 if len(self.batches) < 3 else 4, 0)
            self.batches.append(len(images))


@pytest.fixture
def work(monkeypatch):
    return FakeWork(monkeypatch)


@pytest.fixture
def measure(prepared, monkeypatch):
    """Measures variants in the process of the test, where the fake work is recorded; returns `variants`."""

    def measure(*names: str, rounds: int = 2, batches: int = 8, **training: int) -> dict[str, dict]:
        study = STUDY.model_copy(
            update={
                "study": names,
                "cost": study_schema.CostSettings(rounds=rounds, batches=batches),
                "training": CATALOGUE.training.model_copy(update=training),
            }
        )
        return cost.measure(study, prepared / "train")["variants"]

    run_tasks = parallel.run_tasks
    monkeypatch.setattr(parallel, "run_tasks", lambda tasks, processes, _method: run_tasks(tasks, processes))
    return measure


def test_an_epoch_is_one_draw_and_all_steps_divided_by_the_seeds(work, measure):
    """1,237 images make 20 batches of 64, the last one smaller: (2 + 20 × 0.5) / 6 = 2 seconds per seed."""
    work.draw, work.step = (2.0, 2.0), (0.5, 0.5)
    values = measure("mlp", batches=8)["mlp"]
    assert (values["seconds_per_epoch"], values["on_processor"]) == ([2.0, 2.0], [1.0, 1.0])
    assert work.drawn_for == 1237
    assert len(work.steps) == 3 + 8


@pytest.mark.parametrize(
    ("images", "batch_size", "batches", "numbers"),
    [
        (1237, 64, 30, {*range(19)}),  # 19 full ones, repeated
        (1216, 64, 30, {*range(19)}),
        (1237, 64, 5, {*range(5)}),
        (50, 64, 4, {0}),  # the only one
    ],
)
def test_only_full_batches_are_timed_if_there_are_any(work, measure, images, batch_size, batches, numbers):
    measure("mlp", images=images, batch_size=batch_size, batches=batches)
    assert set(work.steps) == numbers
    assert set(work.steps[3:]) <= numbers
    assert len(work.steps) == 3 + batches


@pytest.mark.parametrize(
    ("draw", "step", "share"),
    [
        ((2.0, 1.0), (1.0, 0.5), 0.5),
        ((2.0, 0.0), (1.0, 1.0), 4 / 6),  # waiting during the draw
        ((2.0, 2.0), (1.0, 0.0), 2 / 6),  # waiting during the steps
        ((2.0, 0.0), (1.0, 0.0), 0.0),
        ((2.0, 2.5), (1.0, 1.5), 1.0),  # clocks are not exact, but a share is at most 1
    ],
)
def test_the_share_on_a_processor_is_that_of_the_draw_and_the_counted_steps(work, measure, draw, step, share):
    work.draw, work.step = draw, step
    values = measure("mlp", images=640, batches=4)["mlp"]
    assert values["on_processor"] == pytest.approx([share, share])
    assert values["seconds_per_epoch"] == pytest.approx([(2 + 10 * 1) / 6] * 2)


@pytest.mark.parametrize(("images", "batch"), [(0, 250), (250, 250), (100, 100)])
def test_latency_is_a_median_over_single_images_and_throughput_that_of_batches(work, measure, images, batch):
    values = measure("mlp", images=images)["mlp"]
    assert (values["latency_seconds"], values["images_per_second"]) == ([2, 2], [batch / 4] * 2)
    assert work.single_images == 3 + 200
    assert work.batches == [batch] * (3 + 8)


def test_training_images_are_measured_in_the_form_and_number_of_the_variant(work, measure, prepared, monkeypatch):
    monkeypatch.setattr(devices, "peak_memory", lambda device: {"cpu": 7}[device.type])
    values = measure("lenet5-28", images=500)["lenet5-28"]
    assert (values["process_memory_bytes"], values["device_memory_bytes"]) == ([7, 7], [None, None])
    variant, content = CATALOGUE.variants["lenet5-28"], dataset.load(prepared / "train")
    normalization = content.normalization(variant.input)
    expected = content.examples("training", variant.input, normalization, torch.device("cpu"), 500)
    assert work.examples.images.shape == (500, 1, 28, 28)
    assert torch.equal(work.examples.images, expected.images)


def test_rounds_go_forwards_and_backwards_in_turn(work, measure, monkeypatch):
    """The values of a variant are listed by round, whatever its place within a round."""
    names = ("lenet5", "lenet5-1998", "mlp", "lenet5-tuned")
    monkeypatch.setattr(devices, "peak_memory", lambda _: len(work.measured))
    variants = measure(*names, rounds=3)
    order = (*names, *reversed(names), *names)
    # lenet5-1998 is trained at 0.001, the others at higher rates, at which a measurement might diverge
    assert work.measured == [(CATALOGUE.variants[name], 0.001) for name in order]
    places = {name: values["process_memory_bytes"] for name, values in variants.items()}
    assert places == {"lenet5": [1, 8, 9], "lenet5-1998": [2, 7, 10], "mlp": [3, 6, 11], "lenet5-tuned": [4, 5, 12]}


# Processes.


@pytest.mark.usefixtures("work")
def test_every_measurement_runs_in_a_new_process(prepared, monkeypatch):
    monkeypatch.setattr(devices, "peak_memory", lambda _: os.getpid())
    costs = cost.measure(STUDY, prepared / "train")
    processes = [process for values in costs["variants"].values() for process in values["process_memory_bytes"]]
    assert len({os.getpid(), *processes}) == 1 + 3 * 2
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("device", "method"), [("cpu", "fork"), ("cuda", "spawn"), ("cuda:1", "spawn")])
def test_a_process_that_uses_cuda_is_not_forked(monkeypatch, prepared, device, method):
    calls = []

    def run_tasks(_tasks, processes, method):
        calls.append((processes, method))
        yield 0, dict.fromkeys(MEASURES, 1.0)

    monkeypatch.setattr(devices, "resolve", lambda _: torch.device(device))
    monkeypatch.setattr(devices, "describe", str)
    monkeypatch.setattr(parallel, "run_tasks", run_tasks)
    cost.measure(STUDY, prepared / "train")
    assert calls == [(1, method)] * 3 * 2


def test_a_measured_process_that_dies_is_an_error(monkeypatch, prepared):
    monkeypatch.setattr(dataset, "load", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="a worker process died: signal SIGKILL"):
        cost.measure(STUDY, prepared / "train")
    assert multiprocessing.active_children() == []


def test_an_error_in_a_measured_process_is_raised_here(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read .*remedy: dvc repro prepare"):
        cost.measure(STUDY, tmp_path)
    assert multiprocessing.active_children() == []


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


@pytest.mark.parametrize(
    ("shares", "percent"),
    [
        ({"lenet5": [1.0, 0.98], "mlp": [0.99, 0.42]}, "42 %"),  # the lowest of all rounds and variants
        ({"lenet5": [0.9, 1.0], "mlp": [0.97, 0.96]}, "90 %"),
        ({"lenet5": [1.0, 0.96], "mlp": [0.95, 0.99]}, None),
    ],
)
def test_the_stage_writes_the_costs_and_warns_if_the_machine_was_busy(stage, monkeypatch, capsys, shares, percent):
    costs = {"variants": {name: {"on_processor": values} for name, values in shares.items()}}
    costs |= {"fingerprint": "f", "recipes": {}}

    def measure(study, folder):
        assert (study, folder) == (CATALOGUE, Path("data/prepared/train"))
        return costs

    monkeypatch.setattr(cost, "measure", measure)
    stage.main()
    output = capsys.readouterr()
    assert output.out == ""
    if percent:
        assert output.err.startswith("warning: the machine was busy during the measurement")
        assert f"a variant had a processor for {percent} of its time" in output.err
        assert "remedy: rm -r .lenetlab/costs, then dvc repro --force --single-item cost" in output.err
    else:
        assert output.err == ""
    assert json.loads(Path("costs.json").read_text()) == costs


def test_the_stage_keeps_a_measurement_that_is_still_valid(stage, monkeypatch, capsys):
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("measured again"))
    given = []
    monkeypatch.setattr(cost, "find_kept", lambda *arguments: given.append(arguments) or {"as": "before"})
    stage.main()
    assert given == [(paths.resume_folder().parent / "costs", CATALOGUE, PREPARED)]
    assert capsys.readouterr().err == "costs.json: these variants were measured before; their costs are kept\n"
    assert files.read_json(Path("costs.json")) == {"as": "before"}


# When a measurement is still valid.


@pytest.fixture
def kept(record, tmp_path) -> Path:
    """A folder with this measurement."""
    cost.keep(record, tmp_path / "costs")
    return tmp_path / "costs"


def changed(values: dict[str, object]) -> study_schema.Study:
    """The measured study, in which keys such as `training.epochs` have these values."""
    content = STUDY.model_copy(update={"study": MEASURED}).model_dump(exclude_none=True)
    for key, value in values.items():
        *blocks, last = key.split(".")
        reduce(dict.__getitem__, blocks, content)[last] = value
    return study_schema.Study.model_validate(content)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seeds": 12},
        {"variants.mlp.seeds": 12},
        {"training.epochs": 3},
        {"variants.mlp.training": {"epochs": 3}},
        {"variants.lenet5.input.size": 28},  # not in the study
        {"equivalence_margin": 0.1},
    ],
)
def test_what_decides_no_cost_keeps_the_measurement(record, kept, prepared, change):
    assert cost.find_kept(kept, changed(change), prepared / "train") == record


def test_a_measurement_of_more_variants_is_kept_for_those_of_the_study(record, kept, prepared):
    """All were measured together, each in processes of its own."""
    names = MEASURED[2], MEASURED[0]
    found = cost.find_kept(kept, changed({"study": names}), prepared / "train")
    assert tuple(found["variants"]) == tuple(found["recipes"]) == names
    assert all(found["variants"][name] == record["variants"][name] for name in names)
    content = {key: value for key, value in found.items() if key != "sha256"}
    assert found["sha256"] == sha256_json(content)


def test_measurements_of_other_variants_are_kept_beside_each_other(record, kept, prepared):
    """So a change and the way back measure once. Of two measurements of the same, the last one counts."""
    other = changed({"variants.mlp.training": {"batch_size": 8}})
    assert cost.find_kept(kept, other, prepared / "train") is None
    recipes = {name: provenance.cost_recipe(other, name) for name in MEASURED}
    cost.keep(sealed({**record, "recipes": recipes}), kept)
    cost.keep(again := sealed({**record, "origin": "again"}), kept)
    assert cost.find_kept(kept, other, prepared / "train")["recipes"] == recipes
    assert cost.find_kept(kept, changed({}), prepared / "train") == again
    assert len(list(kept.iterdir())) == 2


def sealed(costs: dict) -> dict:
    content = {key: value for key, value in costs.items() if key != "sha256"}
    return {**content, "sha256": sha256_json(content)}


@pytest.mark.usefixtures("measure")
def test_only_a_dvc_experiment_measures_less_and_says_so(work, prepared, monkeypatch):
    study = changed({"cost": {"rounds": 5, "batches": 30}, "study": ["mlp"]})
    in_full = changed({"cost": {"rounds": 5, "batches": 30, "in_experiments": "full"}, "study": ["mlp"]})
    found = {}
    for experiment, settings in ((None, study), ("quick-run", study), ("quick-run", in_full)):
        monkeypatch.setenv("DVC_EXP_NAME", experiment or "")
        conditions = cost.measure(settings, prepared / "train")["conditions"]
        found[experiment, settings.cost.in_experiments] = [conditions[key] for key in ("rounds", "batches", "short")]
    assert found == {
        (None, "short"): [5, 30, False],
        ("quick-run", "short"): [2, 10, True],
        ("quick-run", "full"): [5, 30, False],
    }
    assert len(work.measured) == 5 + 2 + 5


@pytest.mark.usefixtures("work", "measure")
def test_an_experiment_takes_a_full_measurement_and_the_study_no_short_one(prepared, monkeypatch, tmp_path):
    folder, study = tmp_path / "costs", changed({"cost": {"rounds": 5, "batches": 30}, "study": ["mlp"]})
    monkeypatch.setenv("DVC_EXP_NAME", "quick-run")
    cost.keep(short := cost.measure(study, prepared / "train"), folder)
    assert cost.find_kept(folder, study, prepared / "train") == short
    monkeypatch.delenv("DVC_EXP_NAME")
    assert cost.find_kept(folder, study, prepared / "train") is None
    cost.keep(full := cost.measure(study, prepared / "train"), folder)
    cost.keep(short, folder)  # though it is newer
    assert cost.find_kept(folder, study, prepared / "train") == full
    monkeypatch.setenv("DVC_EXP_NAME", "quick-run")
    assert cost.find_kept(folder, study, prepared / "train") == full


@pytest.mark.parametrize(
    "change",
    [
        {"study": [*MEASURED, "lenet5"]},
        {"variants.mlp.model.hidden": [60]},
        {"variants.mlp.training": {"batch_size": 8}},
        {"training.images": 500},
        {"cost.rounds": 3},
        {"cost.batches": 4},
    ],
)
def test_what_decides_a_cost_needs_a_new_measurement(kept, prepared, change):
    assert cost.find_kept(kept, changed(change), prepared / "train") is None


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (devices, "describe", lambda _: "cpu: another"),
        (devices, "numerics", lambda: "float32, ATEN_CPU_CAPABILITY=default"),
        (torch, "__version__", "9.0"),
        (code, "code_digest", lambda module: f"other code of {module}"),
        (cost, "_training_images", lambda _: 7),
    ],
)
def test_another_machine_code_or_data_set_needs_a_new_measurement(kept, prepared, monkeypatch, place, name, value):
    monkeypatch.setattr(place, name, value)
    assert cost.find_kept(kept, changed({}), prepared / "train") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: None,
        lambda _: "",
        lambda _: "[]",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"batches": 3', '"batches": 4'),
        lambda text: text.replace('"sha256"', '"sha"'),
    ],
)
def test_a_missing_damaged_or_edited_file_needs_a_new_measurement(kept, prepared, damage):
    (path,) = kept.iterdir()
    content = damage(path.read_text())
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert cost.find_kept(kept, changed({}), prepared / "train") is None
