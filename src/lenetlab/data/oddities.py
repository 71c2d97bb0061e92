"""What is odd about images, though allowed: told before training, so that a wrong set is not trained by mistake."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lenetlab.data.image_files import Images

BRIGHT = 0.5  # mean of the pixels in [0, 1] from which images are mostly bright
DIFFERENT_MEANS = 0.1  # of the pixels in [0, 1]; the sets of MNIST differ by 0.002
RARE = 0.1  # of the median number of images of a class
BLOCK = 1000  # images that are looked at together
MOST_NAMES = 10  # classes in a line


def find(train: Images, test: Images, classes: Sequence[str]) -> list[str]:
    """A line for everything that is odd; none for most sets. Both sets have images, and labels below len(classes)."""
    sets = {"training": train, "test": test}
    lines = [line for name, images in sets.items() for line in _constant_images(name, images)]
    lines += _different_means(_mean(train.pixels), _mean(test.pixels), grey=train.pixels.ndim == 3)
    if missing := missing_classes(test, classes):
        lines.append(f"no test images of {missing}: test accuracy says nothing about how these are read")
    return lines + _rare_classes(train, classes) + _several_labels(sets, classes)


def missing_classes(images: Images, classes: Sequence[str]) -> str:
    """The classes without images, as `named` says it; empty if there are none."""
    missing = np.flatnonzero(np.bincount(images.labels, minlength=len(classes)) == 0).tolist()
    return named(missing, classes) if missing else ""


def named(labels: Sequence[int], classes: Sequence[str]) -> str:
    """Such as "class 'cat', 'dog'"."""
    return f"class {_listed([repr(classes[label]) for label in labels])}"


def _constant_images(name: str, images: Images) -> list[str]:
    """Images whose pixels all have the same colour."""
    flat = images.pixels.reshape(len(images.pixels), -1, 1 if images.pixels.ndim == 3 else 3)
    constant = np.zeros(len(flat), dtype=bool)
    for start in range(0, len(flat), BLOCK):
        block = flat[start : start + BLOCK]
        constant[start : start + BLOCK] = (block.min(axis=1) == block.max(axis=1)).all(axis=1)
    if not constant.any():
        return []
    return [f"{name} images of one colour alone: {constant.sum()}, the first is {images.names[constant.argmax()]!r}"]


def _mean(pixels: NDArray[np.uint8]) -> float:
    return float(pixels.mean(dtype=np.float64)) / 255


def _different_means(train: float, test: float, grey: bool) -> list[str]:
    """Of the means of the pixels in [0, 1] of both sets."""
    means = f"(mean {train:.2f} in training, {test:.2f} in the test set; black is 0, white is 1)"
    if grey and (train > BRIGHT) != (test > BRIGHT) and abs(train - test) > DIFFERENT_MEANS:
        bright, dark = ("training", "test") if train > test else ("test", "training")
        return [
            f"the {bright} images are mostly bright and the {dark} images mostly dark: is one set inverted? {means}"
        ]
    lines = []
    if abs(train - test) > DIFFERENT_MEANS:
        lines.append(f"the training and the test images differ in brightness {means}")
    if grey and min(train, test) > BRIGHT:
        lines.append(
            f"the images are mostly bright; padding adds black, and images like MNIST's are white on black {means}"
        )
    return lines


def _rare_classes(train: Images, classes: Sequence[str]) -> list[str]:
    counts = np.bincount(train.labels, minlength=len(classes))
    median = float(np.median(counts))
    rare = [f"{classes[label]!r} ({counts[label]})" for label in np.flatnonzero(counts < RARE * median).tolist()]
    if not rare:
        return []
    return [f"far fewer training images than of most classes (median {median:g}): {_listed(rare)}"]


def _several_labels(sets: dict[str, Images], classes: Sequence[str]) -> list[str]:
    """Images that appear with several labels, within a set or across both."""
    first_of: dict[str, tuple[str, int]] = {}  # file name and label by digest
    contradictions: dict[str, str] = {}  # by digest
    for images in sets.values():
        for name, label, digest in zip(images.names, images.labels.tolist(), images.digests, strict=True):
            first, first_label = first_of.setdefault(digest, (name, label))
            if label != first_label and digest not in contradictions:
                contradictions[digest] = (
                    f"{first!r} ({classes[first_label]!r}) is the same image as {name!r} ({classes[label]!r})"
                )
    if not contradictions:
        return []
    return [f"images with several labels: {len(contradictions)}; the first: {next(iter(contradictions.values()))}"]


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return ", ".join([*names[:MOST_NAMES], *more])
