"""Which form a source of images has, and all its images."""

from pathlib import Path

from lenetlab.data.forms import class_folders, entries, idx, tables
from lenetlab.data.forms.found import Found
from lenetlab.errors import UserError

ALLOWED = (
    "allowed: class folders, {number}_{label}.png, IDX files or a CSV, in a folder, tar, tar.gz or zip"
    " (docs/own-images.md)"
)


def find(source: Path) -> Found:
    """The images of a folder, archive or CSV file, in natural order of their paths.

    Names and sizes are checked, images are not read. UserError lists everything that is wrong with the source.
    """
    listing = entries.read_source(source)
    try:
        found = idx.find(listing) or tables.find(listing) or class_folders.find(listing)
    except UserError as error:
        raise UserError(*(f"{source}: {problem}" for problem in error.problems)) from None
    if found is None:
        ignored = ", ".join(f"{count:,} {what}" for what, count in listing.ignored.items() if count)
        raise UserError(f"{source}: contains no images{f' (ignored: {ignored})' if ignored else ''}; {ALLOWED}")
    return found
