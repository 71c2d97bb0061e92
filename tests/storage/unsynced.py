"""What a power cut undoes: bytes that were written to files, and names that changed in folders, since the last sync."""

# ruff: noqa: PTH112, PTH114, PTH116, PTH119, PTH120, PTH208  (these functions see every path)

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lenetlab.storage import exchange

# The real functions, because tests replace those of `os`.
_link, _rename, _truncate, _exchange = os.link, os.rename, os.truncate, exchange.exchange

Inode = tuple[int, int]  # device and number
Place = tuple[Inode, str]  # inode of the folder and the name in it


@dataclass
class NameChange:
    """A name that was added, removed or changed. It is durable as soon as these folders are synced."""

    folders: set[Inode]
    undo: Callable[[], None]


class UnsyncedChanges:
    """Bytes of files and names in folders that are not durable yet.

    Folders are known by their inodes, because a folder may be renamed before a change in it must be undone.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        # Removed files are kept here, so that a power cut can restore them.
        self.removed_files = Path(tempfile.mkdtemp(dir=folders[0].parent, prefix=".removed-"))
        self.kept = 0
        self.durable_bytes: dict[Inode, int] = {}  # of files with unsynced bytes: length of their durable beginning
        self.name_changes: list[NameChange] = []  # oldest first

    def written(self, inode: Inode, offset: int) -> None:
        """The bytes of a file from `offset` on have changed."""
        self.durable_bytes[inode] = min(self.durable_bytes.get(inode, offset), offset)

    def synced(self, inode: Inode) -> None:
        self.durable_bytes.pop(inode, None)
        for change in self.name_changes:
            change.folders.discard(inode)
        self.name_changes = [change for change in self.name_changes if change.folders]

    def added(self, path: str) -> None:
        place = _place(path)
        self.name_changes.append(NameChange({place[0]}, partial(self._remove, place)))

    def keep(self, path: str) -> Path | None:
        """Give a file that will be removed or replaced another name, which is returned.

        An empty folder is moved, so that no other folder gets its inode. A folder that is not empty is not kept.
        """
        folder = os.path.isdir(path) and not os.path.islink(path)
        if not os.path.lexists(path) or (folder and os.listdir(path)):
            return None
        copy = self._new_name()
        if folder:
            _rename(path, copy)
        else:
            _link(path, copy, follow_symlinks=False)
        return copy

    def removed(self, path: str, kept: Path) -> None:
        place = _place(path)
        self.name_changes.append(NameChange({place[0]}, partial(self._restore, place, kept)))

    def renamed(self, old: str, new: str, kept: Path | None) -> None:
        """`kept` is the file that had the name `new` before."""
        source, target = _place(old), _place(new)
        self.name_changes.append(NameChange({source[0], target[0]}, partial(self._move_back, source, target, kept)))

    def exchanged(self, first: str, second: str) -> None:
        places = _place(first), _place(second)
        self.name_changes.append(NameChange({place[0] for place in places}, partial(self._exchange, *places)))

    def cut_power(self, data: float, names: float) -> None:
        """Undo what is not durable, except for the first share `names` of the name changes, and `data` of the bytes."""
        for change in reversed(self.name_changes[round(names * len(self.name_changes)) :]):
            change.undo()
        for path in files_below(self.folders):
            status = path.lstat()
            durable = self.durable_bytes.get((status.st_dev, status.st_ino))
            if durable is not None and stat.S_ISREG(status.st_mode):
                _truncate(path, durable + int(data * max(status.st_size - durable, 0)))
        self.close()

    def close(self) -> None:
        shutil.rmtree(self.removed_files, ignore_errors=True)

    def _new_name(self) -> Path:
        self.kept += 1
        return self.removed_files / str(self.kept)

    def _find(self, place: Place) -> Path | None:
        """The present path of a place; None if its folder no longer exists."""
        for top in self.folders:
            for folder in (top.parent, *(Path(name) for name, _, _ in os.walk(top))):
                if inode_of(folder) == place[0]:
                    return folder / place[1]
        return None

    def _remove(self, place: Place) -> None:
        path = self._find(place)
        if path and os.path.lexists(path):
            _rename(path, self._new_name())

    def _restore(self, place: Place, kept: Path) -> None:
        path = self._find(place)
        if path:
            _rename(kept, path)

    def _move_back(self, source: Place, target: Place, kept: Path | None) -> None:
        old, new = self._find(source), self._find(target)
        if old and new and os.path.lexists(new):  # a folder that no longer exists cannot get its name back
            _rename(new, old)
            if kept:
                self._restore(target, kept)

    def _exchange(self, first: Place, second: Place) -> None:
        one, other = self._find(first), self._find(second)
        if one and other:
            _exchange(one, other)


def inode_of(path: Any) -> Inode:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def files_below(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            yield from (Path(parent, name) for name in names)


def _place(path: str) -> Place:
    return inode_of(os.path.dirname(path)), os.path.basename(path)
