"""The stages fetch and extra: pack images into tar archives.

`data.source` names a folder or a TOML declaration with training and test images. `data.extra_test` names a folder or a
tar with further test images, or the file that stands for none.
"""

import os
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from lenetlab.data import archive, declaration, download
from lenetlab.data.forms import class_folders, entries, held_out, idx, search
from lenetlab.data.forms.found import BY_NUMBER, Picture
from lenetlab.data.forms.packing import Packing, Target, class_index, numbered
from lenetlab.errors import UserError
from lenetlab.settings import study_schema
from lenetlab.settings.messages import quoted
from lenetlab.settings.study_schema import NO_PATTERN
from lenetlab.storage import code, files, paths

SETS = ("train", "test")
NO_EXTRA_TEST = Path(study_schema.NO_EXTRA_TEST)
MOVED = (
    "allowed: a .toml file or a folder; remedy: set data.source in params.yaml to where the images are now, or, to use"
    " those fetched before, dvc checkout fetch, then dvc repro --downstream prepare"
)
EXTRA_MOVED = (
    f"allowed: {NO_EXTRA_TEST} (none), a folder or a tar; remedy: set data.extra_test in params.yaml to where the"
    " images are now, or, to use those packed before, dvc checkout extra, then dvc repro --downstream prepare"
)


def fetch(source: Path, raw: Path, target: Target | None = None) -> None:
    """Write `train.tar`, `test.tar` and how many images were converted to the folder `raw`: all or nothing.

    Files named {number}_{label}.png are packed unchanged, ordered by number, if they are of the declared kind. Images
    in other forms are converted, and numbered by position, as are those of MNIST. UserError lists everything that is
    wrong with the source.
    """
    packing = Packing(target or Target())
    train, test = _from_declaration(source, packing) if _is_declaration(source) else _from_source(source, packing)
    download.log(f"writing {raw / 'train.tar'} and {raw / 'test.tar'}")
    with files.writing(raw / "train.tar") as train_tar, files.writing(raw / "test.tar") as test_tar:
        archive.write(train_tar, _counted(train, "train.tar"))
        archive.write(test_tar, _counted(test, "test.tar"))
        _log(packing.finish(str(source)))
        files.write_json(raw / paths.CONVERSIONS, packing.conversions())


def pack_extra(source: Path, raw: Path, target: Target | None = None) -> None:
    """Write `extra.tar`, and how many of its images were converted, to the folder `raw`.

    They are those of a folder or archive without sets, or of its test set; none if `source` is NO_EXTRA_TEST. UserError
    lists everything that is wrong with the source.
    """
    packing = Packing(target or Target())
    images = _extra_images(source, packing)
    with files.writing(raw / "extra.tar") as tar:
        archive.write(tar, _counted(images, "extra.tar"))
        _log(packing.finish(str(source)))
        files.write_json(raw / paths.EXTRA_CONVERSIONS, packing.conversions())


def find_problems(source: Path, extra: Path, target: Target | None = None) -> list[str]:
    """What is wrong with both sources of images, a line each, as far as names and sizes of their files tell."""
    problems: list[str] = []
    packing = Packing(target or Target())
    try:
        if not _is_declaration(source):
            _from_source(source, packing)
    except UserError as error:
        problems += error.problems
    try:
        _extra_images(extra, packing)
    except UserError as error:
        problems += error.problems
    return problems


def _counted(images: Iterable[tuple[str, bytes]], name: str) -> Iterable[tuple[str, bytes]]:
    """The same images; a terminal shows how many there were: packing a million takes minutes."""
    bar: Iterable[tuple[str, bytes]] = tqdm(images, desc=name, unit="image", disable=None, leave=False)
    return bar


def _log(lines: Iterable[str]) -> None:
    for line in lines:
        download.log(line)


def is_copied_to_experiments(source: Path) -> bool:
    """Whether a queued or temporary experiment of DVC, which runs in a copy of what git and DVC hold, finds the source.

    True if git cannot tell: without git there are no experiments.
    """
    if source.is_absolute() or Path(f"{source}.dvc").exists():
        return True
    if os.path.normpath(source).startswith(".."):
        return False
    try:
        return bool(code.command_output("git", "ls-files", "--", str(source)))
    except (OSError, subprocess.SubprocessError):
        return True


def _is_declaration(source: Path) -> bool:
    """Whether it is a declaration and not a source of images; UserError if it is neither."""
    name = f"data.source: {quoted(str(source))}"
    _check_place(source, name)
    mode = _mode(source, name, MOVED, download.REMEDY)
    if stat.S_ISDIR(mode):
        return False
    if source.suffix == ".toml":
        return True
    if not entries.ARCHIVE_NAME.fullmatch(source.name) and source.suffix.lower() != ".csv":
        raise UserError(f"{name} is neither a folder, an archive, a CSV nor a .toml file; {download.REMEDY}")
    return False


def _check_place(source: Path, name: str) -> None:
    """UserError if DVC could not follow the path, or would find its own outputs there."""
    if source.parts[:1] == ("~",):
        raise UserError(f"{name}: DVC does not know ~; remedy: {quoted(str(source.expanduser()))}")
    outputs = paths.RAW.resolve()
    with suppress(OSError, ValueError, RuntimeError):  # _mode says what is wrong with such a path
        if source.resolve() in (outputs, *outputs.parents):
            raise UserError(
                f"{name}: this folder holds {paths.RAW}, which the pipeline writes; remedy: a folder of its own for the"
                " images, such as data/mine"
            )


def _mode(path: Path, name: str, moved: str, remedy: str) -> int:
    """Type and permissions of a file or folder; UserError with one of two remedies if it is gone or out of reach."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have this name
        raise UserError(f"{name} does not exist; {moved}") from None
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}; {remedy}") from None


def _extra_images(source: Path, packing: Packing) -> Iterator[tuple[str, bytes]]:
    """File name and content of every further test image; UserError if there are none, unless `source` says so."""
    if source == NO_EXTRA_TEST:
        return iter(())
    name = f"data.extra_test: {quoted(str(source))}"
    _check_place(source, name)
    mode = _mode(source, name, EXTRA_MOVED, EXTRA_MOVED)
    other_form = stat.S_ISDIR(mode) or entries.ARCHIVE_NAME.fullmatch(source.name) or source.suffix.lower() == ".csv"
    if packing.target.pattern != NO_PATTERN or (other_form and not _is_numbered(source)):
        return _found_extra(source, name, packing)
    images = archive.members(source)
    if (first := next(images, None)) is None:
        raise UserError(
            f"{name} contains no images; allowed: PNG files named {{number}}_{{label}}.png, or {NO_EXTRA_TEST} for none"
        )
    return packing.named(chain([first], images), str(source), "extra")


def _found_extra(source: Path, name: str, packing: Packing) -> Iterator[tuple[str, bytes]]:
    found = search.find(source, packing.target.pattern)
    if found.form == BY_NUMBER and "all" not in found.sets:
        archive.members(source)  # says that subfolders are not allowed
    if len(found.sets) > 1 or not {"all", "test"} & set(found.sets):
        sets = ", ".join(found.sets)
        raise UserError(f"{name} has the sets {sets}; allowed: images without sets, or a test set alone")
    pictures = next(iter(found.sets.values()))
    if found.form == BY_NUMBER:
        return packing.named(numbered(pictures), str(source), "extra")
    return packing.labelled(pictures, class_index(found.form, pictures, packing.target.classes, str(source)), "extra")


def _from_source(source: Path, packing: Packing) -> list[Iterator[tuple[str, bytes]]]:
    """Training and test images of a folder, archive or CSV in any form."""
    pattern = packing.target.pattern
    if pattern == NO_PATTERN and source.is_dir() and _has_numbered_sets(source):
        pairs = zip(SETS, _from_folder(source), strict=True)
        return [packing.named(images, name, name) for name, images in pairs]
    found = search.find(source, pattern)
    sets: dict[str, Iterable[Picture]] = dict(found.sets)
    if packing.target.test_share:
        sets = held_out.with_test_set(found, source, packing.target)
    if missing := [name for name in SETS if name not in sets]:
        notes = "".join(f"; {note}" for note in found.notes)
        raise UserError(
            f"data.source: {source}: {found.form} without {' and '.join(missing)} images{notes}; remedy: lenetlab"
            f" import {source} --write, which splits off a test set, or folders train/ and test/"
        )
    if validation := list(sets.pop("validation", ())):
        sets["train"] = [*sets["train"], *validation]
        download.log(f"{len(validation):,} validation images join the training images: data.validation splits them")
    ignored = ", ".join(f"{count:,} {what}" for what, count in found.ignored.items())
    _log([*([f"ignored: {ignored}"] if ignored else []), *found.notes])
    class_labels = [picture for pictures in found.sets.values() for picture in pictures]
    if found.form != BY_NUMBER:
        index = class_index(found.form, class_labels, packing.target.classes, str(source))
        return [packing.labelled(sets[name], index, name) for name in SETS]
    return [packing.named(numbered(sets[name]), str(source), name) for name in SETS]


def _has_numbered_sets(source: Path) -> bool:
    """Whether train and test are there by these names, and one of them has files named {number}_{label}.png."""
    places = [[place for place in (source / f"{name}.tar", source / name) if os.path.lexists(place)] for name in SETS]
    return all(places) and any(_is_numbered(place) for found in places for place in found)


def _is_numbered(place: Path) -> bool:
    """Whether a folder or tar has files named {number}_{label}.png, all in one folder and no links; or nothing."""
    if place.is_dir():
        with os.scandir(place) as found:
            visible = [entry for entry in found if not entry.name.startswith(".")]
        named = [entry for entry in visible if class_folders.NUMBERED_NAME.fullmatch(entry.name)]
        return not visible or (bool(named) and not any(entry.is_symlink() for entry in named))
    try:
        with place.open("rb") as stream:
            if stream.read(2) in (b"\x1f\x8b", b"PK") or place.suffix.lower() != ".tar":
                return False
        visible_paths = [
            member.path
            for member in archive.tar_members(archive.open_tar(place))
            if not archive.HIDDEN_PATH.search(member.path)
        ]
    except (UserError, OSError):
        return True  # archive.members says what is wrong
    folders, _, names = (
        zip(*(path.rpartition("/") for path in visible_paths), strict=True) if visible_paths else ((),) * 3
    )
    return not names or (len(set(folders)) == 1 and any(map(class_folders.NUMBERED_NAME.fullmatch, names)))


def _from_folder(source: Path) -> list[Iterator[tuple[str, bytes]]]:
    found: list[Iterator[tuple[str, bytes]]] = []
    problems: list[str] = []
    for name in SETS:
        places = [place for place in (source / f"{name}.tar", source / name) if os.path.lexists(place)]
        if len(places) != 1:
            have = "both" if places else "neither"
            problems.append(f"data.source: {source} has {have} {name}.tar and {name}/; needed: one of them")
        elif places[0].is_symlink():
            problems.append(f"{places[0]}: a symbolic link; allowed: the file or folder itself")
        else:
            try:
                found.append(archive.members(places[0]))
            except UserError as error:
                problems += error.problems
    if problems:
        raise UserError(*problems)
    return found


def _from_declaration(source: Path, packing: Packing) -> list[Iterator[tuple[str, bytes]]]:
    declared = declaration.read_declaration(source)
    contents = download.download_all(declared, source)
    return [
        _as_png_files(contents[part.images.file], contents[part.labels.file], (source, name), packing)
        for name, part in zip(SETS, (declared.train, declared.test), strict=True)
    ]


def _as_png_files(
    images: bytes, labels: bytes, part: tuple[Path, str], packing: Packing
) -> Iterator[tuple[str, bytes]]:
    """PNG files named by position and label from two IDX files; UserError unless they are images with their labels."""
    place = f"{part[0]}: {part[1]}"
    most = len(packing.target.classes) - 1
    try:
        classes = idx.parse(labels, f"{place}: labels", 1)
    except UserError:
        classes = None
    if classes is None or classes.max() > most:
        raise UserError(f"{place}: labels: not an IDX file of labels from 0 to {most}")
    try:
        pixels = idx.parse(images, f"{place}: images", 3)
    except UserError:
        pixels = None
    if pixels is None or len(pixels) != len(classes):
        raise UserError(f"{place}: images: not an IDX file of {len(classes)} images, one for each label")
    index = {str(label): label for label in range(most + 1)}
    return packing.labelled(idx.pictures(pixels, classes, place), index, part[1])
