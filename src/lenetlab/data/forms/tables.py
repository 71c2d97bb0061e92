"""CSV files: of pixels with labels, as at Kaggle, or of file names with labels, beside the images."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from lenetlab.data.forms import entries, found
from lenetlab.data.forms.entries import IMAGE_NAME, Entry, Listing
from lenetlab.data.forms.found import Found, Picture
from lenetlab.data.forms.problems import Grouped
from lenetlab.errors import UserError

LABEL_COLUMNS = ("label", "class", "class_name", "target", "category", "digit", "y")
FILE_COLUMNS = ("file", "filename", "file_name", "path", "filepath", "image", "image_path", "image_name", "name")
SET_COLUMNS = ("split", "set", "subset")
NO_LABELS = "CSV files without labels"
ROWS = 1000  # that are turned into pixels together
MIN_PIXELS = 4


class _OtherTable(UserError):
    """A CSV that does not hold images."""


def find(listing: Listing) -> Found | None:
    """The images of CSV files; None if there are none. UserError says what is wrong with them."""
    files = [entry for entry in listing.entries if entry.path.lower().endswith(".csv")]
    if not files:
        return None
    images = [entry for entry in listing.entries if IMAGE_NAME.fullmatch(entry.path)]
    if images:
        named = [entry for entry in files if _is_label_table(entry)]
        return _find_named(listing, named, images) if named else None
    listing.ignored["other files"] += len(listing.entries) - len(files)
    return _find_pixels(listing, files)


def _lines(entry: Entry) -> list[str]:
    content = entry.read()
    entries.check_no_pointer(content, entry.path, "CSV")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{entry.path}: not a CSV file in UTF-8 ({error.reason} at byte {error.start})") from None


def _cells(line: str, place: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error as error:
        raise UserError(f"{place}: not a line of a CSV file ({error})") from None


def _set_of_file(path: str) -> str:
    """The set in the name of a CSV file, such as mnist_train.csv, or in that of its folder; "all" if there is none."""
    *folders, name = path.lower().removesuffix(".csv").split("/")
    words = [word for part in (name, *folders) for word in (part, *re.split(r"[^a-z0-9]+", part))]
    return next((kind for word in words if (kind := entries.set_of(word))), "all")


# File names with labels


def _is_label_table(entry: Entry) -> bool:
    lines = _lines(entry)
    header = [cell.lower() for cell in _cells(lines[0], entry.path)] if lines else []
    return bool(set(header) & set(FILE_COLUMNS)) and bool(set(header) & set(LABEL_COLUMNS))


def _find_named(listing: Listing, tables: list[Entry], images: list[Entry]) -> Found:
    by_path = {entry.path: entry for entry in images}
    by_name: dict[str, list[str]] = {}
    for path in by_path:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    sets: dict[str, list[Picture]] = {}
    problems = Grouped()
    used: dict[str, str] = {}
    for table in tables:
        for kind, path, label, place in _named_rows(table):
            image = _image_of(path, table, kind, by_path, by_name)
            if not label:
                problems.add("line", "without a label", "needed: a label for each file", place)
            elif image is None:
                problems.add("file", f"named in {table.path} but missing", "remedy: add, or delete these lines", path)
            elif image in used:
                problems.add("file", "named twice", "remedy: one line per file", path)
            else:
                used[image] = place
                sets.setdefault(kind, []).append(Picture(image, label, by_path[image].read))
    if lines := problems.lines():
        raise UserError(*lines)
    if "all" in sets and len(sets) > 1:
        raise UserError(f"{tables[0].path}: some lines name a set and others do not; needed: train, test or validation")
    listing.ignored["images that no CSV names"] += len(images) - len(used)
    listing.ignored["other files"] += len(listing.entries) - len(images) - len(tables)
    return Found(found.LABEL_TABLE, dict(sets), dict(+listing.ignored))


def _named_rows(table: Entry) -> Iterator[tuple[str, str, str, str]]:
    """Set, file name, label and place of every row of a CSV with a header."""
    lines = _lines(table)
    header = [cell.lower() for cell in _cells(lines[0], table.path)]
    file_column, label_column, set_column = (
        next((header.index(name) for name in names if name in header), -1)
        for names in (FILE_COLUMNS, LABEL_COLUMNS, SET_COLUMNS)
    )
    for number, line in enumerate(lines[1:], start=2):
        place = f"{table.path} line {number}"
        if not (cells := _cells(line, place)):
            continue
        if len(cells) != len(header):
            raise UserError(f"{place}: {len(cells)} columns; needed: {len(header)}, as in the first line")
        kind = _set_of_file(table.path)
        if set_column >= 0 and cells[set_column]:
            kind = entries.set_of(cells[set_column])
            if not kind:
                raise UserError(f"{place}: {cells[set_column][:60]!r} is no set; allowed: train, test or validation")
        yield kind, cells[file_column], cells[label_column], place


def _image_of(
    path: str, table: Entry, kind: str, by_path: dict[str, Entry], by_name: dict[str, list[str]]
) -> str | None:
    """The path of the image that a row means: beside the CSV, in a folder of its set, or by a name that is unique."""
    path = path.replace("\\", "/").removeprefix("./")
    beside = table.path.rpartition("/")[0]
    for folder in (beside, "", f"{beside}/{kind}", kind):
        if (place := f"{folder}/{path}".lstrip("/")) in by_path:
            return place
    places = by_name.get(path.rpartition("/")[2], [])
    in_set = [place for place in places if entries.set_of(place.partition("/")[0]) == kind]
    if len(in_set or places) == 1:
        return (in_set or places)[0]
    return None


# Pixels


def _find_pixels(listing: Listing, files: list[Entry]) -> Found | None:
    sets: dict[str, list[Picture]] = {}
    notes: list[str] = []
    problems: list[str] = []
    others: list[str] = []
    sizes: Counter[str] = Counter()
    for entry in files:
        try:
            pictures = _pixel_rows(entry, f"{listing.source}: {entry.path}")
        except _OtherTable as error:
            if _set_of_file(entry.path) == "all":  # such as sample_submission.csv
                others += error.problems
            else:
                problems += error.problems
            continue
        except UserError as error:
            problems += error.problems
            continue
        if pictures is None:
            listing.ignored[NO_LABELS] += 1
            notes.append(f"{entry.path} has no labels, so it is no set of images with answers")
        else:
            kind = _set_of_file(entry.path)
            sizes[kind] += 1
            sets.setdefault(kind, []).extend(pictures)
    if problems or not sets:
        unlabelled = [f"{note}; needed: a CSV with a column of labels, such as train.csv" for note in notes]
        raise UserError(*problems, *([] if problems else [*others, *unlabelled]))
    listing.ignored["other files"] += len(others)
    twice = [kind for kind, count in sizes.items() if count > 1]
    if twice or ("all" in sets and len(sets) > 1):
        raise UserError(f"{', '.join(entry.path for entry in files)}: which is train, which is test? needed: one each")
    if "train" in sets and len(sets) == 1:
        sets = {"all": sets["train"]}
    return Found(found.PIXEL_TABLE, dict(sets), dict(+listing.ignored), tuple(notes))


def _pixel_rows(entry: Entry, full_path: str) -> list[Picture] | None:
    """The images in the rows of a CSV file, None if they have no labels; UserError if it holds something else.

    `full_path` is for messages about pixels, which are read later.
    """
    lines = _lines(entry)
    first = _cells(lines[0], entry.path) if lines else []
    header = [cell.lower() for cell in first] if not all(_is_number(cell) for cell in first[1:-1] or first) else []
    label_column = next((header.index(name) for name in LABEL_COLUMNS if name in header), -1 if header else 0)
    with_label, without = _shape(len(first) - 1), _shape(len(first))
    if label_column < 0 or (with_label is None and without is not None and not header):
        if without is None:
            raise _OtherTable(f"{entry.path}: {len(first)} columns; needed: a label and the pixels of a square image")
        return None
    if with_label is None:
        raise _OtherTable(
            f"{entry.path}: {len(first) - 1} columns beside the label; needed: the pixels of a square, such as 784"
        )
    rows = lines[1:] if header else lines
    pictures = []
    read = _Rows(full_path, rows, 2 if header else 1, len(first), label_column, with_label)
    for number, line in enumerate(rows):
        place = f"{entry.path} line {number + read.first_line}"
        if not line.strip():
            raise UserError(f"{place}: empty; needed: a label and pixels")
        label = _label(line, label_column, len(first), place)
        pictures.append(Picture(place, label, partial(read.image, number)))
    if not pictures:
        raise UserError(f"{entry.path}: contains no images")
    return pictures


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", cell))


def _shape(columns: int) -> tuple[int, ...] | None:
    """The square grey or RGB image that has so many values; None if there is none."""
    for channels, shape in ((1, ()), (3, (3,))):
        side = isqrt(columns // channels) if columns >= MIN_PIXELS else 0
        if side and side * side * channels == columns:
            return (side, side, *shape)
    return None


def _label(line: str, column: int, columns: int, place: str) -> str:
    """The label in a row, without parsing all of its pixels if no cell is quoted."""
    if '"' in line:
        cells = _cells(line, place)
        count = len(cells)
        label = cells[column] if column < count else ""
    else:
        count = line.count(",") + 1
        label = line.split(",", column + 1)[column].strip() if column < count else ""
    if count != columns:
        raise UserError(f"{place}: {count} columns; needed: {columns}, as in the first line")
    return label


class _Rows:
    """Rows of pixels, read in blocks; the last block is kept, since images are read in order."""

    def __init__(
        self, path: str, rows: list[str], first_line: int, columns: int, label: int, shape: tuple[int, ...]
    ) -> None:
        self.path, self.rows, self.first_line, self.shape = path, rows, first_line, shape
        self.columns = [column for column in range(columns) if column != label]
        self.block: tuple[int, NDArray[np.uint8]] = (-1, np.empty(0, dtype=np.uint8))

    def image(self, number: int) -> NDArray[np.uint8]:
        block, place = divmod(number, ROWS)
        if self.block[0] != block:
            self.block = (block, self._parse(block * ROWS))
        pixels: NDArray[np.uint8] = self.block[1][place]
        return pixels

    def _parse(self, start: int) -> NDArray[np.uint8]:
        rows = self.rows[start : start + ROWS]
        try:
            values = self._numbers(rows)
        except ValueError:
            values = None
        if values is None or not np.all((values >= 0) & (values <= 255) & (values == np.floor(values))):
            self._explain(rows, start + self.first_line)
            raise UserError(f"{self.path}: lines {start + self.first_line} and following cannot be read")
        pixels: NDArray[np.uint8] = values.astype(np.uint8).reshape(-1, *self.shape)
        return pixels

    def _numbers(self, rows: list[str]) -> NDArray[np.float64]:
        text = io.StringIO("\n".join(rows))
        values: NDArray[np.float64] = np.loadtxt(
            text, delimiter=",", usecols=self.columns, ndmin=2, quotechar='"', comments=None
        )
        return values

    def _explain(self, rows: list[str], first_line: int) -> None:
        """UserError about the first cell that is not a pixel."""
        for number, row in enumerate(rows, start=first_line):
            place = f"{self.path} line {number}"
            cells = _cells(row, place)
            for column in self.columns:
                if not re.fullmatch(r"[0-9]{1,3}(\.0*)?", cells[column]) or float(cells[column]) > 255:
                    raise UserError(
                        f"{place}: {cells[column][:40]!r} in column {column + 1}; allowed: whole numbers from 0 to 255"
                    )
