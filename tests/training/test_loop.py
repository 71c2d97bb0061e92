"""One training: what it learns, what it is a function of, and that it goes on where it was stopped."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lenetlab.data import augmentation, dataset
from lenetlab.networks import build
from lenetlab.settings import params, schema
from lenetlab.storage import files
from lenetlab.storage.digests import sha256_file
from lenetlab.training import checkpoint, devices, group, loop, optimizer, run_files, schedule

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _pinned():
    devices.make_deterministic()


def run_of(variant: str = "lenet5-regularized", seed: int = 3, **settings: object) -> run_files.TrainingJob:
    """A run of a catalogue variant; settings are those of training, regularization or model, by name."""
    definition, common = STUDY.variants[variant], STUDY.training.model_copy(update={"epochs": 3, "batch_size": 16})
    for block in ("regularization", "model", "input"):
        own = {key: settings.pop(key) for key in list(settings) if key in type(getattr(definition, block)).model_fields}
        definition = definition.model_copy(update={block: getattr(definition, block).model_copy(update=own)})
    return run_files.TrainingJob(
        definition, common.model_copy(update=settings), seed, {"variant": variant, "seed": seed}, {}
    )


def digits_of(prepared: Path, run: run_files.TrainingJob, split: str = "training", most: int = 200) -> dataset.Digits:
    content = dataset.load(prepared / "train")
    digits = content.digits(split, run.variant.input, content.normalization(run.variant.input), CPU)
    return dataset.Digits(digits.images[:most], digits.labels[:most], digits.black)


def trained(
    run: run_files.TrainingJob, digits: dataset.Digits, validation: dataset.Digits, folder: Path
) -> Iterator[dict]:
    """The records of the epochs."""
    for event in loop.train_jobs([run], digits, validation, [folder]):
        if event["event"] == "epoch":
            yield event


def fitted(prepared: Path, run: run_files.TrainingJob, folder: Path) -> list[dict]:
    folder.mkdir(exist_ok=True)
    return list(trained(run, digits_of(prepared, run), digits_of(prepared, run, "validation", 50), folder))


def deterministic(folder: Path) -> dict[str, str]:
    """Digests of all that is a function of data, settings and code."""
    paths = [*folder.glob("epoch-*"), folder / "curves.csv", folder / "run.json"]
    return {path.name: sha256_file(path) for path in paths}


@pytest.mark.parametrize("variant", ["lenet5", "mlp"])
def test_twenty_images_are_memorised(prepared, variant):
    run = run_of(variant, epochs=100, learning_rate=0.01, batch_size=10)
    digits = digits_of(prepared, run, most=20)
    state = loop.initial_state([run], CPU)
    for _ in range(run.training.epochs):
        losses, accuracies = loop.train_epoch(run, state, digits)
    assert accuracies[0] == 1.0
    assert losses[0] < 0.05


def test_shuffled_labels_cannot_be_predicted(prepared, tmp_path):
    run = run_of("mlp", epochs=5)
    digits, validation = digits_of(prepared, run, most=1000), digits_of(prepared, run, "validation", 200)
    shuffled = digits.labels[torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))]
    false = dataset.Digits(digits.images, shuffled, digits.black)
    found = {}
    for name, learnt in (("true", digits), ("false", false)):
        (tmp_path / name).mkdir()
        found[name] = list(trained(run, learnt, validation, tmp_path / name))[-1]["validation_accuracy"]
    assert found["false"] < 0.25 < 0.8 < found["true"]


def test_the_same_run_gives_the_same_bits_and_another_seed_others(prepared, tmp_path):
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        fitted(prepared, run_of(augmentation="affine", seed=seed), tmp_path / name)
    first, again, other = (deterministic(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_run_goes_on_exactly_where_it_was(prepared, tmp_path, optimizer, stop):
    run = run_of(augmentation="affine", optimizer=optimizer, schedule="one-cycle", learning_rate=0.003)
    fitted(prepared, run, tmp_path / "whole")

    (tmp_path / "parts").mkdir()
    parts = trained(run, digits_of(prepared, run), digits_of(prepared, run, "validation", 50), tmp_path / "parts")
    for _ in range(stop):
        next(parts)
    parts.close()
    assert not run_files.is_finished(tmp_path / "parts")
    assert len(fitted(prepared, run, tmp_path / "parts")) == run.training.epochs - stop
    assert deterministic(tmp_path / "parts") == deterministic(tmp_path / "whole")


FORGOTTEN = {  # part of what resuming takes up -> what a run that resumes without it would do
    "weights": lambda state, fresh: _restore(state, fresh, "model."),
    "optimizer": lambda state, fresh: _restore(state, fresh, "optimizer."),
    "epoch": lambda state, fresh: setattr(state, "epoch", fresh.epoch),
    "journal position": lambda state, _: state.journals[0].clear(),
    "weights of earlier epochs": lambda state, _: state.digests[0].clear(),
}


def _restore(state: checkpoint.TrainingState, fresh: checkpoint.TrainingState, prefix: str) -> None:
    for name, value in fresh.member(0).items():
        if name.startswith(prefix):
            state.member(0)[name].copy_(value)


def stopped_after_one_epoch(prepared: Path, run: run_files.TrainingJob, folder: Path) -> None:
    parts = trained(run, digits_of(prepared, run), digits_of(prepared, run, "validation", 50), folder)
    next(parts)
    parts.close()


@pytest.mark.torture
@pytest.mark.parametrize("part", FORGOTTEN)
def test_a_checkpoint_that_forgot_something_would_be_noticed(prepared, tmp_path, monkeypatch, count, part):
    """The control of the test above: without any one part of the state, the bits differ."""
    run = run_of()
    fitted(prepared, run, tmp_path / "whole")
    stopped_after_one_epoch(prepared, run, tmp_path / "parts")
    complete = checkpoint.load

    def partial(state: checkpoint.TrainingState, index: int, folder: Path) -> None:
        complete(state, index, folder)
        FORGOTTEN[part](state, loop.initial_state([run], CPU))

    monkeypatch.setattr(checkpoint, "load", partial)
    fitted(prepared, run, tmp_path / "parts")
    count("controls: a part of the state left out")
    assert deterministic(tmp_path / "parts") != deterministic(tmp_path / "whole")


@pytest.mark.torture
@pytest.mark.parametrize("part", ["order", "augmentation", "dropout", "schedule"])
def test_chance_or_a_schedule_that_began_anew_would_be_noticed(prepared, tmp_path, monkeypatch, count, part):
    """None of these is kept, since each follows from seed and epoch; with those of another epoch, a run differs."""
    run = run_of(augmentation="affine", schedule="cosine")
    fitted(prepared, run, tmp_path / "whole")
    stopped_after_one_epoch(prepared, run, tmp_path / "parts")
    stream, rate = loop.random_generator, schedule.learning_rate
    if part == "schedule":
        monkeypatch.setattr(schedule, "learning_rate", lambda settings, step, steps: rate(settings, step % 13, steps))
    else:
        monkeypatch.setattr(loop, "random_generator", lambda seed, epoch, use: stream(seed, epoch - (use == part), use))
    fitted(prepared, run, tmp_path / "parts")
    count("controls: a part of the state left out")
    assert deterministic(tmp_path / "parts") != deterministic(tmp_path / "whole")


@pytest.mark.parametrize("name", ["state-02.safetensors", "epoch-02.safetensors", "progress-02.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_file_is_named_and_the_epoch_before_it_is_gone_on_from(prepared, tmp_path, capsys, name, harm):
    run = run_of()
    fitted(prepared, run, tmp_path / "whole")
    parts = trained(run, digits_of(prepared, run), digits_of(prepared, run, "validation", 50), tmp_path / "parts")
    next(parts), next(parts)
    parts.close()
    damage(tmp_path / "parts" / name, harm)
    assert len(fitted(prepared, run, tmp_path / "parts")) == 2  # the second epoch again, and the third
    assert deterministic(tmp_path / "parts") == deterministic(tmp_path / "whole")
    named = f"{tmp_path / 'parts' / name}: {'missing' if harm == 'remove' else 'damaged'}"
    assert (named in capsys.readouterr().err) == ((name, harm) != ("progress-02.json", "remove"))


def damage(path: Path, harm: str) -> None:
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if harm == "cut" else content)
    if harm == "remove":
        path.unlink()


def test_damaged_weights_of_an_early_epoch_are_made_again_from_the_start(prepared, tmp_path, capsys):
    run = run_of("mlp")
    fitted(prepared, run, tmp_path / "whole")
    parts = trained(run, digits_of(prepared, run), digits_of(prepared, run, "validation", 50), tmp_path / "parts")
    next(parts), next(parts)
    parts.close()
    damage(tmp_path / "parts" / "epoch-01.safetensors", "flip")
    assert len(fitted(prepared, run, tmp_path / "parts")) == 3
    assert deterministic(tmp_path / "parts") == deterministic(tmp_path / "whole")
    assert "epoch-01.safetensors: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["epoch-02.safetensors", "curves.csv", "run.json", "journal.jsonl", "finished.json"])
def test_finished_means_every_file_as_it_was_written(prepared, tmp_path, capsys, name):
    fitted(prepared, run_of("mlp"), tmp_path / "run")
    assert run_files.is_finished(tmp_path / "run")
    damage(tmp_path / "run" / name, "flip")
    assert not run_files.is_finished(tmp_path / "run")
    assert f"{tmp_path / 'run' / name}: damaged" in capsys.readouterr().err


def test_two_states_are_kept_and_no_more(prepared, tmp_path):
    fitted(prepared, run_of("mlp", epochs=4), tmp_path / "run")
    kept = {path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(("state", "progress"))}
    assert kept == {"state-03.safetensors", "state-04.safetensors", "progress-03.json", "progress-04.json"}


def test_the_journal_tells_every_epoch_once(prepared, tmp_path):
    run = run_of("mlp")
    (tmp_path / "run").mkdir()
    parts = trained(run, digits_of(prepared, run), digits_of(prepared, run, "validation", 50), tmp_path / "run")
    next(parts)
    parts.close()
    fitted(prepared, run, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "epoch", "start", "epoch", "epoch", "end"]
    assert [line["epoch"] for line in lines if line["event"] == "epoch"] == [1, 2, 3]
    assert all(line["seconds"] > 0 and line["peak_memory_bytes"] > 0 for line in lines if line["event"] == "epoch")


def test_the_running_loss_and_accuracy_are_those_of_the_batches_as_they_were_met(prepared):
    """Against a plain loop written out here, with torch's own shuffling order replaced by ours."""
    run = run_of("lenet5", batch_size=30)
    digits = digits_of(prepared, run, most=100)
    model = build.build_network(run.variant, run.seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    order = torch.randperm(100, generator=loop.random_generator(run.seed, 1, "order"))
    losses, correct = [], 0
    for batch in (order[:30], order[30:60], order[60:90], order[90:]):
        logits = model(digits.images[batch])
        loss = functional.cross_entropy(logits, digits.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses += [loss.item()] * len(batch)
        correct += (logits.argmax(1) == digits.labels[batch]).sum().item()
    state = loop.initial_state([run], CPU)
    (found_loss, *_), (found_accuracy, *_) = loop.train_epoch(run, state, digits)
    assert found_loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert found_accuracy == correct / 100
    for name, theirs in model.state_dict().items():
        torch.testing.assert_close(state.network.member(0)[name], theirs)


def test_the_order_of_the_images_is_a_function_of_seed_and_epoch_alone():
    """Golden: from these functions on 2026-11-21; the CPU draws it, so every device meets the same batches."""
    order = torch.randperm(10, generator=loop.random_generator(0, 1, "order"))
    torch.rand(3)
    assert torch.equal(order, torch.randperm(10, generator=loop.random_generator(0, 1, "order")))
    others = [
        loop.random_generator(1, 1, "order"),
        loop.random_generator(0, 2, "order"),
        loop.random_generator(0, 1, "augmentation"),
    ]
    assert all(not torch.equal(order, torch.randperm(10, generator=other)) for other in others)
    assert loop.random_generator(0, 1, "order").device == CPU
    assert loop.random_generator(0, 1, "order").initial_seed() == 3424886208302205649


def test_dropout_keeps_each_unit_as_often_as_its_rate_says_and_each_seed_others():
    run = run_of("lenet5-regularized", dropout=(0.25, 0.5))
    state = loop.initial_state([run, run_of(seed=4)], CPU)
    kept = loop.draw_randomness(run.variant, state, 20_000, CPU).kept
    for name, width, rate in (("c5_dropout", 120, 0.25), ("f6_dropout", 84, 0.5)):
        assert kept[name].shape == (2, 20_000, width)
        deviation = (rate * (1 - rate) / 20_000) ** 0.5
        assert (kept[name].double().mean(1) - (1 - rate)).abs().max() < 5 * deviation  # of 240 units, each
        agreement = (kept[name][0] == kept[name][1]).double().mean()
        assert agreement == pytest.approx(rate**2 + (1 - rate) ** 2, abs=0.005)  # as independent draws agree
        neighbours = (kept[name][0, :, 1:] == kept[name][0, :, :-1]).double().mean()
        assert neighbours == pytest.approx(rate**2 + (1 - rate) ** 2, abs=0.005)


def test_sixteen_bits_at_a_time_are_uniform():
    draws = loop.uniform_int16(1000, 999, loop.random_generator(0, 1, "dropout")).double()
    assert draws.shape == (1000, 999)
    counts = torch.histc(draws, bins=64, min=-(2**15), max=2**15)
    expected = draws.numel() / 64
    assert ((counts - expected) ** 2 / expected).sum() < 120  # chi-squared with 63 degrees of freedom: p < 0.00002


def test_every_epoch_draws_its_order_dropout_and_augmentation_anew(prepared, tmp_path, monkeypatch):
    drawn = []
    original = loop.random_generator

    def watched(*which: object) -> torch.Generator:
        drawn.append(which)
        return original(*which)

    monkeypatch.setattr(loop, "random_generator", watched)
    fitted(prepared, run_of(augmentation="affine", seed=3, epochs=2), tmp_path / "run")
    assert set(drawn) == {(3, e, what) for e in (1, 2) for what in ("order", "augmentation", "dropout")}


def test_the_schedule_counts_the_steps_of_the_whole_training(prepared, tmp_path, monkeypatch):
    asked, used = [], []
    original_rate, original_step = schedule.learning_rate, optimizer.Optimizer.step

    def rate(settings: schema.Training, step: int, steps: int) -> float:
        asked.append((step, steps))
        return original_rate(settings, step, steps)

    def step(steps: optimizer.Optimizer, gradients: list[torch.Tensor], rate: float, earlier: int) -> None:
        used.append((rate, earlier))
        original_step(steps, gradients, rate, earlier)

    monkeypatch.setattr(schedule, "learning_rate", rate)
    monkeypatch.setattr(optimizer.Optimizer, "step", step)
    run = run_of("mlp", epochs=2, batch_size=70, schedule="cosine")  # 200 images: 70, 70, 60
    fitted(prepared, run, tmp_path / "run")
    assert asked == [(step, 6) for step in range(6)]
    assert used == [(original_rate(run.training, step, 6), step) for step in range(6)]


def test_the_validation_curve_is_what_the_saved_weights_give(prepared, tmp_path):
    run = run_of("lenet5-regularized", epochs=2)
    validation = digits_of(prepared, run, "validation", 50)
    for record in fitted(prepared, run, tmp_path / "run"):
        model = build.build_network(run.variant, seed=0)
        checkpoint.load_weights(model, tmp_path / "run" / checkpoint.weights_name(record["epoch"]))
        with torch.no_grad():
            logits = model.eval()(validation.images)
        assert record["validation_loss"] == pytest.approx(functional.cross_entropy(logits, validation.labels).item())
        assert record["validation_accuracy"] == (logits.argmax(1) == validation.labels).double().mean().item()


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 4},
        {"batch_size": 32},
        {"optimizer": "adamw"},
        {"learning_rate": 0.02},
        {"momentum": 0.8},
        {"schedule": "cosine"},
        {"schedule": "one-cycle"},
        {"batch_norm": False},
        {"dropout": 0.25},
        {"dropout": (0.5, 0.0)},
        {"weight_decay": 0.1},
        {"label_smoothing": 0.1},
        {"augmentation": "affine"},
        {"resize": "bilinear"},
        {"size": 28},
        {"normalize": False},
        {"pooling": "average"},
        {"activation": "tanh"},
    ],
    ids=str,
)
def test_each_setting_changes_the_weights(prepared, tmp_path, settings):
    results = []
    for name, run in (("usual", run_of(epochs=2)), ("changed", run_of(**{"epochs": 2, **settings}))):
        fitted(prepared, run, tmp_path / name)
        results.append(sha256_file(tmp_path / name / checkpoint.weights_name(run.training.epochs)))
    assert results[0] != results[1]


def test_one_cycle_is_torchs():
    settings = STUDY.training.model_copy(update={"schedule": "one-cycle", "learning_rate": 0.1})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=50, cycle_momentum=False)
    for step in range(50):
        assert schedule.learning_rate(settings, step, 50) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < 49:
            reference.step()


def test_constant_and_cosine_by_hand():
    constant = STUDY.training
    cosine = constant.model_copy(update={"schedule": "cosine"})
    assert [schedule.learning_rate(constant, step, 4) for step in range(4)] == [0.01] * 4
    halves = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert [schedule.learning_rate(cosine, step, 4) for step in range(4)] == pytest.approx([0.01 * x for x in halves])


@pytest.mark.parametrize("kind", ["affine", "elastic"])
def test_augmentation_touches_training_images_only(prepared, tmp_path, monkeypatch, kind):
    """What is changed are training images, each once an epoch; validation images, and training images when they are
    measured at the end, are met as they are."""
    changed, measured = [], []
    original_change, original_evaluate = augmentation.changed, group.NetworkGroup.evaluation_logits

    def watched_change(images: torch.Tensor, *others: object) -> torch.Tensor:
        changed.append(images.clone())
        return original_change(images, *others)

    def watched_evaluate(network: group.NetworkGroup, images: torch.Tensor) -> torch.Tensor:
        measured.append(images.clone())
        return original_evaluate(network, images)

    monkeypatch.setattr(augmentation, "changed", watched_change)
    monkeypatch.setattr(group.NetworkGroup, "evaluation_logits", watched_evaluate)
    run = run_of(augmentation=kind, epochs=2)
    digits, validation = digits_of(prepared, run, most=200), digits_of(prepared, run, "validation", 50)
    whole = [digits.images.clone(), validation.images.clone()]
    (tmp_path / "run").mkdir()
    list(trained(run, digits, validation, tmp_path / "run"))
    members = len(group.pad_to_minimum([run], CPU))
    every = torch.cat(changed).flatten(1).sum(1).sort().values
    torch.testing.assert_close(every, whole[0].flatten(1).sum(1).repeat(2 * members).sort().values)
    for images, expected in zip(measured, [whole[1], whole[1], whole[0]], strict=True):
        assert torch.equal(images, expected)


def test_averaged_weights_are_what_is_measured_and_kept_and_they_resume(prepared, tmp_path):
    run = run_of("lenet5", weight_averaging=0.9)
    records = fitted(prepared, run, tmp_path / "whole")
    state = loop.initial_state([run], CPU)
    digits, validation = digits_of(prepared, run), digits_of(prepared, run, "validation", 50)
    for record in records:
        loop.train_epoch(run, state, digits)
        kept = build.build_network(run.variant, 0)
        checkpoint.load_weights(kept, tmp_path / "whole" / checkpoint.weights_name(state.epoch))
        for name, value in kept.state_dict().items():
            assert torch.equal(value, state.optimizer.buffers[f"average.{name}"][0])
            assert not torch.equal(value, state.network.member(0)[name])
        logits = kept.eval()(validation.images)
        assert record["validation_loss"] == pytest.approx(functional.cross_entropy(logits, validation.labels).item())
    (tmp_path / "parts").mkdir()
    next(trained(run, digits, validation, tmp_path / "parts"))
    fitted(prepared, run, tmp_path / "parts")
    assert deterministic(tmp_path / "parts") == deterministic(tmp_path / "whole")


def test_what_was_learnt_of_the_training_images_is_measured_without_dropout(prepared, tmp_path):
    run = run_of("lenet5-regularized")
    fitted(prepared, run, tmp_path / "run")
    digits, kept = digits_of(prepared, run), build.build_network(run.variant, 0)
    checkpoint.load_weights(kept, tmp_path / "run" / "epoch-03.safetensors")
    logits = kept.eval()(digits.images)
    found = files.read_json(tmp_path / "run" / "run.json")["training_set"]
    assert found["accuracy"] == (logits.argmax(1) == digits.labels).double().mean().item()
    assert found["loss"] == pytest.approx(functional.cross_entropy(logits, digits.labels).item(), rel=1e-5)


def test_without_validation_data_there_is_no_validation_curve(prepared, tmp_path):
    run = run_of("mlp")
    nothing = digits_of(prepared, run, most=0)
    records = list(trained(run, digits_of(prepared, run), nothing, tmp_path))
    assert all(record["validation_loss"] is None for record in records)
    assert (tmp_path / "curves.csv").read_text().splitlines()[1].endswith(",,")


def several(prepared: Path, runs: list[run_files.TrainingJob], folder: Path) -> list[dict]:
    """Seeds trained side by side, below `folder`; all events."""
    folders = [folder / str(run.seed) for run in runs]
    return list(
        loop.train_jobs(runs, digits_of(prepared, runs[0]), digits_of(prepared, runs[0], "validation", 50), folders)
    )


def poisoned(monkeypatch: pytest.MonkeyPatch, seed: int, epoch: int, step: int) -> list[int]:
    """Make the loss of one seed infinite in one batch; returns the list of the steps that update anything after it."""
    updates, train, update = [], group.NetworkGroup.training_logits, optimizer.Optimizer.step
    chance = loop.draw_randomness
    at = {}

    def draw(variant, state, count, where):
        at.update(epoch=state.epoch + 1, step=0, seeds=list(state.seeds))
        return chance(variant, state, count, where)

    def logits(network, images, kept):
        at["step"] += 1
        found = train(network, images, kept)
        if (at["epoch"], at["step"]) == (epoch, step) and seed in at["seeds"]:
            found = found.index_fill(0, torch.tensor([n for n, own in enumerate(at["seeds"]) if own == seed]), math.inf)
        return found

    def steps(self, gradients, rate, earlier):
        updates.append((tuple(at["seeds"]), at["epoch"], at["step"]))
        update(self, gradients, rate, earlier)

    monkeypatch.setattr(loop, "draw_randomness", draw)
    monkeypatch.setattr(group.NetworkGroup, "training_logits", logits)
    monkeypatch.setattr(optimizer.Optimizer, "step", steps)
    return updates


@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 5), (3, 13)])
def test_a_loss_that_is_no_number_stops_its_seed_before_the_update_and_no_other(
    prepared, tmp_path, monkeypatch, epoch, step
):
    runs = [run_of(seed=seed) for seed in (3, 4, 5)]
    several(prepared, runs, tmp_path / "well")
    updates = poisoned(monkeypatch, 4, epoch, step)
    events = several(prepared, runs, tmp_path / "one")
    assert ((3, 4, 5), epoch, step) not in updates
    (end,) = [event for event in events if event.get("status") == "diverged"]
    assert (end["epoch"], end["step"]) == (epoch, step)
    for seed in (3, 5):
        assert deterministic(tmp_path / "one" / str(seed)) == deterministic(tmp_path / "well" / str(seed))
    lost, before = deterministic(tmp_path / "one" / "4"), deterministic(tmp_path / "well" / "4")
    earlier = {checkpoint.weights_name(done) for done in range(1, epoch)}
    assert set(lost) == {*earlier, "curves.csv", "run.json"}
    assert all(lost[name] == before[name] for name in earlier)
    record = files.read_json(tmp_path / "one" / "4" / "run.json")
    assert record["diverged"] == {"epoch": epoch, "step": step}
    assert record["training_set"] is None
    assert set(record["files"]) == {*earlier, "curves.csv"}
    assert run_files.is_finished(tmp_path / "one" / "4")
    assert len((tmp_path / "one" / "4" / "curves.csv").read_text().splitlines()) == epoch
    last = (tmp_path / "one" / "4" / "journal.jsonl").read_text().splitlines()[-1]
    assert json.loads(last) == end


def test_weights_that_are_no_numbers_after_an_epoch_are_never_kept(prepared, tmp_path, monkeypatch):
    """A gradient may overflow where the loss is still a number."""
    run, update = run_of("mlp", epochs=2), optimizer.Optimizer.step

    def step(self, gradients, rate, earlier):
        update(self, gradients, rate, earlier)
        if earlier == 25:  # the last of two times 13
            next(iter(self.buffers.values()))[0] = math.inf

    monkeypatch.setattr(optimizer.Optimizer, "step", step)
    events = several(prepared, [run], tmp_path)
    assert [event["event"] for event in events] == ["epoch", "end"]
    assert files.read_json(tmp_path / "3" / "run.json")["diverged"] == {"epoch": 2, "step": 13}
    assert not (tmp_path / "3" / "epoch-02.safetensors").exists()


def test_a_learning_rate_far_too_high_diverges_and_says_so(prepared, tmp_path):
    events = several(prepared, [run_of("lenet5", seed=seed, learning_rate=100.0) for seed in (0, 1)], tmp_path)
    assert [event["status"] for event in events if event["event"] == "end"] == ["diverged", "diverged"]


def test_label_smoothing_does_not_change_what_is_reported(prepared):
    """The curves of variants can be compared: all of them show plain cross-entropy."""
    plain, smooth = run_of("mlp", batch_size=200), run_of("mlp", batch_size=200, label_smoothing=0.3)
    digits = digits_of(prepared, plain, most=200)
    losses = [loop.train_epoch(run, loop.initial_state([run], CPU), digits)[0] for run in (plain, smooth)]
    torch.testing.assert_close(*losses)  # one batch: measured before the first step
