"""Train the seeds of a variant as one group: steps, epochs, resuming, and seeds that diverge."""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from lenetlab.data import augmentation, dataset
from lenetlab.networks import build
from lenetlab.training import checkpoint, devices, optimizer, plain_group, randomness, run_files

Measures = tuple[torch.Tensor, torch.Tensor]  # (members) mean cross-entropy, nats; (members) accuracy, a fraction


class DivergedError(Exception):
    """Some jobs of a group have a NaN or infinite loss, weight or buffer. `epoch` and `step` count from 1."""

    def __init__(self, members: Sequence[int], epoch: int, step: int) -> None:
        super().__init__(f"members {members} diverged in epoch {epoch}, step {step}")
        self.members, self.epoch, self.step = members, epoch, step


def train_jobs(
    jobs: Sequence[run_files.TrainingJob],
    training: dataset.Examples,
    validation: dataset.Examples,
    folders: Sequence[Path],
) -> Iterator[dict[str, Any]]:
    """Train jobs as one group, from the last epoch in their folders (the same in all) to the last of all.

    Yields every journal event except starts. A job that diverges ends with the epochs that it has finished; the others
    repeat the unfinished epoch without it.
    """
    remaining = list(zip(jobs, folders, strict=True))
    while remaining:
        state = _resume(remaining, training.labels.device)
        try:
            yield from _train_epochs(remaining, state, training, validation)
            return
        except DivergedError as error:
            diverged = {"epoch": error.epoch, "step": error.step}
            members = error.members
        for member in members:
            yield run_files.write_final(*remaining[member], state, member, training_set=None, diverged=diverged)
        remaining = [pair for member, pair in enumerate(remaining) if member not in members]


def initial_state(jobs: Sequence[run_files.TrainingJob], device: torch.device) -> checkpoint.TrainingState:
    """The state of a group before its first epoch. The jobs are seeds of one variant."""
    members = plain_group.pad_with_copies(jobs, build.build_network(jobs[0].variant, jobs[0].seed), device)
    network = plain_group.group_of([build.build_network(job.variant, job.seed).to(device) for job in members])
    weight_decay = jobs[0].variant.regularization.weight_decay
    return checkpoint.TrainingState(
        network,
        optimizer.Optimizer(jobs[0].training, weight_decay, network.weights),
        jobs=len(jobs),
        seeds=[job.seed for job in members],
        journals=[[] for _ in members],
        digests=[{} for _ in members],
        keep_weights=jobs[0].training.keep_weights,
    )


def train_epoch(job: run_files.TrainingJob, state: checkpoint.TrainingState, examples: dataset.Examples) -> Measures:
    """Train one epoch. Returns loss and accuracy of the batches in training mode, each before its update.

    `job` is any job of the group: this uses only settings that all of them share.
    """
    device = examples.labels.device
    draws = randomness.draw(job.variant, state, len(examples), device)
    loss_sum, correct = torch.zeros(2, len(state.seeds), dtype=torch.float64, device=device)
    for step in range(steps_per_epoch(job, examples)):
        batch_losses, batch_correct = train_step(job, state, examples, draws, step)
        loss_sum += batch_losses
        correct += batch_correct
    state.epoch += 1
    return loss_sum / len(examples), correct / len(examples)


def steps_per_epoch(job: run_files.TrainingJob, examples: dataset.Examples) -> int:
    return math.ceil(len(examples) / job.training.batch_size)


def train_step(
    job: run_files.TrainingJob,
    state: checkpoint.TrainingState,
    examples: dataset.Examples,
    draws: randomness.EpochRandomness,
    step: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train on batch `step` (from 0) of the coming epoch. Returns the sum of losses and the number of correct answers.

    Both have the shape (members). Raises DivergedError, before anything is changed, if the loss of a job is NaN or
    infinite.
    """
    settings, rules = job.training, job.variant.regularization
    batch = slice(step * settings.batch_size, (step + 1) * settings.batch_size)
    indices = draws.order[:, batch]
    images = examples.images.index_select(0, indices.flatten())
    labels = examples.labels.index_select(0, indices.flatten())
    if draws.augmentations is not None:
        images = augmentation.apply(images, draws.augmentations[:, batch].flatten(0, 1), examples.black)
    logits = state.network.training_logits(
        torch.unflatten(images, 0, indices.shape),
        {name: mask[:, batch] for name, mask in draws.keep_masks.items()},
        partial(draws.step_seeds, step),
    ).flatten(0, 1)
    losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=rules.label_smoothing)
    mean_losses = losses.view(indices.shape).mean(1)
    _raise_if_diverged(mean_losses[: state.jobs].isfinite(), state.epoch + 1, step + 1)
    gradients = torch.autograd.grad(mean_losses.sum(), list(state.network.weights.values()))
    steps = steps_per_epoch(job, examples)
    steps_before = state.epoch * steps + step
    learning_rate = optimizer.learning_rate(settings, steps_before, settings.epochs * steps)
    state.optimizer.step(gradients, learning_rate, steps_before)
    logits, losses = logits.detach(), losses.detach()
    if rules.label_smoothing:  # curves show plain cross-entropy, so that variants can be compared
        losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.view(indices.shape).sum(1), (logits.argmax(1) == labels).view(indices.shape).sum(1)


def loss_and_accuracy(network: plain_group.Group, examples: dataset.Examples) -> Measures:
    """Loss and accuracy of every member in evaluation mode, on one or more images."""
    logits = network.evaluation_logits(examples.images)
    losses = [functional.cross_entropy(member.double(), examples.labels) for member in logits]
    return torch.stack(losses), (logits.argmax(2) == examples.labels).double().mean(1)


def _resume(jobs: Sequence[tuple[run_files.TrainingJob, Path]], device: torch.device) -> checkpoint.TrainingState:
    """The state after the last epoch that is saved in the folders; adds a start to every journal."""
    state = initial_state([job for job, _ in jobs], device)
    for member in range(len(state.seeds)):  # copies of the last one follow
        _, folder = jobs[min(member, len(jobs) - 1)]
        checkpoint.restore(state, member, folder)
    for member, (job, folder) in enumerate(jobs):
        start = {"event": "start", "time": time.time(), **job.record, "provenance": job.origin}
        state.journals[member].append(start)
        run_files.write_journal(state.journals[member], folder)
    return state


def _train_epochs(
    jobs: Sequence[tuple[run_files.TrainingJob, Path]],
    state: checkpoint.TrainingState,
    training: dataset.Examples,
    validation: dataset.Examples,
) -> Iterator[dict[str, Any]]:
    """Train to the last epoch, save each epoch and write the final files; yields the journal events."""
    first, _ = jobs[0]
    steps = steps_per_epoch(first, training)
    while state.epoch < first.training.epochs:
        started = time.perf_counter()
        trained = train_epoch(first, state, training)
        validated = loss_and_accuracy(state.evaluated_network(), validation) if len(validation) else None
        _raise_if_diverged(_finite_jobs(state, trained, validated), state.epoch, steps)
        training_rows = torch.stack(trained).T.tolist()
        validation_rows = torch.stack(validated).T.tolist() if validated else [(None, None)] * len(state.seeds)
        cost = {
            "seconds": (time.perf_counter() - started) / len(jobs),
            "peak_memory_bytes": devices.peak_memory(training.labels.device),
            "side_by_side": len(jobs),
        }
        for member, (_, folder) in enumerate(jobs):
            values = (state.epoch, *training_rows[member], *validation_rows[member])
            curves = dict(zip(run_files.CURVE_COLUMNS, values, strict=True))
            state.journals[member].append({"event": "epoch", "time": time.time(), **cost, **curves})
            checkpoint.save(state, member, folder)  # from here on the epoch is finished
            run_files.write_journal(state.journals[member], folder)
            yield state.journals[member][-1]
    losses, accuracies = loss_and_accuracy(state.evaluated_network(), training)
    _raise_if_diverged(_finite_jobs(state, (losses, accuracies)), state.epoch, steps)
    for member, (job, folder) in enumerate(jobs):
        training_set = {"loss": losses[member].item(), "accuracy": accuracies[member].item()}
        yield run_files.write_final(job, folder, state, member, training_set)


def _raise_if_diverged(finite: torch.Tensor, epoch: int, step: int) -> None:
    """Raise DivergedError with the jobs for which `finite`, a bool tensor (jobs), is false."""
    if not finite.all():
        raise DivergedError((~finite).nonzero().flatten().tolist(), epoch, step)


def _finite_jobs(state: checkpoint.TrainingState, *measures: Measures | None) -> torch.Tensor:
    """Bool (jobs): whether all tensors and losses of a job are finite."""
    losses = torch.stack([loss[: state.jobs].isfinite() for loss, _ in filter(None, measures)]).all(0)
    jobs = [
        all(value.isfinite().all() for value in state.member_tensors(member).values()) for member in range(state.jobs)
    ]
    return losses & torch.tensor(jobs, device=losses.device)
