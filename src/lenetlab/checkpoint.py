"""What resuming needs, saved whole after every epoch and loaded again. Nothing is unpickled."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from lenetlab import UserError, files, group, optimizer


@dataclass
class State:
    """Trainings of a group, all at the same epoch.

    Order, augmentation, dropout and schedule follow from seed and epoch, so none is kept.
    """

    network: group.Group
    optimizer: optimizer.Optimizer
    seeds: list[int]  # a member's each
    epoch: int = 0  # epochs that are finished
    journals: list[list[dict[str, Any]]] = field(default_factory=list)  # what `journals/` will hold, a member's each

    def result(self) -> group.Group:
        """The networks as they are measured and kept, with averaged weights where these are asked for."""
        return self.network.with_weights(self.optimizer.averaged())

    def member(self, index: int) -> dict[str, torch.Tensor]:
        """Views of all that one member's training has changed so far."""
        tensors = {f"model.{name}": value for name, value in self.network.member(index).items()}
        return tensors | {f"optimizer.{name}": value[index] for name, value in self.optimizer.buffers.items()}


def weights_name(epoch: int) -> str:
    return f"epoch-{epoch:02}.safetensors"


def save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    """`weights` is the `state_dict` of a network."""
    files.write_bytes(path, safetensors.torch.save(_on_cpu(weights)))


def load_weights(model: nn.Module, path: Path) -> None:
    """Into a model of the same shape. UserError if the file is damaged or another network's."""
    try:
        model.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (OSError, RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not the weights of this network: {error}") from None


def save(state: State, index: int, path: Path) -> None:
    notes = {"epoch": str(state.epoch), "journal": json.dumps(state.journals[index], allow_nan=False)}
    files.write_bytes(path, safetensors.torch.save(_on_cpu(state.member(index)), metadata=notes))


def load(state: State, index: int, path: Path) -> None:
    """Bring a member of a freshly started `state` to where it was when `path` was saved."""
    with safetensors.safe_open(path, framework="pt") as saved:
        for name, value in state.member(index).items():
            value.copy_(saved.get_tensor(name))
        notes = saved.metadata()
    state.epoch, state.journals[index] = int(notes["epoch"]), json.loads(notes["journal"])


def epochs_done(path: Path) -> int:
    """How far the training was that was saved there; 0 if there is none."""
    if not path.exists():
        return 0
    with safetensors.safe_open(path, framework="pt") as saved:
        return int(saved.metadata()["epoch"])


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
