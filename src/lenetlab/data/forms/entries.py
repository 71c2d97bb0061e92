"""All files in a folder, tar, tar.gz or zip, under the same paths whichever it is.

Nothing is extracted. Links in a folder are followed to regular files, as DVC makes them; all others are refused.
"""

import gzip
import mmap
import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lenetlab.data import archive, conversion
from lenetlab.data.forms.problems import Grouped
from lenetlab.errors import UserError

MAX_FILE_BYTES = 2**26  # of an image
MAX_TOTAL_BYTES = 2**33  # of an archive when unpacked
MAX_PATH = 1000  # characters
COPY_BYTES = 2**20
ARCHIVE_NAME = re.compile(r"(.+)\.(tar|tar\.gz|tgz|zip|tar\.bz2|tbz2|tar\.xz|txz)", re.IGNORECASE)
IMAGE_NAME = re.compile(r".+\.(png|jpe?g|bmp|gif|webp|tiff?|p[gpb]m)", re.IGNORECASE)
NUMBER = re.compile("[0-9]+")
SYSTEM_FILES = {"thumbs.db": "Thumbs.db", "desktop.ini": "desktop.ini"}
FILES_ONLY = "allowed: regular files"


class Entry(NamedTuple):
    """A file in a folder or archive. There are many of these, and tuples keep garbage collection fast."""

    path: str  # within the source, with /
    size: int  # bytes
    read: Callable[[], bytes]  # UserError if it cannot be read


@dataclass
class Listing:
    """The files of a source in natural order, what was skipped and how often, and what is not allowed."""

    source: Path
    entries: list[Entry] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    problems: Grouped = field(default_factory=Grouped)

    def add(self, entry: Entry, rejected: tuple[str, str] | None = None) -> None:
        """Take a file, skip it, or note why it is not allowed."""
        path = entry.path.removeprefix("./")
        if archive.UNSAFE_PATH.search(path) or len(path) > MAX_PATH or not path.isprintable():
            what, remedy = "unsafe paths", "allowed: relative, printable paths without '..', backslash or drive letter"
            self.problems.add("file", what, remedy, entry.path)
        elif reason := _ignored(path):
            self.ignored[reason] += 1
        elif rejected:
            self.problems.add("file", *rejected, entry.path)
        elif entry.size > (MAX_FILE_BYTES if IMAGE_NAME.fullmatch(path) else MAX_TOTAL_BYTES):
            self.problems.add("file", "too large", f"allowed: up to {MAX_FILE_BYTES} bytes for an image", entry.path)
        elif len(self.entries) == archive.MAX_MEMBERS:
            raise UserError(f"more than {archive.MAX_MEMBERS} files; allowed: up to {archive.MAX_MEMBERS}")
        else:
            self.entries.append(entry if path == entry.path else entry._replace(path=path))


def natural(path: str) -> tuple[str, str]:
    """Sort key for paths: numbers in them by value, so 2.png comes before 10.png. There may be a million of these."""
    return NUMBER.sub(_by_length, path), path


def _by_length(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"\0{chr(len(digits))}{digits}"  # before all other text, shorter numbers first


def _ignored(path: str) -> str:
    """Why a file is skipped: what systems and programs add; empty if it is not."""
    folders, _, name = path.rpartition("/")
    if "__MACOSX" in folders.split("/"):
        return "__MACOSX"
    if archive.HIDDEN_PATH.search(path) or name == "Icon\r":
        return "hidden files"
    return SYSTEM_FILES.get(name.lower(), "")


def read_source(source: Path, *, with_outer_folders: bool = False) -> Listing:
    """The files of a folder, archive or other file `source`, by default without the folders that hold all of them.

    In a folder, archives named like train.tar.gz, or a single archive, stand for a folder with what is in them.
    UserError if it cannot be read.
    """
    listing = Listing(source)
    try:
        if source.is_dir():
            _add_folder(listing, source)
        elif ARCHIVE_NAME.fullmatch(source.name):
            _add_archive(listing, source, source.name)
        else:
            listing.add(Entry(source.name, source.stat().st_size, _File(str(source.parent), source.name)))
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror or error}") from None
    except UserError as error:
        raise UserError(*(f"{source}: {problem}" for problem in error.problems)) from None
    if lines := listing.problems.lines():
        raise UserError(*(f"{source}: {line}" for line in lines))
    _check_paths(source, [entry.path for entry in listing.entries])
    if not with_outer_folders:
        listing.entries = without_outer_folders(listing.entries)
    listing.entries.sort(key=lambda entry: natural(entry.path))
    return listing


def _check_paths(source: Path, paths: list[str]) -> None:
    """UserError if two files have one path, or two folders or archives stand for one set."""
    problems = Grouped()
    if len(set(paths)) < len(paths):  # counts of a million take more memory
        for path, count in Counter(paths).items():
            if count > 1:
                problems.add("path", "there twice", "allowed: one file per path", path)
    lines = problems.lines()
    names: dict[str, set[str]] = {}
    for path in paths:
        outer, slash, _ = path.partition("/")
        if slash and set_of(outer):
            names.setdefault(set_of(outer), set()).add(outer)
    for kind, found in sorted(names.items()):
        if len(found) > 1:
            lines.append(f"{' and '.join(sorted(found))} are both {kind}; needed: one of them")
    if lines:
        raise UserError(*(f"{source}: {line}" for line in lines))


def without_outer_folders(entries: list[Entry]) -> list[Entry]:
    """The entries without the folders that hold all of them, up to one that is named after a set."""
    while entries:
        outer, slash, _ = entries[0].path.partition("/")
        if not slash or set_of(outer) or not all(e.path.startswith(outer + "/") for e in entries):
            break
        entries = [entry._replace(path=entry.path[len(outer) + 1 :]) for entry in entries]
    return entries


SETS = {
    **dict.fromkeys(("train", "training", "trainset", "train_set", "training_set"), "train"),
    **dict.fromkeys(("test", "testing", "testset", "test_set", "t10k"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validation_set", "dev"), "validation"),
}


def set_of(name: str) -> str:
    """The set that a folder or archive is named after, in any case: train, test or validation; empty if none."""
    return SETS.get(name.lower(), "")


def _add_folder(listing: Listing, source: Path) -> None:
    archives: list[Path] = []
    folder = str(source)
    for path, place in _walk(folder):
        if reason := _ignored(path):
            listing.ignored[reason] += 1
            continue
        status = os.lstat(place)
        entry = Entry(path, status.st_size, _File(folder, path))
        if stat.S_ISLNK(status.st_mode):
            listing.add(*_followed(entry, place))
        elif not stat.S_ISREG(status.st_mode):
            listing.add(entry, ("not regular files", FILES_ONLY))
        elif (name := ARCHIVE_NAME.fullmatch(path)) and "/" not in path:
            archives.append(Path(place))
            if set_of(name[1]):
                _add_archive(listing, archives[-1], f"{name[1]}/")
        else:
            listing.add(entry)
    others = [place for place in archives if not set_of(ARCHIVE_NAME.sub(r"\1", place.name))]
    if len(others) == len(archives) == 1 and not listing.entries:
        _add_archive(listing, others[0], "")
    elif others:
        listing.ignored["archives that are not named after a set"] += len(others)


def _walk(source: str) -> Iterator[tuple[str, str]]:
    """Path within the source and place of everything in a folder that is no folder, and of hidden folders."""
    waiting = [(source, "")]
    while waiting:
        folder, prefix = waiting.pop()
        with os.scandir(folder) as found:
            for entry in found:
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    waiting.append((entry.path, f"{path}/"))
                else:
                    yield path, entry.path


def _followed(entry: Entry, place: str) -> tuple[Entry, tuple[str, str] | None]:
    """The file that a link leads to, or why it is not allowed."""
    try:
        target = Path(place).stat()
    except OSError:
        return entry, ("broken links", "remedy: dvc checkout, git annex get, or the files themselves")
    if stat.S_ISDIR(target.st_mode):
        return entry, ("links to folders", "allowed: links to files; remedy: the folder itself")
    if not stat.S_ISREG(target.st_mode):
        return entry, ("links to what is no regular file", FILES_ONLY)
    return entry._replace(size=target.st_size), None


@dataclass(slots=True, eq=False)
class _File:
    """Reads a file. This takes half the memory of a partial function, and shares the texts with others."""

    folder: str
    path: str

    def __call__(self) -> bytes:
        place = Path(self.folder, self.path)
        try:
            return place.read_bytes()
        except OSError as error:
            raise UserError(f"{place}: cannot be read: {error.strerror}") from None


def check_no_pointer(start: bytes, place: str, what: str) -> None:
    """UserError if a file, which starts so, is what Git LFS puts in place of it."""
    if start.startswith(conversion.LFS_POINTER):
        raise UserError(f"{place}: a pointer of Git LFS in place of the {what}; remedy: git lfs pull")


def _add_archive(listing: Listing, place: Path, prefix: str) -> None:
    """Add the files in an archive; `prefix` is the folder they stand for."""
    inner = Listing(place, ignored=listing.ignored, problems=listing.problems)
    with place.open("rb") as stream:
        start = stream.read(64)
    check_no_pointer(start, place.name, "archive")
    try:
        if start[:4] in (b"PK\3\4", b"PK\5\6"):
            _add_zip(inner, place)
        else:
            _add_tar(inner, _unpacked(place) if start.startswith(b"\x1f\x8b") else archive.open_tar(place))
    except UserError as error:
        raise UserError(*(f"{place.name}: {problem}" for problem in error.problems)) from None
    folder = prefix if prefix.endswith("/") else ""
    if not folder:
        for entry in inner.entries:
            listing.add(entry)
        return
    for entry in without_outer_folders(inner.entries):
        first, _, rest = entry.path.partition("/")
        inside = rest if set_of(first) == set_of(folder[:-1]) and rest else entry.path
        listing.add(entry._replace(path=folder + inside))


def _unpacked(place: Path) -> mmap.mmap:
    """The tar in a gzip file, in a file without a name, which goes with this process."""
    with tempfile.TemporaryFile() as unpacked:
        try:
            with gzip.open(place) as packed:
                size = 0
                while part := packed.read(COPY_BYTES):
                    size += len(part)
                    if size > MAX_TOTAL_BYTES:
                        raise UserError(f"more than {MAX_TOTAL_BYTES} bytes when unpacked; remedy: unpack it yourself")
                    unpacked.write(part)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"a damaged gzip file ({error}); remedy: get it again") from None
        if not size:
            raise UserError("an empty gzip file; allowed: a tar in it")
        unpacked.flush()
        return mmap.mmap(unpacked.fileno(), 0, access=mmap.ACCESS_READ)


def _add_tar(listing: Listing, tar: mmap.mmap) -> None:
    for member in archive.tar_members(tar):
        rejected = None
        if member.rejected:
            rejected = (member.rejected.partition(";")[0], f"{FILES_ONLY}; remedy: pack with tar --dereference")
        listing.add(Entry(member.path, member.size, _TarMember(tar, member.start, member.size)), rejected)


@dataclass(slots=True, eq=False)
class _TarMember:
    """Reads a file in a tar."""

    tar: mmap.mmap
    start: int
    size: int

    def __call__(self) -> bytes:
        return self.tar[self.start : self.start + self.size]


def _add_zip(listing: Listing, place: Path) -> None:
    try:
        packed = zipfile.ZipFile(place)
        infos = [info for info in packed.infolist() if not info.is_dir()]
    except Exception as error:  # zipfile does not say which errors a damaged file raises
        raise UserError(f"a damaged zip file ({_first_line(error)}); remedy: get it again") from None
    if sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
        raise UserError(f"more than {MAX_TOTAL_BYTES} bytes when unpacked; remedy: unpack it yourself")
    for info in infos:
        rejected = None
        if info.flag_bits & 1:
            rejected = ("encrypted", "remedy: unpack the archive")
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            rejected = ("compressed by a rare method", "remedy: unpack the archive, or pack it with zip")
        elif stat.S_ISLNK(info.external_attr >> 16):
            rejected = ("symbolic links", f"{FILES_ONLY}; remedy: pack the files themselves")
        listing.add(Entry(info.filename, info.file_size, partial(_read_zipped, packed, info)), rejected)


def _read_zipped(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with packed.open(info) as stream:
            content = stream.read(info.file_size + 1)
        if len(content) != info.file_size:
            raise zipfile.BadZipFile(f"{len(content)} bytes of {info.file_size}")
    except Exception as error:  # zipfile does not say which errors a damaged file raises
        name = archive.quoted_path(info.filename)
        raise UserError(f"{packed.filename}: {name}: damaged ({_first_line(error)}); remedy: get it again") from None
    return content


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0][:100]
    return line if line and line.isprintable() else type(error).__name__
