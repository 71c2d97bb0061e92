"""Which form a source of images has, and all its images."""

from pathlib import Path

from lenetlab.data.forms import class_folders, entries, idx, patterns, tables
from lenetlab.data.forms.found import Found
from lenetlab.errors import UserError
from lenetlab.settings.study_schema import NO_PATTERN

ALLOWED = (
    "allowed: class folders, {number}_{label}.png, data.pattern, IDX files or a CSV, in a folder, tar, tar.gz or zip"
    " (docs/own-images.md)"
)


def find(source: Path, pattern: str = NO_PATTERN) -> Found:
    """The images of a folder, archive or CSV file, in natural order of their paths; with a pattern, image files only.

    Names and sizes are checked, images are not read. UserError lists everything that is wrong with the source.
    """
    listing = entries.read_source(source, with_outer_folders=pattern != NO_PATTERN)
    try:
        if pattern != NO_PATTERN:
            return patterns.find(listing, pattern)
        found = idx.find(listing) or tables.find(listing) or class_folders.find(listing)
    except UserError as error:
        raise UserError(*(f"{source}: {problem}" for problem in error.problems)) from None
    if found is None:
        ignored = ", ".join(f"{count:,} {what}" for what, count in listing.ignored.items() if count)
        raise UserError(f"{source}: contains no images{f' (ignored: {ignored})' if ignored else ''}; {ALLOWED}")
    return found


def guess_pattern(source: Path) -> str:
    """A pattern with which the images of a source have labels in their names; empty if none is plausible."""
    paths = [entry.path for entry in entries.read_source(source).entries if entries.IMAGE_NAME.fullmatch(entry.path)]
    return patterns.guess([path.rpartition("/")[2] for path in paths]) if paths else ""
