"""Sources of very many images: little memory for each, and a terminal shows what goes on."""

import io
import sys
import tracemalloc
from dataclasses import replace

import pytest

from lenetlab.data import sources
from lenetlab.data.forms import search
from tests.data.sources_of_users import TARGET, class_folder_files, tar_of, write, write_all

FILES = 4000
MOST_BYTES = 500  # per file
CONTENTS = {
    f"train/{('dahlia', 'daisy')[number % 2]}/photograph-{number:06d}.png": b"not read" for number in range(FILES)
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("packed", [False, True])
def test_finding_images_takes_little_memory_for_each(tmp_path, packed):
    source = tmp_path / ("images.tar" if packed else "a-folder-with-a-name-of-the-usual-length/images")
    if packed:
        write(source, tar_of(CONTENTS))
    else:
        write_all(source, CONTENTS)
    tracemalloc.start()
    try:
        found = search.find(source)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(found.sets["train"]) == FILES
    assert most / FILES < MOST_BYTES


@pytest.mark.parametrize("share", [0, 0.2])
def test_a_terminal_shows_how_far_packing_is(tmp_path, monkeypatch, share):
    write_all(tmp_path / "mine", class_folder_files("all", "all") if share else class_folder_files())
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    sources.fetch(tmp_path / "mine", tmp_path / "raw", replace(TARGET, test_share=share))

    steps = ["train.tar: ", "test.tar: ", *(["choosing test images: "] if share else [])]
    assert all(step in shown.getvalue() for step in steps)
