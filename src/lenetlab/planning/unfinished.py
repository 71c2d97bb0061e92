"""Which trainings of a study are still to be done, as far as files tell without torch."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lenetlab.settings import study_schema
from lenetlab.storage import code, files, paths, provenance

FINISHED = "finished.json"  # in a folder of progress: its training has finished


def count(study: study_schema.Study) -> dict[str, int]:
    """Seeds to train, by variant.

    None if `runs` has them all, as then nothing runs; else those without finished progress, as then `runs` is made
    again. Versions of torch and the device are not compared.
    """
    resumable = [folder for folder in paths.resume_folder().glob("*") if (folder / FINISHED).exists()]
    outputs = [folder for name in study.study for folder in (paths.RUNS / name).glob("seed-*")]
    if not resumable and not outputs:
        return {name: len(study.seeds_of(name)) for name in study.study}
    is_current = _current(study)
    kept, finished = _trainings(outputs, is_current), _trainings(resumable, is_current)
    to_do = {}
    for name in study.study:
        wanted = {(name, seed) for seed in study.seeds_of(name)}
        to_do[name] = 0 if wanted <= kept else len(wanted - finished)
    return to_do


def _current(study: study_schema.Study) -> Callable[[dict[str, Any]], bool]:
    """Whether an identity has the present settings, code and prepared data (if there are any)."""
    recipes = {name: provenance.recipe(study, name) for name in study.study}
    trainer, data = code.code_digest(code.TRAINER), prepared_profile().get("digest")

    def is_current(identity: dict[str, Any]) -> bool:
        recipe = {key: identity[key] for key in ("definition", "training")}
        same_data = data is None or identity["data"] == data
        return same_data and identity["code"] == trainer and recipes.get(identity["variant"]) == recipe

    return is_current


def prepared_profile() -> dict[str, Any]:
    """profile.json of the prepared training data; empty if there is none that can be read."""
    try:
        profile = files.read_json(paths.PREPARED_TRAIN / paths.PROFILE)
    except (OSError, ValueError):
        return {}
    return profile if isinstance(profile, dict) else {}


def _trainings(folders: Iterable[Path], is_current: Callable[[dict[str, Any]], bool]) -> set[tuple[str, int]]:
    """Variant and seed of each folder's run.json; a file that cannot be read counts as none."""
    found = set()
    for folder in folders:
        try:
            record = files.read_json(folder / paths.RUN_RECORD)
            if is_current(record["identity"]):
                found.add((record["variant"], record["seed"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
