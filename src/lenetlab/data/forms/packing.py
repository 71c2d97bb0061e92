"""Pictures of any form as the files of a canonical archive; what cannot be packed is told in groups."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lenetlab.data import conversion, png
from lenetlab.data.forms.entries import natural
from lenetlab.data.forms.found import IDX, PATTERN, PIXEL_TABLE, Picture
from lenetlab.data.forms.problems import Grouped
from lenetlab.errors import UserError
from lenetlab.settings import schema
from lenetlab.settings.messages import quoted
from lenetlab.settings.study_schema import NO_PATTERN, DataSettings

MAX_CLASSES_SHOWN = 30
MAX_KINDS = 3  # of images that need the same switches, in lines of their own


@dataclass(frozen=True)
class Target:
    """What `data` in params.yaml declares of all images; without arguments that of MNIST."""

    kind: schema.ImageKind = field(default_factory=schema.ImageKind)
    classes: tuple[str, ...] = tuple("0123456789")
    accept: tuple[str, ...] = ()
    test_share: float = 0.0  # of the images of a source without a test set
    pattern: str = NO_PATTERN

    @classmethod
    def of(cls, data: DataSettings) -> "Target":
        return cls(data.kind, data.classes, data.accept, data.test_share, data.pattern)


@dataclass
class Packing:
    """Packs images as a target declares them, and keeps what was converted and what is wrong."""

    target: Target
    changes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # by set
    problems: Grouped = field(default_factory=Grouped)
    missing: dict[tuple[str, ...], set[tuple[str, str]]] = field(default_factory=dict)  # kinds of images by switches

    def labelled(self, pictures: Iterable[Picture], index: dict[str, int], part: str) -> Iterator[tuple[str, bytes]]:
        """Name and content of a canonical file per picture of the set `part`, numbered by position.

        `index` is that of each class.
        """
        for number, picture in enumerate(pictures):
            if content := self._converted(picture, part):
                yield f"{number:05d}_{index[picture.label]}.png", content

    def named(self, files: Iterable[tuple[str, bytes]], source: str, part: str) -> Iterator[tuple[str, bytes]]:
        """Files named {number}_{label}.png: of the canonical kind unchanged, as are damaged ones; others converted.

        The stage prepare checks every name and file and says what is damaged.
        """
        start = png.start(self.target.kind.size, self.target.kind.channels)
        for name, content in files:
            if content.startswith(start):
                yield name, content
                continue
            try:
                packed = conversion.convert(content, self.target.kind, self.target.accept)
            except conversion.Damaged:
                yield name, content
            except conversion.Refused as problem:
                self._note(problem, f"{source}/{name}")
            else:
                self.changes[part][packed.change] += 1
                yield name, packed.content

    def _converted(self, picture: Picture, part: str) -> bytes:
        """A canonical PNG file; empty, and the problem noted, if there is none."""
        try:
            packed = conversion.convert(picture.content(), self.target.kind, self.target.accept)
        except conversion.Refused as problem:
            self._note(problem, picture.place)
            return b""
        self.changes[part][packed.change] += 1
        return packed.content

    def _note(self, problem: conversion.Refused, place: str) -> None:
        self.problems.add(problem.noun, problem.what, problem.remedy, place)
        if problem.missing:
            self.missing.setdefault(problem.missing, set()).add((problem.what, problem.remedy))

    def _merge_kinds(self) -> None:
        """Put images of many kinds, such as photos of all sizes, into one problem if the same switches take them."""
        places = self.problems.places
        for switches, kinds in self.missing.items():
            if len(kinds) > MAX_KINDS:
                keys = [key for key in places if key[0] == "image" and key[1:] in kinds]
                what = f"of {len(keys):,} kinds, such as {keys[0][1]}"
                merged = [place for key in keys for place in places.pop(key)]
                places["image", what, f"remedy: add {', '.join(switches)} to data.accept"] = merged

    def finish(self, source: str) -> list[str]:
        """What was converted, a line each. UserError if something was wrong."""
        self._merge_kinds()
        if lines := self.problems.lines():
            raise UserError(*(f"{source}: {line}" for line in lines))
        changes = sum(self.changes.values(), Counter[str]())
        return [f"{count:,} images converted: {change}" for change, count in sorted(changes.items()) if change]

    def conversions(self) -> dict[str, dict[str, int]]:
        """How many images of each set were changed, and how; sets without such images are left out."""
        changed = {
            part: {change: count for change, count in sorted(changes.items()) if change}
            for part, changes in self.changes.items()
        }
        return {part: changes for part, changes in changed.items() if changes}


def class_index(form: str, pictures: Iterable[Picture], classes: Sequence[str], source: str) -> dict[str, int]:
    """The index of every class by its name. UserError if a picture has another label.

    The numbers 0 to n - 1 in IDX files, CSV files of pixels and file names stand for n classes with names.
    """
    index = {name: place for place, name in enumerate(classes)}
    counts = Counter(picture.label for picture in pictures)
    numbers = {str(place): place for place in range(len(classes))}
    if form in (IDX, PIXEL_TABLE, PATTERN) and not counts.keys() & index.keys() and counts.keys() == numbers.keys():
        return numbers
    if unknown := [label for label in counts if label not in index]:
        labels = sorted(counts, key=natural)
        shown = ", ".join(quoted(label) for label in labels[:MAX_CLASSES_SHOWN])
        more = f" and {len(counts) - MAX_CLASSES_SHOWN} more" if len(counts) > MAX_CLASSES_SHOWN else ""
        images = sum(counts[label] for label in unknown)
        raise UserError(
            f"{source}: {images:,} images have labels that are not in data.classes; found: {shown}{more}; remedy:"
            f" lenetlab import {source} --write, or these names as data.classes"
        )
    return index


def numbered(pictures: Iterable[Picture]) -> Iterator[tuple[str, bytes]]:
    """File name and content of pictures in files named {number}_{label}.png."""
    for picture in pictures:
        content = picture.content()
        if isinstance(content, bytes):
            yield picture.place.rpartition("/")[2], content
