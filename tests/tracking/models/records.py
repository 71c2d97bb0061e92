"""Made-up outputs whose networks can be logged: run.json with all keys, and weights that fit."""

from pathlib import Path

import safetensors.torch

from lenetlab.networks import build
from lenetlab.settings import schema
from lenetlab.storage import files, manifests
from lenetlab.storage.digests import sha256_file

SHARED = ("variant", "seed", "fingerprint", "parent_fingerprint", "identity", "normalization")


def complete(outputs: Path, with_networks: bool = False) -> None:
    """Give every run.json the keys that training writes; with networks, every seed gets weights that can be loaded."""
    for journal in sorted(outputs.glob("journals/*/seed-*.jsonl")):
        start = files.read_json_lines(journal)[0]
        folder = outputs / "runs" / start["variant"] / f"seed-{start['seed']}"
        if with_networks:
            definition = schema.Variant.model_validate(start["identity"]["definition"])
            network = build.build_network(definition, start["seed"])
            for path in folder.glob("epoch-*.safetensors"):
                safetensors.torch.save_file(network.state_dict(), path)
        digests = {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.name != "run.json"}
        record = {key: start[key] for key in SHARED}
        manifests.write_manifest(folder / "run.json", digests, **record, diverged=None)
