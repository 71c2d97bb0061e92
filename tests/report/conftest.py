"""Reports that tests read: a complete one, and one where seeds diverged."""

from pathlib import Path

import pytest

from lenetlab.report import inputs, model
from lenetlab.report.page import write_report
from lenetlab.report.pictures import Picture, draw_all
from tests.report import example
from tests.report.parsing import Page, read_page

# Two of five seeds of the regularised network diverged, and all of the MLP.
DIVERGED = {"lenet5-regularized": {1: 1, 4: 3}, "mlp": dict.fromkeys(example.SEEDS, 1)}


@pytest.fixture(scope="session")
def input_paths(tmp_path_factory: pytest.TempPathFactory) -> inputs.InputPaths:
    return example.write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def report(input_paths: inputs.InputPaths) -> model.Report:
    return example.collect_report(input_paths)


@pytest.fixture(scope="session")
def pictures(report: model.Report) -> dict[str, Picture]:
    return draw_all(report)


@pytest.fixture(scope="session")
def folder(report: model.Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    write_report(report, path)
    return path


@pytest.fixture(scope="session")
def page(folder: Path) -> Page:
    return read_page(folder)


@pytest.fixture(scope="session")
def diverged_report(tmp_path_factory: pytest.TempPathFactory) -> model.Report:
    return example.collect_report(example.write_inputs(tmp_path_factory.mktemp("inputs"), diverged=DIVERGED))


@pytest.fixture(scope="session")
def diverged_folder(diverged_report: model.Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    write_report(diverged_report, path)
    return path


@pytest.fixture(scope="session")
def diverged_page(diverged_folder: Path) -> Page:
    return read_page(diverged_folder)
