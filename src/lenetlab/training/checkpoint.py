"""What resuming needs, saved whole after every epoch and loaded again. Nothing is unpickled.

In the folder of a run, an epoch leaves `epoch-EE.safetensors`, its weights; `state-EE.safetensors`, all that a step
changes; and last `progress-EE.json`, the journal so far and the digests of all these files. An epoch is finished when
that manifest stands. Two states are kept, so that there is one to go back to.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from lenetlab.errors import UserError
from lenetlab.storage import files, manifests
from lenetlab.storage.digests import sha256
from lenetlab.training import group, optimizer

KEPT = 2  # states and manifests


@dataclass
class TrainingState:
    """Trainings of a group, all at the same epoch.

    Order, augmentation, dropout and schedule follow from seed and epoch, so none is kept.
    """

    network: group.NetworkGroup
    optimizer: optimizer.Optimizer
    seeds: list[int]  # a member's each
    epoch: int = 0  # epochs that are finished
    journals: list[list[dict[str, Any]]] = field(default_factory=list)  # what `journals/` will hold, a member's each
    digests: list[dict[str, str]] = field(default_factory=list)  # of the weights of all epochs by name, a member's each

    def evaluated_network(self) -> group.NetworkGroup:
        """The networks as they are measured and kept, with averaged weights where these are asked for."""
        return self.network.with_weights(self.optimizer.averaged())

    def member(self, index: int) -> dict[str, torch.Tensor]:
        """Views of all that one member's training has changed so far."""
        tensors = {f"model.{name}": value for name, value in self.network.member(index).items()}
        return tensors | {f"optimizer.{name}": value[index] for name, value in self.optimizer.buffers.items()}


def weights_name(epoch: int) -> str:
    return f"epoch-{epoch:02}.safetensors"


def load_weights(model: nn.Module, path: Path) -> None:
    """Into a model of the same shapes and types. UserError if the file is damaged or another network's."""
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        for name, own in model.state_dict().items():
            if name in tensors and tensors[name].dtype != own.dtype:
                raise ValueError(f"{name} is of {tensors[name].dtype}, not of {own.dtype}")
        model.load_state_dict(tensors)
    except (OSError, RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        why = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: not the weights of this network ({why}); remedy: dvc checkout --force") from None


def save(state: TrainingState, index: int, folder: Path) -> None:
    """Keep the epoch that a member has just finished; from its manifest on the epoch counts."""
    weights, rest = weights_name(state.epoch), f"state-{state.epoch:02}.safetensors"
    state.digests[index][weights] = _write(state.evaluated_network().member(index), folder / weights)
    digests = {**state.digests[index], rest: _write(state.member(index), folder / rest)}
    manifests.write_manifest(_manifest(folder, state.epoch), digests, epoch=state.epoch, journal=state.journals[index])
    for epoch, manifest in _manifests(folder).items():
        if epoch <= state.epoch - KEPT:
            (folder / f"state-{epoch:02}.safetensors").unlink(missing_ok=True)
            manifest.unlink()  # last, since it is what tells that there is something to remove


def load(state: TrainingState, index: int, folder: Path) -> None:
    """Bring a member of a freshly started `state` to the last finished epoch in `folder`, if there is any."""
    epoch = epochs_done(folder)
    if epoch:
        progress = manifests.read_manifest(_manifest(folder, epoch))
        saved = safetensors.torch.load((folder / f"state-{epoch:02}.safetensors").read_bytes())
        for name, value in state.member(index).items():
            value.copy_(saved[name])
        state.epoch, state.journals[index] = epoch, progress["journal"]
        state.digests[index] = {name: digest for name, digest in progress["files"].items() if name.startswith("epoch")}


def epochs_done(folder: Path) -> int:
    """How many epochs of a training stand finished there, each file as it was written.

    A damaged file is named, and with every manifest that counts on it removed, so that it is not met again.
    """
    for epoch, manifest in sorted(_manifests(folder).items(), reverse=True):
        try:
            manifests.read_manifest(manifest)
        except manifests.Damaged as damage:
            print(f"warning: {damage}; training goes back to an epoch before it", file=sys.stderr)
            manifest.unlink()
        else:
            return epoch
    return 0


def _manifest(folder: Path, epoch: int) -> Path:
    return folder / f"progress-{epoch:02}.json"


def _manifests(folder: Path) -> dict[int, Path]:
    """By epoch."""
    return {int(path.stem.partition("-")[2]): path for path in folder.glob("progress-*.json")}


def _write(tensors: dict[str, torch.Tensor], path: Path) -> str:
    """The digest of what was meant to be written, whatever the disk made of it."""
    content = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    files.write_bytes(path, content)
    return sha256(content)
