"""What images are like before anything is declared about them: sizes, kinds, classes, and what is odd."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lenetlab.data import conversion, oddities
from lenetlab.data.forms.entries import natural
from lenetlab.data.forms.found import Found, Picture
from lenetlab.data.forms.problems import Grouped
from lenetlab.errors import UserError

ORDER = ("test", "extra", "validation", "train", "all")  # an image that is in two sets counts as one of the first
SHOWN = ("all", "train", "validation", "test", "extra")
MOST_NAMES = 12  # in a line
LIGHT = 128  # a background with a mean of at least this, of 255, is light
MIXED = 0.05  # from this share on, grey images with another background are told


@dataclass
class Survey:
    """Counts over all images of a source; images themselves are not kept."""

    form: str
    per_class: dict[str, Counter[str]]  # images by set and label
    ignored: dict[str, int]
    notes: list[str]
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # width and height in pixels
    stored: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)  # switches of data.accept
    coloured: int = 0
    within: int = 0  # images that are the same as another one of their set
    across: int = 0  # images that are the same as one of another set
    lost: Counter[str] = field(default_factory=Counter)  # by label: training images that are in the test set too
    two_labels: list[str] = field(default_factory=list)  # an image that has several labels; places
    blank: list[str] = field(default_factory=list)  # one colour alone; places
    light: int = 0  # grey images with a light background
    brightness: dict[str, float] = field(default_factory=dict)  # mean from 0 (black) to 1, by set

    @property
    def images(self) -> int:
        return sum(counts.total() for counts in self.per_class.values())

    @property
    def has_test_set(self) -> bool:
        return "test" in self.per_class

    @property
    def labels(self) -> list[str]:
        """All labels in natural order."""
        return sorted({label for counts in self.per_class.values() for label in counts}, key=natural)

    @property
    def training(self) -> dict[str, int]:
        """Images by label of which a network can learn, before a test set or a validation set is split off."""
        total = Counter[str]()
        for name in ("train", "validation", "all"):
            total += self.per_class.get(name, Counter())
        return {label: total[label] - self.lost[label] for label in self.labels}


def look(found: Found, source: Path) -> Survey:
    """Decode every image of a source once. UserError lists those that are none, equal problems grouped."""
    sets = {name: found.sets[name] for name in ORDER if found.sets.get(name)}
    survey = Survey(found.form, {name: Counter() for name in sets}, dict(found.ignored), list(found.notes))
    if not sets:
        raise UserError(f"{source}: contains no images")
    seen: dict[str, dict[bytes, str]] = {name: {} for name in sets}  # label of the first image with these pixels
    problems = Grouped()
    with tqdm(total=sum(map(len, sets.values())), desc="looking", unit="image", disable=None, leave=False) as bar:
        for name, pictures in sets.items():
            brightness = 0.0
            for picture, decoded in _decoded(pictures, problems):
                bar.update()
                survey.per_class[name][picture.label] += 1
                _count(survey, picture, decoded)
                _count_repetitions(survey, name, picture, decoded.pixels, seen)
                brightness += float(decoded.pixels.mean()) / 255
            survey.brightness[name] = brightness / max(1, survey.per_class[name].total())
    if lines := problems.lines():
        raise UserError(*(f"{source}: {line}" for line in lines))
    return survey


def _decoded(pictures: Iterable[Picture], problems: Grouped) -> Iterator[tuple[Picture, conversion.Decoded]]:
    """Every picture that can be decoded; places of the others are added to `problems`."""
    for picture in pictures:
        try:
            yield picture, conversion.decode(picture.content())
        except conversion.Refused as refused:
            problems.add(refused.noun, refused.what, refused.remedy, picture.place)


def _count(survey: Survey, picture: Picture, decoded: conversion.Decoded) -> None:
    pixels = decoded.pixels
    survey.sizes[pixels.shape[1], pixels.shape[0]] += 1
    survey.stored[decoded.stored] += 1
    survey.losses.update(decoded.losses)
    if pixels.ndim == 3:
        survey.coloured += 1
    elif _border(pixels).mean() >= LIGHT:
        survey.light += 1
    if (pixels == pixels[0, 0]).all():
        survey.blank.append(picture.place)


def _border(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _count_repetitions(
    survey: Survey, name: str, picture: Picture, pixels: NDArray[np.uint8], seen: dict[str, dict[bytes, str]]
) -> None:
    digest = sha256(b"%d %d:%b" % (*pixels.shape[:2], pixels.tobytes())).digest()[:16]
    first_set = next((other for other, digests in seen.items() if digest in digests), None)
    if first_set is None:
        seen[name][digest] = picture.label
        return
    if seen[first_set][digest] != picture.label:
        survey.two_labels.append(picture.place)
    if first_set == name:
        survey.within += 1
        return
    survey.across += 1
    if name in ("validation", "train") and first_set == "test":
        survey.lost[picture.label] += 1


def odd(survey: Survey) -> Iterator[str]:
    """What the user should know before anything is trained, a line each."""
    yield from survey.notes
    if survey.two_labels:
        yield f"{_number(survey.two_labels, 'image')} the same as an image of another class: at most one label is right"
    if survey.blank:
        yield f"{_number(survey.blank, 'image')} blank: one colour alone"
    grey = survey.images - survey.coloured
    if grey and survey.light == grey:
        yield "the background is light, that of MNIST is dark: this trains as well, but images are padded with black"
    elif min(survey.light, grey - survey.light) > MIXED * grey:
        dark = grey - survey.light
        yield f"the background of {survey.light:,} grey images is light, of {dark:,} dark: are some inverted?"
    levels = survey.brightness
    if max(levels.values()) - min(levels.values()) > oddities.DIFFERENT_MEANS:
        means = ", ".join(f"{value:.2f} in {name}" for name, value in sorted(levels.items()))
        yield f"the mean brightness differs between the sets ({means}): were they made in the same way?"
    yield from _unequal_classes(survey)


def _number(places: list[str], what: str) -> str:
    if len(places) == 1:
        return f"1 {what} ({places[0]}) is"
    return f"{len(places):,} {what}s (the first is {places[0]}) are"


def _unequal_classes(survey: Survey) -> Iterator[str]:
    counts = survey.training
    median = sorted(counts.values())[len(counts) // 2]
    if missing := [label for label, count in counts.items() if count == 0]:
        yield f"without training images: {_names(missing)}; no network can learn these classes"
    if rare := [f"{label} ({count:,})" for label, count in counts.items() if 0 < count < oddities.RARE * median]:
        yield f"far rarer than the others: {_names(rare)}; half of the classes have {median:,} images or more"
    if "test" in survey.per_class and (untested := [label for label in counts if not survey.per_class["test"][label]]):
        yield f"without test images: {_names(untested)}"


def _names(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    if len(sizes) <= MOST_NAMES:
        return ", ".join(f"{width}×{height} ({count:,})" for (width, height), count in sizes.most_common())
    widths, heights = zip(*sizes, strict=True)
    return (
        f"{len(sizes):,} different ones, {min(widths)} to {max(widths)} wide and {min(heights)} to {max(heights)} high"
    )


def summary(survey: Survey) -> Iterator[str]:
    """What was found, as lines for the user."""
    yield f"found: {survey.form}, {survey.images:,} images of {len(survey.labels):,} classes"
    for name, counts in sorted(survey.per_class.items(), key=lambda item: SHOWN.index(item[0])):
        fewest, most = min(counts[label] for label in survey.labels), max(counts.values())
        each = f"{fewest:,} to {most:,}" if fewest < most else f"{most:,}"
        yield f"  {name}: {counts.total():,} images, {each} per class"
    total = sum(survey.per_class.values(), Counter[str]())
    yield f"classes: {_names([f'{label} ({total[label]:,})' for label in survey.labels])}"
    yield f"sizes: {_sizes(survey.sizes)}"
    colour = {0: "all grey in content", survey.images: "all in colour"}.get(
        survey.coloured, f"{survey.coloured:,} in colour, the others grey in content"
    )
    yield f"stored as: {_names([f'{kind} ({count:,})' for kind, count in survey.stored.most_common()])}; {colour}"
    yield f"the same image again: {survey.within:,} within a set, {survey.across:,} in another set"
    if survey.ignored:
        yield f"ignored: {_names([f'{what} ({count:,})' for what, count in survey.ignored.items()])}"
    for line in odd(survey):
        yield f"note: {line}"
