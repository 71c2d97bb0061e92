"""Sensitivity: which studies the settings make, that each is trained once, and that the record agrees with the runs."""

import csv
import multiprocessing
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lenetlab.data import prepare
from lenetlab.errors import UserError, reporting_errors
from lenetlab.evaluation import sensitivity
from lenetlab.settings import params, schema, study_schema
from lenetlab.storage import files, provenance
from lenetlab.training import checkpoint, devices, execution, loop
from tests.data.formats import data_settings

STUDY = params.load(Path(__file__).parents[2] / "params.yaml")


def study_of(
    variant: str, epochs: int = 1, seeds: tuple[int, ...] = (3, 8), **lists: tuple[float, ...]
) -> study_schema.Study:
    """The sensitivity of a variant to the values in `lists`, for the small data set."""
    empty = dict.fromkeys(sensitivity.SETTINGS, ())
    options = STUDY.sensitivity.model_copy(update={"variant": variant, "seeds": seeds, **empty, **lists})
    return STUDY.model_copy(
        update={
            "sensitivity": options,
            "device": "cpu",
            "data": STUDY.data.model_copy(update={"validation": 200}),
            "training": STUDY.training.model_copy(update={"epochs": epochs}),
        }
    )


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    result = {}
    for key, value in content.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def recipe(study: study_schema.Study) -> dict[str, Any]:
    """The settings of the variant in question, by dotted key."""
    return flat(provenance.recipe(study, study.sensitivity.variant))


def changes(points: list[sensitivity.Point]) -> list[dict[str, Any]]:
    """For each point, the settings that differ from those of the first."""
    unchanged = recipe(points[0].study)
    recipes = [recipe(point.study) for point in points]
    assert all(settings.keys() == unchanged.keys() for settings in recipes)
    return [{key: value for key, value in settings.items() if value != unchanged[key]} for settings in recipes]


# Points.


def test_each_point_of_the_default_study_changes_one_setting():
    points = sensitivity.points(STUDY)
    assert [(point.setting, point.value) for point in points] == [
        (None, None),
        *(("learning_rate", value) for value in (0.001, 0.003, 0.01, 0.03, 0.1)),
        *(("dropout", value) for value in (0.0, 0.25, 0.5, 0.75)),
        *(("width", value) for value in (0.5, 1.0, 2.0)),
        *(("batch_size", value) for value in (16, 64, 256)),
        *(("images", value) for value in (1000, 5000, 20000, 0)),
    ]
    rate, dropout = "training.learning_rate", "definition.regularization.dropout"
    channels, hidden = "definition.model.channels", "definition.model.hidden"
    assert changes(points) == [
        {},
        *({rate: 0.001}, {rate: 0.003}, {}, {rate: 0.03}, {rate: 0.1}),
        *({}, {dropout: 0.25}, {dropout: 0.5}, {dropout: 0.75}),
        *({channels: [3, 8], hidden: [60, 42]}, {}, {channels: [12, 32], hidden: [240, 168]}),
        *({"training.batch_size": 16}, {}, {"training.batch_size": 256}),
        *({"training.images": 1000}, {"training.images": 5000}, {"training.images": 20000}, {}),
    ]


def test_the_unchanged_point_is_trained_as_in_the_study():
    unchanged = sensitivity.points(STUDY)[0].study
    identities = [provenance.identity(study, "lenet5", "data", "2.0", "cpu", "float32") for study in (unchanged, STUDY)]
    assert identities[0] == identities[1]


def test_every_point_is_a_study_of_one_variant_with_the_seeds_of_the_sensitivity():
    for point in sensitivity.points(STUDY):
        assert point.study.study == ("lenet5",)
        assert point.study.comparisons == {}
        assert point.study.seeds == STUDY.sensitivity.seeds == (0, 1, 2, 3)
        others = {name: variant for name, variant in point.study.variants.items() if name != "lenet5"}
        assert others == {name: variant for name, variant in STUDY.variants.items() if name != "lenet5"}


def test_points_do_not_change_the_original_study():
    before = STUDY.model_dump()
    sensitivity.points(STUDY)
    assert STUDY.model_dump() == before


def test_a_setting_with_an_empty_list_has_no_points():
    points = sensitivity.points(study_of("mlp", width=(2.0,)))
    assert [(point.setting, point.value) for point in points] == [(None, None), ("width", 2.0)]
    assert len(sensitivity.points(study_of("mlp"))) == 1


def test_training_settings_of_the_variant_are_kept_except_for_the_changed_one():
    """lenet5-tuned has its own schedule, learning rate and weight averaging."""
    points = sensitivity.points(study_of("lenet5-tuned", learning_rate=(0.01, 0.1), batch_size=(16,), images=(0,)))
    unchanged = recipe(points[0].study)
    assert (unchanged["training.schedule"], unchanged["training.learning_rate"]) == ("one-cycle", 0.1)
    assert unchanged["training.weight_averaging"] == 0.998
    assert changes(points) == [{}, {"training.learning_rate": 0.01}, {}, {"training.batch_size": 16}, {}]


def test_zero_images_mean_all_even_if_the_variant_uses_fewer():
    study = study_of("mlp", images=(0, 500))
    few = study.variants["mlp"].model_copy(update={"training": schema.TrainingOverride(images=500)})
    points = sensitivity.points(study.model_copy(update={"variants": {**study.variants, "mlp": few}}))
    assert changes(points) == [{}, {"training.images": 0}, {}]


def test_one_dropout_rate_replaces_the_rates_of_all_layers():
    points = sensitivity.points(study_of("lenet5-28-light-dropout", dropout=(0.0, 0.25)))
    key = "definition.regularization.dropout"
    assert recipe(points[0].study)[key] == [0.25, 0.0]
    assert changes(points) == [{}, {key: 0.0}, {key: 0.25}]


@pytest.mark.parametrize(("width", "units"), [(2.0, [118]), (0.5, [30]), (0.01, [1]), (0.001, [1])])
def test_a_scaled_network_has_whole_units_and_at_least_one(width, units):
    """The MLP has 59 units; half of them are 29.5, and a hundredth is 0.59."""
    _, point = sensitivity.points(study_of("mlp", width=(width,)))
    assert recipe(point.study)["definition.model.hidden"] == units


# What is trained, and what the record says about it.


def isolate(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Runs are kept below `root`, and everything is trained in this process."""
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setattr(devices, "cores", lambda: 1)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    isolate(monkeypatch, tmp_path / "root")
    return tmp_path / "root"


def kept_runs(root: Path) -> dict[Path, dict[str, Any]]:
    """The run.json of all finished runs, by folder."""
    return {path.parent: files.read_json(path) for path in sorted((root / ".lenetlab" / "resume").glob("*/run.json"))}


def record_jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list to which the fingerprint of every job that is trained from now on is added."""
    trained, original = [], loop.train_jobs

    def train_jobs(jobs, *others):
        trained.extend(job.record["fingerprint"] for job in jobs)
        return original(jobs, *others)

    monkeypatch.setattr(loop, "train_jobs", train_jobs)
    return trained


def fail(*_: object) -> None:
    raise AssertionError("something is trained")


LISTS = {"learning_rate": (0.01, 0.1), "dropout": (0.0,), "width": (0.5,), "batch_size": (64,), "images": (100, 0)}
SMALL = study_of("mlp", epochs=2, **LISTS)


@dataclass(frozen=True)
class Measured:
    root: Path
    record: dict[str, Any]
    trained: list[str]  # fingerprints


@pytest.fixture(scope="module")
def measured(prepared, tmp_path_factory) -> Measured:
    root = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(monkeypatch, root)
        trained = record_jobs(monkeypatch)
        return Measured(root, sensitivity.measure(SMALL, prepared / "train"), trained)


def test_the_record_agrees_with_the_kept_runs(measured):
    """The accuracies are those after the last epoch; the runs of a point are found by recipe and seed."""
    runs, points = kept_runs(measured.root), sensitivity.points(SMALL)
    rows = measured.record["points"]
    assert [(row["setting"], row["value"]) for row in rows] == [(point.setting, point.value) for point in points]
    whole, half = 1024 * 59 + 59 + 590 + 10, 1024 * 30 + 30 + 300 + 10
    assert [row["parameters"] for row in rows] == [half if row["setting"] == "width" else whole for row in rows]
    for row, point in zip(rows, points, strict=True):
        expected = provenance.recipe(point.study, "mlp")
        assert list(row["validation_accuracy"]) == list(row["training_accuracy"]) == ["3", "8"]
        for seed in (3, 8):
            (folder,) = [
                path
                for path, run in runs.items()
                if run["seed"] == seed and run["identity"].items() >= expected.items()
            ]
            with (folder / "curves.csv").open(newline="") as stream:
                first, last = csv.DictReader(stream)
            assert (first["epoch"], last["epoch"]) == ("1", "2")
            assert row["validation_accuracy"][str(seed)] == float(last["validation_accuracy"])
            assert row["training_accuracy"][str(seed)] == runs[folder]["training_set"]["accuracy"]
    by_value = {row["value"]: row for row in rows}
    for accuracy in by_value[0.1]["validation_accuracy"].values():
        assert accuracy * 200 == pytest.approx(round(accuracy * 200))  # there are 200 validation images
    for accuracy in by_value[100]["training_accuracy"].values():
        assert accuracy * 100 == pytest.approx(round(accuracy * 100))  # only of the images that were trained on


def test_values_that_change_nothing_are_not_trained_again(measured):
    rows = {
        (row["setting"], row["value"]): {**row, "setting": None, "value": None} for row in measured.record["points"]
    }
    unchanged = rows[None, None]
    assert [key for key, row in rows.items() if row == unchanged] == [
        (None, None),
        ("learning_rate", 0.01),
        ("dropout", 0.0),
        ("batch_size", 64),
        ("images", 0),
    ]
    assert len(rows) == 8
    assert len(measured.trained) == len(set(measured.trained)) == 2 * 4  # seeds × distinct points


def test_the_record_holds_recipe_data_and_conditions(measured, prepared, tmp_path):
    record = measured.record
    assert record["variant"] == "mlp"
    assert record["recipe"] == provenance.recipe(SMALL, "mlp")
    assert record["data"] == files.read_json(prepared / "train" / "profile.json")["digest"]
    assert (record["training_images"], record["validation_images"]) == (1237, 200)
    assert record["device"].startswith("cpu: ")
    files.write_json(tmp_path / "sensitivity.json", record)
    assert files.read_json(tmp_path / "sensitivity.json") == record


def test_the_record_does_not_depend_on_the_number_of_processes(measured, prepared, monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: 2)
    assert sensitivity.measure(SMALL, prepared / "train") == measured.record
    assert multiprocessing.active_children() == []


def test_finished_runs_are_not_trained_again(measured, prepared, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(measured.root))
    monkeypatch.setattr(loop, "train_jobs", fail)
    assert sensitivity.measure(SMALL, prepared / "train") == measured.record


def test_after_a_value_is_added_only_that_is_trained(measured, prepared, root, monkeypatch):
    shutil.copytree(measured.root, root)
    before, trained = set(kept_runs(root)), record_jobs(monkeypatch)
    record = sensitivity.measure(study_of("mlp", epochs=2, **{**LISTS, "batch_size": (64, 128)}), prepared / "train")
    added = [run for folder, run in kept_runs(root).items() if folder not in before]
    assert sorted(trained) == sorted(run["fingerprint"] for run in added)
    assert {(run["identity"]["training"]["batch_size"], run["seed"]) for run in added} == {(128, 3), (128, 8)}
    assert [row for row in record["points"] if row["value"] != 128] == measured.record["points"]


@pytest.mark.parametrize("saves", [1, 4, 6])
def test_after_an_interruption_the_remaining_epochs_are_trained(saves, measured, prepared, monkeypatch, capsys):
    """Interrupted after one seed of the first epoch, between the two points, and within the second point."""
    study, saved, save = study_of("mlp", epochs=2, learning_rate=(0.1,)), [], checkpoint.save

    def interrupted_save(state: checkpoint.TrainingState, member: int, folder: Path) -> None:
        if len(saved) == saves:
            raise KeyboardInterrupt
        save(state, member, folder)
        saved.append((folder, state.epoch))

    monkeypatch.setattr(checkpoint, "save", interrupted_save)
    with pytest.raises(SystemExit), reporting_errors():
        sensitivity.measure(study, prepared / "train")
    assert "the same command" in capsys.readouterr().err
    saves = None
    points = [row for row in measured.record["points"] if row["value"] in (None, 0.1)]
    assert sensitivity.measure(study, prepared / "train") == {**measured.record, "points": points}
    assert len(saved) == len(set(saved)) == 2 * 2 * 2  # points × seeds × epochs, none of them twice


def test_a_diverged_seed_has_no_accuracy(prepared, monkeypatch):
    """Seed 5 diverges in the third epoch, seed 8 in the first."""
    study = study_of("mlp", learning_rate=(0.1,), seeds=(3, 5, 8))
    diverged = {3: None, 5: {"epoch": 3, "step": 2}, 8: {"epoch": 1, "step": 7}}

    def write_runs(plans):
        for plan in plans:
            for seed, folder in plan.folders.items():
                rows = "" if seed == 8 else "1,0.5,0.8,0.4,0.9\n2,0.3,0.9,0.2,0.95\n"
                header = "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy\n"
                files.write_text(folder / "curves.csv", header + rows)
                training_set = None if diverged[seed] else {"loss": 0.1, "accuracy": 0.99}
                files.write_json(folder / "run.json", {"diverged": diverged[seed], "training_set": training_set})

    monkeypatch.setattr(execution, "train_unfinished", write_runs)
    for row in sensitivity.measure(study, prepared / "train")["points"]:
        assert row["validation_accuracy"] == {"3": 0.95, "5": None, "8": None}
        assert row["training_accuracy"] == {"3": 0.99, "5": None, "8": None}


def test_a_number_of_images_may_be_that_of_all_training_images(prepared):
    record = sensitivity.measure(study_of("mlp", images=(1237,)), prepared / "train")
    unchanged, all_images = ({**row, "setting": None, "value": None} for row in record["points"])
    assert all_images == unchanged


# Errors before anything is trained.


def test_without_validation_images_measure_raises_a_user_error(raw, tmp_path, monkeypatch):
    folders = tmp_path / "train", tmp_path / "test"
    prepare.prepare(raw, *folders, data_settings())
    monkeypatch.setattr(loop, "train_jobs", fail)
    with pytest.raises(UserError, match=r"no validation images; remedy: data\.validation of 1 or more"):
        sensitivity.measure(SMALL, folders[0])


def test_too_many_images_raise_a_user_error(prepared, monkeypatch):
    monkeypatch.setattr(loop, "train_jobs", fail)
    with pytest.raises(UserError, match=r"sensitivity\.images: 1238 is more than there are; allowed: 0 to 1237"):
        sensitivity.measure(study_of("mlp", images=(100, 1238)), prepared / "train")
