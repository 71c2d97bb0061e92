"""What decides the bits of a training (identity and fingerprint), and where it ran (commit and versions)."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lenetlab.settings import schema, study_schema
from lenetlab.storage import code, paths
from lenetlab.storage.digests import sha256_json

PIPELINE_FILES = tuple(f":(exclude){path}" for path in (paths.DVC_LOCK, paths.REPORTS))  # in git; for `git status`


def identity(
    study: study_schema.Study, variant: str, data: str, torch_version: str, device: str, numerics: str
) -> dict[str, Any]:
    """Everything except the seed that decides the bits of the training of a variant.

    `data` is the digest of the prepared training data, `numerics` the number format and the choices of kernels.
    """
    return {
        "variant": variant,
        **recipe(study, variant),
        "data": data,
        "code": code.code_digest(code.TRAINER),
        "torch": torch_version,
        "device": device,
        "numerics": numerics,
    }


def recipe(study: study_schema.Study, variant: str) -> dict[str, Any]:
    """Network, input, regularisation and training settings of a variant; a matched width is a number here.

    With digests of the user's code if the network is a class of the user. Raises UserError if that cannot be read.
    """
    model = study.variants[variant].model
    own = {"own_code": code.own_digests(Path(model.file))} if isinstance(model, schema.ModuleSettings) else {}
    return {
        **own,
        "definition": study.variants[variant].model_dump(mode="json", exclude={"training", "seeds"}, exclude_none=True),
        "training": study.training_of(variant).model_dump(mode="json"),
    }


def same_weights(recipe: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two recipes train the same weights; they may differ in which of these are kept."""

    def deciding(recipe: dict[str, Any]) -> dict[str, Any]:
        settings = recipe.get("training", {}).items()
        return {**recipe, "training": {key: value for key, value in settings if key not in schema.WITHOUT_EFFECT}}

    return deciding(recipe) == deciding(other)


def cost_recipe(study: study_schema.Study, variant: str) -> str:
    """SHA-256 of the settings that decide the time of an epoch: the recipe without the number of epochs."""
    content = recipe(study, variant)
    for key in ("epochs", *schema.WITHOUT_EFFECT):
        del content["training"][key]
    return sha256_json(content)


def fingerprint(identity: dict[str, Any], seed: int | None = None) -> str:
    """SHA-256 of an identity and a seed. Without a seed it identifies the variant, whatever its seeds are."""
    return sha256_json(identity if seed is None else {**identity, "seed": seed})


def origin() -> dict[str, Any]:
    """Commit, DVC experiment and versions of this execution. They may differ between runs with equal results."""
    return {
        **_git(),
        "experiment": os.environ.get("DVC_EXP_NAME"),
        "python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "torch", "lenetlab")},
    }


def _git() -> dict[str, str | bool | None]:
    """The commit, and whether any file differs from it, except those that the pipeline itself writes."""
    try:
        commit = code.command_output("git", "rev-parse", "HEAD")
        changed = code.command_output("git", "status", "--porcelain", "--", ".", *PIPELINE_FILES)
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changed)}
