"""Which form a source of images has, and all its images."""

from pathlib import Path

from lenetlab.data.forms.found import Found


def find(source: Path) -> Found:
    """The images of a folder, archive or CSV file. UserError lists everything that is wrong with it."""
    raise NotImplementedError(source)
