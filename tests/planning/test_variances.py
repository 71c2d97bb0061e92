"""Which variances `lenetlab check` expects before training."""

from pathlib import Path

import numpy as np
import pytest

from lenetlab.evaluation import predictions
from lenetlab.planning import duration, outlook, variances
from lenetlab.settings import params, study_schema
from lenetlab.statistics import power
from lenetlab.storage import files, paths, provenance
from tests.answers import make_predictions
from tests.settings import example

LABELS = np.zeros(1000, int)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> study_schema.Study:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(duration, "known_speeds", lambda _: None)
    example.write_params(tmp_path)
    return params.load(tmp_path / "params.yaml")


def write_evaluations(study: study_schema.Study, spread: int = 20, **identity: object) -> None:
    """Three seeds of every variant; a seed misreads `spread` images more than the one before."""
    for name in study.study:
        wrong = np.arange(1000) < 10 + spread * np.arange(3)[:, None]
        predictions.write(make_predictions(LABELS, wrong.astype(int)), paths.EVALUATIONS / name / paths.PREDICTIONS)
        record = {"identity": provenance.recipe(study, name) | identity, "test_data": "7e57"}
        files.write_json(paths.EVALUATIONS / name / paths.VARIANT_RECORD, record)


def family(study: study_schema.Study) -> variances.Family:
    return next(iter(study.comparisons.values()))


def test_variances_are_those_of_the_last_evaluation(study):
    """Accuracies of 0.99, 0.97 and 0.95 have a variance of 0.0004; the same images are misread by all variants."""
    write_evaluations(study)
    components, source = variances.expected(study, family(study))
    assert components.seeds == pytest.approx((0.0004, 0.0004))
    assert (components.images, components.image_count, source) == (0, 1000, "of the last evaluation")
    lines = [line for line in outlook.lines(study) if line.startswith("comparisons.")]
    assert all("variances of the last evaluation" in line for line in lines if "smallest difference" in line)
    assert any("smallest difference" in line for line in lines)


def test_evaluations_of_other_settings_or_data_do_not_count(study):
    write_evaluations(study, training={})
    assert variances.expected(study, family(study)) == (power.TYPICAL, "usual on MNIST")
    write_evaluations(study)
    files.write_json(paths.PREPARED_TEST / paths.PROFILE, {"digest": "other"})
    assert variances.expected(study, family(study)) == (power.TYPICAL, "usual on MNIST")


@pytest.mark.parametrize("name", [paths.PREDICTIONS, paths.VARIANT_RECORD])
@pytest.mark.parametrize("content", [b"", b"{}", b"null"])
def test_damaged_evaluations_do_not_count(study, name, content):
    write_evaluations(study)
    for variant in study.study:
        files.write_bytes(paths.EVALUATIONS / variant / name, content)
    assert variances.expected(study, family(study)) == (power.TYPICAL, "usual on MNIST")


def test_evaluations_without_any_variance_do_not_count(study):
    write_evaluations(study, spread=0)
    assert variances.expected(study, family(study)) == (power.TYPICAL, "usual on MNIST")


def test_of_other_data_the_number_of_images_is_said_to_be_that_of_mnist(study, monkeypatch):
    speeds = duration.Speeds(dict.fromkeys(study.study, 5.0), 6, 2, 55_000, "cpu: a processor")
    monkeypatch.setattr(duration, "known_speeds", lambda _: speeds)
    other = study.model_copy(update={"data": study.data.model_copy(update={"source": "pets"})})
    text = "55,000 images (as many as MNIST has: yours are not prepared yet) on"
    assert text in list(outlook.lines(other))[-1]
    assert text not in list(outlook.lines(study))[-1]
    files.write_json(paths.PREPARED_TRAIN / paths.PROFILE, {"splits": {"training": {"images": 55_000}}})
    assert text not in list(outlook.lines(other))[-1]


def test_of_other_data_nothing_is_promised_before_there_are_results(study):
    other = study.model_copy(update={"data": study.data.model_copy(update={"source": "pets"})})
    assert variances.expected(other, family(other)) is None
    lines = [line for line in outlook.lines(other) if line.startswith("comparisons.")]
    assert lines
    assert not any("smallest difference" in line for line in lines)
    assert any("seeds each can find on these images is known after training" in line for line in lines)


def test_images_of_other_data_are_counted_before_they_are_prepared(study, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "pets" / name / f"{number}.png").write_bytes(b"not read")
    changes = {"source": str(tmp_path / "pets"), "test_share": 0.2, "validation": 4}
    other = study.model_copy(update={"data": study.data.model_copy(update=changes)})
    assert duration.training_images(other) == 12
