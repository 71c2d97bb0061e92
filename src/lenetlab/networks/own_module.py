"""A network that a class of the user defines, in a file of the project's folder `networks`."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import nn

from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage import code
from lenetlab.storage.digests import sha256_json

IMAGES = 4  # of the batch with which a network is tried


def build(settings: schema.ModuleSettings, images: schema.ImageKind, size: int) -> nn.Module:
    """An instance of the class, with `channels`, `classes` and `size` if its constructor has them, and its arguments.

    Raises UserError for every exception in the user's code.
    """
    with explained(settings):
        kind = _load_class(settings.file, settings.name, sha256_json(code.own_digests(Path(settings.file))))
        accepted = inspect.signature(kind).parameters
        known = {"channels": images.channels, "classes": images.classes, "size": size}
        network = kind(**{key: value for key, value in known.items() if key in accepted} | settings.arguments)
    if not isinstance(network, nn.Module):
        raise UserError(f"{settings.file}: {settings.name} is not a torch.nn.Module; remedy: derive it from nn.Module")
    return network


def check(
    settings: schema.ModuleSettings, images: schema.ImageKind, network: nn.Module, again: nn.Module, size: int
) -> None:
    """Try a new network with a few random images; it is changed by that. UserError if it cannot be trained here.

    `again` is another one, built with the same seed.
    """
    problem = _state_problem(network) or _seed_problem(network, again)
    if not problem:
        with explained(settings), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            batch = torch.randn(IMAGES, images.channels, size, size)
            problem = _output_problem(network, batch, images.classes) or _repetition_problem(network, batch)
    if problem:
        raise UserError(f"{settings.file}: {settings.name}: {problem}")


@contextmanager
def explained(settings: schema.ModuleSettings) -> Iterator[None]:
    """Every exception in the user's code as one UserError: file, line and exception."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        folder = str(Path(settings.file).parent.resolve())
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
        place = f"{settings.file}: {settings.name}"
        if frames:
            place = f"{schema.OWN_FOLDER}{frames[-1].filename.removeprefix(folder)}: line {frames[-1].lineno}"
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{place}: {type(error).__name__}: {reason}") from None


@cache
def _load_class(file: str, name: str, digest: str) -> type:
    """The class in the file, whose code has this digest."""
    path = Path(file).resolve()
    module_name = f"own_network_{digest[:16]}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    assert specification  # noqa: S101  the name ends with .py
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module  # dataclasses look it up there
    for other in {Path(part) for part in code.own_digests(Path(file))} - {Path(file)}:
        own = str(other.resolve())
        loaded = sys.modules.get(other.stem) if other.parent == Path(file).parent else None
        if getattr(loaded, "__file__", own) != own or other.stem in sys.stdlib_module_names:
            raise UserError(f"{other}: there is another module with this name; remedy: rename the file")
        sys.modules.pop(other.stem, None)  # it may have been edited since
    sys.path.insert(0, str(path.parent))
    try:
        exec(compile(path.read_bytes(), path, "exec"), module.__dict__)  # noqa: S102  not from a stale __pycache__
    finally:
        sys.path.remove(str(path.parent))
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [
            key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module_name
        ]
        raise UserError(f"{file}: no class {name!r}; allowed: {', '.join(classes) or 'none, the file has no class'}")
    return found


def _state_problem(network: nn.Module) -> str:
    """What makes its weights unsuitable for being saved, resumed and computed for several seeds."""
    parameters = dict(network.named_parameters(remove_duplicate=False))
    state = network.state_dict()
    if len(parameters) != len(dict(network.named_parameters())):
        return "two layers share a parameter; remedy: give each its own"
    if unfinished := [name for name, value in parameters.items() if isinstance(value, nn.UninitializedParameter)]:
        return f"{unfinished[0]} has no shape before the first image; remedy: no lazy layer"
    if not any(value.requires_grad for value in parameters.values()):
        return "it has no parameter that can be trained"
    if extra := [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
        return f"its state has {extra[0]}, which is not a tensor; remedy: a buffer"
    return ""


def _seed_problem(network: nn.Module, again: nn.Module) -> str:
    state = again.state_dict()
    names = [name for name, value in network.state_dict().items() if not torch.equal(value, state[name])]
    return f"{names[0]} differs although the seed is the same; remedy: random numbers from torch alone" if names else ""


def _output_problem(network: nn.Module, batch: torch.Tensor, classes: int) -> str:
    """What is wrong with its answers in both modes, for several images and for one."""
    for training, images in ((True, batch), (False, batch), (False, batch[:1])):
        logits = network.train(training)(images)
        mode = f"{'training' if training else 'evaluation'} mode, {len(images)} images"
        if not isinstance(logits, torch.Tensor):
            return f"returns {type(logits).__name__} ({mode}); allowed: a tensor (images, classes)"
        if tuple(logits.shape) != (len(images), classes):
            return f"returns {tuple(logits.shape)} ({mode}); allowed: {(len(images), classes)}, images and classes"
        if logits.dtype != torch.float32 or not logits.isfinite().all():
            return f"returns {logits.dtype} with values that are not finite, or not float32 ({mode})"
    logits = network.train()(batch)
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    gradients = torch.autograd.grad(logits.sum(), list(trained.values()), allow_unused=True)
    unused = [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]
    return (
        f"{', '.join(unused)}: not used for the answer; remedy: remove it, or requires_grad_(False)" if unused else ""
    )


def _repetition_problem(network: nn.Module, batch: torch.Tensor) -> str:
    """What makes it give other answers for the same weights, buffers and random numbers."""
    state = {name: value.clone() for name, value in network.state_dict().items()}

    def answers(training: bool, seed: int) -> torch.Tensor:
        network.load_state_dict(state)
        torch.manual_seed(seed)
        logits: torch.Tensor = network.train(training)(batch).detach()
        return logits

    if not torch.equal(answers(False, 1), answers(False, 2)):
        return "its answers in evaluation mode are random; remedy: F.dropout(…, training=self.training)"
    if any(not torch.equal(value, state[name]) for name, value in network.state_dict().items()):
        return "it changes its buffers in evaluation mode; remedy: only if self.training"
    if not torch.equal(answers(True, 1), answers(True, 1)):
        return (
            "other answers with the same weights, buffers and seed; remedy: random numbers from torch alone, and what"
            " changes in training in buffers of its state_dict"
        )
    return ""
