"""One training: a loop over epochs, decided by data, settings and seed alone, that goes on where it was stopped."""

import csv
import hashlib
import io
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from lenetlab import UserError, augmentation, checkpoint, dataset, device, files, models, params

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


def start(run: Run, where: torch.device) -> checkpoint.State:
    """The state before the first epoch."""
    model = models.build(run.variant, run.seed).to(where)
    settings, decay = run.training, run.variant.regularization.weight_decay
    if settings.optimizer == "adamw":
        betas = (settings.momentum, 0.999)
        optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, betas, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(model.parameters(), settings.learning_rate, settings.momentum, weight_decay=decay)
    return checkpoint.State(model, optimizer)


def train_epoch(run: Run, state: checkpoint.State, digits: dataset.Digits) -> tuple[float, float]:
    """One pass over the digits. Mean cross-entropy and accuracy of the batches as they were met, in training mode."""
    settings, rules, epoch = run.training, run.variant.regularization, state.epoch + 1
    where, steps = digits.labels.device, math.ceil(len(digits) / settings.batch_size)
    order = torch.randperm(len(digits), generator=stream(run.seed, epoch, "order")).to(where)
    if rules.augmentation == "affine":
        moves = augmentation.draw(len(digits), run.variant.input.size, stream(run.seed, epoch, "augmentation")).to(
            where
        )
    loss_sum, correct = torch.zeros((), device=where), torch.zeros((), dtype=torch.int64, device=where)
    torch.manual_seed(stream(run.seed, epoch, "dropout").initial_seed())
    state.model.train()
    for step, batch in enumerate(order.split(settings.batch_size)):
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(settings, state.epoch * steps + step, settings.epochs * steps)
        images, labels = digits.images[batch], digits.labels[batch]
        if rules.augmentation == "affine":
            images = augmentation.affine(images, moves[batch], digits.black)
        logits = state.model(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=rules.label_smoothing)
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        loss_sum += functional.cross_entropy(logits.detach(), labels, reduction="sum")
        correct += (logits.detach().argmax(1) == labels).sum()
    state.epoch = epoch
    return loss_sum.item() / len(digits), correct.item() / len(digits)


def fit(run: Run, training: dataset.Digits, validation: dataset.Digits, folder: Path) -> Iterator[dict[str, Any]]:
    """Train to the last epoch, from where `folder` ends, and keep all there; yields the record of each epoch.

    UserError if the loss stops being a number.
    """
    where = training.labels.device
    state = start(run, where)
    if (folder / "state.safetensors").exists():
        checkpoint.load(state, folder / "state.safetensors")
    state.journal.append({"event": "start", "time": time.time(), **run.record, "provenance": run.origin})
    write_journal(state.journal, folder)
    while state.epoch < run.training.epochs:
        began = time.perf_counter()
        train_loss, train_accuracy = train_epoch(run, state, training)
        if not math.isfinite(train_loss):
            name, epoch = run.record["variant"], state.epoch
            raise UserError(
                f"{name}, seed {run.seed}: the loss is not a number in epoch {epoch}; remedy: a lower learning_rate"
            )
        validation_loss, validation_accuracy = measure(state.model, validation)
        epoch_record = {
            "epoch": state.epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "validation_loss": validation_loss,
            "validation_accuracy": validation_accuracy,
        }
        spent = {"seconds": time.perf_counter() - began, "peak_memory_bytes": device.peak_memory(where)}
        state.journal.append({"event": "epoch", "time": time.time(), **spent, **epoch_record})
        checkpoint.save_weights(state.model, folder / checkpoint.weights_name(state.epoch))
        checkpoint.save(state, folder / "state.safetensors")  # from here on the epoch counts
        write_journal(state.journal, folder)
        yield state.journal[-1]
    state.journal.append({"event": "end", "time": time.time(), "status": "finished"})
    write_journal(state.journal, folder)
    finish(run, state, folder)


def measure(model: torch.nn.Module, digits: dataset.Digits) -> tuple[float, float] | tuple[None, None]:
    """Mean cross-entropy and accuracy in evaluation mode; two times None where there are no digits."""
    if not len(digits):
        return None, None
    logits = models.logits(model, digits.images)
    correct = (logits.argmax(1) == digits.labels).sum().item()
    return functional.cross_entropy(logits.double(), digits.labels).item(), correct / len(digits)


def finish(run: Run, state: checkpoint.State, folder: Path) -> None:
    """Write the curves, and last the record with the digests of all that a finished run consists of."""
    table = io.StringIO()
    writer = csv.DictWriter(table, CURVES, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for line in state.journal if line["event"] == "epoch")
    files.write_text(folder / "curves.csv", table.getvalue())
    kept = ["curves.csv", *(checkpoint.weights_name(epoch) for epoch in range(1, state.epoch + 1))]
    digests = {name: files.sha256_file(folder / name) for name in kept}
    files.write_json(folder / "run.json", {**run.record, "files": digests})


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
