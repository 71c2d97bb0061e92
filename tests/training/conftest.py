"""Fixtures of this folder."""

import os

import pytest

from lenetlab.training import devices


@pytest.fixture(scope="module", autouse=True)
def _deterministic_and_without_fsync():
    """fsync takes half of the time of a small training. Only tests of power cuts need it, and these replace it too."""
    devices.make_deterministic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def own_root(tmp_path, monkeypatch):
    """A folder in which the progress of this test's trainings is kept."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"
