"""Trainings of a variant's seeds: decided by data, settings and seed alone, going on where they were stopped."""

import csv
import hashlib
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from lenetlab import UserError, augmentation, checkpoint, dataset, device, files, group, models, optimizer, params

CURVES = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
WARM_UP = 0.3  # share of the steps in which one-cycle rises, from 1/25 of the highest rate, as Smith & Topin 2018


@dataclass(frozen=True)
class Run:
    """One seed of one variant, and what its journal begins with."""

    variant: params.Variant
    training: params.Training
    seed: int
    record: dict[str, Any]  # variant, seed, fingerprints, identity, parameters
    origin: dict[str, Any]  # commit, versions, hardware


@dataclass(frozen=True)
class Chance:
    """What is random in an epoch, for every member and image in the order of training."""

    order: torch.Tensor  # (members, N) numbers of the images
    moves: torch.Tensor | None  # (members, N, D) how each is changed, as `augmentation.changed` takes it
    kept: dict[str, torch.Tensor]  # by dropout layer, bool (members, N, width)


def start(runs: Sequence[Run], where: torch.device) -> checkpoint.State:
    """The state of these runs before the first epoch. They are seeds of one variant, and are trained as one group."""
    members = group.filled(runs, where)
    network = group.Group([models.build(run.variant, run.seed).to(where) for run in members])
    decay = runs[0].variant.regularization.weight_decay
    steps = optimizer.Optimizer(runs[0].training, decay, network.weights)
    return checkpoint.State(network, steps, [run.seed for run in members], journals=[[] for _ in members])


def train_epoch(run: Run, state: checkpoint.State, digits: dataset.Digits) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass over the digits. Per member, mean cross-entropy and accuracy of the batches as they were met.

    `run` is any of the group's: what is read from it is the same in all.
    """
    chance = draw(run.variant, state, len(digits), digits.labels.device)
    loss_sum, correct = torch.zeros(2, len(state.seeds), dtype=torch.float64, device=digits.labels.device)
    for step in range(steps_per_epoch(run, digits)):
        losses, right = train_step(run, state, digits, chance, step)
        loss_sum += losses
        correct += right
    state.epoch += 1
    return loss_sum / len(digits), correct / len(digits)


def steps_per_epoch(run: Run, digits: dataset.Digits) -> int:
    return math.ceil(len(digits) / run.training.batch_size)


def train_step(
    run: Run, state: checkpoint.State, digits: dataset.Digits, chance: Chance, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch of the coming epoch. Per member, the sum of its cross-entropies and how many it got right."""
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
    logits = state.network.train(
        images.unflatten(0, chosen.shape), {name: masks[:, batch] for name, masks in chance.kept.items()}
    ).flatten(0, 1)
    losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=rules.label_smoothing)
    mean_losses = losses.view(chosen.shape).mean(1)
    gradients = torch.autograd.grad(mean_losses.sum(), list(state.network.weights.values()))
    done = state.epoch * steps + step
    state.optimizer.step(gradients, learning_rate(settings, done, settings.epochs * steps), done)
    logits, losses = logits.detach(), losses.detach()
    if rules.label_smoothing:  # what is reported is comparable: plain cross-entropy
        losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.view(chosen.shape).sum(1), (logits.argmax(1) == labels).view(chosen.shape).sum(1)


def draw(variant: params.Variant, state: checkpoint.State, count: int, where: torch.device) -> Chance:
    """What is random in the coming epoch. Drawn on the CPU, so that every device meets the same."""
    rules, epoch = variant.regularization, state.epoch + 1
    orders, moves, kept = [], [], {name: [] for name in state.network.dropout()}
    for seed in state.seeds:
        orders.append(torch.randperm(count, generator=stream(seed, epoch, "order")))
        if rules.augmentation != "none":
            elastic, chance = rules.augmentation == "elastic", stream(seed, epoch, "augmentation")
            moves.append(augmentation.draw(count, variant.input.size, elastic, rules.augmentation_strength, chance))
        dropout = stream(seed, epoch, "dropout")
        for name, (width, rate) in state.network.dropout().items():
            kept[name].append(uniform_int16(count, width, dropout) >= round(rate * 2**16) - 2**15)
    return Chance(
        order=torch.stack(orders).to(where),
        moves=torch.stack(moves).to(where) if moves else None,
        kept={name: torch.stack(masks).to(where) for name, masks in kept.items()},
    )


def uniform_int16(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width) from -32768 to 32767; four from each draw of 64 bits, which takes a quarter of the time."""
    draws = torch.empty(math.ceil(count * width / 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    return draws.view(torch.int16)[: count * width].view(count, width)


def fit(
    runs: Sequence[Run], training: dataset.Digits, validation: dataset.Digits, folders: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """Train runs side by side to the last epoch, from where their folders end, all at the same, and keep all there.

    Yields the record of each epoch and run. UserError if a loss stops being a number.
    """
    where = training.labels.device
    state = start(runs, where)
    for index, (run, folder) in enumerate(zip(runs, folders, strict=True)):
        if (folder / "state.safetensors").exists():
            checkpoint.load(state, index, folder / "state.safetensors")
        begin = {"event": "start", "time": time.time(), **run.record, "provenance": run.origin}
        state.journals[index].append(begin)
        write_journal(state.journals[index], folder)
    while state.epoch < runs[0].training.epochs:
        began = time.perf_counter()
        trained = train_epoch(runs[0], state, training)
        result = state.result()
        validated = measure(result, validation)
        curves = [
            torch.stack(part).T.tolist() if part else [(None, None)] * len(state.seeds) for part in (trained, validated)
        ]
        spent = {
            "seconds": (time.perf_counter() - began) / len(runs),
            "peak_memory_bytes": device.peak_memory(where),
            "side_by_side": len(runs),
        }
        for index, (run, folder, measured) in enumerate(zip(runs, folders, zip(*curves, strict=True), strict=False)):
            record = dict(zip(CURVES, (state.epoch, *measured[0], *measured[1]), strict=True))
            if not math.isfinite(record["train_loss"]):
                raise UserError(
                    f"{run.record['variant']}, seed {run.seed}: the loss is not a number in epoch {state.epoch}; "
                    "remedy: a lower learning_rate"
                )
            state.journals[index].append({"event": "epoch", "time": time.time(), **spent, **record})
            checkpoint.save_weights(result.member(index), folder / checkpoint.weights_name(state.epoch))
            checkpoint.save(state, index, folder / "state.safetensors")  # from here on the epoch counts
            write_journal(state.journals[index], folder)
            yield state.journals[index][-1]
    losses, accuracies = measure(state.result(), training)
    for index, (run, folder) in enumerate(zip(runs, folders, strict=True)):
        journal = state.journals[index]
        journal.append({"event": "end", "time": time.time(), "status": "finished"})
        write_journal(journal, folder)
        finish(run, journal, {"loss": losses[index].item(), "accuracy": accuracies[index].item()}, folder)


def measure(network: group.Group, digits: dataset.Digits) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean cross-entropy and accuracy in evaluation mode, per member; None where there are no digits."""
    if not len(digits):
        return None
    logits = network.evaluate(digits.images)
    losses = [functional.cross_entropy(member.double(), digits.labels) for member in logits]
    return torch.stack(losses), (logits.argmax(2) == digits.labels).double().mean(1)


def finish(run: Run, journal: list[dict[str, Any]], learnt: dict[str, float], folder: Path) -> None:
    """Write the curves, and last the record with the digests of all that a finished run consists of.

    `learnt`: loss and accuracy on the training images in evaluation mode, at the end.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, CURVES, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for line in journal if line["event"] == "epoch")
    files.write_text(folder / "curves.csv", table.getvalue())
    kept = ["curves.csv", *(checkpoint.weights_name(epoch) for epoch in range(1, run.training.epochs + 1))]
    digests = {name: files.sha256_file(folder / name) for name in kept}
    files.write_json(folder / "run.json", {**run.record, "training_set": learnt, "files": digests})


def finished(folder: Path) -> bool:
    """Whether a training was completed there and every file of it is as it was written."""
    try:
        record = files.read_json(folder / "run.json")
        return all(files.sha256_file(folder / name) == digest for name, digest in record["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def write_journal(lines: list[dict[str, Any]], folder: Path) -> None:
    files.write_text(folder / "journal.jsonl", "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))


def stream(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """Random numbers on the CPU, so that every device meets the same ones: a function of these three alone."""
    digest = hashlib.sha256(f"{purpose} {seed} {epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def learning_rate(settings: params.Training, step: int, steps: int) -> float:
    """The rate of a step, counted from 0, out of all steps of a training."""
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
    if settings.schedule == "one-cycle":
        low, high, end = settings.learning_rate / 25, settings.learning_rate, settings.learning_rate / 25e4
        top = WARM_UP * steps - 1
        if step <= top:
            return high + (low - high) * (1 + math.cos(math.pi * step / top)) / 2
        return end + (high - end) * (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2
    return settings.learning_rate
