"""Everything random in an epoch: the order of the images, augmentation and dropout.

Random numbers are drawn on the CPU and depend only on seed, epoch and purpose. So they are the same on every device and
in every group, and a resumed training needs no saved random state.
"""

import hashlib
import math
from dataclasses import dataclass

import torch

from lenetlab.data import augmentation
from lenetlab.settings import schema, training_schema
from lenetlab.training import checkpoint


@dataclass(frozen=True)
class EpochRandomness:
    """The random choices of one epoch. The N images of a member are in the order in which it trains on them."""

    order: torch.Tensor  # (members, N) indices of the images
    augmentations: torch.Tensor | None  # (members, N, D) parameters for augmentation.apply
    keep_masks: dict[str, torch.Tensor]  # by dropout layer, bool (members, N, width): which units are kept
    seeds: tuple[int, ...]  # of the members
    epoch: int

    def step_seeds(self, step: int) -> list[int]:
        """A seed per member for layers that draw random numbers themselves in this step."""
        return [generator(seed, self.epoch, f"layers {step}").initial_seed() for seed in self.seeds]


def draw(
    variant: schema.Variant, state: checkpoint.TrainingState, images: int, device: torch.device
) -> EpochRandomness:
    """Draw the random choices of the coming epoch for `images` images, and move them to the device."""
    rules, epoch = variant.regularization, state.epoch + 1
    orders, augmentations = [], []
    masks: dict[str, list[torch.Tensor]] = {name: [] for name in state.network.dropout_layers()}
    for seed in state.seeds:
        orders.append(torch.randperm(images, generator=generator(seed, epoch, "order")))
        if rules.ranges != training_schema.AugmentationRanges():
            source = generator(seed, epoch, "augmentation")
            augmentations.append(
                augmentation.draw(images, variant.input.size, rules.ranges, rules.augmentation_strength, source)
            )
        source = generator(seed, epoch, "dropout")
        for name, (width, rate) in state.network.dropout_layers().items():
            masks[name].append(uniform_int16(images, width, source) >= round(rate * 2**16) - 2**15)
    return EpochRandomness(
        order=torch.stack(orders).to(device),
        augmentations=torch.stack(augmentations).to(device) if augmentations else None,
        keep_masks={name: torch.stack(members).to(device) for name, members in masks.items()},
        seeds=tuple(state.seeds),
        epoch=epoch,
    )


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A random generator on the CPU whose state is a function of seed, epoch and purpose."""
    digest = hashlib.sha256(f"{purpose} {seed} {epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def uniform_int16(rows: int, columns: int, source: torch.Generator) -> torch.Tensor:
    """(rows, columns) uniform integers from -32768 to 32767.

    Each draw of 64 bits makes four of them, which takes a quarter of the time.
    """
    draws = torch.empty(math.ceil(rows * columns / 4), dtype=torch.int64).random_(-(2**63), None, generator=source)
    return draws.view(torch.int16)[: rows * columns].view(rows, columns)
