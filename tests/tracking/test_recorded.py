"""The record of a run in MLflow, which its id or its name gives."""

import pytest

from lenetlab.errors import UserError
from lenetlab.tracking import sync
from tests.tracking.stores import open_client, runs_by_name

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of its dependencies


def test_the_run_that_was_found_is_named(published_study, capsys):
    run = runs_by_name(published_study)["mlp seed 1"]
    assert sync.recorded("mlp seed 1") == sync.recorded(run.info.run_id)
    assert capsys.readouterr().err == 2 * f"MLflow run {run.info.run_id}: mlp seed 1\n"


def test_several_runs_of_one_name_are_listed(published_study):
    client, first = open_client(published_study), runs_by_name(published_study)["mlp seed 0"]
    tags = {"commit": "0123456789abcdef", "dvc_experiment": "tidal-gulf"}
    second = client.create_run(first.info.experiment_id, run_name="mlp seed 0", start_time=0, tags=tags)
    with pytest.raises(UserError) as caught:
        sync.recorded("mlp seed 0")
    head, *listed = caught.value.problems
    assert head == "MLflow has 2 runs 'mlp seed 0'; give the id of one:"
    assert {line.split(":")[0].strip() for line in listed} == {first.info.run_id, second.info.run_id}
    (described,) = [line for line in listed if second.info.run_id in line]
    assert described.endswith(", running, commit 0123456789, experiment tidal-gulf")
    assert sync.recorded(first.info.run_id)["seed"] == 0
    client.delete_run(second.info.run_id)
    assert sync.recorded("mlp seed 0")["seed"] == 0


@pytest.mark.parametrize("name", ["the teacher's run", 'the "best" run'])
def test_a_name_may_contain_a_quote(published_study, name):
    client, run = open_client(published_study), runs_by_name(published_study)["mlp seed 0"]
    client.update_run(run.info.run_id, name=name)
    assert sync.recorded(name)["fingerprint"] == run.data.tags["fingerprint"]
    for other in ("the teachers run", "mlp seed 0'", "'\"", name + "'\""):
        with pytest.raises(UserError, match="MLflow has no run"):
            sync.recorded(other)
