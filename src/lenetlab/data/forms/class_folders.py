"""Images in class folders, or with their labels in names like 17_5.png, in folders of sets or without sets."""

import re
import sys

from lenetlab.data.forms import entries, found
from lenetlab.data.forms.entries import IMAGE_NAME, Entry, Listing
from lenetlab.data.forms.found import Found, Picture
from lenetlab.data.forms.problems import Grouped
from lenetlab.errors import UserError

NUMBERED_NAME = re.compile(r"[0-9]{1,9}_([0-9]{1,3})\.png")
NEEDED = (
    "needed: train/CLASS/NAME.png, train/{number}_{label}.png, a CSV of file names, or data.pattern"
    " (docs/own-images.md)"
)


def find(listing: Listing) -> Found | None:
    """The images of a listing by their folders or names; None if there are none. UserError lists what has no class."""
    images = [entry for entry in listing.entries if IMAGE_NAME.fullmatch(entry.path)]
    listing.ignored["other files"] += len(listing.entries) - len(images)
    if not images:
        return None
    # Placed twice: keeping the places of a million files takes more memory than the files.
    numbered = all(len(folders) == 0 and NUMBERED_NAME.fullmatch(name) for _, folders, name in map(_placed, images))
    sets: dict[str, list[Picture]] = {}
    problems = Grouped()
    for entry, (kind, folders, name) in zip(images, map(_placed, images), strict=True):
        if numbered:
            label = NUMBERED_NAME.fullmatch(name)[1]  # type: ignore[index]
        elif len(folders) == 1:
            label = folders[0]
        else:
            what = "in folders within class folders" if folders else "in no class folder"
            problems.add("image", what, NEEDED, entry.path)
            continue
        sets.setdefault(kind or "all", []).append(Picture(entry.path, sys.intern(label), entry.read))
    if "all" in sets and len(sets) > 1:
        for picture in sets["all"]:
            problems.add("image", "outside of train/ and test/", NEEDED, picture.place)
    if lines := problems.lines():
        raise UserError(*lines)
    return Found(found.BY_NUMBER if numbered else found.CLASS_FOLDERS, dict(sets), dict(+listing.ignored))


def _placed(entry: Entry) -> tuple[str, list[str], str]:
    """The set (empty if none), the folders below it and the name of a file."""
    *folders, name = entry.path.split("/")
    kind = entries.set_of(folders[0]) if folders else ""
    return kind, folders[1:] if kind else folders, name
