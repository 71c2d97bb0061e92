"""Checkpoints: everything that resuming a training needs, saved after every epoch.

The folder of a job holds these files for epoch EE:
  epoch-EE.safetensors   the weights that are evaluated
  state-EE.safetensors   all tensors that a step changes: weights, statistics of batch normalisation, optimizer buffers
  progress-EE.json       a manifest, written last: the journal so far and the SHA-256 of all these files
An epoch counts as finished once its manifest exists. The last two states are kept, so that training can go back to the
epoch before if a file is damaged; so are the weights that their manifests list. `training.keep_weights` says which
weights a manifest lists. Nothing is pickled.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import nn

from lenetlab.errors import UserError
from lenetlab.storage import files, manifests
from lenetlab.storage.digests import sha256
from lenetlab.training import optimizer, plain_group

STATES_KEPT = 2


@dataclass
class TrainingState:
    """A group of trainings, all at the same epoch. The lists have one entry per member.

    The first `jobs` members are trainings. Members after them are copies of the last one, which nothing reads.

    It holds no random state: the order of images, augmentation, dropout and the learning rate follow from seed, epoch
    and step.
    """

    network: plain_group.Group
    optimizer: optimizer.Optimizer
    jobs: int
    seeds: list[int]
    epoch: int = 0  # finished epochs
    journals: list[list[dict[str, Any]]] = field(default_factory=list)  # events, as in `journals/V/seed-N.jsonl`
    digests: list[dict[str, str]] = field(default_factory=list)  # SHA-256 of the weights that are kept, by file name
    keep_weights: int | Literal["all"] = "all"

    def evaluated_network(self) -> plain_group.Group:
        """The network that is evaluated and kept: with averaged weights if the settings ask for them."""
        return self.network.with_weights(self.optimizer.averaged_weights())

    def member_tensors(self, index: int) -> dict[str, torch.Tensor]:
        """All tensors of a member that training changes, by name. They are views: writing to them changes the state."""
        tensors = {f"model.{name}": value for name, value in self.network.member_state(index).items()}
        return tensors | {f"optimizer.{name}": value[index] for name, value in self.optimizer.buffers.items()}


def weights_name(epoch: int) -> str:
    return f"epoch-{epoch:02}.safetensors"


def load_weights(network: nn.Module, path: Path) -> None:
    """Load weights into a network. Raises UserError if the file is damaged or belongs to another network."""
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        for name, value in network.state_dict().items():
            if name in tensors and tensors[name].dtype != value.dtype:
                raise ValueError(f"{name} has type {tensors[name].dtype} instead of {value.dtype}")
        network.load_state_dict(tensors)
    except (OSError, RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: not the weights of this network ({reason}); remedy: dvc checkout --force") from None


def save(state: TrainingState, index: int, folder: Path) -> None:
    """Save the epoch that a member has just finished, and remove what the last two manifests do not list."""
    weights, rest, before = weights_name(state.epoch), _state_name(state.epoch), state.digests[index]
    written = {**before, weights: _write_tensors(state.evaluated_network().member_state(index), folder / weights)}
    kept = set(map(weights_name, kept_epochs(state.journals[index], state.keep_weights)))
    state.digests[index] = {name: digest for name, digest in written.items() if name in kept}
    digests = {**state.digests[index], rest: _write_tensors(state.member_tensors(index), folder / rest)}
    manifest = _manifest_path(folder, state.epoch)
    manifests.write_manifest(manifest, digests, epoch=state.epoch, journal=state.journals[index])
    for epoch, old_manifest in _manifests_by_epoch(folder).items():
        if epoch <= state.epoch - STATES_KEPT:
            (folder / _state_name(epoch)).unlink(missing_ok=True)
            old_manifest.unlink()  # last: without it, a state that was left behind would never be removed
    if state.keep_weights != "all":
        for path in folder.glob("epoch-*"):
            if path.name not in before and path.name not in kept:
                path.unlink()


def kept_epochs(journal: Iterable[Mapping[str, Any]], keep: int | Literal["all"]) -> set[int]:
    """The epochs whose weights are kept: all, or the last `keep` ones and the best.

    The best has the lowest validation loss; without validation images, the lowest training loss. It follows from the
    journal, so nothing else has to be remembered when a training resumes.
    """
    epochs = [event for event in journal if event["event"] == "epoch"]
    if keep == "all":
        return {event["epoch"] for event in epochs}
    measure = "train_loss" if epochs[-1]["validation_loss"] is None else "validation_loss"
    best = min(epochs, key=lambda event: event[measure])  # the first of equal ones
    return {best["epoch"], *(event["epoch"] for event in epochs[-keep:])}


def restore(state: TrainingState, index: int, folder: Path) -> None:
    """Bring a member of a new `state` to the last intact epoch in `folder`, if there is one."""
    epoch = last_intact_epoch(folder)
    if epoch:
        manifest = manifests.read_manifest(_manifest_path(folder, epoch))
        tensors = safetensors.torch.load((folder / _state_name(epoch)).read_bytes())
        for name, value in state.member_tensors(index).items():
            value.copy_(tensors[name])
        state.epoch, state.journals[index] = epoch, manifest["journal"]
        state.digests[index] = {name: digest for name, digest in manifest["files"].items() if name.startswith("epoch")}


def last_intact_epoch(folder: Path) -> int:
    """The last finished epoch of which every file has its recorded SHA-256; 0 if there is none.

    Prints a warning for a damaged file and removes every manifest that lists it, so that it is reported only once.
    """
    for epoch, manifest in sorted(_manifests_by_epoch(folder).items(), reverse=True):
        try:
            manifests.read_manifest(manifest)
        except manifests.Damaged as damage:
            print(f"warning: {damage}; training goes back to an epoch before it", file=sys.stderr)
            manifest.unlink()
        else:
            return epoch
    return 0


def _state_name(epoch: int) -> str:
    return f"state-{epoch:02}.safetensors"


def _manifest_path(folder: Path, epoch: int) -> Path:
    return folder / f"progress-{epoch:02}.json"


def _manifests_by_epoch(folder: Path) -> dict[int, Path]:
    return {int(path.stem.partition("-")[2]): path for path in folder.glob("progress-*.json")}


def _write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> str:
    """Write a file; returns the SHA-256 of the content in memory, so that a write error of the disk is noticed."""
    content = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    files.write_bytes(path, content)
    return sha256(content)
