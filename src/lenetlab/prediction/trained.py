"""What it takes to use trained networks: a description and a file of weights per seed, in `runs` or in one folder.

`model.json` is the description: variant, settings, images (size, channels, classes), normalization, fingerprint, seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.storage import code, files, manifests, paths, stage_outputs
from lenetlab.storage.digests import sha256_file

DESCRIPTION = "model.json"
KEYS = ("variant", "settings", "images", "normalization", "fingerprint")


@dataclass(frozen=True)
class TrainedModel:
    """One or more networks that were trained with the same settings and different seeds."""

    variant: str
    settings: dict[str, Any]  # network, input and regularisation, as in the identity of a training
    size: int  # pixels per side of the images that were trained
    channels: int
    classes: tuple[str, ...]
    brightness: float | None  # mean of the training images, from 0 (black) to 1; None if it is not known
    normalization: dict[str, Any] | None  # mean and std; None: pixels from 0 to 1
    fingerprint: str  # of the variant; of a single seed that of its training
    seeds: tuple[int, ...]
    weights: tuple[Path, ...]  # a file per seed
    root: Path  # the folder with `networks/`, which holds classes of the user

    def definition(self) -> schema.Variant:
        """The settings from which the network is built."""
        kind = {"size": self.size, "channels": self.channels, "classes": len(self.classes)}
        return schema.Variant.model_validate({**self.settings, "images": kind})

    def own_files(self) -> list[Path]:
        """The user's code that defines the network, relative to `root`; empty for a network of this package."""
        file = self.settings["model"].get("file")
        return [Path(name).relative_to(self.root) for name in code.own_digests(self.root / file)] if file else []

    def description(self) -> dict[str, Any]:
        """The content of model.json."""
        return {
            "variant": self.variant,
            "settings": self.settings,
            "images": {
                **{"size": self.size, "channels": self.channels, "classes": list(self.classes)},
                "brightness": self.brightness,
            },
            "normalization": self.normalization,
            "fingerprint": self.fingerprint,
            "seeds": list(self.seeds),
        }

    def only(self, seed: int) -> "TrainedModel":
        """The network of one seed. UserError if there is none."""
        if seed not in self.seeds:
            allowed = ", ".join(map(str, self.seeds))
            raise UserError(f"--seed: {seed} is not allowed; allowed: {allowed} (the trained seeds of {self.variant})")
        place = self.seeds.index(seed)
        return TrainedModel(**{**vars(self), "seeds": (seed,), "weights": (self.weights[place],)})


def of_outputs(outputs: Path, variant: str, seeds: Sequence[int]) -> TrainedModel:
    """The networks of a variant after their last epoch, from `runs`; without seeds that diverged.

    UserError if a file is missing or damaged, or if the prepared data are not those that were trained.
    """
    records = {seed: _run_record(outputs / paths.RUNS / variant / paths.seed_name(seed)) for seed in seeds}
    finished = {seed: record for seed, record in records.items() if not record["diverged"]}
    if not finished:
        raise UserError(f"{variant}: all {len(records)} seeds diverged, so it has no network that could answer")
    first = next(iter(finished.values()))
    profile = stage_outputs.read_json_object(
        outputs / paths.PREPARED_TRAIN / paths.PROFILE,
        *("prepare", "digest", "size", "channels", "classes", "splits/training/mean"),
    )
    if profile["digest"] != first["identity"]["data"]:
        raise UserError(
            f"{variant}: trained with other data than {paths.PREPARED_TRAIN}; remedy: dvc repro evaluate@{variant}"
        )
    _require_same_code(outputs, variant, first["identity"])
    return TrainedModel(
        variant=variant,
        settings=first["identity"]["definition"],
        size=profile["size"],
        channels=profile["channels"],
        classes=tuple(profile["classes"]),
        brightness=_mean(profile["splits"]["training"]["mean"]),
        normalization=first["normalization"],
        fingerprint=first["parent_fingerprint"],
        seeds=tuple(finished),
        weights=tuple(
            outputs / paths.RUNS / variant / paths.seed_name(seed) / _last_weights(record)
            for seed, record in finished.items()
        ),
        root=outputs,
    )


def of_folder(folder: Path) -> TrainedModel:
    """The networks in a folder with model.json and *.safetensors, which `write` or the pipeline made."""
    path = folder / DESCRIPTION
    try:
        content = files.read_json(path)
        missing = [key for key in KEYS if key not in content]
        if missing:
            raise ValueError(f"no {', '.join(missing)}")
        classes, normalization = content["images"]["classes"], content["normalization"]
        is_normalized = normalization and normalization["std"] != 1  # otherwise, its mean says nothing of the images
        brightness = _mean(normalization["mean"]) if is_normalized else None
        weights = sorted(folder.glob("*.safetensors"), key=lambda file: (len(file.name), file.name))
        model = TrainedModel(
            variant=content["variant"],
            settings=content["settings"].get("definition", content["settings"]),
            size=content["images"]["size"],
            channels=content["images"]["channels"],
            classes=tuple(classes if isinstance(classes, list) else map(str, range(classes))),
            brightness=content["images"].get("brightness", brightness),
            normalization=normalization,
            fingerprint=content["fingerprint"],
            seeds=tuple(sorted(content.get("seeds", range(len(weights))))),  # as their files are sorted
            weights=tuple(weights),
            root=folder,
        )
        model.definition()
        if not weights or len(weights) != len(model.seeds):
            raise ValueError(f"{len(weights)} files *.safetensors for {len(model.seeds)} seeds")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read ({reason}); allowed: the folder of a model") from None
    return model


def write(model: TrainedModel, folder: Path) -> None:
    """Write model.json, the weights and the user's code into a folder, from which `of_folder` reads them."""
    files.write_json(folder / DESCRIPTION, model.description())
    for seed, path in zip(model.seeds, model.weights, strict=True):
        files.write_bytes(folder / f"weights-{seed}.safetensors", path.read_bytes())
    for name in model.own_files():
        files.write_bytes(folder / name, (model.root / name).read_bytes())


def _run_record(folder: Path) -> dict[str, Any]:
    variant = folder.parent.name
    keys = ("identity/definition", "identity/data", "normalization", "parent_fingerprint", "diverged", "files")
    record = stage_outputs.read_json_object(folder / paths.RUN_RECORD, f"train@{variant}", *keys)
    name = None if record["diverged"] else _last_weights(record)
    with stage_outputs.reporting_damage(folder / (name or paths.RUN_RECORD), f"train@{variant}"):
        if name and sha256_file(folder / name) != record["files"][name]:
            raise manifests.Damaged("its SHA-256 does not match run.json")
    return record


def _mean(values: float | list[float]) -> float:
    """Over the channels."""
    return fmean(values) if isinstance(values, list) else values


def _last_weights(record: dict[str, Any]) -> str:
    """The file of the last epoch."""
    names: list[str] = [name for name in record["files"] if name.endswith(".safetensors")]
    return max(names, key=lambda name: (len(name), name))


def _require_same_code(outputs: Path, variant: str, identity: dict[str, Any]) -> None:
    """UserError if the user's class is no longer the one that was trained."""
    trained = identity.get("own_code", {})
    file = identity["definition"]["model"].get("file")
    if not file:
        return
    digests = code.own_digests(outputs / file)
    present = {Path(name).relative_to(outputs).as_posix(): digest for name, digest in digests.items()}
    changed = sorted(name for name in trained.keys() | present.keys() if trained.get(name) != present.get(name))
    if changed:
        raise UserError(
            f"{variant}: {', '.join(changed)} changed after the training; remedy: dvc repro evaluate@{variant}"
        )
