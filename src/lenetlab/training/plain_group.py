"""Several seeds of any network, computed one after another; and the group that suits a network.

It is for networks that a group cannot compute, or not with the same bits in every group. Members share no operation, so
the bits of each are those that it has alone.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import torch
from torch import nn
from torch.func import functional_call

from lenetlab.training import group

T = TypeVar("T")


def pad_with_copies(members: Sequence[T], network: nn.Module, device: torch.device) -> list[T]:
    """The members followed by the copies that a group needs; `network` is that of one of them."""
    return list(members) if group.unsupported(network) else group.pad_with_copies(members, device)


def group_of(networks: Sequence[nn.Module]) -> "Group":
    """These networks of the same shape, computed together or one after another."""
    return PlainGroup(networks) if group.unsupported(networks[0]) else group.NetworkGroup(networks)


class PlainGroup(group.StackedNetworks):
    """Any networks of the same class, with the interface of NetworkGroup.

    Layers such as nn.Dropout get random numbers of torch that depend on the seeds given to `training_logits` alone.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__(networks)
        self.network = networks[0]

    def dropout_layers(self) -> dict[str, tuple[int, float]]:
        """None: dropout draws its own random numbers here."""
        return {}

    def training_logits(
        self, images: torch.Tensor, keep_masks: dict[str, torch.Tensor], seeds: Callable[[], Sequence[int]]
    ) -> torch.Tensor:
        """Logits (members, N, classes) in training mode of images (members, N, C, size, size).

        `keep_masks` is empty. `seeds` returns one for the random layers of each member in this step.
        """
        assert not keep_masks  # noqa: S101
        devices = [images.device] if images.device.type == "cuda" else []
        logits = []
        for member, seed in enumerate(seeds()):
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(seed)
                logits.append(self._member_logits(member, images[member], training=True))
        return torch.stack(logits)

    @torch.inference_mode()
    def evaluation_logits(self, images: torch.Tensor, batch_size: int = 250) -> torch.Tensor:
        """Logits (members, N, classes) in evaluation mode of images (N, C, size, size), the same for all members."""
        batches = torch.split(images, batch_size)
        members = range(self.size)
        return torch.stack(
            [torch.cat([self._member_logits(member, batch, training=False) for batch in batches]) for member in members]
        )

    def _member_logits(self, member: int, images: torch.Tensor, training: bool) -> torch.Tensor:
        state = {name: value[member] for name, value in self.weights.items()}
        # Clones, because the forward pass may change them in place and still need them for the gradients.
        state |= {name: value[member].clone() for name, value in self.statistics.items()}
        logits: torch.Tensor = functional_call(self.network.train(training), state, (images,))
        if training:
            for name, value in self.statistics.items():
                value[member].copy_(state[name].detach())
        return logits


Group: TypeAlias = group.NetworkGroup | PlainGroup
