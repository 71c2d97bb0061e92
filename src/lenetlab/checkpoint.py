"""What resuming needs, saved whole after every epoch and loaded again. Nothing is unpickled."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from lenetlab import UserError, files


@dataclass
class State:
    """A training in progress. Order, augmentation, dropout and schedule follow from seed and epoch, so none is kept."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0  # epochs that are finished
    journal: list[dict[str, Any]] = field(default_factory=list)  # what `journals/` will hold


def weights_name(epoch: int) -> str:
    return f"epoch-{epoch:02}.safetensors"


def save_weights(model: nn.Module, path: Path) -> None:
    files.write_bytes(path, safetensors.torch.save(_on_cpu(model.state_dict())))


def load_weights(model: nn.Module, path: Path) -> None:
    """Into a model of the same shape. UserError if the file is damaged or another network's."""
    try:
        model.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (OSError, RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not the weights of this network: {error}") from None


def save(state: State, path: Path) -> None:
    tensors = {f"model.{name}": value for name, value in _on_cpu(state.model.state_dict()).items()}
    for index, buffers in state.optimizer.state_dict()["state"].items():
        kept = {f"optimizer.{index}.{name}": value for name, value in buffers.items() if value is not None}
        tensors.update(_on_cpu(kept))
    notes = {"epoch": str(state.epoch), "journal": json.dumps(state.journal, allow_nan=False)}
    files.write_bytes(path, safetensors.torch.save(tensors, metadata=notes))


def load(state: State, path: Path) -> None:
    """Bring a freshly started `state` to where it was when `path` was saved."""
    with safetensors.safe_open(path, framework="pt") as saved:
        tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118  not a mapping
        notes = saved.metadata()
    state.model.load_state_dict(_below("model", tensors))
    buffers: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _below("optimizer", tensors).items():
        index, _, buffer = name.partition(".")
        buffers.setdefault(int(index), {})[buffer] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": buffers, "param_groups": groups})
    state.epoch, state.journal = int(notes["epoch"]), json.loads(notes["journal"])


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
