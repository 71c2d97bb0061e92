"""One training: what it learns, what its results depend on, and what happens when a seed diverges."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lenetlab.data import augmentation, dataset
from lenetlab.networks import build
from lenetlab.storage import files, paths
from lenetlab.storage.digests import sha256_file
from lenetlab.training import checkpoint, group, loop, optimizer, randomness, run_files
from tests.training.jobs import CPU, load_digits, make_job, repeatable_files, train, train_one


def kept_network(job: run_files.TrainingJob, folder: Path, epoch: int) -> torch.nn.Module:
    """The plain network with the weights that were kept of an epoch, in evaluation mode."""
    network = build.build_network(job.variant, seed=0)
    checkpoint.load_weights(network, folder / checkpoint.weights_name(epoch))
    return network.eval()


# What a training learns.


@pytest.mark.parametrize("variant", ["lenet5", "mlp"])
def test_twenty_images_are_memorised(prepared, variant):
    job = make_job(variant, epochs=100, learning_rate=0.01, batch_size=10)
    examples, state = load_digits(prepared, job, limit=20), loop.initial_state([job], CPU)
    for _ in range(job.training.epochs):
        losses, accuracies = loop.train_epoch(job, state, examples)
    assert accuracies[0] == 1.0
    assert losses[0] < 0.05


def test_shuffled_labels_cannot_be_predicted(prepared, tmp_path):
    job = make_job("mlp", epochs=5)
    examples, validation = load_digits(prepared, job, limit=1000), load_digits(prepared, job, "validation", 200)
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
    accuracy = {}
    for name, labels in (("true", examples.labels), ("shuffled", examples.labels[order])):
        training = dataset.Examples(examples.images, labels, examples.black)
        *_, last, _ = loop.train_jobs([job], training, validation, [tmp_path / name])
        accuracy[name] = last["validation_accuracy"]
    assert accuracy["shuffled"] < 0.25 < 0.8 < accuracy["true"]


def test_a_plain_loop_gets_the_same_weights_loss_and_accuracy(prepared):
    """Plain networks and SGD written out here, with the same order of the images."""
    job = make_job("lenet5", batch_size=30)
    examples = load_digits(prepared, job, limit=100)
    network = build.build_network(job.variant, job.seed)
    momenta = [torch.zeros_like(weight) for weight in network.parameters()]
    order = torch.randperm(100, generator=randomness.generator(job.seed, 1, "order"))
    losses, correct = [], 0
    for batch in (order[:30], order[30:60], order[60:90], order[90:]):
        logits = network(examples.images[batch])
        loss = functional.cross_entropy(logits, examples.labels[batch])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for weight, momentum, gradient in zip(network.parameters(), momenta, gradients, strict=True):
                momentum.mul_(0.9).add_(gradient)
                weight.sub_(0.01 * momentum)
        losses += [loss.item()] * len(batch)
        correct += (logits.argmax(1) == examples.labels[batch]).sum().item()
    state = loop.initial_state([job], CPU)
    (mean_loss, *_), (accuracy, *_) = loop.train_epoch(job, state, examples)
    assert mean_loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert accuracy == correct / 100
    for name, expected in network.state_dict().items():
        torch.testing.assert_close(state.network.member_state(0)[name], expected)


# What the results depend on.


def test_the_same_job_gives_the_same_bits_and_another_seed_other_bits(prepared, tmp_path):
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        train_one(prepared, make_job(augmentation="affine", seed=seed), tmp_path / name)
    first, again, other = (repeatable_files(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.fixture(scope="module")
def usual_weights(prepared, tmp_path_factory) -> str:
    """SHA-256 of the weights of a job with no setting changed."""
    return last_weights(prepared, make_job(epochs=1), tmp_path_factory.mktemp("usual"))


def last_weights(prepared: Path, job: run_files.TrainingJob, folder: Path) -> str:
    train_one(prepared, job, folder)
    return sha256_file(folder / checkpoint.weights_name(job.training.epochs))


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 2},
        {"batch_size": 32},
        {"optimizer": "adamw"},
        {"learning_rate": 0.02},
        {"momentum": 0.8},
        {"schedule": "cosine"},
        {"schedule": "one-cycle"},
        {"weight_averaging": 0.9},
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
def test_each_setting_changes_the_weights(prepared, usual_weights, tmp_path, settings):
    assert last_weights(prepared, make_job(**{"epochs": 1, **settings}), tmp_path) != usual_weights


def test_the_schedule_counts_the_steps_of_the_whole_training(prepared, tmp_path, monkeypatch):
    requested, used = [], []
    learning_rate, step = optimizer.learning_rate, optimizer.Optimizer.step

    def recording_rate(settings, step, steps):
        requested.append((step, steps))
        return learning_rate(settings, step, steps)

    def recording_step(self, gradients, rate, steps_before):
        used.append((rate, steps_before))
        step(self, gradients, rate, steps_before)

    monkeypatch.setattr(optimizer, "learning_rate", recording_rate)
    monkeypatch.setattr(optimizer.Optimizer, "step", recording_step)
    job = make_job("mlp", epochs=2, batch_size=70, schedule="cosine")  # 200 images: 70, 70, 60
    train_one(prepared, job, tmp_path)
    assert requested == [(step, 6) for step in range(6)]
    assert used == [(learning_rate(job.training, step, 6), step) for step in range(6)]


@pytest.mark.parametrize("kind", ["affine", "elastic"])
def test_only_training_images_are_augmented_each_once_per_epoch(prepared, tmp_path, monkeypatch, kind):
    """Validation images, and training images when they are evaluated at the end, are not."""
    augmented, evaluated = [], []
    change, evaluate = augmentation.apply, group.NetworkGroup.evaluation_logits

    def recording_change(images, *others):
        augmented.append(images.clone())
        return change(images, *others)

    def recording_evaluation(network, images):
        evaluated.append(images.clone())
        return evaluate(network, images)

    monkeypatch.setattr(augmentation, "apply", recording_change)
    monkeypatch.setattr(group.NetworkGroup, "evaluation_logits", recording_evaluation)
    job = make_job(augmentation=kind, epochs=2)
    training, validation = (load_digits(prepared, job, split).images for split in ("training", "validation"))
    train_one(prepared, job, tmp_path)
    members = len(group.pad_with_copies([job], CPU))
    sums = torch.cat(augmented).flatten(1).sum(1).sort().values
    torch.testing.assert_close(sums, training.flatten(1).sum(1).repeat(2 * members).sort().values)
    for images, expected in zip(evaluated, [validation[:50], validation[:50], training], strict=True):
        assert torch.equal(images, expected)


# What is recorded.


def test_the_validation_curve_is_that_of_the_kept_weights(prepared, tmp_path):
    job = make_job("lenet5-regularized", epochs=2)
    validation = load_digits(prepared, job, "validation", 50)
    for event in train_one(prepared, job, tmp_path):
        with torch.no_grad():
            logits = kept_network(job, tmp_path, event["epoch"])(validation.images)
        assert event["validation_loss"] == pytest.approx(functional.cross_entropy(logits, validation.labels).item())
        assert event["validation_accuracy"] == (logits.argmax(1) == validation.labels).double().mean().item()


def test_averaged_weights_are_evaluated_and_kept(prepared, tmp_path):
    job = make_job("lenet5", weight_averaging=0.9)
    state = loop.initial_state([job], CPU)
    training, validation = load_digits(prepared, job), load_digits(prepared, job, "validation", 50)
    for event in train_one(prepared, job, tmp_path):
        loop.train_epoch(job, state, training)
        network = kept_network(job, tmp_path, state.epoch)
        for name, value in network.state_dict().items():
            assert torch.equal(value, state.optimizer.buffers[f"average.{name}"][0])
            assert not torch.equal(value, state.network.member_state(0)[name])
        logits = network(validation.images)
        assert event["validation_loss"] == pytest.approx(functional.cross_entropy(logits, validation.labels).item())


def test_the_final_measures_of_the_training_images_are_taken_without_dropout(prepared, tmp_path):
    job = make_job("lenet5-regularized")
    train_one(prepared, job, tmp_path)
    examples = load_digits(prepared, job)
    logits = kept_network(job, tmp_path, epoch=3)(examples.images)
    found = files.read_json(tmp_path / paths.RUN_RECORD)["training_set"]
    assert found["accuracy"] == (logits.argmax(1) == examples.labels).double().mean().item()
    assert found["loss"] == pytest.approx(functional.cross_entropy(logits, examples.labels).item(), rel=1e-5)


def test_without_validation_images_there_is_no_validation_curve(prepared, tmp_path):
    job = make_job("mlp", epochs=1)
    event, _ = loop.train_jobs([job], load_digits(prepared, job), load_digits(prepared, job, limit=0), [tmp_path])
    assert event["validation_loss"] is event["validation_accuracy"] is None
    assert (tmp_path / paths.CURVES).read_text().splitlines()[1].endswith(",,")


def test_curves_show_plain_cross_entropy_whatever_the_label_smoothing(prepared):
    """So the curves of variants can be compared."""
    plain, smoothed = (make_job("mlp", batch_size=200, label_smoothing=rate) for rate in (0.0, 0.3))
    examples = load_digits(prepared, plain)
    losses = [loop.train_epoch(job, loop.initial_state([job], CPU), examples)[0] for job in (plain, smoothed)]
    torch.testing.assert_close(*losses)  # of one batch, so before the first update


# Seeds that diverge.


def make_loss_infinite(monkeypatch: pytest.MonkeyPatch, seed: int, epoch: int, step: int) -> list[tuple]:
    """Let the loss of one seed be infinite in one batch; returns a list that gets (seeds, epoch, step) per update."""
    updates, now = [], {}
    draw, logits_of, update = randomness.draw, group.NetworkGroup.training_logits, optimizer.Optimizer.step

    def recording_draw(variant, state, images, device):
        now.update(epoch=state.epoch + 1, step=0, seeds=list(state.seeds))
        return draw(variant, state, images, device)

    def infinite_logits(network, *arguments):
        now["step"] += 1
        logits = logits_of(network, *arguments)
        if (now["epoch"], now["step"]) == (epoch, step):
            members = [member for member, other in enumerate(now["seeds"]) if other == seed]
            logits = logits.index_fill(0, torch.tensor(members, dtype=torch.int64), math.inf)
        return logits

    def recording_step(self, gradients, rate, steps_before):
        updates.append((tuple(now["seeds"]), now["epoch"], now["step"]))
        update(self, gradients, rate, steps_before)

    monkeypatch.setattr(randomness, "draw", recording_draw)
    monkeypatch.setattr(group.NetworkGroup, "training_logits", infinite_logits)
    monkeypatch.setattr(optimizer.Optimizer, "step", recording_step)
    return updates


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory) -> dict[int, dict[str, str]]:
    """The files of three seeds that all finish, by seed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train(prepared, [make_job(seed=seed) for seed in (3, 4, 5)], [folder / str(seed) for seed in (3, 4, 5)])
    return {seed: repeatable_files(folder / str(seed)) for seed in (3, 4, 5)}


@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 5), (3, 13)])
def test_an_infinite_loss_ends_its_seed_before_the_update_and_no_other_seed(
    prepared, undisturbed, tmp_path, monkeypatch, epoch, step
):
    updates = make_loss_infinite(monkeypatch, 4, epoch, step)
    jobs = [make_job(seed=seed) for seed in (3, 4, 5)]
    events = train(prepared, jobs, [tmp_path / str(job.seed) for job in jobs])
    assert ((3, 4, 5), epoch, step) not in updates
    (end,) = [event for event in events if event.get("status") == "diverged"]
    assert (end["epoch"], end["step"]) == (epoch, step)
    for seed in (3, 5):
        assert repeatable_files(tmp_path / str(seed)) == undisturbed[seed]
    diverged = repeatable_files(tmp_path / "4")
    earlier_epochs = {checkpoint.weights_name(done) for done in range(1, epoch)}
    assert set(diverged) == {*earlier_epochs, paths.CURVES, paths.RUN_RECORD}
    assert all(diverged[name] == undisturbed[4][name] for name in earlier_epochs)
    record = files.read_json(tmp_path / "4" / paths.RUN_RECORD)
    assert record["diverged"] == {"epoch": epoch, "step": step}
    assert record["training_set"] is None
    assert set(record["files"]) == {*earlier_epochs, paths.CURVES}
    assert run_files.is_finished(tmp_path / "4")
    assert len((tmp_path / "4" / paths.CURVES).read_text().splitlines()) == epoch
    last = (tmp_path / "4" / paths.JOURNAL).read_text().splitlines()[-1]
    assert json.loads(last) == end


def test_a_copy_that_diverges_has_no_effect(prepared, tmp_path, monkeypatch):
    job, logits_of = make_job(), group.NetworkGroup.training_logits
    train(prepared, [job], [tmp_path / "undisturbed"])
    copies = torch.arange(1, len(group.pad_with_copies([job], CPU)))

    def infinite_copies(network, *arguments):
        return logits_of(network, *arguments).index_fill(0, copies, math.inf)

    monkeypatch.setattr(group.NetworkGroup, "training_logits", infinite_copies)
    train(prepared, [job], [tmp_path / "disturbed"])
    assert repeatable_files(tmp_path / "disturbed") == repeatable_files(tmp_path / "undisturbed")


def test_an_epoch_with_infinite_weights_is_not_kept(prepared, tmp_path, monkeypatch):
    """A gradient may overflow although the loss is finite."""
    update = optimizer.Optimizer.step

    def overflowing_step(self, gradients, rate, steps_before):
        update(self, gradients, rate, steps_before)
        if steps_before == 25:  # the last of two epochs of 13
            next(iter(self.buffers.values()))[0] = math.inf

    monkeypatch.setattr(optimizer.Optimizer, "step", overflowing_step)
    events = train(prepared, [make_job("mlp", epochs=2)], [tmp_path])
    assert [event["event"] for event in events] == ["epoch", "end"]
    assert files.read_json(tmp_path / paths.RUN_RECORD)["diverged"] == {"epoch": 2, "step": 13}
    assert not (tmp_path / "epoch-02.safetensors").exists()


def test_a_much_too_high_learning_rate_is_reported_as_divergence(prepared, tmp_path):
    jobs = [make_job("lenet5", seed=seed, learning_rate=100.0) for seed in (0, 1)]
    events = train(prepared, jobs, [tmp_path / str(job.seed) for job in jobs])
    assert [event["status"] for event in events if event["event"] == "end"] == ["diverged", "diverged"]
