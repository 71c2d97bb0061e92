"""One setting at a time: which studies that makes, and that the record holds what was trained, once each."""

import csv
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from lenetlab.data import prepare
from lenetlab.errors import UserError, reporting_errors
from lenetlab.evaluation import sensitivity
from lenetlab.settings import params, schema
from lenetlab.storage import files, provenance
from lenetlab.training import checkpoint, execution, loop, run_files

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")
ASKED = STUDY.sensitivity
NOTHING = {"learning_rate": (), "dropout": (), "width": (), "batch_size": (), "images": ()}


def around(variant: str, **lists: tuple[float, ...]) -> schema.Study:
    """Two seeds and one epoch of the small set; these lists, and the others empty."""
    asked = ASKED.model_copy(update={"variant": variant, "seeds": (3, 8), **NOTHING, **lists})
    return STUDY.model_copy(
        update={
            "sensitivity": asked,
            "device": "cpu",
            "data": STUDY.data.model_copy(update={"validation": 200}),
            "training": STUDY.training.model_copy(update={"epochs": 1}),
        }
    )


def flat(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    found = {}
    for key, value in content.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return found


def recipe(study: schema.Study) -> dict[str, Any]:
    """All that is decided about its one variant, by dotted key."""
    return flat(provenance.recipe(study, study.sensitivity.variant))


def changes(found: list[sensitivity.Point]) -> list[dict[str, Any]]:
    """In what each point differs from the first."""
    centre = recipe(found[0].study)
    recipes = [recipe(point.study) for point in found]
    assert all(one.keys() == centre.keys() for one in recipes)
    return [{key: value for key, value in one.items() if value != centre[key]} for one in recipes]


# Which points there are.


def test_every_value_of_the_default_study_changes_that_setting_and_no_other():
    found = sensitivity.points(STUDY)
    assert [(point.setting, point.value) for point in found] == [
        (None, None),
        *(("learning_rate", value) for value in (0.001, 0.003, 0.01, 0.03, 0.1)),
        *(("dropout", value) for value in (0.0, 0.25, 0.5, 0.75)),
        *(("width", value) for value in (0.5, 1.0, 2.0)),
        *(("batch_size", value) for value in (16, 64, 256)),
        *(("images", value) for value in (1000, 5000, 20000, 0)),
    ]
    rate, dropout = "training.learning_rate", "definition.regularization.dropout"
    channels, hidden = "definition.model.channels", "definition.model.hidden"
    assert changes(found) == [
        {},
        *({rate: 0.001}, {rate: 0.003}, {}, {rate: 0.03}, {rate: 0.1}),
        *({}, {dropout: 0.25}, {dropout: 0.5}, {dropout: 0.75}),
        *({channels: [3, 8], hidden: [60, 42]}, {}, {channels: [12, 32], hidden: [240, 168]}),
        *({"training.batch_size": 16}, {}, {"training.batch_size": 256}),
        *({"training.images": 1000}, {"training.images": 5000}, {"training.images": 20000}, {}),
    ]


def test_a_value_that_the_variant_has_already_is_the_centre():
    """By fingerprint, so that it is trained once: 20 points, of which 5 are the centre again."""
    found = sensitivity.points(STUDY)
    names = [
        provenance.fingerprint(provenance.identity(point.study, "lenet5", "data", "2.0", "cpu", "float32"))
        for point in found
    ]
    again = [(point.setting, point.value) for point, name in zip(found, names, strict=True) if name == names[0]]
    assert again == [
        (None, None),
        ("learning_rate", 0.01),
        ("dropout", 0.0),
        ("width", 1.0),
        ("batch_size", 64),
        ("images", 0),
    ]
    assert len(set(names)) == 20 - 5


def test_the_centre_is_what_the_study_itself_trains():
    centre = sensitivity.points(STUDY)[0].study
    ours, theirs = (provenance.identity(study, "lenet5", "data", "2.0", "cpu", "float32") for study in (centre, STUDY))
    assert ours == theirs


def test_every_point_is_a_study_of_the_variant_alone_with_the_seeds_of_its_own():
    for point in sensitivity.points(STUDY):
        assert point.study.study == ("lenet5",)
        assert point.study.comparisons == {}
        assert point.study.seeds == ASKED.seeds == (0, 1, 2, 3)
        others = {name: variant for name, variant in point.study.variants.items() if name != "lenet5"}
        assert others == {name: variant for name, variant in STUDY.variants.items() if name != "lenet5"}


def test_no_point_changes_the_study_it_was_made_from():
    before = STUDY.model_dump()
    sensitivity.points(STUDY)
    assert STUDY.model_dump() == before


def test_an_empty_list_leaves_a_setting_out():
    found = sensitivity.points(around("mlp", width=(2.0,)))
    assert [(point.setting, point.value) for point in found] == [(None, None), ("width", 2.0)]
    assert len(sensitivity.points(around("mlp"))) == 1


def test_what_a_variant_overrides_is_kept_but_for_the_setting_in_question():
    """lenet5-tuned has a schedule, a learning rate and averaged weights of its own."""
    found = sensitivity.points(around("lenet5-tuned", learning_rate=(0.01, 0.1), batch_size=(16,), images=(0,)))
    own = recipe(found[0].study)
    assert (own["training.schedule"], own["training.learning_rate"]) == ("one-cycle", 0.1)
    assert own["training.weight_averaging"] == 0.998
    assert changes(found) == [{}, {"training.learning_rate": 0.01}, {}, {"training.batch_size": 16}, {}]


def test_zero_images_are_all_of_them_even_where_the_variant_takes_fewer():
    study = around("mlp", images=(0, 500))
    few = study.variants["mlp"].model_copy(update={"training": schema.TrainingOverride(images=500)})
    found = sensitivity.points(study.model_copy(update={"variants": {**study.variants, "mlp": few}}))
    assert changes(found) == [{}, {"training.images": 0}, {}]


def test_one_rate_of_dropout_replaces_those_of_all_layers():
    found = sensitivity.points(around("lenet5-28-light-dropout", dropout=(0.0, 0.25)))
    assert recipe(found[0].study)["definition.regularization.dropout"] == [0.25, 0.0]
    key = "definition.regularization.dropout"
    assert changes(found) == [{}, {key: 0.0}, {key: 0.25}]


@pytest.mark.parametrize(("width", "units"), [(2.0, [118]), (0.5, [30]), (0.01, [1]), (0.001, [1])])
def test_a_network_is_scaled_to_whole_units_and_to_one_at_least(width, units):
    """The MLP has 59: halves are 29.5, and a hundredth of them 0.59."""
    _, point = sensitivity.points(around("mlp", width=(width,)))
    assert recipe(point.study)["definition.model.hidden"] == units


# What is trained, and what the record says of it.


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """Progress is kept below the test's own folder, and all is trained in this process."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr("lenetlab.training.devices.cores", lambda: 1)
    return tmp_path / "root"


def kept(root: Path) -> dict[Path, dict[str, Any]]:
    """The finished runs that lie there, by folder."""
    return {path.parent: files.read_json(path) for path in sorted((root / ".lenetlab" / "resume").glob("*/run.json"))}


def never(*_: object) -> None:
    raise AssertionError("something is trained")


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fingerprints of the runs that are trained from now on."""
    trained, original = [], loop.train_jobs

    def fit(runs, *others):
        trained.extend(run.record["fingerprint"] for run in runs)
        return original(runs, *others)

    monkeypatch.setattr(loop, "train_jobs", fit)
    return trained


SMALL = {"learning_rate": (0.01, 0.1), "width": (0.5,), "images": (100, 0)}


def test_the_record_holds_what_the_kept_runs_say(prepared, root, tmp_path):
    """Two epochs, of which the last counts; each row's runs are found by their recipe and seed."""
    study = around("mlp", **SMALL)
    study = study.model_copy(update={"training": study.training.model_copy(update={"epochs": 2})})
    record = sensitivity.measure(study, prepared / "train")
    runs, points = kept(root), sensitivity.points(study)
    assert len(runs) == 2 * 4  # seeds × (centre, 0.1, half the width, 100 images): 0.01 and 0 images are the centre
    assert [(row["setting"], row["value"]) for row in record["points"]] == [
        (None, None),
        ("learning_rate", 0.01),
        ("learning_rate", 0.1),
        ("width", 0.5),
        ("images", 100),
        ("images", 0),
    ]
    assert [row["parameters"] for row in record["points"]] == [
        *[1024 * 59 + 59 + 590 + 10] * 3,
        1024 * 30 + 30 + 300 + 10,
        *[1024 * 59 + 59 + 590 + 10] * 2,
    ]
    for row, point in zip(record["points"], points, strict=True):
        wanted = provenance.recipe(point.study, "mlp")
        assert list(row["validation_accuracy"]) == list(row["training_accuracy"]) == ["3", "8"]
        for seed in (3, 8):
            (folder,) = [
                path for path, run in runs.items() if run["seed"] == seed and run["identity"].items() >= wanted.items()
            ]
            with (folder / "curves.csv").open(newline="") as stream:
                first, last = csv.DictReader(stream)
            assert (first["epoch"], last["epoch"]) == ("1", "2")
            assert row["validation_accuracy"][str(seed)] == float(last["validation_accuracy"])
            assert row["training_accuracy"][str(seed)] == runs[folder]["training_set"]["accuracy"]
    found = {row["value"]: row for row in record["points"]}
    for accuracy in found[0.1]["validation_accuracy"].values():
        assert accuracy * 200 == pytest.approx(round(accuracy * 200))  # on as many validation images
    for accuracy in found[100]["training_accuracy"].values():
        assert accuracy * 100 == pytest.approx(round(accuracy * 100))  # on those that were trained on
    files.write_json(tmp_path / "sensitivity.json", record)
    assert files.read_json(tmp_path / "sensitivity.json") == record


def test_a_seed_that_diverged_has_no_accuracy(tmp_path):
    curves, header = "1,0.5,0.8,0.4,0.9\n2,0.3,0.9,0.2,0.95\n", ",".join(run_files.CURVE_COLUMNS) + "\n"
    for seed, lost in ((3, None), (5, {"epoch": 3, "step": 2}), (8, {"epoch": 1, "step": 7})):
        files.write_text(tmp_path / f"{seed}" / "curves.csv", header + curves * (lost is None or lost["epoch"] > 1))
        learnt = None if lost else {"loss": 0.1, "accuracy": 0.99}
        files.write_json(tmp_path / f"{seed}" / "run.json", {"diverged": lost, "training_set": learnt})
    runs = [
        run_files.TrainingJob(STUDY.variants["mlp"], STUDY.training, seed, {"parameters": 61_075}, {})
        for seed in (3, 5, 8)
    ]
    plan = execution.TrainingPlan("mlp", tuple(runs), {seed: tmp_path / f"{seed}" for seed in (3, 5, 8)}, None, None)
    found = sensitivity._result(sensitivity.Point("learning_rate", 0.1, STUDY), plan)
    assert found["validation_accuracy"] == {"3": 0.95, "5": None, "8": None}
    assert found["training_accuracy"] == {"3": 0.99, "5": None, "8": None}


def test_values_that_are_the_centre_have_its_row_and_are_trained_with_it(prepared, monkeypatch):
    trained = watched(monkeypatch)
    record = sensitivity.measure(around("mlp", **SMALL, dropout=(0.0,), batch_size=(64,)), prepared / "train")
    rows = {(row.pop("setting"), row.pop("value")): row for row in record["points"]}
    centre = rows[None, None]
    same = [key for key, row in rows.items() if row == centre]
    assert same == [(None, None), ("learning_rate", 0.01), ("dropout", 0.0), ("batch_size", 64), ("images", 0)]
    assert len(rows) == 8
    assert len(trained) == len(set(trained)) == 2 * (8 - 4)


def test_the_record_tells_what_it_was_measured_on(prepared):
    study = around("mlp", width=(0.5,))
    record = sensitivity.measure(study, prepared / "train")
    assert record["variant"] == "mlp"
    assert record["recipe"] == provenance.recipe(study, "mlp")
    assert record["data"] == files.read_json(prepared / "train" / "profile.json")["digest"]
    assert (record["training_images"], record["validation_images"]) == (1237, 200)
    assert record["device"].startswith("cpu: ")


def test_the_record_does_not_depend_on_the_number_of_processes(prepared, tmp_path, monkeypatch):
    study, found = around("mlp", learning_rate=(0.1,), images=(100,)), []
    for cores in (1, 2):
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / f"root{cores}"))
        monkeypatch.setattr("lenetlab.training.devices.cores", lambda cores=cores: cores)
        found.append(sensitivity.measure(study, prepared / "train"))
    assert found[0] == found[1]
    assert multiprocessing.active_children() == []


def test_what_is_trained_already_is_not_trained_again(prepared, monkeypatch):
    study = around("mlp", **SMALL)
    first = sensitivity.measure(study, prepared / "train")
    monkeypatch.setattr(loop, "train_jobs", never)
    assert sensitivity.measure(study, prepared / "train") == first


def test_an_added_value_is_all_that_is_trained(prepared, root, monkeypatch):
    first = sensitivity.measure(around("mlp", width=(0.5,)), prepared / "train")
    before, trained = set(kept(root)), watched(monkeypatch)
    second = sensitivity.measure(around("mlp", width=(0.5,), learning_rate=(0.1,)), prepared / "train")
    added = {run["fingerprint"]: run for folder, run in kept(root).items() if folder not in before}
    assert sorted(trained) == sorted(added)
    assert {(run["identity"]["training"]["learning_rate"], run["seed"]) for run in added.values()} == {
        (0.1, 3),
        (0.1, 8),
    }
    assert [row for row in second["points"] if row["setting"] != "learning_rate"] == first["points"]
    assert len(kept(root)) == 2 * 3


@pytest.mark.parametrize("saves", [1, 2, 5])
def test_what_was_interrupted_goes_on_and_ends_as_if_nothing_had_happened(
    saves, prepared, root, tmp_path, monkeypatch, capsys
):
    """Stopped within the seeds of the centre, between two points, and within the third."""
    study = around("mlp", learning_rate=(0.1,), width=(0.5,))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "whole"))
    whole = sensitivity.measure(study, prepared / "train")
    monkeypatch.setenv("DVC_ROOT", str(root))
    saved, complete = [], checkpoint.save

    def stops(state: checkpoint.TrainingState, index: int, path: Path) -> None:
        if len(saved) == saves:
            raise KeyboardInterrupt
        complete(state, index, path)
        saved.append(path)

    monkeypatch.setattr(checkpoint, "save", stops)
    with pytest.raises(SystemExit), reporting_errors():
        sensitivity.measure(study, prepared / "train")
    assert "is kept, down to each epoch: the same command goes on" in capsys.readouterr().err
    again: list[Path] = []
    monkeypatch.setattr(checkpoint, "save", lambda *given: (complete(*given), again.append(given[2])))
    assert sensitivity.measure(study, prepared / "train") == whole
    assert len(saved) == saves
    assert not set(saved) & set(again)  # one epoch each, so what was saved was not to be trained again
    assert len(again) == 2 * 3 - saves


# What cannot be measured.


def test_without_validation_images_nothing_is_measured(raw, tmp_path, monkeypatch):
    folders = tmp_path / "train", tmp_path / "test"
    prepare.prepare(raw, *folders, validation=0, validation_seed=0, duplicates="error")
    monkeypatch.setattr(loop, "train_jobs", never)
    with pytest.raises(UserError, match="no validation images to judge by; remedy: data"):
        sensitivity.measure(around("mlp", **SMALL), folders[0])


def test_more_images_than_there_are_is_an_error_before_anything_is_trained(prepared, monkeypatch):
    monkeypatch.setattr(loop, "train_jobs", never)
    with pytest.raises(UserError, match=r"images: 1238 .*more than there are; allowed: 0 to 1237"):
        sensitivity.measure(around("mlp", images=(100, 1238)), prepared / "train")


def test_as_many_images_as_there_are_can_be_had(prepared):
    record = sensitivity.measure(around("mlp", images=(1237,)), prepared / "train")
    centre, every = ({**row, "setting": None, "value": None} for row in record["points"])
    assert centre == every  # all of them, whatever they are called
