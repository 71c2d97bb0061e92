"""Trained networks for tests: new ones with random weights, written as model folders or as outputs of a study."""

from pathlib import Path

import numpy as np
import safetensors.torch

from lenetlab.networks import build
from lenetlab.prediction import trained
from lenetlab.settings import schema
from lenetlab.storage import files, manifests, paths
from lenetlab.storage.digests import sha256_file, sha256_json
from tests.training.jobs import changed_variant

MEAN, STD = 0.13, 0.31


def kind(channels: int = 1, size: int = 28, classes: int = 10) -> schema.ImageKind:
    return schema.ImageKind(size=size, channels=channels, classes=classes)


def make_folder(folder: Path, name: str = "lenet5", seeds: int = 2, images: schema.ImageKind | None = None) -> Path:
    """A model folder with new networks of a variant of the catalogue."""
    definition = changed_variant(name).model_copy(update={"images": images or kind()})
    content = {
        "variant": name,
        "settings": definition.model_dump(mode="json", exclude={"training", "seeds", "images"}, exclude_none=True),
        "images": {**definition.images.model_dump(), "classes": [f"c{n}" for n in range(definition.images.classes)]},
        "normalization": {"mean": MEAN, "std": STD},
        "fingerprint": "f" * 64,
    }
    folder.mkdir(parents=True)
    files.write_json(folder / trained.DESCRIPTION, content)
    for seed in range(seeds):
        network = build.build_network(definition, seed)
        safetensors.torch.save_file(network.state_dict(), folder / f"weights-{seed}.safetensors")
    return folder


def make_outputs(
    outputs: Path, name: str, seeds: int = 2, data: str = "d" * 64, diverged: tuple[int, ...] = ()
) -> None:
    """`runs` of a variant, and the profile of its data, with new networks as weights."""
    definition = changed_variant(name)
    identity = {
        "variant": name,
        "definition": definition.model_dump(mode="json", exclude={"training", "seeds"}, exclude_none=True),
        "data": data,
    }
    for seed in range(seeds):
        folder = outputs / paths.RUNS / name / paths.seed_name(seed)
        folder.mkdir(parents=True, exist_ok=True)
        for epoch in (1, 2):
            network = build.build_network(definition, seed=1000 * epoch + seed)
            safetensors.torch.save_file(network.state_dict(), folder / f"epoch-{epoch:02}.safetensors")
        digests = {path.name: sha256_file(path) for path in sorted(folder.glob("epoch-*"))}
        record = {
            **{"variant": name, "seed": seed, "identity": identity, "parent_fingerprint": sha256_json(identity)},
            "fingerprint": sha256_json({**identity, "seed": seed}),
            "normalization": {"mean": MEAN, "std": STD},
            "diverged": {"epoch": 1, "step": 2} if seed in diverged else None,
        }
        manifests.write_manifest(folder / paths.RUN_RECORD, digests, **record)
    profile = {
        **{"digest": data, "size": 28, "channels": 1, "classes": [str(digit) for digit in range(10)]},
        "splits": {"training": {"mean": MEAN, "std": STD}},
    }
    files.write_json(outputs / paths.PREPARED_TRAIN / paths.PROFILE, profile)


def random_pixels(count: int = 5, shape: tuple[int, ...] = (28, 28), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
