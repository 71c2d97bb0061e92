"""Fixtures of this folder."""

import pytest

from lenetlab.training import devices


@pytest.fixture(scope="module", autouse=True)
def _deterministic():
    devices.make_deterministic()


@pytest.fixture
def own_root(tmp_path, monkeypatch):
    """A folder in which the progress of this test's trainings is kept."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"
