"""What a user changed in MLflow. Runs and experiments remember which tags were sent, so that a change is noticed.

A tag is written only while it is absent or still has the value that was sent. So notes, values and deletions of a user
stay, and everything else follows the outputs.
"""

import json
from collections.abc import Mapping
from typing import Any

from lenetlab.storage.digests import sha256

HIDDEN = "mlflow.lenetlab."  # MLflow's pages do not show tags that begin with `mlflow.`
IDENTITY, ORIGIN = f"{HIDDEN}identity", f"{HIDDEN}origin"
WEIGHTS = f"{HIDDEN}weights"
MEMORY = f"{HIDDEN}sent_tags"  # JSON: by tag, the digest of the value sent; "-" before it if the tag was removed since
SENT_METRICS = f"{HIDDEN}sent_metrics"  # digest of the metrics that were sent; empty while they are being sent
SENT_ARTIFACTS = f"{HIDDEN}artifacts"  # digest of the list of artifacts; empty while artifacts are being replaced
# Names that earlier versions gave to these tags.
EARLIER = {
    name.removeprefix(HIDDEN): name for name in (IDENTITY, ORIGIN, WEIGHTS, MEMORY, SENT_METRICS, SENT_ARTIFACTS)
}
NOTE = "mlflow.note.content"
EXPERIMENT = "dvc_experiment"
# Tags that this program reads back; they always say what the outputs say, and are never removed.
RECORD = {"fingerprint", EXPERIMENT, IDENTITY, "seed", WEIGHTS, ORIGIN, "mlflow.parentRunId"}
# Tags that the memory leaves out. It has EXPERIMENT, without which a run would be taken for one of the committed study.
OTHERS = {
    MEMORY,
    SENT_METRICS,
    SENT_ARTIFACTS,
    "duplicate_of",
    "mlflow.runName",
    "mlflow.user",
    *(RECORD - {EXPERIMENT}),
}
REMOVED = "-"


def renamed(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a run or an experiment, which an earlier version may have sent, by their present names."""
    present = {key: value for key, value in tags.items() if key not in EARLIER}
    return {EARLIER[key]: value for key, value in tags.items() if key in EARLIER} | present


def changes(wanted: Mapping[str, str], tags: Mapping[str, str], removing: bool) -> tuple[dict[str, str], list[str]]:
    """How to make `tags`, the present ones, say what `wanted` says: tags to set, and tags to remove after that.

    What the user changed stays. With `removing`, tags that were sent earlier and are no longer wanted go. The tags to
    set include MEMORY: if the process is killed between setting and removing, the next one still removes.
    """
    memory = _remembered(tags)
    to_set = {key: value for key, value in wanted.items() if tags.get(key) != value and _is_ours(key, tags, memory)}
    kept = {*wanted, *OTHERS, EXPERIMENT} if removing else set(memory)
    to_remove = [key for key in memory if key in tags and key not in kept and _is_ours(key, tags, memory)]
    after = {**tags, **to_set}
    memory |= {key: _digest(value) for key, value in wanted.items() if key not in OTHERS and after.get(key) == value}
    memory |= {key: REMOVED + _digest(tags[key]) for key in to_remove}
    text = json.dumps(memory, sort_keys=True)
    return (to_set if tags.get(MEMORY) == text else {**to_set, MEMORY: text}), to_remove


def is_of_experiment(tags: Mapping[str, str], experiment: str | None) -> bool:
    """Whether a run belongs to this DVC experiment (None: to none), even if the user changed the tag that says so."""
    return _remembered(tags).get(EXPERIMENT) == (_digest(experiment) if experiment else None)


def holds_user_content(tags: Mapping[str, str], name: str) -> bool:
    """Whether the user added, changed or removed a tag of a run, or renamed it; `name` is the one that was sent."""
    memory = _remembered(tags)
    if tags.get("mlflow.runName", name) != name:
        return True
    if any(key not in tags and not digest.startswith(REMOVED) for key, digest in memory.items()):
        return True
    return any(key not in OTHERS and memory.get(key) != _digest(value) for key, value in tags.items())


def _remembered(tags: Mapping[str, str]) -> dict[str, str]:
    """The content of the tag MEMORY. Without one, from an earlier version, all tags but the note count as sent."""
    try:
        memory: Any = json.loads(tags.get(MEMORY, ""))
    except ValueError:
        memory = None
    if isinstance(memory, dict):
        return {key: str(digest) for key, digest in memory.items()}
    return {key: _digest(value) for key, value in tags.items() if key not in (NOTE, *OTHERS)}


def _is_ours(key: str, tags: Mapping[str, str], memory: Mapping[str, str]) -> bool:
    if key in RECORD:
        return True
    if key in tags:
        return memory.get(key, "").removeprefix(REMOVED) == _digest(tags[key])
    return key not in memory or memory[key].startswith(REMOVED)


def _digest(value: str) -> str:
    return sha256(value.encode())[:8]
