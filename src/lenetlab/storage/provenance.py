"""What a result is a function of, and where it came from."""

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any

from lenetlab.settings import schema
from lenetlab.storage import code
from lenetlab.storage.digests import sha256_json


def identity(study: schema.Study, variant: str, data: str, torch_version: str, device: str, numerics: str) -> dict:
    """All that decides the bits of a variant's training but the seed. `data` is the digest of the prepared set."""
    return {
        "variant": variant,
        **recipe(study, variant),
        "data": data,
        "code": code.code_digest(code.TRAINER),
        "torch": torch_version,
        "device": device,
        "numerics": numerics,
    }


def recipe(study: schema.Study, variant: str) -> dict[str, Any]:
    """A variant's network, input and regularisation, and how it is trained; a width that is matched as a number."""
    return {
        "definition": study.variants[variant].model_dump(mode="json", exclude={"training"}, exclude_none=True),
        "training": study.training_of(variant).model_dump(mode="json"),
    }


def fingerprint(identity: dict, seed: int | None = None) -> str:
    """SHA-256 of an identity and a seed; without one it names the variant's runs as a whole, whatever their seeds."""
    return sha256_json(identity if seed is None else {**identity, "seed": seed})


def origin() -> dict[str, Any]:
    """Where an execution takes place: commit, DVC experiment, versions. It varies while results do not."""
    return {
        **_git(),
        "experiment": os.environ.get("DVC_EXP_NAME"),
        "python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "torch", "lenetlab")},
    }


def _git() -> dict[str, str | bool | None]:
    """The commit and whether files differ from it; `dvc.lock`, which the pipeline writes itself, does not count."""
    try:
        commit = code.command_output("git", "rev-parse", "HEAD")
        changed = code.command_output("git", "status", "--porcelain", "--", ".", ":(exclude)dvc.lock")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed)}
