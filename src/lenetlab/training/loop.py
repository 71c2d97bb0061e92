"""Trainings of a variant's seeds: decided by data, settings and seed alone, going on where they were stopped."""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from lenetlab.data import augmentation, dataset
from lenetlab.networks import build
from lenetlab.settings import schema
from lenetlab.training import checkpoint, devices, group, optimizer, run_files, schedule


@dataclass(frozen=True)
class EpochRandomness:
    """What is random in an epoch, for every member and image in the order of training."""

    order: torch.Tensor  # (members, N) numbers of the images
    moves: torch.Tensor | None  # (members, N, D) how each is changed, as `augmentation.changed` takes it
    kept: dict[str, torch.Tensor]  # by dropout layer, bool (members, N, width)


class Diverged(Exception):
    """What some members of a group compute is no number any more. `epoch` and `step`, its batch, count from 1."""

    def __init__(self, members: Sequence[int], epoch: int, step: int) -> None:
        super().__init__(f"members {members} diverged in epoch {epoch}, step {step}")
        self.members, self.epoch, self.step = members, epoch, step


def initial_state(runs: Sequence[run_files.TrainingJob], where: torch.device) -> checkpoint.TrainingState:
    """The state of these runs before the first epoch. They are seeds of one variant, and are trained as one group."""
    members = group.pad_to_minimum(runs, where)
    network = group.NetworkGroup([build.build_network(run.variant, run.seed).to(where) for run in members])
    decay = runs[0].variant.regularization.weight_decay
    steps = optimizer.Optimizer(runs[0].training, decay, network.weights)
    seeds = [run.seed for run in members]
    return checkpoint.TrainingState(network, steps, seeds, journals=[[] for _ in seeds], digests=[{} for _ in seeds])


def train_epoch(
    run: run_files.TrainingJob, state: checkpoint.TrainingState, digits: dataset.Digits
) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass over the digits. Per member, mean cross-entropy and accuracy of the batches as they were met.

    `run` is any of the group's: what is read from it is the same in all.
    """
    chance = draw_randomness(run.variant, state, len(digits), digits.labels.device)
    loss_sum, correct = torch.zeros(2, len(state.seeds), dtype=torch.float64, device=digits.labels.device)
    for step in range(steps_per_epoch(run, digits)):
        losses, right = train_step(run, state, digits, chance, step)
        loss_sum += losses
        correct += right
    state.epoch += 1
    return loss_sum / len(digits), correct / len(digits)


def steps_per_epoch(run: run_files.TrainingJob, digits: dataset.Digits) -> int:
    return math.ceil(len(digits) / run.training.batch_size)


def train_step(
    run: run_files.TrainingJob,
    state: checkpoint.TrainingState,
    digits: dataset.Digits,
    chance: EpochRandomness,
    step: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch of the coming epoch. Per member, the sum of its cross-entropies and how many it got right.

    Diverged, before anything is changed, if a member's loss is no number.
    """
    settings, rules = run.training, run.variant.regularization
    steps = steps_per_epoch(run, digits)
    batch = slice(step * settings.batch_size, (step + 1) * settings.batch_size)
    chosen = chance.order[:, batch]
    images, labels = (
        digits.images.index_select(0, chosen.flatten()),
        digits.labels.index_select(0, chosen.flatten()),
    )
    if chance.moves is not None:
        images = augmentation.changed(images, chance.moves[:, batch].flatten(0, 1), digits.black)
    logits = state.network.training_logits(
        images.unflatten(0, chosen.shape), {name: masks[:, batch] for name, masks in chance.kept.items()}
    ).flatten(0, 1)
    losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=rules.label_smoothing)
    mean_losses = losses.view(chosen.shape).mean(1)
    _require_numbers(mean_losses.isfinite(), state.epoch + 1, step + 1)
    gradients = torch.autograd.grad(mean_losses.sum(), list(state.network.weights.values()))
    done = state.epoch * steps + step
    state.optimizer.step(gradients, schedule.learning_rate(settings, done, settings.epochs * steps), done)
    logits, losses = logits.detach(), losses.detach()
    if rules.label_smoothing:  # what is reported is comparable: plain cross-entropy
        losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.view(chosen.shape).sum(1), (logits.argmax(1) == labels).view(chosen.shape).sum(1)


def draw_randomness(
    variant: schema.Variant, state: checkpoint.TrainingState, count: int, where: torch.device
) -> EpochRandomness:
    """What is random in the coming epoch. Drawn on the CPU, so that every device meets the same."""
    rules, epoch = variant.regularization, state.epoch + 1
    orders, moves, kept = [], [], {name: [] for name in state.network.dropout_layers()}
    for seed in state.seeds:
        orders.append(torch.randperm(count, generator=random_generator(seed, epoch, "order")))
        if rules.augmentation != "none":
            elastic, chance = rules.augmentation == "elastic", random_generator(seed, epoch, "augmentation")
            moves.append(augmentation.draw(count, variant.input.size, elastic, rules.augmentation_strength, chance))
        dropout = random_generator(seed, epoch, "dropout")
        for name, (width, rate) in state.network.dropout_layers().items():
            kept[name].append(uniform_int16(count, width, dropout) >= round(rate * 2**16) - 2**15)
    return EpochRandomness(
        order=torch.stack(orders).to(where),
        moves=torch.stack(moves).to(where) if moves else None,
        kept={name: torch.stack(masks).to(where) for name, masks in kept.items()},
    )


def uniform_int16(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width) from -32768 to 32767; four from each draw of 64 bits, which takes a quarter of the time."""
    draws = torch.empty(math.ceil(count * width / 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    return draws.view(torch.int16)[: count * width].view(count, width)


def train_jobs(
    runs: Sequence[run_files.TrainingJob], training: dataset.Digits, validation: dataset.Digits, folders: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """Train runs side by side to the last epoch, from where their folders end, all at the same, and keep all there.

    Yields each event of the journals but starts. A run that diverges ends there, with the epochs it has finished; the
    others go on from these.
    """
    going = list(zip(runs, folders, strict=True))
    while going:
        state = _resumed(going, training.labels.device)
        try:
            yield from _epochs(going, state, training, validation)
            return
        except Diverged as found:
            members = {min(member, len(going) - 1) for member in found.members}  # beyond are copies of the last
            where = {"epoch": found.epoch, "step": found.step}
        for member in members:
            yield run_files.write_final(*going[member], state, member, None, where)
        going = [pair for member, pair in enumerate(going) if member not in members]


def _resumed(going: Sequence[tuple[run_files.TrainingJob, Path]], where: torch.device) -> checkpoint.TrainingState:
    state = initial_state([run for run, _ in going], where)
    for index, (run, folder) in enumerate(going):
        checkpoint.load(state, index, folder)
        begin = {"event": "start", "time": time.time(), **run.record, "provenance": run.origin}
        state.journals[index].append(begin)
        run_files.write_journal(state.journals[index], folder)
    return state


def _epochs(
    going: Sequence[tuple[run_files.TrainingJob, Path]],
    state: checkpoint.TrainingState,
    training: dataset.Digits,
    validation: dataset.Digits,
) -> Iterator[dict[str, Any]]:
    settings, steps = going[0][0].training, steps_per_epoch(going[0][0], training)
    while state.epoch < settings.epochs:
        began = time.perf_counter()
        trained = train_epoch(going[0][0], state, training)
        validated = loss_and_accuracy(state.evaluated_network(), validation)
        _require_numbers(_sound(state, trained, validated), state.epoch, steps)
        curves = [
            torch.stack(part).T.tolist() if part else [(None, None)] * len(state.seeds) for part in (trained, validated)
        ]
        spent = {
            "seconds": (time.perf_counter() - began) / len(going),
            "peak_memory_bytes": devices.peak_memory(training.labels.device),
            "side_by_side": len(going),
        }
        for index, ((_, folder), measured) in enumerate(zip(going, zip(*curves, strict=True), strict=False)):
            record = dict(zip(run_files.CURVE_COLUMNS, (state.epoch, *measured[0], *measured[1]), strict=True))
            state.journals[index].append({"event": "epoch", "time": time.time(), **spent, **record})
            checkpoint.save(state, index, folder)  # from here on the epoch counts
            run_files.write_journal(state.journals[index], folder)
            yield state.journals[index][-1]
    learnt = loss_and_accuracy(state.evaluated_network(), training)
    _require_numbers(_sound(state, learnt), state.epoch, steps)
    for index, (run, folder) in enumerate(going):
        yield run_files.write_final(
            run, folder, state, index, {"loss": learnt[0][index].item(), "accuracy": learnt[1][index].item()}
        )


def _require_numbers(sound: torch.Tensor, epoch: int, step: int) -> None:
    """Diverged names the members for which `sound` (members) is not true."""
    if not sound.all():
        raise Diverged((~sound).nonzero().flatten().tolist(), epoch, step)


def _sound(state: checkpoint.TrainingState, *measures: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
    """Bool (members): whether all that a member consists of, and its losses, are numbers."""
    losses = torch.stack([measured[0].isfinite() for measured in measures if measured]).all(0)
    members = [all(value.isfinite().all() for value in state.member(at).values()) for at in range(len(state.seeds))]
    return losses & torch.tensor(members, device=losses.device)


def loss_and_accuracy(network: group.NetworkGroup, digits: dataset.Digits) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean cross-entropy and accuracy in evaluation mode, per member; None where there are no digits."""
    if not len(digits):
        return None
    logits = network.evaluation_logits(digits.images)
    losses = [functional.cross_entropy(member.double(), digits.labels) for member in logits]
    return torch.stack(losses), (logits.argmax(2) == digits.labels).double().mean(1)


def random_generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Random numbers on the CPU, so that every device meets the same ones: a function of these three alone."""
    digest = hashlib.sha256(f"{purpose} {seed} {epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
