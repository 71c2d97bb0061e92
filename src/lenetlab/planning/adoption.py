"""lenetlab import: look at images, propose settings for them, and write these to params.yaml."""

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from lenetlab.data.forms import found, search
from lenetlab.errors import UserError
from lenetlab.planning import proposal, survey
from lenetlab.settings import edit, params, study_schema, yaml_file
from lenetlab.settings.study_schema import NO_PATTERN
from lenetlab.storage import files, paths


def adopt(source: Path, *, write: bool) -> Iterator[str]:
    """What was found and is proposed, as lines; with `write`, params.yaml is changed.

    UserError if there is something wrong with the source or with params.yaml, which then stays as it is.
    """
    old_text = yaml_file.read_yaml_text(paths.PARAMS)
    old = params.parse(paths.PARAMS, old_text)
    place = source.expanduser()
    if paths.RAW.resolve().is_relative_to(place.resolve()):
        raise UserError(
            f"{source}: holds the outputs of the pipeline ({paths.RAW});"
            " remedy: move the images to a folder of their own"
        )
    if place.suffix == ".toml":
        raise UserError(f"{source}: says what to download; remedy: set data.source in {paths.PARAMS} to it")
    images, pattern, guessed = _images(place, old)
    looked = survey.look(images, place)
    yield from survey.summary(looked)
    values = proposal.propose(looked, _as_source(place), old)
    if pattern != old.data.pattern:
        values["data", "pattern"] = json.dumps(pattern, ensure_ascii=False) if guessed else pattern
    if guessed:
        yield f"note: data.pattern {pattern!r} is a guess from the file names: are the classes above what is meant?"
    for note in proposal.notes(looked, values):
        yield f"note: {note}"
    new_text = edit.with_values(paths.PARAMS, old_text, values)
    new = params.parse(paths.PARAMS, new_text)
    if new_text == old_text:
        yield f"{paths.PARAMS} suits these images already; next: make repro"
        return
    if write:
        files.write_text(paths.PARAMS, new_text)
    yield f"{paths.PARAMS}, with - what it had and + what {'was written' if write else '--write would write'}:"
    yield from _difference(old_text, new_text)
    if removed := [name for name in old.variants if name not in new.variants]:
        yield f"variants for other images, {'' if write else 'to be '}removed: {', '.join(removed)}"
    yield "next: make repro" if write else "next: the same command with --write, then make repro"


def _images(place: Path, old: study_schema.Study) -> tuple[found.Found, str, bool]:
    """The images of a source, the pattern of their names, and whether it is a guess.

    A pattern in params.yaml is used if it was declared for this source. UserError as that of `search.find`.
    """
    if old.data.pattern != NO_PATTERN and _as_source(place) == old.data.source:
        return search.find(place, old.data.pattern), old.data.pattern, False
    try:
        return search.find(place), NO_PATTERN, False
    except UserError:
        if pattern := search.guess_pattern(place):
            return search.find(place, pattern), pattern, True
        raise


def _as_source(place: Path) -> str:
    """Relative to the project if the images are in it; else absolute, so that experiments in a copy find them too."""
    project, images = Path.cwd().resolve(), place.resolve()
    return str(images.relative_to(project) if images.is_relative_to(project) else images)


def _difference(old: str, new: str) -> Iterator[str]:
    """The lines that differ, without comments and the blocks of variants."""
    before, after = (text.partition("\nvariants:")[0].splitlines() for text in (old, new))
    for line in difflib.unified_diff(before, after, n=0, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield re.sub(r"\s+#.*", "", line)
